"""From a CT in a file or in memory to its labels, on the CT's own grid. Not for clinical use."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import torch

from oarfuse.data.grids import obliquity
from oarfuse.data.label_files import check_is_ours, marked
from oarfuse.data.nifti import (
    NiftiVolume,
    as_ct,
    labels_image,
    parse_nifti,
    read_ct,
    write_image,
)
from oarfuse.devices import choose_device, choose_precision
from oarfuse.errors import OarfuseError
from oarfuse.files import check_output_file
from oarfuse.inference import check_options, predict_any_spacing
from oarfuse.weights import find_weights, load_weights

# A CT turned further than this (degrees) gets a warning: augmentation showed the networks less.
MOST_OBLIQUE = 15.0


def predict(
    image: str | Path | nib.Nifti1Image,
    weights: str | Path = "oarfocalfusenet-openkbp",
    *,
    largest_component: bool = True,
    mirror: bool = False,
    device: str | torch.device | None = None,
    precision: str = "auto",
    adapt_steps: int = 0,
) -> nib.Nifti1Image:
    """Segment a CT and return its labels on its own grid. Not for clinical use.

    Parameters
    ----------
    image
        A CT in HU of any orientation and spacing: a NIfTI file, or an image of nibabel's. One that
        is turned by more than `MOST_OBLIQUE` degrees gets a warning.
    weights
        A ``.safetensors`` file, or a name of `oarfuse.pretrained_names`.
    largest_component
        Keep only the largest piece of each organ.
    mirror
        Average with the prediction of the mirrored volume (twice the time).
    device
        ``cpu``, ``cuda`` or ``cuda:1``; a GPU if there is one, when omitted.
    precision
        One of `oarfuse.config.PRECISIONS`.
    adapt_steps
        For ``darr``: gradient steps on this image before, see `oarfuse.inference.adapt_to_image`.

    Returns
    -------
    nibabel.Nifti1Image
        uint8 label values (`oarfuse.organs`) with the input's axes, affine and header.

    Raises
    ------
    OarfuseError
        If a file is missing or damaged, the CT is no 3D volume in HU, the weights cannot do what
        is asked, or the network's scores are not finite.
    """
    path = find_weights(weights)
    chosen = choose_device(device)
    choose_precision(precision, chosen.type)
    model, info = load_weights(path)
    for warning in check_options(model, info, mirror=mirror, adapt_steps=adapt_steps):
        warnings.warn(warning, stacklevel=2)
    ct = _read(image)
    note = ""
    angle = obliquity(ct.affine)
    if angle > MOST_OBLIQUE:
        note = f"CT turned by {angle:.0f} degrees, labels may be wrong"
        warnings.warn(
            f"{ct.path} is turned by {angle:.0f} degrees against the patient's axes, further than "
            "the networks know: look at the labels, or resample the CT to straight axes first.",
            stacklevel=2,
        )
    labels = predict_any_spacing(
        model,
        ct.array,
        ct.spacing_mm,
        info,
        largest_component=largest_component,
        mirror=mirror,
        device=chosen,
        precision=precision,
        adapt_steps=adapt_steps,
    )
    return labels_image(labels, ct, note=marked(note))


def _read(image: str | Path | nib.Nifti1Image) -> NiftiVolume:
    if isinstance(image, str | Path):
        return read_ct(image)
    if isinstance(image, nib.Nifti1Image):
        return as_ct(parse_nifti(image.to_bytes(), Path(image.get_filename() or "the image")))
    raise OarfuseError(
        f"image is a {type(image).__name__}: give the path of a NIfTI file, or a Nifti1Image."
    )


def predict_file(
    weights: str | Path, source: str | Path, output: str | Path, **options: Any
) -> Path:
    """Segment a CT in a NIfTI file and write the labels on that file's own grid and affine.

    `source`, `weights` and `options` are those of `predict`; what it warns of a CT stands in the
    ``descrip`` of the labels' header too. An `output` that is there is replaced if this kit wrote
    it, and refused otherwise.

    Raises
    ------
    OarfuseError
        As `predict`, or if the output is not this kit's; that is checked before all else.
    """
    path = find_weights(weights)
    check_output_file(output, reads=(source, path))
    check_is_ours(output)
    write_image(Path(output), predict(source, path, **options))
    return Path(output)
