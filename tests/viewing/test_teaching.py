"""The pictures that teach training and scoring: patches, distances, differences; a run's curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from oarfuse.data.augment import mirror
from oarfuse.errors import OarfuseError
from oarfuse.evaluation.statistics import paired_differences
from oarfuse.organs import OPENKBP
from oarfuse.runs import read_curves
from oarfuse.viewing import plot_differences, plot_pairs, show_distances, show_patches

SPACING = (3.0, 4.0, 4.0)


def patch(label: int = 3) -> dict[str, torch.Tensor]:
    """A patch whose right third of the array (the patient's left) holds one organ."""
    labels = torch.zeros(1, 8, 10, 12, dtype=torch.int64)
    labels[0, 2:5, 3:6, 8:11] = label
    return {"image": torch.rand(1, 8, 10, 12), "label": labels}


def texts(figure: Figure) -> str:
    titles = [axes.get_title() for axes in figure.axes]
    return " ".join([*titles, *(text.get_text() for text in figure.texts)])


# ----- patches


def test_patches_have_a_column_each_and_a_row_a_plane() -> None:
    one = patch()
    image, label = mirror(one["image"], one["label"], OPENKBP)
    figure = show_patches(
        {"Plain": one, "Mirrored": {"image": image, "label": label}},
        spacing_mm=SPACING,
        spec=OPENKBP,
        planes=("axial", "coronal", "sagittal"),
    )
    assert len(figure.axes) == 6
    assert "Plain" in texts(figure) and "8 x 10 x 12 voxels" in texts(figure)
    # The organ's colour follows its label: the mirrored right parotid is the left one.
    shown = [np.asarray(axes.images[1].get_array()) for axes in figure.axes[:2]]
    right, left = (np.array(to_rgba(OPENKBP.organs[place].color, 0.35)) for place in (2, 3))
    np.testing.assert_allclose(shown[0][4, 9], right)
    np.testing.assert_allclose(shown[1][4, 2], left)
    assert not shown[1][4, 9].any()


def test_patches_name_the_mistake() -> None:
    with pytest.raises(OarfuseError, match="at least one patch"):
        show_patches({}, spacing_mm=SPACING, spec=OPENKBP)
    other = {name: tensor[:, 1:] for name, tensor in patch().items()}
    with pytest.raises(OarfuseError, match="different shapes"):
        show_patches({"a": patch(), "b": other}, spacing_mm=SPACING, spec=OPENKBP)
    with pytest.raises(OarfuseError, match="'b'"):
        show_patches({"a": patch(), "b": patch(9)}, spacing_mm=SPACING, spec=OPENKBP)
    with pytest.raises(OarfuseError, match="outside"):
        show_patches({"a": patch()}, spacing_mm=SPACING, spec=OPENKBP, index=(8, 0, 0))
    with pytest.raises(OarfuseError, match="2 voxels are given for 1 patches"):
        show_patches({"a": patch()}, spacing_mm=SPACING, spec=OPENKBP, index=[(0, 0, 0)] * 2)


# ----- distances


def square(row: int, column: int, side: int = 3) -> np.ndarray:
    mask = np.zeros((12, 14), dtype=bool)
    mask[row : row + side, column : column + side] = True
    return mask


def test_distances_are_the_metrics_and_the_longest_is_drawn() -> None:
    stray = square(2, 2)
    stray[10, 12] = True
    figure = show_distances({"Stray": (stray, square(2, 2))}, spacing_mm=(2.0, 1.0))
    assert len(figure.axes) == 2
    # From (10, 12) to the corner (4, 4): 6 rows of 2 mm and 8 columns of 1 mm.
    longest = float(np.hypot(12, 8))
    assert f"max {longest:.2f}" in figure.axes[0].get_title()
    assert "max 0.00" in figure.axes[1].get_title()
    line: Any
    (line,) = [c for c in figure.axes[0].collections if c.get_gid() == "longest"]
    start, end = line.get_segments()[0]
    # Pixel centres as (x, y) in mm.
    assert start.tolist() == [12.5, 21.0] and end.tolist() == [4.5, 9.0]
    assert not [c for c in figure.axes[1].collections if c.get_gid() == "longest"]
    assert "2 x 1 mm" in texts(figure)
    assert "pixels." in texts(show_distances({"x": (square(1, 1), square(2, 2))}))


def test_distances_name_the_mistake() -> None:
    with pytest.raises(OarfuseError, match="pair of masks"):
        show_distances({})
    with pytest.raises(OarfuseError, match="2D"):
        show_distances({"x": (np.ones((2, 2, 2), bool), np.ones((2, 2, 2), bool))})
    with pytest.raises(OarfuseError, match="empty"):
        show_distances({"x": (np.zeros((3, 3), bool), np.ones((3, 3), bool))})


# ----- differences


def scores(shift: float) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {"case": f"pt_{case}", "organ": organ.name, "dsc": 0.6 + shift + 0.01 * rng.random()}
        for case in range(12)
        for organ in OPENKBP.organs
    )


