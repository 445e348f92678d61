"""The files of an evaluation: CSV tables, summary.json and summary.md."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd

from oarfuse.evaluation.folder import MORE, PAGE, SUMMARY, TABLES, TRANSUNET, Evaluation
from oarfuse.evaluation.statistics import COLUMNS, MEAN, mean_interval, summarise
from oarfuse.evaluation.synapse_scorer import summarise_transunet, transunet_markdown
from oarfuse.evaluation.variants import VARIANT_TITLES, VARIANTS
from oarfuse.files import atomic_path, write_json, write_text
from oarfuse.organs import get_spec
from oarfuse.paper import paper_row


def write_report(
    output: Path,
    frame: pd.DataFrame,
    description: dict[str, Any],
    transunet: pd.DataFrame | None = None,
) -> Evaluation:
    """Write every result file of an evaluation and return what they hold.

    Parameters
    ----------
    output
        The evaluation's folder.
    frame
        One row per case, organ and variant with the columns `MORE_COLUMNS`; the variants ``raw``
        and ``largest_component`` at least.
    description
        What was evaluated, on what and with what; it becomes the head of summary.json.
    transunet
        For Synapse: the scores by TransUNet's rules, see `oarfuse.evaluation.synapse_scorer`.
    """
    scored = [variant for variant in VARIANTS if (frame["variant"] == variant).any()]
    by_variant = {
        variant: frame[frame["variant"] == variant].drop(columns="variant") for variant in scored
    }
    for variant, name in TABLES.items():
        _write_csv(output / name, by_variant[variant][list(COLUMNS)])
    _write_csv(output / MORE, frame)
    means = {variant: summarise(rows) for variant, rows in by_variant.items()}
    intervals = {variant: mean_interval(rows)[1:] for variant, rows in by_variant.items()}
    paper = None
    if description["kind"] != "phantom" and description["model"]:
        paper = paper_row(description["dataset"], description["model"])
    summary = {
        **description,
        "means_are": "over the cases of each organ, then over the organs",
        "means": {
            variant: {
                organ: {name: _number(value) for name, value in row.items()}
                for organ, row in table.to_dict(orient="index").items()
            }
            for variant, table in means.items()
        },
        "mean_dsc_95_percent_interval": {
            variant: [_number(bound) for bound in bounds] for variant, bounds in intervals.items()
        },
        "paper": None if paper is None else paper.drop("model").to_dict(),
    }
    if transunet is not None:
        _write_csv(output / TRANSUNET, transunet)
        summary["transunet"] = summarise_transunet(transunet, means["raw"])
    evaluation = Evaluation(output, frame, summary)
    write_json(output / SUMMARY, summary)
    write_text(output / PAGE, _markdown(evaluation, means))
    return evaluation


def _write_csv(path: Path, frame: pd.DataFrame) -> None:
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False)


def _number(value: float) -> float | int | None:
    if isinstance(value, int):
        return value
    return float(value) if math.isfinite(value) else None


def _markdown(evaluation: Evaluation, means: dict[str, pd.DataFrame]) -> str:
    summary, spec = evaluation.summary, get_spec(evaluation.dataset)
    name = summary.get("method") or summary["model"]
    place = f"the {spec.title} phantom" if summary["phantom_data"] else spec.title
    lines = [f"# {name} on {place}, {summary['split']} ({summary['cases']} patients)", ""]
    if summary["phantom_data"]:
        lines += ["**Phantom data**: drawn by a program, not patients. Not to be compared.", ""]
    elif summary["kind"] == "phantom":
        lines += ["**Phantom weights**: trained without a single patient. Not to be compared.", ""]
    heads = ["DSC", "HD (voxels)", "HD (mm)", "HD95 (mm)", "ASD (voxels)", "ASD (mm)"]
    keys = ["dsc", "hd_vox", "hd_mm", "hd95_mm", "asd_vox", "asd_mm"]
    heads += [f"{organ.title} DSC" for organ in spec.organs] + ["missed organs"]
    lines.append("| | run | " + " | ".join(heads) + " |")
    lines.append("|---|---|" + "---:|" * len(heads))
    for variant, table in means.items():
        mean = table.loc[MEAN]
        cells = [_digits(mean[key], 4 if key == "dsc" else 2) for key in keys]
        cells += [_digits(table["dsc"].get(organ.name, math.nan), 4) for organ in spec.organs]
        cells.append(str(int(mean["missed"])))
        lines.append(
            f"| {VARIANT_TITLES[variant]} | {summary['kind']} | " + " | ".join(cells) + " |"
        )
    paper = summary["paper"]
    if paper:
        cells = [f"{paper['dsc']:.4f}", _unitless(paper, "hd"), "", ""]
        cells += [_unitless(paper, "asd"), "", *(f"{paper[o.name]:.4f}" for o in spec.organs), ""]
        lines.append("| the paper | its own split | " + " | ".join(cells) + " |")
    low, high = summary["mean_dsc_95_percent_interval"]["raw"]
    lines += [
        "",
        "Means are taken over the cases of each organ, then over the organs. A missed organ counts "
        "with DSC 0 and the volume's diagonal as its distances.",
        f"The raw mean DSC has the 95 % bootstrap interval {_digits(low, 4)} to "
        f"{_digits(high, 4)} over patients.",
    ]
    if summary["cases_with_leaking_slices"] is not None:
        lines.append(
            f"{summary['cases_with_leaking_slices']} of {summary['cases']} cases have leaking "
            "slices: axial slices that hold almost no CT except inside structures."
        )
    if summary["split"] == "validation":
        lines.append("Models are selected on this split, so its scores are optimistic.")
    if summary["split"] == "train":
        lines.append("The model was trained on these cases: the scores say nothing about others.")
    if paper and "hd" in paper:
        lines.append("\\* The paper gives no unit; its figures fit voxels, not mm.")
    if "transunet" in summary:
        lines += transunet_markdown(summary["transunet"], means["raw"], spec)
    lines += [f"\n**Warning**: {warning}" for warning in summary.get("warnings", ())]
    lines += ["", *_facts(evaluation), ""]
    return "\n".join(lines)


def _unitless(paper: dict[str, Any], key: str) -> str:
    return f"{paper[key]:.4f}\\*" if key in paper else ""


def _digits(value: float | None, digits: int) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _facts(evaluation: Evaluation) -> list[str]:
    summary, training = evaluation.summary, evaluation.training
    versions = {"python": summary["python"], **summary["versions"]}
    seconds = summary["prediction_seconds_mean"]
    facts = {
        "run": summary["kind"],
        "data": ", split rule ".join(filter(None, (summary["data_source"], summary["split_rule"]))),
        "weights": (summary.get("weights") or {}).get("file"),
        "seed": training.get("seed"),
        "training steps": training.get("step"),
        "mirrored averaging": summary.get("mirror"),
        "adaptation": f"{summary['adapt_steps']} steps" if summary.get("adapt_steps") else None,
        "slices zoomed to": summary.get("slice_side"),
        "device": f"{summary['device_name']}, {summary['cores']} CPU cores",
        "prediction": None if seconds is None else f"{seconds:.2f} s per case",
        "date": summary["date"],
        "commit": summary["commit"],
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
    return [f"- {name}: {fact}" for name, fact in facts.items() if fact is not None]
