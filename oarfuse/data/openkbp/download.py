"""Fetching OpenKBP, and knowing that it is OpenKBP."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import Path

import pooch

from oarfuse.data.openkbp.prepare import select_patients
from oarfuse.data.openkbp.source import STEMS, Patient, Source, open_source
from oarfuse.errors import OarfuseError
from oarfuse.files import check_output_file

# A commit that holds all 340 patients. A branch's archive changes whenever its README does.
COMMIT = "ed9602e68411a45b7c8f039999f897895407d25f"
URL = f"https://github.com/ababier/open-kbp/archive/{COMMIT}.zip"
# SHA-256 over CT, organs and voxel sizes of the 133 selected training and validation patients;
# see content_sha256.
CONTENT_SHA256 = "51e33caceeca083fad38261c3c7dc8b4ffe7c6c89cdbbc391ed2cc8dd8d528c4"
SELECTED = {"train": 113, "validation": 20, "test": 55}


def download_openkbp(
    output: str | Path,
    *,
    url: str = URL,
    known_hash: str | None = None,
    progress: bool = True,
) -> Path:
    """Download the OpenKBP archive and check that its patients are the known ones.

    What is checked, and what cannot be: GitHub compresses an archive when it is asked for one, so
    the ZIP as a file has no checksum that is sure to last. Its content has. The CT, organ and voxel
    size files of the 133 selected training and validation patients must be byte for byte those this
    kit was built on (`CONTENT_SHA256`). The test patients were kept back while the kit was built;
    of them their number, that each has its files, and the archive's own CRCs are checked. A hash of
    the whole file can be demanded with `known_hash`, for instance to fetch the same file again.

    Parameters
    ----------
    output
        The ZIP file to write. If it is there already, it is checked and not fetched again.
    url
        Where to fetch it; the default pins a commit of the public repository.
    known_hash
        ``sha256:...`` of the whole file; by default the content is checked as described.

    Returns
    -------
    The path of the ZIP, ready for ``prepare_openkbp``.

    Raises
    ------
    OarfuseError
        Without a connection, if the address answers with an error, or if the content differs. A
        file that fails the check is removed when it was fetched just now, and kept otherwise.
    """
    output = Path(output)
    if output.is_dir():
        raise OarfuseError(f"{output} is a folder: give the name of the ZIP file to write.")
    if known_hash is not None and not re.fullmatch(r"(sha256:)?[0-9a-fA-F]{64}", known_hash):
        raise OarfuseError(f"{known_hash!r} is no SHA-256: give its 64 hexadecimal digits.")
    fetched = not output.exists()
    if fetched:
        check_output_file(output)
        try:
            pooch.retrieve(
                url,
                known_hash=None,  # compared below, where a mismatch becomes one clear sentence
                fname=output.name,
                path=output.parent,
                downloader=pooch.HTTPDownloader(progressbar=progress, timeout=60),
            )
        except (OSError, ValueError) as error:  # requests' errors are OSErrors
            raise OarfuseError(
                f"Cannot download {url} ({_reason(error)}): check the connection, or fetch it on "
                "another machine and give the file to `oarfuse prepare openkbp --source`."
            ) from error
    try:
        if known_hash is not None:
            _check_file(output, known_hash)
        else:
            check_content(output)
    except OarfuseError:
        if fetched:
            output.unlink(missing_ok=True)
        raise
    return output


def check_content(path: str | Path) -> None:
    """Raise `OarfuseError` unless the ZIP or folder holds the OpenKBP patients as known."""
    with open_source(path) as source:
        selected, _ = select_patients(source.patients)
        counts = Counter(patient.split for patient in selected)
        if counts != SELECTED:
            raise OarfuseError(
                f"{path} holds {dict(counts)} patients with all five organs instead of {SELECTED}: "
                "download it again."
            )
        for patient in selected:
            if patient.split == "test":
                for stem in STEMS:
                    _read(source, patient, stem)
        known = [patient for patient in selected if patient.split != "test"]
        if content_sha256(source, known) != CONTENT_SHA256:
            raise OarfuseError(
                f"{path} holds other training or validation patients than OpenKBP: "
                "download it again."
            )


def content_sha256(source: Source, patients: list[Patient]) -> str:
    """SHA-256 of the patients' files, whatever holds them and in whatever order.

    For each patient and file, in the order of `patients` and of the file names ``ct``,
    ``voxel_dimensions`` and the organs: the file's label, a newline, its own SHA-256, a newline.
    """
    total = hashlib.sha256()
    for patient in patients:
        for stem in STEMS:
            digest = hashlib.sha256(_read(source, patient, stem)).hexdigest()
            total.update(f"{patient.label(stem)}\n{digest}\n".encode())
    return total.hexdigest()


def _read(source: Source, patient: Patient, stem: str) -> bytes:
    if stem not in patient.files:
        raise OarfuseError(f"{patient.label(stem)} is missing in {source.path}: download it again.")
    return source.read(patient, stem)


def _check_file(path: Path, known_hash: str) -> None:
    actual = pooch.file_hash(str(path), alg="sha256")
    if actual != known_hash.removeprefix("sha256:").lower():
        raise OarfuseError(
            f"{path} has the SHA-256 {actual}, not the one demanded: download it again, or leave "
            "out the hash to check the content."
        )


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    return f"HTTP {response.status_code}" if response is not None else type(error).__name__
