"""Anatomy of the procedural head-and-neck phantom: who is where, how large, and how bright.

All places are (posterior, left, superior) in mm from the point between the ears; HU are rounded
textbook values. Nothing here was measured on a patient. The aim is a CT in which a student finds
each organ where the anatomy book has it, and a network meets the difficulties of the real data:
parotids hardly brighter than the fat around them and told apart by their side only, a brainstem
and cord that differ from their surroundings by a few HU, bone and teeth that outshine the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oarfuse.data.drawing import Canvas, Shape, blend, noise, rotation

SHAPE = (128, 128, 128)
SIDES = {"right": -1, "left": 1}

AIR, FAT, GLAND, MUSCLE, SKIN = -1000, -95, 0, 58, 20
FLUID, CORD, BRAINSTEM, BRAIN = 6, 44, 30, 38
MARROW, CARTILAGE, BONE, TOOTH = 420, 180, 1150, 2100


@dataclass(frozen=True)
class Phantom:
    """One drawn patient.

    Attributes
    ----------
    ct
        (128, 128, 128) HU, axes to posterior, left, inferior; int16.
    has_ct
        Where the CT exists; elsewhere the data set's files have no row.
    masks
        Organ name to mask; neighbours may share a few voxels, as drawn contours do.
    dose_mask
        Where dose may go: the body, between the first and the last treated slice.
    spacing_mm
        Along the array's axes.
    """

    ct: NDArray[np.int16]
    has_ct: NDArray[np.bool_]
    masks: dict[str, NDArray[np.bool_]]
    dose_mask: NDArray[np.bool_]
    spacing_mm: tuple[float, float, float]


def draw_head(rng: np.random.Generator) -> Phantom:
    """Draw a patient; everything that varies between patients comes from `rng`."""
    in_plane = float(rng.choice([4.531, 4.688, 4.883, 5.078, 5.371]))
    spacing = (in_plane, in_plane, float(rng.choice([2.5, 3.0, 3.0])))
    turn = rotation(*(rng.normal(0, (2.0, 4.0, 4.0))))
    origin = rng.normal(0, 6, 3) + np.array((0, 0, 62))
    head = _Head(Canvas(SHAPE, spacing, turn, origin), rng)
    head.draw()
    return head.finish()


class _Head:
    """The drawing, in the order in which tissues cover one another."""

    def __init__(self, canvas: Canvas, rng: np.random.Generator) -> None:
        self.canvas = canvas
        self.rng = rng
        self.size = rng.normal(1, 0.04)  # of the whole head
        self.wide, self.long, self.jaw = rng.normal(1, 0.03, 3)
        self.masks: dict[str, NDArray[np.bool_]] = {}
        # The cord's way down: forward bow of the neck, then back into the chest.
        bow, sag = rng.normal(4, 3), rng.normal(52, 8)
        levels = np.linspace(-24, -260, 24)
        depth = (levels + 24) / -236
        self.cord_line = np.stack(
            [26 - bow * np.sin(np.pi * depth) + sag * depth**2, 0 * levels, levels], axis=1
        )

    def at(self, p: float, l: float, s: float, jitter: float = 0.0) -> NDArray[np.float64]:
        """A point of the standard head, scaled to this patient and moved by up to `jitter`."""
        place = np.array([p * self.long, l * self.wide, s]) * self.size
        return place + self.rng.normal(0, jitter, 3) if jitter else place

    def by(self, *radii: float, vary: float = 0.0) -> NDArray[np.float64]:
        """Radii of the standard head, scaled to this patient."""
        scale = np.array([self.long, self.wide, 1]) * self.size
        return np.array(radii) * scale * (1 + self.rng.normal(0, vary, 3) if vary else 1)

    def ball(
        self,
        place: tuple[float, float, float],
        radii: tuple[float, float, float],
        tilt: float = 0.0,
        jitter: float = 0.0,
        vary: float = 0.0,
    ) -> Shape:
        return self.canvas.ellipsoid(self.at(*place, jitter), self.by(*radii, vary=vary), tilt)

    def draw(self) -> None:
        self._skin_and_soft_tissue()
        self._neck()
        self._skull_and_brain()
        self._face()
        self._airway()
        self._spine()
        self._jaw()
        self._brainstem_and_cord()
        self._parotids()

    def _skin_and_soft_tissue(self) -> None:
        canvas, full = self.canvas, self.canvas.full
        cranium = full(self.ball((4, 0, 45), (97, 77, 92)))
        face = full(self.ball((-42, 0, -34), (58, 60, 74), tilt=-8))
        nose = full(self.ball((-99, 0, -14), (17, 13, 19), jitter=1))
        neck_top, neck_end = self.at(18, 0, -30), self.at(40, 0, -190)
        girth = self.rng.normal(57, 3)
        neck = full(canvas.tube([neck_top, neck_end], [girth, girth + 6], (1, 1.05, 1)))
        build = self.rng.normal(1, 0.06)
        shoulders = full(canvas.ellipsoid(self.at(50, 0, -246), (88 * build, 215 * build, 78)))
        head = blend(cranium, face, nose, mm=30)
        self.body = canvas.whole(blend(blend(head, neck, mm=35), shoulders, mm=70))
        for side in SIDES.values():
            ear = self.ball((14, 80 * side, -2), (15, 6, 27), tilt=12, jitter=1)
            self.body.distance[ear.region] = np.minimum(
                self.body.distance[ear.region], ear.distance
            )
        fat_mm = self.rng.uniform(4, 8)
        clumps = noise(self.rng, canvas.shape, 1.6)
        canvas.paint(self.body, SKIN)
        canvas.paint(self.body.grown(-2.5), FAT + 12 * clumps)
        # Below the fat lies muscle with fat between its bundles.
        canvas.paint(self.body.grown(-2.5 - fat_mm), np.clip(15 + 45 * clumps, FAT, MUSCLE))

    def _neck(self) -> None:
        canvas, inner = self.canvas, self.body.grown(-4)
        for side in SIDES.values():
            strap = [
                self.at(24, 56 * side, -20),
                self.at(8, 40 * side, -100),
                self.at(2, 16 * side, -185),
            ]
            canvas.paint(canvas.tube(strap, [10, 13, 9]), MUSCLE, inner)
            nape = [
                self.at(58, 20 * side, -22),
                self.at(70, 22 * side, -110),
                self.at(98, 26 * side, -230),
            ]
            canvas.paint(canvas.tube(nape, [17, 20, 20]), MUSCLE + 4, inner)
            vein = [
                self.at(12, 33 * side, -30),
                self.at(6, 32 * side, -110),
                self.at(16, 24 * side, -200),
            ]
            canvas.paint(canvas.tube(vein, 6.5), float(self.rng.uniform(70, 190)), inner)
            canvas.paint(self.ball((-34, 31 * side, -88), (15, 9, 11), jitter=2), 45, inner)
            thyroid = self.ball((2, 17 * side, -150), (9, 8, 20), jitter=1)
            canvas.paint(thyroid, 110, inner)
            clavicle = [
                self.at(2, 12 * side, -196),
                self.at(22, 90 * side, -200),
                self.at(48, 160 * side, -188),
            ]
            canvas.paint(canvas.tube(clavicle, 7), BONE * 0.7, inner)
            canvas.paint(canvas.tube(clavicle, 3.5), MARROW, inner)
            canvas.paint(
                canvas.ellipsoid(self.at(50, 172 * side, -225), (26, 26, 28)), BONE * 0.6, inner
            )
            canvas.paint(canvas.ellipsoid(self.at(50, 172 * side, -225), (21, 21, 23)), 260, inner)
            lung = canvas.ellipsoid(self.at(52, 70 * side, -268), (52, 52, 70))
            canvas.paint(lung, -840, inner)
            for level in (-212, -236, -260):
                rib = [
                    self.at(96, 30 * side, level + 12),
                    self.at(70, 118 * side, level - 2),
                    self.at(12, 96 * side, level - 16),
                ]
                canvas.paint(canvas.tube(rib, 5), 500, inner)

    def _skull_and_brain(self) -> None:
        canvas = self.canvas
        vault = self.ball((6, 0, 47), (87, 68, 78))
        fossa = self.ball((34, 0, -4), (44, 50, 27))
        cavity = canvas.whole(blend(canvas.full(vault), canvas.full(fossa), mm=14))
        thick = self.rng.uniform(6.5, 8.5)
        self.skull = cavity.grown(thick)
        canvas.paint(self.skull, BONE, self.body)
        canvas.paint(cavity.grown(thick * 0.62), 700)
        canvas.paint(cavity.grown(thick * 0.35), BONE)
        canvas.paint(cavity, FLUID + 6)
        folds = noise(self.rng, canvas.shape, 0.9)
        canvas.paint(cavity.grown(-2.5), BRAIN + 3.5 * folds)
        canvas.paint(self.ball((6, 0, 55), (70, 1.6, 60)), FLUID + 6, cavity)  # the fissure
        for side in SIDES.values():
            canvas.paint(self.ball((-8, 11 * side, 62), (26, 5, 9), tilt=-15), FLUID, cavity)
            petrous = [self.at(20, 56 * side, -6), self.at(-6, 20 * side, 4)]
            canvas.paint(canvas.tube(petrous, [15, 7]), BONE + 250, self.body)
            cells = 250 + 420 * noise(self.rng, canvas.shape, 0.7)
            mastoid = self.ball((27, 57 * side, -17), (13, 10, 17), tilt=10)
            canvas.paint(mastoid, cells[mastoid.region], self.body)
            canal = [self.at(6, 46 * side, -2), self.at(4, 78 * side, -3)]
            canvas.paint(canvas.tube(canal, 3.6), AIR, self.body)
        canvas.paint(self.ball((-28, 0, -4), (14, 20, 9)), BONE * 0.8)  # clivus and sphenoid
        canvas.paint(self.ball((-30, 0, 3), (11, 13, 8), jitter=1), AIR)

    def _face(self) -> None:
        canvas, inner = self.canvas, self.body.grown(-3)
        bone = BONE * 0.75
        for side in SIDES.values():
            orbit = self.ball((-70, 31 * side, 14), (23, 21, 19))
            canvas.paint(orbit.grown(3.5), bone, inner)
            canvas.paint(orbit, FAT + 10, inner)
            canvas.paint(self.ball((-84, 31 * side, 14), (14, 14, 14)), FAT + 10, inner)
            canvas.paint(self.ball((-80, 32 * side, 14), (12, 12, 12)), 12, self.body)
            nerve = [self.at(-68, 30 * side, 14), self.at(-42, 14 * side, 10)]
            canvas.paint(canvas.tube(nerve, 2.6), 40)
            sinus = self.ball((-62, 27 * side, -20), (18, 14, 18), vary=0.08)
            canvas.paint(sinus.grown(3.2), bone, inner)
            canvas.paint(sinus, AIR, inner)
            cheek = [
                self.at(-72, 48 * side, -8),
                self.at(-40, 64 * side, -6),
                self.at(-8, 62 * side, -2),
            ]
            canvas.paint(canvas.tube(cheek, [6, 4, 4]), bone, inner)
            canvas.paint(self.ball((-52, 46 * side, -38), (15, 8, 18)), FAT - 5, inner)
        canvas.paint(self.ball((-92, 0, 12), (6, 7, 20), tilt=10), bone, self.body)
        canvas.paint(self.ball((-66, 0, -14), (34, 12, 20)), AIR, inner)
        canvas.paint(self.ball((-66, 0, -14), (34, 1.8, 20)), 250, inner)  # septum
        for side in SIDES.values():
            canvas.paint(self.ball((-62, 6.5 * side, -20), (22, 3.2, 6)), 60, inner)
        canvas.paint(self.ball((-60, 0, -38), (36, 24, 4)), bone, inner)  # palate

    def _airway(self) -> None:
        canvas = self.canvas
        canvas.paint(self.ball((-52, 0, -62), (38, 26, 22), jitter=1.5), MUSCLE)  # tongue
        if self.rng.random() < 0.7:
            canvas.paint(self.ball((-62, 0, -43), (26, 17, 2.6)), AIR)
        way = [
            self.at(-24, 0, -16),
            self.at(-14, 0, -36),
            self.at(-12, 0, -62),
            self.at(-14, 0, -92),
            self.at(-14, 0, -118),
            self.at(-6, 0, -150),
            self.at(18, 0, -250),
        ]
        wide = np.array([10, 7, 8, 9, 6, 8, 8.5]) * self.rng.uniform(0.85, 1.15, 7)
        shield = [self.at(-16, 0, -104), self.at(-15, 0, -126)]
        canvas.paint(canvas.tube(shield, 16, (1.1, 1, 1)), CARTILAGE + 60)
        canvas.paint(canvas.tube(shield, 12.5, (1.1, 1, 1)), MUSCLE)
        canvas.paint(canvas.tube(way, wide + 3, (1, 1.2, 1)), MUSCLE + 15, self.body)
        canvas.paint(canvas.tube(way, wide, (1, 1.2, 1)), AIR, self.body)
        hyoid = [
            self.at(-18, -20, -88),
            self.at(-40, -12, -92),
            self.at(-44, 0, -93),
            self.at(-40, 12, -92),
            self.at(-18, 20, -88),
        ]
        canvas.paint(canvas.tube(hyoid, 3.2), BONE * 0.6)
        gullet = [self.at(6, 0, -126), self.at(34, 3, -250)]
        canvas.paint(canvas.tube(gullet, 6), MUSCLE - 15, self.body)

    def _spine(self) -> None:
        canvas = self.canvas
        line = self.cord_line
        levels = np.linspace(-30, -252, 13) + self.rng.normal(0, 1)
        canal_p = np.interp(-levels, -line[:, 2], line[:, 0])
        for number, (p, s) in enumerate(zip(canal_p, levels, strict=True)):
            grow = 1 + 0.035 * number  # vertebrae grow toward the chest
            front = p - 17 * grow if number else p - 14
            body = canvas.ellipsoid((front, 0, s), (10.5 * grow, 14 * grow, 8.3))
            bone = BONE * 0.8
            for side in SIDES.values():
                arch = [
                    (p - 6, 11 * grow * side, s),
                    (p + 4, 14 * grow * side, s - 1),
                    (p + 14, 5 * side, s - 3),
                ]
                canvas.paint(canvas.tube(arch, 4.2 * grow), bone)
                wing = [(p - 6, 13 * grow * side, s), (p - 2, 26 * grow * side, s - 1)]
                canvas.paint(canvas.tube(wing, 4 * grow), bone)
                facet = canvas.ellipsoid((p - 1, 18 * grow * side, s - 8), (6, 6.5, 6))
                canvas.paint(facet, bone)
            if number:
                spine = [(p + 13, 0, s - 3), (p + (26 if number < 5 else 34), 0, s - 10)]
                canvas.paint(canvas.tube(spine, 4 * grow), bone)
                canvas.paint(body, bone)
                canvas.paint(body.grown(-3), MARROW * 0.8)
            else:  # the atlas has no body; the dens of the axis stands in its place
                ring = [
                    (p - 8, -17, s),
                    (p - 19, -8, s),
                    (p - 21, 0, s),
                    (p - 19, 8, s),
                    (p - 8, 17, s),
                ]
                canvas.paint(canvas.tube(ring, 4), bone)
                dens = [(p - 13, 0, s + 4), (p - 14, 0, s - 18)]
                canvas.paint(canvas.tube(dens, 5.5), bone)

    def _jaw(self) -> None:
        canvas, jaw = self.canvas, self.jaw
        drop = self.rng.uniform(0, 5)  # how far the mouth stands open
        pieces = []
        for side in SIDES.values():
            body = [
                self.at(-22 * jaw, 47 * side, -72 - drop),
                self.at(-48 * jaw, 42 * side, -80 - drop),
                self.at(-74 * jaw, 28 * side, -86 - drop),
                self.at(-87 * jaw, 13 * side, -88 - drop),
                self.at(-91 * jaw, 0, -89 - drop),
            ]
            pieces.append(canvas.tube(body, [5.6, 5.4, 5.4, 5.6, 5.8], (1, 1, 2.3)))
            ramus = [
                self.at(-18 * jaw, 49 * side, -66 - drop),
                self.at(-10, 51 * side, -28),
                self.at(-5, 50 * side, -10),
            ]
            pieces.append(canvas.tube(ramus, [5.0, 4.6, 4.8], (2.4, 1, 1)))
            crown = [self.at(-22 * jaw, 48 * side, -44 - drop), self.at(-27, 48 * side, -22)]
            pieces.append(canvas.tube(crown, [5, 3.4], (1.6, 1, 1)))
            chew = self.ball((-24, 59 * side, -48), (18, 7.5, 28), tilt=-12)
            canvas.paint(chew, MUSCLE + 8, self.body.grown(-3))
            canvas.paint(self.ball((-16, 38 * side, -50), (15, 6, 22)), MUSCLE + 6)
        distance = np.minimum.reduce([canvas.full(piece) for piece in pieces])
        bone = canvas.whole(distance)
        canvas.paint(bone, BONE + 150, self.body)
        canvas.paint(bone.grown(-3.4), MARROW)
        self.masks["mandible"] = distance < 0.6
        filling = self.rng.random() < 0.35
        for row, height in ((1, -62 - drop), (-1, -46)):
            for step in np.linspace(-1, 1, 15):
                along = abs(step)
                reach = 80 if row > 0 else 82
                p = -(reach * (1 - along**2 * 0.62)) * jaw
                l = 37 * np.sin(step * np.pi / 2)
                tooth = canvas.ellipsoid(self.at(p, l, height), (4.2, 4.0, 7.5))
                canvas.paint(tooth, TOOTH if self.rng.random() > 0.08 else 80, self.body)
        upper = [
            self.at(-42, -36, -42),
            self.at(-66, -30, -42),
            self.at(-83, 0, -42),
            self.at(-66, 30, -42),
            self.at(-42, 36, -42),
        ]
        canvas.paint(canvas.tube(upper, 5), BONE * 0.9, self.body)
        self.filling = self.at(-58, float(self.rng.choice([-34, 34])), -50) if filling else None

    def _brainstem_and_cord(self) -> None:
        canvas = self.canvas
        line = self.cord_line.copy()
        line[:, 1] += self.rng.normal(0, 1.0)
        top = line[0]
        canvas.paint(canvas.tube([self.at(22, 0, -2), *line], 10.5, (0.95, 1.1, 1)), FLUID + 4)
        stem = [self.at(6, 0, 36), self.at(8, 0, 22), self.at(10, 0, 8), self.at(20, 0, -10), top]
        wide = np.array([12.5, 13, 15, 9.5, 7.5]) * self.rng.normal(1, 0.05)
        cistern = canvas.tube(stem[:-1], wide[:-1] + 6, (1, 1.15, 1))
        canvas.paint(cistern, FLUID)
        canvas.paint(self.ball((28, 0, 6), (5, 8, 11)), FLUID)  # fourth ventricle
        brainstem = canvas.tube(stem, wide, (1, 1.12, 1))
        canvas.paint(brainstem, BRAINSTEM)
        cord = canvas.tube(line, self.rng.normal(5.4, 0.35), (0.95, 1.2, 1))
        canvas.paint(cord, CORD, self.body)
        s = canvas.coordinates[2]
        border = top[2] + self.rng.normal(0, 2)
        # Two contours drawn apart meet in a slice that both claim.
        self.masks["brainstem"] = (
            canvas.inside(brainstem.grown(0.8))
            & (s > border - 1.5)
            & (s < self.at(0, 0, 36)[2] + 6)
        )
        self.masks["spinal_cord"] = canvas.inside(cord.grown(1.0)) & (s < border + 1.5)

    def _parotids(self) -> None:
        canvas = self.canvas
        tone = GLAND + self.rng.normal(-8, 12)
        lobes = noise(self.rng, canvas.shape, 1.2)
        for name, side in SIDES.items():
            jitter = {"jitter": 1.5, "vary": 0.08}
            deep = self.ball((6, 55 * side, -30), (14, 13, 24), tilt=8, **jitter)
            front = self.ball((-12, 63 * side, -36), (20, 6.5, 19), tilt=-10, **jitter)
            tail = self.ball((12, 55 * side, -56), (11, 9, 16), **jitter)
            distance = blend(*(canvas.full(lobe) for lobe in (deep, front, tail)), mm=10)
            gland = canvas.whole(np.maximum(distance + 1.3 * lobes, self.body.distance + 4))
            # Drawn last, so bone must be kept: the gland fills only what is soft.
            keep = canvas.hu > 250
            bones = canvas.hu[keep]
            canvas.paint(gland, tone + 10 * lobes)
            canvas.hu[keep] = bones
            mandible = self.masks["mandible"]
            mask = gland.distance < 0.4
            # The contour follows the jaw but strays into its edge here and there.
            stray = self.rng.random(canvas.shape, dtype=np.float32) < 0.04
            self.masks[f"{name}_parotid"] = mask & (~(keep | mandible) | stray)

    def finish(self) -> Phantom:
        """Add the table, scatter and noise, and cut the scan to a field of view."""
        canvas, rng = self.canvas, self.rng
        hu = canvas.hu
        s = canvas.heights()  # the scanner cuts along its own axis, however the head is turned
        self._table()
        if self.filling is not None:
            self._streaks(self.filling)
        hu += 14 * noise(rng, canvas.shape, 0.55) + 5 * noise(rng, canvas.shape, 0)
        top, bottom = rng.uniform(48, 112), rng.uniform(-214, -178)
        if rng.random() < 0.3:  # planned low: the scan ends inside the brainstem
            top = rng.uniform(12, 26)
        scanned = (s < top) & (s > bottom)
        near = self.body.distance < 9
        masks = {name: mask & (s > bottom - 12) for name, mask in self.masks.items()}
        drawn = np.logical_or.reduce(list(masks.values()))
        # As in the real data: beyond the scan's end the CT exists where an organ was drawn.
        has_ct = (near & scanned) | (self.table & scanned) | drawn
        ct = np.where(has_ct, np.clip(np.rint(hu), -1023, 3071), -1024).astype(np.int16)
        dose_mask = (self.body.distance < 0) & scanned & (s < top - 12) & (s > bottom + 12)
        return Phantom(ct, has_ct, masks, dose_mask, canvas.spacing_mm)

    def _table(self) -> None:
        # The table does not turn with the head: it is drawn on the array's own axes.
        shape, spacing = self.canvas.shape, self.canvas.spacing_mm
        back = np.flatnonzero((self.body.distance < 0).any(axis=(1, 2))).max() + 2
        p = (np.arange(shape[0]) - back)[:, None, None] * spacing[0]
        l = (np.arange(shape[1]) - shape[1] / 2)[None, :, None] * spacing[1]
        bend = p + (l / 34) ** 2
        board = (np.abs(bend) < spacing[0] * 0.6) & (np.abs(l) < 190)
        self.table = np.broadcast_to(board, shape)
        self.canvas.hu[self.table] = -480

    def _streaks(self, filling: NDArray[np.float64]) -> None:
        canvas = self.canvas
        p, l, s = (axis - start for axis, start in zip(canvas.coordinates, filling, strict=True))
        level = np.exp(-((s / 5) ** 2))
        angle, reach = np.arctan2(l, p), np.hypot(p, l)
        rays = np.cos(6 * angle + self.rng.uniform(0, 6)) + np.cos(10 * angle)
        canvas.hu += (150 * level * rays * np.exp(-reach / 45)).astype(np.float32)
        canvas.hu[reach**2 + s**2 < 25] = 3071
