"""What a GPU makes of the networks: kernels, steps, prediction and feeding, in one run.

    python benchmarks/gpu.py                          # everything; 4 minutes on an H200
    python benchmarks/gpu.py --only kernels steps     # some of it; the rest of the file stays
    python benchmarks/gpu.py --smoke                  # tiny sizes, on a CPU too: does it still run?

A step is forward, Dice + cross-entropy, backward, Adam and the moving average, exactly as
`oarfuse train` makes it (`oarfuse.steps.TrainStep`), on random patches of 96x64x64: the median of
several, in milliseconds, with the device waited for after each. Peak memory is what PyTorch's
allocator held. Results go to ``benchmarks/results/gpu.json`` after every part.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric

from oarfuse import build_model
from oarfuse.config import Precision, StepMode
from oarfuse.data.feeding import ResidentPatches
from oarfuse.data.manifest import load_case, load_manifest
from oarfuse.data.patches import PatchDataset
from oarfuse.files import write_json
from oarfuse.inference import predict_labels
from oarfuse.losses import deep_supervision_loss
from oarfuse.models import kernels
from oarfuse.organs import OPENKBP
from oarfuse.provenance import environment
from oarfuse.steps import TrainStep
from oarfuse.weights import ModelInfo

RESULTS = Path(__file__).parent / "results" / "gpu.json"
PATCH = (96, 64, 64)
METHODS = ("oarfocalfusenet", "msf3d", "unet3d", "attunet", "dynunet", "unetr", "swinunetr")
PROPOSED = ("oarfocalfusenet", "msf3d")
# name, options, batch, precision, mode
Side = tuple[str, dict[str, Any], int, Precision, StepMode]
SMOKE_SIDE: tuple[str, dict[str, Any], int] = ("oarfocalfusenet", {}, 2)


def sides() -> Iterator[Side]:
    for name in METHODS:
        for batch in (2, 8):
            yield name, {}, batch, "bf16-mixed", "eager"
            if name not in ("unetr", "swinunetr"):
                yield name, {}, batch, "bf16-mixed", "graph"
    for name in PROPOSED:
        yield name, {}, 2, "16-mixed", "eager"
        yield name, {}, 2, "32-true", "eager"
        yield name, {"block": "readable"}, 2, "bf16-mixed", "eager"


def compiled_sides() -> Iterator[Side]:
    for name in (*PROPOSED, "dynunet"):
        yield name, {}, 8, "bf16-mixed", "compiled"


class Device:
    """The GPU, or a CPU that stands in for it in a smoke run."""

    def __init__(self, smoke: bool) -> None:
        self.cuda = torch.cuda.is_available()
        self.device = torch.device("cuda" if self.cuda else "cpu")
        self.smoke = smoke
        self.patch = (32, 16, 16) if smoke else PATCH
        self.repeats = 2 if smoke else 15

    def wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

    def milliseconds(self, function: Callable[[], object], repeats: int | None = None) -> float:
        """Return the median time of a call, waited for, after two that are not counted."""
        times = []
        for _ in range((repeats or self.repeats) + 2):
            self.wait()
            start = time.perf_counter()
            function()
            self.wait()
            times.append(time.perf_counter() - start)
        return 1000 * statistics.median(times[2:])

    def kernel_milliseconds(self, function: Callable[[], object]) -> float:
        """Return the mean device time of a call among 50 in a row, launches hidden by a graph."""
        if not self.cuda:
            return self.milliseconds(function)
        for _ in range(3):
            function()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            function()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        graph.replay()
        begin.record()
        for _ in range(50):
            graph.replay()
        end.record()
        self.wait()
        return begin.elapsed_time(end) / 50


def measure_kernels(device: Device) -> list[dict[str, Any]]:
    """Depth-wise 3x3x3 in bfloat16, batch 8 and 2, against PyTorch's own and a memory copy."""
    rows_of = [(8, 16, (96, 64, 64)), (2, 16, (96, 64, 64)), (8, 64, (24, 16, 16))]
    if device.smoke:
        rows_of = [(1, 16, (8, 8, 8))]
    return [measure_maps(device, *shape) for shape in rows_of]


