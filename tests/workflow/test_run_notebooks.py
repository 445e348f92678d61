"""`run_notebooks.py`: parameters, names and outputs are checked before the first notebook runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from oarfuse.errors import OarfuseError
from workflow.run_notebooks import main

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "workflow" / "run_notebooks.py"
PARAMETERS = """\
data_dir = 'x'  # a folder
steps = 3
rate = 0.5
augment = True
source = None
sides = [1]
recipe = {
    'a': 1,
}
"""


def write_notebook(path: Path, parameters: str, code: str) -> None:
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    notebook.cells = [
        nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(code),
    ]
    path.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, path)


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, words)], capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_notebook(tmp_path / "notebooks/00_a.ipynb", PARAMETERS, "print(steps)")
    write_notebook(tmp_path / "notebooks/01_b.ipynb", "only_here = 1", "pass")
    write_notebook(tmp_path / "other/00_a.ipynb", PARAMETERS, "print(steps)")
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    (tmp_path / "list.yaml").write_text("- steps\n")
    (tmp_path / "bad.yaml").write_text("steps: [1\n")
    (tmp_path / "unknown.yaml").write_text("stepz: 1\n")
    (tmp_path / "text.ipynb").write_text("no notebook")
    (tmp_path / "twice.yaml").write_text("steps: 5\nsides: [2]\nsteps: 6\n")
    (tmp_path / "documents.yaml").write_text("steps: 5\n---\nsteps: 6\n")
    (tmp_path / "code.yaml").write_text("steps: !!python/object/apply:os.getpid []\n")
    (tmp_path / "old.ipynb").write_text('{"nbformat": 3, "metadata": {}, "worksheets": []}')
    cut = {"nbformat": 4, "metadata": {}, "cells": [{"cell_type": "code", "metadata": {}}]}
    (tmp_path / "cut.ipynb").write_text(json.dumps(cut))
    write_notebook(tmp_path / "two.ipynb", PARAMETERS, "steps = 4")
    two = nbformat.read(tmp_path / "two.ipynb", as_version=4)
    two.cells[1].metadata["tags"] = ["parameters"]
    nbformat.write(two, tmp_path / "two.ipynb")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-p", "step", "10"], "No notebook takes the parameter 'step': choose among augment"),
        (["-f", "{}/unknown.yaml"], "No notebook takes the parameter 'stepz'"),
        (["-f", "{}/list.yaml"], "is no list of names with values"),
        (["-f", "{}/bad.yaml"], "is no YAML"),
        (["-f", "{}/gone.yaml"], "gone.yaml cannot be read"),
        (["-p", "steps", "a: b: c"], "-p steps is no YAML"),
        (["-p", "data_dir", "7"], "data_dir is 7 (int)"),
        (["-p", "data_dir", "2024-05-06"], "takes a text"),
        (["-p", "source", "7"], "takes a text, or none"),
        (["-p", "steps", "1e3"], "takes a whole number"),
        (["-p", "steps", "yes"], "takes a whole number"),
        (["-p", "rate", "fast"], "takes a finite number"),
        (["-p", "augment", "1"], "takes true or false"),
        (["-p", "sides", "3"], "takes a list"),
        (["-p", "recipe", "[a]"], "takes names with values"),
        (["{}/other/00_a.ipynb"], "have one name"),
        (["{}/gone.ipynb"], "gone.ipynb cannot be read"),
        (["{}/text.ipynb"], "text.ipynb cannot be read (no JSON)"),
        (["{}/notebooks"], "cannot be read"),
    ],
)
def test_mistakes_are_named_before_anything_runs(folder: Path, words: list[str], says: str) -> None:
    words = [word.replace("{}", str(folder)) for word in words]
    told = run(folder / "notebooks/00_a.ipynb", *words, "--output", folder / "out")
    assert told.returncode == 2
    (line,) = told.stderr.splitlines()
    assert line.startswith("run_notebooks: error: ") and says in line
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-f", "{}/twice.yaml"], "a name stands there twice"),
        (["-f", "{}/documents.yaml"], "expected a single document"),
        (["-f", "{}/code.yaml"], "could not determine a constructor"),
        (["-f", "{}/notebooks"], "cannot be read (Is a directory)"),
        (["-p", "steps", "4", "-p", "steps", "5"], "-p steps is given twice"),
        (["-p", "steps", ""], "steps is None"),
        (["-p", "rate", ".nan"], "takes a finite number"),
        (["-p", "rate", ".inf"], "takes a finite number"),
        (["-p", "sides", "[a, b]"], "takes a list of the same kind"),
        (["-p", "sides", "[1, true]"], "takes a list of the same kind"),
        (["-p", "augment", "'true'"], "takes true or false"),
        (["{}/two.ipynb"], "has 2 cells that are tagged parameters"),
        (["{}/old.ipynb"], "is no notebook of nbformat 4"),
        (["{}/cut.ipynb"], "is no notebook of nbformat 4"),
    ],
)
def test_more_mistakes(
    folder: Path, words: list[str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As above, without a process for each."""
    words = [word.replace("{}", str(folder)) for word in words]
    notebook = str(folder / "notebooks/00_a.ipynb")
    monkeypatch.setattr(sys, "argv", ["x", notebook, *words, "--output", str(folder / "out")])
    with pytest.raises(OarfuseError) as caught:
        main()
    assert says in str(caught.value)
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    "output", ["notebooks", "other/../notebooks", "link", "other", "text.ipynb"]
)
def test_sources_are_never_overwritten(folder: Path, output: str) -> None:
    (folder / "link").symlink_to("notebooks")
    before = {path: path.read_bytes() for path in folder.rglob("*.ipynb")}
    told = run(folder / "notebooks/00_a.ipynb", "--output", folder / output)
    assert told.returncode == 2
    assert "choose another output folder" in told.stderr
    assert {path: path.read_bytes() for path in folder.rglob("*.ipynb")} == before


