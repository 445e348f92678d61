"""From a CT in a file, a DICOM series or memory to its labels. Not for clinical use."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from oarfuse.data.label_files import check_is_ours, marked, write_labels
from oarfuse.data.nifti import (
    NiftiVolume,
    add_case,
    as_ct,
    labels_image,
    nifti_cases,
    parse_nifti,
    read_ct,
)
from oarfuse.data.slicer import SEGMENTATION, check_is_our_segmentation, write_segmentation
from oarfuse.devices import choose_device, choose_precision
from oarfuse.dicom.sniff import holds_dicom
from oarfuse.doubts import about_the_ct, about_the_labels, volumes_ml
from oarfuse.errors import OarfuseError
from oarfuse.files import check_output_file
from oarfuse.inference import check_options, predict_any_spacing
from oarfuse.organs import DatasetSpec, Organ
from oarfuse.weights import ModelInfo, find_weights, load_weights, read_info

if TYPE_CHECKING:
    from oarfuse.dicom import SeriesHeaders

# Told a case and the volume of each organ in ml.
TellVolumes = Callable[[Path, dict[str, float]], None]

_NOT_CLINICAL = "not for clinical use"


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

    Warns of a CT that is turned or of a foreign spacing, of an organ that was not found, and of
    one whose size no patient of the data set has.

    Parameters
    ----------
    image
        A CT in HU of any orientation and spacing: a NIfTI file, a folder with a DICOM series, or
        an image of nibabel's.
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
    network = _Network.load(
        find_weights(weights),
        largest_component=largest_component,
        mirror=mirror,
        device=device,
        precision=precision,
        adapt_steps=adapt_steps,
    )
    ct, _ = _read(image)
    labels, note = network.segment(ct)
    return labels_image(labels, ct, note=marked(note))


def predict_file(
    weights: str | Path,
    source: str | Path,
    output: str | Path,
    *,
    series_uid: str | None = None,
    organ_files: str | Path | None = None,
    tell_volumes: TellVolumes | None = None,
    **options: Any,
) -> Path:
    """Segment one CT and write its labels; the output's name says in which form.

    Parameters
    ----------
    weights, **options
        As for `predict`.
    source
        A NIfTI file, or a folder with a DICOM series.
    output
        ``.nii`` or ``.nii.gz``: labels on the source's own grid and affine. ``.seg.nrrd``: the
        same as 3D Slicer's segmentation, with the organs' names and colours. ``.dcm``: an RTSTRUCT
        that belongs to the DICOM series; ``.seg.dcm``: a DICOM SEG that does. What is there is
        replaced if this kit wrote it, and refused otherwise.
    series_uid
        Which series of the folder, where it holds several.
    organ_files
        Folder in which each organ also becomes a file of its own, ``<organ>.nii.gz``, of 0 and 1.
    tell_volumes
        Called with `source` and each organ's volume in ml.

    Raises
    ------
    OarfuseError
        As `predict`, or if the output is not this kit's; that is checked before all else.
    """
    path = find_weights(weights)
    task = _Task(Path(source), Path(output), _folder(organ_files), series_uid, tell_volumes)
    task.check(path)
    return task.do(_Network.load(path, **options))


def predict_folder(
    weights: str | Path,
    source: str | Path,
    output: str | Path,
    *,
    organ_files: str | Path | None = None,
    tell_volumes: TellVolumes | None = None,
    **options: Any,
) -> list[Path]:
    """Segment each case of a folder: its NIfTI files, and its folders that hold a DICOM series.

    Writes ``<case>.nii.gz`` for each into `output`, which is made if it is not there, and with
    `organ_files` ``<case>/<organ>.nii.gz`` in there. The other parameters are those of
    `predict_file`.

    Returns
    -------
    The files, in the cases' order.

    Raises
    ------
    OarfuseError
        If there is no case, or an output is not this kit's, before all else; or, when all others
        are done, naming each that failed and why.
    """
    path, organs = find_weights(weights), _folder(organ_files)
    tasks = [
        _Task(
            case,
            Path(output) / f"{name}.nii.gz",
            organs and organs / name,
            tell_volumes=tell_volumes,
        )
        for name, case in cases_of(source).items()
    ]
    for task in tasks:
        task.check(path)
    network = _Network.load(path, **options)
    written, failed = [], []
    for task in tasks:
        try:
            written.append(task.do(network))
        except OarfuseError as error:
            failed.append(str(error))
    if failed:
        raise OarfuseError(f"{len(failed)} of {len(tasks)} cases failed. " + " ".join(failed))
    return written


def cases_of(source: str | Path) -> dict[str, Path]:
    """Return the cases of a folder, name to NIfTI file or DICOM folder, in the names' order."""
    found = nifti_cases(source)
    for path in sorted(Path(source).iterdir()):
        if path.is_dir() and holds_dicom(path):
            add_case(found, path.name, path)
    if not found:
        raise OarfuseError(
            f"{source} holds no CT: give a folder of .nii.gz files, of folders with a DICOM "
            "series each, or the DICOM series itself."
        )
    return dict(sorted(found.items()))


