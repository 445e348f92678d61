"""Writing files so that an interruption never leaves half of one behind."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from oarfuse.errors import OarfuseError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# What `atomic_path` calls its temporary files; nobody else's are ever cleared away.
_PARTIAL = re.compile(r"\..*-[a-z0-9_]{8}\.partial(\.[^/]*)?")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename it to `path` when the block succeeds.

    A reader sees the old file or the new one, never a part. If the block raises, the temporary
    file is removed and whatever stood at `path` stays as it was.

    Parameters
    ----------
    path
        The final place. Missing parent folders are made. The temporary name keeps the last two
        suffixes (``.nii.gz``), because writers choose a format by them.

    Raises
    ------
    OarfuseError
        If the folder cannot be written or the disk is full.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = _make_temporary(path)
    except OSError as error:
        raise _disk_error(path, error) from error
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
        if handle is not None:
            os.close(handle)


def _make_temporary(path: Path) -> tuple[int | None, Path]:
    """Make the temporary file of `path`; its handle, if it has one, locks it while it is open."""
    handle, name = tempfile.mkstemp(
        prefix=f".{path.name.split('.')[0][:40]}-",  # a long name has no room for more
        suffix=".partial" + "".join(path.suffixes[-2:]),
        dir=path.parent,
    )
    if fcntl is None:  # Windows neither renames nor removes a file that is open
        os.close(handle)
        return None, Path(name)
    _lock(handle)
    return handle, Path(name)


def _lock(handle: int) -> bool:
    """Lock an open file, or return False if another process holds it."""
    if fcntl is not None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass  # a file system without locks
    return True


def _clear_partial_files(folder: Path) -> None:
    """Remove what a killed command left, but nothing that another one is writing just now."""
    for leftover in folder.rglob(".*.partial*"):
        if not _PARTIAL.fullmatch(leftover.name) or leftover.is_symlink():
            continue
        with suppress(OSError):  # somebody else's, or gone already
            with open(leftover, "rb") as file:
                free = _lock(file.fileno())
            if free:
                leftover.unlink(missing_ok=True)


def check_output_file(path: str | Path, *, reads: Iterable[str | Path] = ()) -> None:
    """Raise `OarfuseError` unless a command that reads `reads` may write the file `path`.

    To be called before the work whose result will lie there. Links, hard ones too, and relative
    paths do not hide that two paths are one file. Nothing is left on disk.
    """
    path = Path(path)
    for source in map(Path, reads):
        if same_file(path, source):
            raise OarfuseError(f"{path} is read by this command: choose another output file.")
    made = []
    try:
        with suppress(FileNotFoundError):
            os.lstat(path)  # raises if the name is too long
        if path.is_dir():
            raise OarfuseError(f"{path} is a folder: give the name of the file to write.")
        if path.exists() and not path.is_file():
            raise OarfuseError(f"{path} is no ordinary file: choose another output file.")
        for parent in reversed(path.absolute().parents):
            if not parent.exists():
                parent.mkdir()
                made.append(parent)
        handle, temporary = _make_temporary(path)
        temporary.unlink()
        if handle is not None:
            os.close(handle)
    except OSError as error:
        raise _disk_error(path, error) from error
    finally:
        for parent in reversed(made):
            with suppress(OSError):  # somebody else has put a file there meanwhile
                parent.rmdir()


def check_output_folder(
    folder: str | Path,
    names: Iterable[str],
    *,
    marker: str,
    reads: Iterable[str | Path] = (),
) -> None:
    """Raise `OarfuseError` if a command would overwrite in `folder` what it did not write.

    Parameters
    ----------
    folder
        The output of a command.
    names
        What the command will write there.
    marker
        The file that it writes first: where it lies, the others are the command's own too.
    reads
        Folders that the command reads. None of them may be the output.
    """
    folder = Path(folder)
    for source in map(Path, reads):
        if same_file(folder, source):
            raise OarfuseError(f"{folder} is read by this command: choose another output folder.")
    if (folder / marker).exists():
        return
    taken = [name for name in names if os.path.lexists(folder / name)]
    if taken:
        raise OarfuseError(
            f"{folder} holds {taken[0]} but no {marker}, so that it is not this command's own: "
            "choose a new output folder."
        )


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file or folder that exists."""
    try:
        return one.samefile(other)
    except OSError:
        return False


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
        _clear_partial_files(folder)
        yield
    finally:
        lock.release()


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically, in UTF-8; what a path of other bytes holds is escaped."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
