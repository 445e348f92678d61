"""Times in turns and peak memory of the notebooks' comparisons."""

from __future__ import annotations

import time

import pytest
import torch

from oarfuse.course.timing import compare_times, peak_memory
from oarfuse.errors import OarfuseError


def test_functions_are_timed_in_turns() -> None:
    calls: list[str] = []

    def quick() -> None:
        calls.append("quick")

    def slow() -> None:
        calls.append("slow")
        time.sleep(0.02)

    table = compare_times({"slow": slow, "quick": quick}, repeats=3)
    assert calls == ["slow", "quick"] * 4  # once to warm up
    assert list(table.columns) == ["median", "min", "max", "ratio"]
    assert table.loc["slow", "median"] >= 0.02
    assert table.loc["slow", "ratio"] == 1.0
    assert (table["min"] <= table["median"]).all()
    assert (table["median"] <= table["max"]).all()


@pytest.mark.parametrize("arguments", [({},), ({"a": print}, 0)])
def test_nothing_to_time(arguments: tuple) -> None:
    with pytest.raises(OarfuseError, match="at least one function"):
        compare_times(arguments[0], repeats=arguments[1] if len(arguments) > 1 else 1)


def test_peak_is_what_is_held_at_once() -> None:
    held = torch.zeros(1000)  # before the start: not counted

    def work() -> None:
        first = torch.zeros(250_000)  # 1 MB
        second = first + held[0]  # 2 MB in all
        del first
        third = second * 2  # 2 MB again
        assert third.shape == second.shape

    assert peak_memory(work) == pytest.approx(2e6, rel=0.01)
