"""From a CT to a label map: crop to the body, slide windows, put the result back on the grid."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from monai.inferers import sliding_window_inference
from numpy.typing import NDArray
from scipy.ndimage import zoom
from torch import Tensor, nn

from oarfuse.data.ct import blank_cut_slices, body_box, scale_window
from oarfuse.data.grids import obliquity
from oarfuse.data.label_files import check_is_ours, write_labels
from oarfuse.data.nifti import read_ct
from oarfuse.devices import (
    autocast,
    choose_device,
    choose_precision,
    keep_freed_memory,
    missing_operators_said,
)
from oarfuse.errors import OarfuseError
from oarfuse.files import check_output_file
from oarfuse.other_grids import resize, resize_labels, sides_to_work_on
from oarfuse.weights import ModelInfo, find_weights, load_weights

# Air around the body that is kept when cropping, in voxels.
BODY_MARGIN = 4
# A CT turned further than this (degrees) gets a warning: augmentation showed the networks less.
MOST_OBLIQUE = 15.0
# Windows that go through the network at once: several fill a GPU, one is quickest on a CPU.
GPU_WINDOWS = 8


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
        ``cpu``, ``cuda`` or ``cuda:1``; a GPU if there is one, when omitted.
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
        If the CT is no volume, the network cannot do what is asked (see `check_options`), or its
        scores are not finite.
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
    image = torch.from_numpy(image_hu[box].copy()).to(chosen)
    volume = scale_window(image, info.window_hu)[None, None]  # (1, 1, D, H, W)
    with _lent(model, chosen) as network:
        if adapt_steps:
            network = adapt_to_image(network, volume, info, steps=adapt_steps)
        with missing_operators_said(), torch.inference_mode(), autocast(chosen, precision):
            scores = _window_scores(network, volume, info, overlap)  # (1, classes, D, H, W)
            if mirror:
                flipped = _window_scores(network, volume.flip(-1), info, overlap).flip(-1)
                order = list(range(info.num_classes))
                for left, right in info.spec.mirror_pairs:
                    order[left], order[right] = right, left
                scores = scores + flipped[:, order]
    _check_finite(scores.sum(), chosen, precision)
    labels = np.zeros(image_hu.shape, dtype=np.uint8)
    labels[box] = scores[0].argmax(dim=0).to(torch.uint8).cpu().numpy()
    return labels


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
    with _lent(model, chosen) as network:
        for index, hu in enumerate(image_hu):
            scaled = scale_window(torch.from_numpy(hu), info.window_hu).numpy()
            small = zoom(scaled, (side / height, side / width), order=3)
            batch = torch.from_numpy(small)[None, None, None].to(chosen)  # (1, 1, 1, side, side)
            with torch.inference_mode(), autocast(chosen, precision):
                scores = network(batch)[0, :, 0]  # (classes, side, side)
                total = total + scores.sum(dtype=torch.float32)
            classes = scores.argmax(dim=0).to(torch.uint8).cpu().numpy()
            labels[index] = zoom(classes, (height / side, width / side), order=0)
    _check_finite(total, chosen, precision)
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
    from oarfuse.models.compared.darr import DARR
    from oarfuse.models.compared.slicewise import SliceWise

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


@contextmanager
def _lent(model: nn.Module, device: torch.device) -> Iterator[nn.Module]:
    """Lend `model` on `device` in evaluation mode, and leave it as it was.

    It moves only if it is elsewhere: who predicts many cases on a GPU moves the model there first.
    """
    modes = {module: module.training for module in model.modules()}
    tensor = next(chain(model.parameters(), model.buffers()), None)
    home = device if tensor is None else tensor.device
    try:
        yield model.to(device).eval()
    finally:
        model.to(home)
        for module, mode in modes.items():
            module.training = mode  # each its own: a caller may have frozen some of them


def _check_finite(total: Tensor, device: torch.device, precision: str) -> None:
    """Raise `OarfuseError` unless the sum of all scores, a scalar, is finite.

    `torch.argmax` takes the first NaN, so such scores would become a label map of background.
    """
    if total.isfinite():
        return
    chosen = choose_precision(precision, device.type)
    if chosen == "16-mixed":
        remedy = "choose the precision 32-true or bf16-mixed"
    else:
        remedy = "the weights or the CT are damaged, or training diverged, so take other ones"
    raise OarfuseError(f"The network's scores are not finite in {chosen} precision: {remedy}.")


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
    from oarfuse.models.compared.darr import DARR, adapt

    check_options(model, info, adapt_steps=steps)
    assert isinstance(model, DARR)  # or the check would have refused it
    sides = tuple(zip(info.patch_size, volume.shape[2:], strict=True))
    starts = [max(size - side, 0) // 2 for side, size in sides]
    d, h, w = (slice(start, start + side) for start, (side, _) in zip(starts, sides, strict=True))
    middle = volume[:, :, d, h, w]
    missing = [side - size for side, size in zip(info.patch_size, middle.shape[2:], strict=True)]
    if any(missing):
        middle = F.pad(middle, [0, missing[2], 0, missing[1], 0, missing[0]], mode="replicate")
    return adapt(model, middle, steps=steps)


def _window_scores(model: nn.Module, volume: Tensor, info: ModelInfo, overlap: float) -> Tensor:
    """Return softmax scores ``(1, classes, D, H, W)``, averaged where windows overlap."""
    from oarfuse.models.compared.slicewise import SliceWise

    # A 2D network sees each slice by itself: windows that overlap in depth only repeat its work.
    overlaps = (0.0 if isinstance(model, SliceWise) else overlap, overlap, overlap)

    def probabilities(windows: Tensor) -> Tensor:
        return model(windows).float().softmax(dim=1)

    scores = sliding_window_inference(
        volume,
        roi_size=info.patch_size,
        sw_batch_size=GPU_WINDOWS if volume.device.type == "cuda" else 1,
        predictor=probabilities,
        overlap=overlaps,
        mode="gaussian",
        padding_mode="constant",
    )
    return cast(Tensor, scores)


def predict_file(
    weights: str | Path,
    source: str | Path,
    output: str | Path,
    *,
    largest_component: bool = True,
    mirror: bool = False,
    device: str | torch.device | None = None,
    precision: str = "auto",
    adapt_steps: int = 0,
) -> Path:
    """Segment a CT in a NIfTI file and write the labels on that file's own grid and affine.

    The CT may have any orientation. If its spacing lies outside of what the network was trained
    on, it is resampled to the training data's median spacing and each label is resampled back.
    `weights` is a file, or a name of `oarfuse.pretrained_names`. A CT turned by more than
    `MOST_OBLIQUE` degrees gets a warning, also in the ``descrip`` of the labels' header. An
    `output` that is there is replaced if this kit wrote it, and refused otherwise.

    Raises
    ------
    OarfuseError
        If a file is missing or damaged, the CT is no 3D volume in HU, the output is not this
        kit's, or the network's scores are not finite. The output is checked before all else.
    """
    from oarfuse.postprocess import keep_largest_component

    path = find_weights(weights)
    check_output_file(output, reads=(source, path))
    check_is_ours(output)
    device = choose_device(device)
    choose_precision(precision, device.type)
    model, info = load_weights(path)
    for warning in check_options(model, info, mirror=mirror, adapt_steps=adapt_steps):
        warnings.warn(warning, stacklevel=2)
    ct = read_ct(source)
    image = ct.array
    note = ""
    angle = obliquity(ct.affine)
    if angle > MOST_OBLIQUE:
        note = f"CT turned by {angle:.0f} degrees, labels may be wrong"
        warnings.warn(
            f"{source} is turned by {angle:.0f} degrees against the patient's axes, further than "
            "the networks know: look at the labels, or resample the CT to straight axes first.",
            stacklevel=2,
        )
    sides = sides_to_work_on(image.shape, ct.spacing_mm, info)
    if sides != image.shape:
        image = resize(image, sides)
    labels = predict_labels(
        model,
        image,
        info,
        mirror=mirror,
        device=device,
        precision=precision,
        adapt_steps=adapt_steps,
    )
    if sides != ct.array.shape:
        labels = resize_labels(labels, ct.array.shape, info.num_classes)
    if largest_component:
        labels = keep_largest_component(labels, info.num_classes)
    write_labels(output, labels, ct, note=note)
    return Path(output)
