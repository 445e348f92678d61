"""Speed and score of the ledger's points, from the results behind them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oarfuse.evaluation import read_summary
from oarfuse.evaluation.statistics import MEAN
from oarfuse.paper.ledger import Entry, ledger_json, load_ledger
from reports.experiments import read_runs
from reports.results import RESULTS, other_evaluations
from workflow.experiments import RESULTS as EXPERIMENTS
from workflow.experiments import experiments, place, read_list

DEFAULT = "seed0-oarfocalfusenet"
RECIPE = "recipe-default"  # the same training on the processor of the runs that change the recipe
# The ledger's point -> the run of each of its choices, the default first.
RUNS: dict[str, dict[Any, str]] = {
    "Number of focal levels N": {2: DEFAULT, 1: "ablation-1-level"}
    | {levels: f"ablation-{levels}-levels" for levels in (3, 4)},
    "Upper limit of the sum in Eq. 4": {True: DEFAULT, False: "ablation-no-global-level"},
    "The gates after Eq. 4": {True: DEFAULT, False: "ablation-no-gates"},
    "Patch size": {
        "96 x 64 x 64, 2 a step": RECIPE,
        "64 x 48 x 48, 4 a step": "recipe-patch-64-48-48",
        "128 x 80 x 80, 1 a step": "recipe-patch-128-80-80",
    },
    "Form and period of the cyclic learning rate": {
        "500 steps, 0.0005 to 0.003": RECIPE,
        "2000 steps": "recipe-long-cycle",
        "0.00017 to 0.001": "recipe-third-of-the-rate",
    },
    "Initial weights": {f"seed {seed}": f"seed{seed}-oarfocalfusenet" for seed in range(3)},
    "Augmentation": {
        "as described": RECIPE,
        "none": "recipe-no-augmentation",
        "rotation, zoom and intensity twice as strong": "recipe-double-augmentation",
    },
    "Average of the weights": {"decay 0.995": RECIPE, "none": "recipe-no-average"},
    "Deep supervision": {False: RECIPE, True: "recipe-deep-supervision"},
}
# Points of the evaluation -> for each choice, how the published weights were evaluated (as they
# are published, or a name in `other_evaluations`) and the variant of the scores.
EVALUATED: dict[str, dict[str, tuple[str, str]]] = {
    "Slices that leak the answer": {
        "all slices": ("published", "raw"),
        "without leaking slices": ("published", "no_leak"),
    },
    "Clean-up of stray components": {
        "as predicted": ("published", "raw"),
        "largest component": ("published", "largest_component"),
    },
    "Windows at prediction": {
        "each window once": ("published", "raw"),
        "averaged with the mirrored volume": ("mirrored", "raw"),
    },
}
PUBLISHED = RESULTS / "oarfocalfusenet"


def ledger_text(results: Path = EXPERIMENTS, published: Path = PUBLISHED) -> str:
    """Return ledger.json with `speed` and `score` of every point whose results are all there."""
    content = read_list()
    done: dict[str, Any] = {}
    for group in content["groups"].values():
        done |= read_runs(content, group, results)
    summary = read_summary(published)
    others = other_evaluations(published, summary["weights"]["sha256"])
    evaluations = {"published": summary, **others}
    entries = load_ledger()
    _check_points(entries)
    for entry in entries:
        names = RUNS.get(entry["point"], {})
        if names and set(names.values()) <= done.keys():
            entry["effect"] |= _of_runs(content, names, done)
        choices = EVALUATED.get(entry["point"], {})
        if choices and {name for name, _ in choices.values()} <= evaluations.keys():
            entry["effect"] |= _of_evaluations(choices, evaluations)
    return ledger_json(entries)


def _check_points(entries: list[Entry]) -> None:
    missing = (RUNS.keys() | EVALUATED.keys()) - {entry["point"] for entry in entries}
    if missing:
        raise SystemExit(f"The ledger has no point {sorted(missing)[0]!r}: mend ledger_scores.py.")


def _of_runs(
    content: dict[str, Any], names: dict[Any, str], done: dict[str, Any]
) -> dict[str, Any]:
    runs = {value: done[name] for value, name in names.items()}
    first = next(iter(runs.values()))
    listed = experiments(content)
    seeds = sorted({listed[name]["seed"] for name in names.values()})
    groups = dict.fromkeys(place(content, name, EXPERIMENTS).parent.name for name in names.values())
    where = f"results/openkbp/experiments: {', '.join(groups)}"
    processors = ", ".join(dict.fromkeys(run["processor"] for run in runs.values()))
    trained = f"{first['minutes']:.0f} minutes of training each on {processors}, 2 cores"
    speed = [
        {"value": value, "seconds": round(60 * run["minutes"] / run["steps"], 2)}
        for value, run in runs.items()
    ]
    score = [
        {
            "value": value,
            "dsc": round(run["means"]["raw"][MEAN]["dsc"], 4),
            "dsc_largest_component": round(run["means"]["largest_component"][MEAN]["dsc"], 4),
            "hd_vox_largest_component": round(run["means"]["largest_component"][MEAN]["hd_vox"], 2),
        }
        for value, run in runs.items()
    ]
    of_seeds = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    return {
        "speed": {"rows": speed, "how": f"mean training step; {trained}; {where}"},
        "score": {
            "rows": score,
            "how": f"{first['cases']} validation patients of OpenKBP, {of_seeds}; {trained}, "
            f"which ranks by how soon a network learns; {where}",
        },
        "unmeasured": None,
    }


def _of_evaluations(
    choices: dict[str, tuple[str, str]], evaluations: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    summary = evaluations["published"]
    how = (
        f"{summary['cases']} validation patients of OpenKBP, published weights of "
        f"{summary['model']}, on {summary['device_name']} on {summary['date'][:10]} (commit "
        f"{summary['commit']}); results/openkbp/{summary['model']}"
    )
    others = {name: None for name, _ in choices.values() if name != "published"}
    how += "".join(f", and other_evaluations/{name} in it" for name in others)
    score = []
    for value, (name, variant) in choices.items():
        means = evaluations[name]["means"][variant]
        score.append(
            {
                "value": value,
                "dsc": round(means[MEAN]["dsc"], 4),
                "dsc_spinal_cord": round(means["spinal_cord"]["dsc"], 4),
                "hd_vox": round(means[MEAN]["hd_vox"], 2),
                "asd_vox": round(means[MEAN]["asd_vox"], 3),
            }
        )
    effect: dict[str, Any] = {"score": {"rows": score, "how": how}}
    if others:  # scores of one evaluation cost no other time
        speed = [
            {"value": value, "seconds": round(evaluations[name]["prediction_seconds_mean"], 2)}
            for value, (name, _) in choices.items()
        ]
        effect["speed"] = {"rows": speed, "how": f"prediction of a patient; {how}"}
        effect["unmeasured"] = None
    return effect
