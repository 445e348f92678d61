"""Preparation, training loader and prediction: seconds a patient, waiting share, seconds a CT.

    python benchmarks/pipeline.py --source open-kbp.zip --weights weights/NAME.safetensors
    python benchmarks/pipeline.py --smoke         # on a phantom, small: does it still run?

- *prepare*: `prepare_openkbp` with two workers into an empty folder, and again with nothing to do.
- *loader*: a short training run; the share of a step's time that it waits for its batch.
- *predict*: `predict_labels` for 128^3 CTs of the validation split, cropped to the body and not, in
  turns, with the share of voxels on which the two agree. They differ where windows fall elsewhere:
  instance normalisation sees another neighbourhood.

Results go to ``benchmarks/results/pipeline.json``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from oarfuse import inference
from oarfuse.config import TrainConfig
from oarfuse.course.material import PHANTOM_TRAIN
from oarfuse.course.timing import spread
from oarfuse.data import load_case, load_manifest, prepare_openkbp
from oarfuse.files import write_json
from oarfuse.phantom import make_phantom
from oarfuse.provenance import environment
from oarfuse.training import train
from oarfuse.weights import load_weights

RESULTS = Path(__file__).parent / "results" / "pipeline.json"


def measure_prepare(source: Path, folder: Path) -> dict[str, Any]:
    began = time.perf_counter()
    manifest = prepare_openkbp(source, folder, workers=2, progress=False)
    first = time.perf_counter() - began
    began = time.perf_counter()
    prepare_openkbp(source, folder, workers=2, progress=False)
    return {
        "patients": len(manifest.cases),
        "seconds_a_patient": first / len(manifest.cases),
        "seconds_of_a_rerun": time.perf_counter() - began,
    }


def measure_loader(data: Path, run: Path, steps: int, recipe: dict[str, Any]) -> dict[str, Any]:
    options = {**recipe, "steps": steps, "validate_every": steps, "checkpoint_every": steps}
    train(TrainConfig(data=str(data), output=str(run), **options), progress=False)
    log = pd.read_csv(run / "log.csv").iloc[1:]  # the first row holds the start of the worker
    cases = load_manifest(data).split("train")
    labelled = sum(sum(case.voxels.values()) for case in cases)
    voxels = sum(int(np.prod(case.shape)) for case in cases)
    return {
        "share_of_a_step_spent_waiting": float(log["wait"].sum() / log["seconds"].sum()),
        "seconds_a_step": float(log["seconds"].median()),
        "cache_mebibytes": (3 * voxels + 4 * labelled) / 2**20,
        "training_patients": len(cases),
    }


def measure_predict(data: Path, weights: Path, count: int) -> dict[str, Any]:
    model, info = load_weights(weights)
    volumes = [load_case(case) for case in load_manifest(data).split("validation")[:count]]
    inference.predict_labels(model, volumes[0].image, info, device="cpu")
    seconds: dict[str, list[float]] = {"cropped": [], "cropped, no overlap": [], "whole": []}
    agreement = []
    for volume in volumes:
        found = {}
        for way in seconds:
            overlap = 0.0 if "no overlap" in way else 0.5
            box = tuple(slice(0, side) for side in volume.image.shape)
            uncropped = mock.patch.object(inference, "body_box", return_value=box)
            began = time.perf_counter()
            with uncropped if way == "whole" else nullcontext():
                found[way] = inference.predict_labels(
                    model, volume.image, info, overlap=overlap, device="cpu"
                )
            seconds[way].append(time.perf_counter() - began)
        either = (found["cropped"] > 0) | (found["whole"] > 0)
        agreement.append(float((found["cropped"] == found["whole"])[either].mean()))
    return {
        "volumes": len(volumes),
        "shape": volumes[0].image.shape,
        "seconds": {way: spread(values) for way, values in seconds.items()},
        "agreement_of_cropped_and_whole_on_organ_voxels": spread(agreement),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, help="OpenKBP's ZIP or folder")
    parser.add_argument("--weights", type=Path, help="weights for the prediction")
    parser.add_argument("--smoke", action="store_true", help="phantom, small, nothing written")
    options = parser.parse_args()
    if not options.smoke and not (options.source and options.weights):
        parser.error("give --source and --weights, or --smoke")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        source, recipe, steps, count = options.source, {}, 60, 10
        if options.smoke:
            source = make_phantom(folder / "phantom", train=2, validation=1, test=0)
            recipe, steps, count = dict(PHANTOM_TRAIN), 20, 1
        found = {"prepare": measure_prepare(source, folder / "data")}
        found["loader"] = measure_loader(folder / "data", folder / "run", steps, recipe)
        weights = options.weights or folder / "run" / "weights.safetensors"
        found["predict"] = measure_predict(folder / "data", weights, count)
    for name, figures in found.items():
        print(name, figures)
    if options.smoke:
        print("smoke run: nothing was written")
    else:
        write_json(RESULTS, {"environment": environment(), **found})


if __name__ == "__main__":
    main()
