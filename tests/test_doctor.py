"""`oarfuse doctor`: what it prints, and that wrong numbers do not pass."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from oarfuse import doctor
from oarfuse.cli import main
from reports import self_test

CHECK = doctor.Check(torch.device("cpu"), "fast", "32-true", 1e-5, 0.0, 1.0)


def test_the_stored_numbers_are_those_of_the_published_weights() -> None:
    """In float64, so that they are the same on every machine; renew with reports.self_test."""
    found, stored = self_test.numbers(), doctor.stored()
    assert torch.allclose(
        torch.tensor(found.pop("logits")), torch.tensor(stored["logits"]), atol=2e-5
    )
    assert found == {name: value for name, value in stored.items() if name != "logits"}
    assert sum(stored["runs"]) == 32 * 64 * 64
    assert set(stored["labels"]) == set(range(6))  # a piece that shows every organ


def test_a_healthy_machine_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    for needed in (
        f"PyTorch      {torch.__version__}\n",
        "cpu kernels",
        "cpu, readable block, 32-true",
    ):
        assert needed in said
    assert re.search(r"^cpu +.*threads.*auto is (bf16-mixed|32-true)$", said, re.MULTILINE)
    assert said.endswith("All numbers are right.\n")


def test_other_numbers_end_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def off(rows: Any, weight: Any, bias: Any, stride: int) -> Any:
        return 1.01 * right(rows, weight, bias, stride)  # a kernel that is wrong by a hundredth

    right = doctor.kernels.cpu.depthwise_conv3d
    monkeypatch.setattr(doctor.kernels.cpu, "depthwise_conv3d", off)
    assert main(["doctor"]) == 2
    out, error = capsys.readouterr()
    assert "cpu, fast block, 32-true" in out and "<- wrong" in out
    (sentence,) = error.splitlines()
    assert "other numbers than the stored ones on cpu (fast block, 32-true)" in sentence


def test_weights_of_another_release_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = dict(doctor.stored()) | {"sha256": "0" * 64}
    monkeypatch.setattr(doctor, "stored", lambda: other)
    assert main(["doctor"]) == 2
    assert "is damaged or not the file of this release" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "right"),
    [
        ({}, True),
        ({"error": 2e-4}, False),
        ({"error": float("inf")}, False),
        ({"error": 0.01, "precision": "bf16-mixed"}, True),
        ({"other_labels": 0.02, "precision": "bf16-mixed"}, False),
    ],
)
def test_what_passes(change: dict[str, Any], right: bool) -> None:
    assert replace(CHECK, **change).right is right


def test_logits_that_are_no_numbers_do_not_pass() -> None:
    class Broken(torch.nn.Module):
        def forward(self, volume: torch.Tensor) -> torch.Tensor:
            return torch.full((1, 6, *volume.shape[2:]), float("nan"))

    volume = torch.zeros(1, 1, *doctor.stored()["sides"])
    assert not doctor._check(Broken(), "fast", volume, torch.device("cpu"), "32-true").right


def test_extras_are_read_from_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = [
        "torch>=2.8",
        "timm>=1.0.31; extra == 'table2'",
        'gone>=1; sys_platform == "linux" and extra == "dicom"',
        'oarfuse[table2,dicom]; extra == "all"',
    ]
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: declared)
    assert doctor.extras() == {"table2": ["timm"], "dicom": ["gone"]}
    assert doctor.facts()["[dicom]"] == "gone absent"

    def not_installed(name: str) -> None:
        raise doctor.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "requires", not_installed)
    assert doctor.extras() == {}


def test_a_gpu_is_listed_with_what_serves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    about = SimpleNamespace(name="Tesla T4", total_memory=15 * 2**30, major=7, minor=5)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: about)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    said = doctor.facts()["cuda:0"]
    assert said.startswith("Tesla T4, 15.0 GiB, capability 7.5, CUDA ")
    assert said.endswith("; torch kernels; auto is 16-mixed")  # no CUDA here, so no Triton
