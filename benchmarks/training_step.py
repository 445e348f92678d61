"""One training step of the networks side by side: time, memory, and how both grow.

    python benchmarks/training_step.py            # about 10 minutes on 2 free cores
    python benchmarks/training_step.py --smoke    # small and short: does it still run?

A step is forward, Dice + cross-entropy, backward and Adam. Times: all sides take turns in one
process, so that a slow moment of the machine hits each alike; ratios are taken within a round and
given as median and range. Memory: each side alone in a fresh process, the peak resident set during
two steps less what it was before the network was built. Every side gets channels-last memory and
the same allocator settings, except the literal transcription, which is what a reader of the paper
would write first: concatenation, default memory layout, float32, PyTorch's own instance norm.
Results go to ``benchmarks/results/training_step.json``.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import oarfuse
from oarfuse.files import write_json
from oarfuse.losses import dice_cross_entropy
from oarfuse.models.cost import count_parameters, gflops
from oarfuse.models.layers import InstanceNorm
from oarfuse.runtime import environment, keep_freed_memory

RESULTS = Path(__file__).parent / "results" / "training_step.json"
PATCH = (64, 96, 96)
CUBE = (96, 96, 96)
RIVALS = ("msf3d", "unet3d", "attunet", "dynunet", "unetr", "swinunetr")

# name -> (model, options, patch, bfloat16)
Side = tuple[str, dict[str, Any], tuple[int, int, int], bool]


def sides(smoke: bool) -> dict[str, Side]:
    patch, cube = ((48, 48, 64), (64, 64, 64)) if smoke else (PATCH, CUBE)
    rows: dict[str, Side] = {
        "oarfocalfusenet": ("oarfocalfusenet", {}, patch, True),
        "oarfocalfusenet, literal, float32": (
            "oarfocalfusenet",
            {"block": "readable"},
            patch,
            False,
        ),
        "oarfocalfusenet, float32": ("oarfocalfusenet", {}, patch, False),
    }
    for name in RIVALS:
        options = {"feature_size": 24} if name == "swinunetr" else {}
        rows[name] = (name, options, patch, True)
    rows["oarfocalfusenet at 96^3"] = ("oarfocalfusenet", {}, cube, True)
    rows["swinunetr at 96^3"] = ("swinunetr", {"feature_size": 24}, cube, True)
    return rows


def literal(model: nn.Module) -> nn.Module:
    """Put PyTorch's own instance norm back, as a literal transcription would have it."""
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, InstanceNorm):
                setattr(module, name, nn.InstanceNorm3d(child.num_features, affine=True))
    return model


def build(side: Side) -> tuple[nn.Module, Callable[[], float]]:
    """Return the network and a function that does one training step on random data."""
    name, options, patch, half = side
    torch.manual_seed(0)
    model = oarfuse.build_model(name, **options)
    if options.get("block") == "readable":
        model = literal(model)
    else:
        model = model.to(memory_format=torch.channels_last_3d)
    volume = torch.rand(1, 1, *patch)
    label = torch.randint(0, 6, (1, 1, *patch))
    loss_function = dice_cross_entropy()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = model(volume)
        loss = loss_function(logits.float(), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return model, step


def peak_mebibytes(name: str, smoke: bool) -> float:
    """Measure one side's peak memory in a process of its own."""
    command = [sys.executable, __file__, "--memory-of", name, *(["--smoke"] if smoke else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.strip().splitlines()[-1])


def print_peak(side: Side) -> None:
    _, warm_up = build(("oarfocalfusenet", {"width": 2}, (16, 16, 16), side[3]))
    warm_up()  # libraries are loaded and thread pools exist before the count begins
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _, step = build(side)
    step()
    step()
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def timings(rows: dict[str, Side], rounds: int) -> dict[str, list[float]]:
    steps = {name: build(side)[1] for name, side in rows.items()}
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    for name, step in steps.items():
        step()
        print(f"warm: {name}", flush=True)
    for turn in range(rounds):
        for name, step in steps.items():
            # Quick sides take several steps a turn, so that each is measured for a while.
            repeats = 3 if turn and min(seconds[name]) < 2 else 1
            began = time.perf_counter()
            for _ in range(repeats):
                step()
            seconds[name].append((time.perf_counter() - began) / repeats)
        print(f"round {turn + 1} of {rounds}", flush=True)
    return seconds


def growth(smoke: bool) -> list[dict[str, float]]:
    """Time and memory of one step from 32^3 to 128^3 voxels."""
    points = []
    for size in (16, 32) if smoke else (32, 48, 64, 80, 96, 112, 128):
        _, step = build(("oarfocalfusenet", {}, (size, size, size), True))
        step()
        times = []
        for _ in range(3):
            began = time.perf_counter()
            step()
            times.append(time.perf_counter() - began)
        mebibytes = peak_mebibytes(f"cube {size}", smoke)
        points.append({"side": size, "seconds": min(times), "mebibytes": mebibytes})
        print(points[-1], flush=True)
    return points


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="small volumes, nothing written")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    keep_freed_memory()
    rows = sides(options.smoke)
    if options.memory_of:
        name = options.memory_of
        cube = int(name.removeprefix("cube ")) if name.startswith("cube ") else 0
        print_peak(("oarfocalfusenet", {}, (cube,) * 3, True) if cube else rows[name])
        return

    seconds = timings(rows, 2 if options.smoke else options.rounds)
    # Each side is compared with our network on the same patch.
    same_patch = {"oarfocalfusenet at 96^3", "oarfocalfusenet"}
    ours = {rows[name][2]: seconds[name] for name in sorted(same_patch, reverse=True)}
    table = []
    for name, side in rows.items():
        model = oarfuse.build_model(side[0], **side[1])
        ratios = [a / b for a, b in zip(seconds[name], ours[side[2]], strict=True)]
        table.append(
            {
                "side": name,
                "patch": side[2],
                "precision": "bfloat16 autocast" if side[3] else "float32",
                "seconds": spread(seconds[name]),
                "times_ours": spread(ratios),
                "mebibytes": peak_mebibytes(name, options.smoke),
                "parameters": count_parameters(model),
                "gflops": gflops(model, side[2]),
            }
        )
        row = table[-1]
        print(
            f"{name:36s} {row['seconds']['median']:7.3f} s  {row['times_ours']['median']:6.2f} x"
            f" ({row['times_ours']['low']:.2f} to {row['times_ours']['high']:.2f})"
            f"  {row['mebibytes']:7.0f} MiB  {row['parameters'] / 1e6:6.2f} M"
            f"  {row['gflops']:7.1f} GFLOP",
            flush=True,
        )
    points = growth(options.smoke)
    if options.smoke:
        print("smoke run: nothing was written")
        return
    write_json(RESULTS, {"environment": environment(), "steps": table, "growth": points})
    print(f"written to {RESULTS.name}")


if __name__ == "__main__":
    main()
