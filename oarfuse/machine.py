"""What the processor is, without importing PyTorch: data preparation must start at once."""

from __future__ import annotations

import getpass
import os
import platform
from pathlib import Path


def name_the_user() -> None:
    """Give the user a name if the system has none, as in a container under a foreign number.

    MONAI cannot be imported, nor PyTorch compile, where `getpass.getuser` finds nobody.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError, ImportError):
        os.environ["USER"] = "nobody"


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor_name() -> str:
    """Return the CPU's model name, or what the platform module knows."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
