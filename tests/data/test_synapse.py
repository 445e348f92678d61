"""Synapse: split, classes, orientation, ZIP, bad sources; the abdominal phantom."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from scipy import ndimage

from oarfuse.cli import main
from oarfuse.course.material import phantom_data
from oarfuse.data import load_case, load_manifest
from oarfuse.data.nifti import read_ct
from oarfuse.data.synapse import TEST, TRAIN
from oarfuse.data.synapse_labels import CHALLENGE_LABELS
from oarfuse.errors import OarfuseError
from oarfuse.organs import SYNAPSE
from oarfuse.phantom import make_phantom
from oarfuse.phantom.abdomen import draw_abdomen
from tests.helpers.synapse_files import AFFINE, prepare, write


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Training patients 5 and 10, test patient 8, and one of the challenge's own test images."""
    folder = tmp_path / "RawData"
    for number in (5, 10, 8):
        write(folder / "Training", number)
    (folder / "Testing" / "img").mkdir(parents=True)
    shutil.copy(folder / "Training/img/img0008.nii.gz", folder / "Testing/img/img0061.nii.gz")
    return folder


def test_the_lists_are_the_thirty_patients_of_the_challenge() -> None:
    assert (len(TRAIN), len(TEST)) == (18, 12)
    assert sorted(TRAIN + TEST) == [*range(1, 11), *range(21, 41)]


def test_split_classes_and_values(source: Path, tmp_path: Path) -> None:
    manifest = prepare(source, tmp_path / "out")
    assert manifest.dataset == "synapse" and manifest.split_rule == "transunet"
    assert not manifest.phantom
    names = {split: [case.case for case in manifest.split(split)] for split in ("train", "test")}
    assert names == {"train": ["case0005", "case0010"], "test": ["case0008"]}
    assert len(manifest.skipped) == 27 and not any(entry.damaged for entry in manifest.skipped)
    # By hand from the challenge's numbering: aorta 8 -> 1, gallbladder 4 -> 2, left kidney 3 -> 3,
    # right kidney 2 -> 4, liver 6 -> 5, pancreas 11 -> 6, spleen 1 -> 7, stomach 7 -> 8.
    classes = np.array([0, 7, 4, 3, 2, 0, 5, 8, 1, 0, 0, 6, 0, 0])
    for case in manifest.cases:
        stem = case.case[-4:]
        theirs = nib.Nifti1Image.from_filename(source / f"Training/label/label{stem}.nii.gz")
        ours = nib.Nifti1Image.from_filename(case.label_path)
        assert np.array_equal(np.asanyarray(ours.dataobj), classes[np.asanyarray(theirs.dataobj)])
        raw, kept = (
            nib.Nifti1Image.from_filename(source / f"Training/img/img{stem}.nii.gz"),
            nib.Nifti1Image.from_filename(case.image_path),
        )
        assert kept.get_data_dtype() == np.int16
        assert np.array_equal(np.asanyarray(kept.dataobj), np.asanyarray(raw.dataobj))
        assert np.allclose(kept.affine, raw.affine)
        volume = load_case(case)
        assert volume.spacing_mm == pytest.approx((3, 0.75, 0.75))
        assert volume.image.shape == (7, 8, 9)
        for organ in SYNAPSE.organs:
            assert case.voxels[organ.name] == int((volume.label == organ.label).sum())


@pytest.mark.parametrize("validation", [0, 1])
def test_held_out_patients_are_the_last_of_the_training_list(
    source: Path, tmp_path: Path, validation: int
) -> None:
    manifest = prepare(source, tmp_path / "out", validation=validation)
    held_out = [case.case for case in manifest.split("validation")]
    assert held_out == ["case0010"][:validation]
    assert len(manifest.split("train")) == 2 - validation
    with pytest.raises(OarfuseError, match="split rule"):
        prepare(source, tmp_path / "out", validation=1 - validation)


