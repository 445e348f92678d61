"""Checks for notebook 00: labels, splits, the size of a network."""

from __future__ import annotations

from oarfuse.course.checks.common import close, report, unanswered
from oarfuse.models import build_model
from oarfuse.organs import OPENKBP

__all__ = ["check_00_label", "check_00_parameters", "check_00_split"]


def check_00_label(answer: str | None, value: int) -> bool:
    """Check the field name of the organ with a label value."""
    if unanswered(answer):
        return False
    right = OPENKBP.classes[value]
    given = str(answer).strip().lower().replace(" ", "_")
    hint = "Look at `spec.classes`: the place in it is the label value."
    if value > 1 and given == OPENKBP.classes[value - 1]:
        hint = "You left out the background: label 0 is not an organ."
    elif given == right.split("_")[-1] != right:
        hint = "Which side? The two glands have labels of their own."
    return report(given == right, hint, "The same numbers and colours hold in all notebooks.")


def check_00_split(answer: str | None) -> bool:
    """Check which split decides which weights of a training run are kept."""
    if unanswered(answer):
        return False
    given = str(answer).strip().lower()
    hint = "Choose one of 'train', 'validation', 'test'."
    if given == "test":
        hint = "Then its score would be the best of many looks. The test split is looked at once."
    elif given == "train":
        hint = "A network that learnt these cases by heart would look perfect there."
    return report(
        given == "validation", hint, "That is why validation scores are a little too good."
    )


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
