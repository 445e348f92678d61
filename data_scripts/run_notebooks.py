"""Run notebooks in order: what `python workflow/run_notebooks.py` does, whose old place this is."""

import runpy
from pathlib import Path

if __name__ == "__main__":
    script = Path(__file__).parents[1] / "workflow" / "run_notebooks.py"
    runpy.run_path(str(script), run_name="__main__")
