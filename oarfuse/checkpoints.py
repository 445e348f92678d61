"""The checkpoints of a run folder: which there are, and what a run without one must not lose."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from oarfuse.errors import OarfuseError
from oarfuse.weights import read_safetensors

WEIGHTS, CHECKPOINT = "weights.safetensors", "checkpoint.safetensors"
PREVIOUS = "checkpoint.previous.safetensors"
EARLIER = "weights.earlier.safetensors"  # of a run whose checkpoints are gone
FORMAT = "oarfuse-checkpoint/1"


def has_checkpoint(folder: str | Path) -> bool:
    """Whether a run folder holds something to resume from."""
    return any((Path(folder) / name).exists() for name in (CHECKPOINT, PREVIOUS))


def mend_checkpoint(folder: Path) -> None:
    """Put the previous checkpoint in the place of one that is missing or damaged.

    Raises
    ------
    OarfuseError
        If both are damaged.
    """
    newest, previous = folder / CHECKPOINT, folder / PREVIOUS
    if not has_checkpoint(folder):
        return
    try:
        _check_checkpoint(newest)
    except OarfuseError as error:
        try:
            _check_checkpoint(previous)
        except OarfuseError:
            raise error from None
        if newest.exists():
            warnings.warn(f"{error} Going on from the one before it.", stacklevel=2)
        os.replace(previous, newest)


def keep_weights(folder: Path) -> list[str]:
    """Put aside weights without a checkpoint, since a run that starts anew would replace them.

    Returns
    -------
    A sentence, which is also given as a warning, if there were such weights.

    Raises
    ------
    OarfuseError
        If the folder holds earlier ones already.
    """
    path, aside = folder / WEIGHTS, folder / EARLIER
    if has_checkpoint(folder) or not path.exists():
        return []
    if aside.exists():
        raise OarfuseError(
            f"{folder} holds {WEIGHTS} and {EARLIER} but no checkpoint, so that training would "
            "start anew: move the weights away, or choose another output folder."
        )
    os.replace(path, aside)
    said = f"{path} had no checkpoint to go on from: it is now {aside.name}, and training is anew."
    warnings.warn(said, stacklevel=2)
    return [said]


def _check_checkpoint(path: Path) -> None:
    """Raise `OarfuseError` unless the file is whole and a checkpoint."""
    _, metadata = read_safetensors(path, with_tensors=False)
    if metadata.get("format") != FORMAT:
        raise OarfuseError(f"{path} is no checkpoint of this kit: remove it to start anew.")
