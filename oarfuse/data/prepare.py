"""The engine that writes a prepared folder: in parallel, resumable, and never half a patient.

A data set's own module (`oarfuse.data.openkbp.prepare`) says which patients there are and how
to read one; everything that concerns files, reruns, interruptions and the manifest is here.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from oarfuse.data.grids import voxel_sizes
from oarfuse.data.manifest import FORMAT, MANIFEST, Manifest, Skipped, load_manifest
from oarfuse.data.nifti import spl_order, write_image
from oarfuse.data.splits import split_order
from oarfuse.errors import OarfuseError
from oarfuse.files import check_output_folder, sha256, sole_writer, write_json, write_text
from oarfuse.organs import DatasetSpec
from oarfuse.provenance import usable_cores


@dataclass(frozen=True)
class PatientData:
    """One patient, ready to be written.

    Attributes
    ----------
    image
        (I, J, K) int16, HU, in the file's axis order.
    label
        (I, J, K) uint8, label values.
    affine
        (4, 4), voxel indices to mm in RAS+; its axes run along the body's (no oblique ones).
    overlap_voxels, overlaps
        Voxels claimed by several organs: in all, and by pair of names.
    """

    image: NDArray[np.int16]
    label: NDArray[np.uint8]
    affine: NDArray[np.float64]
    overlap_voxels: int
    overlaps: Mapping[str, int]


@dataclass(frozen=True)
class Job:
    """One patient to prepare.

    Attributes
    ----------
    fingerprint
        Returns a short text that changes with the source files, so that a rerun sees changes.
    load
        Reads the patient; raises `OarfuseError` if its files are damaged.
    """

    case: str
    split: str
    fingerprint: Callable[[], str]
    load: Callable[[], PatientData]


@dataclass(frozen=True)
class Header:
    """What the manifest says about the data set as a whole."""

    spec: DatasetSpec
    phantom: bool
    source: str
    split_rule: str
    overlap_priority: tuple[str, ...]


def fingerprint(parts: Iterable[str]) -> str:
    """Join what tells a patient's source files apart to one short text."""
    return f"{zlib.crc32(','.join(parts).encode()):08x}"


def claim_voxels(
    masks: Mapping[str, NDArray[np.int32]],
    spec: DatasetSpec,
    priority: Sequence[str],
    label: NDArray[np.uint8],
) -> tuple[int, dict[str, int]]:
    """Draw organ masks into `label`; where several claim a voxel, the first in `priority` wins.

    Parameters
    ----------
    masks
        Organ name to flat indices into `label`.
    label
        (N,) uint8, zero on entry; filled in place.

    Returns
    -------
    Voxels claimed more than once, and their number by pair of organs that met there.
    """
    values = {organ.name: organ.label for organ in spec.organs}
    names = {organ.label: organ.name for organ in spec.organs}
    contested: list[NDArray[np.int32]] = []
    overlaps: dict[str, int] = {}
    for organ in priority:
        indices = masks[organ]
        owners = label[indices]
        for owner in np.unique(owners[owners > 0]):
            overlaps[f"{names[int(owner)]}+{organ}"] = int((owners == owner).sum())
        contested.append(indices[owners > 0])
        label[indices[owners == 0]] = values[organ]
    return len(np.unique(np.concatenate(contested))), overlaps


def prepare_cases(
    output: str | Path,
    header: Header,
    jobs: Sequence[Job],
    skipped: Sequence[Skipped],
    *,
    workers: int | None = None,
    progress: bool = True,
    source: str | Path | None = None,
) -> Manifest:
    """Write every job's patient below `output`, and the manifest.

    The manifest is replaced after each patient, when both of the patient's files are in place: a
    kill at any moment leaves all earlier patients valid and loadable, with ``complete`` false.
    A rerun checks the checksums of what is there and does only what is missing, damaged, or made
    from source files that have changed since.

    A patient whose files are damaged does not stop the others. It is recorded under ``skipped``
    with ``damaged`` true, and when all others are done an error names it, because a training set
    that lost a patient in silence would make every later number wrong. What would strike every
    patient alike (nothing to read, a full disk, a folder that cannot be written) aborts at once.

    Parameters
    ----------
    workers
        Threads; by default one for each available core. NumPy and zlib release the interpreter
        lock, so threads keep the cores busy without copying volumes between processes.
    source
        What is read, which `output` must not be.
    """
    if workers is not None and workers < 1:
        raise OarfuseError(f"{workers} workers cannot prepare anything: give 1 or more.")
    output = Path(output)
    written = [name for job in jobs for name in _places(job)]
    check_output_folder(output, written, marker=MANIFEST, reads=[] if source is None else [source])
    with sole_writer(output, "preparing"):
        return _prepare(output, header, jobs, skipped, workers or usable_cores(), progress)


