"""From a CT to a label map: crop to the body, slide windows, put the result back on the grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import zoom
from torch import Tensor, nn

from oarfuse.data.ct import blank_cut_slices, body_box, scale_window
from oarfuse.devices import (
    autocast,
    choose_device,
    keep_freed_memory,
    missing_operators_said,
)
from oarfuse.errors import OarfuseError
from oarfuse.models.compared.anysize import pad_far_ends
from oarfuse.models.compared.darr import DARR, adapt
from oarfuse.models.compared.slicewise import SliceWise
from oarfuse.other_grids import resize, resize_labels, sides_to_work_on
from oarfuse.postprocess import keep_largest_component
from oarfuse.weights import ModelInfo
from oarfuse.windows import check_finite, lent, score_slabs, with_less_memory

# Air around the body that is kept when cropping, in voxels.
BODY_MARGIN = 4
# A CT turned further than this (degrees) gets a warning: augmentation showed the networks less.
MOST_OBLIQUE = 15.0


def predict_labels(
    model: nn.Module,
    image_hu: NDArray[np.int16],
    info: ModelInfo,
    *,
    overlap: float = 0.5,
    mirror: bool = False,
    device: str | torch.device | None = None,
    precision: str = "auto",
    adapt_steps: int = 0,
) -> NDArray[np.uint8]:
    """Segment a CT on its own grid.

    Parameters
    ----------
    model
        The network, for instance from `oarfuse.weights.load_weights`. Its device and its modes
        (training or evaluation) are afterwards what they were.
    image_hu
        (D, H, W) HU, axes toward superior, posterior, left.
    info
        Tells the CT window, the patch size, and whether cut slices are emptied first.
    overlap
        Share of a window that the next one covers again. Where the cropped body fits into one
        window there is only one.
    mirror
        Average with the prediction of the mirrored volume (twice the time).
    device
        ``cpu``, ``cuda`` or ``cuda:1``; a GPU if there is one, when omitted. If the GPU's memory
        does not suffice, windows go there one by one and the scores are kept on the CPU.
    precision
        One of `oarfuse.config.PRECISIONS`; ``auto`` is `oarfuse.devices.choose_precision`'s choice.
    adapt_steps
        Before, fit a copy of the network to this image by so many steps; see `adapt_to_image`.

    Returns
    -------
    ndarray
        (D, H, W) uint8 label values.

    Raises
    ------
    OarfuseError
        If the CT is no volume, the network cannot do what is asked (see `check_options`), its
        scores are not finite, or the GPU cannot hold even one window.
    """
    if image_hu.ndim != 3:
        raise OarfuseError(f"A CT has the axes (D, H, W), not the shape {image_hu.shape}.")
    check_options(model, info, mirror=mirror, adapt_steps=adapt_steps)
    keep_freed_memory()
    chosen = choose_device(device)
    if info.blank_leaking:
        image_hu = blank_cut_slices(image_hu)
    box = tuple(
        slice(max(side.start - BODY_MARGIN, 0), min(side.stop + BODY_MARGIN, size))
        for side, size in zip(body_box(image_hu), image_hu.shape, strict=True)
    )
    labels = np.zeros(image_hu.shape, dtype=np.uint8)

    def segment(home: torch.device, batch: int) -> None:
        image = torch.from_numpy(image_hu[box].copy()).to(home)
        volume = scale_window(image, info.window_hu)[None, None]  # (1, 1, D, H, W)
        with lent(model, chosen) as network:
            if adapt_steps:
                network = adapt_to_image(network, volume, info, steps=adapt_steps)
            slide = partial(score_slabs, network, sides=info.patch_size, overlap=overlap,
                            device=chosen, batch=batch)  # fmt: skip
            with missing_operators_said(), torch.inference_mode(), autocast(chosen, precision):
                slabs = _mirrored(slide, volume, info) if mirror else slide(volume)
                total = torch.zeros((), device=home)
                for place, scores in slabs:
                    total = total + scores.sum()
                    labels[box][place] = scores.argmax(dim=0).to(torch.uint8).cpu().numpy()
        check_finite(total, chosen, precision)

    with_less_memory(segment, chosen)
    return labels


def _mirrored(
    slide: Callable[[Tensor], Iterator[tuple[slice, Tensor]]], volume: Tensor, info: ModelInfo
) -> Iterator[tuple[slice, Tensor]]:
    """Add the scores of the mirrored volume, its sides exchanged, to those of the volume."""
    order = list(range(info.num_classes))
    for left, right in info.spec.mirror_pairs:
        order[left], order[right] = right, left
    for (place, scores), (_, flipped) in zip(slide(volume), slide(volume.flip(-1)), strict=True):
        for own, other in enumerate(order):  # one by one, to copy only one class at a time
            scores[own] += flipped[other].flip(-1)
        yield place, scores


def predict_slices(
    model: nn.Module,
    image_hu: NDArray[np.int16],
    info: ModelInfo,
    side: int = 224,
    *,
    device: str | torch.device | None = None,
    precision: str = "auto",
) -> NDArray[np.uint8]:
    """Segment a CT slice by slice as TransUNet's test script does.

    Each axial slice is zoomed to `side` x `side` pixels with cubic splines, the classes of its
    pixels are chosen there, and the label slice is zoomed back with its nearest pixel. Fine
    borders are lost in it, which is part of the published figures.

    Parameters
    ----------
    model
        A 2D network of Table II; left as it was.
    image_hu, device, precision
        As for `predict_labels`.
    side
        TransUNet's is 224.

    Raises
    ------
    OarfuseError
        If the network is three-dimensional, cannot take slices of that side, or its scores are not
        finite.
    """
    check_options(model, info, slice_side=side)
    chosen = choose_device(device)
    labels = np.zeros(image_hu.shape, dtype=np.uint8)
    height, width = image_hu.shape[1:]
    if info.blank_leaking:
        image_hu = blank_cut_slices(image_hu)
    total = torch.zeros((), device=chosen)
    with lent(model, chosen) as network:
        for index, hu in enumerate(image_hu):
            scaled = scale_window(torch.from_numpy(hu), info.window_hu).numpy()
            small = zoom(scaled, (side / height, side / width), order=3)
            batch = torch.from_numpy(small)[None, None, None].to(chosen)  # (1, 1, 1, side, side)
            with torch.inference_mode(), autocast(chosen, precision):
                scores = network(batch)[0, :, 0]  # (classes, side, side)
                total = total + scores.sum(dtype=torch.float32)
            classes = scores.argmax(dim=0).to(torch.uint8).cpu().numpy()
            labels[index] = zoom(classes, (height / side, width / side), order=0)
    check_finite(total, chosen, precision)
    return labels


def check_options(
    model: nn.Module,
    info: ModelInfo,
    *,
    mirror: bool = False,
    adapt_steps: int = 0,
    slice_side: int | None = None,
) -> list[str]:
    """Check what is asked of a network before it works; the parameters are `predict_labels`'s.

    Returns
    -------
    Warnings, a sentence each: what the network can do but was not trained for.

    Raises
    ------
    OarfuseError
        If it cannot do something, or two options exclude each other.
    """
    if slice_side is not None:
        if mirror or adapt_steps:
            raise OarfuseError(
                "TransUNet's slices are neither mirrored nor adapted to: "
                "leave --mirror and --adapt out."
            )
        if not isinstance(model, SliceWise):
            raise OarfuseError(
                f"{info.model} segments volumes and not slices: leave --slices out, or use weights "
                "of a 2D method."
            )
        if slice_side < model.multiple or slice_side % model.multiple:
            raise OarfuseError(
                f"Slices of {slice_side} pixels do not fit {info.model}: choose a multiple of "
                f"{model.multiple}."
            )
    if adapt_steps < 0:
        raise OarfuseError(f"--adapt is {adapt_steps}: give a number of steps, or leave it out.")
    if adapt_steps and not isinstance(model, DARR):
        raise OarfuseError(
            f"{info.model} cannot adapt to an image, because it has no loss that needs no labels: "
            "leave --adapt out, or use weights of darr."
        )
    if mirror and not info.spec.mirror_pairs:
        raise OarfuseError(
            f"Left and right are not alike in {info.spec.title}, so that its networks never see a "
            "mirrored patient: leave --mirror out."
        )
    recipe = info.training.get("config", {})
    if mirror and isinstance(recipe, dict) and recipe.get("augment") is False:
        return [
            f"This {info.model} was trained without mirrored patients (augment: false), so that "
            "--mirror averages with what it never learned: leave it out, or train with "
            "augmentation."
        ]
    return []


def adapt_to_image(model: nn.Module, volume: Tensor, info: ModelInfo, *, steps: int) -> nn.Module:
    """Fit a copy of DARR to one CT by its jigsaw, which needs no labels.

    The puzzle is cut from the middle of the volume at the size of a training patch, because the
    network learned to solve puzzles of that size; where the volume is smaller it is continued
    with its last voxels. `oarfuse.models.compared.darr.adapt` says what moves and what stays.

    Parameters
    ----------
    model
        The trained network; it is not changed.
    volume
        (1, 1, D, H, W), scaled to 0..1.
    info
        Tells the patch size.
    steps
        Gradient steps; 0 or more.

    Raises
    ------
    OarfuseError
        If the network has no jigsaw, or its patches are too small for one.
    """
    check_options(model, info, adapt_steps=steps)
    assert isinstance(model, DARR)  # or the check would have refused it
    sides = tuple(zip(info.patch_size, volume.shape[2:], strict=True))
    starts = [max(size - side, 0) // 2 for side, size in sides]
    d, h, w = (slice(start, start + side) for start, (side, _) in zip(starts, sides, strict=True))
    middle = pad_far_ends(volume[:, :, d, h, w], info.patch_size).to(
        next(model.parameters()).device
    )
    return adapt(model, middle, steps=steps)


def predict_any_spacing(
    model: nn.Module,
    image_hu: NDArray[np.int16],
    spacing_mm: tuple[float, float, float],
    info: ModelInfo,
    *,
    largest_component: bool = True,
    **options: Any,
) -> NDArray[np.uint8]:
    """Segment a CT whose spacing may lie outside of what the network was trained on.

    There the CT is resampled to the training data's median spacing, and each label back.

    Parameters
    ----------
    model, image_hu, info, **options
        As for `predict_labels`.
    spacing_mm
        (D, H, W) mm.
    largest_component
        Keep only the largest piece of each organ.

    Returns
    -------
    ndarray
        (D, H, W) uint8 label values on the CT's own grid.
    """
    shape = image_hu.shape
    sides = sides_to_work_on(shape, spacing_mm, info)
    image = image_hu if sides == shape else resize(image_hu, sides)
    labels = predict_labels(model, image, info, **options)
    if sides != shape:
        labels = resize_labels(labels, shape, info.num_classes)
    return keep_largest_component(labels, info.num_classes) if largest_component else labels
