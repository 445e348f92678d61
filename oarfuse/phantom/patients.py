"""The embedded data sets: phantoms in the real ones' own layouts, read by the same code."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oarfuse.data import synapse
from oarfuse.data.openkbp.source import ORGAN_FILES
from oarfuse.data.openkbp.sparse_csv import CT_OFFSET
from oarfuse.data.splits import PHANTOM_MARKER, SPLITS
from oarfuse.errors import OarfuseError
from oarfuse.files import write_json
from oarfuse.organs import get_spec
from oarfuse.phantom.abdomen import draw_abdomen, write_patient
from oarfuse.phantom.head import Phantom, draw_head
from oarfuse.phantom.sizes import SIZES

# Everything that a phantom consists of; a folder with more in it is never replaced.
_OWN = re.compile(
    r"phantom\.json|(.*/)?\.DS_Store"
    r"|provided-data/(train|validation|test)-pats/pt_\d+/\w+\.csv"
    r"|RawData/Training/(img|label)/(img|label)\d{4}\.nii\.gz"
)
VERSION = 1  # of the drawing; a change makes older phantoms count as different


def make_phantom(
    output: str | Path,
    *,
    dataset: str = "openkbp",
    train: int = SIZES["train"],
    validation: int = SIZES["validation"],
    test: int = SIZES["test"],
    seed: int = 0,
    incomplete: int = 0,
) -> Path:
    """Draw a procedural data set in the real one's layout.

    Writes the layout and a marker file by which everything made from it is recorded as a phantom.
    It looks like a CT and is no patient: scores on it say that code works, nothing about a method.

    openkbp
        Head and neck, ``provided-data/{train,validation,test}-pats/pt_N/*.csv``.
    synapse
        Abdomen, ``RawData/Training/{img,label}``, numbered as the challenge's patients in
        TransUNet's split. The challenge has no validation split: prepare with
        ``validation=validation`` to hold those patients out.

    The folder appears only when it is whole. Called again with the same arguments it does nothing;
    with others it replaces a phantom, and nothing but a phantom.

    Parameters
    ----------
    output
        The folder to make. Give it to ``prepare_openkbp`` or ``prepare_synapse`` as the source.
    dataset
        ``openkbp`` or ``synapse``.
    train, validation, test
        Patients in each split, all with the five organs. Synapse has at most 18 train and
        validation and 12 test patients; now and then one lacks the gallbladder, as real ones do.
    seed
        Patient N of a seed is the same whatever the number of patients.
    incomplete
        Additional training patients that lack an organ, as some of the real ones do (openkbp).

    Returns
    -------
    `output` as a path.

    Raises
    ------
    OarfuseError
        If the numbers are negative, all zero or more than the data set has, or `output` holds
        something else.
    """
    get_spec(dataset)
    counts = {"train": train, "validation": validation, "test": test}
    if min(*counts.values(), incomplete, seed) < 0 or not any(counts.values()):
        raise OarfuseError(
            f"A phantom of {counts} patients, {incomplete} incomplete, with seed {seed} cannot be "
            "drawn: give numbers of 0 or more, and at least one patient."
        )
    if dataset == "synapse" and (
        train + validation > len(synapse.TRAIN) or test > len(synapse.TEST) or incomplete
    ):
        raise OarfuseError(
            f"A synapse phantom of {counts} patients, {incomplete} incomplete, does not fit the "
            f"challenge's numbering: at most {len(synapse.TRAIN)} train and validation and "
            f"{len(synapse.TEST)} test patients, none incomplete."
        )
    output = Path(output)
    if output.is_symlink():
        output = output.resolve()  # replace what it leads to, not the link
    marker = {"phantom": VERSION, "dataset": dataset, **counts}
    marker |= {"incomplete": incomplete, "seed": seed}
    if _holds(output, marker):
        return output
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    except OSError as error:
        raise OarfuseError(
            f"Cannot write {output} ({error.strerror or error}): choose another folder."
        ) from error
    try:
        if dataset == "synapse":
            _write_abdomens(partial / "RawData" / "Training", train + validation, test, seed)
        else:
            _write_patients(partial / "provided-data", counts, incomplete, seed)
        write_json(partial / PHANTOM_MARKER, marker)
        partial.chmod(0o755)
        if output.exists():
            shutil.rmtree(output)  # _holds() has made sure that it is a phantom or empty
        partial.rename(output)
    except OSError as error:
        raise OarfuseError(
            f"Cannot write {output} ({error.strerror or error}): free some space or choose another "
            "folder."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return output


def _holds(output: Path, marker: dict[str, Any]) -> bool:
    """Whether the very phantom is there; raise if something stands there that is none."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return False
    try:
        there = json.loads((output / PHANTOM_MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise OarfuseError(
            f"{output} holds something that is not a phantom: choose a new folder for the phantom."
        ) from None
    if there == marker:
        return True
    for file in output.rglob("*"):  # another phantom, about to be replaced
        name = file.relative_to(output).as_posix()
        if (file.is_symlink() or not file.is_dir()) and not _OWN.fullmatch(name):
            raise OarfuseError(
                f"{output} holds {name} beside another phantom: choose a new folder for the "
                "phantom, or move that file away."
            )
    return False


def _write_patients(root: Path, counts: dict[str, int], incomplete: int, seed: int) -> None:
    places = [split for split in SPLITS for _ in range(counts[split])] + ["train"] * incomplete
    organs = list(ORGAN_FILES)

    def write(number: int) -> None:
        lacking = None
        if number > len(places) - incomplete:
            lacking = organs[(number - 1) % len(organs)]
        drawn = draw_head(np.random.default_rng((seed, number)))
        _write_patient(root / f"{places[number - 1]}-pats" / f"pt_{number}", drawn, lacking)

    with ThreadPoolExecutor() as pool:  # NumPy releases the interpreter lock
        list(pool.map(write, range(1, len(places) + 1)))


def _write_abdomens(training: Path, train: int, test: int, seed: int) -> None:
    def write(number: int) -> None:
        drawn = draw_abdomen(np.random.default_rng((seed, number)))
        write_patient(training, number, drawn)

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, synapse.TRAIN[:train] + synapse.TEST[:test]))


def _write_patient(folder: Path, drawn: Phantom, lacking: str | None) -> None:
    folder.mkdir(parents=True)
    indices = np.flatnonzero(drawn.has_ct)
    values = drawn.ct.reshape(-1)[indices].astype(int) + CT_OFFSET
    _write_rows(folder / "ct.csv", indices, [f"{value}.0" for value in values.tolist()])
    masks = {ORGAN_FILES[organ]: mask for organ, mask in drawn.masks.items() if organ != lacking}
    for stem, mask in {**masks, "possible_dose_mask": drawn.dose_mask}.items():
        voxels = np.flatnonzero(mask)
        _write_rows(folder / f"{stem}.csv", voxels, [""] * len(voxels))
    sizes = "".join(f"{size:.18e}\n" for size in drawn.spacing_mm)
    (folder / "voxel_dimensions.csv").write_text(sizes, encoding="ascii")


def _write_rows(path: Path, indices: NDArray[np.int64], values: list[str]) -> None:
    rows = "".join(
        f"{index},{value}\n" for index, value in zip(indices.tolist(), values, strict=True)
    )
    path.write_text(",data\n" + rows, encoding="ascii", newline="\n")
