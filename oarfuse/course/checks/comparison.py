"""Checks for notebook 06: correcting for many questions, pairing, reading the paper's tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from scipy.stats import wilcoxon

from oarfuse.course.checks.common import close, exercise, number_hint, row_hint, word_hint


@exercise("One of three stays below 0.05.")
def check_06_holm(corrected: Sequence[float] | None) -> str:
    """Exercise 1: Holm's correction of the p values 0.01, 0.04, 0.03, in this order."""
    hints = {
        (0.03, 0.12, 0.09): "That is Bonferroni: Holm multiplies only the smallest p by all three.",
        (0.03, 0.04, 0.06): "A larger p may not end up with a smaller corrected one: carry on.",
        (0.01, 0.04, 0.03): "These are not corrected yet. Sort them, then multiply by 3, 2 and 1.",
        (0.03, 0.06, 0.04): "Sort by p first: 0.03 comes before 0.04. Answer in the given order.",
        None: "Sort; multiply by 3, 2, 1; let no value fall below the one before it.",
    }
    return row_hint(corrected, (0.03, 0.06, 0.06), hints)


@exercise("Every patient agrees, and still four are too few to call it significant.")
def check_06_paired(difference: float | None, least_p: float | None) -> str:
    """Exercise 2: DSC (0.90, 0.70, 0.80, 0.60) of A and (0.88, 0.67, 0.79, 0.58) of B."""
    hints = {
        0.02: "The sign is the other one: B minus A, and B scores lower.",
        None: "Subtract patient by patient, then take the mean.",
    }
    signs = "Four differences have 2**4 equally likely patterns of signs. This one, and its mirror."
    p_hints = {1 / 16: "A two-sided test counts the other end as well.", None: signs}
    return number_hint(difference, -0.02, 1e-6, hints) or number_hint(least_p, 1 / 8, 1e-6, p_hints)


@exercise("Its organs give 0.7210, its printed mean is 0.7557. Copied tables keep such slips.")
def check_06_row(method: str | None) -> str:
    """Exercise 3: the row of Table II whose mean does not follow from its organs."""
    hint = "Average the eight organs of each row of Table II, and compare with the printed mean."
    return word_hint(str(method).replace(" ", ""), "r50attnunet", {None: hint})


@exercise("A claim in an abstract is checked against the table, not believed.")
def check_06_lowest(method: str | None) -> str:
    """Exercise 4: the method with the lowest Hausdorff distance in Table I."""
    hints = {
        "oarfocalfusenet": "That is what the abstract suggests. Look at the column itself.",
        None: "Sort Table I by its Hausdorff column: lower is better.",
    }
    return word_hint(method, "attunet", hints)


@exercise("Signs are all that chance has left: no table of a distribution was needed.")
def check_06_flip(answer: Callable[[np.ndarray], float] | None) -> str:
    """Exercise 5: the exact two-sided sign-flip test of the mean of paired differences."""
    assert answer is not None  # `exercise` has seen to it
    # Few patterns of signs lie as far from zero as the real one, but not none.
    differences = np.array([31.3, 14.1, -6.2, 2.7, 27.4, -9.9, 12.6, 1.8, -8.5, 16.2]) / 1000
    signs = np.array(list(product((-1, 1), repeat=len(differences))))
    means = (signs * differences).mean(axis=1)
    observed = differences.mean()
    right = float((np.abs(means) >= abs(observed) - 1e-12).mean())
    hints = {
        right / 2: "A mean as far below zero would surprise as much: count both ends.",
        float(wilcoxon(differences).pvalue): "That is Wilcoxon's p, of ranks. Flip the numbers.",
        None: "Give every difference each sign, take the mean each time: how often is it as far "
        "from zero as the real one, the real one included?",
    }
    hint = number_hint(answer(differences.copy()), right, 0.004, hints)
    if not hint and not close(answer(-differences), right, 0.004):
        return "B minus A must get the same p as A minus B: what do you do with the sign?"
    return hint
