"""Real patients that come with the kit: no download, a few megabytes.

Twenty-six head-and-neck patients of OpenKBP (MIT) and one abdominal CT of TotalSegmentator's test
files (Apache-2.0). ``README.md`` beside this file gives sources, licences, citations and
checksums; ``data_scripts/make_sample.py`` made the files. No test patient is among them.
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent


def openkbp_sample() -> Path:
    """Return the prepared folder of 26 OpenKBP patients: 6 train and all 20 validation patients.

    Read it with `oarfuse.data.load_manifest`; it is what ``oarfuse prepare openkbp`` wrote. Scores
    on its validation patients are those of README's tables.
    """
    return HERE / "openkbp"


def openkbp_source() -> Path:
    """Return a ZIP with one of these train patients as the data set's own CSV files."""
    return HERE / "openkbp-csv.zip"


def abdomen_sample() -> tuple[Path, Path]:
    """Return an abdominal CT and its labels, NIfTI files on one grid.

    The label values are those of `oarfuse.organs.SYNAPSE`. The labels are TotalSegmentator's
    output and no reader's contours: agreement with them is agreement with that program.
    """
    return HERE / "abdomen" / "ct.nii.gz", HERE / "abdomen" / "labels.nii.gz"
