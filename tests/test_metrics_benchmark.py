"""The metrics benchmark still runs, and its sides still agree. Nothing here asserts a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "metrics.py"


def test_smoke_run() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(BENCHMARK), "--smoke"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    # Also states the largest difference between MONAI's values and ours.
    differences = [line for line in done.stdout.splitlines() if "largest difference" in line]
    monai = [float(line.rsplit(" ", 1)[1]) for line in differences if "MONAI" in line]
    assert len(monai) == 2 and max(monai) < 1e-5
