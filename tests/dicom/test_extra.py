"""Without the extra there is one sentence, and what needs no DICOM goes on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import oarfuse.dicom
from oarfuse.dicom.sniff import holds_dicom
from oarfuse.errors import OarfuseError
from tests.dicom.made_series import write_series


@pytest.mark.parametrize("package", ["pydicom", "gdcm", "contourpy", "highdicom"])
@pytest.mark.parametrize("name", oarfuse.dicom.__all__)
def test_a_missing_package_is_said(
    monkeypatch: pytest.MonkeyPatch, package: str, name: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(OarfuseError) as caught:
        getattr(oarfuse.dicom, name)
    assert str(caught.value) == (
        f"DICOM needs {package}, which is not installed: pip install 'oarfuse[dicom]'."
    )


def test_a_series_is_told_without_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(tmp_path)
    for package in ("pydicom", "gdcm", "contourpy", "highdicom"):
        monkeypatch.setitem(sys.modules, package, None)
    assert holds_dicom(tmp_path)


def test_other_names_are_unknown() -> None:
    with pytest.raises(AttributeError, match="no attribute 'read_everything'"):
        oarfuse.dicom.read_everything  # noqa: B018
