"""Parameters and GFLOPs, against hand counts and published figures."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from oarfuse.errors import OarfuseError
from oarfuse.models import model_names
from oarfuse.models.cost import cost_table, count_parameters, gflops, published_sizes
from oarfuse.paper.ledger import load_ledger
from reports import methods_page

Tables = dict[str, pd.DataFrame]

SIZE = (4, 6, 8)
VOXELS = 4 * 6 * 8


class SelfAttention(nn.Module):
    """One head of width 8 over all voxels."""

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        tokens = volume.flatten(2).transpose(1, 2)  # (1, voxels, 8)
        return F.scaled_dot_product_attention(tokens, tokens, tokens)


@pytest.mark.parametrize(
    ("model", "channels", "multiply_adds"),
    [
        (nn.Conv3d(3, 5, kernel_size=3, padding=1), 3, VOXELS * 27 * 3 * 5),
        (nn.Conv3d(4, 4, kernel_size=3, padding=1, groups=4), 4, VOXELS * 27 * 4),
        (nn.Conv3d(3, 5, kernel_size=2, stride=2), 3, VOXELS // 8 * 8 * 3 * 5),
        (nn.ConvTranspose3d(3, 5, kernel_size=2, stride=2), 3, VOXELS * 8 * 3 * 5),
        (SelfAttention(), 8, 2 * VOXELS * VOXELS * 8),
        (nn.Linear(8, 7), 2, 2 * 4 * 6 * 8 * 7),
        (nn.Sequential(nn.InstanceNorm3d(2), nn.ReLU(), nn.MaxPool3d(2)), 2, 0),
    ],
)
def test_a_multiply_add_is_two_operations(
    model: nn.Module, channels: int, multiply_adds: int
) -> None:
    assert gflops(model, SIZE, channels) == pytest.approx(2 * multiply_adds / 1e9)


def test_counting_leaves_the_model_as_it_was() -> None:
    model = nn.Sequential(nn.Conv3d(1, 2, 3), nn.BatchNorm3d(2).eval(), nn.Dropout())
    weight = model[0].weight
    gflops(model, (8, 8, 8))
    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert model[0].weight is weight
    assert weight.device.type == "cpu"
    assert count_parameters(model) == 27 * 2 + 2 + 4


def test_cost_does_not_grow_with_the_memory_of_the_machine() -> None:
    """A volume of 4 TB is counted by its shape alone."""
    side = 10_000
    expected = 2 * 27 * side**3 / 1e9
    assert gflops(nn.Conv3d(1, 1, 3, padding=1), (side,) * 3) == pytest.approx(expected)


def test_bad_size_is_named() -> None:
    with pytest.raises(OarfuseError, match="three sides"):
        gflops(nn.Identity(), (4, 4))


@pytest.fixture(scope="module")
def tables() -> Tables:
    return methods_page.tables()


@pytest.fixture(scope="module")
def table(tables: Tables) -> pd.DataFrame:
    """Each method once, the proposed ones at Table I's classes."""
    return pd.concat([tables["I"], tables["II"].drop(index=["msf3d", "oarfocalfusenet"])])


def test_every_model_has_a_row_and_a_source(table: pd.DataFrame) -> None:
    assert sorted(table.index) == sorted(model_names())
    assert (table["parameters_m"] > 1).all()
    assert (table["gflops"] > 1).all()
    assert (table["source"].str.len() > 0).all()
    assert set(published_sizes()) == set(model_names())


def test_every_difference_above_two_percent_is_explained(table: pd.DataFrame) -> None:
    off = table[table["difference_percent"].abs() > 2]
    assert set(off.index) == {"unet3d", "attunet"}
    assert (off["note"].str.len() > 0).all()
    near = {"unetr": 92.6, "swinunetr": 62.2, "transunet": 105}
    assert table.loc[list(near), "published_m"].to_dict() == near
    assert (table.loc[list(near), "difference_percent"].abs() < 0.5).all()


def test_the_page_of_the_methods_shows_them(tables: Tables) -> None:
    """docs/methods.md; after a change, `python -m reports methods` mends this."""
    text = methods_page.PAGE.read_text(encoding="utf-8")
    assert text == methods_page.page(tables)
    assert all(f"`{name}`" in text for name in model_names())


def test_a_2d_network_costs_what_its_slices_cost(tables: Tables) -> None:
    assert set(tables["II"].index[tables["II"]["slice_gflops"].notna()]) == set(methods_page.TWO_D)
    one = cost_table(["r50_unet"], (1, 96, 96), num_classes=9)["gflops"].item()
    assert tables["II"].loc["r50_unet", "gflops"] == pytest.approx(96 * one)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("vnet", 45.629621),
        ("darr", 45.686710),
        ("r50_unet", 32.515993),
        ("r50_attnunet", 37.782428),
        ("vit_none", 85.410825),
        ("vit_cup", 91.280985),
        ("r50_vit_cup", 103.759385),
        ("transunet", 105.270809),
    ],
)
def test_sizes_of_table_2(table: pd.DataFrame, name: str, millions: float) -> None:
    assert table.loc[name, "parameters_m"] == pytest.approx(millions, abs=1e-6)


def test_vit_b_counts_as_its_paper_says() -> None:
    """86 M (Dosovitskiy et al.) less the class token; here by hand, layer by layer."""
    width, inner, tokens, layers = 768, 3072, 196, 12
    attention = 4 * width * width + 4 * width
    mlp = 2 * width * inner + inner + width
    norms = 4 * width
    patches = 16 * 16 * width + width  # one input channel
    by_hand = layers * (attention + mlp + norms) + patches + tokens * width + 2 * width
    head = 6 * width + 6
    with torch.device("meta"):
        from oarfuse.models import build_model

        assert count_parameters(build_model("vit_none")) == by_hand + head


def test_every_baseline_has_its_points_in_the_ledger() -> None:
    named = {name for entry in load_ledger() for name in entry["method"]}
    assert named >= set(model_names())
