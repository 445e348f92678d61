"""Other partitions of a prepared folder: the folds of a cross-validation, or fewer patients."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from oarfuse.data.manifest import MANIFEST, Manifest, load_manifest, load_whole_manifest
from oarfuse.data.splits import natural_key, split_order
from oarfuse.errors import OarfuseError
from oarfuse.files import check_output_folder, sole_writer, write_json

_FOLDERS = ("images", "labels")


def make_fold(
    prepared: str | Path, output: str | Path, *, fold: int, folds: int, seed: int = 0
) -> Manifest:
    """Write a prepared folder in which one fold of the patients validates and the others train.

    The train and validation patients are shuffled once (by `seed`) and dealt out in turn, so that
    each of them validates in exactly one fold and folds differ by at most one patient. The test
    patients stay where they are. The images are not copied: the new folder links to them.

    Parameters
    ----------
    prepared
        A folder of `oarfuse prepare`, which must stay in its place.
    output
        Folder to write. Writing the same fold again changes nothing.
    fold, folds
        Which one, 1 to `folds`.
    seed
        Of the shuffling. All folds of a cross-validation need the same one.

    Raises
    ------
    OarfuseError
        If the folder is not completely prepared, has too few patients, the numbers make no sense,
        or `output` holds something else.
    """
    output = Path(output)
    manifest = load_whole_manifest(prepared)
    prepared = manifest.folder
    if seed < 0:
        raise OarfuseError(f"seed is {seed}: give a whole number of at least 0.")
    names = sorted((case.case for case in manifest.cases if case.split != "test"), key=natural_key)
    if not 2 <= folds <= len(names) or not 1 <= fold <= folds:
        raise OarfuseError(
            f"Fold {fold} of {folds} cannot be made of {len(names)} patients: give 2 to "
            f"{len(names)} folds, and a fold from 1 on."
        )
    dealt = np.random.default_rng(seed).permutation(names)
    validation = set(dealt[fold - 1 :: folds].tolist())
    content = json.loads((prepared / MANIFEST).read_text(encoding="utf-8"))
    rule = f"{manifest.split_rule}, fold {fold} of {folds} (seed {seed})"
    for entry in content["cases"]:
        if entry["split"] != "test":
            entry["split"] = "validation" if entry["case"] in validation else "train"
    content["cases"].sort(key=lambda entry: split_order(entry["split"], entry["case"]))
    reads = [prepared, *(prepared / name for name in _FOLDERS)]
    check_output_folder(output, (), marker=MANIFEST, reads=reads)
    with sole_writer(output, "writing"):
        if (output / MANIFEST).exists() and load_manifest(output).split_rule != rule:
            raise OarfuseError(
                f"{output} holds another split than {rule}: choose a new folder for this fold."
            )
        for name in _FOLDERS:
            _link(output / name, prepared / name)
        write_json(output / MANIFEST, content | {"split_rule": rule})
    return load_manifest(output)


def fewer_validation(prepared: str | Path, output: str | Path, count: int) -> Manifest:
    """Write a prepared folder with all train patients and only some that validate.

    A short training would otherwise spend its time on validation. The patients are taken at equal
    distances from the manifest's order; the test patients are left out. The images are not copied:
    the new folder links to them. Writing it again with another count replaces the manifest.

    Raises
    ------
    OarfuseError
        If the folder is not completely prepared or has fewer validation patients, or `output`
        holds something else.
    """
    prepared, output = Path(prepared), Path(output)
    manifest = load_whole_manifest(prepared)
    names = [case.case for case in manifest.split("validation")]
    if not 1 <= count <= len(names):
        raise OarfuseError(
            f"{prepared} has {len(names)} validation patients, not {count}: choose 1 to "
            f"{len(names)}."
        )
    chosen = {names[index * len(names) // count] for index in range(count)}
    content = json.loads((prepared / MANIFEST).read_text(encoding="utf-8"))
    content["cases"] = [
        entry for entry in content["cases"] if entry["split"] == "train" or entry["case"] in chosen
    ]
    rule = f"{manifest.split_rule}, {count} of {len(names)} validation patients"
    reads = [prepared, *(prepared / name for name in _FOLDERS)]
    check_output_folder(output, (), marker=MANIFEST, reads=reads)
    with sole_writer(output, "writing"):
        for name in _FOLDERS:
            _link(output / name, prepared / name)
        write_json(output / MANIFEST, content | {"split_rule": rule})
    return load_manifest(output)


def _link(place: Path, target: Path) -> None:
    """Make `place` a link that still leads to `target` when both are moved together."""
    way = os.path.relpath(target.resolve(), place.parent.resolve())
    if place.is_symlink() and os.readlink(place) == way:
        return
    if place.is_symlink() or place.exists():
        raise OarfuseError(f"{place} holds other images: choose a new folder for this fold.")
    try:
        place.symlink_to(way, target_is_directory=True)
    except OSError as error:
        raise OarfuseError(
            f"{place} cannot become a link ({error.strerror or error}): choose a folder on a disk "
            "that allows links."
        ) from error
