"""How fast `oarfuse.metrics` scores a case, beside the libraries that people use for it.

    python benchmarks/metrics.py                     # synthetic organs
    python benchmarks/metrics.py --data PREPARED     # and a real five-organ case
    python benchmarks/metrics.py --smoke             # small and short: does it still run?

All sides run in this one process, alternately, on the same arrays. Each side produces every
output of `case_metrics` that its library can give, in voxels and in mm, with as many calls as
that library needs. The table prints medians, the range, and the ratio to ours: by the clock, and
by the processor time of all threads, which other work on the machine disturbs less. The results
go to `benchmarks/results/metrics.json`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import edt
import numpy as np
import SimpleITK as sitk
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
    compute_surface_dice,
)
from monai.networks.utils import one_hot
from scipy import ndimage
from scipy.spatial import cKDTree

from oarfuse.files import write_json
from oarfuse.metrics import case_metrics, distance_sets, surface
from oarfuse.provenance import environment, usable_cores

RESULTS = Path(__file__).parent / "results" / "metrics.json"
TOLERANCE_MM = 2.0
BUDGET_SECONDS = 60.0

Timings = dict[str, list[tuple[float, float]]]  # side -> (elapsed, processor) seconds


@dataclass(frozen=True)
class Pair:
    """A truth, a prediction, and what scoring them needs."""

    name: str
    prediction: np.ndarray  # (D, H, W) uint8
    truth: np.ndarray
    spacing_mm: tuple[float, float, float]

    @property
    def labels(self) -> list[int]:
        return sorted(set(np.unique(self.truth).tolist()) - {0})


def smooth_noise(shape: tuple[int, ...], seed: int, coarse: int = 8) -> np.ndarray:
    """Return smooth noise of standard deviation 1: random numbers on a coarse grid, enlarged."""
    small = [-(-n // coarse) + 1 for n in shape]
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(small), 2)
    grown = ndimage.zoom(noise, coarse, order=1)[tuple(slice(n) for n in shape)]
    return grown / grown.std()


def blob(shape: tuple[int, ...], centre: tuple, radii: tuple, seed: int) -> np.ndarray:
    """Return an ellipsoid with an uneven surface, so that two seeds overlap at a DSC near 0.9."""
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    radius = sum(((x - c) / r) ** 2 for x, c, r in zip(axes, centre, radii, strict=True))
    return radius + 0.1 * smooth_noise(shape, seed) < 1


def five_organs(side: int = 128) -> Pair:
    """Return five ellipsoids as large as OpenKBP's organs, in a cubic volume of `side` voxels."""
    middle = side // 2
    organs = {  # label: (centre relative to the middle, radii), in voxels
        1: ((30, 0, 0), (9, 5, 5)),
        2: ((-15, 6, 0), (33, 2, 2)),
        3: ((12, -2, -16), (9, 5, 5)),
        4: ((12, -2, 16), (9, 5, 5)),
        5: ((0, -16, 0), (10, 8, 12)),
    }
    volumes = []
    for seed in (0, 10):
        labels = np.zeros((side,) * 3, np.uint8)
        for label, (offset, radii) in organs.items():
            centre = tuple(middle + o for o in offset)
            labels[blob(labels.shape, centre, radii, seed + label)] = label
        volumes.append(labels)
    return Pair(f"five organs, {side}^3", volumes[0], volumes[1], (2.5, 3.9, 3.9))


def large_organ(shape: tuple[int, int, int] = (150, 512, 512)) -> Pair:
    """Return a liver-sized ellipsoid in an abdominal CT's grid."""
    centre = tuple(n / 2 for n in shape)
    radii = tuple(n * share for n, share in zip(shape, (0.33, 0.18, 0.21), strict=True))
    truth, prediction = (blob(shape, centre, radii, seed).astype(np.uint8) for seed in (1, 2))
    size = "x".join(str(n) for n in reversed(shape))
    return Pair(f"one large organ, {size}", prediction, truth, (3.0, 0.8, 0.8))


