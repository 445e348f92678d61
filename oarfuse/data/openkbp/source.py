"""Where patients come from: a folder or a ZIP in OpenKBP's layout, seen in the same way.

Both hold ``.../{train,validation,test}-pats/<patient>/<name>.csv`` below any prefix. A ZIP is
read in place: nothing is unpacked to disk.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from oarfuse.data.containers import Container, check_size, open_container, several, walk
from oarfuse.data.splits import PHANTOM_MARKER, SPLITS, split_order
from oarfuse.errors import OarfuseError

# The file of each organ in the data set.
ORGAN_FILES = {
    "brainstem": "Brainstem",
    "spinal_cord": "SpinalCord",
    "right_parotid": "RightParotid",
    "left_parotid": "LeftParotid",
    "mandible": "Mandible",
}
# All that a patient is prepared from.
STEMS = ("ct", "voxel_dimensions", *ORGAN_FILES.values())
# A CT that fills all of 128**3 voxels takes about 30 MB; far above that, a file is a trap.
MAX_BYTES = 100_000_000

_FOLDERS = tuple(f"{split}-pats" for split in SPLITS)
_PATIENT_FILE = re.compile(
    r"(?P<root>(?:[^/]+/)*?)"
    r"(?P<split>train|validation|test)-pats/(?P<case>[^/]+)/(?P<stem>[^/]+)\.(?i:csv)"
)


@dataclass(frozen=True)
class Patient:
    """One patient's files.

    Attributes
    ----------
    case
        Folder name, such as ``pt_1``.
    split
        The data set's own split: ``train``, ``validation`` or ``test``.
    files
        File stem (``ct``, ``Brainstem``) to its path inside the source.
    """

    case: str
    split: str
    files: Mapping[str, str]

    def label(self, stem: str) -> str:
        """How a message calls one of the files; the same for a folder and a ZIP."""
        return f"{self.split}-pats/{self.case}/{stem}.csv"


class Source:
    """A folder or ZIP of patients, open for reading. Use `open_source` to get one.

    Attributes
    ----------
    name
        File or folder name without its path.
    phantom
        Whether the patients are drawn by this kit and not real.
    patients
        In natural order of split and name.
    """

    def __init__(self, path: Path, files: Container, members: Iterable[str], phantom: bool) -> None:
        self.path = path
        self.name = path.resolve().name
        self.phantom = phantom
        self.patients = _find_patients(path, members)
        self._files = files

    def read(self, patient: Patient, stem: str) -> bytes:
        """Return the bytes of ``<stem>.csv``; raise `OarfuseError` if they cannot be had."""
        return self._files.read(*self._checked(patient, stem))

    def checksum(self, patient: Patient, stem: str) -> int:
        """Return the CRC-32 of ``<stem>.csv``."""
        return self._files.checksum(*self._checked(patient, stem))

    def _checked(self, patient: Patient, stem: str) -> tuple[str, str]:
        name, label = patient.files[stem], patient.label(stem)
        check_size(label, self._files.size(name), MAX_BYTES, "OpenKBP")
        return name, label

    def close(self) -> None:
        """Close the file behind the source, if there is one."""
        self._files.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def open_source(path: str | Path) -> Source:
    """Open a folder (a clone's root, ``provided-data``, or one above them) or a ZIP of the same.

    Raises
    ------
    OarfuseError
        If there is nothing at `path`, it is neither folder nor ZIP, a ZIP member leaves the
        archive's folder, or no patient is found.
    """
    path = Path(path)
    if not path.exists():
        raise OarfuseError(f"There is no source at {path}: give OpenKBP's folder or ZIP.")
    if path.is_dir():
        root = _root_of_patients(path)
        folders = (folder for folder in root.glob("*-pats/*") if folder.is_dir())
        files = (file for folder in folders for file in folder.iterdir())
        names = (file.relative_to(root).as_posix() for file in files)
        phantom = any((place / PHANTOM_MARKER).is_file() for place in (root, root.parent))
        return Source(path, open_container(root), names, phantom)
    archive = open_container(path)
    return Source(path, archive, archive.files((".csv",)), archive.has(PHANTOM_MARKER))


def _root_of_patients(path: Path) -> Path:
    for pattern in ("provided-data", ".", "*/provided-data", "*/*/provided-data"):
        for root in sorted(path.glob(pattern)) if pattern != "." else [path]:
            if any((root / f"{split}-pats").is_dir() for split in SPLITS):
                return root
    deeper = {  # what unpacking into folders of the archive's own name leads to
        file.parents[2] for file in walk(path) if file.parent.parent.name in _FOLDERS
    }
    if len(deeper) > 1:
        raise several(path, map(str, deeper))
    if not deeper:
        raise _no_patients(path)
    return deeper.pop()


def _find_patients(path: Path, members: Iterable[str]) -> tuple[Patient, ...]:
    files: dict[tuple[str, str], dict[str, str]] = {}
    roots = set()
    for member in members:
        match = _PATIENT_FILE.fullmatch(member)
        if match:
            roots.add(match["root"])
            files.setdefault((match["split"], match["case"]), {})[match["stem"]] = member
    if not files:
        raise _no_patients(path)
    if len(roots) > 1:
        raise several(path, roots)
    order = sorted(files, key=lambda key: split_order(*key))
    places: dict[str, str] = {}
    for split, case in order:
        if case in places:
            raise OarfuseError(
                f"{path} holds {case} in both {places[case]}-pats and {split}-pats: "
                "remove the wrong one, so that no patient is in two splits."
            )
        places[case] = split
    return tuple(Patient(case, split, files[split, case]) for split, case in order)


def _no_patients(path: Path) -> OarfuseError:
    return OarfuseError(
        f"{path} holds no provided-data with train-pats, validation-pats or test-pats: "
        "give OpenKBP's clone, its provided-data folder, or GitHub's ZIP of it."
    )