def is_folder_of_cases(source: str | Path) -> bool:
    """Whether a path is a folder of cases and not one CT."""
    return Path(source).is_dir() and not holds_dicom(source)


@dataclass(frozen=True)
class _Network:
    """A network, what must be known of it, and what is asked of it (see `predict`)."""

    model: nn.Module
    info: ModelInfo
    options: dict[str, Any]

    @classmethod
    def load(
        cls,
        weights: Path,
        *,
        largest_component: bool = True,
        mirror: bool = False,
        device: str | torch.device | None = None,
        precision: str = "auto",
        adapt_steps: int = 0,
    ) -> _Network:
        """Load a network that can do what is asked on this machine."""
        chosen = choose_device(device)
        choose_precision(precision, chosen.type)
        model, info = load_weights(weights)
        for warning in check_options(model, info, mirror=mirror, adapt_steps=adapt_steps):
            warnings.warn(warning, stacklevel=3)
        options = dict(largest_component=largest_component, mirror=mirror, device=chosen)
        return cls(model, info, {**options, "precision": precision, "adapt_steps": adapt_steps})

    def segment(self, ct: NiftiVolume) -> tuple[NDArray[np.uint8], str]:
        """Return labels on the CT's grid and a note on what is unusual; warn of it, too."""
        doubts = about_the_ct(ct, self.info)
        for sentence in doubts.values():
            warnings.warn(sentence, stacklevel=3)
        labels = predict_any_spacing(self.model, ct.array, ct.spacing_mm, self.info, **self.options)
        # A network that was trained on phantoms finds no real organ, and nobody expects it.
        more = {} if self.info.phantom else about_the_labels(labels, ct, self.info.spec)
        for sentence in more.values():
            warnings.warn(sentence, stacklevel=3)
        return labels, "; ".join([_NOT_CLINICAL, *doubts, *more])


@dataclass(frozen=True)
class _Task:
    """One CT to segment, and what is to become of its labels (see `predict_file`)."""

    source: Path
    output: Path
    organ_files: Path | None = None
    series_uid: str | None = None
    tell_volumes: TellVolumes | None = None

    @property
    def dicom(self) -> bool:
        """Whether the output refers to a DICOM series."""
        return self.output.suffix.lower() == ".dcm"

    @property
    def for_slicer(self) -> bool:
        """Whether the output is a segmentation of 3D Slicer's."""
        return self.output.name.lower().endswith(SEGMENTATION)

    def check(self, weights: Path) -> None:
        """Refuse an output that is read, or that this kit did not write."""
        check_output_file(self.output, reads=(self.source, weights))
        if self.dicom:
            from oarfuse.dicom import check_is_ours as check_is_our_dicom

            check_is_our_dicom(self.output)
        elif self.for_slicer:
            check_is_our_segmentation(self.output)
        else:
            check_is_ours(self.output)
        if self.organ_files is not None:
            for path in self._organ_paths(read_info(weights).spec).values():
                check_output_file(path, reads=(self.source, weights, self.output))
                check_is_ours(path)

    def do(self, network: _Network) -> Path:
        """Segment the CT and write what was asked for; return the output."""
        ct, headers = _read(self.source, self.series_uid)
        if self.dicom:
            from oarfuse.dicom import SEG, check_has_uids, write_rtstruct, write_seg

            if headers is None:
                raise OarfuseError(
                    f"{self.source} is no DICOM series, so that there is nothing that "
                    f"{self.output.name} could belong to: end --output with .nii.gz."
                )
            check_has_uids(ct, headers)
        labels, note = network.segment(ct)
        spec = network.info.spec
        if self.tell_volumes is not None:
            self.tell_volumes(self.source, volumes_ml(labels, ct.spacing_mm, spec))
        for organ, path in self._organ_paths(spec).items():
            write_labels(path, (labels == organ.label).astype(np.uint8), ct, note=note)
        if headers is not None and self.dicom:
            write = write_seg if self.output.name.lower().endswith(SEG) else write_rtstruct
            write(self.output, labels, ct, headers, spec, note=note)
        elif self.for_slicer:
            write_segmentation(self.output, labels_image(labels, ct), spec, note=note)
        else:
            write_labels(self.output, labels, ct, note=note)
        return self.output

    def _organ_paths(self, spec: DatasetSpec) -> dict[Organ, Path]:
        if self.organ_files is None:
            return {}
        return {organ: self.organ_files / f"{organ.name}.nii.gz" for organ in spec.organs}


def _folder(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)


def _read(
    image: str | Path | nib.Nifti1Image, series_uid: str | None = None
) -> tuple[NiftiVolume, SeriesHeaders | None]:
    if isinstance(image, nib.Nifti1Image):
        return as_ct(parse_nifti(image.to_bytes(), Path(image.get_filename() or "the image"))), None
    if not isinstance(image, str | Path):
        raise OarfuseError(
            f"image is a {type(image).__name__}: give the path of a CT, or a Nifti1Image."
        )
    if Path(image).is_dir():
        from oarfuse.dicom import read_series

        return read_series(image, series_uid=series_uid)
    if series_uid is not None:
        raise OarfuseError(f"{image} is no folder with DICOM series: leave --series out.")
    return read_ct(image), None
