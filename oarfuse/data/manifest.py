"""The prepared folder: which patients it holds, and how to load them.

::

    DIR/manifest.json   DIR/images/<case>.nii.gz   DIR/labels/<case>.nii.gz
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oarfuse.data.grids import Affine
from oarfuse.data.nifti import read_nifti, require_same_grid
from oarfuse.data.splits import SPLITS
from oarfuse.errors import OarfuseError
from oarfuse.files import sha256
from oarfuse.organs import DatasetSpec, get_spec
from oarfuse.sample import openkbp_sample

FORMAT = "oarfuse-prepared/1"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Case:
    """One prepared patient.

    Attributes
    ----------
    case, split
        Name, and ``train``, ``validation`` or ``test``.
    image_path, label_path
        NIfTI files: HU (int16) and label values (uint8).
    shape, spacing_mm
        Voxels and mm in (D, H, W) order: along superior, posterior, left.
    voxels
        Organ name to its voxel count in the label file.
    overlap_voxels
        Voxels that two or more organs claimed in the source.
    overlaps
        The same by pair, ``{"brainstem+spinal_cord": 12}``, higher priority first.
    sha256
        Checksums of the two files, under ``image`` and ``label``.
    """

    case: str
    split: str
    image_path: Path
    label_path: Path
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    voxels: Mapping[str, int]
    overlap_voxels: int
    overlaps: Mapping[str, int] = field(default_factory=dict)
    sha256: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Skipped:
    """A patient of the source that is not in the folder, and why.

    `damaged` tells a broken file from a patient who simply lacks an organ.
    """

    case: str
    split: str
    reason: str
    damaged: bool


@dataclass(frozen=True)
class Manifest:
    """What a prepared folder holds. Made by `load_manifest`.

    Attributes
    ----------
    complete
        False while the folder is being prepared, or if that was interrupted.
    """

    folder: Path
    dataset: str
    phantom: bool
    source: str
    split_rule: str
    overlap_priority: tuple[str, ...]
    complete: bool
    cases: tuple[Case, ...]
    skipped: tuple[Skipped, ...]

    @property
    def spec(self) -> DatasetSpec:
        """The data set's organs, colours and window."""
        return get_spec(self.dataset)

    def split(self, name: str) -> tuple[Case, ...]:
        """Return the cases of ``train``, ``validation`` or ``test``, in the manifest's order."""
        if name not in SPLITS:
            raise OarfuseError(f"There is no split {name!r}: choose one of {', '.join(SPLITS)}.")
        return tuple(case for case in self.cases if case.split == name)

    def case(self, name: str) -> Case:
        """Return the case with that name."""
        for case in self.cases:
            if case.case == name:
                return case
        raise OarfuseError(f"{self.folder} holds no case {name!r}: see its {MANIFEST}.")


@dataclass(frozen=True)
class Volume:
    """A loaded patient.

    Attributes
    ----------
    image
        (D, H, W) int16, HU, axes toward superior, posterior, left.
    label
        (D, H, W) uint8, label values of the data set.
    spacing_mm
        Voxel size along (D, H, W).
    case
        Where it came from.
    affine
        (4, 4), voxel indices of `image` and `label` to mm in RAS+.
    """

    image: NDArray[np.int16]
    label: NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]
    case: Case
    affine: Affine


