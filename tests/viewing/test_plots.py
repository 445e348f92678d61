"""Curves, box plots, surfaces, feature maps and the architecture drawing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch.utils.flop_counter import FlopCounterMode

from oarfuse import build_model
from oarfuse.errors import OarfuseError
from oarfuse.organs import OPENKBP, SYNAPSE, DatasetSpec
from oarfuse.viewing import (
    LiveCurves,
    draw_architecture,
    plot_boxes,
    plot_curves,
    show_maps,
    show_surfaces,
    trace_stages,
)
from oarfuse.viewing.ct.surfaces import edge_letters, view_axes
from oarfuse.viewing.plots.budgets import plot_budgets, recorded_curve

# ----- curves


def training_log() -> pd.DataFrame:
    steps = pd.DataFrame({"step": range(1, 61), "loss": np.linspace(2, 0.5, 60), "lr": 0.001})
    scores = pd.DataFrame({"step": [20, 40, 60], "val_dsc": [0.3, 0.7, 0.6]})
    scores["val_dsc_mandible"] = [0.4, 0.8, 0.7]
    return pd.concat([steps, scores], ignore_index=True)


def test_curves_show_what_the_log_holds(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    training_log().to_csv(path, index=False)
    figure = plot_curves(path, spec=OPENKBP)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["Loss", "Learning rate (in thousandths)", "Validation DSC"]
    (ring,) = [line for line in figure.axes[2].lines if line.get_gid() == "best"]
    step, dsc = (np.asarray(values)[0] for values in ring.get_data())
    assert (step, dsc) == (40, 0.7), "the best, not the last"
    mandible = next(line for line in figure.axes[2].lines if line.get_label() == "Mandible")
    assert to_rgb(mandible.get_color()) == to_rgb(OPENKBP.organs[4].color)


def test_curves_leave_out_panels_without_data() -> None:
    log = training_log()
    assert len(plot_curves(log[["step", "loss"]]).axes) == 1
    assert len(plot_curves(log.assign(lr=np.nan)).axes) == 2


def test_curves_name_the_mistake(tmp_path: Path) -> None:
    with pytest.raises(OarfuseError, match=r"no log .*nowhere\.csv"):
        plot_curves(tmp_path / "nowhere.csv")
    with pytest.raises(OarfuseError, match="'step'"):
        plot_curves(pd.DataFrame({"loss": [1.0]}))
    with pytest.raises(OarfuseError, match="nothing can be plotted"):
        plot_curves(pd.DataFrame({"step": [1], "note": ["x"]}))
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(OarfuseError, match="not a readable CSV"):
        plot_curves(tmp_path / "empty.csv")


def test_live_curves_replace_one_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, int]] = []

    class Handle:
        def update(self, figure: Figure) -> None:
            shown.append(("update", len(figure.axes)))

    def display(figure: Figure, display_id: bool) -> Handle:
        shown.append(("display", len(figure.axes)))
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    live = LiveCurves(OPENKBP, every=1000)
    live(tmp_path)
    assert not shown, "nothing is logged yet"
    pd.DataFrame({"step": [10], "minutes": [1], "loss": [2.0], "lr": [0.001]}).to_csv(
        tmp_path / "log.csv", index=False
    )
    live(tmp_path)
    live(tmp_path)  # too soon after the last one
    pd.DataFrame({"step": [10], "minutes": [1], "val_dsc": [0.5], "dsc_mandible": [0.5]}).to_csv(
        tmp_path / "validation.csv", index=False
    )
    live.draw(tmp_path)
    assert shown == [("display", 2), ("update", 3)]


# ----- box plots


def metrics(values: list[float], spec: DatasetSpec = OPENKBP) -> pd.DataFrame:
    rows = [
        {"case": f"pt_{number}", "organ": organ.name, "dsc": value}
        for number, value in enumerate(values)
        for organ in spec.organs
    ]
    return pd.DataFrame(rows)


def test_boxes_have_a_panel_an_organ_and_a_dot_a_patient() -> None:
    figure = plot_boxes({"A": metrics([0.5, 0.7, np.nan]), "B": metrics([0.9])}, spec=OPENKBP)
    assert [axes.get_title() for axes in figure.axes] == [o.title for o in OPENKBP.organs]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["A", "B"]
    for axes, organ in zip(figure.axes, OPENKBP.organs, strict=True):
        dots = [c for c in axes.collections if isinstance(c, PathCollection)]
        assert [len(np.asarray(d.get_offsets())) for d in dots] == [2, 1], (
            "a missing value is no dot"
        )
        assert {p.get_facecolor()[:3] for p in axes.patches} == {to_rgb(organ.color)}
    assert len(plot_boxes({"A": metrics([0.5], SYNAPSE)}, spec=SYNAPSE).axes) == 8


def test_boxes_of_distances_may_have_a_logarithmic_axis() -> None:
    frame = metrics([0.0, 3.0, 250.0]).rename(columns={"dsc": "hd_mm"})
    figure = plot_boxes({"A": frame}, "hd_mm", spec=OPENKBP, log=True)
    assert all(axes.get_xscale() == "symlog" for axes in figure.axes)
    assert all(axes.get_xlim()[1] > 250 for axes in figure.axes)


def test_boxes_name_the_mistake() -> None:
    with pytest.raises(OarfuseError, match="No table"):
        plot_boxes({}, spec=OPENKBP)
    with pytest.raises(OarfuseError, match="'hd_mm'"):
        plot_boxes({"A": metrics([0.5])}, "hd_mm", spec=OPENKBP)
    with pytest.raises(OarfuseError, match="no organ of Synapse"):
        plot_boxes({"A": metrics([0.5])}, spec=SYNAPSE)


# ----- surfaces


def test_view_directions() -> None:
    down, away, right = view_axes(0, 0)
    assert [edge_letters(v) for v in (-down, away, right)] == ["S", "P", "L"]
    down, away, right = view_axes(90, 0)
    assert [edge_letters(v) for v in (-down, away, right)] == ["S", "R", "P"]
    assert edge_letters(view_axes(45, 0)[2]) in ("LP", "PL")
    view = view_axes(30, 20)
    assert view @ view.T == pytest.approx(np.eye(3))


def test_nearer_organs_hide_those_behind() -> None:
    labels = np.zeros((20, 30, 20), np.uint8)
    labels[6:14, 4:10, 6:14] = 5  # in front, smaller
    labels[4:16, 18:26, 4:16] = 1  # behind, larger
    spacing = (3.0, 3.0, 3.0)

    def seen(labels: np.ndarray, azimuth: float) -> tuple[np.ndarray, float]:
        """Return the picture of one view alone, (rows, columns, RGB), and its pixels a mm."""
        figure: Any = show_surfaces(
            labels, spacing_mm=spacing, spec=OPENKBP, views={"": (azimuth, 0.0)}
        )
        figure.canvas.draw()
        (axes,) = figure.axes
        for mark in [*axes.texts, *axes.lines]:
            mark.remove()
        figure.canvas.draw()
        page = np.asarray(figure.canvas.buffer_rgba())[::-1, :, :3] / 255
        box = axes.get_window_extent()
        x0, y0, x1, y1 = (round(edge) for edge in box.extents)
        return page[y0:y1, x0:x1], box.width / abs(np.diff(axes.get_xlim()).item())

    def middle(azimuth: float) -> np.ndarray:
        picture, _ = seen(labels, azimuth)
        return picture[picture.shape[0] // 2, picture.shape[1] // 2]

    mandible, brainstem = (np.array(to_rgb(OPENKBP.organs[i].color)) for i in (4, 0))

    def hue(color: np.ndarray) -> np.ndarray:
        return color / np.linalg.norm(color)

    assert hue(middle(0)) @ hue(mandible) > 0.99
    assert hue(middle(180)) @ hue(brainstem) > 0.99
    # Each organ stays as large as it is: the larger box measures 36 mm.
    picture, pixels_a_mm = seen(np.where(labels == 1, 1, 0), 0.0)
    drawn = (picture < 0.99).any(axis=-1)
    assert drawn.any(axis=0).sum() / pixels_a_mm == pytest.approx(36, abs=3)


def test_surfaces_mark_orientation_and_refuse_empty_labels() -> None:
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[3:9, 3:9, 3:6] = 3
    labels[5, 5, 10] = 4  # a single voxel is still drawn
    figure = show_surfaces(labels, spacing_mm=(3, 4, 4), spec=OPENKBP)
    marks = [t.get_text() for t in figure.axes[0].texts if t.get_gid() == "orientation"]
    assert marks == ["R", "L", "S", "I"]
    assert len(figure.axes) == 3 and len(figure.legends[0].get_texts()) == 2
    with pytest.raises(OarfuseError, match="no organ"):
        show_surfaces(labels * 0, spacing_mm=(3, 4, 4), spec=OPENKBP)


def test_label_maps_stand_side_by_side_in_one_frame_of_space() -> None:
    truth, prediction = np.zeros((2, 12, 12, 12), np.uint8)
    truth[2:10, 3:9, 3:6] = 3
    prediction[4:8, 3:9, 3:10] = 4
    figure = show_surfaces(
        {"Truth": truth, "Ours": prediction, "Nothing": truth * 0},
        spacing_mm=(3, 4, 4),
        spec=OPENKBP,
        views={"Anterior": (0, 0), "Lateral": (90, 0)},
    )
    assert [axes.get_title() for axes in figure.axes] == ["Truth", "Ours", "Nothing", "", "", ""]
    assert [t.get_text() for t in figure.texts if t.get_gid() == "row"] == ["Anterior", "Lateral"]
    assert len(figure.legends[0].get_texts()) == 2
    for row in (figure.axes[:3], figure.axes[3:]):
        assert len({axes.get_xlim() + axes.get_ylim() for axes in row}) == 1
        assert [axes.bbox.width for axes in row] == pytest.approx([row[0].bbox.width] * 3)
    widths = [axes.bbox.width / np.ptp(axes.get_xlim()) for axes in figure.axes]
    assert widths == pytest.approx([widths[0]] * 6)  # pixels a mm
    assert not figure.axes[2].collections
    with pytest.raises(OarfuseError, match="no label map"):
        show_surfaces({}, spacing_mm=(3, 4, 4), spec=OPENKBP)
    with pytest.raises(OarfuseError, match="'Ours'"):
        show_surfaces({"T": truth, "Ours": truth[1:]}, spacing_mm=(3, 4, 4), spec=OPENKBP)


# ----- feature maps


def test_gates_are_a_grid_of_streams_and_levels() -> None:
    image = np.zeros((8, 16, 16), np.int16)
    maps = {"stream 1": torch.randn(3, 8, 16, 16), "stream 2": torch.randn(1, 3, 4, 8, 8)}
    figure = show_maps(
        maps, image=image, spacing_mm=(3, 4, 4), spec=OPENKBP, index=5, columns=["1", "2", "all"]
    )
    pictures: list[Any] = [axes.images[0] for axes in figure.axes if len(axes.images) == 1]
    shown = [p for p in pictures if p.get_array().shape == (8, 8)]
    # Slice 5 of 8 lies in slice 2 of 4.
    expected = maps["stream 2"][0, :, 2].numpy()
    assert len(shown) == 3
    for picture, level in zip(shown, expected, strict=True):
        np.testing.assert_allclose(picture.get_array(), level, rtol=1e-6)
        assert picture.norm.vmin == -picture.norm.vmax, "signed maps are centred on zero"


def test_reduced_maps_share_a_scale_if_asked() -> None:
    image = np.zeros((4, 8, 8), np.int16)
    maps = {"a": np.ones((2, 4, 8, 8)), "b": 3 * np.ones((5, 2, 4, 4))}
    figure = show_maps(
        maps, image=image, spacing_mm=(3, 4, 4), spec=OPENKBP, reduce="norm", shared=True
    )
    limits = {
        axes.images[0].get_clim() for axes in figure.axes if axes.get_title()[:1] in ("a", "b")
    }
    assert limits == {(1.0, 3.0)}


def test_gates_name_the_mistake() -> None:
    image = np.zeros((4, 8, 8), np.int16)
    common: dict[str, Any] = {"image": image, "spacing_mm": (3, 4, 4), "spec": OPENKBP}
    with pytest.raises(OarfuseError, match="No map"):
        show_maps({}, **common)
    with pytest.raises(OarfuseError, match=r"\(C, D, H, W\)"):
        show_maps({"a": np.zeros((2, 2))}, **common)
    with pytest.raises(OarfuseError, match='reduce="mean"'):
        show_maps({"a": np.zeros((16, 4, 8, 8))}, **common)
    with pytest.raises(OarfuseError, match="no axial slice 9"):
        show_maps({"a": image}, index=9, **common)
    with pytest.raises(OarfuseError, match="1 column titles"):
        show_maps({"a": np.zeros((2, 4, 8, 8))}, columns=["one"], **common)


# ----- architecture


@pytest.mark.parametrize("name", ["oarfocalfusenet", "msf3d"])
@pytest.mark.parametrize("block", ["fast", "readable"])
def test_stages_account_for_every_parameter_and_operation(name: str, block: str) -> None:
    model = build_model(name, block=block)
    stages = trace_stages(model, (32, 48, 64))
    assert sum(stage.params for stage in stages) == sum(p.numel() for p in model.parameters())
    readable = build_model(name, block="readable").to("meta")
    with FlopCounterMode(display=False) as counter:  # PyTorch's own count, an independent one
        readable(torch.empty(1, 1, 32, 48, 64, device="meta"))
    assert sum(s.gflops for s in stages) == pytest.approx(counter.get_total_flops() / 1e9)
    shapes = {stage.name: stage.shape for stage in stages}
    assert shapes["I5"] == (256, 2, 3, 4)
    assert shapes["Y2"] == (32, 16, 24, 32) == shapes["D2"] == shapes["I2"]
    assert shapes["logits"] == (6, 32, 48, 64)
    assert next(iter(model.parameters())).device.type == "cpu", "the model itself is untouched"


def test_drawing_names_every_stage_and_follows_the_options() -> None:
    stages = trace_stages(build_model("oarfocalfusenet", focal_levels=3), (32, 32, 32))
    figure = draw_architecture(stages)
    text = " ".join(t.get_text() for t in figure.axes[0].texts)
    for stage in stages[:-1]:
        assert f"{stage.name[0]}$_{{{stage.name[1]}}}$" in text
    assert all(f"$F_{{4,{level}}}$" in text for level in range(4))
    lines = [line for line in figure.axes[0].lines if line.get_gid() == "exchange"]
    assert len(lines) == 3 * 16, "every level reads all four streams"

    apart = trace_stages(build_model("oarfocalfusenet", exchange=False, gates=False), (32, 32, 32))
    figure = draw_architecture(apart)
    lines = [line for line in figure.axes[0].lines if line.get_gid() == "exchange"]
    assert len(lines) == 2 * 4
    assert not any(line.get_linestyle() == "--" for line in figure.axes[0].lines), "no gates"


def test_architecture_names_the_mistake() -> None:
    with pytest.raises(OarfuseError, match="Conv3d has no encoder"):
        trace_stages(torch.nn.Conv3d(1, 1, 1))
    with pytest.raises(OarfuseError, match="divide by 16"):
        trace_stages(build_model("oarfocalfusenet"), (20, 32, 32))
    with pytest.raises(OarfuseError, match="stage I1 is missing"):
        draw_architecture([])


# ----- recorded runs


def test_budgets_draw_what_was_recorded(tmp_path: Path) -> None:
    for number, (taken, scores) in enumerate([(9.0, [0.2, 0.6, 0.7]), (5.0, [0.8, 0.9])], 1):
        stage = tmp_path / "stages" / str(number)
        stage.mkdir(parents=True)
        minutes = [5.0 * (place + 1) for place in range(len(scores))]
        pd.DataFrame({"step": 1, "minutes": minutes, "val_dsc": scores}).to_csv(
            stage / "validation.csv", index=False
        )
        (stage / "record.json").write_text(f'{{"minutes": {taken}}}')
    curve = recorded_curve(tmp_path / "stages")
    assert curve["minutes"].tolist() == [5, 14], "what came after a stage's weights is left out"
    assert curve["val_dsc"].tolist() == [0.2, 0.8]
    whole = recorded_curve(tmp_path / "stages" / "1")
    assert len(whole) == 3
    figure = plot_budgets({"all": curve, "first": whole})
    assert [line.get_label() for line in figure.axes[0].lines] == ["all", "first"]
    with pytest.raises(OarfuseError, match="no stages"):
        recorded_curve(tmp_path)
    with pytest.raises(OarfuseError, match="No curve"):
        plot_budgets({})
    with pytest.raises(OarfuseError, match="validation"):
        plot_budgets({"empty": curve[:0]})
