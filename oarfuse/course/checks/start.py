"""Checks for notebook 00: labels, splits, the size of a network."""

from __future__ import annotations

from oarfuse.course.checks.common import close, exercise, report, unanswered, word_hint
from oarfuse.models import build_model
from oarfuse.organs import OPENKBP

__all__ = ["check_00_label", "check_00_parameters", "check_00_split"]


@exercise("The same numbers and colours hold in all notebooks.")
def check_00_label(answer: str | None, value: int) -> str:
    """Check the field name of the organ with a label value."""
    right = OPENKBP.classes[value]
    given = str(answer).strip().replace(" ", "_")
    if value > 1 and given.lower() == OPENKBP.classes[value - 1]:
        return "You left out the background: label 0 is not an organ."
    hints = {
        right.split("_")[-1]: "Which side? The two glands have labels of their own.",
        None: "Look at `spec.classes`: the place in it is the label value.",
    }
    return word_hint(given, right, hints)


@exercise("That is why validation scores are a little too good.")
def check_00_split(answer: str | None) -> str:
    """Check which split decides which weights of a training run are kept."""
    hints = {
        "test": "Then its score would be the best of many looks. The test split is looked at once.",
        "train": "A network that learnt these cases by heart would look perfect there.",
        None: "Choose one of 'train', 'validation', 'test'.",
    }
    return word_hint(answer, "validation", hints)


def check_00_parameters(answer: int | None, model: str) -> bool:
    """Check the number of parameters of the network that `build_model(model)` makes."""
    if unanswered(answer):
        return False
    right = sum(parameter.numel() for parameter in build_model(model).parameters())
    hint = "Add up `parameter.numel()` over `model.parameters()`."
    if close(answer, right / 1e6, 0.01):
        hint = "That looks like millions: give the plain number."
    elif close(answer, right / 1e3, 1.0):
        hint = "That looks like thousands: give the plain number."
    return report(close(answer, right, 0), hint, f"{right / 1e6:.2f} million.")
