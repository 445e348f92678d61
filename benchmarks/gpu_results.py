"""Take what `gpu_trainings.py` wrote into results/openkbp/gpu, scored on the validation patients.

    python benchmarks/gpu_results.py OUT --data PREPARED

For each OUT/NAME.safetensors: its records from records.tar, and what `oarfuse evaluate` says of
these half-precision weights. Then `python -m reports` brings README up to date,
and `python -m reports.publish_weights OUT/runs/NAME` publishes one of them.
"""

from __future__ import annotations

import argparse
import shutil
import tarfile
from pathlib import Path

from gpu_trainings import RESULTS

from oarfuse.evaluation import evaluate
from oarfuse.evaluation.folder import PAGE, SUMMARY, TABLES
from oarfuse.files import sha256
from oarfuse.runs import WEIGHTS

SCORES = (*TABLES.values(), SUMMARY, PAGE)


def collect(output: Path, data: Path) -> list[Path]:
    """Return the folders that were written."""
    runs = output / "runs"
    with tarfile.open(output / "records.tar") as archive:
        archive.extractall(runs, filter="data")
    written = []
    for weights in sorted(output.glob("*.safetensors")):
        folder = runs / weights.stem
        shutil.copyfile(weights, folder / WEIGHTS)
        scores = output / "scores" / f"{weights.stem}-{sha256(weights)[:10]}"
        evaluate(folder / WEIGHTS, data, "validation", scores)
        target = RESULTS / weights.stem
        target.mkdir(parents=True, exist_ok=True)
        kept = [*folder.glob("*.json"), *folder.glob("*.csv")]
        for path in [*(scores / name for name in SCORES), *kept]:
            shutil.copyfile(path, target / path.name)
        written.append(target)
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path, help="what gpu_trainings.py wrote")
    parser.add_argument("--data", type=Path, required=True, help="prepared folder")
    options = parser.parse_args()
    for folder in collect(options.output, options.data):
        print(folder)


if __name__ == "__main__":
    main()
