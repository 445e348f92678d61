"""Downloading from a server on this machine: checks, refusals, and no second fetch."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from oarfuse.data import download_openkbp
from oarfuse.data.openkbp import download
from oarfuse.data.openkbp.prepare import select_patients
from oarfuse.data.openkbp.source import open_source
from oarfuse.errors import OarfuseError
from tests.helpers.openkbp_files import (
    needs_real_data,
    patient_files,
    real_data,
    write_source,
    zip_source,
)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A tiny data set as GitHub would pack it, in the folder that the server serves."""
    patients = {
        "train/pt_1": patient_files(1),
        "validation/pt_2": patient_files(2),
        "test/pt_3": patient_files(3),
    }
    (tmp_path / "served").mkdir()
    return zip_source(write_source(tmp_path / "kbp", patients), tmp_path / "served/kbp.zip")


@pytest.fixture
def url(archive: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=archive.parent)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/kbp.zip"
        server.shutdown()


@pytest.fixture
def known(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tiny data set be the one that the kit knows."""
    with open_source(archive) as source:
        selected, _ = select_patients(source.patients)
        content = download.content_sha256(source, [p for p in selected if p.split != "test"])
    monkeypatch.setattr(download, "SELECTED", {"train": 1, "validation": 1, "test": 1})
    monkeypatch.setattr(download, "CONTENT_SHA256", content)


@pytest.mark.usefixtures("known")
def test_download_checks_content_and_fetches_once(url: str, archive: Path, tmp_path: Path) -> None:
    output = tmp_path / "new/folder/kbp.zip"
    assert download_openkbp(output, url=url, progress=False) == output
    assert output.read_bytes() == archive.read_bytes()
    assert download_openkbp(output, url="http://127.0.0.1:9/gone", progress=False) == output


@pytest.mark.usefixtures("known")
def test_other_patients_are_refused_and_removed(url: str, archive: Path, tmp_path: Path) -> None:
    other = write_source(
        tmp_path / "other",
        {
            "train/pt_1": patient_files(1),
            "validation/pt_2": patient_files(99),
            "test/pt_3": patient_files(3),
        },
    )
    zip_source(other, archive)
    with pytest.raises(OarfuseError, match="other training or validation patients"):
        download_openkbp(tmp_path / "kbp.zip", url=url, progress=False)
    assert not (tmp_path / "kbp.zip").exists()


@pytest.mark.usefixtures("known")
def test_damaged_test_patient_is_noticed(url: str, archive: Path, tmp_path: Path) -> None:
    data = bytearray(archive.read_bytes())
    start = data.find(b"test-pats/pt_3/ct.csv") + 400
    data[start : start + 6] = b"\0" * 6
    archive.write_bytes(data)
    with pytest.raises(OarfuseError, match=r"test-pats/pt_3/ct\.csv in .* is damaged"):
        download_openkbp(tmp_path / "kbp.zip", url=url, progress=False)


def test_archive_with_too_few_patients(url: str, tmp_path: Path) -> None:
    with pytest.raises(OarfuseError, match=r"instead of .*113"):
        download_openkbp(tmp_path / "kbp.zip", url=url, progress=False)


def test_hash_of_the_whole_file(url: str, archive: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    output = download_openkbp(
        tmp_path / "kbp.zip", url=url, known_hash=f"sha256:{digest}", progress=False
    )
    with pytest.raises(OarfuseError, match="not the one demanded"):
        download_openkbp(output, url=url, known_hash="0" * 64, progress=False)
    assert output.exists()  # it was not fetched just now, so it is the user's
    with pytest.raises(OarfuseError, match="is no SHA-256"):
        download_openkbp(output, url=url, known_hash="md5:1234", progress=False)


def test_no_connection_and_wrong_address(url: str, tmp_path: Path) -> None:
    with pytest.raises(OarfuseError, match="check the connection") as caught:
        download_openkbp(tmp_path / "kbp.zip", url="http://127.0.0.1:9/kbp.zip", progress=False)
    assert "--source" in str(caught.value)
    with pytest.raises(OarfuseError, match="HTTP 404"):
        download_openkbp(tmp_path / "kbp.zip", url=url + ".gone", progress=False)
    with pytest.raises(OarfuseError, match="is a folder"):
        download_openkbp(tmp_path, url=url, progress=False)
    assert not (tmp_path / "kbp.zip").exists()


def test_default_address_is_encrypted_and_pinned() -> None:
    assert download.URL.startswith("https://github.com/ababier/open-kbp/archive/")
    assert len(download.COMMIT) == 40


@needs_real_data
def test_real_patients_have_the_recorded_content() -> None:
    with open_source(real_data()) as source:
        selected, _ = select_patients(source.patients)
        known = [patient for patient in selected if patient.split != "test"]
        assert download.content_sha256(source, known) == download.CONTENT_SHA256