def real_case(prepared: Path) -> Pair:
    """Return the first validation case; its prediction is the truth, smoothly deformed."""
    from oarfuse.data import load_case, load_manifest

    case = load_manifest(prepared).split("validation")[0]
    truth = load_case(case).label
    grid = np.indices(truth.shape, dtype=np.float32)
    moved = grid + np.stack([0.8 * smooth_noise(truth.shape, seed) for seed in range(3)])
    prediction = ndimage.map_coordinates(truth, moved, order=0).astype(np.uint8)
    return Pair("a real OpenKBP case, 128^3", prediction, truth, case.spacing_mm)


# The sides. Each returns {output: one value per label} for the outputs that its library has.


def ours(pair: Pair) -> dict[str, list[float]]:
    scores = case_metrics(
        pair.prediction, pair.truth, pair.labels, pair.spacing_mm, tolerance_mm=TOLERANCE_MM
    )
    names = [name for name in next(iter(scores.values())).__dict__ if name != "missed"]
    return {name: [getattr(score, name) for score in scores.values()] for name in names}


def with_monai(pair: Pair) -> dict[str, list[float]]:
    classes = max(pair.labels) + 1
    # (1, classes, D, H, W), as MONAI's functions take them
    y_pred, y = (
        one_hot(torch.from_numpy(labels)[None, None], classes)
        for labels in (pair.prediction, pair.truth)
    )
    result: dict[str, Any] = {"dsc": compute_dice(y_pred, y, include_background=False)}
    for unit, spacing in (("vox", None), ("mm", pair.spacing_mm)):
        result[f"hd_{unit}"] = compute_hausdorff_distance(y_pred, y, spacing=spacing)
        result[f"hd95_{unit}"] = compute_hausdorff_distance(
            y_pred, y, percentile=95, spacing=spacing
        )
        result[f"asd_{unit}"] = compute_average_surface_distance(y_pred, y, spacing=spacing)
        result[f"assd_{unit}"] = compute_average_surface_distance(
            y_pred, y, symmetric=True, spacing=spacing
        )
    result["surface_dice"] = compute_surface_dice(
        y_pred, y, [TOLERANCE_MM] * (classes - 1), spacing=pair.spacing_mm
    )
    return {name: values[0].tolist() for name, values in result.items()}


def with_simpleitk(pair: Pair) -> dict[str, list[float]]:
    """Score by distance maps of the label contours, SimpleITK's documented recipe."""
    result: dict[str, list[float]] = {}
    for label in pair.labels:
        for unit, spacing in (("vox", (1.0, 1.0, 1.0)), ("mm", pair.spacing_mm)):
            contours = []
            for labels in (pair.prediction, pair.truth):
                image = sitk.GetImageFromArray(labels) == label
                image.SetSpacing(spacing[::-1])
                contours.append(sitk.LabelContour(image, fullyConnected=False))
            sets = []
            for here, there in (contours, contours[::-1]):
                distance = sitk.SignedMaurerDistanceMap(
                    there, squaredDistance=False, useImageSpacing=True
                )
                marked = sitk.GetArrayViewFromImage(here) > 0
                # Negative inside the contour, where it is several voxels thick: 0 for us.
                sets.append(np.maximum(sitk.GetArrayViewFromImage(distance)[marked], 0))
            both = np.concatenate(sets)
            result.setdefault(f"hd_{unit}", []).append(both.max())
            result.setdefault(f"hd95_{unit}", []).append(max(np.percentile(s, 95) for s in sets))
            result.setdefault(f"asd_{unit}", []).append(sets[0].mean())
            result.setdefault(f"assd_{unit}", []).append(both.mean())
    return result


def with_deepmind(pair: Pair) -> dict[str, list[float]]:
    """Its surface lies between voxels and is weighted by area: other values, for time only."""
    import surface_distance as sd

    result: dict[str, list[float]] = {}
    for label in pair.labels:
        prediction, truth = pair.prediction == label, pair.truth == label
        for unit, spacing in (("vox", (1.0, 1.0, 1.0)), ("mm", pair.spacing_mm)):
            found = sd.compute_surface_distances(truth, prediction, spacing)
            for name, percent in (("hd", 100), ("hd95", 95)):
                value = sd.compute_robust_hausdorff(found, percent)
                result.setdefault(f"{name}_{unit} (area)", []).append(value)
            average = sd.compute_average_surface_distance(found)[1]
            result.setdefault(f"asd_{unit} (area)", []).append(average)
    return result


