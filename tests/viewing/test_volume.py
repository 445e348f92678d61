"""The optional 3D viewer: colours, and clear words where it cannot work."""

from __future__ import annotations

import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from oarfuse.errors import OarfuseError
from oarfuse.organs import OPENKBP
from oarfuse.viewing import volume_viewer
from oarfuse.viewing.ct.volume import label_colormap


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "image.nii.gz", tmp_path / "labels.nii.gz"
    for path, kind in zip(paths, (np.int16, np.uint8), strict=True):
        nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), kind), np.eye(4)), path)
    return paths


def test_colours_follow_the_label_values() -> None:
    table = label_colormap(OPENKBP)
    assert {len(column) for column in table.values()} == {OPENKBP.num_classes}
    assert table["A"][0] == 0  # background is clear
    at = table["I"].index(5)
    assert [table[channel][at] for channel in "RGB"] == [0xF0, 0xE4, 0x42]
    assert table["labels"][at] == "Mandible"


def test_a_missing_file_or_package_is_said_in_a_sentence(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OarfuseError, match=r"no .*gone\.nii"):
        volume_viewer(files[0], tmp_path / "gone.nii", spec=OPENKBP)
    monkeypatch.setitem(sys.modules, "ipyniivue", None)
    with pytest.raises(OarfuseError, match="pip install ipyniivue"):
        volume_viewer(*files, spec=OPENKBP)


def test_the_widget_holds_both_volumes_the_radiological_way_round(files: tuple[Path, Path]) -> None:
    pytest.importorskip("ipyniivue", reason="ipyniivue is an optional package")
    viewer = volume_viewer(*files, spec=OPENKBP, opacity=0.4)
    image, labels = viewer.volumes
    assert (image.cal_min, image.cal_max) == OPENKBP.window_hu
    assert labels.opacity == 0.4
    assert labels.colormap_label.lut[4:8] == [0xE6, 0x9F, 0x00, 255]  # brainstem
    assert viewer.opts.is_radiological_convention
