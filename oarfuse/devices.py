"""Where tensors are computed and how: device, precision, memory allocator."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
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
