"""Which patients a run has learned from and was selected on, told by the files' checksums."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from oarfuse.data.manifest import Manifest, checksums
from oarfuse.data.seen import SPLITS, about_seen, seen
from oarfuse.errors import OarfuseError
from oarfuse.weights import read_info

PATIENTS = "patients.json"
FORMAT = "oarfuse-patients/1"


def check_patients(
    run: Path, manifest: Manifest, *, weights: Path, init: Path | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Return what a run folder must remember of its patients, or refuse to go on with other ones.

    Parameters
    ----------
    run
        The run folder, new or not.
    weights
        What it has written so far: of a run without a record it tells at least the data set.
    init
        The weights that a new run begins with. If they have learnt from patients who validate here,
        that is a warning: they are often the only ones that there are.

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
    own = {"train": seen(record)["train"]}
    warned += about_seen(own, manifest, "validation", record["files"], "This run")
    path = run / PATIENTS
    earlier, there = _read(path) if path.exists() else ({}, set())
    before = read_info(init).patients if init else earlier.get("before")
    if before is not None:
        record["before"] = before
        named = f"The weights {init}" if init else "The weights that this run began with"
        warned += about_seen(before, manifest, "validation", record["files"], named)
    if not earlier:  # a new run, or one of before this record was kept
        if weights.exists() and read_info(weights).dataset != manifest.dataset:
            raise _other(run, f"the data set {read_info(weights).dataset}, not {manifest.dataset}")
        return record, warned
    if earlier["sha256"] == record["sha256"]:
        return record, warned
    here = {(case, split) for split in SPLITS for case in record["cases"][split]}
    if earlier.get("dataset") != record["dataset"]:
        what = f"the data set {earlier.get('dataset')}, not {record['dataset']}"
    elif there != here:
        what = f"other patients or another split ({sorted(there ^ here)[0][0]} differs)"
    else:
        changed = [case for case, sums in record["files"].items() if earlier["files"][case] != sums]
        what = f"other files of the same patients ({changed[0]} differs)"
    raise _other(run, what)


def _read(path: Path) -> tuple[dict[str, Any], set[tuple[str, str]]]:
    """Return a run's record, and its cases with their splits."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        there = {(case, split) for split in SPLITS for case in content["cases"][split]}
        sums = {"sha256": str(content["sha256"]), "files": dict(content["files"])}
        return {"before": None, **content, **sums}, there
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OarfuseError(
            f"{path} is damaged ({error}): choose another output folder for this run."
        ) from error


def _other(run: Path, what: str) -> OarfuseError:
    return OarfuseError(
        f"{run} holds a run on {what}: choose another output folder, or give --data as it was."
    )


def _describe(manifest: Manifest) -> tuple[dict[str, Any], list[str]]:
    cases = [case for split in SPLITS for case in manifest.split(split)]
    sums, warned = checksums(cases)
    content = {
        "dataset": manifest.dataset,
        "cases": {split: [case.case for case in manifest.split(split)] for split in SPLITS},
        "files": {name: f"{of['image']} {of['label']}" for name, of in sums.items()},
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return {"format": FORMAT, "sha256": digest, **content}, warned
