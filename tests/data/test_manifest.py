"""Loading a prepared folder, and what a bent one says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from oarfuse.data import load_case, load_manifest, prepare_openkbp
from oarfuse.data.nifti import write_image
from oarfuse.errors import OarfuseError
from oarfuse.organs import OPENKBP
from tests.helpers.openkbp_files import three_patients, write_source


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("prepared")
    source = write_source(place / "kbp", three_patients())
    prepare_openkbp(source, place / "out", progress=False)
    return place / "out"


def bent(prepared: Path, tmp_path: Path, **changes: object) -> Path:
    content = json.loads((prepared / "manifest.json").read_text())
    content.update(changes)
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    return tmp_path


def test_loading_says_what_was_prepared(prepared: Path) -> None:
    manifest = load_manifest(prepared)
    assert manifest.spec is OPENKBP
    assert [case.case for case in manifest.split("train")] == ["pt_2", "pt_10"]
    assert [case.case for case in manifest.split("validation")] == ["pt_201"]
    assert manifest.split("test") == ()
    volume = load_case(manifest.case("pt_10"))
    assert (volume.image.shape, volume.image.dtype) == ((128, 128, 128), np.dtype(np.int16))
    assert (volume.label.shape, volume.label.dtype) == ((128, 128, 128), np.dtype(np.uint8))
    assert volume.case.voxels["mandible"] == (volume.label == 5).sum()
    with pytest.raises(OarfuseError, match="no split 'holdout'"):
        manifest.split("holdout")
    with pytest.raises(OarfuseError, match="no case 'pt_9'"):
        manifest.case("pt_9")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"format": "other/1"}, "not in the format"),
        ({"dataset": "mars"}, "no data set named 'mars'"),
        ({"classes": ["background", "moon"]}, "other classes"),
        ({"cases": [{"case": "pt_1"}]}, "lacks or garbles"),
        ({"cases": None}, "lacks or garbles"),
        ({"skipped": [1]}, "lacks or garbles"),
    ],
)
def test_bent_manifest(prepared: Path, tmp_path: Path, changes: dict, expected: str) -> None:
    with pytest.raises(OarfuseError, match=expected):
        load_manifest(bent(prepared, tmp_path, **changes))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("split", "holdout"),
        ("image", "../../etc/passwd"),
        ("label", "/etc/passwd"),
        ("spacing_mm", [1, 2, 0]),
        ("spacing_mm", [1, 2]),
        ("shape", [128, 128]),
    ],
)
def test_bent_case(prepared: Path, tmp_path: Path, key: str, value: object) -> None:
    cases = json.loads((prepared / "manifest.json").read_text())["cases"]
    cases[0][key] = value
    with pytest.raises(OarfuseError, match="lacks or garbles"):
        load_manifest(bent(prepared, tmp_path, cases=cases))


def test_folders_that_hold_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(OarfuseError, match="make the folder with `oarfuse prepare`"):
        load_manifest(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OarfuseError, match="is a file"):
        load_manifest(tmp_path / "file")
    (tmp_path / "manifest.json").write_text("{not json")
    with pytest.raises(OarfuseError, match="cannot be read"):
        load_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(OarfuseError, match="not in the format"):
        load_manifest(tmp_path)


def test_image_that_is_not_what_the_manifest_promises(prepared: Path, tmp_path: Path) -> None:
    import nibabel as nib

    folder = bent(prepared, tmp_path)
    case = load_manifest(folder).cases[0]
    with pytest.raises(OarfuseError, match=r"There is no .*pt_2\.nii\.gz"):
        load_case(case)
    for path in (case.image_path, case.label_path):
        write_image(path, nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)))
    with pytest.raises(OarfuseError, match="where the manifest promises"):
        load_case(case)


def test_a_patient_stands_there_once(prepared: Path, tmp_path: Path) -> None:
    cases = json.loads((prepared / "manifest.json").read_text())["cases"]
    with pytest.raises(OarfuseError, match="which stands there twice"):
        load_manifest(bent(prepared, tmp_path, cases=[*cases, cases[0]]))
