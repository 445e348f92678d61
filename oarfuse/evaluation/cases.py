"""Score cases in four variants, several at once, and keep each finished one on disk."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from oarfuse.data import leaking_slices, load_case
from oarfuse.errors import OarfuseError
from oarfuse.evaluation.folder import CASES
from oarfuse.evaluation.statistics import MORE_COLUMNS
from oarfuse.evaluation.synapse_scorer import transunet_rows
from oarfuse.evaluation.variants import VARIANTS
from oarfuse.files import sha256, write_json
from oarfuse.metrics import case_metrics
from oarfuse.organs import DatasetSpec
from oarfuse.postprocess import keep_largest_component
from oarfuse.provenance import usable_cores

if TYPE_CHECKING:
    from oarfuse.data import Case, Volume

SURFACE_DICE_TOLERANCE_MM = 2.0


def score_case(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing_mm: Sequence[float],
    spec: DatasetSpec,
    *,
    case: str,
    leaking: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """Score one case in all variants.

    Parameters
    ----------
    prediction, truth
        (D, H, W) integer label volumes on the same grid.
    spacing_mm
        Voxel size in mm along (D, H, W).
    spec
        The data set, for its organs.
    case
        The name that the rows carry.
    leaking
        (D,) bool, the slices to leave out in the ``no_leak`` variants; none if omitted.

    Returns
    -------
    list of dict
        One row per variant and organ with the keys `MORE_COLUMNS`.

    Raises
    ------
    OarfuseError
        As `oarfuse.metrics.case_metrics` does, or if the prediction holds an unknown label.
    """
    prediction = np.asarray(prediction)
    check_labels(prediction, spec, f"The prediction for {case}")
    rows: list[dict[str, Any]] = []
    cut = leaking is not None and bool(np.any(leaking))
    raw, largest, raw_no_leak, largest_no_leak = VARIANTS
    cleaned = keep_largest_component(prediction, spec.num_classes)
    for labels, whole, without in (
        (prediction, raw, raw_no_leak),
        (cleaned, largest, largest_no_leak),
    ):
        scored = organ_rows(labels, truth, spacing_mm, spec)
        rows += [{"case": case, "variant": whole, **row} for row in scored]
        if cut:
            scored = organ_rows(
                _without_slices(labels, leaking), _without_slices(truth, leaking), spacing_mm, spec
            )
        rows += [{"case": case, "variant": without, **row} for row in scored]
    return [{column: row[column] for column in MORE_COLUMNS} for row in rows]


def check_labels(labels: np.ndarray, spec: DatasetSpec, whose: str) -> None:
    """Raise `OarfuseError` if a label volume holds values that the data set does not have."""
    if labels.size and not 0 <= labels.min() <= labels.max() < spec.num_classes:
        raise OarfuseError(
            f"{whose} holds labels from {labels.min()} to {labels.max()}: {spec.title} has the "
            f"labels 0 to {spec.num_classes - 1}."
        )


def organ_rows(
    prediction: np.ndarray, truth: np.ndarray, spacing_mm: Sequence[float], spec: DatasetSpec
) -> list[dict[str, Any]]:
    """Score the organs of two (D, H, W) label volumes: a row each, in the data set's order."""
    labels = [organ.label for organ in spec.organs]
    scores = case_metrics(
        prediction, truth, labels, spacing_mm, tolerance_mm=SURFACE_DICE_TOLERANCE_MM
    )
    rows = []
    for organ in spec.organs:
        row = dataclasses.asdict(scores[organ.label])
        row["surface_dice_2mm"] = row.pop("surface_dice")
        rows.append({"organ": organ.name, **row})
    return rows


def _without_slices(labels: np.ndarray, leaking: np.ndarray | None) -> np.ndarray:
    kept = labels.copy()
    kept[leaking] = 0
    return kept


