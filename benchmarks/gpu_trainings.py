"""The trainings that issue "Convergence" asks for, a group at a time, side by side on one GPU.

    python benchmarks/gpu_trainings.py --data PREPARED --output OUT

Runs the first runs of the list that have no folder under results/openkbp/gpu yet, as many at once
as `SIDE_BY_SIDE`, all by the same recipe: batches of 8, one rise and one cosine over the whole
budget, equal minutes of training. They share the card alike, so that a run's minutes are a third
of it; a step's cost, not only its launches, decides how many steps it makes. What comes of them is
written to OUT: NAME.safetensors in half precision, and records.tar with each run's configuration,
environment, log and validation curve. `python benchmarks/gpu_results.py OUT` takes it from there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oarfuse.runs import CONFIG, ENVIRONMENT, LOG, VALIDATION, export_weights

RESULTS = Path(__file__).parents[1] / "results" / "openkbp" / "gpu"
SIDE_BY_SIDE = 3
MINUTES = 4.5
# The rate's upper end is the paper's. Of 0.001, 0.002 and 0.004, tried for a minute each, the two
# larger ones reached 0.755 and 0.758 on validation and the small one 0.162.
RECIPE = {
    "batch-size": 8,
    "schedule": "cosine",
    "min-lr": 1e-5,
    "max-lr": 0.003,
    "ema-decay": 0.999,
    "steps": 100_000,
    "validate-every": 1000,
    "checkpoint-every": 2000,
}
SMOKE = {"batch-size": 1, "steps": 2, "validate-every": 2, "schedule": "cosine", "workers": 0}


@dataclass(frozen=True)
class Run:
    """A training: its name, and what it does not share with the others."""

    name: str
    model: str
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)


def runs() -> list[Run]:
    """Return all of them, the most wanted first; each three in a row run side by side."""
    ours, trio = "oarfocalfusenet", ("oarfocalfusenet", "msf3d", "dynunet")
    seeds = [Run(f"{model}-seed{seed}", model, seed) for seed in range(3) for model in trio]
    rest = ("unet3d", "attunet", "unetr", "swinunetr")
    changes: dict[str, dict[str, Any]] = {
        "no-exchange": {"exchange": False},
        "no-gates": {"gates": False},
        "no-global-level": {"global_context": False},
        "1-level": {"focal_levels": 1},
        "3-levels": {"focal_levels": 3},
        "4-levels": {"focal_levels": 4},
    }
    ablations = [
        Run(f"{name}-seed{seed}", ours, seed, options)
        for seed in (0, 1)
        for name, options in changes.items()
    ]
    return [*seeds, *(Run(f"{model}-seed0", model) for model in rest), *ablations]


def command(run: Run, data: Path, folder: Path, *, minutes: float, smoke: bool) -> list[str]:
    recipe: dict[str, Any] = SMOKE if smoke else RECIPE | {"minutes": minutes}
    small = smoke and run.model in ("oarfocalfusenet", "msf3d")
    options = run.options | ({"width": 2} if small else {})
    words = [sys.executable, "-m", "oarfuse.cli", "train", "--data", str(data)]
    words += ["--model", run.model, "--output", str(folder), "--seed", str(run.seed)]
    words += ["--model-options", json.dumps(options)]
    words += ["--patch-size", "32", "16", "16"] if smoke else []
    return words + [word for key, value in recipe.items() for word in (f"--{key}", str(value))]


def train_side_by_side(
    chosen: Sequence[Run], data: Path, output: Path, *, minutes: float, smoke: bool
) -> list[Path]:
    """Train and return the run folders of those that ended well."""
    folders = [output / "runs" / run.name for run in chosen]
    started = []
    for run, folder in zip(chosen, folders, strict=True):
        folder.parent.mkdir(parents=True, exist_ok=True)
        words = command(run, data, folder, minutes=minutes, smoke=smoke)
        with folder.with_suffix(".txt").open("w", encoding="utf-8") as said:
            started.append(subprocess.Popen(words, stdout=said, stderr=subprocess.STDOUT))
    begun = time.monotonic()
    while any(process.poll() is None for process in started):
        time.sleep(0.5 if smoke else 5)
        if not smoke and int(time.monotonic() - begun) % 30 < 5:
            for folder in folders:
                if (folder / LOG).exists():
                    last = (folder / LOG).read_text(encoding="utf-8").splitlines()[-1]
                    print(folder.name, *last.split(",")[:3], flush=True)
    ended = []
    for folder, process in zip(folders, started, strict=True):
        if process.returncode:
            text = folder.with_suffix(".txt").read_text(encoding="utf-8")
            print(f"{folder.name} ended with {process.returncode}: {text[-800:]}", flush=True)
        else:
            ended.append(folder)
            print(folder.name, (folder / VALIDATION).read_text(encoding="utf-8"), flush=True)
    return ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="prepared folder")
    parser.add_argument("--output", type=Path, required=True, help="folder for what comes of it")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of training, for each run")
    parser.add_argument("--work", type=Path, help="folder for the runs (default: the output)")
    parser.add_argument("--smoke", action="store_true", help="two tiny steps of one run")
    options = parser.parse_args()
    lacking = [run for run in runs() if not (RESULTS / run.name).exists()]
    chosen = lacking[: 1 if options.smoke else SIDE_BY_SIDE]
    print("training:", ", ".join(run.name for run in chosen) or "nothing is lacking", flush=True)
    options.output.mkdir(parents=True, exist_ok=True)
    folders = train_side_by_side(
        chosen,
        options.data,
        options.work or options.output,
        minutes=options.minutes,
        smoke=options.smoke,
    )
    # The records first: they are small, and the time may end while the weights are written.
    with tarfile.open(options.output / "records.tar", "w") as records:
        for folder in folders:
            for name in (CONFIG, ENVIRONMENT, LOG, VALIDATION):
                if (folder / name).exists():
                    records.add(folder / name, f"{folder.name}/{name}")
    for folder in folders:
        export_weights(folder, options.output / f"{folder.name}.safetensors")


if __name__ == "__main__":
    main()
