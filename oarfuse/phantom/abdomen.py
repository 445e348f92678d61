"""The procedural abdominal phantom: one seed, one patient, in the Synapse challenge's layout.

Places are (posterior, left, superior) in mm from the middle of the belly at the height of the
renal arteries; HU are rounded textbook values of a portal-venous scan. Nothing was measured on a
patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from oarfuse.data.ct import AIR_HU
from oarfuse.data.nifti import write_image
from oarfuse.data.synapse_labels import CHALLENGE_LABELS
from oarfuse.phantom.drawing import Canvas, Point, Shape, blend, noise, rotation

SHAPE = (128, 128, 48)  # posterior, left, inferior
AIR, LUNG, GAS, FAT, SKIN, WATER = -1000, -830, -950, -100, 15, 8
MUSCLE, BOWEL, BONE, MARROW, CORD = 58, 40, 620, 210, 30


@dataclass(frozen=True)
class AbdomenPhantom:
    """One drawn patient.

    Attributes
    ----------
    ct
        (128, 128, 48) int16, HU, axes to posterior, left, inferior.
    label
        The challenge's 13 label values, uint8, on the same grid.
    spacing_mm
        Along the array's axes.
    """

    ct: NDArray[np.int16]
    label: NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]


def write_patient(training: Path, number: int, drawn: AbdomenPhantom) -> None:
    """Write ``img/imgNNNN.nii.gz`` and ``label/labelNNNN.nii.gz``.

    As in a scan that a common DICOM converter wrote, the first axis runs to the patient's left,
    the second to anterior, the third to superior.
    """
    affine = np.diag((-drawn.spacing_mm[1], drawn.spacing_mm[0], drawn.spacing_mm[2], 1.0))
    height, width, depth = drawn.ct.shape
    affine[:3, 3] = -affine[:3, :3] @ ((np.array((width, height, depth)) - 1) / 2)
    for stem, array in (("img", drawn.ct), ("label", drawn.label)):
        # (posterior, left, inferior) -> (left, anterior, superior)
        stored = array.transpose(1, 0, 2)[:, ::-1, ::-1]
        image = nib.Nifti1Image(stored, affine)
        image.set_sform(affine, code="scanner")
        image.set_qform(affine, code="scanner")
        write_image(training / stem / f"{stem}{number:04d}.nii.gz", image)


def draw_abdomen(rng: np.random.Generator) -> AbdomenPhantom:
    """Draw a patient; everything that varies between patients comes from `rng`."""
    in_plane = float(rng.choice([2.75, 2.95, 3.1]))
    spacing = (in_plane, in_plane, float(rng.choice([5.0, 5.0, 4.5])))
    turn = rotation(*rng.normal(0, (1.5, 1.5, 3.0)))
    origin = rng.normal(0, 4, 3) + np.array((0, 0, -12))
    abdomen = _Abdomen(Canvas(SHAPE, spacing, turn, origin), rng)
    _draw_wall(abdomen)
    _draw_bowel(abdomen)
    _draw_chest(abdomen)
    _draw_spine_and_ribs(abdomen)
    _draw_kidneys(abdomen)
    _draw_liver(abdomen)
    _draw_spleen_and_stomach(abdomen)
    _draw_vessels(abdomen)
    _draw_pancreas(abdomen)
    return _scan(abdomen)


class _Abdomen:
    """One patient in the making: the CT, its labels, and what varies."""

    body: Shape  # the skin
    inner: Shape  # the inside of the muscular wall
    dome: NDArray[np.float32]  # (P, L, I) mm from the diaphragm, negative below it

    def __init__(self, canvas: Canvas, rng: np.random.Generator) -> None:
        self.canvas, self.rng = canvas, rng
        self.label = np.zeros(canvas.shape, np.uint8)
        self.size = float(np.clip(rng.normal(1, 0.05), 0.9, 1.1))
        self.coarse, self.fine = noise(rng, canvas.shape, 2.0), noise(rng, canvas.shape, 0.8)

    def at(self, place: Point, jitter: float = 0.0) -> NDArray[np.float64]:
        """A point of the standard belly in this one, moved at random (mm, 1 sigma)."""
        return np.asarray(place, float) * self.size + self.rng.normal(0, jitter, 3)

    def ball(self, place: Point, radii: Point, *, tilt: float = 0.0, vary: float = 0.06) -> Shape:
        """An ellipsoid whose place and radii differ a little in each patient."""
        wide = np.asarray(radii) * self.size * (1 + self.rng.normal(0, vary, 3))
        return self.canvas.ellipsoid(self.at(place, 2.5 if vary else 0), wide, tilt)

    def tube(
        self, places: Sequence[Point], radii: float | Point, flatten: Point = (1, 1, 1)
    ) -> Shape:
        """A tube through points of the standard belly."""
        wide = np.asarray(radii, float) * self.size
        return self.canvas.tube([self.at(place, 1.0) for place in places], wide, flatten)

    def whole(self, *shapes: Shape, seam_mm: float, rough_mm: float = 0.0) -> Shape:
        """Several shapes grown into one, with an uneven surface, inside the wall."""
        distance = blend(*(self.canvas.full(shape) for shape in shapes), mm=seam_mm)
        distance = np.maximum(distance + rough_mm * self.coarse, self.inner.distance + 2)
        return self.canvas.whole(distance)

    def free(self, distance: NDArray[np.float32]) -> Shape:
        """A shape that leaves to other organs what they have."""
        taken = np.where(self.label > 0, np.float32(1000), distance)
        return self.canvas.whole(taken.astype(np.float32))

    def paint(self, shape: Shape, hu: float, texture: float, organ: str | None = None) -> None:
        """Fill a shape with textured tissue, and label its voxels as an organ or as none."""
        grain = self.fine[shape.region]
        self.canvas.paint(shape, hu + texture * grain)
        mask = self.canvas.inside(shape)
        self.label[mask] = CHALLENGE_LABELS[organ] if organ else 0


def _draw_wall(abdomen: _Abdomen) -> None:
    """Skin, a layer of fat of varying thickness, the muscular wall, and fat inside of it."""
    canvas, rng = abdomen.canvas, abdomen.rng
    back, left, _ = canvas.coordinates
    deep, wide = 104 * abdomen.size, 158 * abdomen.size * rng.normal(1, 0.03)
    # A superellipse: flatter than an ellipse in front and at the back.
    power = np.float32(2.5)
    reach = (np.abs(back / deep) ** power + np.abs(left / wide) ** power) ** (1 / power)
    skin = (reach - 1) * np.float32(deep)
    groove = 9 * np.exp(-((left / 16) ** 2)) * (back > 0)  # along the spine
    abdomen.body = canvas.whole((skin + groove).astype(np.float32))
    fat = rng.uniform(9, 18)
    canvas.paint(abdomen.body, SKIN)
    canvas.paint(abdomen.body.grown(-2.5), FAT + 8 * abdomen.coarse)
    muscle = abdomen.body.grown(-2.5 - fat)
    canvas.paint(muscle, MUSCLE + 7 * abdomen.fine)
    canvas.paint(abdomen.body.grown(-7 - fat), FAT + 10 * abdomen.coarse)  # between the layers
    canvas.paint(abdomen.body.grown(-8.5 - fat), MUSCLE + 7 * abdomen.fine)
    inside = abdomen.body.distance + np.float32(13 + fat)
    spine = canvas.full(canvas.ellipsoid((84, 0, 0), (58, 64, 400)))
    abdomen.inner = canvas.whole(np.maximum(inside, -spine))
    canvas.paint(abdomen.inner, FAT + 14 * abdomen.coarse)
    for side in (-1, 1):
        for place, size in (((70, 34), (24, 26)), ((76, 64), (13, 20)), ((40, 40), (17, 15))):
            # Erector of the spine, lumbar square, psoas (which grows downward).
            ends = [(place[0], place[1] * side, -150), (place[0], place[1] * side, 120)]
            shape = abdomen.tube(ends, (size[0] * 0.9, size[0] * 0.7), (1, size[1] / size[0], 1))
            canvas.paint(shape, MUSCLE + 7 * abdomen.fine[shape.region], abdomen.body.grown(-fat))


def _draw_bowel(abdomen: _Abdomen) -> None:
    """Loops of small bowel, and a colon with gas and stool around them."""
    rng, canvas = abdomen.rng, abdomen.canvas
    for _ in range(26):
        start = np.array((rng.uniform(-56, 0), rng.uniform(-70, 70), rng.uniform(-130, -45)))
        bend = start + rng.normal(0, 16, 3) + np.array((0, rng.choice([-26, 26]), 0))
        loop = abdomen.tube([start, bend], rng.uniform(9, 12))
        wall = float(rng.uniform(40, 90))
        canvas.paint(loop, wall, abdomen.inner)
        filled = float(rng.choice([15, 25, 30, 260, GAS], p=(0.3, 0.25, 0.25, 0.1, 0.1)))
        canvas.paint(loop.grown(-3), filled, abdomen.inner)
    for side in (-1, 1):
        rising = abdomen.tube([(-8, 100 * side, -140), (-2, 98 * side, -44)], (19, 17))
        canvas.paint(rising, 45, abdomen.inner)
        content = -60 + 220 * abdomen.coarse[rising.region]
        canvas.paint(rising.grown(-3.5), np.clip(content, GAS, 80), abdomen.inner)
    bent = [(-50, -84, -52), (-70, -36, -66), (-72, 32, -60), (-46, 84, -30)]
    across = abdomen.tube(bent, (15, 16, 16, 15))
    canvas.paint(across, 45, abdomen.inner)
    canvas.paint(across.grown(-3), 0, abdomen.inner)
    gas = canvas.coordinates[0][across.region] < np.float32(-66 * abdomen.size)  # gas rises
    abdomen.canvas.hu[across.region][gas & (across.distance < -3)] = GAS


def _draw_chest(abdomen: _Abdomen) -> None:
    """Lungs above the diaphragm's two domes, and the heart's lower side."""
    canvas, rng = abdomen.canvas, abdomen.rng
    up = rng.normal(92, 4) * abdomen.size
    domes = [
        canvas.full(abdomen.ball((16, -76, up - 92), (88, 74, 92), vary=0.02)),
        canvas.full(abdomen.ball((18, 74, up - 98), (86, 70, 92), vary=0.02)),
    ]
    below = np.minimum(blend(*domes, mm=30), canvas.coordinates[2] + 10)
    abdomen.dome = below.astype(np.float32)
    cage = np.maximum(abdomen.inner.distance - 3, -below + 3)
    vessels = np.clip(90 * (abdomen.fine - 1.6), 0, 350)
    canvas.paint(canvas.whole(cage), LUNG + 40 * abdomen.coarse + vessels)
    heart = canvas.full(abdomen.ball((-38, 28, 104), (48, 62, 42)))
    shape = canvas.whole(np.maximum(np.maximum(heart, abdomen.inner.distance + 2), -below))
    canvas.paint(shape, 125 + 8 * abdomen.fine)


def _draw_spine_and_ribs(abdomen: _Abdomen) -> None:
    canvas, rng = abdomen.canvas, abdomen.rng
    shift = rng.uniform(-16, 16)
    for level in np.arange(-190, 190, 33) + shift:
        body = abdomen.tube([(47, 0, level - 12), (47, 0, level + 12)], 20, (0.92, 1.12, 0.6))
        canvas.paint(body, BONE)
        canvas.paint(body.grown(-3), MARROW + 45 * abdomen.fine[body.region])
        for side in (-1, 1):
            wing = [(68, 9 * side, level + 4), (74, 42 * side, level + 2)]
            canvas.paint(abdomen.tube(wing, (5, 3.5)), BONE * 0.8)
            facet = [(66, 13 * side, level), (80, 15 * side, level - 12)]
            canvas.paint(abdomen.tube(facet, 5.5), BONE * 0.8)
        canvas.paint(abdomen.tube([(82, 0, level), (102, 0, level - 8)], (4, 4.5)), BONE * 0.8)
    disc = abdomen.tube([(47, 0, -190), (47, 0, 190)], 19, (0.92, 1.12, 1))
    between = (canvas.hu[disc.region] < 70) & (disc.distance < 0)
    canvas.hu[disc.region][between] = 85
    canal = abdomen.tube([(74, 0, -190), (74, 0, 190)], 8.5, (1, 1.2, 1))
    canvas.paint(canal, WATER + 6)
    canvas.paint(abdomen.tube([(74, 0, -190), (74, 0, 190)], 5), CORD)
    _draw_ribs(abdomen)


def _draw_ribs(abdomen: _Abdomen) -> None:
    """Ribs run inside the wall from the spine downward to the front."""
    canvas, rng = abdomen.canvas, abdomen.rng
    back, left, up = canvas.coordinates
    angle = np.arctan2(np.abs(left), back)  # 0 behind, pi in front
    for number, start in enumerate(np.arange(170, -40, -30) + rng.uniform(-8, 8)):
        length = 2.75 - 0.3 * number  # the lower ribs end sooner
        middle = abdomen.inner.distance - 4
        height = up - (start - 44 * angle)
        bar = np.sqrt(middle**2 + (height / 1.3) ** 2) - 5.2
        ended = np.maximum(bar, 60 * (angle - length))
        rib = canvas.whole(np.maximum(ended, 60 * (0.42 - angle)).astype(np.float32))
        canvas.paint(rib, BONE, abdomen.body.grown(-4))
        canvas.paint(rib.grown(-2.6), MARROW, abdomen.body.grown(-4))


def _draw_liver(abdomen: _Abdomen) -> None:
    """The liver under the right dome, its vessels, and the gallbladder below it."""
    right = abdomen.ball((8, -78, 20), (68, 58, 74))
    front = abdomen.ball((-34, -26, 40), (36, 72, 36))
    tip = abdomen.ball((4, -92, -36), (44, 26, 48))
    distance = abdomen.whole(right, front, tip, seam_mm=34, rough_mm=1.2).distance
    shape = abdomen.free(np.maximum(distance, abdomen.dome + 3))
    tone = abdomen.rng.normal(108, 8)
    abdomen.paint(shape, tone, 6, "liver")
    for end in ((24, -110, 10), (-10, -108, 34), (-24, -60, 40), (44, -80, 44), (10, -92, -26)):
        vein = abdomen.tube([(20, -34, 34), end], (4.5, 1.5))
        abdomen.canvas.paint(vein, tone + 38, shape)
    if abdomen.rng.random() < 0.85:  # some patients have had it removed
        bag = abdomen.ball((-38, -60, -22), (15, 13, 22), tilt=20, vary=0.15)
        abdomen.paint(abdomen.whole(bag, bag, seam_mm=1), 10, 5, "gallbladder")


def _draw_spleen_and_stomach(abdomen: _Abdomen) -> None:
    rng, canvas = abdomen.rng, abdomen.canvas
    gullet = abdomen.tube([(30, 10, 140), (24, 14, 70), (2, 28, 52)], 7.5)
    abdomen.paint(gullet, 45, 5, "esophagus")
    spleen = abdomen.ball((46, 96, 36), (48, 30, 48), tilt=-18, vary=0.1)
    hilum = canvas.full(abdomen.ball((26, 58, 34), (34, 28, 42)))
    distance = abdomen.whole(spleen, spleen, seam_mm=1, rough_mm=1.0).distance
    distance = np.maximum(np.maximum(distance, -hilum), abdomen.dome + 3)
    abdomen.paint(abdomen.free(distance), rng.normal(122, 7), 6, "spleen")

    top = abdomen.ball((-4, 62, 50), (38, 36, 34), vary=0.1)
    middle = abdomen.tube([(-8, 66, 40), (-36, 60, 8), (-52, 24, -14)], (32, 26, 18))
    outlet = abdomen.tube([(-52, 24, -14), (-42, -16, -14), (-30, -34, -8)], (18, 13, 10))
    distance = abdomen.whole(top, middle, outlet, seam_mm=16, rough_mm=1.0).distance
    stomach = abdomen.free(np.maximum(distance, abdomen.dome + 4))
    abdomen.paint(stomach, 75, 6, "stomach")
    content = stomach.grown(-5)
    canvas.paint(content, float(rng.choice([12, 30, 30, 190])) + 12 * abdomen.coarse)
    level = np.float32(rng.uniform(-46, -24) * abdomen.size)
    canvas.hu[(canvas.coordinates[0] < level) & (content.distance < 0)] = GAS


def _draw_kidneys(abdomen: _Abdomen) -> None:
    canvas, rng = abdomen.canvas, abdomen.rng
    cortex = rng.normal(185, 15)
    for organ, side, up in (("right_kidney", -1, -34), ("left_kidney", 1, -20)):
        middle = np.array((42, 68 * side, up)) + rng.normal(0, 3, 3)
        fat = canvas.full(abdomen.ball(middle, (44, 40, 66), vary=0))
        bed = abdomen.free(np.maximum(fat, abdomen.inner.distance + 2))
        canvas.paint(bed, FAT + 8 * abdomen.coarse)
        kidney = abdomen.ball(middle, (29, 26, 52), tilt=-10)
        hilum = abdomen.ball(middle + np.array((-6, -20 * side, 0)), (13, 15, 19))
        shape = abdomen.whole(kidney, kidney, seam_mm=1).distance
        shape = np.maximum(shape, -canvas.full(hilum))
        abdomen.paint(canvas.whole(shape), cortex, 8, organ)
        medulla = np.abs(canvas.full(kidney) + 13) - 3.5
        rays = np.maximum(medulla, 12 * (0.1 - abdomen.coarse))
        canvas.paint(canvas.whole(np.maximum(rays, shape)), cortex - 45)
        pelvis = abdomen.ball(middle + np.array((-4, -16 * side, 0)), (5, 8, 9))
        canvas.paint(pelvis, WATER + 4)
        gland = [(32, 40 * side, up + 44), (40, 52 * side, up + 54)]
        adrenal = "left_adrenal_gland" if side > 0 else "right_adrenal_gland"
        abdomen.paint(abdomen.tube(gland, (4.5, 3)), 75, 4, adrenal)


def _draw_vessels(abdomen: _Abdomen) -> None:
    rng = abdomen.rng
    blood = rng.normal(150, 14)
    wide = rng.normal(11.5, 1.0)
    aorta = [(26, 16, 160), (22, 14, 60), (16, 9, -30), (18, 5, -150)]
    cava = [(2, -26, 140), (10, -26, 60), (12, -21, -30), (16, -19, -150)]
    abdomen.paint(abdomen.tube(aorta, wide), blood + 10, 4, "aorta")
    abdomen.paint(abdomen.tube(cava, wide * 0.95, (0.85, 1.2, 1)), blood - 15, 4, _CAVA)
    portal = [(6, 78, 26), (2, 40, 18), (-8, 4, 4), (-6, -22, 12), (4, -44, 28)]
    abdomen.paint(abdomen.tube(portal, (4.5, 5, 6, 7, 6.5)), blood + 5, 4, _PORTAL)
    mesenteric = [(0, 8, 0), (-16, 8, -40), (-20, 6, -110)]
    abdomen.canvas.paint(abdomen.tube(mesenteric, (5, 4.5, 4)), blood + 5)
    for side in (-1, 1):
        renal = [(16, 8 if side > 0 else -16, -24), (30, 48 * side, -26)]
        abdomen.canvas.paint(abdomen.tube(renal, 4), blood)


_CAVA, _PORTAL = "inferior_vena_cava", "portal_and_splenic_vein"


def _draw_pancreas(abdomen: _Abdomen) -> None:
    """Head beside the duodenum, neck in front of the vein, tail toward the spleen."""
    rng, canvas = abdomen.rng, abdomen.canvas
    lift = rng.normal(0, 5)
    line = [
        (-4, -32, -24),
        (-12, -22, -6),
        (-20, 4, 4 + lift),
        (-12, 34, 10 + lift),
        (2, 62, 20 + lift),
        (14, 80, 26 + lift),
    ]
    tissue = canvas.full(abdomen.tube(line, (18, 17, 11, 12, 11, 8)))
    tissue = tissue + 1.8 * abdomen.coarse  # a lobed gland
    abdomen.paint(abdomen.free(tissue), rng.normal(92, 8), 13, "pancreas")
    gut = abdomen.tube([(-10, -46, -10), (0, -52, -36), (10, -40, -60), (8, 0, -66)], 11)
    around = abdomen.free(canvas.full(gut))
    canvas.paint(around, 48)
    canvas.paint(around.grown(-3.5), 22)


def _scan(abdomen: _Abdomen) -> AbdomenPhantom:
    """Lay the patient on the table, and add the scanner's noise."""
    canvas, hu = abdomen.canvas, abdomen.canvas.hu
    outside = abdomen.body.distance > 2
    planes = np.arange(canvas.shape[0])[:, None, None] * canvas.spacing_mm[0]
    lines = (np.arange(canvas.shape[1])[None, :, None] - canvas.shape[1] / 2) * canvas.spacing_mm[1]
    behind = np.flatnonzero((~outside).any(axis=(1, 2))).max() * canvas.spacing_mm[0] + 8
    table = outside & (np.abs(planes + (lines / 30) ** 2 - behind) < 3) & (np.abs(lines) < 175)
    hu[table] = -350
    hu += 11 * noise(abdomen.rng, canvas.shape, 0.55) + 5 * noise(abdomen.rng, canvas.shape, 0)
    ct = np.clip(np.rint(hu), AIR_HU, 3071).astype(np.int16)
    return AbdomenPhantom(ct, abdomen.label, canvas.spacing_mm)
