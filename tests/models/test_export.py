"""`torch.export` sees through both proposed networks, for any sides that they take."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export, load, save

from oarfuse import build_model


def exported(model: nn.Module, example: Tensor) -> ExportedProgram:
    depth, height, width = (Dim(name, min=2, max=64) for name in ("depth", "height", "width"))
    sides = {2: 16 * depth, 3: 16 * height, 4: 16 * width}
    return export(model, (example,), dynamic_shapes=(sides,))


@pytest.mark.parametrize(
    ("name", "options"),
    # Fewer levels than the paper's: the graph grows with them, and the sides are what is tested.
    [
        ("oarfocalfusenet", {"focal_levels": 1}),
        ("msf3d", {"dense_layers": 1}),
    ],
)
def test_an_exported_network_gives_the_same_scores_at_any_sides(
    name: str, options: dict[str, int], tmp_path: Path
) -> None:
    model = build_model(name, width=4, **options).eval()
    with torch.no_grad():
        save(exported(model, torch.randn(1, 1, 48, 64, 80)), tmp_path / "network.pt2")
        network = load(tmp_path / "network.pt2").module()
        for sides in ((48, 64, 80), (32, 48, 32), (64, 32, 96)):
            volume = torch.randn(1, 1, *sides)
            torch.testing.assert_close(network(volume), model(volume), atol=1e-5, rtol=1e-5)
        with pytest.raises((AssertionError, RuntimeError)):
            network(torch.randn(1, 1, 40, 48, 48))
