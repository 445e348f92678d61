"""What nbval cannot see: one parameters cell, outputs where they are compared, no traces."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
LESSONS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("[0-9]*.ipynb"))
ALL = [pytest.param(path, id=path.stem) for path in LESSONS + SOLUTIONS]


def cells(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def tagged(path: Path, tag: str) -> list[dict[str, Any]]:
    return [cell for cell in cells(path) if tag in cell["metadata"].get("tags", [])]


def test_there_are_notebooks() -> None:
    assert len(LESSONS) >= 5


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in LESSONS])
def test_one_parameters_cell_of_plain_assignments(path: Path) -> None:
    (cell,) = tagged(path, "parameters")
    lines = "".join(cell["source"]).splitlines()
    code = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    assert code
    # papermill injects its values after this cell: nothing may be derived or called in it
    assert not re.search(r"\w\(", "\n".join(line.split("#")[0] for line in code))


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in LESSONS])
def test_lesson_keeps_the_order(path: Path) -> None:
    text = "\n".join("".join(c["source"]) for c in cells(path) if c["cell_type"] == "markdown")
    places = [
        text.find(heading) for heading in ("Aim", "Theory", "Practice", "Discussion", "Exercises")
    ]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.parametrize("path", ALL)
def test_outputs_come_from_a_clean_run(path: Path) -> None:
    code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
    counts = [cell["execution_count"] for cell in code if "".join(cell["source"]).strip()]
    assert counts == list(range(1, len(counts) + 1))
    for cell in code:
        for output in cell["outputs"]:
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr"


@pytest.mark.parametrize("path", ALL)
def test_compared_cells_have_something_to_compare(path: Path) -> None:
    for cell in tagged(path, "nbval-check-output"):
        assert cell["outputs"], "".join(cell["source"])


@pytest.mark.parametrize("path", ALL)
def test_no_trace_of_a_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(work|home|root|tmp|Users)/\w", text)
    assert "papermill" not in json.loads(text)["metadata"]
    for cell in cells(path):
        assert "papermill" not in cell["metadata"]
    assert path.stat().st_size < 2_000_000
