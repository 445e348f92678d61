"""What a command says on a console, whatever the console can show."""

from __future__ import annotations

import errno
import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

MORE_MEMORY = (
    "The memory does not suffice: close other programs, give train a smaller --patch-size or "
    "--batch-size, or take another --device."
)


def escape_what_cannot_be_shown() -> None:
    """Let a path with letters that the console lacks be printed with escapes, not as an error.

    Where a caller has closed one of the two streams, what is said there goes nowhere.
    """
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


# What is wrong with the place to which a console was led, a full disk for instance.
OF_STREAMS = (errno.ENOSPC, errno.EIO, errno.EFBIG, errno.EDQUOT)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Show the kit's own warnings as sentences, and those of libraries as Python does."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = warnings.formatwarning(message, category, filename, lineno, line)
        if filename.startswith(str(Path(__file__).parent)) and category is UserWarning:
            text = f"oarfuse: warning: {message}\n"
        (file or sys.stderr).write(text)

    with warnings.catch_warnings():
        warnings.filterwarnings("always", category=UserWarning, module="oarfuse")
        warnings.showwarning = show
        yield


def about_path(error: OSError) -> str:
    """Return one sentence for an error of the system's about a path that nobody foresaw."""
    reason = error.strerror or type(error).__name__
    if error.filename is None:
        return f"Cannot write what this command says ({reason}): look where its output leads."
    return f"Cannot use {error.filename} ({reason}): give a path that you may read or write."


def lacks_memory(error: Exception) -> bool:
    """Whether an error of PyTorch's or of Python says that no memory was left."""
    said = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in said
        or "not enough memory" in said
    )
