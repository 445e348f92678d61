"""README's block on GPUs, from the result files of benchmarks/gpu.py and gpu_trainings.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from oarfuse.runs import VALIDATION
from reports.markdown_row import row as table_row

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks" / "results"
TRAININGS = ROOT / "results" / "openkbp" / "gpu"
RIVAL = "dynunet"
MODES = {"eager": "call by call", "graph": "recorded"}


def gpu_block(benchmarks: Path = BENCHMARKS, trainings: Path = TRAININGS) -> str:
    """Steps, kernels, prediction and feeding, then the trainings of equal minutes."""
    sessions = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in (benchmarks / "gpu.json", benchmarks / "gpu_all_methods.json")
        if path.exists()
    ]
    # A newer whole run of the benchmark has everything in its first file.
    measured = next(session for session in sessions if "kernels" in session)
    parts = [_steps(sessions), _kernels(measured), _rest(sessions[0]), _trainings(trainings)]
    return "\n\n".join(parts)


def _steps(sessions: list[dict[str, Any]]) -> str:
    """One row a method; what was measured beside other work is marked."""
    rows: dict[str, dict[tuple[int, str], dict[str, Any]]] = {}
    for session in sessions:  # the quiet one first
        for row in session["steps"]:
            if "block" not in row and row["precision"] == "bf16-mixed" and row["mode"] in MODES:
                key = (row["batch"], row["mode"])
                marked = row | {"mark": "\\*" if session.get("beside") else ""}
                rows.setdefault(row["model"], {}).setdefault(key, marked)
    heads = ["one training step, bfloat16, ms"]
    keys = [(batch, mode) for batch in (2, 8) for mode in MODES]
    heads += [f"batch {batch}, {MODES[mode]}" for batch, mode in keys]
    heads += [f"recorded, times {RIVAL} call by call: batch 2", "batch 8", "peak MiB, batch 2"]
    lines = [table_row(heads), "|---|" + "---:|" * (len(heads) - 1)]
    for model, found in rows.items():
        cells: list[Any] = [model]
        for key in keys:
            row = found.get(key)
            cells.append(f"{row['milliseconds']:.1f}{row['mark']}" if row else "")
        for batch in (2, 8):
            row, rival = found.get((batch, "graph")), rows[RIVAL][batch, "eager"]
            ratio = row and row["milliseconds"] / rival["milliseconds"]
            cells.append(f"{ratio:.2f}{row['mark']}" if row and ratio else "")
        cells.append(f"{found[2, 'eager']['peak_mib']:.0f}")
        lines.append(table_row(cells))
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
    lines += ["", f"*Recorded*: the whole step as one CUDA graph, which `oarfuse train` takes by "
              f"itself on one GPU.{marked} Call by call at "
              f"batch 2: {others}. {_source(sessions[0])}. "
              "A step is forward, Dice + cross-entropy, backward, Adam and the moving average, on "
              "patches of 96x64x64."]  # fmt: skip
    return "\n".join(lines)


def _side(row: dict[str, Any]) -> str:
    return "readable block" if "block" in row else row["precision"]


def _kernels(session: dict[str, Any]) -> str:
    names = {"forward": "forward", "input_gradient": "gradient of the input",
             "tap_gradient": "gradient of the taps", "halving": "stride 2",
             "norm": "instance norm + ReLU", "norm_gradient": "its gradient",
             "pytorch_forward": "PyTorch's forward",
             "pytorch_tap_gradient": "PyTorch's gradient of the taps"}  # fmt: skip
    heads = ["depth-wise 3x3x3, bfloat16", "memory copy, ms", *names.values()]
    lines = [table_row(heads), "|---|" + "---:|" * (len(heads) - 1)]
    for row in session["kernels"]:
        title = f"{row['batch']} x {row['channels']} channels, {'x'.join(map(str, row['sides']))}"
        times = [f"{row[name] / row['copy']:.1f}" for name in names]
        lines.append(table_row([title, f"{row['copy']:.4f}", *times]))
    lines += ["", f"All but the copy in times of it: a map of that size read and written once. "
              f"{_code(session)}."]  # fmt: skip
    return "\n".join(lines)


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
    lines = [table_row(heads), "|---|" + "---:|" * (len(heads) - 1)]
    devices, dates = set(), set()
    for path in sorted(folder.glob("*/summary.json")):
        summary = json.loads(path.read_text(encoding="utf-8"))
        last = pd.read_csv(path.parent / VALIDATION).iloc[-1]
        for session in json.loads((path.parent / "environment.json").read_text(encoding="utf-8")):
            devices.add(session["device_name"])
            dates.add(session["date"][:10])
        raw, clean = (summary["means"][name]["mean"] for name in ("raw", "largest_component"))
        cells = [path.parent.name, f"{last['minutes']:.1f}", f"{last['step']:.0f}",
                 f"{raw['dsc']:.4f}", f"{clean['dsc']:.4f}", f"{clean['hd_vox']:.2f}",
                 f"{clean['asd_vox']:.3f}"]  # fmt: skip
        lines.append(table_row(cells))
    lines += ["", f"`python benchmarks/gpu_trainings.py` on {', '.join(sorted(devices))}, "
              f"{', '.join(sorted(dates))}: three at once, which share the card alike, so that a "
              "minute is a third of it; batches of 8, one cosine from 0.003, 20 validation "
              "patients, on whom each run's best weights were also selected. What else was seen "
              "there, and which runs are still missing: [results/openkbp/gpu]"
              "(results/openkbp/gpu/README.md)."]  # fmt: skip
    return "\n".join(lines)


def _source(session: dict[str, Any]) -> str:
    machine = session["environment"]
    return (
        f"`python benchmarks/gpu.py` on {machine['device_name']}, torch "
        f"{machine['versions']['torch']}, {machine['date'][:10]}, {_code(session)}"
    )


def _code(session: dict[str, Any]) -> str:
    # A lent machine's copy may not know its own commit; `code` was then added to the file.
    return f"Code of commit {session.get('code', session['environment']['commit'])}"
