"""Run notebooks through papermill, in order; keep the executed copy and the kernel's stderr.

python data_scripts/run_notebooks.py --output build/notebooks notebooks/0*.ipynb
python data_scripts/run_notebooks.py -f PARAMETERS.yaml --output build/openkbp notebooks/0*.ipynb
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import papermill
import yaml


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="folder for executed copies")
    parser.add_argument("-f", "--parameters", type=Path, help="YAML file with parameters")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    given = {}
    if options.parameters:
        given = yaml.safe_load(options.parameters.read_text(encoding="utf-8"))
    for notebook in options.notebooks:
        # One parameters file serves all notebooks; each takes what it declares.
        known = papermill.inspect_notebook(str(notebook))
        executed = options.output / notebook.name
        began = time.monotonic()
        with open(executed.with_suffix(".stderr.txt"), "w", encoding="utf-8") as stderr:
            try:
                papermill.execute_notebook(
                    str(notebook),
                    str(executed),
                    parameters={key: value for key, value in given.items() if key in known},
                    cwd=str(notebook.parent),
                    progress_bar=False,
                    stderr_file=stderr,
                )
            except papermill.PapermillExecutionError as error:
                print(f"{notebook.name}: failed in cell {error.exec_count} ({error.ename}: "
                      f"{error.evalue}); see {executed}.", file=sys.stderr)  # fmt: skip
                return 1
        print(f"{notebook.name}: {time.monotonic() - began:.0f} s, {executed}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
