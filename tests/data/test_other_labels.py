"""Labels that mean other organs, and source files that are not what they are called."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from oarfuse.cli import main
from oarfuse.data import prepare_openkbp, prepare_synapse
from oarfuse.errors import OarfuseError
from oarfuse.phantom import make_phantom
from tests.helpers.grids import turned

# --- labels that mean other organs ------------------------------------------------------------


@pytest.fixture(scope="module")
def abdomen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("places") / "source"
    return make_phantom(folder, dataset="synapse", train=1, validation=0, test=0, seed=2)


def renumbered(numbers: dict[int, int]) -> Callable[[np.ndarray], np.ndarray]:
    """The challenge's values to another program's; those not named become background."""

    def change(values: np.ndarray) -> np.ndarray:
        table = np.zeros(14, np.uint8)
        for theirs, ours in numbers.items():
            table[theirs] = ours
        return table[values]

    return change


TRANSUNET = {8: 1, 4: 2, 3: 3, 2: 4, 6: 5, 11: 6, 1: 7, 7: 8}
TOTALSEGMENTATOR = {1: 1, 2: 2, 3: 3, 4: 4, 6: 5, 7: 6, 8: 7, 9: 8, 10: 9, 11: 10, 12: 11, 13: 12}
FLARE = {6: 1, 2: 2, 1: 3, 11: 4, 8: 5, 9: 6, 12: 7, 13: 8, 4: 9, 5: 10, 7: 11, 10: 12, 3: 13}
SAME = {value: value for value in range(14)}
CODINGS = {
    "TransUNet": (renumbered(TRANSUNET), "no value above 8, as TransUNet's own classes"),
    "TotalSegmentator": (renumbered(TOTALSEGMENTATOR), "than of the liver"),
    "FLARE": (renumbered(FLARE), "than of the liver"),
    "kidneys exchanged": (renumbered({**SAME, 2: 3, 3: 2}), "right kidney .* on the wrong side"),
    "liver and spleen exchanged": (renumbered({**SAME, 1: 6, 6: 1}), "than of the liver"),
    "pancreas and adrenal exchanged": (renumbered({**SAME, 11: 12, 12: 11}), "adrenal gland"),
    "no pancreas": (renumbered({**SAME, 11: 0}), r"no pancreas \(11\)"),
    "the eight organs as one": (renumbered(dict.fromkeys(range(1, 14), 1)), "no value above 1"),
    "mirrored voxels": (lambda values: values[::-1], "on the wrong side"),
    "upside down": (lambda values: values[:, :, ::-1], "wrong side of|beside the organ"),
    "front to back": (lambda values: values[:, ::-1], "wrong side of|beside the organ"),
    "a scale factor": (lambda values: values / np.float32(13), "other than 0 to 13"),
}


def with_labels(abdomen: Path, folder: Path, change: Callable) -> Path:
    source = folder / "source"
    shutil.copytree(abdomen / "RawData", source)
    path = source / "Training/label/label0005.nii.gz"
    image = nib.Nifti1Image.from_filename(path)
    nib.save(nib.Nifti1Image(change(np.asarray(image.dataobj)), image.affine), path)
    return source


@pytest.mark.parametrize("name", CODINGS)
def test_labels_that_are_not_the_challenges(abdomen: Path, tmp_path: Path, name: str) -> None:
    change, said = CODINGS[name]
    source = with_labels(abdomen, tmp_path, change)
    with pytest.raises(OarfuseError, match=rf"label0005\.nii\.gz .*{said}") as caught:
        prepare_synapse(source, tmp_path / "out", workers=1, progress=False)
    assert "the challenge's own labels" in str(caught.value) and "\n" not in str(caught.value)
    assert (source / "Training/label/label0005.nii.gz").is_file()


def test_gallbladder_and_right_kidney_may_be_missing(abdomen: Path, tmp_path: Path) -> None:
    source = with_labels(abdomen, tmp_path, renumbered({**SAME, 2: 0, 4: 0}))
    (case,) = prepare_synapse(source, tmp_path / "out", workers=1, progress=False).cases
    assert case.voxels["right_kidney"] == 0 and case.voxels["liver"] > 0


def test_label_turned_about_the_centre_of_its_image(abdomen: Path, tmp_path: Path) -> None:
    source = with_labels(abdomen, tmp_path, renumbered(SAME))
    path = source / "Training/label/label0005.nii.gz"
    image = nib.Nifti1Image.from_filename(path)
    affine = turned(image.affine, image.shape, 17)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), path)
    arguments = ["--source", str(source), "--output", str(tmp_path / "out")]
    assert main(["prepare", "synapse", *arguments]) == 2
    with pytest.raises(OarfuseError, match=r"label0005\.nii\.gz is turned by 17\.0 degrees"):
        prepare_synapse(source, tmp_path / "out", workers=1, progress=False)


# --- OpenKBP ----------------------------------------------------------------------------------


def rows(text: str, change: Callable[[np.ndarray, np.ndarray], tuple]) -> str:
    """Change the (index, value) columns of a CT file."""
    table = [line.split(",") for line in text.splitlines()[1:]]
    index = np.array([int(row[0]) for row in table])
    value = np.array([int(float(row[1])) for row in table])
    index, value = change(index, value)
    lines = (f"{i},{v}.0\n" for i, v in zip(index, value, strict=True))
    return ",data\n" + "".join(lines)


def swap(one: str, other: str) -> Callable[[Path], None]:
    def harm(patient: Path) -> None:
        first, second = patient / f"{one}.csv", patient / f"{other}.csv"
        kept = first.read_text()
        first.write_text(second.read_text())
        second.write_text(kept)

    return harm


def rewrite_ct(change: Callable) -> Callable[[Path], None]:
    def harm(patient: Path) -> None:
        path = patient / "ct.csv"
        path.write_text(rows(path.read_text(), change))

    return harm


def transposed(index: np.ndarray, value: np.ndarray) -> tuple:
    """Indices in the other order, as MATLAB would count them."""
    return (index & 127) << 14 | (index & (127 << 7)) | index >> 14, value


KBP = {
    "parotids exchanged": (swap("RightParotid", "LeftParotid"), "right parotid .* wrong side"),
    "cord and stem exchanged": (swap("SpinalCord", "Brainstem"), "brainstem .* wrong side"),
    "stem and mandible exchanged": (swap("Mandible", "Brainstem"), "wrong side"),
    "HU without the 1024": (rewrite_ct(lambda i, v: (i, v - 1024)), "Hounsfield"),
    "1024 added twice": (rewrite_ct(lambda i, v: (i, v + 1024)), "Hounsfield"),
    "0..255": (rewrite_ct(lambda i, v: (i, v * 255 // 4095)), "Hounsfield"),
    "indices in another order": (rewrite_ct(transposed), "where bone belongs"),
}


@pytest.mark.parametrize("name", KBP)
def test_openkbp_files_that_are_not_what_they_are_called(
    phantom_source: Path, tmp_path: Path, name: str
) -> None:
    harm, said = KBP[name]
    source = tmp_path / "source"
    (original,) = sorted(phantom_source.rglob("validation-pats/pt_*"))
    patient = source / "provided-data" / "validation-pats" / original.name
    shutil.copytree(original, patient)
    harm(patient)
    with pytest.raises(OarfuseError, match=rf"validation-pats/{original.name}.*{said}"):
        prepare_openkbp(source, tmp_path / "out", workers=1, progress=False)
