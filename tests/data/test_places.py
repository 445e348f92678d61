"""Places that would silently be wrong: grids, headers and Hounsfield units."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from oarfuse.cli import main
from oarfuse.data import load_case, load_manifest, read_ct, read_nifti
from oarfuse.data.grids import corners_apart, difference, is_sheared, obliquity
from oarfuse.errors import OarfuseError
from oarfuse.evaluation import score_predictions
from oarfuse.weights import ModelInfo, save_weights
from tests.helpers.grids import turned
from tests.helpers.small_data import write_small_data

Change = Callable[[nib.Nifti1Image], nib.Nifti1Image]
AFFINE = np.diag([2.0, 2, 3, 1])
MIRRORED = np.diag([-2.0, 2, 3, 1])


def body() -> np.ndarray:
    """(40, 40, 40) int16: air, a soft body, a bone."""
    random = np.random.default_rng(0)
    hu = random.integers(-1020, -980, (40, 40, 40)).astype(np.int16)
    hu[10:30, 10:30, 5:35] = random.normal(40, 30, (20, 20, 30)).astype(np.int16)
    hu[18:22, 25:29, 5:35] = 700
    return hu


# --- two grids --------------------------------------------------------------------------------


def test_difference_compares_shape_origin_directions_and_spacing() -> None:
    shape = (10, 12, 14)
    assert difference(shape, AFFINE, shape, AFFINE) is None
    moved = AFFINE.copy()
    moved[0, 3] += 0.4  # a fifth of a voxel
    assert difference(shape, moved, shape, AFFINE) is None
    moved[0, 3] += 0.6  # half a voxel in all
    assert difference(shape, moved, shape, AFFINE) == "lies 1.0 mm beside its image"
    said = difference(shape, turned(AFFINE, shape, 17), shape, AFFINE)
    assert said is not None and said.startswith("is turned by 17.0 degrees against its image")
    wide = AFFINE @ np.diag([1.1, 1, 1, 1])
    assert "of (2.2, 2, 3) mm where its image" in str(difference(shape, wide, shape, AFFINE))
    assert "(10, 12, 13) voxels" in str(difference((10, 12, 13), AFFINE, shape, AFFINE))
    assert "turned by" in str(difference(shape, MIRRORED, shape, AFFINE))
    # The far corner of a turn by 90 degrees about the first voxel: sqrt(2) * 2 mm * 9.
    quarter = AFFINE[:, [1, 0, 2, 3]] @ np.diag([-1, 1, 1, 1])
    assert corners_apart((10, 10, 1), quarter, AFFINE) == pytest.approx(36.0)


def test_shear_and_obliquity() -> None:
    sheared = AFFINE.copy()
    sheared[1, 2] = 1.0
    assert is_sheared((40, 40, 40), sheared)
    for degrees in (0, 17, 30):
        straight = turned(AFFINE, (40, 40, 40), degrees)
        assert not is_sheared((40, 40, 40), straight)
        assert obliquity(straight) == pytest.approx(degrees, abs=1e-5)


def scored(tmp_path: Path, change: Change) -> float:
    """Score the truth as a prediction after a change of its file; return the mean DSC."""
    (case,) = write_small_data(tmp_path / "data", train=0, validation=1).cases
    folder = tmp_path / "predictions"
    folder.mkdir()
    truth = nib.Nifti1Image.from_filename(case.label_path)
    nib.save(change(truth), folder / f"{case.case}.nii.gz")
    result = score_predictions(
        folder, tmp_path / "data", "validation", tmp_path / "out", method="x", progress=False
    )
    return float(result.metrics["dsc"].mean())


def with_affine(image: nib.Nifti1Image, affine: np.ndarray) -> nib.Nifti1Image:
    return nib.Nifti1Image(np.asarray(image.dataobj), affine)


def moved_by(mm: float) -> Change:
    def change(image: nib.Nifti1Image) -> nib.Nifti1Image:
        affine = image.affine.copy()
        affine[1, 3] += mm
        return with_affine(image, affine)

    return change


def mirror_header(image: nib.Nifti1Image) -> nib.Nifti1Image:
    """The same voxels in the same place as a whole, with left and right exchanged."""
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, 0] * (image.shape[0] - 1)
    affine[:3, 0] *= -1
    return with_affine(image, affine)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (moved_by(90), "lies 90.0 mm beside the case"),
        (moved_by(-2), "lies 2.0 mm beside the case"),
        (
            lambda image: with_affine(image, turned(image.affine, image.shape, 17)),
            "is turned by 17.0 degrees",
        ),
        (lambda image: with_affine(image, image.affine @ np.diag([1.02, 1, 1, 1])), "resample it"),
    ],
)
def test_labels_that_lie_elsewhere_are_not_scored(
    tmp_path: Path, change: Change, said: str
) -> None:
    with pytest.raises(OarfuseError, match=said) as caught:
        scored(tmp_path, change)
    assert "pt_1.nii.gz" in str(caught.value)
    assert not (tmp_path / "out" / "summary.json").exists()


def test_rounded_headers_and_whole_turns_are_scored(tmp_path: Path) -> None:
    assert scored(tmp_path / "a", moved_by(0.01)) == 1
    axes = nib.orientations.axcodes2ornt("SPR")

    def reoriented(image: nib.Nifti1Image) -> nib.Nifti1Image:
        here = nib.io_orientation(image.affine)
        return image.as_reoriented(nib.orientations.ornt_transform(here, axes))

    assert scored(tmp_path / "b", reoriented) == 1
    # A mirrored header puts each voxel on the other side: the labels lie there, and score so.
    assert scored(tmp_path / "c", mirror_header) < 0.5


def test_labels_of_any_kind_of_number_are_scored_alike(tmp_path: Path) -> None:
    def stored_as(kind: str) -> Change:
        def change(image: nib.Nifti1Image) -> nib.Nifti1Image:
            header = nib.Nifti1Header(endianness=">" if kind.startswith(">") else "<")
            header.set_data_dtype(np.dtype(kind))
            return nib.Nifti1Image(
                np.asarray(image.dataobj).astype(kind), image.affine, header, dtype=np.dtype(kind)
            )

        return change

    for number, kind in enumerate(("i1", ">i2", ">u4", ">f4", "f8", "i8")):
        assert scored(tmp_path / str(number), stored_as(kind)) == 1, kind


def test_prepared_label_that_lies_elsewhere_than_its_image(tmp_path: Path) -> None:
    (case,) = write_small_data(tmp_path, train=0, validation=1).cases
    image = nib.Nifti1Image.from_filename(case.label_path)
    nib.save(moved_by(8)(image), case.label_path)
    with pytest.raises(OarfuseError, match=r"pt_1\.nii\.gz lies 8\.0 mm beside its image: run"):
        load_case(load_manifest(tmp_path).cases[0])


# --- headers ----------------------------------------------------------------------------------


def header_with(
    tmp_path: Path, *, sform: np.ndarray = AFFINE, qform: np.ndarray | None = None,
    patch: tuple[int, str, tuple] | None = None,
) -> Path:  # fmt: skip
    """A CT with these forms; `patch` writes values at an offset into the finished header."""
    image = nib.Nifti1Image(body(), sform)
    image.set_sform(sform, 1)
    if qform is not None:
        image.set_qform(qform, 1)
    data = bytearray(image.to_bytes())
    if patch:
        offset, kind, values = patch
        struct.pack_into(f"<{kind}", data, offset, *values)
    path = tmp_path / "ct.nii"
    path.write_bytes(bytes(data))
    return path


def beside(mm: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[0, 3] = mm
    return affine


NAN = float("nan")
SHEARED = np.array([[2.0, 0, 0, 0], [0, 2, 0.8, 0], [0, 0, 3, 0], [0, 0, 0, 1]])
# Offsets of NIfTI-1: datatype 70, pixdim 76, vox_offset 108, xyzt_units 123, quaternion 256,
# srow_x 280, magic 344.
HEADERS: dict[str, tuple[dict[str, Any], str]] = {
    "sform and qform opposite": ({"qform": MIRRORED}, r"sform \(RAS\) and a qform \(LAS\)"),
    "sform and qform half a voxel apart": ({"qform": beside(1)}, "1.0 mm apart"),
    "qform upside down": ({"qform": np.diag([2.0, -2, -3, 1])}, "mm apart"),
    "qfac of 0": ({"sform": MIRRORED, "qform": MIRRORED, "patch": (76, "f", (0,))}, "mm apart"),
    "quaternion of NaN": ({"qform": AFFINE, "patch": (256, "f", (NAN,))}, "damaged"),
    "quaternion too long": ({"qform": AFFINE, "patch": (256, "3f", (3, 3, 3))}, "damaged"),
    "metres": ({"patch": (123, "B", (1,))}, "are in m: export it in mm"),
    "micrometres and seconds": ({"patch": (123, "B", (3 + 8,))}, "in micrometres"),
    "no unit that exists": ({"patch": (123, "B", (5,))}, "an unknown unit"),
    "sizes in metres": ({"sform": np.diag([0.002, 0.002, 0.003, 1])}, "true spacing"),
    "sizes in micrometres": ({"sform": np.diag([2000.0, 2000, 3000, 1])}, "true spacing"),
    "pixdim unlike the sform": ({"patch": (80, "3f", (1, 1, 1))}, "1, 1, 1 mm in its header"),
    "pixdim 0": ({"patch": (88, "f", (0,))}, "2, 2, 0 mm"),
    "pixdim negative": ({"patch": (84, "f", (-2,))}, "2, -2, 3 mm"),
    "pixdim NaN": ({"patch": (84, "f", (NAN,))}, "2, nan, 3 mm"),
    "sform NaN": ({"patch": (280, "f", (NAN,))}, "true spacing"),
    "tilted gantry": ({"sform": SHEARED}, "not at right angles"),
    "16 bits called 8": ({"patch": (70, "2h", (2, 8))}, "64000 bytes after the last voxel"),
    "half of the slices": ({"patch": (46, "h", (20,))}, "64000 bytes after the last voxel"),
    "header of a pair": ({"patch": (344, "4s", (b"ni1\0",))}, "one .nii file"),
    "voxels inside the header": ({"patch": (108, "f", (0,))}, "one .nii file"),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_contradict_themselves(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    changes, said = HEADERS[name]
    path = header_with(tmp_path, **changes)
    with pytest.raises(OarfuseError, match=said) as caught:
        read_ct(path)
    assert "ct.nii" in str(caught.value) and "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""  # nibabel's own remarks would make it two sentences


@pytest.mark.parametrize(
    "changes",
    [
        {"qform": AFFINE},
        {"qform": beside(0.01)},  # rounded
        {"sform": MIRRORED, "qform": MIRRORED},  # left-handed, as most CTs are
        {"patch": (123, "B", (2 + 8,))},  # mm and seconds
    ],
)
def test_headers_that_agree(tmp_path: Path, changes: dict) -> None:
    volume = read_ct(header_with(tmp_path, **changes))
    assert volume.spacing_mm == pytest.approx((3, 2, 2))
    corner = volume.array_affine @ [0, 0, 0, 1]  # the most inferior, anterior, right voxel
    far = volume.array_affine @ [39, 39, 39, 1]
    assert corner[2] < far[2] and corner[1] > far[1] and corner[0] > far[0]


def test_sides_follow_simpleitk(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is a development dependency")
    for name, affine in (("a", AFFINE), ("b", MIRRORED), ("c", turned(AFFINE, (40,) * 3, 17))):
        (tmp_path / name).mkdir()
        path = header_with(tmp_path / name, sform=affine, qform=affine)
        volume, theirs = read_nifti(path), sitk.ReadImage(str(path))
        place = theirs.TransformIndexToPhysicalPoint((3, 5, 7))  # LPS
        ras = volume.affine @ [3, 5, 7, 1]
        assert (-ras[0], -ras[1], ras[2]) == pytest.approx(place, abs=1e-3)


# --- Hounsfield units -------------------------------------------------------------------------


def padded(values: np.ndarray, *paddings: int) -> np.ndarray:
    values = values.copy()
    for number, padding in enumerate(paddings):
        values[4 * number : 4 * number + 4] = padding
    return values


NO_HU = {
    "0..255 and padding": lambda hu: padded((hu.clip(-160, 400) + 160) * 255 // 560, -1024),
    "0..1 and padding": lambda hu: padded((hu.clip(-160, 400) + 160) / 560, -1000),
    "1024 added and padding": lambda hu: padded(hu + 1024, -2000),
    "1024 added and two paddings": lambda hu: padded(hu + 1024, -2000, -1024),
    "1024 added, unsigned": lambda hu: (hu + 1024).astype(np.uint16),
    "1024 taken off twice": lambda hu: hu - 1024,
    "ten times": lambda hu: hu.astype(np.int32) * 10,
    "half": lambda hu: hu // 2,
    "a thousandth": lambda hu: hu / 1000,
    "negated": lambda hu: -hu,
    "window -200..300": lambda hu: hu.clip(-200, 300),
    "normalised": lambda hu: (hu - hu.mean()) / hu.std(),
    "wrapped to unsigned": lambda hu: hu.astype(np.uint16),
    "bytes swapped": lambda hu: hu.byteswap(),
    "MR": lambda hu: np.random.default_rng(0).gamma(2, 100, hu.shape).astype(np.int16),
}


@pytest.mark.parametrize("name", NO_HU)
def test_what_is_no_hu_is_refused_by_its_histogram(tmp_path: Path, name: str) -> None:
    values = NO_HU[name](body())
    values = values.astype(np.float32) if values.dtype.kind == "f" else values
    nib.save(nib.Nifti1Image(values, AFFINE, dtype=values.dtype), tmp_path / "ct.nii.gz")
    with pytest.raises(OarfuseError, match=r"ct\.nii\.gz holds .*no CT's Hounsfield units"):
        read_ct(tmp_path / "ct.nii.gz")


@pytest.mark.parametrize(
    "change",
    [
        lambda hu: hu,
        lambda hu: padded(hu, -2000),
        lambda hu: padded(hu, -3024, -1024),
        lambda hu: hu.clip(-1000, 400),
        lambda hu: np.pad(hu, 30, constant_values=-1024),
        lambda hu: np.where(hu > 600, 20_000, hu).astype(np.int16),  # metal
    ],
)
def test_ct_with_padding_metal_or_a_wide_window_is_read(
    tmp_path: Path, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    nib.save(nib.Nifti1Image(change(body()), AFFINE), tmp_path / "ct.nii.gz")
    assert read_ct(tmp_path / "ct.nii.gz").array.dtype == np.int16


def test_turned_ct_is_predicted_with_a_warning_that_stays(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    info = ModelInfo(
        model="oarfocalfusenet", options={"width": 2}, dataset="openkbp", window_hu=(-160, 400),
        patch_size=(32, 32, 32), spacing_mm=(3, 2, 2), spacing_range_mm=((3, 2, 2), (3, 2, 2)),
        phantom=True,
    )  # fmt: skip
    weights = tmp_path / "w.safetensors"
    save_weights(weights, info.build().state_dict(), info)
    for degrees, warned in ((10, False), (25, True)):
        path = header_with(tmp_path, sform=turned(AFFINE, (40, 40, 40), degrees))
        out = tmp_path / "labels.nii.gz"
        arguments = ["--weights", str(weights), "--input", str(path), "--output", str(out)]
        assert main(["predict", *arguments, "--device", "cpu"]) == 0
        assert ("ct.nii is turned by 25 degrees" in capfd.readouterr().err) is warned
        assert (
            b"turned by 25 degrees" in bytes(nib.Nifti1Image.from_filename(out).header["descrip"])
        ) is warned
        np.testing.assert_allclose(
            nib.Nifti1Image.from_filename(out).affine, nib.Nifti1Image.from_filename(path).affine
        )
