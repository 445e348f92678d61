"""What all checks share: is there an answer, is it right, and what to look at if not."""

from __future__ import annotations

import math

__all__ = ["close", "report", "unanswered"]


def unanswered(*answers: object) -> bool:
    """Say so, and return True, if any of `answers` is still None.

    A check begins with ``if unanswered(answer): return False``.
    """
    if any(answer is None for answer in answers):
        print("not answered yet")
        return True
    return False


def report(ok: bool, hint: str, praise: str = "") -> bool:
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