def run_cases(
    cases: Sequence[Case],
    spec: DatasetSpec,
    output: Path,
    predict: Callable[[Volume], np.ndarray],
    *,
    progress: bool,
    ahead: bool,
    saved: Callable[[Case], Path | None] = lambda case: None,
) -> None:
    """Score the cases that the folder does not hold yet, each as soon as it is predicted.

    `saved` names the file to which `predict` writes its labels, if it does: a case whose file is
    gone is predicted again, and a file that is not what was written there is an `OarfuseError`.

    With `ahead` the predictions are made here, one after the other because a network uses every
    core or the one GPU, while a thread scores the case before. Otherwise whole cases run on
    threads: decompression and the nearest-neighbour searches work outside Python's lock, and a
    case takes too little (tens of milliseconds) to repay the start of processes.
    """
    waiting = [case for case in cases if not _is_done(output, case, saved(case))]
    workers = 1 if ahead else usable_cores()
    pending: deque[Future[None]] = deque()
    bar = tqdm(total=len(cases), initial=len(cases) - len(waiting), disable=not progress)
    with bar, ThreadPoolExecutor(workers) as pool:
        try:
            for case in waiting:
                if ahead:
                    volume = load_case(case)
                    start = time.perf_counter()
                    labels = predict(volume)
                    seconds = time.perf_counter() - start
                    pending.append(
                        pool.submit(
                            _score_and_store, volume, labels, spec, output, seconds, saved(case)
                        )
                    )
                else:
                    pending.append(pool.submit(_read_and_store, case, predict, spec, output))
                while len(pending) > 2 * workers:  # bound the volumes that wait in memory
                    pending.popleft().result()
                    bar.update()
            while pending:
                pending.popleft().result()
                bar.update()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _is_done(output: Path, case: Case, saved: Path | None) -> bool:
    stored = stored_case(output, case)
    if stored is None or saved is None:
        return stored is not None
    if not saved.is_file():
        return False
    known = stored.get("prediction_sha256")
    if known is None:  # scored without being saved, so that the file is of an earlier moment
        return False
    if sha256(saved) != known:
        raise OarfuseError(
            f"{saved} was changed after this evaluation wrote it: move it away, or choose another "
            "output folder."
        )
    return True


def _read_and_store(
    case: Case, predict: Callable[[Volume], np.ndarray], spec: DatasetSpec, output: Path
) -> None:
    volume = load_case(case)
    _score_and_store(volume, predict(volume), spec, output, None, None)


def _score_and_store(
    volume: Volume,
    labels: np.ndarray,
    spec: DatasetSpec,
    output: Path,
    seconds: float | None,
    saved: Path | None,
) -> None:
    leaking = leaking_slices(volume.image, volume.label)
    name = volume.case.case
    rows = score_case(labels, volume.label, volume.spacing_mm, spec, case=name, leaking=leaking)
    content = {
        "case": name,
        "leaking_slices": int(np.count_nonzero(leaking)),
        "prediction_seconds": seconds,
        "rows": rows,
        "prediction_sha256": None if saved is None else sha256(saved),
    }
    if spec.name == "synapse":
        content["transunet"] = transunet_rows(labels, volume.label, spec, name)
    write_json(output / CASES / f"{name}.json", jsonable(content))


def stored_case(output: Path, case: Case) -> dict[str, Any] | None:
    """Return what was stored for a finished case, or None if it has yet to be scored."""
    try:
        stored = json.loads((output / CASES / f"{case.case}.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    whole = isinstance(stored, dict) and {"rows", "leaking_slices", "prediction_seconds"} <= set(
        stored
    )
    return stored if whole and _is_scored(stored["rows"]) else None


def _is_scored(rows: Any) -> bool:
    """Whether stored rows hold all figures: NaN would stand in for those that they lack."""
    return (
        isinstance(rows, list)
        and len(rows) > 0
        and all(isinstance(row, dict) and set(MORE_COLUMNS) <= set(row) for row in rows)
    )


def jsonable(value: Any) -> Any:
    """Replace NaN, which JSON has not, by None; and tuples by lists."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
