"""The phantom: anatomy in its place, repeatable, in the real data's layout, and marked as one."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from oarfuse.data import Manifest, leaking_slices, load_case, prepare_openkbp
from oarfuse.errors import OarfuseError
from oarfuse.phantom import COURSE_SIZES, SIZES, make_phantom
from oarfuse.phantom.drawing import Canvas, blend, noise, rotation
from oarfuse.phantom.head import draw_head


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_phantom(
        tmp_path_factory.mktemp("phantom") / "head", train=2, validation=1, test=1, incomplete=1
    )


@pytest.fixture(scope="module")
def manifest(phantom: Path) -> Manifest:
    return prepare_openkbp(phantom, phantom.parent / "prepared", progress=False)


def test_layout_is_the_real_data_sets(phantom: Path) -> None:
    folders = {path.relative_to(phantom).as_posix() for path in phantom.glob("*/*/*")}
    root = "provided-data"
    assert folders == {
        f"{root}/train-pats/pt_1",
        f"{root}/train-pats/pt_2",
        f"{root}/validation-pats/pt_3",
        f"{root}/test-pats/pt_4",
        f"{root}/train-pats/pt_5",
    }
    assert {path.stem for path in (phantom / root / "train-pats/pt_1").iterdir()} == {
        "Brainstem",
        "LeftParotid",
        "Mandible",
        "RightParotid",
        "SpinalCord",
        "ct",
        "possible_dose_mask",
        "voxel_dimensions",
    }


def test_prepared_as_a_phantom_without_the_incomplete_patient(manifest: Manifest) -> None:
    assert manifest.phantom
    counts = [len(manifest.split(name)) for name in ("train", "validation", "test")]
    assert counts == [2, 1, 1]
    assert [entry.case for entry in manifest.skipped] == ["pt_5"]
    assert not manifest.skipped[0].damaged


def test_anatomy_is_where_the_book_has_it(manifest: Manifest) -> None:
    for case in manifest.cases:
        volume = load_case(case)
        centre = {
            organ.name: np.array(ndimage.center_of_mass(volume.label == organ.label))
            for organ in manifest.spec.organs
        }
        superior, posterior, left = range(3)
        assert centre["brainstem"][superior] > centre["spinal_cord"][superior]
        assert centre["mandible"][posterior] < centre["spinal_cord"][posterior]
        assert centre["right_parotid"][left] < centre["brainstem"][left]
        assert centre["left_parotid"][left] > centre["brainstem"][left]
        assert all(count > 80 for count in case.voxels.values())
        hu = {
            o.name: np.median(volume.image[volume.label == o.label]) for o in manifest.spec.organs
        }
        assert hu["mandible"] > 300
        assert -60 < hu["left_parotid"] < 60 and -60 < hu["right_parotid"] < 60
        assert abs(hu["brainstem"] - 30) < 20 and abs(hu["spinal_cord"] - 40) < 25
        assert 1 <= case.overlap_voxels < 80


def test_organs_are_in_one_piece_and_inside_the_ct(manifest: Manifest) -> None:
    for case in manifest.cases:
        volume = load_case(case)
        for organ in manifest.spec.organs:
            mask = volume.label == organ.label
            assert ndimage.label(mask, np.ones((3, 3, 3)))[1] == 1, (case.case, organ.name)
            assert (volume.image[mask] > -1024).all()


def test_patients_differ_and_seeds_repeat() -> None:
    one, again, other = (draw_head(np.random.default_rng((3, n))) for n in (1, 1, 2))
    np.testing.assert_array_equal(one.ct, again.ct)
    assert one.spacing_mm == again.spacing_mm
    assert (one.masks["mandible"] != other.masks["mandible"]).any()


def test_patient_n_does_not_depend_on_how_many_there_are(phantom: Path, tmp_path: Path) -> None:
    alone = make_phantom(tmp_path / "one", train=1, validation=0, test=0)
    name = "provided-data/train-pats/pt_1/ct.csv"
    assert (alone / name).read_bytes() == (phantom / name).read_bytes()


def test_some_patients_leak_and_some_do_not(manifest: Manifest) -> None:
    volumes = [load_case(case) for case in manifest.cases]
    leaks = [int(leaking_slices(volume.image, volume.label).sum()) for volume in volumes]
    assert min(leaks) == 0 and max(leaks) >= 3


def test_same_arguments_do_nothing_and_others_replace(phantom: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"train": 1, "validation": 0, "test": 0}
    output = make_phantom(tmp_path / "head", **options, seed=1)
    file = output / "provided-data/train-pats/pt_1/ct.csv"
    stamp, first = file.stat().st_mtime_ns, file.read_bytes()
    make_phantom(output, **options, seed=1)
    assert file.stat().st_mtime_ns == stamp
    make_phantom(output, **options, seed=2)
    assert file.read_bytes() != first
    assert [path.name for path in tmp_path.iterdir()] == ["head"]


def test_the_command_and_the_function_draw_as_many_unless_told_otherwise() -> None:
    parameters = inspect.signature(make_phantom).parameters
    assert {split: parameters[split].default for split in SIZES} == SIZES
    assert SIZES == {"train": 6, "validation": 2, "test": 2}
    assert COURSE_SIZES == {"train": 8, "validation": 2, "test": 2}


def test_bad_requests(tmp_path: Path) -> None:
    with pytest.raises(OarfuseError, match="no data set named 'mars'"):
        make_phantom(tmp_path / "x", dataset="mars")
    with pytest.raises(OarfuseError, match="at least one patient"):
        make_phantom(tmp_path / "x", train=0, validation=0, test=0)
    with pytest.raises(OarfuseError, match="0 or more"):
        make_phantom(tmp_path / "x", train=-1)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.txt").write_text("do not delete")
    with pytest.raises(OarfuseError, match="is not a phantom"):
        make_phantom(tmp_path / "thesis")
    assert (tmp_path / "thesis/chapter.txt").exists()
    with pytest.raises(OarfuseError, match="Cannot write"):
        make_phantom(tmp_path / "thesis/chapter.txt/phantom")


# --- the drawing tools ---


def canvas(turn: np.ndarray | None = None) -> Canvas:
    return Canvas((40, 50, 60), (2.0, 2.0, 1.0), np.eye(3) if turn is None else turn, (0, 0, 0))


def test_ellipsoid_has_its_volume_and_place() -> None:
    board = canvas()
    mask = board.inside(board.ellipsoid((6, -10, 8), (12, 16, 10)))
    expected = 4 / 3 * np.pi * 12 * 16 * 10 / (2 * 2 * 1)
    assert mask.sum() == pytest.approx(expected, rel=0.02)
    # Index = middle + mm / step; the third axis runs to inferior.
    middle = (np.array(mask.shape) - 1) / 2
    np.testing.assert_allclose(
        ndimage.center_of_mass(mask), middle + np.array([3, -5, -8]), atol=0.1
    )


def test_turned_ellipsoid_keeps_its_volume() -> None:
    upright, turned = canvas(), canvas(rotation(10, -15, 20))
    sizes = [
        board.inside(board.ellipsoid((0, 0, 0), (13, 18, 15))).sum() for board in (upright, turned)
    ]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.02)


def test_tube_has_the_volume_of_a_cylinder_with_round_ends() -> None:
    board = canvas()
    mask = board.inside(board.tube([(0.6, 0.3, -12), (0.6, 0.3, 12)], 13))
    expected = (np.pi * 13**2 * 24 + 4 / 3 * np.pi * 13**3) / 4
    assert mask.sum() == pytest.approx(expected, rel=0.03)


def test_paint_blends_at_the_edge_and_stays_within() -> None:
    board = canvas()
    ball = board.ellipsoid((0, 0, 0), (12, 12, 12))
    board.paint(ball, 1000)
    assert board.hu.max() == pytest.approx(1000)
    assert ((board.hu > -900) & (board.hu < 900)).any()  # partial volume
    half = board.whole(board.coordinates[1])  # left of the middle is outside
    other = canvas()
    other.paint(ball, 1000, half)
    assert other.hu[:, :24].max() > 900
    assert other.hu[:, 27:].max() == pytest.approx(-1000)


def test_blend_covers_both_and_noise_is_standard() -> None:
    first, second = np.array([-5, 3, 9], np.float32), np.array([4, 3, -2], np.float32)
    assert (blend(first, second, mm=4) <= np.minimum(first, second)).all()
    field = noise(np.random.default_rng(0), (20, 20, 20), 1.5)
    assert field.mean() == pytest.approx(0, abs=1e-4)
    assert field.std() == pytest.approx(1, abs=1e-3)


def test_rotation_is_one() -> None:
    turn = rotation(5, 10, 15)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)
