"""How much memory the prediction of a large CT takes on a CPU.

    python benchmarks/memory.py            # 512 x 512 x 400 voxels: some ten minutes on 2 cores
    python benchmarks/memory.py --smoke    # a small one: does it still run?

An untrained OARFocalFuseNet of nine classes, windows of 96^3 side by side, averaged with the
mirrored volume, the largest piece of each organ kept. How far windows overlap changes the time and
not the memory. The result goes to ``benchmarks/results/memory.json``.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from oarfuse.files import write_json
from oarfuse.inference import predict_any_spacing
from oarfuse.organs import SYNAPSE
from oarfuse.provenance import environment
from oarfuse.weights import ModelInfo

RESULTS = Path(__file__).parent / "results" / "memory.json"
SPACING_MM = (1.0, 0.8, 0.8)
# Left and right kidney trade places: no data set of the kit has nine classes and is mirrored.
SPEC = replace(SYNAPSE, mirror_pairs=((3, 4),))
INFO = ModelInfo(
    model="oarfocalfusenet",
    dataset="synapse",
    window_hu=SYNAPSE.window_hu,
    patch_size=(96, 96, 96),
    spacing_mm=SPACING_MM,
    spacing_range_mm=(SPACING_MM, SPACING_MM),
    phantom=False,
)


def peak_gib() -> float:
    """Return the most memory that this process has held, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    sides = (16, 100, 100) if options.smoke else (400, 512, 512)
    torch.manual_seed(0)
    image = np.random.default_rng(0).integers(-200, 400, sides, dtype=np.int16)
    model, before, start = INFO.build(), peak_gib(), time.perf_counter()
    with patch("oarfuse.weights.get_spec", lambda _: SPEC):
        labels = predict_any_spacing(
            model, image, SPACING_MM, INFO, mirror=True, overlap=0.0, device="cpu"
        )
    found = {
        "sides": sides,
        "classes": SPEC.num_classes,
        "minutes": (time.perf_counter() - start) / 60,
        "gib_before": before,
        "gib_peak": peak_gib(),
    }
    assert labels.shape == sides
    print(f"{found['gib_peak']:.2f} GiB at most, {before:.2f} of them before")
    if not options.smoke:
        write_json(RESULTS, found | {"environment": environment()})


if __name__ == "__main__":
    main()
