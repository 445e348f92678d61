"""Speed and score of the ledger's switches, from the experiments behind them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from experiments import RESULTS, read_list
from experiments_report import read_runs

from oarfuse.ledger import ledger_json, load_ledger
from oarfuse.results import MEAN

GROUP = "ablations"
# The ledger's point -> the run of each of the switch's values.
RUNS: dict[str, dict[Any, str]] = {
    "Number of focal levels N": {
        2: "seed0-oarfocalfusenet",
        1: "ablation-1-level",
        3: "ablation-3-levels",
        4: "ablation-4-levels",
    },
    "Upper limit of the sum in Eq. 4": {
        True: "seed0-oarfocalfusenet",
        False: "ablation-no-global-level",
    },
    "The gates after Eq. 4": {
        True: "seed0-oarfocalfusenet",
        False: "ablation-no-gates",
    },
}


def ledger_text(results: Path = RESULTS) -> str:
    """Return ledger.json with `speed` and `score` of every point whose runs are all finished."""
    content = read_list()
    done = read_runs(content, content["groups"][GROUP], results)
    entries = load_ledger()
    for entry in entries:
        names = RUNS.get(entry["point"], {})
        if names and set(names.values()) <= done.keys():
            runs = {value: done[name] for value, name in names.items()}
            entry["effect"] |= _measured(runs, seed=content["train"]["seed"])
    return ledger_json(entries)


def _measured(runs: dict[Any, dict[str, Any]], seed: int) -> dict[str, Any]:
    place = f"results/openkbp/experiments/{GROUP}"
    first = next(iter(runs.values()))
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
    return {
        "speed": {"rows": speed, "how": f"mean training step; {trained}; {place}"},
        "score": {
            "rows": score,
            "how": f"{first['cases']} validation patients of OpenKBP, seed {seed}; {trained}, "
            f"which ranks by how soon a network learns; {place}",
        },
        "unmeasured": None,
    }
