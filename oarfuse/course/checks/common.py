"""What all checks share: is there an answer, is it right, and what to look at if not.

A check is a function of a reader's answers that returns a hint, or nothing if they are right;
`exercise` makes it print. Hints to a number, a row of numbers or a word stand in a table: usual
wrong answer to the hint at its cause, and under None the hint for all others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import wraps
from typing import ParamSpec, TypeVar

__all__ = [
    "close",
    "exercise",
    "number_hint",
    "numbers",
    "report",
    "row_hint",
    "unanswered",
    "word_hint",
]

Answers = ParamSpec("Answers")
Number = TypeVar("Number", bound=float)
Row = TypeVar("Row", bound=tuple[float, ...])


def exercise(praise: str) -> Callable[[Callable[Answers, str]], Callable[Answers, bool]]:
    """Make a check print its verdict and return whether the answer is right.

    An answer that is still None is neither right nor wrong: that is said, and False returned.
    `praise` is what to remember, printed for a right answer (see `report`).
    """

    def make(check: Callable[Answers, str]) -> Callable[Answers, bool]:
        @wraps(check)
        def checked(*args: Answers.args, **kwargs: Answers.kwargs) -> bool:
            if unanswered(*args, *kwargs.values()):
                return False
            hint = check(*args, **kwargs)
            return report(not hint, hint, praise)

        return checked

    return make


def unanswered(*answers: object) -> bool:
    """Say so, and return True, if any of `answers` is still None."""
    if any(answer is None for answer in answers):
        print("not answered yet")
        return True
    return False


def report(ok: object, hint: str, praise: str = "") -> bool:
    """Print the verdict on an answer and return it.

    Parameters
    ----------
    ok
        Whether the answer is right.
    hint
        Where to look, for a wrong answer. It must not give the answer away.
    praise
        What to remember, for a right answer; printed after "Correct."

    Returns
    -------
    bool
        `ok`, as a plain bool.
    """
    print(f"Correct. {praise}".rstrip() if ok else f"Not yet. {hint}")
    return bool(ok)


def close(answer: object, value: float, tolerance: float) -> bool:
    """Whether `answer` is a number within `tolerance` of `value`; False for anything else."""
    try:
        number = float(answer)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return math.isfinite(number) and abs(number - value) <= tolerance


def number_hint(
    answer: object, right: float, tolerance: float, hints: Mapping[Number | None, str]
) -> str:
    """Return the hint for a number; `tolerance` is that of the right answer and of the mistakes."""
    if close(answer, right, tolerance):
        return ""
    mistakes = ((value, hint) for value, hint in hints.items() if value is not None)
    return next((hint for value, hint in mistakes if close(answer, value, tolerance)), hints[None])


def numbers(answer: object) -> tuple[float, ...] | None:
    """Return a row of numbers as floats, or None if `answer` is something else."""
    try:
        return tuple(float(value) for value in answer)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        return None


def row_hint(answer: object, right: tuple[float, ...], hints: Mapping[Row | None, str]) -> str:
    """Return the hint for a row of numbers, each of them within 1e-6."""
    given = numbers(answer) or ()

    def same(row: tuple[float, ...] | None) -> bool:
        return row is not None and len(given) == len(row) and all(map(_equal, given, row))

    return "" if same(right) else next((hints[row] for row in hints if same(row)), hints[None])


def _equal(one: float, other: float) -> bool:
    return close(one, other, 1e-6)


def word_hint(answer: object, right: str, hints: Mapping[str | None, str]) -> str:
    """Return the hint for a word; capitals do not count."""
    given = str(answer).strip().lower()
    return "" if given == right else hints.get(given, hints[None])
