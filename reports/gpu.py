"""README's block on GPUs, from the result files of benchmarks/gpu.py and gpu_trainings.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from oarfuse.evaluation import read_summary
from oarfuse.evaluation.folder import SUMMARY
from oarfuse.evaluation.statistics import MEAN
from oarfuse.runs import VALIDATION
from reports.markdown import dsc_hd_asd, table
from reports.performance import BENCHMARKS
from reports.results import RESULTS, read_json, training_sessions

TRAININGS = RESULTS / "gpu"
RIVAL = "dynunet"
MODES = {"eager": "call by call", "graph": "recorded"}


def gpu_block(benchmarks: Path = BENCHMARKS, trainings: Path = TRAININGS) -> str:
    """Steps, kernels, prediction and feeding, then the trainings of equal minutes."""
    sessions = [
        read_json(path)
        for path in (benchmarks / "gpu.json", benchmarks / "gpu_all_methods.json")
        if path.exists()
    ]
    # A newer whole run of the benchmark has everything in its first file.
    measured = next(session for session in sessions if "kernels" in session)
    parts = [_steps(sessions), _kernels(measured), _rest(sessions[0]), _trainings(trainings)]
    return "\n\n".join(parts)


def _steps(sessions: list[dict[str, Any]]) -> str:
    """One row a method; what was measured beside other work is marked."""
    measured: dict[str, dict[tuple[int, str], dict[str, Any]]] = {}
    for session in sessions:  # the quiet one first
        for row in session["steps"]:
            if "block" not in row and row["precision"] == "bf16-mixed" and row["mode"] in MODES:
                key = (row["batch"], row["mode"])
                marked = row | {"mark": "\\*" if session.get("beside") else ""}
                measured.setdefault(row["model"], {}).setdefault(key, marked)
    heads = ["one training step, bfloat16, ms"]
    keys = [(batch, mode) for batch in (2, 8) for mode in MODES]
    heads += [f"batch {batch}, {MODES[mode]}" for batch, mode in keys]
    heads += [f"recorded, times {RIVAL} call by call: batch 2", "batch 8", "peak MiB, batch 2"]
    rows = []
    for model, found in measured.items():
        cells: list[Any] = [model]
        for key in keys:
            row = found.get(key)
            cells.append(f"{row['milliseconds']:.1f}{row['mark']}" if row else "")
        for batch in (2, 8):
            row, rival = found.get((batch, "graph")), measured[RIVAL][batch, "eager"]
            ratio = row and row["milliseconds"] / rival["milliseconds"]
            cells.append(f"{ratio:.2f}{row['mark']}" if row and ratio else "")
        cells.append(f"{found[2, 'eager']['peak_mib']:.0f}")
        rows.append(cells)
    others = ", ".join(
        f"{row['model']} {_side(row)} {row['milliseconds']:.0f} ms"
        for row in sessions[0]["steps"]
        if "block" in row or row["precision"] != "bf16-mixed"
    )
    marked = "".join(
        f" \\* Measured while {session['beside']} ({_code(session).lower()})."
        for session in sessions
        if session.get("beside")
    )
    return (
        f"{table(heads, rows)}\n\n*Recorded*: the whole step as one CUDA graph, which `oarfuse "
        f"train` takes by itself on one GPU.{marked} Call by call at batch 2: {others}. "
        f"{_source(sessions[0])}. A step is forward, Dice + cross-entropy, backward, Adam and the "
        "moving average, on patches of 96x64x64."
    )


def _side(row: dict[str, Any]) -> str:
    return "readable block" if "block" in row else row["precision"]


def _kernels(session: dict[str, Any]) -> str:
    names = {"forward": "forward", "input_gradient": "gradient of the input",
             "tap_gradient": "gradient of the taps", "halving": "stride 2",
             "norm": "instance norm + ReLU", "norm_gradient": "its gradient",
             "pytorch_forward": "PyTorch's forward",
             "pytorch_tap_gradient": "PyTorch's gradient of the taps"}  # fmt: skip
    heads = ["depth-wise 3x3x3, bfloat16", "memory copy, ms", *names.values()]
    rows = []
    for row in session["kernels"]:
        title = f"{row['batch']} x {row['channels']} channels, {'x'.join(map(str, row['sides']))}"
        times = [f"{row[name] / row['copy']:.1f}" for name in names]
        rows.append([title, f"{row['copy']:.4f}", *times])
    return (
        f"{table(heads, rows)}\n\nAll but the copy in times of it: a map of that size read and "
        f"written once. {_code(session)}."
    )


def _rest(session: dict[str, Any]) -> str:
    feeding = session["feeding"]
    predicted = ", ".join(
        f"{row['model']} {row['milliseconds']:.0f} ms" for row in session["prediction"]
    )
    return (
        f"- **Prediction** of a 128x128x128 CT, warm: {predicted}.\n"
        f"- **Feeding**: {feeding['patches_a_second']:.0f} augmented patches a second from "
        f"{feeding['cases']} volumes in the GPU's memory, "
        f"{feeding['milliseconds_a_batch_of_8']:.1f} ms a batch of 8. {_code(session)}."
    )


def _trainings(folder: Path) -> str:
    heads = ["trained on a GPU", "minutes", "steps", "DSC", "largest component: DSC",
             "HD (voxels)", "ASD (voxels)"]  # fmt: skip
    rows = []
    paths = sorted(folder.glob(f"*/{SUMMARY}"))
    for path in paths:
        means = read_summary(path.parent)["means"]
        last = pd.read_csv(path.parent / VALIDATION).iloc[-1]
        rows.append([path.parent.name, f"{last['minutes']:.1f}", f"{last['step']:.0f}",
                     f"{means['raw'][MEAN]['dsc']:.4f}",
                     *dsc_hd_asd(means["largest_component"][MEAN])])  # fmt: skip
    trained = training_sessions(path.parent for path in paths)
    devices = sorted({session["device_name"] for session in trained})
    dates = sorted({session["date"][:10] for session in trained})
    return (
        f"{table(heads, rows)}\n\n`python benchmarks/gpu_trainings.py` on {', '.join(devices)}, "
        f"{', '.join(dates)}: three at once, which share the card alike, so that a minute is a "
        "third of it; batches of 8, one cosine from 0.003, 20 validation patients, on whom each "
        "run's best weights were also selected. What else was seen there, and which runs are still "
        "missing: [results/openkbp/gpu](results/openkbp/gpu/README.md)."
    )


def _source(session: dict[str, Any]) -> str:
    machine = session["environment"]
    return (
        f"`python benchmarks/gpu.py` on {machine['device_name']}, torch "
        f"{machine['versions']['torch']}, {machine['date'][:10]}, {_code(session)}"
    )


def _code(session: dict[str, Any]) -> str:
    # A lent machine's copy may not know its own commit; `code` was then added to the file.
    return f"Code of commit {session.get('code', session['environment']['commit'])}"
