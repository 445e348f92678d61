"""Checks for notebook 06: correcting for many questions, pairing, reading the paper's tables."""

from __future__ import annotations

from collections.abc import Sequence

from oarfuse.course.checks.common import close, report, unanswered


def check_06_holm(corrected: Sequence[float] | None) -> bool:
    """Exercise 1: Holm's correction of the p values 0.01, 0.04, 0.03, in this order."""
    if unanswered(corrected):
        return False
    if _same(corrected, (0.03, 0.12, 0.09)):
        return report(
            False, "That is Bonferroni: Holm multiplies only the smallest p by all three."
        )
    if _same(corrected, (0.03, 0.04, 0.06)):
        return report(False, "A larger p may not end up with a smaller corrected one: carry on.")
    if _same(corrected, (0.01, 0.04, 0.03)):
        return report(False, "These are not corrected yet. Sort them, then multiply by 3, 2 and 1.")
    if _same(corrected, (0.03, 0.06, 0.04)):
        return report(False, "Sort by p first: 0.03 comes before 0.04. Answer in the given order.")
    return report(
        _same(corrected, (0.03, 0.06, 0.06)),
        "Sort; multiply by 3, 2, 1; let no value fall below the one before it.",
        "One of three stays below 0.05.",
    )


def check_06_paired(difference: float | None, least_p: float | None) -> bool:
    """Exercise 2: DSC (0.90, 0.70, 0.80, 0.60) of A and (0.88, 0.67, 0.79, 0.58) of B."""
    if unanswered(difference, least_p):
        return False
    if close(difference, 0.02, 1e-6):
        return report(False, "The sign is the other one: B minus A, and B scores lower.")
    if not close(difference, -0.02, 1e-6):
        return report(False, "Subtract patient by patient, then take the mean.")
    if close(least_p, 1 / 16, 1e-6):
        return report(False, "A two-sided test counts the other end as well.")
    return report(
        close(least_p, 1 / 8, 1e-6),
        "Four differences have 2**4 equally likely patterns of signs. This one, and its mirror.",
        "Every patient agrees, and still four are too few to call it significant.",
    )


def check_06_row(method: str | None) -> bool:
    """Exercise 3: the row of Table II whose mean does not follow from its organs."""
    if unanswered(method):
        return False
    return report(
        str(method).strip().lower().replace(" ", "") == "r50attnunet",
        "Average the eight organs of each row of Table II, and compare with the printed mean.",
        "Its organs give 0.7210, its printed mean is 0.7557. Copied tables keep such slips.",
    )


def check_06_lowest(method: str | None) -> bool:
    """Exercise 4: the method with the lowest Hausdorff distance in Table I."""
    if unanswered(method):
        return False
    if str(method).strip().lower() == "oarfocalfusenet":
        return report(False, "That is what the abstract suggests. Look at the column itself.")
    return report(
        str(method).strip().lower() == "attunet",
        "Sort Table I by its Hausdorff column: lower is better.",
        "A claim in an abstract is checked against the table, not believed.",
    )


def _same(answer: object, values: Sequence[float]) -> bool:
    try:
        numbers = list(answer)  # type: ignore[call-overload]
    except TypeError:
        return False
    return len(numbers) == len(values) and all(map(close, numbers, values, [1e-6] * len(values)))
