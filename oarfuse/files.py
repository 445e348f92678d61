"""Writing files so that an interruption never leaves half of one behind."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from oarfuse.errors import OarfuseError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename it to `path` when the block succeeds.

    A reader sees the old file or the new one, never a part. If the block raises, the temporary
    file is removed and whatever stood at `path` stays as it was.

    Parameters
    ----------
    path
        The final place. Missing parent folders are made. The temporary name keeps every suffix
        (``.nii.gz``), because writers choose a format by it.

    Raises
    ------
    OarfuseError
        If the folder cannot be written or the disk is full.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            prefix=f".{path.name.split('.')[0]}-",
            suffix=".partial" + "".join(path.suffixes),
            dir=path.parent,
        )
        os.close(handle)
    except OSError as error:
        raise _disk_error(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files that only their owner can read; give what open() would have given.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    except OSError as error:
        raise _disk_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _disk_error(path: Path, error: OSError) -> OarfuseError:
    if error.errno == errno.ENOSPC:
        return OarfuseError(
            f"No space is left on the disk for {path}: free some, then run the same command again."
        )
    return OarfuseError(
        f"Cannot write {path} ({error.strerror or error}): choose a folder that you can write to."
    )


@contextmanager
def sole_writer(folder: str | Path, doing: str) -> Iterator[None]:
    """Make `folder`, keep every other process out of it, and clear away what a killed one left.

    The lock lives in the kernel and ends with the process, however that ends.

    Parameters
    ----------
    folder
        The output of a command.
    doing
        What the command does there, for the message: ``"evaluating into"``.

    Raises
    ------
    OarfuseError
        If another process holds the folder, or it cannot be made.
    """
    folder = Path(folder)
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise OarfuseError(
            f"Another process is {doing} {folder}: wait for it, or choose another output folder."
        ) from None
    except OSError as error:
        raise _disk_error(folder, error) from error
    try:
        for leftover in folder.rglob(".*.partial*"):
            leftover.unlink(missing_ok=True)
        yield
    finally:
        lock.release()


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