def test_differences_fill_what_holm_leaves_significant() -> None:
    # Shifted by chance only, and shifted by far more than the patients differ.
    same = scores(0.0).assign(dsc=scores(0.0)["dsc"] + np.tile([0.001, -0.001], 30))
    table = paired_differences(scores(0.0), {"Same": same, "Better": scores(0.2)})
    figure = plot_differences(table, spec=OPENKBP, reference="Ours")
    assert [axes.get_title() for axes in figure.axes] == ["Same", "Better"]
    kinds = [{line.get_gid() for line in axes.lines} for axes in figure.axes]
    assert "filled" not in kinds[0] and "open" not in kinds[1]
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [*(organ.title for organ in OPENKBP.organs), "Mean of organs"]
    assert "minus that of Ours" in texts(figure)
    with pytest.raises(OarfuseError, match="'hd_mm'"):
        plot_differences(table, spec=OPENKBP, reference="Ours", metric="hd_mm")


def test_differences_say_over_how_many_questions_holm_went() -> None:
    ours, other = scores(0.0), scores(0.01)
    table = paired_differences(ours, {"Other": other})
    assert "over all 6 comparisons that" in " ".join(
        texts(plot_differences(table, spec=OPENKBP, reference="Ours")).split()
    )
    ours, other = (frame.assign(hd95_mm=1 / frame["dsc"]) for frame in (ours, other))
    table = paired_differences(ours, {"Other": other}, metrics=("dsc", "hd95_mm"))
    figure = plot_differences(table, spec=OPENKBP, reference="Ours")
    assert "over all 12 comparisons, of DSC and HD95 (mm)," in " ".join(texts(figure).split())


# ----- pairs


def test_pairs_have_a_dot_a_case_and_count_who_is_better() -> None:
    ours = scores(0.0)
    figure = plot_pairs(ours, {"Worse": scores(-0.1), "Same": ours}, reference_name="Ours")
    assert [axes.get_title() for axes in figure.axes] == ["Worse", "Same"]
    for axes in figure.axes:
        assert len(np.asarray(axes.collections[0].get_offsets())) == 12
        assert axes.texts[0].get_text() == "better in 0 of 12"
        assert axes.get_xlim() == axes.get_ylim() == figure.axes[0].get_xlim()
    distances = ours.assign(hd_mm=ours["dsc"])
    nearer = distances.assign(hd_mm=distances["hd_mm"] - 0.1)
    figure = plot_pairs(distances, {"Nearer": nearer}, reference_name="Ours", metric="hd_mm")
    assert figure.axes[0].texts[0].get_text() == "better in 12 of 12"


def test_pairs_name_the_mistake() -> None:
    ours = scores(0.0)
    with pytest.raises(OarfuseError, match="at least one other"):
        plot_pairs(ours, {}, reference_name="Ours")
    with pytest.raises(OarfuseError, match="other cases"):
        plot_pairs(ours, {"Other": ours[ours["case"] != "pt_3"]}, reference_name="Ours")
    with pytest.raises(OarfuseError, match="'hd_mm'"):
        plot_pairs(ours, {"Other": ours}, reference_name="Ours", metric="hd_mm")


# ----- a run's two logs as one table


def test_curves_join_the_log_and_the_validation(tmp_path: Path) -> None:
    with pytest.raises(OarfuseError, match=r"log\.csv"):
        read_curves(tmp_path)
    log = {"step": [10, 20], "minutes": [1, 2], "loss": [2.0, 1.0], "lr": [0.1, 0.2]}
    pd.DataFrame(log).to_csv(tmp_path / "log.csv", index=False)
    assert read_curves(tmp_path)["loss"].tolist() == [2.0, 1.0]
    scored = {"step": [15, 20], "minutes": [1, 2], "val_dsc": [0.4, 0.5], "dsc_mandible": [0.6] * 2}
    pd.DataFrame(scored).to_csv(tmp_path / "validation.csv", index=False)
    curves = read_curves(tmp_path)
    assert curves["step"].tolist() == [10, 15, 20]
    assert curves["val_dsc_mandible"].notna().tolist() == [False, True, True]
    assert curves["loss"].notna().tolist() == [True, False, True]
