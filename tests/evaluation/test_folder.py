"""An evaluation's folder, read again: what `evaluate` returned, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from oarfuse.errors import OarfuseError
from oarfuse.evaluation import VARIANT_TITLES, VARIANTS, Evaluation, read_summary
from oarfuse.evaluation.folder import WRITTEN
from oarfuse.evaluation.statistics import COLUMNS, load_metrics
from tests.evaluation.test_scoring import make_folder, score, volume, write_nifti


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """Two patients; the second is moved by a voxel."""
    folder = tmp_path_factory.mktemp("evaluation")
    data = make_folder(folder / "data", cases=2)
    for name, shift in (("pt_0", 0), ("pt_1", 1)):
        write_nifti(folder / "predictions" / f"{name}.nii.gz", volume(shift))
    return score(folder / "predictions", data, folder / "out", model="msf3d")


def test_a_folder_gives_back_what_was_returned(result: Evaluation) -> None:
    again = Evaluation.load(result.folder)
    pd.testing.assert_frame_equal(again.metrics, result.metrics, check_dtype=False)
    assert again.summary == read_summary(result.folder) == result.summary
    assert (again.model, again.dataset, again.split) == ("msf3d", "openkbp", "validation")
    assert again.kind == "full run" and again.training == {}
    written = {path.name for path in result.folder.iterdir()}
    assert written <= {".lock", "evaluation.json", *WRITTEN}


def test_one_variant_is_the_table_of_its_file(result: Evaluation) -> None:
    files = {"raw": "metrics.csv", "largest_component": "metrics_largest_component.csv"}
    for variant, name in files.items():
        table = load_metrics(result.folder / name)
        one = Evaluation.load(result.folder, variant).metrics
        pd.testing.assert_frame_equal(one, table)
        rows = result.metrics[result.metrics["variant"] == variant].reset_index(drop=True)
        pd.testing.assert_frame_equal(one, rows[list(COLUMNS)], check_dtype=False)
    with pytest.raises(OarfuseError, match="raw, largest_component"):
        Evaluation.load(result.folder, "no_leak")


def test_without_a_summary_the_folder_and_the_organs_tell(
    result: Evaluation, tmp_path: Path
) -> None:
    folder = tmp_path / "unetr"
    folder.mkdir()
    rows = Evaluation.load(result.folder, "raw").metrics
    rows.to_csv(folder / "metrics.csv", index=False)
    bare = Evaluation.load(folder, "raw")
    assert (bare.model, bare.dataset, bare.split) == ("unetr", "openkbp", "not recorded")
    with pytest.raises(OarfuseError, match="run `oarfuse evaluate` first"):
        read_summary(folder)
    with pytest.raises(OarfuseError, match=r"no .*metrics_more\.csv"):
        Evaluation.load(folder)


@pytest.mark.parametrize("text", ["{", json.dumps([1])])
def test_a_damaged_summary_is_named(result: Evaluation, tmp_path: Path, text: str) -> None:
    Evaluation.load(result.folder, "raw").metrics.to_csv(tmp_path / "metrics.csv", index=False)
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(OarfuseError, match=r"summary\.json is damaged"):
        Evaluation.load(tmp_path, "raw")


def test_reading_tables_does_not_wait_for_pytorch() -> None:
    code = (
        "import sys, oarfuse.paper, oarfuse.evaluation.paper_tables;"
        "from oarfuse.evaluation import VARIANTS, Evaluation;"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_variant_has_a_title() -> None:
    assert tuple(VARIANT_TITLES) == VARIANTS
    assert VARIANTS[:2] == ("raw", "largest_component")  # notebook 04 relies on the order