def test_its_old_place_leads_to_it() -> None:
    old = ROOT / "data_scripts" / "run_notebooks.py"
    told = [subprocess.run([sys.executable, str(script), "--help"], capture_output=True, check=True)
            for script in (old, SCRIPT)]  # fmt: skip
    assert told[0].stdout == told[1].stdout


def test_an_empty_yaml_and_what_other_notebooks_take(folder: Path) -> None:
    words = ["-f", folder / "empty.yaml", "-p", "only_here", "5", "-p", "steps", "4"]
    for _ in range(2):  # its own copy it replaces
        told = run(folder / "notebooks/00_a.ipynb", *words, "--output", folder / "out")
        assert told.returncode == 0, told.stderr
        assert "None of these notebooks takes only_here: it is left out.\n" in told.stderr
    copy = json.loads((folder / "out/00_a.ipynb").read_text())
    assert copy["cells"][-1]["outputs"][0]["text"] in ("4\n", ["4\n"])


def test_a_console_without_unicode(folder: Path) -> None:
    write_notebook(folder / "é/ü.ipynb", PARAMETERS, "print(steps)")
    told = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder / "é/ü.ipynb"), "--output", str(folder / "ö")],
        env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, timeout=240,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith(b"\\xfc.ipynb: ")
    assert (folder / "ö/ü.ipynb").exists()


def test_an_output_that_cannot_be_made(folder: Path) -> None:
    for output, says in (("", "What follows --output is empty"), ("a" * 300, "too long")):
        told = run(folder / "notebooks/00_a.ipynb", "--output", output)
        assert told.returncode == 2
        (line,) = told.stderr.splitlines()
        assert says in line


def test_what_ran_before_an_error_is_kept(folder: Path) -> None:
    write_notebook(folder / "notebooks/02_c.ipynb", "steps: int = 3", "print(steps)\n1 / 0")
    plain = nbformat.read(folder / "notebooks/02_c.ipynb", as_version=4)
    del plain.metadata["kernelspec"]  # as other programs write them
    nbformat.write(plain, folder / "notebooks/02_c.ipynb")
    told = run(folder / "notebooks/02_c.ipynb", "-p", "steps", "7", "--output", folder / "out")
    assert told.returncode == 1
    assert "02_c.ipynb: failed in cell 3 (ZeroDivisionError" in told.stderr
    assert not (folder / "out/02_c.ipynb").exists()
    copy = json.loads((folder / "out/02_c.unfinished.ipynb").read_text())
    printed = [out for cell in copy["cells"] for out in cell.get("outputs", ()) if "name" in out]
    assert "".join(printed[0]["text"]) == "7\n"
