"""The runner of experiments.yaml and the tables that are made from its folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from oarfuse.config import TrainConfig
from oarfuse.errors import OarfuseError
from oarfuse.models import build_model
from oarfuse.paper.ledger import load_ledger
from reports import experiments as report
from reports.ledger_scores import PUBLISHED, ledger_text
from tests.helpers.small_data import write_small_data
from workflow import experiments as runner
from workflow.flags import flags

TINY = {
    "train": {
        "patch_size": [32, 32, 32],
        "batch_size": 1,
        "steps": 2,
        "workers": 0,
        "accelerator": "cpu",
        "model_options": {"width": 2},
        "seed": 0,
    },
    "rivals": ["unet3d"],
    "groups": {
        "comparison": {
            "title": "2 steps each",
            "train": {"minutes": 5},
            "reference": "compare-oarfocalfusenet",
            "runs": {
                "compare-oarfocalfusenet": {"model": "oarfocalfusenet"},
                "compare-unet3d": {
                    "model": "unet3d",
                    "model_options": {"features": [2, 2, 4, 4, 8]},
                },
            },
        },
        "seeds": {
            "title": "two seeds",
            "train": {"minutes": 5},
            "reference": "rival",
            "runs": {"rival": {"model": "best_rival"}},
        },
    },
}


def test_the_list_is_one_that_can_be_trained() -> None:
    content = runner.read_list()
    listed = runner.experiments(content)
    assert len(listed) == len({json.dumps(options) for options in listed.values()})
    for name, options in listed.items():
        config = TrainConfig(data="d", output="o", **{**options, "model": "unet3d"})
        assert config.minutes in (10, 20, 45), name
        if options["model"] != "best_rival":
            build_model(options["model"], 1, 6, **options.get("model_options", {}))
    for group in content["groups"].values():
        assert group["reference"] in listed
    assert set(content["rivals"]) <= {listed[f"compare-{model}"]["model"] for model in
                                      content["rivals"]}  # fmt: skip


def test_options_become_flags() -> None:
    options = {"patch_size": [1, 2, 3], "augment": False, "blank_leaking": True,
               "model_options": {"gates": False}, "min_lr": 0.001}  # fmt: skip
    assert flags(options) == [
        *("--patch-size", "1", "2", "3", "--no-augment", "--blank-leaking"),
        *("--model-options", '{"gates": false}', "--min-lr", "0.001"),
    ]


def test_runs_one_after_the_other_and_never_twice(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, work, results = tmp_path / "data", tmp_path / "work", tmp_path / "results"
    write_small_data(data)

    def call(only: list[str]) -> str:
        capfd.readouterr()
        runner.run_all(TINY, data, work, results, only, smoke=False)
        return capfd.readouterr().out

    assert "rival: waits for the comparison of unet3d" in call(["seeds"])
    first = "compare-oarfocalfusenet"
    calls = []
    really = runner._call

    def cut(command: list[str]) -> None:
        calls.append(command[3])
        if command[3] == "evaluate" and len(calls) == 2:
            raise KeyboardInterrupt
        really(command)

    monkeypatch.setattr(runner, "_call", cut)
    with pytest.raises(KeyboardInterrupt):
        call([first])
    assert not (results / "comparison" / first).exists()  # nothing that could pass for a result
    assert f"{first}: done" not in call([first])
    assert calls == ["train", "evaluate"] * 2
    kept = {path.name for path in (results / "comparison" / first).iterdir()}
    assert kept == {"config.json", "environment.json", "validation.csv", "metrics.csv",
                    "metrics_largest_component.csv", "summary.json", "summary.md",
                    "experiment.json"}  # fmt: skip
    record = json.loads(
        (results / "comparison" / first / "experiment.json").read_text(encoding="utf-8")
    )
    assert record["options"]["model"] == "oarfocalfusenet"
    config = json.loads(
        (results / "comparison" / first / "config.json").read_text(encoding="utf-8")
    )
    assert not Path(config["output"]).is_absolute() and not Path(config["data"]).is_absolute()
    assert all(session["own_cpu_seconds"] > 0 for session in record["sessions"])
    assert f"{first}: done" in call([first])
    assert calls == ["train", "evaluate"] * 2

    changed = json.loads(json.dumps(TINY))
    changed["train"]["seed"] = 1
    with pytest.raises(OarfuseError, match="was run with other options"):
        runner.run_all(changed, data, work, results, [first], smoke=False)
    with pytest.raises(OarfuseError, match="There is no 'nonsense'"):
        call(["nonsense"])
    with pytest.raises(SystemExit, match="holds a phantom: only full runs"):
        report.page(TINY, results)


def finished(
    results: Path, name: str, model: str, dsc: float, seed: int, processor: str = "A"
) -> None:
    """Write a result folder with known scores: organs differ, methods by a shift."""
    folder = results / name
    folder.mkdir(parents=True)
    organs = [organ.name for organ in report.get_spec("openkbp").organs]
    wobble = 0.01 * np.random.default_rng(seed).random((4, 5))
    rows = [
        {"case": f"pt_{case}", "organ": organ, "dsc": dsc + wobble[case, place], "hd_vox": 3.0,
         "hd_mm": 9.0, "hd95_vox": 2.0, "hd95_mm": 6.0, "asd_vox": 0.5, "asd_mm": 1.5,
         "missed": False}
        for case in range(4)
        for place, organ in enumerate(organs)
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    frame.to_csv(folder / "metrics.csv", index=False)
    mean = {"dsc": frame["dsc"].mean(), "hd_vox": 3.0, "asd_vox": 0.5}
    means = {"mean": mean, **{organ: {"dsc": dsc} for organ in organs}}
    variants = ("raw", "largest_component", "largest_component_no_leak")
    summary = {
        "kind": "full run",
        "model": model,
        "cases": 4,
        "means": {v: means for v in variants},
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    trained = [{"device_name": processor, "date": "2026-11-26T11:17", "commit": "abc"}]
    (folder / "environment.json").write_text(json.dumps(trained))
    log = {"step": [5, 10], "minutes": [0.6, 1.2], "seconds": [6.0, 6.0], "cpu": [9.0, 9.0]}
    pd.DataFrame(log).to_csv(folder / "log.csv", index=False)
    last = 15 if model == "unet3d" else 20
    curve = {"step": [10, last], "minutes": [1.2, 2.0], "val_dsc": [dsc - 0.1, dsc]}
    pd.DataFrame(curve).to_csv(folder / "validation.csv", index=False)
    session = {"wall_seconds": 100.0, "own_cpu_seconds": 160.0, "other_cpu_seconds": 20.0,
               "cores": 2}  # fmt: skip
    record: dict[str, Any] = {"name": name, "options": {}, "sessions": [session]}
    (folder / "experiment.json").write_text(json.dumps(record))


def test_every_processor_of_a_training_is_named_once(tmp_path: Path) -> None:
    for stage, devices in enumerate((["slow"], ["slow", "fast"], ["fast"])):
        (tmp_path / str(stage)).mkdir()
        text = json.dumps([{"device_name": device} for device in devices])
        (tmp_path / str(stage) / "environment.json").write_text(text)
    trained = report.training_sessions(tmp_path / str(stage) for stage in range(3))
    assert len(trained) == 4
    assert report.processors(trained) == "slow + fast"


def test_tables_by_hand(tmp_path: Path) -> None:
    assert report.readme_block(TINY, tmp_path) == report.NOT_RUN
    finished(tmp_path / "comparison", "compare-oarfocalfusenet", "oarfocalfusenet", 0.70, seed=1)
    finished(tmp_path / "comparison", "compare-unet3d", "unet3d", 0.72, seed=1)
    block = report.readme_block(TINY, tmp_path)
    # the same wobble in both, so every patient differs by exactly 0.02
    assert "+0.0200 [+0.0200, +0.0200]" in block
    assert "**5 minutes of training each**" in block
    assert "Trained on A, 2026-11-26 (commit abc)." in block and "Not run yet" not in block
    page = report.page(TINY, tmp_path)
    equal = "equal steps, 10, the last that all validated: oarfocalfusenet 0.6000, unet3d 0.6200."
    assert equal in block and equal in page
    assert "A, 1.50 cores, others 10%" in page and "Not one budget" not in page + block
    assert report.NOT_RUN in page  # the seeds
    row = next(line for line in page.splitlines() if line.startswith("| compare-unet3d | unet3d"))
    assert " 15 | 2.0 | 0.72" in row  # the last step, which is validated; the log may end before


def test_two_runs_of_one_network_are_told_apart_by_their_names(tmp_path: Path) -> None:
    for name, dsc in (("oarfocalfusenet", 0.7), ("unet3d", 0.72)):
        finished(tmp_path / "comparison", f"compare-{name}", "oarfocalfusenet", dsc, seed=1)
    equal = "that all validated: compare-oarfocalfusenet 0.7000, compare-unet3d 0.7200."
    assert equal in report.page(TINY, tmp_path)


def test_a_slow_run_does_not_hide_the_equal_steps_of_the_others(tmp_path: Path) -> None:
    content = json.loads(json.dumps(TINY))
    models = {"oarfocalfusenet": 0.7, "attunet": 0.71, "unet3d": 0.72}
    content["groups"]["comparison"]["runs"] = {f"compare-{m}": {"model": m} for m in models}
    for name, dsc in models.items():
        finished(tmp_path / "comparison", f"compare-{name}", name, dsc, seed=1)
    slow = tmp_path / "comparison" / "compare-unet3d" / "validation.csv"
    pd.DataFrame({"step": [7], "minutes": [2.0], "val_dsc": [0.5]}).to_csv(slow, index=False)
    equal = "20, the last that 2 of 3 validated: oarfocalfusenet 0.7000, attunet 0.7100."
    assert equal in report.page(content, tmp_path)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    content = json.loads(json.dumps(TINY))
    first = "compare-oarfocalfusenet"
    finished(tmp_path / "comparison", first, "oarfocalfusenet", 0.70, seed=1)
    content["groups"]["seeds"]["reference"] = first  # another group's run fills no group
    page = report.page(content, tmp_path)
    for text in (page, report.readme_block(content, tmp_path)):
        assert text.count("Not run yet: compare-unet3d.") == 1
    assert page.count(report.NOT_RUN) == 1 and page.count("| compare-oarfocalfusenet |") == 1


def test_runs_on_different_processors_are_not_called_one_budget(tmp_path: Path) -> None:
    for name, processor in (("oarfocalfusenet", "B"), ("unet3d", "A")):
        finished(tmp_path / "comparison", f"compare-{name}", name, 0.7, 1, processor)
    for text in (report.page(TINY, tmp_path), report.readme_block(TINY, tmp_path)):
        assert text.count("were made on different processors (A, B)") == 1


def test_seeds_are_averaged_within_each_patient(tmp_path: Path) -> None:
    content = json.loads(json.dumps(TINY))
    runs = {f"s{seed}-{model}": {"model": model, "seed": seed} for seed in (0, 1)
            for model in ("oarfocalfusenet", "unet3d")}  # fmt: skip
    content["groups"]["seeds"] |= {"reference": "s0-oarfocalfusenet", "runs": runs}
    for seed, better in ((0, 0.01), (1, 0.03)):
        finished(tmp_path / "seeds", f"s{seed}-oarfocalfusenet", "oarfocalfusenet", 0.7, seed=seed)
        finished(tmp_path / "seeds", f"s{seed}-unet3d", "unet3d", 0.7 + better, seed=seed)
    page = report.page(content, tmp_path)
    # (0.01 + 0.03) / 2 for each patient
    assert "| unet3d | +0.0200 [+0.0200, +0.0200]" in page


def test_ledger_takes_speed_and_score_from_finished_runs(tmp_path: Path) -> None:
    reference, changed = tmp_path / "seeds", tmp_path / "ablations"
    finished(reference, "seed0-oarfocalfusenet", "oarfocalfusenet", 0.7, seed=1)
    finished(changed, "ablation-no-gates", "oarfocalfusenet", 0.68, seed=1)
    before = {entry["point"]: entry for entry in load_ledger()}
    after = {entry["point"]: entry for entry in json.loads(ledger_text(results=tmp_path))}
    effect = after.pop("The gates after Eq. 4")["effect"]
    of = {row["value"]: row["dsc"] for row in effect["score"]["rows"]}
    assert of[True] - of[False] == pytest.approx(0.02, abs=2e-4)  # each is rounded
    # 2 minutes of 20 steps
    assert effect["speed"]["rows"] == [{"value": v, "seconds": 6.0} for v in (True, False)]
    assert effect["unmeasured"] is None and "results/openkbp/experiments" in effect["score"]["how"]
    assert all(before[point] == entry for point, entry in after.items())  # runs are missing


def test_ledger_names_the_groups_and_seeds_of_its_runs(tmp_path: Path) -> None:
    for seed in range(3):
        finished(tmp_path / "seeds", f"seed{seed}-oarfocalfusenet", "oarfocalfusenet", 0.7, seed)
    finished(tmp_path / "ablations", "ablation-no-gates", "oarfocalfusenet", 0.6, seed=1)
    after = {entry["point"]: entry for entry in json.loads(ledger_text(results=tmp_path))}
    gates = after["The gates after Eq. 4"]["effect"]["score"]
    assert [row["value"] for row in gates["rows"]] == [True, False]
    assert "OpenKBP, seed 0;" in gates["how"]
    assert gates["how"].endswith("results/openkbp/experiments: seeds, ablations")
    weights = after["Initial weights"]["effect"]["score"]
    assert "OpenKBP, seeds 0, 1, 2;" in weights["how"]
    assert weights["how"].endswith("experiments: seeds")


def test_ledger_takes_variants_from_the_published_scores(tmp_path: Path) -> None:
    published = json.loads((PUBLISHED / "summary.json").read_text(encoding="utf-8"))
    published["means"]["no_leak"]["spinal_cord"]["dsc"] = 0.12344
    (tmp_path / "summary.json").write_text(json.dumps(published), encoding="utf-8")
    entries = json.loads(ledger_text(results=tmp_path, published=tmp_path))
    (score,) = (e["effect"]["score"] for e in entries if e["point"].startswith("Slices that leak"))
    assert score["rows"][1]["dsc_spinal_cord"] == 0.1234
    assert published["commit"] in score["how"]
