"""The benchmarks still run, small, and write nothing. Nothing here asserts a time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.helpers.small_data import write_small_data

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def run(name: str, *options: str) -> str:
    """Run a benchmark; return what it prints."""
    before = {path: path.read_bytes() for path in RESULTS.iterdir()}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", f"benchmarks/{name}.py", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in RESULTS.iterdir()} == before
    return done.stdout


def test_metrics_agree_with_monai() -> None:
    # The benchmark also states the largest difference between MONAI's values and ours.
    lines = run("metrics", "--smoke").splitlines()
    differences = [line for line in lines if "largest difference" in line and "MONAI" in line]
    assert len(differences) == 2
    assert all(float(line.rsplit(" ", 1)[1]) < 1e-5 for line in differences)


def test_training_step_compares_each_side_with_ours() -> None:
    printed = run("training_step", "--smoke")
    ratios = dict(re.findall(r"^(\S.*?) +[\d.]+ s +([\d.]+) x", printed, re.MULTILINE))
    assert set(ratios) == {"oarfocalfusenet", "oarfocalfusenet, literal, float32"}
    assert ratios["oarfocalfusenet"] == "1.00"
    assert printed.count("'mebibytes'") == 1


def test_pipeline_measures_all_three_parts() -> None:
    printed = run("pipeline", "--smoke")
    assert [line.split()[0] for line in printed.splitlines()[:3]] == [
        "prepare",
        "loader",
        "predict",
    ]


def test_quarter_of_an_hour_runs_through_without_a_gpu(tmp_path: Path) -> None:
    """Tests, benchmark and a training of what the results lack, tiny, as it will run on a GPU."""
    write_small_data(tmp_path / "data")
    done = subprocess.run(
        ["benchmarks/gpu_quarter.sh", str(tmp_path / "data"), str(tmp_path / "out"), "--smoke"],
        cwd=ROOT,
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "ended with" not in said, said
    found = json.loads((tmp_path / "out/gpu.json").read_text(encoding="utf-8"))
    assert found["smoke"] and {"kernels", "steps", "prediction", "feeding"} <= found.keys()
    assert all("milliseconds" in row for row in found["steps"])
    assert "skipped" in (tmp_path / "out/tests.txt").read_text(encoding="utf-8")
    (weights,) = (tmp_path / "out").glob("*.safetensors")
    assert not (ROOT / "results/openkbp/gpu" / weights.stem).exists()  # it was lacking
    with tarfile.open(tmp_path / "out/records.tar") as records:
        assert f"{weights.stem}/validation.csv" in records.getnames()


def test_overfitting_goes_on_in_its_file(tmp_path: Path) -> None:
    file = tmp_path / "overfit.json"
    options = ("--output", str(file), "--models", "vit_none", "--steps", "2", "--enough", "0")
    run("overfit", *options)
    first = file.read_bytes()
    (row,) = json.loads(first)["rows"]
    assert row["steps"] == 2
    assert 0 < row["dsc_within_reach"] < 1
    run("overfit", *options)  # nothing to do
    assert file.read_bytes() == first


def test_memory_is_a_process_own() -> None:
    found = re.match(r"([\d.]+) GiB at most, ([\d.]+) of them before", run("memory", "--smoke"))
    assert found and float(found[1]) >= float(found[2]) > 0
