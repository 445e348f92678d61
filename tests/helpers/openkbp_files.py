"""Small sources in OpenKBP's layout for the data tests, and the way to the real data."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

STEMS = ("Brainstem", "SpinalCord", "RightParotid", "LeftParotid", "Mandible")
SPACING = "4.5\n4.0\n2.5\n"

_REAL = Path(
    os.environ.get(
        "OARFUSE_OPENKBP",
        Path(__file__).parents[3] / "shared/data/open-kbp-train-validation.zip",
    )
)
needs_real_data = pytest.mark.skipif(
    not _REAL.exists(),
    reason="the real OpenKBP data is not here: set OARFUSE_OPENKBP to its ZIP or folder",
)


def real_data() -> Path:
    return _REAL


def flat(i: int, j: int, k: int) -> int:
    """Index of a voxel in the data set's files."""
    return (i * 128 + j) * 128 + k


def mask_csv(indices: Iterable[int]) -> str:
    return ",data\n" + "".join(f"{index},\n" for index in indices)


def ct_csv(values: dict[int, float | str]) -> str:
    return ",data\n" + "".join(f"{index},{value}\n" for index, value in values.items())


def patient_files(seed: int = 0) -> dict[str, str]:
    """One made-up patient: a block of CT and five organs of 8 voxels each, of which two overlap."""
    rng = np.random.default_rng(seed)
    block = [flat(i, j, k) for i in range(40, 50) for j in range(40, 60) for k in range(60, 70)]
    files = {
        "ct": ct_csv(
            {
                index: f"{value}.0"
                for index, value in zip(block, rng.integers(1, 2500, 2000).tolist(), strict=True)
            }
        ),
        "voxel_dimensions": SPACING,
        "possible_dose_mask": mask_csv(block[:100]),
    }
    for number, stem in enumerate(STEMS):
        start = flat(42, 42 + 3 * number, 61)
        files[stem] = mask_csv(range(start, start + 8))
    files["SpinalCord"] += f"{flat(42, 42, 61)},\n"  # the brainstem's first voxel
    return files


def write_source(folder: Path, patients: dict[str, dict[str, str]]) -> Path:
    """Write `{"train/pt_1": {stem: text}}` below `folder`/provided-data; return `folder`."""
    for place, files in patients.items():
        split, case = place.split("/")
        target = folder / "provided-data" / f"{split}-pats" / case
        target.mkdir(parents=True)
        for stem, text in files.items():
            (target / f"{stem}.csv").write_text(text, newline="")
    return folder


def zip_source(folder: Path, path: Path, prefix: str = "open-kbp-master/") -> Path:
    """Pack a source as GitHub does."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path


def three_patients() -> dict[str, dict[str, str]]:
    return {
        "train/pt_2": patient_files(2),
        "train/pt_10": patient_files(10),
        "validation/pt_201": patient_files(201),
    }
