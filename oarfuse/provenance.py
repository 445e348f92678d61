"""What a number was made with: processor, device, versions, commit, date.

PyTorch is imported only where a device is asked for: data preparation must start at once.
"""

from __future__ import annotations

import getpass
import os
import platform
import subprocess
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


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


def git_commit() -> str | None:
    """Return the package's git commit (with ``+`` if there are changes), or None without git."""
    here = Path(__file__).parent
    try:
        commit = _git(here, "rev-parse", "--short=10", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no", "--", str(here))
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    result = subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return result.stdout.strip()


def environment(device: torch.device | str = "cpu") -> dict[str, Any]:
    """Return what a reader needs to judge a number: device, versions, commit and date."""
    from importlib import metadata

    import torch

    device = torch.device(device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
    packages = ("torch", "monai", "numpy", "scipy", "nibabel", "lightning-fabric")
    return {
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "commit": git_commit(),
        "device": device.type,
        "device_name": name,
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {package: metadata.version(package) for package in packages},
    }
