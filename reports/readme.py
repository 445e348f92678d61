"""Write README's tables, model cards and ledger from the result files; `--check` only compares.

python -m reports
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from oarfuse.files import write_text
from oarfuse.organs import get_spec
from oarfuse.paper.ledger import LEDGER
from oarfuse.runs import LOG
from oarfuse.weights import training_stages
from reports.experiments import page, processors, readme_block, training_sessions
from reports.gpu import gpu_block
from reports.ledger_scores import ledger_text
from reports.markdown_row import row as table_row
from reports.model_card import cards, other_evaluations, total
from reports.performance import performance_block
from workflow.experiments import RESULTS as EXPERIMENTS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "results" / "openkbp"
VARIANTS = {
    "raw": "raw",
    "largest_component": "largest component",
    "largest_component_no_leak": "largest component, leaking slices left out",
}


def results_block() -> str:
    """Our full runs on validation patients, each beside the paper's row of the same method."""
    organs = get_spec("openkbp").organs
    heads = ["method", "source", "DSC", "HD (voxels)", "ASD (voxels)"]
    heads += [f"{organ.title}" for organ in organs]
    lines = [table_row(heads), "|---|---|" + "---:|" * (len(heads) - 2)]
    notes = []
    for path in sorted(RESULTS.glob("*/summary.json")):
        summary = json.loads(path.read_text(encoding="utf-8"))
        if summary["kind"] != "full run":
            raise SystemExit(f"{path} is a {summary['kind']}: only full runs belong into README.")
        paper = summary["paper"]
        if paper:
            figures = [f"{paper['dsc']:.4f}", f"{paper['hd']:.2f}*", f"{paper['asd']:.3f}*"]
            figures += [f"{paper[organ.name]:.4f}" for organ in organs]
            lines.append(table_row([summary["model"], "the paper", *figures]))
        for variant, title in VARIANTS.items():
            table = summary["means"][variant]
            mean = table["mean"]
            figures = [f"{mean['dsc']:.4f}", f"{mean['hd_vox']:.2f}", f"{mean['asd_vox']:.3f}"]
            figures += [f"{table[organ.name]['dsc']:.4f}" for organ in organs]
            lines.append(table_row([summary["model"], f"ours, {title}", *figures]))
        notes.append(_note(path.parent, summary))
    lines += ["", "Columns named after organs are DSC. \\* The paper gives no unit; voxels fit."]
    lines += [
        "The two splits differ, so the rows are not a race: the paper's test patients are not",
        "known exactly, ours are the 20 validation patients of the data set's own folders, on",
        "which the weights were also selected (their scores are therefore optimistic).",
        "",
    ]
    return "\n".join(lines + notes)


def _note(folder: Path, summary: dict[str, Any]) -> str:
    stages = training_stages(summary["model_info"]["training"])
    config = stages[-1]["config"]
    mirrored = "with" if summary["mirror"] else "without"
    # The scores may come from another machine than the training, and its stages from several.
    runs = [folder / "stages" / str(number) for number in range(1, len(stages) + 1)]
    trained = training_sessions(runs)
    return (
        f"- **{summary['model']}**: {summary['cases']} {summary['split']} patients, trained on the "
        f"113 train patients ({total(stages)} of {config['batch_size']} patches of "
        f"{'x'.join(map(str, config['patch_size']))}) on {processors(trained)}, "
        f"{trained[-1]['cores']} cores{_share(runs[-1])}; seed {config['seed']}; "
        f"{mirrored} mirrored averaging; scored on {summary['date'][:10]}, commit "
        f"{summary['commit']}. Files: `results/openkbp/{folder.name}/`; "
        f"[model card](weights/{summary['model']}-openkbp.md)."
        f"{_of_training_patients(folder, summary)}"
    )


def _of_training_patients(folder: Path, summary: dict[str, Any]) -> str:
    """Tell how the same weights do on the patients that they learnt from, if it was measured."""
    others = other_evaluations(folder, summary["weights"]["sha256"])
    seen = next((other for other in others.values() if other["split"] == "train"), None)
    if seen is None:
        return ""
    mean = seen["means"]["largest_component"]["mean"]
    return (
        f" On the {seen['cases']} patients that it learnt from: DSC {mean['dsc']:.4f}, HD "
        f"{mean['hd_vox']:.2f} and ASD {mean['asd_vox']:.3f} voxels (largest component)."
    )


def _share(last_run: Path) -> str:
    """Say how many cores the last stage's training process got, if its log tells."""
    log = pd.read_csv(last_run / LOG)
    if "cpu" not in log:
        return " (shared with other work)"
    return f" (of which the last stage got {log['cpu'].sum() / log['seconds'].sum():.2f})"


BLOCKS: dict[str, Callable[[], str]] = {
    "results": results_block,
    "experiments": readme_block,
    "performance": performance_block,
    "gpu": gpu_block,
}


def render(text: str) -> str:
    """Return README's text with every generated block made anew."""
    for name, make in BLOCKS.items():
        pattern = re.compile(f"(<!-- begin: {name} -->\n).*?(<!-- end: {name} -->)", re.DOTALL)
        if not pattern.search(text):
            raise SystemExit(f"README.md has lost its block {name!r}.")
        block = make() + "\n"
        text = pattern.sub(lambda match, block=block: match[1] + block + match[2], text)
    return text


def files() -> dict[Path, str]:
    """Return path to text of every page that is made from result files."""
    readme = render(README.read_text(encoding="utf-8"))
    return {
        README: readme,
        EXPERIMENTS / "README.md": page(),
        LEDGER: ledger_text(),
        **cards(),
    }


def write() -> None:
    """Write them."""
    for path, text in files().items():
        write_text(path, text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    options = parser.parse_args()
    if not options.check:
        write()
        return 0
    differing = [
        path.relative_to(ROOT).as_posix()
        for path, text in files().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    print(f"run this script, these differ: {', '.join(differing)}" if differing else "all agree")
    return int(bool(differing))


if __name__ == "__main__":
    sys.exit(main())
