"""One training step of the networks side by side: time, memory, and how both grow.

    python benchmarks/training_step.py            # about 20 minutes on 2 free cores
    python benchmarks/training_step.py --smoke    # small and short: does it still run?

A step is forward, Dice + cross-entropy, backward and Adam. Every measurement has a process of its
own, as a training has: after another network has come and gone, the same step takes up to a fifth
longer. All sides take turns, each with the allocator setting that `oarfuse train` uses and with the
system's own, so that a slow moment of the machine hits each alike. Ratios are taken in a round,
always to our network with our setting, and given as median and range. Memory is the peak resident
set in two steps less what it was before the network was built.

Every side gets channels-last memory and bfloat16 autocast, except the literal transcription, which
is what a reader of the paper would write first: concatenation, default memory layout, float32,
PyTorch's own instance norm. Results go to ``benchmarks/results/training_step.json``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import nn

import oarfuse
from oarfuse.course.timing import spread
from oarfuse.devices import keep_freed_memory
from oarfuse.files import write_json
from oarfuse.losses import dice_cross_entropy
from oarfuse.models.cost import count_parameters, gflops
from oarfuse.models.encoder_decoder import InstanceNorm
from oarfuse.provenance import environment

RESULTS = Path(__file__).parent / "results" / "training_step.json"
PATCH = (64, 96, 96)
CUBE = (96, 96, 96)
ALLOCATORS = ("ours", "system")  # glibc keeps freed memory (see oarfuse.devices), or as it comes
RIVALS = ("msf3d", "unet3d", "attunet", "dynunet", "unetr", "swinunetr")

# name -> (model, options, patch, bfloat16)
Side = tuple[str, dict[str, Any], tuple[int, int, int], bool]


def sides(smoke: bool) -> dict[str, Side]:
    patch = (32, 32, 48) if smoke else PATCH
    rows: dict[str, Side] = {
        "oarfocalfusenet": ("oarfocalfusenet", {}, patch, True),
        "oarfocalfusenet, literal, float32": (
            "oarfocalfusenet",
            {"block": "readable"},
            patch,
            False,
        ),
    }
    if smoke:
        return rows
    rows["oarfocalfusenet, float32"] = ("oarfocalfusenet", {}, patch, False)
    for name in RIVALS:
        options = {"feature_size": 24} if name == "swinunetr" else {}
        rows[name] = (name, options, patch, True)
    rows["oarfocalfusenet at 96^3"] = ("oarfocalfusenet", {}, CUBE, True)
    rows["swinunetr at 96^3"] = ("swinunetr", {"feature_size": 24}, CUBE, True)
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
        model.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
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


def measure(task: str, side: str, allocator: str, smoke: bool) -> float:
    """Do `task` in a process of its own, forked from one that has only loaded the libraries."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["oarfuse.losses", "oarfuse.models.compared.table1"])
    with ProcessPoolExecutor(1, context) as process:
        return process.submit(work, task, side, allocator, smoke).result()


def work(task: str, name: str, allocator: str, smoke: bool) -> float:
    """Return the seconds of a step or the MiB of two, as the only one in this process."""
    if allocator == "ours":
        keep_freed_memory()
    size = int(name.removeprefix("cube ")) if name.startswith("cube ") else 0
    side = ("oarfocalfusenet", {}, (size, size, size), True) if size else sides(smoke)[name]
    if task == "memory":
        # Libraries are loaded and thread pools exist before the count begins.
        build(("oarfocalfusenet", {"width": 2}, (16, 16, 16), side[3]))[1]()
        before = peak_resident_kib()
        step = build(side)[1]
        step()
        step()
        return (peak_resident_kib() - before) / 1024
    step = build(side)[1]
    step()
    took = seconds_a_step(step, 1)  # warms up too: until now memory comes from the kernel
    return seconds_a_step(step, 3 if took < 2 else 1)


def seconds_a_step(step: Callable[[], float], repeats: int) -> float:
    began = time.perf_counter()
    for _ in range(repeats):
        step()
    return (time.perf_counter() - began) / repeats


def peak_resident_kib() -> int:
    """Peak resident set of this process. (`getrusage` would also count the parent's, at fork.)"""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1])  # type: ignore[index]


def timings(rows: dict[str, Side], rounds: int, smoke: bool) -> dict[str, dict[str, list[float]]]:
    """Seconds a step of every side, with either allocator setting, in alternating turns."""
    times: dict[str, dict[str, list[float]]] = {a: {n: [] for n in rows} for a in ALLOCATORS}
    for turn in range(rounds):
        for name in rows:
            for allocator in ALLOCATORS:
                times[allocator][name].append(measure("time", name, allocator, smoke))
        print(f"round {turn + 1} of {rounds}", flush=True)
    return times


def growth(smoke: bool) -> list[dict[str, float]]:
    """Time and memory of one step from 32^3 to 128^3 voxels."""
    points = []
    for size in (16,) if smoke else (32, 48, 64, 80, 96, 112, 128):
        name = f"cube {size}"
        points.append(
            {
                "side": size,
                "seconds": measure("time", name, "ours", smoke),
                "mebibytes": measure("memory", name, "ours", smoke),
            }
        )
        print(points[-1], flush=True)
    return points


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="small volumes, nothing written")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    rows = sides(options.smoke)
    both = timings(rows, 1 if options.smoke else options.rounds, options.smoke)
    seconds = both["ours"]
    # Each side is compared with our network on the same patch.
    ours = {
        side[2]: seconds[name]
        for name, side in rows.items()
        if name in ("oarfocalfusenet", "oarfocalfusenet at 96^3")
    }
    table = []
    for name, side in rows.items():
        model = oarfuse.build_model(side[0], **side[1])
        reference = ours[side[2]]
        ratios = {
            allocator: spread([a / b for a, b in zip(times[name], reference, strict=True)])
            for allocator, times in both.items()
        }
        row: dict[str, Any] = {
            "side": name,
            "patch": side[2],
            "precision": "bfloat16 autocast" if side[3] else "float32",
            "seconds": spread(seconds[name]),
            "seconds_system_allocator": spread(both["system"][name]),
            "times_ours": ratios["ours"],
            "times_ours_system_allocator": ratios["system"],
            "mebibytes": measure("memory", name, "ours", options.smoke),
            "parameters": count_parameters(model),
            "gflops": gflops(model, side[2]),
        }
        table.append(row)
        print(
            f"{name:36s} {row['seconds']['median']:7.3f} s  {row['times_ours']['median']:6.2f} x"
            f" ({row['times_ours_system_allocator']['median']:.2f} x with the system's allocator)"
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
