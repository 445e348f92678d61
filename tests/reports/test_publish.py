"""Publishing a run: stages, files, cards; all of it from a folder of small 'patients'."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from oarfuse.data.prepare import Header, Job, prepare_cases
from oarfuse.errors import OarfuseError
from oarfuse.files import sha256, write_json
from oarfuse.organs import OPENKBP
from oarfuse.training import train
from oarfuse.weights import read_info, training_stages
from reports import model_card, publish_weights
from tests.helpers.small_data import small_patient, write_small_data
from tests.test_training import tiny


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """What the kit takes for patients, because the header says so."""
    jobs = [
        Job(f"pt_{n}", split, partial(str, n), partial(small_patient, n))
        for n, split in enumerate(["train", "validation", "validation", "validation"], start=1)
    ]
    header = Header(OPENKBP, False, "small", "folders", tuple(o.name for o in OPENKBP.organs))
    prepare_cases(tmp_path / "data", header, jobs, [], workers=1, progress=False)
    return tmp_path / "data"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for the repository, so that nothing of the real one is replaced."""
    for module in (publish_weights, model_card):
        monkeypatch.setattr(module, "ROOT", tmp_path / "root")

    def write_cards() -> None:
        for path, text in model_card.cards().items():
            path.write_text(text, encoding="utf-8")

    monkeypatch.setattr(publish_weights.pages, "write", write_cards)
    return tmp_path / "root"


def test_two_stages_are_published_with_all_that_belongs_to_them(
    data: Path, root: Path, tmp_path: Path
) -> None:
    first = train(tiny(data, tmp_path / "first", steps=10), progress=False)
    publish: Any = partial(publish_weights.publish, data=data, mirror=False)
    path = publish(first, folders=[])
    assert path == root / "weights" / "oarfocalfusenet-openkbp.safetensors"
    one = read_info(path).training

    second = train(
        tiny(data, tmp_path / "second", init=str(path), steps=12, max_lr=0.004), progress=False
    )
    assert publish(second, folders=[]) == path  # finds the first stage where it was published
    stages = training_stages(read_info(path).training)
    assert [stage["step"] for stage in stages] == [one["step"], stages[1]["step"]]
    assert [stage["config"]["max_lr"] for stage in stages] == [0.003, 0.004]

    results = root / "results/openkbp/oarfocalfusenet"
    assert sorted(p.name for p in (results / "stages").iterdir()) == ["1", "2"]
    for number, run in ((1, first), (2, second)):
        kept = results / "stages" / str(number)
        assert (kept / "validation.csv").read_bytes() == (run / "validation.csv").read_bytes()
        assert json.loads((kept / "record.json").read_text()) == stages[number - 1]
    assert {p.name for p in results.glob("*.png")} == {"cases.png", "curve.png", "failures.png"}
    about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    summary = json.loads((results / "summary.json").read_text(encoding="utf-8"))
    assert about["sha256"] == sha256(path) == summary["weights"]["sha256"]
    with pytest.raises(OarfuseError, match="continues 1 runs and --stages names 2"):
        publish_weights.keep_stages(second, stages, [first, first], results / "stages")
    other = json.loads((results / "stages/1/config.json").read_text(encoding="utf-8"))
    write_json(results / "stages/1/config.json", other | {"seed": 7})  # of another training
    publish_weights.keep_stages(second, stages, [], results / "stages")
    assert [p.name for p in (results / "stages").iterdir()] == ["2"]
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    steps = sum(stage["step"] for stage in stages)
    assert f" {steps} steps in 2 stages" in card
    assert (
        "Not for clinical use" in card and f"{summary['means']['raw']['mean']['dsc']:.4f}" in card
    )
    assert str(tmp_path) not in card + path.with_suffix(".json").read_text(encoding="utf-8")

    other = results / "other_evaluations" / "mirrored"
    other.mkdir(parents=True)
    write_json(other / "summary.json", summary | {"mirror": True})
    (row,) = [line for line in model_card.cards()[path.with_suffix(".md")].splitlines()
              if line.startswith("| mirrored | 3 validation | with | raw |")]  # fmt: skip
    assert f"{summary['means']['raw']['mean']['dsc']:.4f}" in row
    former = {**summary["weights"], "sha256": sha256(first / "weights.safetensors")}
    write_json(other / "summary.json", summary | {"weights": former})
    assert model_card.cards()[path.with_suffix(".md")] == card  # of weights published before


def test_a_run_that_does_not_know_its_past_must_be_told(
    data: Path, root: Path, tmp_path: Path
) -> None:
    first = train(tiny(data, tmp_path / "first", steps=4), progress=False)
    init = str(first / "weights.safetensors")
    second = train(tiny(data, tmp_path / "second", init=init, steps=4), progress=False)
    info = read_info(second / "weights.safetensors")
    known = publish_weights.history(second, info, [])
    forgotten = {
        key: info.training[key] for key in info.training if key not in ("earlier", "config")
    }
    info = publish_weights.replace(info, training=forgotten)  # as runs wrote it before
    with pytest.raises(OarfuseError, match="name the folders of the earlier runs with --stages"):
        publish_weights.history(second, info, [])
    assert publish_weights.history(second, info, [first]) == known


def test_phantoms_are_not_published(root: Path, tmp_path: Path) -> None:
    write_small_data(tmp_path / "phantom")
    run = train(tiny(tmp_path / "phantom", tmp_path / "run", steps=1), progress=False)
    with pytest.raises(OarfuseError, match="trained on a phantom"):
        publish_weights.publish(run, tmp_path / "phantom", mirror=False, folders=[])
    assert not root.exists()
