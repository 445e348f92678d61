"""Where tensors are computed and how: device, precision, memory allocator, threads."""

from __future__ import annotations

import ctypes
import math
import multiprocessing
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import cast

import torch

from oarfuse.config import PRECISIONS, Precision
from oarfuse.errors import OarfuseError

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # mallopt's parameters in glibc's malloc.h


@lru_cache(maxsize=1)
def keep_freed_memory() -> bool:
    """Let glibc reuse freed memory instead of giving it back to the kernel; return if it could.

    By default glibc maps every block of over 32 MiB anew and unmaps it when it is freed, so each
    layer of a 3D network pays for page faults again, more than for its arithmetic. Called once by
    training, prediction and the benchmarks; it changes nothing on other systems or on a GPU.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


@contextmanager
def sharing_cores(device: torch.device) -> Iterator[Callable[[], None]]:
    """Leave other programs the cores that they keep busy, while PyTorch computes on a CPU.

    PyTorch's threads wait for each other several times a layer, so that one program on one of
    their cores holds up all of them: ``benchmarks/neighbour.py`` has what that costs. Fewer
    threads add in another order, so results may differ in the last digits from then on, which a
    warning says. Only Linux tells how busy its cores are; elsewhere nothing is changed.

    Yields
    ------
    A function to call between steps: at most once a second it looks at the cores and gives
    PyTorch as many threads as are left, one at least. At the end all threads are back.
    """
    most = torch.get_num_threads()
    if device.type != "cpu" or most == 1 or _busy_seconds() is None:
        yield lambda: None
        return
    cores = len(os.sched_getaffinity(0))

    def clocks() -> tuple[float, float, float]:
        return time.perf_counter(), _busy_seconds() or 0.0, _own_seconds()

    before = clocks()
    told = False

    def look() -> None:
        nonlocal before, told
        if time.perf_counter() - before[0] < 1:
            return
        now = clocks()
        seconds, busy, own = (new - old for new, old in zip(now, before, strict=True))
        before = now
        # Beside threads that spin, a program that wants a whole core gets half of one.
        taken = math.ceil((busy - own) / seconds - 0.4)
        threads = max(1, min(most, cores - taken))
        torch.set_num_threads(threads)
        if threads < most and not told:
            told = True
            warnings.warn(
                f"Other programs keep {taken} of {cores} cores busy: PyTorch goes on with "
                f"{threads} of {most} threads while they do, and the last digits may differ.",
                stacklevel=2,
            )

    try:
        yield look
    finally:
        torch.set_num_threads(most)


def _own_seconds() -> float:
    """Return how long this process and those that prepare its patches have worked."""
    total = time.process_time()
    for child in multiprocessing.active_children():
        with suppress(OSError, IndexError):  # it may just have ended
            words = Path(f"/proc/{child.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2]
            # utime and stime, the 14th and 15th word; the name in brackets is the second.
            total += sum(map(int, words.split()[11:13])) / os.sysconf("SC_CLK_TCK")
    return total


def _busy_seconds() -> float | None:
    """Return how long this process's cores have worked since the machine started, or None.

    ``/proc/stat`` has a line ``cpu0 user nice system idle iowait irq softirq ..`` for each core.
    What runs with a lower priority (nice) gives way by itself and is left out.
    """
    try:
        names = {f"cpu{core}" for core in os.sched_getaffinity(0)}
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
        rows = [words[1:] for words in map(str.split, lines) if words and words[0] in names]
        ticks = sum(int(row[column]) for row in rows for column in (0, 2, 5, 6))
        return ticks / os.sysconf("SC_CLK_TCK") if rows else None
    except (AttributeError, OSError, ValueError, IndexError):  # not Linux, or a sandbox
        return None


def choose_precision(precision: str, device_type: str) -> Precision:
    """Resolve ``"auto"``: bfloat16 where the hardware multiplies it, else the best that it has.

    Returns one of Lightning Fabric's names: ``32-true``, ``bf16-mixed`` or ``16-mixed``.
    """
    if precision not in PRECISIONS:
        raise OarfuseError(f"precision is {precision!r}: choose one of {', '.join(PRECISIONS)}.")
    if precision != "auto":
        return cast(Precision, precision)
    if device_type == "cuda":
        # A T4 emulates bfloat16 and counts as supporting it unless asked this way.
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16-mixed" if native else "16-mixed"
    # Without these instructions bfloat16 is emulated on a CPU, and slower than float32.
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16-mixed" if device_type == "cpu" and fast else "32-true"


@contextmanager
def missing_operators_said() -> Iterator[None]:
    """Turn PyTorch's error on an operator that Apple's GPUs lack into a sentence."""
    try:
        yield
    except NotImplementedError as error:
        found = re.search(r"operator '([\w:.]+)'.*MPS", str(error), re.DOTALL)
        if not found:
            raise
        raise OarfuseError(
            f"Apple's GPU cannot do {found[1]} in this PyTorch: take the CPU (--accelerator cpu or "
            f"--device cpu), or set PYTORCH_ENABLE_MPS_FALLBACK=1 before Python starts."
        ) from error


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """Return the asked-for device, or the first GPU, or the CPU: what training chooses too.

    Raises
    ------
    OarfuseError
        If the machine has no such device.
    """
    if device is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError):
        raise OarfuseError(f"There is no device {device!r}: choose 'cpu' or 'cuda'.") from None
    counts = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }
    count = counts.get(chosen.type, 0)
    if (chosen.index or 0) >= count:
        here = ["cpu"]
        here += [f"{kind}:{n}" for kind in ("cuda", "mps") for n in range(counts[kind])]
        raise OarfuseError(
            f"This machine has no device {str(device)!r}: choose one of {', '.join(here)}."
        )
    return chosen


def autocast(device: torch.device, precision: str = "auto") -> torch.autocast:
    """Return the autocast context for inference on `device`."""
    chosen = choose_precision(precision, device.type)
    dtype = torch.float16 if chosen == "16-mixed" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=chosen != "32-true")