def measure_maps(
    device: Device, batch: int, channels: int, volume: tuple[int, int, int]
) -> dict[str, Any]:
    rows = torch.randn(batch, *volume, channels, device=device.device, dtype=torch.bfloat16)
    gradient = torch.randn_like(rows)
    taps = torch.randn(channels, 1, 3, 3, 3, device=device.device)
    half = taps.bfloat16()
    theirs, their_gradient = (x.permute(0, 4, 1, 2, 3).contiguous() for x in (rows, gradient))
    calls: dict[str, Callable[[], object]] = {
        "copy": lambda: rows.clone(),
        "pytorch_forward": lambda: F.conv3d(theirs, half, None, 1, 1, groups=channels),
        "pytorch_tap_gradient": lambda: torch.ops.aten.convolution_backward(
            their_gradient, theirs, half, None, [1] * 3, [1] * 3, [1] * 3,
            False, [0] * 3, channels, [False, True, False],
        ),
    }  # fmt: skip
    if kernels.backend(device.device, channels) == "triton":
        from oarfuse.models.kernels import depthwise, norm

        small = gradient[:, ::2, ::2, ::2].contiguous()
        weight, bias = (torch.randn(channels, device=device.device) for _ in range(2))
        moments = norm._instance_norm(rows, weight, bias, 1e-5, True)[1]
        back = depthwise.depthwise_conv3d_input_gradient
        calls |= {
            "forward": lambda: depthwise.depthwise_conv3d(rows, taps, None, 1),
            "input_gradient": lambda: back(gradient, taps, list(volume), 1),
            "tap_gradient": lambda: depthwise.depthwise_conv3d_tap_gradient(gradient, rows, 1),
            "halving": lambda: depthwise.depthwise_conv3d(rows, taps, None, 2),
            "halving_input_gradient": lambda: back(small, taps, list(volume), 2),
            "halving_tap_gradient": lambda: depthwise.depthwise_conv3d_tap_gradient(small, rows, 2),
            "norm": lambda: norm._instance_norm(rows, weight, bias, 1e-5, True),
            "norm_gradient": lambda: norm._instance_norm_backward(
                gradient, rows, weight, bias, moments, True
            ),
        }
    row = {"batch": batch, "channels": channels, "sides": list(volume)}
    return row | {name: device.kernel_milliseconds(call) for name, call in calls.items()}


def prepare_step(device: Device, side: Side) -> Callable[[], object]:
    """Return a function that does one training step of a side on a random batch."""
    name, options, batch, precision, mode = side
    torch.manual_seed(0)
    network = build_model(name, **options).to(device.device)
    fabric = Fabric(accelerator=device.device.type, devices=1, precision=precision)
    step = TrainStep(
        fabric,
        network,
        deep_supervision_loss(),
        ema_decay=0.999,
        mode=mode if device.cuda else "eager",
    )
    step.setup()
    image = torch.rand(batch, 1, *device.patch, device=device.device)
    label = torch.randint(0, 6, image.shape, device=device.device)
    return partial(step, image, label, 1e-3)


def measure_step(device: Device, side: Side) -> dict[str, Any]:
    name, options, batch, precision, mode = side
    row = {"model": name, **options, "batch": batch, "precision": precision, "mode": mode}
    step = prepare_step(device, side)
    if device.cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    for _ in range(5):  # kernels are chosen, compiled and recorded in these
        step()
    device.wait()
    row["seconds_to_begin"] = time.perf_counter() - start
    row["milliseconds"] = device.milliseconds(step)
    if device.cuda:
        row["peak_mib"] = torch.cuda.max_memory_allocated() / 2**20
    return row


