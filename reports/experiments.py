"""Tables of the finished experiments: one page with all of them, and the block in README."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from oarfuse.evaluation.statistics import MEAN, mean_interval, paired_differences
from oarfuse.organs import get_spec
from oarfuse.runs import LOG, VALIDATION
from reports.markdown import dsc_hd_asd, table
from reports.results import busy_cores, full_run, processors, read_json, training_sessions
from workflow.experiments import LIST, MARK, RECORD, RESULTS, experiments, place, read_list

STAR = "\\* marks p below 0.05 after Holm's correction (Wilcoxon)"
NOT_RUN = "Not run yet: `python -m workflow.experiments --data build/openkbp/prepared`."


def page(content: dict[str, Any] | None = None, results: Path = RESULTS) -> str:
    """Return results/openkbp/experiments/README.md."""
    content = content or read_list()
    parts = [
        "# Experiments under equal conditions",
        "Made by `python -m reports` from the folders beside this page, one a run, "
        "which `workflow/experiments.py` wrote; the list of runs is "
        f"`workflow/{LIST.name}`. Every run has the same data, patches, augmentation and seed "
        "unless its row says otherwise, and the same minutes of training (validation not "
        "counted). Scores are of validation patients, on whom each run's best weights were also "
        "selected. So short a budget ranks methods by how soon they learn, not by what they can "
        "reach.",
    ]
    for key, group in content["groups"].items():
        done = read_runs(content, group, results)
        parts.append(f"## {key.capitalize()}: {group['title']}")
        if not done.keys() & group["runs"].keys():  # at most the reference, of another group
            parts.append(NOT_RUN)
            continue
        parts += [_table(done), _missing(group, done), _unequal(done)]
        if key == "seeds":  # those are compared by their means
            parts.append(_over_seeds(done))
        else:
            parts += [_differences(group["reference"], done), _equal_steps(done)]
    parts.append(
        "Processor: its name, how many cores the training process kept busy by its own log, and "
        "what share of all cores other programs took meanwhile; a dash where it was not recorded. "
        "A run that others disturbed made fewer steps in its minutes, and so did one on a slower "
        "processor: only runs on the same processor have had the same budget."
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def readme_block(content: dict[str, Any] | None = None, results: Path = RESULTS) -> str:
    """Return the equal-budget comparison, short."""
    content = content or read_list()
    group = content["groups"]["comparison"]
    done = read_runs(content, group, results)
    if group["reference"] not in done:
        return NOT_RUN
    found = _paired(group["reference"], done) if len(done) > 1 else pd.DataFrame()
    against = {row["method"]: _signed(row) for _, row in found.iterrows() if row["organ"] == MEAN}
    minutes = group["train"]["minutes"]
    heads = ["method", "steps", "DSC", "largest component: DSC", "HD (voxels)",
             f"DSC minus {done[group['reference']]['model']}'s"]  # fmt: skip
    rows = []
    for name, run in done.items():
        dsc, *_ = dsc_hd_asd(run["means"]["raw"][MEAN])
        clean_dsc, hd, _ = dsc_hd_asd(run["means"]["largest_component"][MEAN])
        rows.append([run["model"], run["steps"], dsc, clean_dsc, hd, against.get(name, "")])
    cases = next(iter(done.values()))["cases"]
    made: dict[str, list[str]] = {}
    for run in done.values():
        made.setdefault(run["processor"], []).append(run["made"])
    trained = "; ".join(f"{device}, {', '.join(dict.fromkeys(at))}" for device, at in made.items())
    parts = [
        table(heads, rows),
        f"**{minutes} minutes of training each** on 2 CPU cores, same data, patches, augmentation "
        f"and seed ({content['train']['seed']}); {cases} validation patients, on whom each run's "
        "best weights were also selected; differences are paired by patient, with their 95 % "
        f"bootstrap interval; {STAR}. So short a budget ranks methods by how soon they learn. "
        f"Trained on {trained}. Seeds, ablations, recipe: "
        "[all experiments](results/openkbp/experiments/README.md).",
        _equal_steps(done),
        _missing(group, done),
        _unequal(done),
    ]
    return "\n\n".join(part for part in parts if part)


def read_runs(content: dict[str, Any], group: dict[str, Any], results: Path) -> dict[str, Any]:
    """Return name -> summary of the finished runs of a group, its reference first."""
    found = {}
    for name in dict.fromkeys([group["reference"], *group["runs"]]):
        folder = place(content, name, results)
        if not (folder / MARK).exists():
            continue
        evaluation, trained = full_run(folder), training_sessions([folder])
        listed = experiments(content)[name]
        changed = {k: v for k, v in listed.items() if content["train"].get(k, ...) != v}
        # The last step is always validated, not always logged.
        validation = pd.read_csv(folder / VALIDATION).set_index("step")
        found[name] = {
            **evaluation.summary,
            "metrics": evaluation.metrics,
            "curve": validation["val_dsc"],
            "steps": int(validation.index[-1]),
            "minutes": validation["minutes"].iloc[-1],
            "changed": {k: v for k, v in changed.items() if k not in ("model", "minutes")},
            "processor": processors(trained),
            "made": f"{trained[-1]['date'][:10]} (commit {trained[-1]['commit']})",
            "busy": _busy(folder),
        }
    return found


def _busy(folder: Path) -> str:
    cores, sessions = busy_cores(pd.read_csv(folder / LOG)), read_json(folder / RECORD)["sessions"]
    own = "-" if cores is None else f"{cores:.2f} cores"
    wall = sum(s["wall_seconds"] * s["cores"] for s in sessions)
    other = f"{sum(s['other_cpu_seconds'] for s in sessions) / wall:.0%}" if wall else "-"
    return f"{own}, others {other}"


def _equal_steps(done: dict[str, Any]) -> str:
    """Give each run's DSC at the last step that most validated: a step's speed left aside."""
    counts = Counter(step for run in done.values() for step in run["curve"].index)
    most = max(counts.values())
    if most < 2:
        return ""
    step = max(step for step, count in counts.items() if count == most)
    distinct = len({run["model"] for run in done.values()}) == len(done)
    scores = ", ".join(
        f"{run['model'] if distinct else name} {run['curve'][step]:.4f}"
        for name, run in done.items()
        if step in run["curve"]
    )
    whom = "all" if most == len(done) else f"{most} of {len(done)}"
    return (
        f"Validation DSC (raw) after equal steps, {step}, the last that {whom} validated: {scores}."
    )


def _missing(group: dict[str, Any], done: dict[str, Any]) -> str:
    """Name the runs of a group that are not finished."""
    names = [name for name in group["runs"] if name not in done]
    return f"Not run yet: {', '.join(names)}." if names else ""


def _unequal(done: dict[str, Any]) -> str:
    """Say so if equal minutes were not an equal budget, because the processors differ."""
    processors = sorted({run["processor"] for run in done.values()})
    if len(processors) < 2:
        return ""
    return (
        "**Not one budget:** these runs were made on different processors "
        f"({', '.join(processors)}), so equal minutes gave unequal steps for that reason too."
    )


def _table(done: dict[str, Any]) -> str:
    organs = get_spec("openkbp").organs
    heads = ["run", "method", "changed", "steps", "minutes", "DSC", "HD (voxels)", "ASD (voxels)",
             "largest component: DSC", "HD (voxels)", "ASD (voxels)", "and without leaking slices",
             *(organ.title for organ in organs), "processor"]  # fmt: skip
    rows = []
    for name, run in done.items():
        changed = ", ".join(f"{key} {value}" for key, value in run["changed"].items())
        cells = [name, run["model"], changed, run["steps"], f"{run['minutes']:.1f}"]
        for variant in ("raw", "largest_component"):
            cells += dsc_hd_asd(run["means"][variant][MEAN])
        cells.append(f"{run['means']['largest_component_no_leak'][MEAN]['dsc']:.4f}")
        cells += [f"{run['means']['raw'][organ.name]['dsc']:.4f}" for organ in organs]
        rows.append([*cells, f"{run['processor']}, {run['busy']}"])
    return table(heads, rows, "lll".ljust(len(heads) - 1, "r") + "l")


def _differences(reference: str, done: dict[str, Any]) -> str:
    if reference not in done or len(done) < 2:
        return ""
    return _difference_table(_paired(reference, done), reference)


def _paired(reference: str, done: dict[str, Any]) -> pd.DataFrame:
    """Return how the other runs differ from the reference, patient by patient."""
    frames = {name: run["metrics"] for name, run in done.items()}
    return paired_differences(frames.pop(reference), frames)


def _over_seeds(done: dict[str, Any]) -> str:
    """Compare methods by each patient's scores averaged over the seeds."""
    runs: dict[str, list[pd.DataFrame]] = {}
    for run in done.values():
        runs.setdefault(run["model"], []).append(run["metrics"])
    heads = ["method", "seeds", "mean DSC of each seed", "mean", "standard deviation"]
    cells, averaged = [], {}
    for model, frames in runs.items():
        each = pd.Series([mean_interval(frame, resamples=1)[0] for frame in frames])
        spread = f"{each.std(ddof=1):.4f}" if len(each) > 1 else "-"
        dscs = ", ".join(f"{dsc:.4f}" for dsc in each)
        cells.append([model, len(each), dscs, f"{each.mean():.4f}", spread])
        columns = ["case", "organ", "dsc"]
        every = pd.concat([frame[columns] for frame in frames])
        averaged[model] = every.groupby(["case", "organ"], sort=False, as_index=False).mean()
    text = table(heads, cells, "lrl")
    reference = "oarfocalfusenet"
    if reference in averaged and len(averaged) > 1:
        found = paired_differences(averaged.pop(reference), averaged)
        text += "\n\nEach patient's scores averaged over a method's seeds. "
        text += _difference_table(found, reference)
    return text


def _difference_table(found: pd.DataFrame, reference: str) -> str:
    titles = {organ.name: organ.title for organ in get_spec("openkbp").organs} | {MEAN: "Mean"}
    cells = []
    for name, rows in found.groupby("method", sort=False):
        of = {row["organ"]: _signed(row) for _, row in rows.iterrows()}
        cells.append([name, *(of.get(organ, "-") for organ in titles)])
    return (
        f"DSC (raw) minus that of {reference}, paired by patient, with its 95 % bootstrap "
        f"interval; {STAR}.\n\n{table(['run', *titles.values()], cells)}"
    )


def _signed(row: Any) -> str:
    star = "\\*" if row["p_holm"] < 0.05 else ""
    return f"{row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}]{star}"