def test_every_orientation_of_image_and_label_gives_the_same_volume(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    ct = random.integers(-1024, 1500, (4, 5, 6)).astype(np.int16)
    organs = random.integers(0, 14, ct.shape).astype(np.uint8)
    codes = [
        "".join(axes) for order in permutations(("RL", "AP", "SI")) for axes in product(*order)
    ]
    reference = None
    for index, (code, other) in enumerate(zip(codes, reversed(codes), strict=True)):
        training = tmp_path / f"s{index}" / "Training"
        turned, place = _turn(ct, code)
        turned_label, label_place = _turn(organs, other)
        write(training, 1, image=turned, label=turned_label, affine=place, label_affine=label_place)
        volume = load_case(prepare(training, tmp_path / f"o{index}").cases[0])
        reference = reference or volume
        assert np.array_equal(volume.image, reference.image), code
        assert np.array_equal(volume.label, reference.label), code
        assert volume.spacing_mm == reference.spacing_mm


def _turn(array: np.ndarray, code: str) -> tuple[np.ndarray, np.ndarray]:
    image = nib.Nifti1Image(array, AFFINE)
    turn = ornt_transform(io_orientation(AFFINE), axcodes2ornt(tuple(code)))
    turned = image.as_reoriented(turn)
    return np.asanyarray(turned.dataobj), turned.affine


def test_zip_gives_the_same_files_and_a_rerun_does_nothing(source: Path, tmp_path: Path) -> None:
    archive = tmp_path / "RawData.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(source.rglob("*.nii.gz")):
            file.write(path, path.relative_to(source.parent))
        file.writestr("__MACOSX/RawData/Training/img/._img0005.nii.gz", b"junk")
    from_folder = prepare(source, tmp_path / "a")
    from_zip = prepare(archive, tmp_path / "b")
    assert [case.sha256 for case in from_folder.cases] == [case.sha256 for case in from_zip.cases]
    before = {case.case: case.image_path.stat().st_mtime_ns for case in from_zip.cases}
    from_zip.cases[0].label_path.write_bytes(b"damaged later")
    again = prepare(archive, tmp_path / "b")
    after = {case.case: case.image_path.stat().st_mtime_ns for case in again.cases}
    changed = [name for name in before if before[name] != after[name]]
    assert changed == [from_zip.cases[0].case]
    load_case(again.cases[0])


def test_source_that_is_not_there_says_where_to_get_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--source", str(tmp_path / "no"), "--output", str(tmp_path / "out")]
    assert main(["prepare", "synapse", *arguments]) == 2
    said = capsys.readouterr().err
    assert "no source at" in said and "syn3193805" in said and "account" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_folder_without_patients(tmp_path: Path) -> None:
    with pytest.raises(OarfuseError, match=r"holds no img/imgNNNN\.nii\.gz.*account"):
        prepare(tmp_path, tmp_path / "out")


def test_renumbered_copy_is_refused(source: Path, tmp_path: Path) -> None:
    write(source / "Training", 11)
    with pytest.raises(OarfuseError, match="renumbered copy"):
        prepare(source, tmp_path / "out")


def test_two_copies_are_refused(source: Path, tmp_path: Path) -> None:
    shutil.copytree(source / "Training", source / "Copy")
    with pytest.raises(OarfuseError, match="several data sets"):
        prepare(source, tmp_path / "out")


def test_too_many_held_out(source: Path, tmp_path: Path) -> None:
    with pytest.raises(OarfuseError, match="of 2 training patients, hold out 0 to 1"):
        prepare(source, tmp_path / "out", validation=2)


def _no_label(training: Path) -> None:
    (training / "label/label0005.nii.gz").unlink()


def _cut_short(training: Path) -> None:
    path = training / "img/img0005.nii.gz"
    path.write_bytes(path.read_bytes()[:-200])


def _label_of_another_shape(training: Path) -> None:
    write(training, 5, label=np.ones((9, 8, 6), np.uint8))


def _label_beside_the_image(training: Path) -> None:
    moved = AFFINE.copy()
    moved[2, 3] += 30
    write(training, 5, label_affine=moved)


def _foreign_label_value(training: Path) -> None:
    write(training, 5, label=np.full((9, 8, 7), 14, np.uint8))


def _fractions_in_the_label(training: Path) -> None:
    write(training, 5, label=np.full((9, 8, 7), 1.5, np.float32))


def _no_organ(training: Path) -> None:
    write(training, 5, label=np.full((9, 8, 7), 5, np.uint8))


def _windowed_image(training: Path) -> None:
    write(training, 5, image=np.random.default_rng(0).integers(0, 255, (9, 8, 7)).astype(np.int16))


def _fractions_in_the_image(training: Path) -> None:
    write(training, 5, image=np.linspace(-1024, 900.5, 504).reshape(9, 8, 7).astype(np.float32))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (_no_label, r"label0005\.nii\.gz is missing"),
        (_cut_short, r"img0005\.nii\.gz is damaged"),
        (_label_of_another_shape, r"label0005\.nii\.gz has \(6, 8, 9\) voxels"),
        (_label_beside_the_image, r"label0005\.nii\.gz lies 30\.0 mm beside"),
        (_foreign_label_value, "other than 0 to 13"),
        (_fractions_in_the_label, "other than 0 to 13"),
        (_no_organ, "none of the 8 organs"),
        (_windowed_image, "no CT's Hounsfield units"),
        (_fractions_in_the_image, "fractions of HU"),
    ],
)
def test_damaged_patient_is_named_and_the_others_are_done(
    source: Path, tmp_path: Path, harm: Callable[[Path], object], said: str
) -> None:
    harm(source / "Training")
    with pytest.raises(OarfuseError, match=f"case0005 could not be prepared.*{said}.*other 2"):
        prepare(source, tmp_path / "out")
    assert {case.case for case in load_manifest(tmp_path / "out").cases} == {"case0008", "case0010"}
    write(source / "Training", 5)
    assert len(prepare(source, tmp_path / "out").cases) == 3