def _prepare(
    output: Path,
    header: Header,
    jobs: Sequence[Job],
    skipped: Sequence[Skipped],
    workers: int,
    progress: bool,
) -> Manifest:
    finished = _finished(output, header, jobs)
    damaged: dict[str, Skipped] = {}

    def save(complete: bool) -> None:
        _write_manifest(output, header, finished.values(), [*skipped, *damaged.values()], complete)

    save(complete=False)
    with ThreadPoolExecutor(workers) as pool:
        futures = {
            pool.submit(_do, output, header.spec, job, finished.get(job.case)): job for job in jobs
        }
        bar = tqdm(
            as_completed(futures),
            total=len(jobs),
            desc="Preparing",
            unit="patient",
            disable=not progress,
        )
        try:
            for future in bar:
                job = futures[future]
                try:
                    entry = future.result()
                except _Damaged as error:
                    finished.pop(job.case, None)
                    damaged[job.case] = Skipped(job.case, job.split, str(error), damaged=True)
                else:
                    if finished.get(job.case) == entry:
                        continue
                    finished[job.case] = entry
                save(complete=False)
        except BaseException:  # also Ctrl-C: start no further patient
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    save(complete=True)
    if damaged:
        raise _sentence(output, list(damaged.values()), len(finished))
    return load_manifest(output)


def _places(job: Job) -> tuple[str, str]:
    return f"images/{job.case}.nii.gz", f"labels/{job.case}.nii.gz"


class _Damaged(Exception):
    """A patient's source files are at fault; the message says how."""


def _do(
    output: Path, spec: DatasetSpec, job: Job, earlier: dict[str, Any] | None
) -> dict[str, Any]:
    """Return the patient's manifest entry, after writing the files unless `earlier` holds."""
    try:
        fingerprint = job.fingerprint()
        if earlier and earlier.get("source_crc32") == fingerprint and _intact(output, earlier):
            return {**earlier, "split": job.split}
        data = job.load()
    except OarfuseError as error:
        raise _Damaged(str(error)) from error
    image, label = _places(job)
    write_image(output / image, _nifti(data.image, data.affine, spec.window_hu))
    write_image(output / label, _nifti(data.label, data.affine, (0, 0)))
    order, sizes = spl_order(data.affine), voxel_sizes(data.affine)
    counts = np.bincount(data.label.ravel(order="K"), minlength=spec.num_classes)
    return {
        "case": job.case,
        "split": job.split,
        "image": image,
        "label": label,
        "shape": [data.image.shape[axis] for axis in order],
        "spacing_mm": [round(float(sizes[axis]), 6) for axis in order],
        "voxels": {organ.name: int(counts[organ.label]) for organ in spec.organs},
        "overlap_voxels": data.overlap_voxels,
        "overlaps": dict(data.overlaps),
        "source_crc32": fingerprint,
        "sha256": {"image": sha256(output / image), "label": sha256(output / label)},
    }


def _nifti(
    array: NDArray[Any], affine: NDArray[np.float64], window: tuple[float, float]
) -> nib.Nifti1Image:
    image = nib.Nifti1Image(array, affine)
    # Both transforms with the same code: some viewers read only one of them.
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    image.header.set_xyzt_units("mm")
    image.header["cal_min"], image.header["cal_max"] = window  # what a viewer shows at first
    return image


def _intact(output: Path, entry: dict[str, Any]) -> bool:
    try:
        return all(
            sha256(output / entry[kind]) == entry["sha256"][kind] for kind in ("image", "label")
        )
    except OSError:
        return False


def _finished(output: Path, header: Header, jobs: Sequence[Job]) -> dict[str, dict[str, Any]]:
    """Return the entries of an earlier run by case; refuse a folder that holds something else."""
    if not (output / MANIFEST).exists():
        return {}
    earlier = load_manifest(output)
    for what, old, new in (
        ("data set", earlier.dataset, header.spec.name),
        ("phantom", earlier.phantom, header.phantom),
        ("split rule", earlier.split_rule, header.split_rule),
        ("overlap priority", earlier.overlap_priority, header.overlap_priority),
    ):
        if old != new:
            raise OarfuseError(
                f"{output} was prepared with {what} {old}, not {new}: choose another output folder."
            )
    foreign = sorted({case.case for case in earlier.cases} - {job.case for job in jobs})
    if foreign:
        raise OarfuseError(
            f"{output} holds {len(foreign)} patients that {header.source} lacks "
            f"({', '.join(foreign[:3])}): choose another output folder."
        )
    entries = json.loads((output / MANIFEST).read_text(encoding="utf-8"))["cases"]
    return {entry["case"]: entry for entry in entries}


def _write_manifest(
    output: Path,
    header: Header,
    entries: Iterable[dict[str, Any]],
    skipped: Sequence[Skipped],
    complete: bool,
) -> None:
    def order(entry: dict[str, Any]) -> tuple[int, Any]:
        return split_order(entry["split"], entry["case"])

    content = {
        "format": FORMAT,
        "dataset": header.spec.name,
        "phantom": header.phantom,
        "source": header.source,
        "split_rule": header.split_rule,
        "classes": list(header.spec.classes),
        "overlap_priority": list(header.overlap_priority),
        "complete": complete,
        "cases": sorted(entries, key=order),
        "skipped": sorted((vars(entry) for entry in skipped), key=order),
    }
    if complete:
        write_json(output / MANIFEST, content)
    else:  # written once a patient: without indentation Python's encoder is ten times faster
        write_text(output / MANIFEST, json.dumps(content))


def _sentence(output: Path, damaged: Sequence[Skipped], finished: int) -> OarfuseError:
    first = damaged[0]
    others = f" and {len(damaged) - 1} more, listed under 'skipped' in {MANIFEST}"
    return OarfuseError(
        f"{first.case} could not be prepared, because {first.reason.rstrip('.')}"
        f"{others if len(damaged) > 1 else ''}; the other {finished} patients are in {output}, "
        "and the same command adds the rest once the source is mended."
    )
