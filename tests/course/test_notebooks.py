"""What nbval cannot see: one parameters cell, outputs where they are compared, no traces."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from oarfuse.course.static import WIDGET

ROOT = Path(__file__).parents[2]
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
    assert path.stat().st_size < 4_000_000  # pictures have twice the usual pixels


@pytest.mark.parametrize("path", ALL)
def test_code_fits_the_page(path: Path) -> None:
    wide = [
        line
        for cell in cells(path)
        if cell["cell_type"] == "code"
        for line in "".join(cell["source"]).splitlines()
        if len(line) > 90
    ]
    assert wide == []


def test_set_up_cell_is_the_same_everywhere() -> None:
    """One text, which on Colab needs one value of the reader's and elsewhere does nothing."""
    texts = {
        "".join(cell["source"]) for path in LESSONS + SOLUTIONS for cell in tagged(path, "setup")
    }
    assert len(texts) == 1
    assert all(len(tagged(path, "setup")) == 1 for path in LESSONS + SOLUTIONS)
    assert re.search(r'^REPOSITORY = ""', texts.pop(), re.MULTILINE)


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in LESSONS])
def test_every_exercise_has_a_solution_that_its_check_accepts(path: Path) -> None:
    def checks(notebook: Path, pattern: str) -> set[str]:
        code = "\n".join("".join(c["source"]) for c in cells(notebook) if c["cell_type"] == "code")
        return set(re.findall(pattern, code, re.MULTILINE))

    asked = checks(path, r"^(check_\d\d_\w+)\(")
    solution = path.parent / "solutions" / f"{path.stem}_solutions.ipynb"
    assert len(asked) >= 3
    assert checks(solution, r"^\s*assert (check_\d\d_\w+)\(") == asked


@pytest.mark.parametrize("path", ALL)
def test_widgets_show_their_picture(path: Path) -> None:
    """A widget is dead on a page without its kernel (see `oarfuse.course.static`)."""
    outputs = [o for cell in cells(path) for o in cell.get("outputs", [])]
    assert not any(WIDGET in output.get("data", {}) for output in outputs)
