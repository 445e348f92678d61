"""A folder or a ZIP, seen in the same way: names and bytes. A ZIP is not unpacked to disk."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from oarfuse.errors import OarfuseError


class Container:
    """A folder or ZIP, open for reading. Use `open_container` to get one.

    Attributes
    ----------
    path
        As it was given.
    name
        File or folder name without its path.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.resolve().name

    def files(self, suffixes: tuple[str, ...]) -> list[str]:
        """Return the names of the files that end so, in letters of either case.

        ``/`` stands between folders. What macOS adds to archives and foreign disks is left out.
        """
        raise NotImplementedError

    def has(self, file_name: str) -> bool:
        """Whether a file of that name lies anywhere in it."""
        raise NotImplementedError

    def size(self, name: str) -> int:
        """Return a file's bytes, unpacked."""
        raise NotImplementedError

    def read(self, name: str, label: str) -> bytes:
        """Return a file's bytes; raise `OarfuseError`, which calls it `label`, if it cannot."""
        raise NotImplementedError

    def checksum(self, name: str, label: str) -> int:
        """Return the CRC-32 of a file."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the file behind the container, if there is one."""


class _Folder(Container):
    def files(self, suffixes: tuple[str, ...]) -> list[str]:
        found = [file.relative_to(self.path).as_posix() for file in walk(self.path)]
        return [name for name in found if _is_wanted(name, suffixes)]

    def has(self, file_name: str) -> bool:
        return any(file.name == file_name for file in walk(self.path))

    def size(self, name: str) -> int:
        try:
            return (self.path / name).stat().st_size
        except OSError as error:
            raise self._unreadable(name, error) from error

    def read(self, name: str, label: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise self._unreadable(name, error) from error

    def checksum(self, name: str, label: str) -> int:
        return zlib.crc32(self.read(name, label))

    def _unreadable(self, name: str, error: OSError) -> OarfuseError:
        return OarfuseError(
            f"Cannot read {self.path / name} ({error.strerror or error}): "
            "mend its permissions or the disk."
        )


class _Zip(Container):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise OarfuseError(
                f"{path} is no readable ZIP ({error}): download it again, or give the folder."
            ) from error
        # Some Windows programs separate folders by backslashes.
        self._stored = {name.replace("\\", "/"): name for name in self._zip.namelist()}
        self._names = [name.replace("\\", "/") for name in self._zip.namelist()]
        for name in self._names:
            if _escapes(name):
                raise OarfuseError(
                    f"{path} holds the member {name!r}, which leaves the archive's own folder: "
                    "do not trust this file and download the data set from its own page."
                )

    def files(self, suffixes: tuple[str, ...]) -> list[str]:
        wanted = [name for name in self._names if _is_wanted(name, suffixes)]
        if len(set(wanted)) < len(wanted):
            twice = next(name for name in wanted if wanted.count(name) > 1)
            raise OarfuseError(f"{self.path} holds {twice} twice: download the archive again.")
        return wanted

    def has(self, file_name: str) -> bool:
        return any(Path(name).name == file_name for name in self._names)

    def size(self, name: str) -> int:
        return self._zip.getinfo(self._stored[name]).file_size

    def read(self, name: str, label: str) -> bytes:
        try:
            return self._zip.read(self._stored[name])
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            raise OarfuseError(
                f"{label} in {self.name} is damaged ({error}): download the archive again."
            ) from error
        except (RuntimeError, NotImplementedError) as error:  # encrypted, or an odd compression
            raise OarfuseError(
                f"{label} in {self.name} cannot be unpacked ({error}): "
                "give the archive as its own page offers it, or a folder."
            ) from error

    def checksum(self, name: str, label: str) -> int:
        return self._zip.getinfo(self._stored[name]).CRC

    def close(self) -> None:
        self._zip.close()


def open_container(path: str | Path) -> Container:
    """Open a folder or a ZIP that exists.

    Raises
    ------
    OarfuseError
        If it is neither, or a member of the ZIP leaves the archive's folder.
    """
    path = Path(path)
    return _Folder(path) if path.is_dir() else _Zip(path)


def walk(folder: Path, above: frozenset[str] = frozenset()) -> Iterator[Path]:
    """Yield every file below a folder, also behind links to folders, and go in no circle.

    `above` are the real places of the folders that led here.
    """
    above |= {os.path.realpath(folder)}
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise OarfuseError(
            f"Cannot read {folder} ({error.strerror or error}): mend its permissions or the disk."
        ) from error
    for entry in entries:
        if not entry.is_dir():
            yield entry
        elif os.path.realpath(entry) not in above:
            yield from walk(entry, above)


def _is_wanted(name: str, suffixes: tuple[str, ...]) -> bool:
    *folders, last = name.split("/")
    of_macos = last.startswith("._") or "__MACOSX" in folders
    return last.lower().endswith(suffixes) and not of_macos


def check_size(label: str, size: int, most: int, kind: str) -> None:
    """Refuse a file that is larger than any of its kind can be."""
    if size > most:
        raise OarfuseError(
            f"{label} has {size} bytes, more than any {kind} file: "
            "replace it with the data set's own copy."
        )


def several(path: Path, roots: Iterable[str]) -> OarfuseError:
    """The error for a source that holds the same data set in several places."""
    return OarfuseError(
        f"{path} holds several data sets ({', '.join(sorted(roots)[:3])}): give the one to prepare."
    )


def _escapes(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return ".." in parts or parts[0] == "" or ":" in parts[0]
