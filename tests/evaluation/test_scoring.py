"""Evaluation: what is scored, what is written, and what an interruption leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from oarfuse.errors import OarfuseError
from oarfuse.evaluation import VARIANTS, Evaluation, evaluate, score_case, score_predictions
from oarfuse.evaluation.statistics import COLUMNS, MEAN, load_metrics, summarise
from oarfuse.metrics import case_metrics
from oarfuse.organs import OPENKBP
from oarfuse.weights import ModelInfo, save_weights

SPACING = (3.0, 4.0, 4.0)
SPL = np.array([[0, 0, -4, 0], [0, -4, 0, 0], [3, 0, 0, 0], [0, 0, 0, 1]], float)  # to RAS, mm
LABELS = range(1, 6)


def volume(shift: int = 0) -> np.ndarray:
    """Five blocks in a row, (D, H, W) = (16, 16, 32); `shift` moves them along W."""
    labels = np.zeros((16, 16, 32), np.uint8)
    for label in LABELS:
        start = 5 * label - 4 + shift
        labels[5:10, 5:11, start : start + 4] = label
    return labels


def write_nifti(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, SPL), path)


def read_labels(path: Path) -> np.ndarray:
    return np.asarray(nib.Nifti1Image.from_filename(path).dataobj)


def make_folder(folder: Path, cases: int = 3, phantom: bool = False) -> Path:
    entries = []
    for number in range(cases):
        name = f"pt_{number}"
        write_nifti(folder / f"images/{name}.nii.gz", np.full((16, 16, 32), 40, np.int16))
        write_nifti(folder / f"labels/{name}.nii.gz", volume())
        entries.append(
            {
                "case": name,
                "split": "validation",
                "image": f"images/{name}.nii.gz",
                "label": f"labels/{name}.nii.gz",
                "shape": [16, 16, 32],
                "spacing_mm": list(SPACING),
                "voxels": {organ.name: 120 for organ in OPENKBP.organs},
                "overlap_voxels": 0,
                "sha256": {"image": str(number), "label": str(number)},
            }
        )
    manifest = {
        "format": "oarfuse-prepared/1",
        "dataset": "openkbp",
        "phantom": phantom,
        "source": "made for a test",
        "split_rule": "folders",
        "classes": list(OPENKBP.classes),
        "overlap_priority": [],
        "cases": entries,
        "skipped": [],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "data")


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    """pt_0 perfect, pt_1 moved by one voxel and with a loose piece, pt_2 without a brainstem."""
    folder = tmp_path / "predictions"
    loose = volume(1)
    loose[0, 0, 0] = 1
    missed = volume()
    missed[missed == 1] = 0
    for name, labels in (("pt_0", volume()), ("pt_1", loose), ("pt_2", missed)):
        write_nifti(folder / f"{name}.nii.gz", labels)
    return folder


def score(predictions: Path, data: Path, output: Path, *, model: str | None = None) -> Evaluation:
    return score_predictions(
        predictions, data, "validation", output, method="blocks", model=model, progress=False
    )


def test_tables_hold_what_the_metrics_say(data: Path, predictions: Path, tmp_path: Path) -> None:
    result = score(predictions, data, tmp_path / "out")
    raw = load_metrics(tmp_path / "out" / "metrics.csv")
    assert tuple(raw.columns) == COLUMNS
    assert len(raw) == 3 * 5
    assert raw.loc[raw["case"] == "pt_0", "dsc"].eq(1).all()
    row = raw[(raw["case"] == "pt_1") & (raw["organ"] == "mandible")].iloc[0]
    expected = case_metrics(volume(1), volume(), [5], SPACING)[5]
    for name in COLUMNS[2:]:
        assert row[name] == getattr(expected, name)

    missed = raw[(raw["case"] == "pt_2") & (raw["organ"] == "brainstem")].iloc[0]
    assert missed["missed"] and missed["dsc"] == 0
    assert missed["hd_vox"] == pytest.approx(np.sqrt(16**2 + 16**2 + 32**2))
    assert result.summary["means"]["raw"]["mean"]["missed"] == 1

    cleaned = load_metrics(tmp_path / "out" / "metrics_largest_component.csv")
    where = (raw["case"] == "pt_1") & (raw["organ"] == "brainstem")
    assert raw.loc[where, "hd_mm"].item() > 20  # the loose voxel in the corner
    assert cleaned.loc[where, "hd_mm"].item() == 4.0
    pd.testing.assert_frame_equal(raw[~where], cleaned[~where])

    more = pd.read_csv(tmp_path / "out" / "metrics_more.csv")
    assert len(more) == 4 * len(raw)
    assert set(more["variant"]) == set(VARIANTS)
    assert more["surface_dice_2mm"].between(0, 1).all() and more["assd_mm"].ge(0).all()


def test_the_mean_is_over_cases_and_then_over_organs(
    data: Path, predictions: Path, tmp_path: Path
) -> None:
    result = score(predictions, data, tmp_path / "out")
    raw = load_metrics(tmp_path / "out" / "metrics.csv")
    organs = raw.groupby("organ")["dsc"].mean()
    assert summarise(raw).loc[MEAN, "dsc"] == pytest.approx(organs.mean())
    assert result.summary["means"]["raw"]["mean"]["dsc"] == pytest.approx(organs.mean())


def test_leaking_slices_are_left_out_of_both_masks() -> None:
    truth, prediction = volume(), volume()
    prediction[9] = 0  # wrong in the last slice only
    leaking = np.zeros(16, bool)
    leaking[9] = True
    rows = pd.DataFrame(
        score_case(prediction, truth, SPACING, OPENKBP, case="pt_0", leaking=leaking)
    )
    dsc = rows.groupby("variant")["dsc"].mean()
    assert dsc["raw"] == dsc["largest_component"] == pytest.approx(2 * 4 / 9)
    assert dsc["no_leak"] == dsc["largest_component_no_leak"] == 1
    unaware = pd.DataFrame(score_case(prediction, truth, SPACING, OPENKBP, case="pt_0"))
    assert unaware.groupby("variant")["dsc"].mean().nunique() == 1


def test_an_organ_that_only_leaking_slices_hold_is_not_scored() -> None:
    leaking = np.ones(16, bool)
    rows = pd.DataFrame(score_case(volume(), volume(), SPACING, OPENKBP, case="x", leaking=leaking))
    assert rows.loc[rows["variant"] == "no_leak", "dsc"].isna().all()
    assert not rows["missed"].any()


def test_an_unknown_label_is_refused() -> None:
    wrong = volume()
    wrong[0, 0, 0] = 6
    with pytest.raises(OarfuseError, match="labels 0 to 5"):
        score_case(wrong, volume(), SPACING, OPENKBP, case="pt_0")


def test_summary_on_real_data_shows_the_papers_row_and_on_a_phantom_does_not(
    predictions: Path, tmp_path: Path
) -> None:
    for phantom in (False, True):
        data = make_folder(tmp_path / f"data-{phantom}", phantom=phantom)
        output = tmp_path / f"out-{phantom}"
        result = score(predictions, data, output, model="oarfocalfusenet")
        text = (output / "summary.md").read_text()
        assert ("0.7995" in text) is (not phantom)
        assert ("Phantom data" in text) is phantom
        assert (result.summary["paper"] is None) is phantom
        assert result.summary["kind"] == ("phantom" if phantom else "full run")
        stored = json.loads((output / "summary.json").read_text())
        assert stored == result.summary
        assert stored["cases"] == 3 and stored["split"] == "validation"
        assert stored["versions"]["numpy"] and stored["date"]


def test_a_rerun_scores_only_what_is_missing(
    data: Path, predictions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    first = score(predictions, data, output)
    kept = {path.name: path.stat().st_mtime_ns for path in (output / "cases").iterdir()}
    assert len(kept) == 3
    (output / "cases" / "pt_1.json").write_text('{"case": "pt_1", "rows": [')  # cut off
    second = score(predictions, data, output)
    after = {path.name: path.stat().st_mtime_ns for path in (output / "cases").iterdir()}
    assert [name for name in after if after[name] != kept[name]] == ["pt_1.json"]
    pd.testing.assert_frame_equal(first.metrics, second.metrics)


def test_a_folder_holds_one_evaluation(data: Path, predictions: Path, tmp_path: Path) -> None:
    score(predictions, data, tmp_path / "out")
    write_nifti(predictions / "pt_0.nii.gz", volume(2))
    with pytest.raises(OarfuseError, match="choose another output folder") as caught:
        score(predictions, data, tmp_path / "out")
    assert "predictions_sha256" in str(caught.value)


def test_labels_of_other_programs(data: Path, predictions: Path, tmp_path: Path) -> None:
    expected = score(predictions, data, tmp_path / "integers")
    for path in predictions.iterdir():
        write_nifti(path, read_labels(path).astype(np.float32))
    found = score(predictions, data, tmp_path / "floats")
    pd.testing.assert_frame_equal(found.metrics, expected.metrics)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (volume()[:-1], "resample"),
        (volume().astype(np.float32) + 0.25, "fractions"),
        (volume() + np.uint8(3), "labels 0 to 5"),
    ],
)
def test_bad_label_files(
    data: Path, predictions: Path, tmp_path: Path, array: np.ndarray, message: str
) -> None:
    write_nifti(predictions / "pt_1.nii.gz", array)
    with pytest.raises(OarfuseError, match=message):
        score(predictions, data, tmp_path / "out")


def test_missing_files_and_empty_splits(data: Path, predictions: Path, tmp_path: Path) -> None:
    with pytest.raises(OarfuseError, match="no test cases"):
        score_predictions(predictions, data, "test", tmp_path / "out", method="x", progress=False)
    (predictions / "pt_2.nii.gz").unlink()
    with pytest.raises(OarfuseError, match=r"no .*pt_2\.nii\.gz"):
        score(predictions, data, tmp_path / "out")


def weights_file(path: Path, *, phantom: bool = False, dataset: str = "openkbp") -> Path:
    info = ModelInfo(
        model="oarfocalfusenet",
        dataset=dataset,
        window_hu=(-160.0, 400.0),
        patch_size=(16, 16, 32),
        spacing_mm=SPACING,
        spacing_range_mm=(SPACING, SPACING),
        phantom=phantom,
        training={"seed": 7, "step": 123},
    )
    save_weights(path, info.build().state_dict(), info)
    return path


@pytest.fixture
def interrupted_network(monkeypatch: pytest.MonkeyPatch) -> dict:
    """Stand in for the network: perfect labels, and a power cut at the call that is set."""
    state: dict[str, Any] = {"calls": 0, "stop_at": None}

    def predict_labels(model: Any, image: Any, info: Any, **options: Any) -> np.ndarray:
        state["calls"] += 1
        if state["calls"] == state["stop_at"]:
            raise KeyboardInterrupt
        return volume()

    monkeypatch.setattr("oarfuse.evaluation.scoring.predict_labels", predict_labels)
    return state


def test_an_interrupted_evaluation_goes_on(
    data: Path, tmp_path: Path, interrupted_network: dict
) -> None:
    weights = weights_file(tmp_path / "a.safetensors")
    arguments = (weights, data, "validation", tmp_path / "out")
    interrupted_network["stop_at"] = 3
    with pytest.raises(KeyboardInterrupt):
        evaluate(*arguments, progress=False, save_predictions=True)
    done = len(list((tmp_path / "out" / "cases").glob("*.json")))
    assert not (tmp_path / "out" / "summary.json").exists()
    interrupted_network.update(calls=0, stop_at=None)
    result = evaluate(*arguments, progress=False, save_predictions=True)
    assert interrupted_network["calls"] == 3 - done
    assert result.metrics["dsc"].eq(1).all()
    assert result.summary["model_info"]["training"] == {"seed": 7, "step": 123}
    text = (tmp_path / "out" / "summary.md").read_text()
    assert "seed: 7" in text and "training steps: 123" in text and "full run" in text
    saved = sorted((tmp_path / "out" / "predictions").iterdir())
    assert np.array_equal(read_labels(saved[-1]), volume())


def test_other_weights_need_another_folder(
    data: Path, tmp_path: Path, interrupted_network: dict
) -> None:
    arguments = (data, "validation", tmp_path / "out")
    evaluate(weights_file(tmp_path / "a.safetensors"), *arguments, progress=False)
    with pytest.raises(OarfuseError, match=r"differs in weights_sha256.*choose another output"):
        evaluate(weights_file(tmp_path / "b.safetensors"), *arguments, progress=False)


@pytest.mark.parametrize(
    ("phantom", "smoke", "kind"), [(True, False, "phantom"), (False, True, "smoke run")]
)
def test_what_is_no_full_run_says_so(
    data: Path, tmp_path: Path, interrupted_network: dict, phantom: bool, smoke: bool, kind: str
) -> None:
    weights = weights_file(tmp_path / "a.safetensors", phantom=phantom)
    result = evaluate(weights, data, "validation", tmp_path / "out", smoke=smoke, progress=False)
    assert result.summary["kind"] == kind
    assert f"| {kind} |" in (tmp_path / "out" / "summary.md").read_text()
    assert (result.summary["paper"] is None) is phantom


def test_weights_of_another_data_set(data: Path, tmp_path: Path) -> None:
    weights = weights_file(tmp_path / "a.safetensors", dataset="synapse")
    with pytest.raises(OarfuseError, match="trained for synapse"):
        evaluate(weights, data, "validation", tmp_path / "out", progress=False)


def test_a_real_network_goes_through(data: Path, tmp_path: Path) -> None:
    weights = weights_file(tmp_path / "a.safetensors")
    result = evaluate(weights, data, "validation", tmp_path / "out", device="cpu", progress=False)
    assert len(result.metrics) == 4 * 3 * 5
    assert result.summary["prediction_seconds_mean"] > 0
    assert result.summary["device"] == "cpu"
