"""What the folders below results/ hold, read in one way for every page."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from oarfuse.runs import ENVIRONMENT

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "openkbp"
VARIANTS = {
    "raw": "raw",
    "largest_component": "largest component",
    "no_leak": "raw, leaking slices left out",
    "largest_component_no_leak": "largest component, leaking slices left out",
}


def read_json(path: Path) -> Any:
    """Return a JSON file's content."""
    return json.loads(path.read_text(encoding="utf-8"))


def full_run(path: Path) -> dict[str, Any]:
    """Return a `summary.json`; a smoke run's or a phantom's ends the program."""
    summary = read_json(path)
    if summary["kind"] != "full run":
        raise SystemExit(f"{path} is a {summary['kind']}: only full runs belong here.")
    return summary


def other_evaluations(folder: Path, digest: str) -> dict[str, dict[str, Any]]:
    """Return name -> summary of what else these very weights were evaluated on, or how."""
    found = {}
    for path in sorted(folder.glob("other_evaluations/*/summary.json")):
        summary = read_json(path)
        if summary["weights"]["sha256"] == digest:  # not weights that were published before
            found[path.parent.name.replace("_", " ")] = summary
    return found


def training_sessions(folders: Iterable[Path]) -> list[dict[str, Any]]:
    """Return the environment of each session of training behind some run folders, in order."""
    return [session for folder in folders for session in read_json(folder / ENVIRONMENT)]


def processors(trained: list[dict[str, Any]]) -> str:
    """Name every processor that the sessions ran on, once."""
    return " + ".join(dict.fromkeys(session["device_name"] for session in trained))


def busy_cores(log: pd.DataFrame) -> float | None:
    """Return how many cores a training process kept busy; None where its log does not tell."""
    return log["cpu"].sum() / log["seconds"].sum() if "cpu" in log else None
