"""``.seg.nrrd``: another library reads the same labels in the same place, with names and colour."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk

from oarfuse.data.slicer import check_is_our_segmentation, write_segmentation
from oarfuse.errors import OarfuseError
from oarfuse.organs import OPENKBP

# Flipped, turned and with sides of their own: nothing in it is symmetric.
AFFINE = np.array([[0, -4.0, 0, 30], [3.5, 0, 0, -20], [0, 0, 2.5, 7], [0, 0, 0, 1]])


def labels() -> np.ndarray:
    made = np.zeros((5, 6, 7), np.uint8)
    made[1:3, 2:5, 3:7] = 3
    made[4, 0, 0] = 5
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    image = nib.Nifti1Image(labels(), AFFINE)
    write_segmentation(tmp_path / "labels.seg.nrrd", image, OPENKBP, note="not for clinical use")
    image.to_filename(tmp_path / "labels.nii.gz")
    return tmp_path / "labels.seg.nrrd"


def test_itk_finds_the_labels_where_it_finds_those_of_the_nifti_file(path: Path) -> None:
    found = sitk.ReadImage(str(path))
    expected = sitk.ReadImage(str(path.with_name("labels.nii.gz")))
    assert np.array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(expected))
    for name in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(found, name)(), getattr(expected, name)(), atol=1e-6)


def test_segments_have_the_organs_names_colours_and_extents(path: Path) -> None:
    header = nrrd.read_header(str(path))
    for index, organ in enumerate(OPENKBP.organs):
        assert header[f"Segment{index}_Name"] == organ.title
        assert header[f"Segment{index}_LabelValue"] == str(organ.label)
        colour = [float(part) for part in header[f"Segment{index}_Color"].split()]
        hexadecimal = "#" + "".join(f"{round(255 * part):02X}" for part in colour)
        assert hexadecimal == organ.color
    assert header["Segment2_Extent"] == "1 2 2 4 3 6"
    assert header["Segment0_Extent"] == "0 -1 0 -1 0 -1"  # no voxel
    assert "not for clinical use" in header["oarfuse_note"]


def test_only_our_own_file_is_replaced(path: Path, tmp_path: Path) -> None:
    check_is_our_segmentation(path)
    check_is_our_segmentation(tmp_path / "new.seg.nrrd")
    other = tmp_path / "other.seg.nrrd"
    nrrd.write(str(other), labels())
    with pytest.raises(OarfuseError, match=r"other\.seg\.nrrd is there already"):
        check_is_our_segmentation(other)
    other.write_bytes(b"\xff\xfe no NRRD at all")
    with pytest.raises(OarfuseError, match="choose another output file"):
        check_is_our_segmentation(other)
