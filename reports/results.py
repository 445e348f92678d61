"""What the folders below results/ hold, read in one way for every page."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from oarfuse.evaluation import Evaluation, read_summary
from oarfuse.evaluation.folder import SUMMARY
from oarfuse.runs import ENVIRONMENT

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "openkbp"


def read_json(path: Path) -> Any:
    """Return a JSON file's content."""
    return json.loads(path.read_text(encoding="utf-8"))


def full_run(folder: Path) -> Evaluation:
    """Return the evaluation in a folder; a smoke run's or a phantom's ends the program."""
    found = Evaluation.load(folder, "raw")
    if found.kind != "full run":
        raise SystemExit(f"{folder} holds a {found.kind}: only full runs belong here.")
    return found


def other_evaluations(folder: Path, digest: str) -> dict[str, dict[str, Any]]:
    """Return name -> summary of what else these very weights were evaluated on, or how."""
    found = {}
    for path in sorted(folder.glob(f"other_evaluations/*/{SUMMARY}")):
        summary = read_summary(path.parent)
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
