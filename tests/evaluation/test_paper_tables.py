"""Tables I and II with our figures: who gets a row, what stays empty, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from oarfuse.cli import main
from oarfuse.errors import OarfuseError
from oarfuse.evaluation.paper_tables import (
    build_table,
    describe,
    find_evaluations,
    to_markdown,
    write_tables,
)
from oarfuse.models import model_names
from oarfuse.organs import OPENKBP, SYNAPSE, DatasetSpec
from oarfuse.paper.printed import paper_row, paper_table


def evaluation(
    folder: Path, dsc: float, spec: DatasetSpec = OPENKBP, summary: dict[str, Any] | None = None
) -> Path:
    """Write an evaluation of two patients: every organ scores `dsc` in one and 0.1 less in two."""
    folder.mkdir(parents=True)
    rows = [
        {"case": case, "organ": organ.name, "dsc": dsc - less, "hd_vox": 6.0, "hd_mm": 24.0}
        | {"hd95_vox": 3.0, "hd95_mm": 12.0, "asd_vox": 0.5, "asd_mm": 2.0, "missed": False}
        for case, less in (("pt_1", 0.0), ("pt_2", 0.1))
        for organ in spec.organs
    ]
    frame = pd.DataFrame(rows)
    frame.to_csv(folder / "metrics.csv", index=False)
    frame.assign(hd_vox=4.0).to_csv(folder / "metrics_largest_component.csv", index=False)
    if summary is not None:
        content = {"model": "msf3d", "dataset": spec.name, "split": "validation"} | summary
        (folder / "summary.json").write_text(json.dumps(content))
    return folder


def test_every_method_of_the_paper_has_a_model() -> None:
    models = {name for number in ("I", "II") for name in paper_table(number)["model"]}
    assert models == set(model_names())
    assert paper_row("synapse", "vit_cup")["dsc"] == 0.6786  # type: ignore[index]


def test_without_runs_our_columns_are_empty_and_the_papers_are_its_own() -> None:
    for number in ("I", "II"):
        table, paper = build_table(number), paper_table(number)
        assert list(table.index) == list(paper.index)
        assert table.xs("ours", axis=1, level=1).isna().all(axis=None)
        printed = table.xs("paper", axis=1, level=1)
        assert printed.to_numpy().tolist() == paper.drop(columns="model").to_numpy().tolist()


def test_a_run_fills_the_row_of_its_method_and_no_other(tmp_path: Path) -> None:
    evaluation(tmp_path / "unetr", 0.8)  # no summary.json: the folder's name tells
    evaluation(tmp_path / "deep" / "run", 0.9, summary={"kind": "full run"})
    found, left_out = find_evaluations([tmp_path])
    assert not left_out
    ours = build_table("I", found).xs("ours", axis=1, level=1)
    assert set(ours.dropna(how="all").index) == {"UNETR", "3D-MSF"}
    assert ours.loc["UNETR", "Mean DSC"] == pytest.approx(0.75)
    assert ours.loc["3D-MSF", "Mandible"] == pytest.approx(0.85)
    assert ours.loc["UNETR", "Mean HD (ours in voxels)"] == 6.0
    in_mm = build_table("I", found, unit="mm")
    assert in_mm.loc["UNETR", ("Mean HD (ours in mm)", "ours")] == 24.0
    assert build_table("II", found).xs("ours", axis=1, level=1).isna().all(axis=None)
    cleaned, _ = find_evaluations([tmp_path], variant="largest_component")
    assert build_table("I", cleaned).loc["UNETR", ("Mean HD (ours in voxels)", "ours")] == 4.0


def test_a_method_of_the_other_table_gets_a_row_of_its_own(tmp_path: Path) -> None:
    evaluation(tmp_path / "unetr", 0.7, SYNAPSE)
    table = build_table("II", find_evaluations([tmp_path])[0])
    assert table.index[-1] == "unetr"
    assert table.loc["unetr", ("Mean DSC", "ours")] == pytest.approx(0.65)
    assert pd.isna(table.loc["unetr", ("Mean DSC", "paper")])


def test_phantoms_smoke_runs_and_strangers_are_left_out_with_a_reason(tmp_path: Path) -> None:
    evaluation(tmp_path / "a", 0.99, summary={"kind": "phantom"})
    evaluation(tmp_path / "b", 0.99, summary={"kind": "smoke run"})
    evaluation(tmp_path / "my_network", 0.99)
    evaluation(tmp_path / "c", 0.7, summary={"kind": "full run", "split": "train"})
    found, left_out = find_evaluations([tmp_path], split="validation")
    assert not found
    reasons = {folder.name: reason for folder, reason in left_out.items()}
    assert "phantom" in reasons["a"] and "smoke" in reasons["b"]
    assert "my_network" in reasons["my_network"] and "train split" in reasons["c"]


def test_two_claims_to_a_row_are_refused(tmp_path: Path) -> None:
    evaluation(tmp_path / "a", 0.8, summary={"kind": "full run"})
    evaluation(tmp_path / "b", 0.7, summary={"kind": "full run", "split": "test"})
    with pytest.raises(OarfuseError, match=r"both claim the row of msf3d"):
        build_table("I", find_evaluations([tmp_path])[0])
    one, _ = find_evaluations([tmp_path], split="test")
    assert build_table("I", one).loc["3D-MSF", ("Mean DSC", "ours")] == pytest.approx(0.65)


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(OarfuseError, match=r"no metrics\.csv"):
        find_evaluations([tmp_path])
    with pytest.raises(OarfuseError, match="largest_component"):
        find_evaluations([tmp_path], variant="best")
    with pytest.raises(OarfuseError, match="voxels, mm"):
        build_table("I", unit="cm")
    folder = evaluation(tmp_path / "unetr", 0.8)
    (folder / "summary.json").write_text("{")
    with pytest.raises(OarfuseError, match="damaged"):
        find_evaluations([tmp_path])
    frame = pd.read_csv(folder / "metrics.csv").replace("mandible", "toe")
    (folder / "summary.json").unlink()
    frame.to_csv(folder / "metrics.csv", index=False)
    with pytest.raises(OarfuseError, match="no known data set"):
        find_evaluations([tmp_path])


def test_the_markdown_says_what_our_figures_are(tmp_path: Path) -> None:
    training = {"step": 4000, "minutes": 31.5, "seed": 0}
    info = {"kind": "full run", "model_info": {"training": training}, "date": "2026-01-02T03:04"}
    evaluation(tmp_path / "run", 0.9, summary=info)
    found, _ = find_evaluations([tmp_path])
    text = to_markdown("I", build_table("I", found), found)
    assert "| 3D-MSF | 0.7870 | 0.8500 |" in text and "| UNETR | 0.7810 |  |" in text
    assert "voxels" in text and "nobody has run" in text
    assert "| msf3d | 0.8500 | 0.8000 to 0.9000 | validation | 2 | 0 | 4000 | 31.5 | 0 |" in text
    assert describe(found).loc[0, "date"] == "2026-01-02"
    assert "Our figures" not in to_markdown("II", build_table("II", found), found)


def test_a_description_counts_all_stages_and_names_what_trained_them(tmp_path: Path) -> None:
    earlier = [{"step": 1000, "minutes": 40.25, "seed": 0}]
    training = {"step": 500, "minutes": 20.5, "seed": 3, "earlier": earlier}
    info = {"model_info": {"training": training}, "device_name": "A processor"}
    folder = evaluation(tmp_path / "run", 0.9, summary=info)
    for number, name in enumerate(("First", "Second", "Second"), start=1):
        stage = folder / "stages" / str(number)
        stage.mkdir(parents=True)
        (stage / "environment.json").write_text(json.dumps([{"device_name": name}]))
    row = describe(find_evaluations([tmp_path])[0]).loc[0]
    assert (row["training steps"], row["training minutes"], row["seed"]) == (1500, 60.75, 3)
    assert (row["trained on"], row["scored on"]) == ("First + Second", "A processor")
    bare = describe(find_evaluations([evaluation(tmp_path / "bare" / "unetr", 0.8)])[0]).loc[0]
    assert bare["training steps"] is None and bare["trained on"] is None


def test_the_command_writes_both_tables(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    evaluation(tmp_path / "in" / "unetr", 0.8)
    evaluation(tmp_path / "in" / "toy", 0.9, summary={"kind": "phantom"})
    arguments = ["tables", "--results", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert "left out" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "out" / "table_I.csv", index_col="Method")
    assert table.loc["UNETR", "Mean DSC, ours"] == pytest.approx(0.75)
    assert table["Mean DSC, ours"].count() == 1
    assert (tmp_path / "out" / "table_II.md").read_text().startswith("# Table II.")
    assert main([*arguments[:2], str(tmp_path / "none"), *arguments[3:]]) == 2
    assert "oarfuse: error:" in capsys.readouterr().err
    assert write_tables([tmp_path / "in"], tmp_path / "two")
