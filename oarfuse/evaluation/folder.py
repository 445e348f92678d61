"""The folder of an evaluation: which files it holds, and how to read them again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from oarfuse.errors import OarfuseError
from oarfuse.evaluation.statistics import MORE_COLUMNS, load_metrics
from oarfuse.files import write_json
from oarfuse.organs import OPENKBP, SYNAPSE

FORMAT = "oarfuse-evaluation/1"
MARKER = "evaluation.json"
TABLES = {"raw": "metrics.csv", "largest_component": "metrics_largest_component.csv"}
MORE, TRANSUNET = "metrics_more.csv", "metrics_transunet.csv"
SUMMARY, PAGE = "summary.json", "summary.md"
ENVIRONMENT = "environment.json"  # a training's; `oarfuse.runs` writes it and imports PyTorch
PREDICTIONS, CASES = "predictions", "cases"
WRITTEN = (CASES, PREDICTIONS, SUMMARY, PAGE, *TABLES.values(), MORE, TRANSUNET)


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found and where it wrote it.

    Attributes
    ----------
    folder
        Holds metrics.csv, metrics_largest_component.csv, metrics_more.csv, summary.json and
        summary.md; for Synapse also metrics_transunet.csv.
    metrics
        One row per case, organ and variant with the columns
        `oarfuse.evaluation.statistics.MORE_COLUMNS`; if one variant was asked for, its rows alone
        with the columns `oarfuse.evaluation.statistics.COLUMNS`.
    summary
        The contents of summary.json; empty if the folder has none.
    """

    folder: Path
    metrics: pd.DataFrame
    summary: dict[str, Any]

    @classmethod
    def load(cls, folder: str | Path, variant: str | None = None) -> Evaluation:
        """Read a folder of `oarfuse evaluate`.

        Parameters
        ----------
        folder
            The evaluation's folder.
        variant
            ``raw`` or ``largest_component``; every variant, from metrics_more.csv, if omitted.

        Raises
        ------
        OarfuseError
            If the variant is unknown, or a file is damaged, or the metrics are missing.
        """
        folder = Path(folder)
        if variant is None:
            metrics = load_metrics(folder / MORE, MORE_COLUMNS)
        else:
            metrics = load_metrics(folder / metrics_file(variant))
        summary = read_summary(folder) if (folder / SUMMARY).exists() else {}
        return cls(folder, metrics, summary)

    @property
    def model(self) -> str:
        """The method's name for `oarfuse.build_model`; the folder's, if the summary has none."""
        return self.summary.get("model") or self.folder.name

    @property
    def dataset(self) -> str:
        """``openkbp`` or ``synapse``, told by the organs if the summary does not say."""
        if self.summary.get("dataset"):
            return self.summary["dataset"]
        organs = set(self.metrics["organ"])
        for spec in (OPENKBP, SYNAPSE):
            if organs <= {organ.name for organ in spec.organs}:
                return spec.name
        raise OarfuseError(
            f"{self.folder} scores organs of no known data set: evaluate it with this kit."
        )

    @property
    def split(self) -> str:
        """The split that was scored, ``"not recorded"`` if the summary does not say."""
        return self.summary.get("split", "not recorded")

    @property
    def kind(self) -> str:
        """``full run``, ``smoke run`` or ``phantom``."""
        return self.summary.get("kind", "full run")

    @property
    def training(self) -> dict[str, Any]:
        """What the weights' last run recorded, see `oarfuse.weights.ModelInfo`; else empty."""
        return (self.summary.get("model_info") or {}).get("training") or {}

    @property
    def trained_on(self) -> str | None:
        """The names of the devices that trained the weights, from environment.json files.

        They lie in the folder itself where it is a training run's as well, or in one folder a
        stage; None if there is no such file.
        """
        files = sorted(self.folder.glob(f"stages/*/{ENVIRONMENT}"))
        files = files or sorted(self.folder.glob(ENVIRONMENT))
        names = [
            session.get("device_name")
            for path in files
            for session in json.loads(path.read_text(encoding="utf-8"))
        ]
        return " + ".join(dict.fromkeys(name for name in names if name)) or None


def metrics_file(variant: str) -> str:
    """Return the name of the CSV of one variant's scores; raise `OarfuseError` if it has none."""
    if variant not in TABLES:
        raise OarfuseError(
            f"There is no variant {variant!r} for a table: choose one of {', '.join(TABLES)}."
        )
    return TABLES[variant]


def read_summary(folder: str | Path) -> dict[str, Any]:
    """Read the summary.json of an evaluation's folder.

    Raises
    ------
    OarfuseError
        If it is missing or damaged.
    """
    path = Path(folder) / SUMMARY
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OarfuseError(f"There is no {path}: run `oarfuse evaluate` first.") from None
    except (OSError, ValueError) as error:
        raise OarfuseError(f"{path} is damaged ({error}): evaluate again.") from error
    if not isinstance(content, dict):
        raise OarfuseError(f"{path} is damaged (no object of JSON): evaluate again.")
    return content


def digest(lines: Sequence[str]) -> str:
    """Return one SHA-256 for several lines, such as the checksums of files."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def claim_folder(output: Path, identity: dict[str, Any]) -> None:
    """Write what is evaluated into the folder, or refuse a folder that holds something else."""
    path = output / MARKER
    if path.is_file():
        try:
            there = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            there = {}
        if not isinstance(there, dict):
            there = {}
        changed = [key for key, value in identity.items() if there.get(key) != value]
        if changed or set(there) != set(identity):
            what = ", ".join(changed or sorted(set(there) - set(identity)))
            raise OarfuseError(
                f"{output} holds an evaluation that differs in {what}: choose another output "
                "folder, or delete this one."
            )
        return
    write_json(path, identity)
