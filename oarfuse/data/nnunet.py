"""A prepared folder in the form of nnU-Net v2, so that it can be run on the very same patients."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from oarfuse.data.manifest import MANIFEST, Case, checksums, load_whole_manifest
from oarfuse.errors import OarfuseError
from oarfuse.files import atomic_path, check_output_folder, sha256, sole_writer, write_json

RAW, PREPROCESSED, TRUTH = "nnUNet_raw", "nnUNet_preprocessed", "truth"
_MADE_FROM = "made_from.json"


def to_nnunet(prepared: str | Path, output: str | Path, *, dataset_id: int = 501) -> Path:
    """Write a prepared folder as a data set of nnU-Net v2, with its split.

    ::

        OUTPUT/nnUNet_raw/Dataset501_openkbp/       dataset.json, imagesTr, labelsTr, imagesTs
        OUTPUT/nnUNet_preprocessed/Dataset501_openkbp/splits_final.json
        OUTPUT/truth/validation/, OUTPUT/truth/test/   labels to score predictions against

    nnU-Net takes its validation patients out of `imagesTr` by the split file, whose only fold, 0,
    is the prepared folder's split. Images are copied as they are.

    Parameters
    ----------
    prepared
        A folder of `oarfuse prepare`.
    output
        Folder to write. Writing the same again goes on where it stopped.
    dataset_id
        1 to 999: nnU-Net's number of the data set.

    Returns
    -------
    Path
        The data set's folder in ``nnUNet_raw``.

    Raises
    ------
    OarfuseError
        If the folder is not completely prepared or has no validation patients, the number makes no
        sense, or `output` holds something else.
    """
    manifest = load_whole_manifest(prepared)
    output = Path(output)
    if not 1 <= dataset_id <= 999:
        raise OarfuseError(f"An nnU-Net data set has a number of 1 to 999, not {dataset_id}.")
    train, validation, test = (manifest.split(name) for name in ("train", "validation", "test"))
    if not train or not validation:
        raise OarfuseError(
            f"{manifest.folder} has {len(train)} train and {len(validation)} validation patients: "
            "nnU-Net needs both, so make a fold of it with `oarfuse fold` first."
        )
    name = f"Dataset{dataset_id:03}_{manifest.dataset}"
    sums, _ = checksums((*train, *validation, *test))
    files = hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()
    made_from = {"dataset": name, "manifest": sha256(manifest.folder / MANIFEST), "files": files}
    check_output_folder(
        output, (RAW, PREPROCESSED, TRUTH), marker=_MADE_FROM, reads=[manifest.folder]
    )
    raw, truth = output / RAW / name, output / TRUTH
    with sole_writer(output, "writing"):
        _check_same(output / _MADE_FROM, made_from)
        write_json(output / _MADE_FROM, made_from)
        for case in (*train, *validation):
            _copy(case.image_path, raw / "imagesTr" / f"{case.case}_0000.nii.gz")
            _copy(case.label_path, raw / "labelsTr" / f"{case.case}.nii.gz")
        for case in test:
            _copy(case.image_path, raw / "imagesTs" / f"{case.case}_0000.nii.gz")
        for split, cases in (("validation", validation), ("test", test)):
            for case in cases:
                _copy(case.label_path, truth / split / f"{case.case}.nii.gz")
        write_json(
            output / PREPROCESSED / name / "splits_final.json",
            [{"train": _names(train), "val": _names(validation)}],
        )
        # Last: nnU-Net takes a folder with it for a whole data set.
        write_json(
            raw / "dataset.json",
            {
                "name": name,
                "description": f"{manifest.spec.title}, as `oarfuse prepare` made it",
                "channel_names": {"0": "CT"},
                "labels": {label: value for value, label in enumerate(manifest.spec.classes)},
                "numTraining": len(train) + len(validation),
                "file_ending": ".nii.gz",
            },
        )
    return raw


def _names(cases: tuple[Case, ...]) -> list[str]:
    return [case.case for case in cases]


def _check_same(path: Path, made_from: dict[str, str]) -> None:
    if not path.exists():
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if found != made_from:
        raise OarfuseError(
            f"{path.parent} was made from other patients, or under another number, or from other "
            "files of theirs: choose a new output folder."
        )


def _copy(source: Path, target: Path) -> None:
    """Copy a file unless it is there; nothing else writes into this folder."""
    if target.exists():
        return
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
