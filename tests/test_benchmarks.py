"""The benchmarks still run: each in its smoke mode, which writes nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["training_step", "pipeline"])
def test_smoke_mode_runs_and_writes_nothing(name: str) -> None:
    results = ROOT / "benchmarks" / "results"
    before = {path: path.stat().st_mtime_ns for path in results.glob("*.json")}
    command = [sys.executable, f"benchmarks/{name}.py", "--smoke"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "nothing was written" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in results.glob("*.json")} == before