def test_command_line_prepares_and_refuses_foreign_options(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ["prepare", "synapse", "--source", str(source), "--output", str(tmp_path / "out")]
    assert main([*common, "--validation", "1"]) == 0
    assert "1 train, 1 validation, 1 test; 27 skipped" in capsys.readouterr().out
    assert main([*common, "--split-rule", "folders"]) == 2
    assert "--split-rule does not belong to synapse" in capsys.readouterr().err


# --- the abdominal phantom --------------------------------------------------------------------


@pytest.fixture(scope="module")
def phantom_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("abdomen") / "source"
    return make_phantom(folder, dataset="synapse", train=1, validation=1, test=1, seed=2)


def test_phantom_goes_through_the_same_door(phantom_folder: Path, tmp_path: Path) -> None:
    for place in (phantom_folder, phantom_folder / "RawData" / "Training"):
        manifest = prepare(place, tmp_path / place.name, validation=1)
        assert manifest.phantom and not manifest.skipped
        cases = [(case.case, case.split) for case in manifest.cases]
        assert cases == [("case0005", "train"), ("case0006", "validation"), ("case0008", "test")]
    image = read_ct(phantom_folder / "RawData/Training/img/img0005.nii.gz")
    assert nib.aff2axcodes(image.affine) == ("L", "A", "S")
    assert image.spacing_mm[0] > image.spacing_mm[1]
    raw = np.asanyarray(
        nib.Nifti1Image.from_filename(
            phantom_folder / "RawData/Training/label/label0005.nii.gz"
        ).dataobj
    )
    assert set(np.unique(raw)) <= set(range(14))


def test_phantom_has_its_organs_where_anatomy_has_them(
    phantom_folder: Path, tmp_path: Path
) -> None:
    for case in prepare(phantom_folder, tmp_path / "out").cases:
        volume = load_case(case)
        centre = {  # (D, H, W): superior, posterior, left
            organ.name: np.argwhere(volume.label == organ.label).mean(axis=0)
            for organ in SYNAPSE.organs
            if case.voxels[organ.name]
        }
        assert centre["liver"][2] < centre["aorta"][2] < centre["spleen"][2]
        assert centre["right_kidney"][2] < centre["aorta"][2] < centre["left_kidney"][2]
        assert centre["spleen"][0] > centre["left_kidney"][0]  # higher
        assert centre["stomach"][1] < centre["spleen"][1]  # farther in front
        assert centre["pancreas"][1] < centre["aorta"][1]
        hu = {
            name: np.median(volume.image[volume.label == o])
            for o, name in _names().items()
            if case.voxels[name]
        }
        assert hu["aorta"] > hu["liver"] > 80
        assert hu["right_kidney"] > hu["liver"]


def _names() -> dict[int, str]:
    return {organ.label: organ.name for organ in SYNAPSE.organs}


@pytest.mark.parametrize("seed", range(8))
def test_every_phantom_has_organs_of_sensible_size(seed: int) -> None:
    drawn = draw_abdomen(np.random.default_rng((seed, 5)))
    millilitres = np.prod(drawn.spacing_mm) / 1000
    sizes = {
        "liver": (600, 2000), "spleen": (40, 400), "stomach": (100, 700), "pancreas": (15, 140),
        "right_kidney": (50, 260), "left_kidney": (50, 260), "aorta": (30, 200),
    }  # fmt: skip
    for organ, (least, most) in sizes.items():
        mask = drawn.label == CHALLENGE_LABELS[organ]
        assert least < mask.sum() * millilitres < most, organ
        pieces, count = ndimage.label(mask)
        assert np.bincount(pieces[mask])[1:].max() > 0.8 * mask.sum(), (organ, count)
    assert drawn.ct.min() < -900 and 500 < drawn.ct.max() <= 3071


def test_phantom_is_repeatable_and_differs_between_patients(
    phantom_folder: Path, tmp_path: Path
) -> None:
    again = make_phantom(tmp_path / "p", dataset="synapse", train=1, validation=0, test=0, seed=2)
    name = "RawData/Training/img/img0005.nii.gz"
    assert (again / name).read_bytes() == (phantom_folder / name).read_bytes()
    assert json.loads((again / "phantom.json").read_text())["dataset"] == "synapse"
    other = read_ct(phantom_folder / "RawData/Training/img/img0006.nii.gz").array
    assert (read_ct(again / name).array != other).mean() > 0.3


def test_embedded_abdomens(tmp_path: Path) -> None:
    folder = phantom_data(tmp_path / "prepared", dataset="synapse")
    manifest = load_manifest(folder)
    assert manifest.phantom and manifest.dataset == "synapse"
    counts = [len(manifest.split(name)) for name in ("train", "validation", "test")]
    assert counts == [8, 2, 2]
    assert phantom_data(folder, dataset="synapse") == folder


@pytest.mark.parametrize("wrong", [{"train": 18, "validation": 1}, {"test": 13}, {"incomplete": 1}])
def test_phantom_cannot_have_more_patients_than_the_challenge(tmp_path: Path, wrong: dict) -> None:
    with pytest.raises(OarfuseError, match="does not fit the challenge's numbering"):
        make_phantom(tmp_path / "p", dataset="synapse", **wrong)
