"""Tables I and II as the paper prints them, with our figures beside each of the paper's.

Our figures come from evaluation folders (`oarfuse evaluate`). A cell that nobody has run is empty.
Phantoms and smoke runs never enter a table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from oarfuse.errors import OarfuseError
from oarfuse.evaluation.folder import TABLES, Evaluation, metrics_file
from oarfuse.evaluation.statistics import MEAN, mean_interval, summarise
from oarfuse.files import atomic_path, check_output_file, write_text
from oarfuse.models import model_names
from oarfuse.organs import DatasetSpec, get_spec
from oarfuse.paper import paper_table

NUMBERS = ("I", "II")
_UNITS = {"voxels": "vox", "mm": "mm"}


def find_evaluations(
    folders: Iterable[str | Path], *, variant: str = "raw", split: str | None = None
) -> tuple[list[Evaluation], dict[Path, str]]:
    """Find every evaluation in some folders and below them.

    The method is what summary.json calls the model; without that file, or without a model in it,
    the name of the folder must be one of `oarfuse.model_names()`. The data set is told by the
    organs.

    Parameters
    ----------
    folders
        Each is searched for ``metrics.csv``, however deep.
    variant
        ``raw``, or ``largest_component`` for ``metrics_largest_component.csv``.
    split
        Take evaluations of this split only.

    Returns
    -------
    evaluations, left_out
        What can stand in a table, and for every other folder the reason why not: phantoms, smoke
        runs, another split, patients whom the weights know, a method that the kit does not.

    Raises
    ------
    OarfuseError
        If a folder holds no evaluation at all, or a file is damaged.
    """
    metrics_file(variant)  # raises before any folder is read if there is no such variant
    found: list[Evaluation] = []
    left_out: dict[Path, str] = {}
    for folder in map(Path, folders):
        paths = sorted(folder.rglob(TABLES["raw"]))
        if not paths:
            raise OarfuseError(
                f"{folder} holds no metrics.csv: give folders of `oarfuse evaluate`."
            )
        for path in paths:
            evaluation = Evaluation.load(path.parent, variant)
            reason = _reason_against(evaluation, split)
            if reason:
                left_out[path.parent] = reason
            else:
                found.append(evaluation)
    return found, left_out


def _reason_against(evaluation: Evaluation, split: str | None) -> str | None:
    get_spec(evaluation.dataset)  # raises if the organs are of none
    if evaluation.kind != "full run":
        return f"a {evaluation.kind}, which says nothing about patients"
    if evaluation.summary.get("known_patients"):
        return "its weights know patients whom it scores"
    if evaluation.model not in model_names():
        return f"{evaluation.model!r} is no method of the kit"
    if split is not None and evaluation.split not in (split, "not recorded"):
        return f"evaluated on the {evaluation.split} split"
    return None


def build_table(
    number: str, evaluations: Sequence[Evaluation] = (), *, unit: str = "voxels"
) -> pd.DataFrame:
    """Return Table I or II with two columns a figure: ``paper`` and ``ours``.

    Parameters
    ----------
    number
        ``"I"`` (OpenKBP) or ``"II"`` (Synapse).
    evaluations
        From `find_evaluations`; those of the other data set are ignored.
    unit
        ``voxels`` or ``mm``, for our HD and ASD. The paper gives no unit.

    Returns
    -------
    pandas.DataFrame
        One row a method, the paper's in its order, then any method that only we ran. Columns are
        pairs (figure, ``paper`` or ``ours``); NaN where there is no figure.

    Raises
    ------
    OarfuseError
        If two evaluations claim the same row, or the number or unit is unknown.
    """
    if unit not in _UNITS:
        raise OarfuseError(f"There is no unit {unit!r}: choose one of {', '.join(_UNITS)}.")
    paper = paper_table(number)
    spec = get_spec(paper.attrs["dataset"])
    columns = _columns(spec, with_distances="hd" in paper, unit=unit)
    ours = _one_a_model(evaluations, spec)
    rows: dict[str, dict[tuple[str, str], float]] = {}
    for method, printed in paper.iterrows():
        row = {(title, "paper"): float(printed[key]) for key, title in columns.items()}
        evaluation = ours.pop(printed["model"], None)
        rows[str(method)] = row | _our_cells(evaluation, columns, unit)
    for model, evaluation in ours.items():
        rows[model] = _our_cells(evaluation, columns, unit)
    pairs = [(title, whose) for title in columns.values() for whose in ("paper", "ours")]
    table = pd.DataFrame.from_dict(rows, orient="index").reindex(
        columns=pd.MultiIndex.from_tuples(pairs)
    )
    table.index.name = "Method"
    return table


def _columns(spec: DatasetSpec, *, with_distances: bool, unit: str) -> dict[str, str]:
    columns = {"dsc": "Mean DSC"}
    if with_distances:
        columns |= {"hd": f"Mean HD (ours in {unit})", "asd": f"Mean ASD (ours in {unit})"}
    return columns | {organ.name: organ.title for organ in spec.organs}


def _one_a_model(evaluations: Sequence[Evaluation], spec: DatasetSpec) -> dict[str, Evaluation]:
    chosen: dict[str, Evaluation] = {}
    for evaluation in evaluations:
        if evaluation.dataset != spec.name:
            continue
        other = chosen.setdefault(evaluation.model, evaluation)
        if other is not evaluation:
            raise OarfuseError(
                f"{other.folder} ({other.split}) and {evaluation.folder} ({evaluation.split}) both "
                f"claim the row of {evaluation.model}: name a split, or give one of them only."
            )
    return chosen


def _our_cells(
    evaluation: Evaluation | None, columns: dict[str, str], unit: str
) -> dict[tuple[str, str], float]:
    if evaluation is None:
        return {}
    means = summarise(evaluation.metrics)
    cells = {}
    for key, title in columns.items():
        if key == "dsc":
            value = means.loc[MEAN, "dsc"]
        elif key in ("hd", "asd"):
            value = means.loc[MEAN, f"{key}_{_UNITS[unit]}"]
        else:
            value = means["dsc"].get(key, math.nan)
        cells[title, "ours"] = float(value)
    return cells


def describe(evaluations: Sequence[Evaluation]) -> pd.DataFrame:
    """Return what a reader needs to judge our figures, one row an evaluation.

    Columns: model, mean DSC and its 95 % bootstrap interval over cases, split, cases, missed
    organs; steps and minutes of training until the weights that are scored, all their stages
    together; seed of the last stage; device of training; device, date and commit of the scoring.
    Empty where not recorded. For Synapse also the mean DSC by TransUNet's scorer, whose rules the
    paper's baselines follow.
    """
    from oarfuse.weights import training_stages  # here and not above: it imports PyTorch

    rows = []
    for evaluation in evaluations:
        summary, stages = evaluation.summary, training_stages(evaluation.training)
        mean, low, high = mean_interval(evaluation.metrics)
        rows.append(
            {
                "model": evaluation.model,
                "mean DSC": mean,
                "95 % interval": f"{low:.4f} to {high:.4f}",
                **_by_transunet(summary),
                "split": evaluation.split,
                "cases": evaluation.metrics["case"].nunique(),
                "missed organs": int(evaluation.metrics["missed"].sum()),
                "training steps": _total(stages, "step"),
                "training minutes": _total(stages, "minutes"),
                "seed": stages[-1].get("seed") if stages else None,
                "trained on": evaluation.trained_on,
                "scored on": summary.get("device_name"),
                "date": (summary.get("date") or "")[:10] or None,
                "commit": summary.get("commit"),
            }
        )
    return pd.DataFrame(rows)


def _total(stages: Sequence[dict[str, Any]], key: str) -> Any:
    values = [stage[key] for stage in stages if stage.get(key) is not None]
    return round(sum(values), 2) if values and len(values) == len(stages) else None


def _by_transunet(summary: dict[str, Any]) -> dict[str, Any]:
    scored = summary.get("transunet")
    if scored is None:
        return {}
    return {"mean DSC by TransUNet's scorer": f"{scored['means'][MEAN]['dsc']:.4f}"}


def to_markdown(number: str, table: pd.DataFrame, evaluations: Sequence[Evaluation] = ()) -> str:
    """Return a table of `build_table` as Markdown, with what our figures are below it."""
    paper = paper_table(number)
    names = [f"{title}, {whose}" for title, whose in table.columns]
    cells = [
        ["" if pd.isna(value) else f"{value:.4f}" for value in row] for row in table.to_numpy()
    ]
    lines = [f"# Table {number}. {paper.attrs['title']}", ""]
    lines += _pipe(["Method", *names], [[*row] for row in zip(table.index, cells, strict=True)])
    lines += ["", "Empty cells: nobody has run that method with this kit."]
    if "hd" in paper:
        lines.append(f"{paper.attrs['unit_note']} Its figures fit voxels.")
    ours = [item for item in evaluations if item.dataset == paper.attrs["dataset"]]
    if ours:
        runs = describe(ours).astype(object)
        runs = runs.where(runs.notna(), "")
        runs["mean DSC"] = [f"{value:.4f}" for value in runs["mean DSC"]]
        lines += ["", "Our figures are from these runs; the paper's are from its own split.", ""]
        lines += _pipe(
            list(runs.columns), [[row[0], [str(v) for v in row[1:]]] for row in runs.to_numpy()]
        )
    return "\n".join([*lines, ""])


def _pipe(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    return lines + [f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows]


def write_tables(
    folders: Iterable[str | Path],
    output: str | Path,
    *,
    variant: str = "raw",
    split: str | None = None,
    unit: str = "voxels",
) -> dict[Path, str]:
    """Write ``table_I.md``, ``table_I.csv``, ``table_II.md`` and ``table_II.csv`` to a folder.

    Parameters are those of `find_evaluations` and `build_table`. Returns the folders that were
    left out with the reason.

    Raises
    ------
    OarfuseError
        As `find_evaluations` and `build_table` do, or if a file of such a name is no table.
    """
    for number in NUMBERS:
        for kind, start in (("md", f"# Table {number}. "), ("csv", "Method,")):
            path = Path(output) / f"table_{number}.{kind}"
            check_output_file(path)
            if path.exists() and not path.read_bytes().startswith(start.encode()):
                raise OarfuseError(
                    f"{path} is there already and not a table of this kit: choose another folder."
                )
    evaluations, left_out = find_evaluations(folders, variant=variant, split=split)
    for number in NUMBERS:
        table = build_table(number, evaluations, unit=unit)
        write_text(Path(output) / f"table_{number}.md", to_markdown(number, table, evaluations))
        flat = table.set_axis([f"{title}, {whose}" for title, whose in table.columns], axis=1)
        with atomic_path(Path(output) / f"table_{number}.csv") as temporary:
            flat.to_csv(temporary, float_format="%.6g")
    return left_out
