"""What one busy neighbour costs a training step, with and without a core left to it.

    python benchmarks/neighbour.py            # 4 minutes on 2 cores with nothing else running
    python benchmarks/neighbour.py --smoke    # one short round: does it still run?

`oarfuse.devices.sharing_cores`, which training and prediction use, against nothing, and against
other ways in which OpenMP's idle threads wait. Each side is a process of its own, because OpenMP
reads its settings once, when PyTorch is loaded: the median time of a step of OARFocalFuseNet (width
8, one patch of 64x48x48), first alone, then beside a process that keeps one core busy. Results go
to ``benchmarks/results/neighbour.json``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from oarfuse.files import write_json
from oarfuse.provenance import environment

RESULTS = Path(__file__).parent / "results" / "neighbour.json"
SIDES: dict[str, dict[str, str]] = {
    "sharing": {"SHARING": "1"},
    "nothing set": {},
    "OpenMP's default": {"GOMP_SPINCOUNT": "300000"},
    "spin 1000": {"GOMP_SPINCOUNT": "1000"},
    "spin 10000": {"GOMP_SPINCOUNT": "10000"},
    "spin 30000": {"GOMP_SPINCOUNT": "30000"},
    "never spin": {"GOMP_SPINCOUNT": "0"},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
STEP = """
import os, statistics, sys, time
import oarfuse
import torch
from oarfuse.losses import dice_cross_entropy
from oarfuse.devices import autocast, keep_freed_memory, sharing_cores
keep_freed_memory()
torch.manual_seed(0)
network = oarfuse.build_model("oarfocalfusenet", width=8)
optimizer = torch.optim.Adam(network.parameters())
loss_function = dice_cross_entropy()
image, label = torch.rand(1, 1, 64, 48, 48), torch.randint(0, 6, (1, 1, 64, 48, 48))
times = []
with sharing_cores(torch.device("cpu" if os.environ.get("SHARING") else "meta")) as look:
    while len(times) < 2 or sum(times) < float(sys.argv[1]):
        start = time.perf_counter()
        with autocast(torch.device("cpu")):
            logits = network(image)
        loss = loss_function(logits.float(), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        look()
        times.append(time.perf_counter() - start)
print(statistics.median(times[1:]))
"""


def seconds(settings: dict[str, str], duration: float) -> float:
    prefixes = ("OMP", "GOMP")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(prefixes)}
    done = subprocess.run(
        [sys.executable, "-c", STEP, str(duration)],
        env=clean | settings,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    duration = 0.1 if options.smoke else 6.0
    rows = []
    for name, settings in list(SIDES.items())[: 1 if options.smoke else None]:
        alone = seconds(settings, duration)
        neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            beside = seconds(settings, duration)
        finally:
            neighbour.kill()
            neighbour.wait()
        rows.append({"side": name, "alone": alone, "beside": beside, "times": beside / alone})
        print(f"{name:20} {alone:.3f} s alone, {beside:.3f} s beside, {beside / alone:.1f} times")
    if not options.smoke:
        write_json(RESULTS, {"rows": rows, "environment": environment()})


if __name__ == "__main__":
    main()
