"""Which patients have which organs: how 188 of OpenKBP's 340 come about."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from importlib import resources
from typing import TYPE_CHECKING

from oarfuse.data.openkbp.source import ORGAN_FILES, Patient
from oarfuse.data.splits import SPLITS

if TYPE_CHECKING:
    import pandas as pd


def organ_files(patients: Iterable[Patient]) -> pd.DataFrame:
    """Count the patients of a source by the organs that they have a file for.

    Parameters
    ----------
    patients
        Of an open source (`oarfuse.data.openkbp.source.open_source`).

    Returns
    -------
    One row for each combination that occurs: ``split``, one boolean column an organ, ``organs``
    (how many of the five), ``patients``. The largest groups of a split come first.
    """
    counts = Counter(
        (patient.split, tuple(file in patient.files for file in ORGAN_FILES.values()))
        for patient in patients
    )
    return _table([(split, has, number) for (split, has), number in counts.items()])


def public_organ_files() -> pd.DataFrame:
    """Return the same table for all 340 patients of the public data set, which need not be here.

    The counts are stored with the kit; ``frame.attrs["source"]`` says where they come from.
    """
    text = resources.files("oarfuse").joinpath("resources/openkbp_organ_files.json")
    content = json.loads(text.read_text("utf-8"))
    frame = _table(
        [
            (row["split"], tuple(organ in row["organs"] for organ in ORGAN_FILES), row["patients"])
            for row in content["rows"]
        ]
    )
    frame.attrs["source"] = content["source"]
    return frame


def _table(counts: list[tuple[str, tuple[bool, ...], int]]) -> pd.DataFrame:
    import pandas as pd

    counts.sort(key=lambda row: (SPLITS.index(row[0]), -sum(row[1]), -row[2], row[1]))
    rows = [
        {"split": split, **dict(zip(ORGAN_FILES, has, strict=True))}
        | {"organs": sum(has), "patients": number}
        for split, has, number in counts
    ]
    return pd.DataFrame(rows, columns=["split", *ORGAN_FILES, "organs", "patients"])
