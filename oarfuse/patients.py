"""Which patients a run has learned from and was selected on, told by the files' checksums."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from oarfuse.data.manifest import Manifest, checksums
from oarfuse.errors import OarfuseError
from oarfuse.weights import read_info

PATIENTS = "patients.json"
FORMAT = "oarfuse-patients/1"
_SPLITS = ("train", "validation")  # no run sees the test patients


def check_patients(
    run: Path, manifest: Manifest, *, weights: Path
) -> tuple[dict[str, Any], list[str]]:
    """Return what a run folder must remember of its patients, or refuse to go on with other ones.

    Parameters
    ----------
    run
        The run folder, new or not.
    weights
        What it has written so far: of a run without a record it tells at least the data set.

    Returns
    -------
    record, warnings
        The content of ``patients.json``, and sentences for the record of this session.

    Raises
    ------
    OarfuseError
        If the folder holds a run on other patients, or their files cannot be read.
    """
    record, warned = _describe(manifest)
    path = run / PATIENTS
    if not path.exists():  # a new run, or one of before this record was kept
        if weights.exists() and read_info(weights).dataset != manifest.dataset:
            raise _other(run, f"the data set {read_info(weights).dataset}, not {manifest.dataset}")
        return record, warned
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
        same = earlier["sha256"] == record["sha256"]
        cases = earlier["cases"]
        there = {(case, split) for split in _SPLITS for case in cases[split]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OarfuseError(
            f"{path} is damaged ({error}): choose another output folder for this run."
        ) from error
    if same:
        return record, warned
    here = {(case, split) for split in _SPLITS for case in record["cases"][split]}
    if earlier.get("dataset") != record["dataset"]:
        what = f"the data set {earlier.get('dataset')}, not {record['dataset']}"
    elif there != here:
        what = f"other patients or another split ({sorted(there ^ here)[0][0]} differs)"
    else:
        changed = [case for case, sums in record["files"].items() if earlier["files"][case] != sums]
        what = f"other files of the same patients ({changed[0]} differs)"
    raise _other(run, what)


def _other(run: Path, what: str) -> OarfuseError:
    return OarfuseError(
        f"{run} holds a run on {what}: choose another output folder, or give --data as it was."
    )


def _describe(manifest: Manifest) -> tuple[dict[str, Any], list[str]]:
    cases = [case for split in _SPLITS for case in manifest.split(split)]
    sums, warned = checksums(cases)
    content = {
        "dataset": manifest.dataset,
        "cases": {split: [case.case for case in manifest.split(split)] for split in _SPLITS},
        "files": {name: f"{of['image']} {of['label']}" for name, of in sums.items()},
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return {"format": FORMAT, "sha256": digest, **content}, warned
