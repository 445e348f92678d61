"""README's block on speed and memory, from the result files of benchmarks/."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reports.markdown import table
from reports.results import ROOT, read_json

BENCHMARKS = ROOT / "benchmarks" / "results"
STEP, PIPELINE, METRICS = ("training_step.json", "pipeline.json", "metrics.json")
MEMORY, NEIGHBOUR = ("memory.json", "neighbour.json")
LITERAL = "oarfocalfusenet, literal, float32"
ARGUMENTS = {
    STEP: "",
    PIPELINE: " --source open-kbp.zip --weights weights/oarfocalfusenet-openkbp.safetensors",
    METRICS: " --data build/openkbp/prepared",
    MEMORY: "",
    NEIGHBOUR: "",
}


def read(name: str, folder: Path = BENCHMARKS) -> dict[str, Any] | None:
    """Return the content of a result file; None where that benchmark has not been run."""
    path = folder / name
    return read_json(path) if path.exists() else None


def performance_block(folder: Path = BENCHMARKS) -> str:
    """Training step, then everything else, each with its command, machine, date and commit."""
    parts = []
    blocks = (
        (STEP, _steps),
        (PIPELINE, _pipeline),
        (METRICS, _metrics),
        (MEMORY, _memory),
        (NEIGHBOUR, _neighbour),
    )
    for name, make in blocks:
        content = read(name, folder)
        script = name.replace(".json", ".py")
        parts.append(make(content) if content else f"Not measured yet: `benchmarks/{script}`.")
    return "\n\n".join(parts)


def _steps(content: dict[str, Any]) -> str:
    heads = ["one training step", "patch", "precision", "seconds", "times ours",
             "times ours, system's allocator", "peak MiB",
             "parameters", "GFLOP forward"]  # fmt: skip
    cells_of_rows = []
    for row in content["steps"]:
        cells = [row["side"], "x".join(map(str, row["patch"])), row["precision"]]
        cells += [f"{row['seconds']['median']:.2f}", _spread(row["times_ours"])]
        cells += [f"{row['times_ours_system_allocator']['median']:.2f}", f"{row['mebibytes']:.0f}"]
        cells += [f"{row['parameters'] / 1e6:.2f} M", f"{row['gflops']:.0f}"]
        cells_of_rows.append(cells)
    rows = {row["side"]: row for row in content["steps"]}
    memory = rows["oarfocalfusenet"]["mebibytes"] / rows[LITERAL]["mebibytes"]
    return "\n\n".join(
        [
            table(heads, cells_of_rows, "lll"),
            "*Literal* is what a first reading of the paper gives: all maps concatenated at full "
            "resolution, in PyTorch's default layout. Our network needs "
            f"{memory:.0%} of its memory. *System's allocator*: that side with glibc as it comes, "
            "ours with the setting that `oarfuse train` makes (freed memory is kept).",
            f"{_source(STEP, content['environment'])} Batch 1; a step is forward, loss, backward "
            "and Adam; sides take turns, each in a process of its own.",
            "![Accuracy against cost, and how the step grows](docs/figures/cost.png)",
        ]
    )


def _memory(content: dict[str, Any]) -> str:
    sides = "x".join(map(str, content["sides"]))
    return (
        f"- **A large CT** of {sides} voxels, {content['classes']} classes, mirrored averaging: "
        f"{content['gib_peak']:.1f} GiB at most, with PyTorch, network and CT.\n\n"
        f"{_source(MEMORY, content['environment'])}"
    )


def _neighbour(content: dict[str, Any]) -> str:
    rows = {row["side"]: row for row in content["rows"]}
    ours, plain = rows["sharing"], rows["nothing set"]
    return (
        "- **Something else running** on the same two cores, a browser for instance: training and "
        "prediction look once a second and leave it a core. A step that takes "
        f"{ours['alone']:.2f} s alone takes {ours['beside']:.2f} s then; with two threads it would "
        f"be {plain['beside']:.2f} s, because they wait for each other. The last digits may differ "
        "between one thread and two; a warning says when that happens.\n\n"
        f"{_source(NEIGHBOUR, content['environment'])}"
    )


def _pipeline(content: dict[str, Any]) -> str:
    prepare, loader, predict = (content[key] for key in ("prepare", "loader", "predict"))
    seconds, agree = predict["seconds"], predict["agreement_of_cropped_and_whole_on_organ_voxels"]
    return "\n".join(
        [
            f"- **Prediction** of a {'x'.join(map(str, predict['shape']))} CT "
            f"({predict['volumes']} validation patients): {_spread(seconds['cropped'])} s cropped "
            f"to the body, {_spread(seconds['cropped, no overlap'])} s with windows that do not "
            f"overlap, {_spread(seconds['whole'])} s uncropped. Instance normalisation sees what "
            "surrounds a voxel, so windows that fall elsewhere decide otherwise at the borders: "
            f"cropped and uncropped agree on {agree['median']:.0%} of the organ voxels.",
            f"- **Preparation**: {prepare['seconds_a_patient']:.3f} s a patient "
            f"({prepare['patients']} patients, two processes); a second call takes "
            f"{prepare['seconds_of_a_rerun']:.2f} s for all of them.",
            f"- **Loading**: a step waits {loader['share_of_a_step_spent_waiting']:.1%} of its "
            f"time for its patches, with one process that cuts them; "
            f"{loader['training_patients']} patients are held in "
            f"{loader['cache_mebibytes']:.0f} MiB.",
            "",
            _source(PIPELINE, content["environment"]),
        ]
    )


def _metrics(content: dict[str, Any]) -> str:
    tasks = {
        "real_case": "five organs of a patient, 128^3",
        "large_organ": "one organ, 512x512x150",
    }
    versions = content["machine"]["versions"]
    sides = list(dict.fromkeys(side for key in tasks for side in content.get(key, {})))
    rows = [
        [title, *(_milliseconds(content[key].get(side)) for side in sides)]
        for key, title in tasks.items()
        if key in content
    ]
    return "\n".join(
        [
            table(["all scores of a case", *sides], rows),
            "",
            "Each library gives those of our scores that it knows; in brackets, times ours. The "
            f"two last come with no install of this kit (MedPy {versions['MedPy']}, "
            f"surface-distance-based-measures {versions['surface-distance-based-measures']}).",
            _source(METRICS, content["machine"]),
        ]
    )


def _milliseconds(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    return f"{found['elapsed_ms']:.0f} ms ({found['elapsed_ratio']:.1f})"


def _spread(found: dict[str, float]) -> str:
    return f"{found['median']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def _source(name: str, machine: dict[str, Any]) -> str:
    return (
        f"`python benchmarks/{name.replace('.json', '.py')}{ARGUMENTS[name]}` on "
        f"{machine['device_name']}, "
        f"{machine['cores']} cores, torch {machine['versions']['torch']}, "
        f"{machine['date'][:10]}, commit {machine['commit']}."
    )