def with_medpy(pair: Pair) -> dict[str, list[float]]:
    from medpy.metric import binary

    result: dict[str, list[float]] = {}
    for label in pair.labels:
        prediction, truth = pair.prediction == label, pair.truth == label
        for unit, spacing in (("vox", None), ("mm", pair.spacing_mm)):
            for name in ("hd", "asd"):  # its hd95 pools both directions and its assd differs
                value = getattr(binary, name)(prediction, truth, spacing)
                result.setdefault(f"{name}_{unit}", []).append(value)
    return result


SIDES: dict[str, Callable[[Pair], dict[str, list[float]]]] = {
    "oarfuse": ours,
    "MONAI": with_monai,
    "SimpleITK": with_simpleitk,
}
for module, name, side in (
    ("surface_distance", "DeepMind surface-distance", with_deepmind),
    ("medpy", "MedPy", with_medpy),
):
    if importlib.util.find_spec(module):
        SIDES[name] = side


def run_alternately(
    sides: dict[str, Callable[[], Any]], repeats: int
) -> tuple[Timings, dict[str, Any]]:
    """Return (elapsed, processor) seconds per side and run, and each side's result.

    The first round is not counted where more than one fits into `BUDGET_SECONDS`.
    """
    results: dict[str, Any] = {}
    seconds: Timings = {name: [] for name in sides}
    begun = time.perf_counter()
    for _ in range(repeats + 1):
        for name, side in sides.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            results[name] = side()
            elapsed = time.perf_counter() - start
            seconds[name].append((elapsed, time.process_time() - start_cpu))
        if time.perf_counter() - begun > BUDGET_SECONDS:
            break
    warm = {name: runs[1:] or runs for name, runs in seconds.items()}
    return warm, results


def table(title: str, seconds: Timings, reference: str) -> dict[str, Any]:
    """Print one comparison and return it for the results file."""
    print(f"\n{title}")
    rows = {}
    for name, runs in seconds.items():
        row: dict[str, Any] = {"runs": len(runs)}
        for clock, which in (("elapsed", 0), ("processor", 1)):
            own = [run[which] for run in runs]
            # Runs are paired: each ratio is of two runs that followed each other.
            ratios = [run / base[which] for run, base in zip(own, seconds[reference], strict=True)]
            row[f"{clock}_ms"] = round(statistics.median(own) * 1e3, 3)
            row[f"{clock}_ms_range"] = [round(f(own) * 1e3, 3) for f in (min, max)]
            row[f"{clock}_ratio"] = round(statistics.median(ratios), 2)
            row[f"{clock}_ratio_range"] = [round(f(ratios), 2) for f in (min, max)]
        rows[name] = row
        low, high = row["elapsed_ratio_range"]
        print(
            f"  {name:32s} {row['elapsed_ms']:10.2f} ms {row['elapsed_ratio']:8.2f} x "
            f"({low:.2f} to {high:.2f})   processor {row['processor_ms']:10.2f} ms "
            f"{row['processor_ratio']:8.2f} x   {len(runs)} runs"
        )
    return rows


def compare(pair: Pair, repeats: int) -> dict[str, Any]:
    """Time every library on a pair and state how far its values lie from ours."""
    # MedPy transforms the whole volume eight times, which takes minutes on a large one.
    names = [name for name in SIDES if name != "MedPy" or pair.truth.size < 5_000_000]
    sides: dict[str, Callable[[], Any]] = {name: partial(SIDES[name], pair) for name in names}
    seconds, results = run_alternately(sides, repeats)
    rows = table(pair.name, seconds, "oarfuse")
    for name, values in results.items():
        shared = [key for key in values if key in results["oarfuse"]]
        if name == "oarfuse" or not shared:
            continue
        difference = max(
            float(np.abs(np.subtract(values[key], results["oarfuse"][key])).max()) for key in shared
        )
        rows[name]["shared_outputs"] = len(shared)
        rows[name]["largest_difference"] = difference
        print(f"  {name}: {len(shared)} shared outputs, largest difference {difference:.2g}")
    return rows


