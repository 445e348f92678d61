"""Every data set that can be prepared, by its name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from oarfuse.errors import OarfuseError

if TYPE_CHECKING:
    from oarfuse.data.manifest import Manifest

DATASETS = ("openkbp", "synapse")
_OPTIONS = {"split_rule": "openkbp", "validation": "synapse"}  # option -> whose it is


def prepare(
    dataset: str,
    source: str | Path,
    output: str | Path,
    *,
    split_rule: str | None = None,
    validation: int | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Manifest:
    """Turn a data set's own files into NIfTI files and a manifest.

    Parameters
    ----------
    dataset
        ``openkbp`` or ``synapse``.
    source, output, workers, progress
        As for `oarfuse.data.prepare_openkbp` and `oarfuse.data.prepare_synapse`.
    split_rule
        For ``openkbp`` alone: ``folders`` (the default) or ``lexicographic``.
    validation
        For ``synapse`` alone: how many training patients to hold out.

    Returns
    -------
    What was prepared: patients, splits, checksums. A rerun does only what is missing.

    Raises
    ------
    OarfuseError
        If there is no such data set, an option belongs to the other one, or a file of the source
        cannot be what it is called.
    """
    given: dict[str, Any] = {"split_rule": split_rule, "validation": validation}
    chosen = {name: value for name, value in given.items() if value is not None}
    if dataset not in DATASETS:
        raise OarfuseError(f"There is no data set {dataset!r}: choose {' or '.join(DATASETS)}.")
    for name in chosen:
        if _OPTIONS[name] != dataset:
            raise OarfuseError(
                f"--{name.replace('_', '-')} does not belong to {dataset}: leave it out."
            )
    if dataset == "openkbp":
        from oarfuse.data.openkbp.prepare import prepare_openkbp

        return prepare_openkbp(source, output, workers=workers, progress=progress, **chosen)
    from oarfuse.data.synapse import prepare_synapse

    return prepare_synapse(source, output, workers=workers, progress=progress, **chosen)
