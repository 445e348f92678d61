"""One row for each run of a grid, and the spread of each method over its seeds and folds.

python workflow/grid_summary.py --output build/grid/summary.csv build/grid/*/scores/*/*/*
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from oarfuse.errors import OarfuseError
from oarfuse.evaluation.statistics import MEAN, load_metrics, summarise
from oarfuse.files import write_text

METHOD = ["dataset", "model", "split", "kind"]
FIGURES = ["dsc", "hd_vox", "asd_vox"]


def one_run(folder: Path) -> dict[str, Any]:
    """What an evaluation folder tells of its run: which it is, and its mean scores."""
    path = folder / "summary.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        training = about["model_info"]["training"]
        row = {name: about[name] for name in (*METHOD, "split_rule")}
        row |= {"seed": training["seed"], "steps": training["step"], "minutes": training["minutes"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OarfuseError(f"{path} is missing or damaged ({error}): evaluate again.") from error
    means = summarise(load_metrics(folder / "metrics.csv")).loc[MEAN]
    row |= {name: round(float(means[name]), 4) for name in FIGURES}
    row |= {"cases": int(means["cases"]), "missed": int(means["missed"])}
    row |= {"device": about["device_name"], "date": about["date"][:10], "commit": about["commit"]}
    return row


def spread(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over the runs of each method; no deviation of a single one."""
    groups = runs.groupby(METHOD, sort=False)
    means, deviations = groups[FIGURES].mean(), groups[FIGURES].std(ddof=1)
    table = pd.DataFrame({"runs": groups.size()})
    for name in FIGURES:
        table[name] = [
            f"{mean:.4f}" + ("" if pd.isna(sd) else f" ± {sd:.4f}")
            for mean, sd in zip(means[name], deviations[name], strict=True)
        ]
    return table.reset_index()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path, help="folders of `oarfuse evaluate`")
    parser.add_argument("--output", type=Path, required=True, help="CSV to write")
    options = parser.parse_args()
    try:
        runs = pd.DataFrame([one_run(folder) for folder in options.folders])
        write_text(options.output, runs.to_csv(index=False))
    except OarfuseError as error:
        sys.exit(f"grid_summary: error: {error}")
    print(spread(runs).to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
