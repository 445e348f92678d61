"""The model card of published weights, made from the files that `publish_weights.py` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from oarfuse.evaluation import VARIANT_TITLES, Evaluation
from oarfuse.evaluation.statistics import MEAN, mean_interval
from oarfuse.organs import get_spec
from reports.card_header import card_header
from reports.markdown import dsc_hd_asd, table
from reports.results import ROOT, other_evaluations, read_json

METRICS = {"dsc": ("DSC", 4), "hd_vox": ("HD (voxels)", 2), "hd_mm": ("HD (mm)", 1),
           "hd95_mm": ("HD95 (mm)", 1), "asd_vox": ("ASD (voxels)", 3),
           "asd_mm": ("ASD (mm)", 2)}  # fmt: skip
TITLES = {"oarfocalfusenet": "OARFocalFuseNet", "msf3d": "3D-MSF"}


def cards() -> dict[Path, str]:
    """Return path to text of the card of every published file."""
    return {path.with_suffix(".md"): _card(path) for path in _published()}


def _published() -> list[Path]:
    weights = ROOT / "weights"
    return [p for p in sorted(weights.glob("*.json")) if p.with_suffix(".safetensors").exists()]


def _card(path: Path) -> str:
    about = read_json(path)
    folder = ROOT / about["results"]
    evaluation = Evaluation.load(ROOT / about["results"])
    summary, rows = evaluation.summary, evaluation.metrics
    title = TITLES.get(about["model"], about["model"])
    spec = get_spec(about["dataset"])
    organs = ", ".join(f"{organ.label} {organ.title.lower()}" for organ in spec.organs)
    window = " to ".join(f"{value:.0f}" for value in about["window_hu"])
    parts = [
        card_header(path.stem, summary, spec),
        f"# {title} for {spec.title}: model card",
        "**Not for clinical use.** These weights serve teaching and the comparison of methods. No "
        "patient may be treated, and no dose planned, on what they draw.",
        _superseded(path.stem, about),
        "## Use",
        "```python\nimport oarfuse\n\n"
        f'model, info = oarfuse.load_pretrained("{path.stem}")\n```\n\n'
        f"```bash\noarfuse predict --weights {path.stem} --input CT.nii.gz --output labels.nii.gz"
        f"{' --mirror' if summary['mirror'] else ''}\n```",
        f"Input: a CT in HU, of which {window} HU are scaled to 0..1. Output: {organs}. "
        f"`{path.name}` holds the whole configuration and the file's SHA-256.",
        "## Data",
        f"{spec.title}'s public CT scans of the head and neck (MIT licence, its authors'), which "
        f"are not part of this repository: trained on the {about['train_cases']} training patients "
        f"who have all {len(spec.organs)} organs, validated on {summary['cases']}; the official "
        f"test patients were not used. Split: {summary['split_rule']}. Median voxel "
        f"{'x'.join(f'{side:g}' for side in about['spacing_mm'])} mm (D, H, W). Many of these "
        f"scans were cut so that CT is left only inside drawn structures; "
        f"{summary['cases_with_leaking_slices']} of the {summary['cases']} validation patients "
        "have such leaking slices, hence the scores without them.",
        "## Training",
        _stages(about["stages"]),
        f"![Validation DSC against minutes](../{about['results']}/curve.png)",
        "Loss: Dice and cross-entropy in equal parts; Adam; the rate between the two given; "
        "patches around organs, rotated, scaled, mirrored (left and right labels exchanged) "
        "and changed in intensity; the moving average of the weights is what was validated, and "
        "the stage's best on validation what was kept. All stored options: "
        f"`{path.name}`.",
        "## Scores",
        f"{summary['cases']} validation patients, these half-precision weights, "
        f"{'with' if summary['mirror'] else 'without'} mirrored averaging, computed in "
        f"{summary['precision']} on {summary['device_name']} ({summary['date'][:10]}, commit "
        f"{summary['commit']}). In brackets: "
        "95 % bootstrap interval over patients. The weights were selected on these patients, so "
        "the scores are optimistic. Means are over the cases of each organ, then over the organs; "
        "a missed organ counts with DSC 0 and the volume's diagonal as its distance.",
        _means(rows),
        _organs(rows, spec, summary["paper"]),
        _paper_note(summary["paper"], title),
        _elsewhere(folder, about["sha256"]),
        "## Where it fails",
        _failures(rows, spec),
        f"![The worst patients](../{about['results']}/failures.png)",
        "Truth beside prediction, on the slice where the worst organ of each patient has most "
        "wrong voxels. The best, the median and the worst patient by mean DSC:",
        f"![Best, median and worst patient](../{about['results']}/cases.png)",
        "Expect worse on CT of other scanners, with contrast medium, metal in the teeth, other "
        "voxel sizes, tumours that displace an organ, or other rules of contouring: none of it was "
        "tested. Left and right follow the file's affine; a wrong affine exchanges the parotids.",
        "## Licence",
        "MIT, as the code. Made from the committed result files by `python -m reports`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _superseded(name: str, about: dict[str, Any]) -> str:
    newest = f"{about['model']}-{about['dataset']}"
    return "" if name == newest else f"[{newest}]({newest}.md) has replaced these weights."


def _elsewhere(folder: Path, digest: str) -> str:
    others = other_evaluations(folder, digest)
    if not others:
        return ""
    heads = ["evaluation", "patients", "mirrored averaging", "variant", "DSC", "HD (voxels)",
             "ASD (voxels)", "made on"]  # fmt: skip
    rows = []
    for name, summary in others.items():
        for variant in ("raw", "largest_component"):
            made = f"{summary['device_name']}, {summary['date'][:10]} (commit {summary['commit']})"
            rows.append([name, f"{summary['cases']} {summary['split']}",
                         "with" if summary["mirror"] else "without", VARIANT_TITLES[variant],
                         *dsc_hd_asd(summary["means"][variant][MEAN]), made])  # fmt: skip
    return f"The same weights, evaluated otherwise:\n\n{table(heads, rows, 'llllrrrl')}"


def total(stages: list[dict[str, Any]]) -> str:
    """Return the sum of steps and minutes in words."""
    steps, minutes = (sum(stage[key] for stage in stages) for key in ("step", "minutes"))
    many = f" in {len(stages)} stages" if len(stages) > 1 else ""
    return f"{minutes:.0f} minutes, {steps} steps{many}"


def _stages(stages: list[dict[str, Any]]) -> str:
    heads = ["stage", "starts from", "steps", "minutes", "rate", "schedule", "batch", "patch",
             "average's decay", "seed", "commit", "validation DSC in training"]  # fmt: skip
    rows = []
    for number, stage in enumerate(stages, start=1):
        config = stage["config"]
        dsc = stage["validation_dsc"]
        start = "random weights" if config["init"] is None else f"stage {number - 1}"
        cosine = config.get("schedule") == "cosine"  # over all steps; else triangles, repeated
        cells = [number, start, stage["step"], f"{stage['minutes']:.1f}",
                 f"{config['min_lr']:g} to {config['max_lr']:g}",
                 "one cosine" if cosine else f"triangles of {config['cycle_steps']} steps",
                 config["batch_size"], "x".join(map(str, config["patch_size"])),
                 config["ema_decay"], stage["seed"], stage["commit"] or "not recorded",
                 "not validated" if dsc is None else f"{dsc:.4f}"]  # fmt: skip
        rows.append(cells)
    return (
        f"{table(heads, rows, 'l' * len(heads))}\n\nBehind these weights: {total(stages)}. A stage "
        "counts up to the step whose weights were kept."
    )


def _with_interval(rows: pd.DataFrame, metric: str) -> str:
    digits = METRICS[metric][1]
    mean, low, high = (f"{value:.{digits}f}" for value in mean_interval(rows, metric))
    return f"{mean} [{low}, {high}]"


def _means(rows: pd.DataFrame) -> str:
    heads = ["mean over organs", *(title for title, _ in METRICS.values()), "missed"]
    cells = []
    for variant, title in VARIANT_TITLES.items():
        chosen = rows[rows["variant"] == variant]
        figures = [_with_interval(chosen, metric) for metric in METRICS]
        cells.append([title, *figures, int(chosen["missed"].sum())])
    return table(heads, cells)


def _organs(rows: pd.DataFrame, spec: Any, paper: dict[str, Any] | None) -> str:
    heads = ["organ", "variant", *(title for title, _ in METRICS.values()), "paper's DSC"]
    cells = []
    for organ in spec.organs:
        for variant, title in VARIANT_TITLES.items():
            chosen = rows[(rows["variant"] == variant) & (rows["organ"] == organ.name)]
            figures = [_with_interval(chosen, metric) for metric in METRICS]
            printed = f"{paper[organ.name]:.4f}" if paper and variant == "raw" else ""
            cells.append([organ.title, title, *figures, printed])
    return table(heads, cells, "ll")


def _paper_note(paper: dict[str, Any] | None, title: str) -> str:
    if not paper:
        return ""
    return (
        f"The paper prints for {title}: DSC {paper['dsc']:.4f}, HD {paper['hd']:.2f}, ASD "
        f"{paper['asd']:.3f} (no unit; voxels fit), on its own split, which is not known exactly."
    )


def _failures(rows: pd.DataFrame, spec: Any) -> str:
    raw = rows[rows["variant"] == "raw"]
    organs = [organ.name for organ in spec.organs]
    dsc = raw.pivot(index="case", columns="organ", values="dsc")[organs]
    dsc.insert(0, MEAN, dsc.mean(axis=1))
    heads = ["patient", "mean DSC", *(organ.title for organ in spec.organs)]
    worst = [
        [case, *(f"{value:.3f}" for value in row)]
        for case, row in dsc.sort_values(MEAN).head(3).iterrows()
    ]
    low = {organ.title: int((dsc[organ.name] < 0.7).sum()) for organ in spec.organs}
    counts = ", ".join(f"{title} {count}" for title, count in low.items() if count) or "none"
    return (
        f"The three patients with the lowest mean DSC (raw):\n\n{table(heads, worst)}\n\n"
        f"Patients of {len(dsc)} with a DSC below 0.7: {counts}."
    )