def profile_step(device: Device, name: str, mode: StepMode) -> list[dict[str, Any]]:
    """Return the kernels of a step that take longest, with their share of the device's time."""
    step = prepare_step(device, (name, {}, 8, "bf16-mixed", mode))
    for _ in range(6):
        step()
    device.wait()
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profiler:
        for _ in range(3):
            step()
        device.wait()
    events = [e for e in profiler.key_averages() if e.device_type != torch.autograd.DeviceType.CPU]
    events.sort(key=lambda event: -event.self_device_time_total)
    return [
        {
            "kernel": event.key[:120],
            "calls": event.count / 3,
            "milliseconds": event.self_device_time_total / 3000,
        }
        for event in events[:45]
    ] + [{"kernel": "all", "calls": sum(e.count for e in events) / 3,
          "milliseconds": sum(e.self_device_time_total for e in events) / 3000}]  # fmt: skip


def measure_prediction(device: Device, data: Path | None) -> list[dict[str, Any]]:
    """One CT of 128^3: a validation patient where there is one, else a body of noise."""
    sides = (32, 32, 32) if device.smoke else (128, 128, 128)
    image = np.random.default_rng(0).normal(0, 100, sides).astype(np.int16)
    if data is not None and not device.smoke:
        image = load_case(load_manifest(data).split("validation")[0]).image
    found = []
    for name in PROPOSED[:1] if device.smoke else (*PROPOSED, "dynunet"):
        info = ModelInfo(
            name,
            "openkbp",
            OPENKBP.window_hu,
            device.patch,
            (3, 4, 4),
            ((2, 3, 3), (5, 5, 5)),
            False,
        )
        network = info.build().to(device.device)
        times = device.milliseconds(
            partial(predict_labels, network, image, info, device=device.device), repeats=5
        )
        found.append({"model": name, "sides": list(image.shape), "milliseconds": times})
    return found


def measure_feeding(device: Device, data: Path | None) -> dict[str, Any]:
    """Patches a second from volumes on the device, batches of 8, augmented."""
    if data is None:
        return {}
    manifest = load_manifest(data)
    cases = manifest.split("train")[: 4 if device.smoke else None]
    patches = PatchDataset(cases, manifest.spec, device.patch, length=10**6, seed=0)
    start = time.perf_counter()
    resident = ResidentPatches(patches, device.device)
    device.wait()
    loading = time.perf_counter() - start
    numbers = iter(range(10**6))
    host: list[float] = []

    def batch() -> None:
        begun = time.perf_counter()
        resident.batch([next(numbers) for _ in range(8)])
        host.append(time.perf_counter() - begun)

    milliseconds = device.milliseconds(batch, repeats=5 if device.smoke else 40)
    return {
        "cases": len(cases),
        "seconds_to_upload": loading,
        "milliseconds_a_batch_of_8": milliseconds,
        "host_milliseconds_a_batch_of_8": 1000 * statistics.median(host),
        "patches_a_second": 8000 / milliseconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ("kernels", "steps", "compiled", "prediction", "feeding", "profile")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--models", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--data", type=Path, help="prepared folder, for prediction and feeding")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    device = Device(options.smoke)
    found = json.loads(options.output.read_text()) if options.output.exists() else {}
    found |= {"smoke": options.smoke, "environment": environment(device.device)}

    def keep(name: str, value: Any) -> None:
        found[name] = value
        write_json(options.output, found)
        print(name, json.dumps(value)[:4000], flush=True)

    if "kernels" in options.only:
        keep("kernels", measure_kernels(device))
    for part, chosen in (("steps", sides()), ("compiled", compiled_sides())):
        if part in options.only:
            rows: list[dict[str, Any]] = []
            for side in chosen:
                if side[0] not in options.models or (options.smoke and side[:3] != SMOKE_SIDE):
                    continue
                try:
                    rows.append(measure_step(device, side))
                except Exception as error:
                    rows.append({"side": repr(side), "error": repr(error)[:500]})
                found[part] = rows
                write_json(options.output, found)
                print(json.dumps(rows[-1]), flush=True)
    if "prediction" in options.only:
        keep("prediction", measure_prediction(device, options.data))
    if "feeding" in options.only:
        keep("feeding", measure_feeding(device, options.data))
    if "profile" in options.only and device.cuda:
        for row in profile_step(device, "oarfocalfusenet", "graph"):
            print(f"{row['milliseconds']:8.3f} {row['calls']:7.1f} {row['kernel']}", flush=True)


if __name__ == "__main__":
    main()
