"""Time and memory of a few lines of code, side by side: what the notebooks measure with."""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
from torch.profiler import ProfilerActivity, profile

from oarfuse.errors import OarfuseError


def compare_times(
    functions: Mapping[str, Callable[[], object]], *, repeats: int = 5
) -> pd.DataFrame:
    """Time functions in turns, so that what else the machine does strikes all of them alike.

    Each runs once before the clock starts. On a GPU a function must wait for its own result.

    Returns
    -------
    pandas.DataFrame
        One row a function, in their order: median, least and greatest ``seconds`` of `repeats`
        runs, and ``ratio``, how many times faster than the first one its median is.

    Raises
    ------
    OarfuseError
        If there is nothing to time.
    """
    if not functions or repeats < 1:
        raise OarfuseError("Nothing is timed: give at least one function and one repeat.")
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(repeats):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    table = pd.DataFrame(seconds).agg(["median", "min", "max"]).T
    return table.assign(ratio=table["median"].iloc[0] / table["median"])


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, least and greatest of repeated measurements."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def peak_memory(function: Callable[[], object]) -> int:
    """Return the most bytes that PyTorch's CPU allocator held while `function` ran.

    Counted from what was held at its start, by PyTorch's profiler. The scratch memory that some
    kernels take from the system by themselves is not seen.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it announces start and stop in red
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    changes = [
        (event["ts"], event["args"]["Bytes"]) for event in events if event.get("name") == "[memory]"
    ]
    held = peak = 0
    for _, change in sorted(changes, key=lambda item: item[0]):
        held += change
        peak = max(peak, held)
    return peak