def compare_engines(pair: Pair, repeats: int) -> dict[str, Any]:
    """Time three ways to find the same surface distances (mm) on the organ's own box."""
    label = pair.labels[-1]
    used = np.nonzero((pair.prediction == label) | (pair.truth == label))
    box = tuple(slice(axis.min(), axis.max() + 1) for axis in used)
    surfaces = [surface(labels[box] == label) for labels in (pair.prediction, pair.truth)]
    spacing = pair.spacing_mm

    def both_ways(transform: Callable[[np.ndarray], np.ndarray]) -> list[np.ndarray]:
        here, there = surfaces
        return [transform(~there)[here], transform(~here)[there]]

    def tree() -> list[np.ndarray]:
        here, there = (np.argwhere(marked) * spacing for marked in surfaces)
        return [cKDTree(there).query(here)[0], cKDTree(here).query(there)[0]]

    sides: dict[str, Callable[[], Any]] = {
        "k-d tree, all surface voxels": tree,
        "oarfuse (tree, apart ones only)": lambda: distance_sets(
            pair.prediction[box] == label, pair.truth[box] == label, spacing
        ),
        "edt": lambda: both_ways(lambda free: edt.edt(free, anisotropy=spacing, parallel=1)),
        "SciPy distance_transform_edt": lambda: both_ways(
            lambda free: ndimage.distance_transform_edt(free, sampling=spacing)
        ),
    }
    seconds, results = run_alternately(sides, repeats)
    for found in results.values():
        for one, other in zip(found, results["k-d tree, all surface voxels"], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5)
    return table(
        f"distances only, label {label} of {pair.name}", seconds, "oarfuse (tree, apart ones only)"
    )


def compare_growth(sides: list[int], repeats: int) -> dict[str, Any]:
    """Time the same five organs in ever larger volumes."""
    pairs = {f"{side}^3": five_organs(side) for side in sides}
    runs: dict[str, Callable[[], Any]] = {name: partial(ours, pair) for name, pair in pairs.items()}
    seconds, _ = run_alternately(runs, repeats)
    return table("the same five organs in a larger volume", seconds, next(iter(pairs)))


def compare_pools(pair: Pair, cases: int, repeats: int) -> dict[str, Any]:
    """Time the scoring of many cases one by one, on threads and on processes."""
    pairs = [pair] * cases
    workers = usable_cores()
    with ThreadPoolExecutor(workers) as threads, ProcessPoolExecutor(workers) as processes:
        sides = {
            "one by one": lambda: [ours(item) for item in pairs],
            f"{workers} threads": lambda: list(threads.map(ours, pairs)),
            f"{workers} processes": lambda: list(processes.map(ours, pairs)),
        }
        seconds, _ = run_alternately(sides, repeats)
    title = f"{cases} cases ({pair.name}); processor time of this process only"
    return table(title, seconds, "one by one")


def machine() -> dict[str, Any]:
    """Return the kit's own record of the machine, the rivals' versions, and how busy it was."""
    record = environment()
    for package in ("edt", "SimpleITK", "MedPy", "surface-distance-based-measures"):
        try:
            record["versions"][package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            record["versions"][package] = "not installed"
    return {**record, "load_average_before": round(os.getloadavg()[0], 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a prepared OpenKBP folder")
    parser.add_argument("--smoke", action="store_true", help="small sizes, one run, no file")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()

    report: dict[str, Any] = {"machine": machine()}
    print(report["machine"])
    repeats, growth = 9, [128, 192, 256, 384]
    if arguments.smoke:
        small, large = five_organs(80), large_organ((24, 96, 96))
        repeats, growth = 1, [80, 96]
    else:
        small, large = five_organs(), large_organ()
    report["five_organs"] = compare(small, repeats)
    if arguments.data:
        report["real_case"] = compare(real_case(arguments.data), repeats)
    report["large_organ"] = compare(large, min(repeats, 3))
    report["engines_small"] = compare_engines(small, repeats)
    report["engines_large"] = compare_engines(large, min(repeats, 3))
    report["growth"] = compare_growth(growth, repeats)
    report["pools"] = compare_pools(small, 4 if arguments.smoke else 40, min(repeats, 5))
    if arguments.smoke:
        print("\nsmoke run: no results file")
        return
    write_json(arguments.output, report)
    print(f"\nwrote {arguments.output}", file=sys.stderr)


if __name__ == "__main__":
    main()
