"""Whom weights have learnt from and were selected on, and whether such patients test them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from oarfuse.data.manifest import Manifest

SPLITS = ("train", "validation")  # no run sees the test patients
_DIGITS = 16  # of a checksum, enough to tell the patients of a data set apart
Seen = Mapping[str, Sequence[str]]


def seen(record: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return whom a run's weights know, from its record: by split, the marks of their images.

    A mark is the beginning of the image file's SHA-256. Those of the weights that the run began
    with are among them.
    """
    marks: dict[str, set[str]] = {split: set() for split in SPLITS}
    for split in SPLITS:
        marks[split] |= set((record.get("before") or {}).get(split, ()))
        marks[split] |= {record["files"][case][:_DIGITS] for case in record["cases"][split]}
    return {split: sorted(found) for split, found in marks.items()}


def about_seen(
    patients: Seen, manifest: Manifest, split: str, files: Mapping[str, str], whose: str
) -> list[str]:
    """Return a sentence, also given as a warning, if scores on a split are of known patients.

    Parameters
    ----------
    patients
        What `seen` returned for the weights; empty if nobody wrote it down.
    manifest, split
        Who is scored. Of ``train`` everybody knows that the weights have seen it.
    files
        A text by case that begins with the SHA-256 of the case's image.
    whose
        How the sentence calls the weights.
    """
    cases = [case.case for case in manifest.split(split)]
    said: list[str] = []
    if split == "train":
        return said
    if not patients and ", fold " in manifest.split_rule:
        said.append(
            f"{whose} do not tell which patients they learnt from, and {manifest.folder} is a fold "
            f"and not the data set's own split: its {split} patients may be among them."
        )
    for how, known in (("learnt from", "train"), ("were selected on", "validation")):
        marks = set(patients.get(known, ()))
        met = [case for case in cases if files[case][:_DIGITS] in marks]
        if met and known != split:
            said.append(
                f"{whose} {how} {len(met)} of these {len(cases)} {split} patients ({met[0]}): "
                "the scores are too good; take other patients, or weights of another fold."
            )
    for sentence in said:
        warnings.warn(sentence, stacklevel=3)
    return said
