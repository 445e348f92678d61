"""Preparing made-up patients: selection, overlaps, reruns, interruptions, and every bad source."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from filelock import FileLock

from oarfuse.data import Manifest, load_case, load_manifest, prepare_openkbp
from oarfuse.data import prepare as engine
from oarfuse.errors import OarfuseError
from tests.helpers.openkbp_files import (
    STEMS,
    ct_csv,
    flat,
    mask_csv,
    patient_files,
    three_patients,
    write_source,
    zip_source,
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source(tmp_path / "open-kbp", three_patients())


def prepare(source: Path, output: Path, **options: Any) -> Manifest:
    return prepare_openkbp(source, output, progress=False, **options)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (".lock", "manifest.json")
    }


def test_voxels_values_and_places(tmp_path: Path) -> None:
    files = patient_files()
    files["ct"] = ct_csv({flat(40, 41, 42): "1524.0", flat(127, 0, 5): "0.0"})
    source = write_source(tmp_path / "source", {"train/pt_1": files})
    case = prepare(source, tmp_path / "out").case("pt_1")
    image = nib.Nifti1Image.from_filename(case.image_path)
    stored = np.asarray(image.dataobj)
    assert stored.dtype == np.int16
    assert stored[40, 41, 42] == 500
    assert (stored == -1024).sum() == 128**3 - 1
    assert nib.aff2axcodes(image.affine) == ("P", "L", "I")
    np.testing.assert_allclose(nib.affines.voxel_sizes(image.affine), np.array((4.5, 4.0, 2.5)))
    np.testing.assert_allclose(image.affine @ (63.5, 63.5, 63.5, 1), (0, 0, 0, 1), atol=1e-9)
    assert image.header["sform_code"] == image.header["qform_code"] == 1
    np.testing.assert_allclose(image.header.get_qform(), image.affine, atol=1e-5)
    volume = load_case(case)
    # (D, H, W) = superior, posterior, left: the stored third axis, turned round, comes first.
    assert volume.image[127 - 42, 40, 41] == 500
    assert volume.spacing_mm == case.spacing_mm == (2.5, 4.5, 4.0)
    assert volume.image.flags["C_CONTIGUOUS"]


def test_overlap_goes_to_the_organ_with_priority(source: Path, tmp_path: Path) -> None:
    manifest = prepare(source, tmp_path / "out")
    case = manifest.case("pt_2")
    label = np.asarray(nib.Nifti1Image.from_filename(case.label_path).dataobj)
    assert manifest.overlap_priority[0] == "spinal_cord"
    assert label[42, 42, 61] == 2  # cord, although the brainstem claims it too
    assert case.overlap_voxels == 1
    assert case.overlaps == {"spinal_cord+brainstem": 1}
    assert case.voxels == {
        "brainstem": 7,
        "spinal_cord": 9,
        "right_parotid": 8,
        "left_parotid": 8,
        "mandible": 8,
    }
    assert {n: int((label == v).sum()) for v, n in enumerate(case.voxels, 1)} == case.voxels


def test_three_organs_on_one_voxel_count_once(tmp_path: Path) -> None:
    files = patient_files()
    for stem in STEMS:
        files[stem] = mask_csv([flat(42, 42, 61)]) + f"{flat(50, STEMS.index(stem), 0)},\n"
    source = write_source(tmp_path / "source", {"train/pt_1": files})
    case = prepare(source, tmp_path / "out").case("pt_1")
    assert case.overlap_voxels == 1
    assert sum(case.overlaps.values()) == 4  # each later organ met the owner


def test_manifest_says_what_was_left_out(tmp_path: Path) -> None:
    patients = three_patients()
    del patients["train/pt_10"]["Mandible"], patients["train/pt_10"]["Brainstem"]
    manifest = prepare(write_source(tmp_path / "kbp", patients), tmp_path / "out")
    assert [case.case for case in manifest.cases] == ["pt_2", "pt_201"]
    (skipped,) = manifest.skipped
    assert (skipped.case, skipped.split, skipped.damaged) == ("pt_10", "train", False)
    assert skipped.reason == "has no Brainstem, Mandible"
    assert manifest.complete and not manifest.phantom
    assert manifest.source == "kbp"
    assert str(tmp_path) not in (tmp_path / "out/manifest.json").read_text()


@pytest.mark.parametrize("prefix", ["open-kbp-master/", "", "a/b/open-kbp-1234/"])
def test_zip_and_folders_give_the_same_files(source: Path, tmp_path: Path, prefix: str) -> None:
    archive = zip_source(source, tmp_path / "kbp.zip", prefix)
    prepare(archive, tmp_path / "from_zip", workers=1)
    prepare(source, tmp_path / "from_root", workers=3)
    prepare(source / "provided-data", tmp_path / "from_data")
    prepare(source.parent, tmp_path / "from_parent")
    wanted = contents(tmp_path / "from_zip")
    assert len(wanted) == 6
    for other in ("from_root", "from_data", "from_parent"):
        assert contents(tmp_path / other) == wanted
    entries = [
        json.loads((tmp_path / name / "manifest.json").read_text())["cases"]
        for name in ("from_zip", "from_root")
    ]
    assert entries[0] == entries[1]


def test_nothing_is_unpacked_beside_the_zip(source: Path, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    place.mkdir()
    prepare(zip_source(source, place / "kbp.zip"), tmp_path / "out")
    assert [path.name for path in place.iterdir()] == ["kbp.zip"]
    assert not list((tmp_path / "out").rglob("*.csv"))


def test_windows_line_ends_change_nothing(source: Path, tmp_path: Path) -> None:
    prepare(source, tmp_path / "unix")
    for file in source.rglob("*.csv"):
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    prepare(source, tmp_path / "windows")
    assert contents(tmp_path / "unix") == contents(tmp_path / "windows")


def test_rerun_writes_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepare(source, tmp_path / "out")
    monkeypatch.setattr(engine, "write_image", lambda *_: pytest.fail("wrote an image again"))
    assert prepare(source, tmp_path / "out") == first


def test_rerun_mends_what_is_missing_damaged_or_changed(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    manifest = prepare(source, out)
    wanted = contents(out)
    stamp = manifest.case("pt_201").image_path.stat().st_mtime_ns
    manifest.case("pt_2").label_path.unlink()
    manifest.case("pt_10").image_path.write_bytes(b"half a fi")
    assert prepare(source, out) == manifest
    assert contents(out) == wanted
    assert manifest.case("pt_201").image_path.stat().st_mtime_ns == stamp
    ct = source / "provided-data/validation-pats/pt_201/ct.csv"
    ct.write_text(ct_csv({flat(1, 2, 3): "1025.0"}))
    changed = prepare(source, out)
    assert load_case(changed.case("pt_201")).image.max() == 1


def test_lexicographic_rule_uses_each_patient_once(tmp_path: Path) -> None:
    numbers = range(1, 21)
    patients = {f"{'train' if n < 15 else 'test'}/pt_{n}": patient_files(n) for n in numbers}
    source = write_source(tmp_path / "kbp", patients)
    manifest = prepare(source, tmp_path / "out", split_rule="lexicographic")
    order = sorted(f"pt_{n}" for n in numbers)
    assert order[:3] == ["pt_1", "pt_10", "pt_11"]
    by_split = [{c.case for c in manifest.split(s)} for s in ("train", "validation", "test")]
    assert by_split == [set(order[:14]), set(order[14:17]), set(order[17:])]
    assert manifest.split_rule == "lexicographic"


def test_lexicographic_rule_gives_132_28_28_of_188() -> None:
    from oarfuse.data.openkbp.prepare import _splits
    from oarfuse.data.openkbp.source import Patient

    splits = _splits([Patient(f"pt_{n}", "train", {}) for n in range(188)], "lexicographic")
    counts = [list(splits.values()).count(name) for name in ("train", "validation", "test")]
    assert counts == [132, 28, 28]


# --- damaged patients: the others are finished, the error names the culprit ---


@pytest.mark.parametrize(
    ("stem", "text", "expected"),
    [
        ("ct", None, "pt_10/ct.csv is missing"),
        ("voxel_dimensions", None, "pt_10/voxel_dimensions.csv is missing"),
        ("ct", "", "pt_10/ct.csv is empty"),
        ("ct", ",data\n5,515.0\n6,5", "ends in the middle of a line"),
        ("Mandible", ",data\n", "pt_10/Mandible.csv lists no voxel"),
        ("SpinalCord", ",data\n2097152,\n", "index 2097152"),
        ("ct", ",data\n5,nan\n", "no whole number"),
        ("voxel_dimensions", "4\n4\n", "2 voxel sizes"),
    ],
)
def test_damaged_patient_is_named_and_the_others_stay(
    tmp_path: Path, stem: str, text: str | None, expected: str
) -> None:
    patients = three_patients()
    good = patients["train/pt_10"][stem]
    if text is None:
        del patients["train/pt_10"][stem]
    else:
        patients["train/pt_10"][stem] = text
    source, out = write_source(tmp_path / "kbp", patients), tmp_path / "out"
    with pytest.raises(OarfuseError) as caught:
        prepare(source, out)
    message = str(caught.value)
    assert expected in message and "other 2 patients" in message and "\n" not in message
    manifest = load_manifest(out)
    assert [case.case for case in manifest.cases] == ["pt_2", "pt_201"]
    assert [(entry.case, entry.damaged) for entry in manifest.skipped] == [("pt_10", True)]
    assert all(load_case(case).label.any() for case in manifest.cases)
    (source / f"provided-data/train-pats/pt_10/{stem}.csv").write_text(good)
    assert len(prepare(source, out).cases) == 3
    assert not load_manifest(out).skipped


def test_several_damaged_patients_are_counted(tmp_path: Path) -> None:
    patients = three_patients()
    patients["train/pt_2"]["ct"] = patients["train/pt_10"]["ct"] = "broken"
    with pytest.raises(OarfuseError, match=r"and 1 more.*other 1 patients"):
        prepare(write_source(tmp_path / "kbp", patients), tmp_path / "out")


def test_damaged_zip_member_is_named(source: Path, tmp_path: Path) -> None:
    path = zip_source(source, tmp_path / "kbp.zip")
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("open-kbp-master/provided-data/train-pats/pt_10/ct.csv")
    data = bytearray(path.read_bytes())
    middle = info.header_offset + info.compress_size // 2
    data[middle : middle + 8] = b"\x00" * 8
    path.write_bytes(data)
    with pytest.raises(OarfuseError, match=r"pt_10/ct\.csv in kbp\.zip is damaged.*download"):
        prepare(path, tmp_path / "out")
    assert len(load_manifest(tmp_path / "out").cases) == 2


def test_source_file_larger_than_any_ct_is_refused(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    zip_source(source, path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for stem in (*STEMS, "voxel_dimensions"):
            name = f"open-kbp-master/provided-data/test-pats/pt_300/{stem}.csv"
            archive.writestr(name, patient_files()[stem])
        bomb = "open-kbp-master/provided-data/test-pats/pt_300/ct.csv"
        with archive.open(bomb, "w") as member:
            for _ in range(101):
                member.write(b"0" * 1_000_000)
    with pytest.raises(OarfuseError, match=r"pt_300/ct\.csv has 101000000 bytes"):
        prepare(path, tmp_path / "out")


def test_output_that_holds_something_else(source: Path, tmp_path: Path) -> None:
    prepare(source, tmp_path / "out")
    with pytest.raises(OarfuseError, match="split rule folders, not lexicographic"):
        prepare(source, tmp_path / "out", split_rule="lexicographic")
    other = write_source(tmp_path / "other", {"train/pt_2": patient_files()})
    with pytest.raises(OarfuseError, match=r"2 patients that other lacks \(pt_10, pt_201\)"):
        prepare(other, tmp_path / "out")


def test_output_that_cannot_be_a_folder(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OarfuseError, match="Cannot write"):
        prepare(source, tmp_path / "file")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write into every folder"
)
def test_output_without_permission(source: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    with pytest.raises(OarfuseError, match="folder that you can write to"):
        prepare(source, tmp_path / "locked/out")


def test_full_disk_stops_with_a_sentence(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = Path.write_bytes, [3]

    def write_bytes(self: Path, data: bytes) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    with pytest.raises(OarfuseError, match="No space is left"):
        prepare(source, tmp_path / "out", workers=1)
    monkeypatch.undo()
    manifest = load_manifest(tmp_path / "out")
    assert len(manifest.cases) == 1 and not manifest.complete
    assert load_case(manifest.cases[0]).label.any()
    assert not list((tmp_path / "out").rglob("*.partial*"))
    assert len(prepare(source, tmp_path / "out").cases) == 3


def test_second_run_into_the_same_folder_refuses(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with (
        FileLock(tmp_path / "out/.lock"),
        pytest.raises(OarfuseError, match="Another process is preparing"),
    ):
        prepare(source, tmp_path / "out")


DIES_BETWEEN_TWO_FILES = """
import os, signal, sys
from oarfuse.data import prepare
from oarfuse.data.openkbp.prepare import prepare_openkbp

