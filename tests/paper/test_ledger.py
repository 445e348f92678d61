"""The ledger is complete, in its form, and its computed parts are what the code computes."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from oarfuse.errors import OarfuseError
from oarfuse.models import model_names
from oarfuse.paper.ledger import (
    AREAS,
    Entry,
    compute_sizes,
    effect_text,
    ledger_frame,
    ledger_markdown,
    load_ledger,
    measured_frame,
    problems,
    update_sizes,
)


@pytest.fixture(scope="module")
def entries() -> list[Entry]:
    return load_ledger()


def test_nothing_is_wrong_with_it(entries: list[Entry]) -> None:
    assert problems(entries) == []


def test_stored_sizes_are_what_the_code_counts(entries: list[Entry]) -> None:
    """After a change of the networks, `python -m oarfuse.paper.ledger` mends this."""
    switched = [entry for entry in entries if entry["switch"]]
    assert len(switched) >= 6
    for entry in switched:
        assert entry["effect"]["size"] == compute_sizes(entry["switch"]), entry["point"]


def test_defaults_of_the_switches_are_the_networks_own(entries: list[Entry]) -> None:
    """The first value of a switch is the default: it gives the same network as no option."""
    for entry in entries:
        if switch := entry["switch"]:
            first = entry["effect"]["size"]["rows"][0]
            plain = compute_sizes({"model": switch["model"], "option": "width", "values": [16]})
            assert first | {"value": 16} == plain["rows"][0], entry["point"]


def test_every_area_and_every_network_has_its_points(entries: list[Entry]) -> None:
    assert {entry["area"] for entry in entries} == set(AREAS)
    assert {name for entry in entries for name in entry["method"]} == {*model_names(), "all"}


def test_the_points_that_must_be_there(entries: list[Entry]) -> None:
    points = " | ".join(entry["point"].lower() for entry in entries)
    for topic in (
        "focal levels n", "eq. 4", "eq. 5", "eq. 6", "interpolation", "pooling", "kernel",
        "normalisation", "linear layer", "dense block", "window", "patch", "batch", "augmentation",
        "split", "unit of hd", "direction of asd", "leak", "spacing", "two organs claim",
        "synapse", "which asd", "hd is the lowest", "background", "average of the weights",
        "2d recipe: optimizer", "2d recipe: what a batch", "2d recipe: augmentation",
        "whose scorer", "gates work", "channel wise gating",
        "v-net's loss", "darr: which permutations",
        "darr: what adapts at test time",
    ):  # fmt: skip
        assert topic in points, topic


def drop(key: str) -> Callable[[Entry], object]:
    return lambda entry: entry.pop(key)


def put(place: str, value: Any) -> Callable[[Entry], object]:
    def change(entry: Entry) -> None:
        *parents, last = place.split(".")
        for parent in parents:
            entry = entry[parent]
        entry[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (drop("evidence"), "'evidence' is a required property"),
        (put("why_open", ""), "why_open"),
        (put("colour", "blue"), "'colour' was unexpected"),
        (put("area", "weather"), "'weather' is not one of"),
        (put("method", []), "method"),
        (put("method", ["u-net"]), "no model 'u-net'"),
        (put("options", "none"), "is not of type 'array'"),
        (put("effect.unmeasured", "Later."), "reason"),
        (put("effect.speed", None), "reason"),
        (put("effect.score", {"rows": [{"value": 1}], "how": "x"}), "effect.score.rows.0"),
        (put("effect.score", {"rows": [{"value": 1, "dsc": "high"}], "how": "x"}), "rows.0.dsc"),
        (put("effect.speed", {"rows": [{"value": 1, "seconds": 2.0}]}), "'how'"),
        (put("switch", {"model": "msf3d", "option": "depth", "values": [1, 2]}), "no option"),
        (put("switch", {"model": "msf3d", "option": "dense_layers", "values": [2, 9]}), "1 to 5"),
        (put("switch", {"model": "msf3d", "option": "dense_layers", "values": [2]}), "values"),
    ],
)
def test_what_is_wrong_is_named(entries: list[Entry], change: Any, said: str) -> None:
    entry = copy.deepcopy(next(entry for entry in entries if entry["effect"]["unmeasured"] is None))
    assert not problems([entry])
    point = entry["point"]
    change(entry)
    (found, *_) = problems([entry])
    assert found.startswith(point)
    assert said in found


def test_points_are_unique(entries: list[Entry]) -> None:
    assert problems([entries[3], entries[3]]) == [f"{entries[3]['point']}: there twice"]


def test_areas_filter_and_bad_files_are_named(tmp_path: Any) -> None:
    assert {entry["area"] for entry in load_ledger("data")} == {"data"}
    with pytest.raises(OarfuseError, match="no area 'weather'"):
        load_ledger("weather")
    path = tmp_path / "ledger.json"
    for text in (None, "{", '[{"point": "p"}]'):
        if text is not None:
            path.write_text(text, encoding="utf-8")
        with pytest.raises(OarfuseError, match=r"is not a ledger|cannot be read"):
            load_ledger(path=path)


def test_sizes_are_computed_anew(entries: list[Entry], tmp_path: Any) -> None:
    path = tmp_path / "ledger.json"
    entry = copy.deepcopy(next(entry for entry in entries if entry["switch"]))
    good, entry["effect"]["size"] = entry["effect"]["size"], None
    path.write_text(json.dumps([entry]), encoding="utf-8")
    assert update_sizes(path) == 1
    assert load_ledger(path=path)[0]["effect"]["size"] == good


def test_it_reads_as_a_table(entries: list[Entry]) -> None:
    frame = ledger_frame(entries)
    assert len(frame) == len(entries)
    assert frame.map(lambda cell: isinstance(cell, str) and bool(cell)).all(axis=None)
    effect = {
        "note": "A note.",
        "size": {"rows": [{"value": 2, "parameters": 1234, "gflops": 1.5}], "how": "counted"},
        "speed": None,
        "score": None,
        "unmeasured": "Not yet.",
    }
    assert effect_text(effect) == (
        "A note. Size: 2: 1,234 parameters, 1.5 GFLOP (counted). Not yet."
    )


def test_it_renders_as_markdown(entries: list[Entry]) -> None:
    entry = entries[0] | {"default": "a | b"}
    lines = ledger_markdown([entry], ["point", "why_open", "default"]).splitlines()
    assert lines[:2] == ["| Point | Why open | Default |", "|---|---|---|"]
    assert lines[2].endswith(r"| a \| b |")
    assert len(lines) == 3
    with pytest.raises(OarfuseError, match="no column 'colour'"):
        ledger_markdown([entry], ["colour"])


def test_measured_frame_joins_speed_and_score(entries: list[Entry]) -> None:
    entry = next(e for e in entries if e["point"] == "The gates after Eq. 4")
    table = measured_frame(entry)
    assert table is not None and list(table.index) == [True, False]
    assert list(table.columns) == [
        "DSC",
        "largest component: DSC",
        "largest component: HD (voxels)",
        "seconds",
    ]
    speed = {row["value"]: row["seconds"] for row in entry["effect"]["speed"]["rows"]}
    assert table["seconds"].to_dict() == speed
    half = copy.deepcopy(entry)
    half["effect"]["speed"] = None
    assert measured_frame(half) is None
