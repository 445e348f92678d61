"""Augmentation against MONAI's transforms and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import (
    AdjustContrast,
    Affine,
    Compose,
    GaussianSmooth,
    RandAdjustContrast,
    RandAffined,
    RandGaussianNoise,
    RandGaussianSmooth,
    RandScaleIntensity,
    RandShiftIntensity,
)
from torch import Tensor

from oarfuse.data.augment import (
    Change,
    augment_batch,
    draw_change,
    mirror,
    wide_enough,
)
from oarfuse.data.ct import scale_window
from oarfuse.errors import OarfuseError
from oarfuse.organs import OPENKBP, SYNAPSE
from tests.helpers.patches import augment_patch

SIDES = (24, 20, 28)
LOW, HIGH = OPENKBP.window_hu


def tensor_of(found: object) -> Tensor:
    """What one of MONAI's transforms returned, without the record that it keeps."""
    assert isinstance(found, MetaTensor)
    return found.as_tensor()


def drawing(sides: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """An asymmetric smooth image in HU and five boxes, one a label: (D, H, W) each."""
    d, h, w = (np.linspace(-1, 1, side) for side in sides)
    wave = np.sin(3 * d)[:, None, None] + np.cos(4 * h)[:, None] * np.sin(2 * w + 1)
    image = (120 + 180 * wave).astype(np.int16)
    label = np.zeros(sides, np.uint8)
    middle = [side // 2 for side in sides]
    for value, (z, y, x) in enumerate(
        [(-6, -5, -7), (5, -4, 6), (-4, 5, 2), (4, 5, -6), (0, 0, 0)], start=1
    ):
        place = zip(middle, (z, y, x), strict=True)
        label[tuple(slice(m + at - 2, m + at + 2) for m, at in place)] = value
    return torch.from_numpy(image), torch.from_numpy(label)


def apply(image: Tensor, label: Tensor, change: Change, sides: tuple[int, int, int]) -> Any:
    """The image in 0..1 and the label after one change: (D, H, W) each."""
    patch = augment_batch(image[None], label[None], [change], OPENKBP, sides)
    return patch["image"][0, 0], patch["label"][0, 0]


def hu(unit: Tensor) -> Tensor:
    """HU of intensities in 0..1."""
    return (LOW + (HIGH - LOW) * unit).round().short()


def middle_of(wide: Tensor, sides: tuple[int, int, int]) -> Tensor:
    starts = [(full - side) // 2 for full, side in zip(wide.shape, sides, strict=True)]
    return wide[tuple(slice(s, s + side) for s, side in zip(starts, sides, strict=True))]


# --- one change at a time ----------------------------------------------------------------------


@pytest.mark.parametrize("sides", [(8, 8, 8), (7, 12, 9), (96, 64, 64)])
@pytest.mark.parametrize("strength", [0.001, 1.0, 4.0])
def test_cut_has_the_same_middle_as_the_patch(sides: tuple[int, int, int], strength: float) -> None:
    for wide, side in zip(wide_enough(sides, strength), sides, strict=True):
        assert (wide - side) % 2 == 0
        assert side * (1 + 0.3 * strength) <= wide <= side * (1 + 0.3 * strength) + 2


def test_no_change_returns_the_middle_of_the_cut() -> None:
    image, label = drawing(wide_enough(SIDES, 1.0))
    found, values = apply(image, label, Change(), SIDES)
    assert torch.equal(found, scale_window(middle_of(image, SIDES), OPENKBP.window_hu))
    assert torch.equal(values, middle_of(label, SIDES).long())


def test_cut_that_is_smaller_than_the_patch_is_refused() -> None:
    image, label = drawing((20, 20, 20))
    with pytest.raises(OarfuseError, match="does not fit into a cut"):
        apply(image, label, Change(), (20, 21, 20))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_quarter_turn_is_a_quarter_turn(axis: int) -> None:
    sides = (24, 24, 24)
    image, label = drawing(sides)
    angles = [0.0, 0.0, 0.0]
    angles[axis] = np.pi / 2
    found, values = apply(image, label, Change(angles=(angles[0], angles[1], angles[2])), sides)
    plane = [(1, 2), (2, 0), (0, 1)][axis]
    expected = scale_window(image, OPENKBP.window_hu)
    torch.testing.assert_close(found, torch.rot90(expected, -1, plane), atol=1e-4, rtol=0)
    assert torch.equal(values, torch.rot90(label, -1, plane).long())


def test_zoom_of_two_takes_every_other_place() -> None:
    sides = (16, 16, 16)
    image, label = drawing((32, 32, 32))
    change = Change(zoom=(2.0, 2.0, 2.0))
    found, values = apply(image, label, change, sides)
    unit = scale_window(image, OPENKBP.window_hu)
    # the middle of a voxel twice as large is the corner between eight
    mean = torch.nn.functional.avg_pool3d(unit[None, None], 2)[0, 0]
    torch.testing.assert_close(found, mean, atol=1e-5, rtol=0)
    assert (values > 0).sum() == (label > 0).sum() / 8
    half, _ = apply(image, label, Change(zoom=(0.5, 0.5, 0.5)), (32, 32, 32))
    assert half[15:17, 15:17, 15:17].mean() == pytest.approx(unit[15:17, 15:17, 15:17].mean())


@pytest.mark.parametrize(
    ("angles", "zoom"),
    [((0.25, 0.0, 0.0), (1.0, 1.0, 1.0)), ((0.2, -0.15, 0.1), (0.9, 1.1, 1.15))],
)
def test_turning_equals_monais(
    angles: tuple[float, float, float], zoom: tuple[float, float, float]
) -> None:
    image, label = drawing(wide_enough(SIDES, 1.0))
    found, values = apply(image, label, Change(angles=angles, zoom=zoom), SIDES)

    def monai(tensor: Tensor, mode: str, padding_mode: str) -> Tensor:
        turn = Affine(
            rotate_params=list(angles), scale_params=list(zoom), spatial_size=SIDES,
            mode=mode, padding_mode=padding_mode, image_only=True,
        )  # fmt: skip
        return tensor_of(turn(tensor[None]))[0]

    expected = monai(scale_window(image, OPENKBP.window_hu), "bilinear", "border")
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    other = values != monai(label.float(), "nearest", "zeros").long()
    assert other.float().mean() < 1e-4, "places half-way between two voxels may fall to either"


@pytest.mark.parametrize("turn", [{}, {"angles": (0.2, 0.1, -0.1), "zoom": (1.1, 0.9, 1.0)}])
def test_mirroring_swaps_paired_labels(turn: dict[str, Any]) -> None:
    image, label = drawing(wide_enough(SIDES, 1.0))
    plain = apply(image, label, Change(**turn), SIDES)
    found, values = apply(image, label, Change(mirrored=True, **turn), SIDES)
    expected, swapped = mirror(plain[0], plain[1], OPENKBP)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert torch.equal(values, swapped)
    assert (values == 3).sum() == (plain[1] == 4).sum() != 0


def test_intensity_by_hand() -> None:
    image, label = torch.full((2, 2, 2), 120, dtype=torch.int16), torch.zeros(2, 2, 2).byte()
    image[0, 0, 0], image[1, 1, 1] = -1024, 3000  # 0 and 1; the rest is 0.5
    found, _ = apply(image, label, Change(factor=1.2, shift=-0.05), (2, 2, 2))
    assert found[0, 0, 1] == pytest.approx(0.55)  # 0.5 * 1.2 - 0.05
    assert found[0, 0, 0] == 0 and found[1, 1, 1] == 1, "clipped to 0..1"
    found, _ = apply(image, label, Change(factor=0.5, shift=0.1, gamma=2.0), (2, 2, 2))
    # 0.1, 0.35, 0.6: 0.35 is half-way, so it comes to a quarter of the way
    assert found[0, 0, 0] == pytest.approx(0.1) and found[1, 1, 1] == pytest.approx(0.6)
    assert found[0, 0, 1] == pytest.approx(0.225, abs=1e-5)


def test_contrast_and_blur_equal_monais() -> None:
    image, label = drawing(SIDES)
    unit = scale_window(image, OPENKBP.window_hu)
    found, _ = apply(image, label, Change(gamma=0.8), SIDES)
    expected = tensor_of(AdjustContrast(0.8)(unit[None]))[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    for sigmas in ((0.3, 0.5, 0.8), (0.8, 0.31, 1.7)):
        found, _ = apply(image, label, Change(sigmas=sigmas), SIDES)
        expected = tensor_of(GaussianSmooth(sigma=list(sigmas))(unit[None]))[0]
        torch.testing.assert_close(found, expected.clamp(0, 1), atol=1e-5, rtol=0)


def test_blur_keeps_the_sum_of_a_blob_and_widens_it() -> None:
    unit = torch.zeros(21, 21, 21)
    unit[8:13, 8:13, 8:13] = 1
    found, _ = apply(hu(unit), unit.byte(), Change(sigmas=(0.8, 0.8, 0.8)), (21, 21, 21))
    assert found.sum().item() == pytest.approx(125, rel=1e-3)
    assert found[10, 10, 10] < 1 and found[7, 10, 10] > 0.1


def test_noise_has_its_spread_and_depends_on_its_seed_alone() -> None:
    sides = (40, 40, 40)
    grey, label = hu(torch.full(sides, 0.5)), torch.zeros(sides).byte()
    noise, again, other = (
        apply(grey, label, Change(noise_std=0.03, noise_seed=seed), sides)[0] for seed in (7, 7, 8)
    )
    assert noise.std().item() == pytest.approx(0.03, rel=0.02)
    assert noise.mean().item() == pytest.approx(0.5, abs=1e-3)
    assert torch.equal(noise, again) and not torch.equal(noise, other)


@pytest.mark.parametrize("sides", [SIDES, (13, 11, 17)])
def test_patch_does_not_depend_on_its_batch(sides: tuple[int, int, int]) -> None:
    cuts = [drawing(wide_enough(sides, 1.0)) for _ in range(12)]
    images = torch.stack([image + row for row, (image, _) in enumerate(cuts)])
    labels = torch.stack([label for _, label in cuts])
    changes = [draw_change(np.random.default_rng(row), 1.0, mirrors=True) for row in range(12)]
    # every kind of change, and patches without it
    for kind in (
        [change.turned for change in changes],
        [change.mirrored for change in changes],
        [change.gamma != 1 for change in changes],
        [any(change.sigmas) for change in changes],
        [change.noise_std > 0 for change in changes],
    ):
        assert any(kind) and not all(kind)
    whole = augment_batch(images, labels, changes, OPENKBP, sides)
    for row, change in enumerate(changes):
        one = slice(row, row + 1)
        alone = augment_batch(images[one], labels[one], [change], OPENKBP, sides)
        for name in ("image", "label"):
            assert torch.equal(whole[name][one], alone[name]), (name, change)


# --- the distribution of the changes -----------------------------------------------------------


def monais(image: Tensor, label: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """The same augmentation as `augment_patch` at strength 1 by MONAI's transforms."""
    spatial = RandAffined(
        keys=("image", "label"), prob=0.8, rotate_range=tuple(np.deg2rad((15, 10, 10))),
        scale_range=(0.15,) * 3, spatial_size=SIDES, mode=("bilinear", "nearest"),
        padding_mode=("border", "zeros"),
    )  # fmt: skip
    sigma = (0.3, 0.8)
    intensity = Compose(
        [
            RandScaleIntensity(factors=0.15, prob=0.5),
            RandShiftIntensity(offsets=0.05, prob=0.5),
            RandAdjustContrast(gamma=(0.75, 1.35), prob=0.3),
            RandGaussianSmooth(sigma_x=sigma, sigma_y=sigma, sigma_z=sigma, prob=0.15),
            RandGaussianNoise(std=0.04, prob=0.3),
        ]
    )
    spatial.set_random_state(seed=seed)
    intensity.set_random_state(seed=10**6 + seed)
    unit = scale_window(image, OPENKBP.window_hu)
    turned = spatial({"image": unit[None], "label": label.float()[None]})
    found, values = tensor_of(turned["image"]), tensor_of(turned["label"]).byte()
    if np.random.default_rng(seed).random() < 0.5:
        found, values = mirror(found, values, OPENKBP)
    return intensity(found).as_tensor().clamp_(0, 1), values


def test_distribution_is_that_of_monais_transforms() -> None:
    image, label = drawing(wide_enough(SIDES, 1.0))
    count = 500

    def figures(found: Tensor, values: Tensor) -> list[float]:
        """What turning, zooming, mirroring and the intensity each leave a mark on."""
        counts = torch.bincount(values.flatten().long(), minlength=6)[1:].tolist()
        places = [(values == 5).nonzero()[:, -3:].float().std(0).tolist()][0]
        rough = found.diff(dim=-1).std().item()
        side = found[..., : SIDES[2] // 2].mean().item()
        return [found.mean().item(), found.std().item(), rough, side, *counts, *places]

    ours, theirs = [], []
    for seed in range(count):
        random = np.random.default_rng([1, seed])
        patch = augment_patch(image, label, OPENKBP, SIDES, random, 1.0)
        ours.append(figures(patch["image"], patch["label"]))
        theirs.append(figures(*monais(image, label, seed)))
    a, b = np.array(ours), np.array(theirs)
    spread = b.std(0)
    assert (spread > 0).all()
    # Means differ by less than four standard errors, spreads by less than a fifth.
    assert (abs(a.mean(0) - b.mean(0)) < 4 * spread * np.sqrt(2 / count)).all()
    np.testing.assert_allclose(a.std(0), spread, rtol=0.2)


def test_shares_and_ranges_of_the_changes() -> None:
    random = np.random.default_rng(0)
    changes = [draw_change(random, 2.0, mirrors=True) for _ in range(4000)]

    def check(values: list[float], share: float, low: float, high: float, none: float) -> None:
        """Uniform from `low` to `high` in `share` of the changes, else `none`."""
        made = np.array([value for value in values if value != none])
        assert len(made) / len(values) == pytest.approx(share, abs=0.03)
        assert low <= made.min() and made.max() <= high
        width = high - low
        assert made.mean() == pytest.approx((low + high) / 2, abs=0.05 * width)
        assert made.std() == pytest.approx(width / 12**0.5, rel=0.05)

    for axis, degrees in enumerate((30, 20, 20)):
        turn = float(np.deg2rad(degrees))
        check([change.angles[axis] for change in changes], 0.8, -turn, turn, 0)
        check([change.zoom[axis] for change in changes], 0.8, 0.7, 1.3, 1)
        check([change.sigmas[axis] for change in changes], 0.15, 0.3, 1.3, 0)
    check([change.factor for change in changes], 0.5, 0.7, 1.3, 1)
    check([change.shift for change in changes], 0.5, -0.1, 0.1, 0)
    check([change.gamma for change in changes], 0.3, 0.75**2, 1.35**2, 1)
    check([change.noise_std for change in changes], 0.3, 0, 0.08, 0)
    assert np.mean([change.mirrored for change in changes]) == pytest.approx(0.5, abs=0.03)
    assert len({change.noise_seed for change in changes}) == 4000
    assert not SYNAPSE.mirror_pairs
    assert not any(draw_change(random, 1.0, mirrors=False).mirrored for _ in range(50))
