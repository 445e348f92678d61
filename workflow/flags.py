"""Options of a configuration as flags of an `oarfuse` command."""

from __future__ import annotations

import json
from typing import Any


def flags(options: dict[str, Any]) -> list[str]:
    """Turn ``{"steps": 20, "patch_size": [64, 48, 48], "augment": False}`` into flags."""
    words: list[str] = []
    for name, value in options.items():
        words.append(("--no-" if value is False else "--") + name.replace("_", "-"))
        if isinstance(value, dict):
            words.append(json.dumps(value))
        elif isinstance(value, list):
            words += map(str, value)
        elif not isinstance(value, bool):
            words.append(str(value))
    return words