written = []
write_image = prepare.write_image

def dies_before_the_fourth_label(path, *given, **named):
    written.append(path)
    if len(written) == 2 * 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return write_image(path, *given, **named)

prepare.write_image = dies_before_the_fourth_label
prepare_openkbp(sys.argv[1], sys.argv[2], workers=1, progress=False)
"""


def test_kill_leaves_finished_patients_and_a_rerun_completes(tmp_path: Path) -> None:
    patients = {f"train/pt_{n}": patient_files(n) for n in range(1, 16)}
    source, out = write_source(tmp_path / "kbp", patients), tmp_path / "out"
    command = [sys.executable, "-c", DIES_BETWEEN_TWO_FILES, str(source), str(out)]
    assert subprocess.run(command, timeout=120).returncode == -signal.SIGKILL
    manifest = load_manifest(out)
    assert not manifest.complete
    assert len(manifest.cases) == 3
    assert len(list((out / "images").glob("pt_*"))) == 4
    for case in manifest.cases:
        assert load_case(case).label.any()
    (out / "images/.pt_1-k1lled00.partial.nii.gz").write_bytes(b"left behind")
    whole = prepare(source, out)
    assert whole.complete and len(whole.cases) == 15
    assert not list(out.rglob("*.partial*"))
    prepare(source, tmp_path / "in_one_go")
    assert contents(out) == contents(tmp_path / "in_one_go")
