"""What a run wrote down about itself, read again: logs of steps and lists of JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from oarfuse.errors import OarfuseError


def read_rows(path: Path) -> pd.DataFrame:
    """Read a log of steps; raise `OarfuseError` if it is none."""
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if not {"step", "minutes"} <= set(frame):
        raise _damaged(path, "its columns are others")
    return frame


def read_list(path: Path) -> list[Any]:
    """Read a list of JSON; raise `OarfuseError` if it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if not isinstance(content, list):
        raise _damaged(path, "no list of JSON")
    return content


def _damaged(path: Path, reason: object) -> OarfuseError:
    said = " ".join(str(reason).split())
    return OarfuseError(f"{path} is damaged ({said}): move it away, and the run goes on without.")
