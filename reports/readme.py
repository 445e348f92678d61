"""README's blocks of tables, each between two marks in its text."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from oarfuse.evaluation import VARIANT_TITLES
from oarfuse.evaluation.folder import SUMMARY
from oarfuse.evaluation.statistics import MEAN
from oarfuse.organs import get_spec
from oarfuse.runs import LOG
from oarfuse.weights import training_stages
from reports.book.links import COLAB, colab_link, repository
from reports.experiments import readme_block
from reports.gpu import gpu_block
from reports.markdown import dsc_hd_asd, table
from reports.model_card import total
from reports.performance import performance_block
from reports.results import (
    RESULTS,
    ROOT,
    busy_cores,
    full_run,
    other_evaluations,
    processors,
    training_sessions,
)

README = ROOT / "README.md"


def results_block() -> str:
    """Our full runs on validation patients, each beside the paper's row of the same method."""
    organs = get_spec("openkbp").organs
    heads = ["method", "source", "DSC", "HD (voxels)", "ASD (voxels)"]
    heads += [organ.title for organ in organs]
    rows, notes = [], []
    for path in sorted(RESULTS.glob(f"*/{SUMMARY}")):
        summary = full_run(path.parent).summary
        paper = summary["paper"]
        if paper:
            figures = [f"{paper['dsc']:.4f}", f"{paper['hd']:.2f}*", f"{paper['asd']:.3f}*"]
            figures += [f"{paper[organ.name]:.4f}" for organ in organs]
            rows.append([summary["model"], "the paper", *figures])
        for variant in ("raw", "largest_component", "largest_component_no_leak"):
            means = summary["means"][variant]
            figures = dsc_hd_asd(means[MEAN])
            figures += [f"{means[organ.name]['dsc']:.4f}" for organ in organs]
            rows.append([summary["model"], f"ours, {VARIANT_TITLES[variant]}", *figures])
        notes.append(_note(path.parent, summary))
    lines = [
        table(heads, rows, "ll"),
        "",
        "Columns named after organs are DSC. \\* The paper gives no unit; voxels fit.",
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
    dsc, hd, asd = dsc_hd_asd(seen["means"]["largest_component"][MEAN])
    return (
        f" On the {seen['cases']} patients that it learnt from: DSC {dsc}, HD "
        f"{hd} and ASD {asd} voxels (largest component)."
    )


def _share(last_run: Path) -> str:
    """Say how many cores the last stage's training process got, if its log tells."""
    cores = busy_cores(pd.read_csv(last_run / LOG))
    if cores is None:
        return " (shared with other work)"
    return f" (of which the last stage got {cores:.2f})"


def badges_block() -> str:
    """Badges, once the repository has an address (see `reports.book.links.repository`)."""
    address = repository()
    colab = address and colab_link("notebooks/00_start_here.ipynb", address)
    return f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({colab})" if colab else ""


BLOCKS: dict[str, Callable[[], str]] = {
    "badges": badges_block,
    "results": results_block,
    "experiments": readme_block,
    "performance": performance_block,
    "gpu": gpu_block,
}


def readme() -> str:
    """Return README's text with every generated block made anew."""
    text = README.read_text(encoding="utf-8")
    for name, make in BLOCKS.items():
        begin, end = f"<!-- begin: {name} -->\n", f"<!-- end: {name} -->"
        found = re.search(f"{begin}.*?{end}", text, re.DOTALL)
        if not found:
            raise SystemExit(f"README.md has lost its block {name!r}.")
        text = text.replace(found[0], f"{begin}{make()}\n{end}")
    return text
