"""One function says which kernel runs where; every column of its table gives the same numbers."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F

from oarfuse.models import kernels

CPU, CUDA, META = (torch.device(name) for name in ("cpu", "cuda", "meta"))


def test_backend_follows_from_device_channels_and_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "triton_works", lambda index: True)
    assert kernels.backend(CPU, 16) == "cpu"
    assert kernels.backend(CUDA, 16) == kernels.backend(CUDA, 128) == "triton"
    assert kernels.backend(CUDA, 24) == "torch"  # tiles have powers of two
    assert kernels.backend(META, 16) == kernels.backend(torch.device("mps"), 16) == "torch"
    monkeypatch.setattr(kernels, "triton_works", lambda index: False)
    assert kernels.backend(CUDA, 16) == "torch"


def test_triton_is_not_asked_where_it_or_the_gpu_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    works = kernels.triton_works.__wrapped__
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert works(0) is False
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(kernels.importlib.util, "find_spec", lambda name: None)
    assert works(0) is False


def test_triton_that_does_not_compile_is_said_once_and_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Here Triton's module stands for one whose compiler is missing."""
    broken = ModuleType("oarfuse.models.kernels.depthwise")
    monkeypatch.setitem(sys.modules, broken.__name__, broken)
    monkeypatch.setattr(kernels, "depthwise", broken, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(kernels.importlib.util, "find_spec", lambda name: object())
    with pytest.warns(UserWarning, match="Triton does not run on this GPU"):
        assert kernels.triton_works.__wrapped__(0) is False


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
def test_the_fallback_of_other_devices_is_the_same_convolution(
    monkeypatch: pytest.MonkeyPatch, stride: int, kernel: int
) -> None:
    torch.manual_seed(0)
    rows = torch.randn(2, 5, 6, 7, 8, requires_grad=True)
    weight, bias = torch.randn(8, 1, kernel, kernel, kernel), torch.randn(8)
    expected = kernels.depthwise_conv3d(rows, weight, bias, stride=stride)
    monkeypatch.setattr(kernels, "backend", lambda device, channels: "torch")
    found = kernels.depthwise_conv3d(rows, weight, bias, stride=stride)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    volume = rows.permute(0, 4, 1, 2, 3)
    whole = F.conv3d(volume, weight, bias, stride, kernel // 2, groups=8)
    torch.testing.assert_close(found, whole.permute(0, 2, 3, 4, 1), rtol=1e-5, atol=1e-5)
    assert found.is_contiguous()


def test_instance_norm_takes_the_relu_along() -> None:
    torch.manual_seed(0)
    volume, weight, bias = torch.randn(2, 4, 3, 4, 5), torch.randn(4), torch.randn(4)
    plain = kernels.instance_norm(volume, weight, bias, eps=1e-5)
    torch.testing.assert_close(plain, F.instance_norm(volume, weight=weight, bias=bias))
    together = kernels.instance_norm(volume, weight, bias, eps=1e-5, relu=True)
    assert torch.equal(together, plain.relu())
