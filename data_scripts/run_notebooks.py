"""Run notebooks through papermill, in order; keep the executed copy and the kernel's stderr.

python data_scripts/run_notebooks.py --output build/notebooks notebooks/0*.ipynb
python data_scripts/run_notebooks.py -f PARAMETERS.yaml --output build/openkbp notebooks/0*.ipynb

A copy gets the notebook's name when the notebook has run to its end. Until then, and for good when
it fails or is killed, the copy is NAME.unfinished.ipynb, with the cells that ran.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import papermill
import yaml

from oarfuse.viewing.static import keep_pictures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="folder for executed copies")
    parser.add_argument("-f", "--parameters", type=Path, help="YAML file with parameters")
    parser.add_argument(
        "-p", dest="more", nargs=2, action="append", default=[], metavar=("NAME", "VALUE")
    )
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    given: dict[str, Any] = {name: yaml.safe_load(value) for name, value in options.more}
    if options.parameters:
        given = yaml.safe_load(options.parameters.read_text(encoding="utf-8")) | given
    for notebook in options.notebooks:
        began = time.monotonic()
        executed = options.output / notebook.name
        failure = run(notebook, executed, given)
        if failure:
            print(failure, file=sys.stderr)
            return 1
        print(f"{notebook.name}: {time.monotonic() - began:.0f} s, {executed}", flush=True)
    return 0


def run(notebook: Path, executed: Path, given: dict[str, Any]) -> str | None:
    """Run one notebook; return what went wrong, if something did."""
    # One set of parameters serves all notebooks; each takes what it declares.
    known = papermill.inspect_notebook(str(notebook))
    unfinished = executed.with_suffix(".unfinished.ipynb")
    with open(executed.with_suffix(".stderr.txt"), "w", encoding="utf-8") as stderr:
        try:
            papermill.execute_notebook(
                str(notebook),
                str(unfinished),
                parameters={key: value for key, value in given.items() if key in known},
                cwd=str(notebook.parent),
                progress_bar=False,
                stderr_file=stderr,
            )
        except papermill.PapermillExecutionError as error:
            return (
                f"{notebook.name}: failed in cell {error.exec_count} ({error.ename}: "
                f"{error.evalue}); see {unfinished}."
            )
    keep_pictures(unfinished)  # nobody's kernel runs where these copies are read
    os.replace(unfinished, executed)
    return None


if __name__ == "__main__":
    sys.exit(main())
