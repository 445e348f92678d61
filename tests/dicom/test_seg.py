"""DICOM SEG: another library reads the organs where they were, in the series they belong to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from highdicom.color import CIELabColor
from highdicom.seg import segread

from oarfuse.data.nifti import in_file_order
from oarfuse.dicom import check_is_ours, read_series, write_rtstruct, write_seg
from oarfuse.dicom.seg import _TYPES
from oarfuse.errors import OarfuseError
from oarfuse.organs import OPENKBP, SYNAPSE
from tests.dicom.made_series import LYING, write_series


@pytest.mark.parametrize("lying", LYING)
def test_organs_lie_where_the_series_has_them(lying: str, tmp_path: Path) -> None:
    made = write_series(tmp_path / "series", orientation=LYING[lying])
    volume, headers = read_series(made.folder)
    labels = np.zeros(volume.array.shape, np.uint8)
    labels[1:4, 3:9, 5:20] = 1
    labels[2:5, 12:20, 2:7] = 4
    path = tmp_path / "organs.seg.dcm"
    write_seg(path, labels, volume, headers, OPENKBP, note="not for clinical use")

    found = segread(path)
    assert [found.get_segment_description(n).segment_label for n in range(1, 6)] == [
        organ.title for organ in OPENKBP.organs
    ]
    assert found.StudyInstanceUID == headers.first.StudyInstanceUID
    assert found.FrameOfReferenceUID == headers.first.FrameOfReferenceUID
    expected = in_file_order(labels, volume.affine)  # (column, row, slice)
    back = found.get_pixels_by_source_instance(
        list(headers.instance_uids), combine_segments=True, assert_missing_frames_are_empty=True
    )  # (slice, row, column)
    assert np.array_equal(back.transpose(2, 1, 0), expected)
    # And in space, by the geometry that the object states itself, without the series.
    geometry = found.get_volume(combine_segments=True)
    places = np.argwhere(geometry.array == 4) @ geometry.affine[:3, :3].T + geometry.affine[:3, 3]
    to_lps = np.diag([-1.0, -1.0, 1.0])
    ours = np.argwhere(expected == 4) @ (to_lps @ volume.affine[:3, :3]).T
    ours += to_lps @ volume.affine[:3, 3]
    np.testing.assert_allclose(np.sort(places, axis=0), np.sort(ours, axis=0), atol=1e-3)


def test_colours_and_words(tmp_path: Path) -> None:
    volume, headers = read_series(write_series(tmp_path / "series").folder)
    labels = np.zeros(volume.array.shape, np.uint8)
    labels[2, 3:9, 5:20] = 5
    path = tmp_path / "organs.seg.dcm"
    write_seg(path, labels, volume, headers, OPENKBP)
    found = segread(path)
    assert "Not for clinical use" in found.ContentDescription
    for organ in OPENKBP.organs:
        said = found.get_segment_description(organ.label)
        colour = CIELabColor.from_dicom_value(said.RecommendedDisplayCIELabValue).to_rgb()
        np.testing.assert_allclose(colour, list(bytes.fromhex(organ.color[1:])), atol=2)
    assert set(_TYPES) == {organ.name for spec in (OPENKBP, SYNAPSE) for organ in spec.organs}


def test_only_our_own_seg_is_replaced(tmp_path: Path) -> None:
    volume, headers = read_series(write_series(tmp_path / "series").folder)
    labels = np.ones(volume.array.shape, np.uint8)
    path = tmp_path / "organs.seg.dcm"
    write_seg(path, labels, volume, headers, OPENKBP)
    check_is_ours(path)
    write_rtstruct(tmp_path / "contours.dcm", labels, volume, headers, OPENKBP)
    (tmp_path / "contours.dcm").replace(path)
    with pytest.raises(OarfuseError, match="not a SEG of this kit"):
        check_is_ours(path)
    foreign = pydicom.dcmread(path)
    foreign.Manufacturer = "Somebody"
    foreign.save_as(tmp_path / "other.dcm")
    with pytest.raises(OarfuseError, match="not an RTSTRUCT of this kit"):
        check_is_ours(tmp_path / "other.dcm")
    with pytest.raises(OarfuseError, match="hold no organ"):
        write_seg(tmp_path / "new.seg.dcm", 0 * labels, volume, headers, OPENKBP)
