"""`build_model`: a wrong option is one sentence, and a bug keeps its trace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from torch import nn

from oarfuse.errors import OarfuseError
from oarfuse.models import build_model, registry


def broken(
    *, in_channels: int, num_classes: int, widths: Sequence[int] = (1,), size: int | None = None
) -> nn.Module:
    """A builder with two bugs: one shows at once, the other for a size of 7."""
    if size == 7:
        return nn.Conv3d(in_channels, num_classes, kernel_size=(size, size, -size))
    if size is not None and size < 1:
        raise ValueError("size must be positive\nand more lines")
    return nn.Conv3d(in_channels, num_classes, kernel_size=1, colour="red")  # type: ignore[call-arg]


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry._BUILDERS, "broken", f"{__name__}:broken")


@pytest.mark.parametrize("options", [{}, {"widths": [2, 4]}, {"size": 3}])
def test_a_builders_own_type_error_keeps_its_trace(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="'colour'") as caught:
        build_model("broken", **options)
    assert not isinstance(caught.value, OarfuseError)
    assert caught.traceback[-1].name == "broken"


def test_a_bug_that_an_allowed_option_reveals_keeps_its_trace_too() -> None:
    with pytest.raises(RuntimeError, match="negative dimension") as caught:
        build_model("broken", size=7)
    assert not isinstance(caught.value, OarfuseError)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"depth": 3}, "has no option 'depth': it takes widths, size."),
        ({"size": "large"}, "size is 'large', but the model 'broken' takes int | None: mend"),
        ({"size": True}, "size is True, but"),
        ({"widths": 4}, r"widths is 4, but the model 'broken' takes Sequence\[int\]: mend"),
        ({"widths": [4, 0.5]}, r"widths is \[4, 0.5\], but"),
        ({"widths": "48"}, "widths is '48', but"),
        ({"size": -1}, r"size is -1, which is out of range .* \(size must be positive\): mend"),
    ],
)
def test_wrong_options_are_found_in_the_signature(options: dict[str, Any], says: str) -> None:
    with pytest.raises(OarfuseError, match=says):
        build_model("broken", **options)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("unet3d", {"dropout": 2.0}, "dropout is 2.0, which is out of range"),
        ("msf3d", {"width": 0}, "width is 0, which is out of range"),
        ("msf3d", {"down_kernel": 4}, "choose 3 or 5"),
        ("transunet", {"heads": 0}, "heads is 0, which is out of range"),
    ],
)
def test_values_that_a_network_refuses_are_named(
    name: str, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(OarfuseError, match=says):
        build_model(name, **options)