def load_manifest(folder: str | Path) -> Manifest:
    """Read a prepared folder's manifest. The images stay on disk until `load_case`.

    Where no folder is called ``sample``, that names the patients that come with the kit.

    Raises
    ------
    OarfuseError
        If there is no manifest, or it is not one of this kit's.
    """
    folder = Path(folder)
    if folder == Path("sample") and not folder.exists():
        folder = openkbp_sample()
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OarfuseError(
            f"There is no {path}: make the folder with `oarfuse prepare` first."
        ) from None
    except NotADirectoryError:
        raise OarfuseError(f"{folder} is a file: give the prepared folder instead.") from None
    except (OSError, ValueError) as error:
        raise OarfuseError(
            f"{path} cannot be read ({error}): prepare into a new folder."
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise OarfuseError(f"{path} is not in the format {FORMAT}: prepare the data set again.")
    try:
        manifest = _from_json(folder, content)
    except (KeyError, TypeError, ValueError) as error:
        raise OarfuseError(
            f"{path} lacks or garbles {error}: prepare into a new folder."
        ) from error
    if tuple(content.get("classes", ())) != manifest.spec.classes:
        raise OarfuseError(
            f"{path} lists other classes than {manifest.dataset} has: prepare the data set again."
        )
    return manifest


def load_whole_manifest(folder: str | Path) -> Manifest:
    """Read the manifest of a folder from which something is to be made.

    Raises
    ------
    OarfuseError
        As `load_manifest` does, or if the preparation has not been finished or lost a patient whose
        files are damaged: what is made from a part would pass for the whole.
    """
    manifest = load_manifest(folder)
    if not manifest.complete:
        raise OarfuseError(f"{folder} is not complete: let `oarfuse prepare` finish first.")
    damaged = [entry.case for entry in manifest.skipped if entry.damaged]
    if damaged:
        raise OarfuseError(
            f"{folder} is not complete, because the source files of {', '.join(damaged[:3])} are "
            "damaged: mend or remove them and run `oarfuse prepare` again."
        )
    return manifest


def checksums(cases: Iterable[Case]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return what the files of some cases are now, whatever the manifest remembers of them.

    Returns
    -------
    sums, changed
        The SHA-256 of ``image`` and ``label`` by case; and a sentence, which is also given as a
        warning, if files were changed after the preparation.

    Raises
    ------
    OarfuseError
        If a file is missing or cannot be read.
    """
    sums: dict[str, dict[str, str]] = {}
    changed: list[str] = []
    for case in cases:
        sums[case.case] = {}
        for kind, path in (("image", case.image_path), ("label", case.label_path)):
            try:
                sums[case.case][kind] = sha256(path)
            except FileNotFoundError:
                raise OarfuseError(f"There is no {path}: {_where_it_went(path)}.") from None
            except OSError as error:
                raise OarfuseError(
                    f"Cannot read {path} ({error.strerror or error}): run `oarfuse prepare` again."
                ) from error
            if sums[case.case][kind] != case.sha256.get(kind):
                changed.append(str(path))
    if not changed:
        return sums, []
    more = f" and {len(changed) - 1} more files" if len(changed) > 1 else ""
    said = f"{changed[0]}{more} changed after the preparation; what they hold now is what counts."
    warnings.warn(said, stacklevel=3)
    return sums, [said]


def _where_it_went(path: Path) -> str:
    """Say what to do about a file that is gone; a fold's folders are links to those of its data."""
    if path.parent.is_symlink() and not path.parent.exists():
        return (
            f"{path.parent} leads to {path.parent.readlink()}, which is gone, so put it back or "
            "make this fold again"
        )
    return "run `oarfuse prepare` again"


def load_case(case: Case) -> Volume:
    """Load a patient's image and label.

    Raises
    ------
    OarfuseError
        If a file is missing, damaged, or not of the shape, kind and spacing that the manifest
        promises, or if image and label lie on different grids.
    """
    image = read_nifti(case.image_path)
    label = read_nifti(case.label_path)
    for path, array, kind in (
        (case.image_path, image.array, np.int16),
        (case.label_path, label.array, np.uint8),
    ):
        if array.shape != case.shape or array.dtype != kind:
            raise OarfuseError(
                f"{path} holds {array.dtype} {array.shape} where the manifest promises "
                f"{np.dtype(kind)} {case.shape}: run `oarfuse prepare` again."
            )
    if not np.allclose(image.spacing_mm, case.spacing_mm, rtol=1e-3):
        raise OarfuseError(
            f"{case.image_path} has voxels of {image.spacing_mm} mm where the manifest promises "
            f"{case.spacing_mm}: run `oarfuse prepare` again."
        )
    affine = image.array_affine
    require_same_grid(
        label, case.shape, affine, of="its image", remedy="run `oarfuse prepare` again"
    )
    return Volume(image.array, label.array, case.spacing_mm, case, affine)


def _from_json(folder: Path, content: dict[str, Any]) -> Manifest:
    names = [entry["case"] for entry in content["cases"]]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name}, which stands there twice,")
    return Manifest(
        folder=folder,
        dataset=get_spec(content["dataset"]).name,
        phantom=bool(content["phantom"]),
        source=str(content["source"]),
        split_rule=str(content["split_rule"]),
        overlap_priority=tuple(content["overlap_priority"]),
        complete=bool(content.get("complete", True)),
        cases=tuple(_case_from_json(folder, entry) for entry in content["cases"]),
        skipped=tuple(
            Skipped(
                entry["case"], entry["split"], entry["reason"], bool(entry.get("damaged", False))
            )
            for entry in content["skipped"]
        ),
    )


def _case_from_json(folder: Path, entry: dict[str, Any]) -> Case:
    if entry["split"] not in SPLITS:
        raise ValueError(f"the split {entry['split']!r} of {entry['case']}")
    for kind in ("image", "label"):
        place = Path(entry[kind])
        if place.is_absolute() or ".." in place.parts:
            raise ValueError(f"the {kind} path of {entry['case']}")
    depth, height, width = (int(side) for side in entry["shape"])
    spacing = tuple(float(size) for size in entry["spacing_mm"])
    if len(spacing) != 3 or not all(0 < size < float("inf") for size in spacing):
        raise ValueError(f"the spacing of {entry['case']}")
    return Case(
        case=str(entry["case"]),
        split=entry["split"],
        image_path=folder / entry["image"],
        label_path=folder / entry["label"],
        shape=(depth, height, width),
        spacing_mm=(spacing[0], spacing[1], spacing[2]),
        voxels={str(organ): int(count) for organ, count in entry["voxels"].items()},
        overlap_voxels=int(entry["overlap_voxels"]),
        overlaps=dict(entry.get("overlaps", {})),
        sha256=dict(entry["sha256"]),
    )
