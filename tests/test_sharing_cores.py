"""PyTorch leaves other programs the cores that they keep busy, and takes them back."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from oarfuse import devices
from oarfuse.devices import sharing_cores

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


class Machine:
    """Two cores whose clocks a test moves: all work, and this process's share of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.busy = self.own = 0.0
        monkeypatch.setattr(devices, "time", SimpleNamespace(perf_counter=lambda: self.now))
        monkeypatch.setattr(devices, "_busy_seconds", lambda: self.busy)
        monkeypatch.setattr(devices, "_own_seconds", lambda: self.own)
        cores = SimpleNamespace(sched_getaffinity=lambda process: {0, 1})
        monkeypatch.setattr(devices, "os", cores)

    def passes(self, seconds: float, *, own: float, others: float) -> None:
        """Let time pass in which this process and others use so many cores."""
        self.now += seconds
        self.own += own * seconds
        self.busy += (own + others) * seconds


def test_a_busy_core_is_left_and_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    with sharing_cores(CPU) as look:
        machine.passes(2, own=2, others=0)
        look()
        assert torch.get_num_threads() == 2
        machine.passes(2, own=1.5, others=0.5)  # what a spinning thread leaves to the other program
        with pytest.warns(UserWarning, match="keep 1 of 2 cores busy.*with 1 of 2 threads"):
            look()
        assert torch.get_num_threads() == 1
        machine.passes(2, own=1, others=1)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # said once
            look()
        assert torch.get_num_threads() == 1
        machine.passes(2, own=1, others=0.1)
        look()
        assert torch.get_num_threads() == 2


def test_a_crowded_machine_keeps_one_thread_and_gets_back_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch)
    with pytest.warns(UserWarning, match="with 1 of 2 threads"), sharing_cores(CPU) as look:
        machine.passes(2, own=0.1, others=1.9)
        look()
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_a_glance_of_less_than_a_second_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    with sharing_cores(CPU) as look:
        machine.passes(0.9, own=1, others=1)
        look()
        assert torch.get_num_threads() == 2


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_where_nothing_is_known_or_computed_nothing_changes(
    monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    if device == "cpu":  # not Linux
        monkeypatch.setattr(devices, "_busy_seconds", lambda: None)
    with sharing_cores(torch.device(device)) as look:
        look()
        assert torch.get_num_threads() == 2


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's /proc/stat")
def test_work_of_another_process_is_seen() -> None:
    before = devices._busy_seconds()
    if not before:
        pytest.skip("this sandbox does not tell how busy its cores are")
    worker = "import time\nwhile time.process_time() < 1: pass"
    subprocess.run([sys.executable, "-c", worker], check=True, timeout=120)
    time.sleep(0.1)  # the kernel counts in ticks
    after = devices._busy_seconds()
    assert after is not None
    assert after - before > 0.8


def _work(done: Any, stop: Any) -> None:
    while time.process_time() < 1:
        pass
    done.set()
    stop.wait()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads Linux's /proc")
def test_work_of_the_processes_that_cut_patches_is_its_own() -> None:
    context = multiprocessing.get_context("spawn")
    done, stop = context.Event(), context.Event()
    before, own = devices._own_seconds(), time.process_time()
    worker = context.Process(target=_work, args=(done, stop))
    worker.start()
    assert done.wait(timeout=120)
    seen = devices._own_seconds() - before - (time.process_time() - own)
    stop.set()
    worker.join()
    assert seen > 0.9
