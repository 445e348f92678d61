"""Two processes with a patch each take the step of one process with both patches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open

from oarfuse import build_model
from oarfuse.config import TrainConfig
from oarfuse.errors import OarfuseError
from oarfuse.runs import CHECKPOINT
from oarfuse.training import train
from tests.helpers.small_data import write_small_data

# Sums of float32 in another order: gradients (up to about 1) differ by a few 1e-5 at most.
GRADIENT_TOLERANCE = 1e-4
# Adam divides a gradient by its own size, so that where it is nothing but rounding, the step's
# direction is chance. Where it is above this, the weights must agree.
CLEAR_GRADIENT = 1e-3
WEIGHT_TOLERANCE = 1e-5


def command(data: Path, output: Path, *more: str) -> subprocess.CompletedProcess[str]:
    words = f"""train --data {data} --output {output} --model oarfocalfusenet
        --patch-size 32 16 16 --steps 1 --workers 0 --precision 32-true --accelerator cpu"""
    options = ["--model-options", '{"width": 2}', *more]
    environment = {key: value for key, value in os.environ.items() if key != "LOCAL_RANK"}
    return subprocess.run(
        [sys.executable, "-m", "oarfuse.cli", *words.split(), *options],
        env=environment | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    write_small_data(folder)
    return folder


def tensors(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def test_two_processes_take_the_step_of_one_with_twice_the_batch(
    data: Path, tmp_path: Path
) -> None:
    told = command(data, tmp_path / "two", "--devices", "2", "--batch-size", "1")
    assert told.returncode == 0, told.stderr
    assert told.stdout.split() == [str(tmp_path / "two")]  # only one of them speaks
    assert "MEMBER: 2/2" in told.stderr
    one = TrainConfig(
        str(data),
        str(tmp_path / "one"),
        model_options={"width": 2},
        patch_size=(32, 16, 16),
        batch_size=2,
        steps=1,
        workers=0,
        precision="32-true",
        accelerator="cpu",
    )
    train(one, progress=False)
    alone, together = (tensors(tmp_path / name / CHECKPOINT) for name in ("one", "two"))
    assert alone.keys() == together.keys()
    start = build_model(one.model, **one.model_options)
    clear = 0
    for index, (name, _) in enumerate(start.named_parameters()):
        # After one step Adam's first moment is a tenth of the gradient.
        gradients = [10 * run[f"exp_avg.{index}"] for run in (alone, together)]
        torch.testing.assert_close(*gradients, rtol=0, atol=GRADIENT_TOLERANCE)
        sure = gradients[0].abs() > CLEAR_GRADIENT
        clear += int(sure.sum())
        weights = [run[f"network.{name}"][sure] for run in (alone, together)]
        torch.testing.assert_close(*weights, rtol=0, atol=WEIGHT_TOLERANCE)
    assert clear > 1000
    scores = [pd.read_csv(tmp_path / name / "validation.csv") for name in ("one", "two")]
    assert np.allclose(scores[0]["val_dsc"], scores[1]["val_dsc"], atol=0.01)


def test_several_processes_refuse_with_one_sentence(data: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    told = command(data, tmp_path, "--devices", "2")
    assert told.returncode == 2
    (line,) = told.stderr.splitlines()
    assert line.startswith("oarfuse: error: ") and "config.json" in line


def test_damaged_patient_ends_both_processes(tmp_path: Path) -> None:
    manifest = write_small_data(tmp_path / "data")
    manifest.split("train")[0].label_path.write_bytes(b"damaged")
    told = command(tmp_path / "data", tmp_path / "run", "--devices", "2")
    assert told.returncode == 2
    assert told.stderr.count("oarfuse: error: ") == 1
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize("accelerator", ["quantum", "cuda"])
def test_devices_that_are_not_there(data: Path, tmp_path: Path, accelerator: str) -> None:
    if accelerator == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    config = TrainConfig(
        str(data), str(tmp_path), model_options={"width": 2}, accelerator=accelerator
    )
    with pytest.raises(OarfuseError, match=accelerator) as caught:
        train(config, progress=False)
    assert "\n" not in str(caught.value)
