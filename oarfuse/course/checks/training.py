"""Checks for notebook 03: the loss, the rate, mirroring, several devices, an absent organ."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from oarfuse.course.checks.common import close, exercise, number_hint, numbers
from oarfuse.losses import dice_cross_entropy

# A reader's functions are tried on these cycles: (step, cycle, least, most).
CYCLES = ((0, 500, 0.0005, 0.003), (700, 500, 0.0005, 0.003), (40, 60, 0.001, 0.011))


@exercise("With the cross-entropy added, weights 1 and 1, that is the paper's loss.")
def check_03_loss(dice_loss: Callable[[Tensor, Tensor], Tensor | float] | None) -> str:
    """Exercise 1: the Dice half of the loss, from probabilities and one-hot truth ``(C, V)``."""
    if not callable(dice_loss):
        return "Give the function itself, without brackets: check_03_loss(dice_loss)."
    for seed in range(2):
        generator = torch.Generator().manual_seed(seed)
        logits = torch.randn(4, 60, generator=generator)
        label = torch.randint(0, 4, (60,), generator=generator)
        p, t = logits.softmax(0), torch.nn.functional.one_hot(label, 4).T.float()
        per_class = 2 * (p * t).sum(1) / (p.sum(1) + t.sum(1))
        squares = 2 * (p * t).sum(1) / ((p**2).sum(1) + (t**2).sum(1))
        together = 2 * (p * t).sum() / (p.sum() + t.sum())
        hints = {
            float(per_class.mean()): "That is the mean Dice coefficient. A loss must fall.",
            float(1 - per_class[1:].mean()): "The background counts as a class, too.",
            float(1 - together): "First a Dice for each class, then their mean: a small organ "
            "must weigh as much as a large one.",
            float(1 - squares.mean()): "The sums of (L2) are plain: nothing is squared.",
            float(4 - per_class.sum()): "The mean over the classes, not their sum.",
            None: "Per class 2 sum(p t) / (sum p + sum t); dim 0 is the class, dim 1 the voxel.",
        }
        whole = dice_cross_entropy()(logits[None, :, None, None], label[None, None, None, None])
        right = float(whole - torch.nn.functional.cross_entropy(logits.T, label))
        try:
            answer = float(dice_loss(p, t))
        except (TypeError, ValueError, RuntimeError, IndexError) as error:
            return f"Your function stops ({error}); it should return one number."
        if hint := number_hint(answer, right, 1e-4, hints):
            return hint
    return ""


@exercise("A function of the step alone: a resumed run has nothing to restore.")
def check_03_rate(rate: Callable[[int, int, float, float], float] | None) -> str:
    """Exercise 2: the cyclic rate as a function of step, cycle, least and most rate."""
    if not callable(rate):
        return "Give the function itself, without brackets: check_03_rate(rate)."
    for step, cycle, least, most in CYCLES:
        span, place = most - least, step % cycle
        right = most - span * abs(place - cycle / 2) / (cycle / 2)
        upside_down = most + least - right
        twice = most - span * abs(step % (2 * cycle) - cycle) / cycle
        hints = {
            least + span * place / cycle: "It only climbs. After half a cycle it must fall again.",
            upside_down: "Each cycle begins and ends at the lower rate.",
            twice: "`cycle` counts the steps of a whole cycle, up and down; you took it for half.",
            None: f"It is wrong at step {step} with cycles of {cycle} steps. Take the step within "
            "its cycle, then its distance from the cycle's middle.",
        }
        try:
            answer = rate(step, cycle, least, most)
        except (TypeError, ValueError, ZeroDivisionError) as error:
            return f"Your function stops ({error}); it takes step, cycle, least and most."
        if hint := number_hint(answer, right, 1e-6, hints):
            return hint
    return ""


@exercise("The organ without a partner keeps its label.")
def check_03_mirror(mirrored: Callable[[Tensor], Tensor] | None) -> str:
    """Exercise 3: labels ``(D, H, W)``, W toward the left, after mirroring left to right."""
    if not callable(mirrored):
        return "Give the function itself, without brackets: check_03_mirror(mirrored)."
    label = torch.randint(0, 6, (2, 3, 7), generator=torch.Generator().manual_seed(0))
    kept = label.clone()
    trade = torch.tensor([0, 1, 2, 4, 3, 5])
    in_turn = label.flip(-1)
    in_turn = torch.where(in_turn == 3, 4, in_turn)
    in_turn = torch.where(in_turn == 4, 3, in_turn)
    try:
        answer = torch.as_tensor(mirrored(label))
    except (TypeError, ValueError, RuntimeError, IndexError) as error:
        return f"Your function stops ({error}); it should return labels (D, H, W)."
    if not torch.equal(label, kept):
        return "Your function changed the labels that it was given: work on a copy."
    if answer.shape != label.shape:
        return "The shape must stay as it is."
    mistakes = (
        (label.flip(-1), "Now the right parotid lies on the patient's left. What is missing?"),
        (trade[label], "The labels are traded, but nothing was turned around."),
        (trade[label.flip(0)], "You turned the patient upside down: which axis points left?"),
        (
            trade[label.flip(1)],
            "You turned front to back: which axis points left?",
        ),
        (in_turn, "One parotid swallowed the other: both trades must start from the same labels."),
    )
    if torch.equal(answer, trade[label.flip(-1)]):
        return ""
    return next(
        (hint for wrong, hint in mistakes if torch.equal(answer, wrong)),
        "Two things happen: the last axis is turned around, and labels 3 and 4 trade places.",
    )


@exercise("Together the processes see each patch once, and a step the same ones as one process.")
def check_03_devices(numbers_of: Callable[[int, int, int, int], Sequence[int]] | None) -> str:
    """Exercise 4: the patches of one process, from step, batch size, its rank and how many."""
    if not callable(numbers_of):
        return "Give the function itself, without brackets: check_03_devices(numbers_of)."
    for step, batch, rank, devices in ((0, 2, 0, 1), (3, 2, 0, 1), (0, 2, 1, 4), (5, 3, 2, 4)):
        first = (step * devices + rank) * batch
        right = tuple(float(first + place) for place in range(batch))
        alone = tuple(float(step * batch + place) for place in range(batch))
        steps = tuple(float((step + rank) * batch + place) for place in range(batch))
        try:
            answer = numbers(numbers_of(step, batch, rank, devices))
        except (TypeError, ValueError) as error:
            return f"Your function stops ({error}); it takes step, batch, rank and devices."
        if answer is None or len(answer) != batch:
            return "Return one patch number for each of the `batch` patches, as a list."
        if answer == right:
            continue
        if answer == alone:
            return "All processes would see the same patches: what does the rank change?"
        if answer == steps:
            return "At the next step a process would see what its neighbour has just seen."
        return (
            f"Wrong for step {step}, batch {batch}, rank {rank} of {devices}: how many patches "
            "have all processes together used before this step?"
        )
    return ""


@exercise("Half the false alarm, and the term hardly moves: only cross-entropy sees it.")
def check_03_absent(term: float | None, half: float | None) -> str:
    """Exercise 5: the Dice term of an absent organ, p = 0.01 and 0.005 on 1000 voxels."""
    if close(term, 1e-6, 1e-7):
        return "That is the Dice; the loss's term is one minus it."
    hints = {
        0: "The overlap is 0 and so is its Dice. What does one minus that give?",
        None: "Numerator: nothing overlaps. Denominator: 1000 voxels of 0.01. Epsilon is 1e-5.",
    }
    halves = {
        0.5: "The sum of p halves. The term is not proportional to it: compute it anew.",
        None: "The same formula once more, with 0.005 on each voxel.",
    }
    return number_hint(term, 1, 1e-3, hints) or number_hint(half, 1, 1e-3, halves)
