"""docs/methods.md: every method's size beside the published one."""

from __future__ import annotations

import pandas as pd

from oarfuse.models import model_names
from oarfuse.models.cost import cost_table
from oarfuse.organs import get_spec
from oarfuse.paper.printed import paper_table
from reports.markdown import table
from reports.performance import BENCHMARKS
from reports.results import ROOT, read_json

PAGE = ROOT / "docs" / "methods.md"
OVERFIT = BENCHMARKS / "overfit.json"
VOLUME = (96, 96, 96)
SLICE = (1, 224, 224)
TWO_D = ("r50_unet", "r50_attnunet", "vit_none", "vit_cup", "r50_vit_cup", "transunet")
INTRODUCTION = """# The methods of Tables I and II

Each is built by `oarfuse.build_model(name)` and goes through the same `oarfuse train`, `predict`
and `evaluate`. Sizes are counted at the defaults, with one input channel and the classes of the
table's data set. GFLOP are those of one forward pass; a multiply-add counts as two operations, so
publications that count it once give half. *Published* is the number of parameters that the method's
own paper or a later one gives; where ours is off by more than 2 %, the notes say why. What each
configuration had to decide is in the [ledger](../oarfuse/resources/ledger.json), which
[notebook 07](../notebooks/07_ablations_and_ledger.ipynb) shows.

This page is made by `python -m reports methods`, and a test compares it with the code.
"""


def tables() -> dict[str, pd.DataFrame]:
    """Return `cost_table` of each table's methods, by name, at the classes of its data set.

    Two columns more: ``method``, as the paper calls it, and ``slice_gflops``, NaN for 3D networks.
    """
    made = {}
    for number in ("I", "II"):
        paper = paper_table(number)
        names, classes = list(paper["model"]), get_spec(paper.attrs["dataset"]).num_classes
        costs = cost_table(names, VOLUME, num_classes=classes).set_index("model")
        costs["method"], costs["slice_gflops"] = paper.index, float("nan")
        for name in set(names) & set(TWO_D):
            slices = cost_table([name], SLICE, num_classes=classes)
            costs.loc[name, "slice_gflops"] = slices["gflops"].item()
        made[number] = costs
    return made


def page(costs: dict[str, pd.DataFrame]) -> str:
    """Return the whole page, from what `tables` returns."""
    parts = [INTRODUCTION]
    for number, sizes in costs.items():
        spec = get_spec(paper_table(number).attrs["dataset"])
        parts.append(f"## Table {number}: {spec.title}, {spec.num_classes} classes\n")
        parts += [_sizes(sizes), _notes(sizes)]
    parts.append(_overfit())
    return "\n".join(parts)


def _sizes(costs: pd.DataFrame) -> str:
    sides = " x ".join(map(str, VOLUME))
    heads = ["method", "name", "parameters", "published", "difference", f"GFLOP, {sides}"]
    heads += [f"GFLOP, a slice of {SLICE[1]} x {SLICE[2]}"] * bool(
        costs["slice_gflops"].notna().any()
    )
    rows = []
    for name, row in costs.iterrows():
        known = pd.notna(row["published_m"])
        cells = [
            row["method"],
            f"`{name}`",
            f"{row['parameters_m']:.2f} M",
            f"{row['published_m']:.2f} M" if known else "",
            f"{row['difference_percent']:+.1f} %" if known else "",
            f"{row['gflops']:.0f}",
            f"{row['slice_gflops']:.1f}" if pd.notna(row["slice_gflops"]) else "",
        ]
        rows.append(cells[: len(heads)])
    return table(heads, rows, "ll") + "\n"


def _notes(costs: pd.DataFrame) -> str:
    lines = []
    for name, row in costs.iterrows():
        note = f" {row['note']}" if row["note"] else ""
        lines.append(f"- `{name}`: {row['source']}.{note}")
    return "\n".join(lines) + "\n"


def _overfit() -> str:
    """What `benchmarks/overfit.py` found, if it has been run."""
    title = "## Does each method learn?\n"
    if not OVERFIT.exists():
        return f"{title}\nNot run yet: `python benchmarks/overfit.py --output {OVERFIT.name}`.\n"
    content = read_json(OVERFIT)
    heads = ["name", "parameters", "loss before", "after", "DSC before", "after", "steps"]
    rows = []
    for row in content["rows"]:
        reach = row["dsc_within_reach"]
        bound = f" ({reach:.2f})" if reach < 1 else ""
        rows.append([f"`{row['model']}`", f"{row['parameters'] / 1e6:.2f} M",
                     f"{row['loss_before']:.2f}", f"{row['loss_after']:.2f}",
                     f"{row['dsc_before']:.2f}", f"{row['dsc_after']:.2f}{bound}",
                     row["steps"]])  # fmt: skip
    lines = [
        title,
        "One phantom patient learned by heart, by small versions of the networks: a check that",
        "they are wired rightly, which says nothing about patients. Mean DSC over the organs in",
        "evaluation mode; training stops at a DSC of 0.85 or at the step in the file's settings.",
        "ViT without a decoder gives one answer for each 16 x 16 pixels: the DSC in brackets is",
        "what optimizing these answers directly reaches.",
        "",
        table(heads, rows),
    ]
    missing = sorted(set(model_names()) - {row["model"] for row in content["rows"]})
    if missing:
        lines += ["", f"Not run yet: {', '.join(missing)}."]
    machine = content["rows"][0]["environment"]
    dates = sorted({row["environment"]["date"][:10] for row in content["rows"]})
    commits = sorted({str(row["environment"]["commit"]) for row in content["rows"]})
    lines += [
        "",
        f"`python benchmarks/overfit.py` on {machine['device_name']}, {machine['cores']} cores, "
        f"{', '.join(dates)}, commit {', '.join(commits)}, seed 0.",
        "",
    ]
    return "\n".join(lines)
