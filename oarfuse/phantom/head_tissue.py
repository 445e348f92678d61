"""What surrounds the phantom's organs: skin, fat, muscle, vessels, skull, brain, face, airway."""

from __future__ import annotations

import numpy as np

from oarfuse.phantom.drawing import blend
from oarfuse.phantom.frame import (
    AIR,
    BONE,
    BRAIN,
    CARTILAGE,
    FAT,
    FLUID,
    MARROW,
    MUSCLE,
    SIDES,
    SKIN,
    Head,
)


def draw_skin_and_soft_tissue(head: Head) -> None:
    """Draw the body's outline, a layer of fat, and muscle below it."""
    canvas, full = head.canvas, head.canvas.full
    cranium = full(head.ball((4, 0, 45), (97, 77, 92)))
    face = full(head.ball((-42, 0, -34), (58, 60, 74), tilt=-8))
    nose = full(head.ball((-99, 0, -14), (17, 13, 19), jitter=1))
    chin = full(head.ball((-70 * head.jaw, 0, -84), (30, 38, 26)))
    neck_top, neck_end = head.at(18, 0, -30), head.at(40, 0, -190)
    girth = head.rng.normal(57, 3)
    neck = full(canvas.tube([neck_top, neck_end], [girth, girth + 6], (1, 1.05, 1)))
    build = head.rng.normal(1, 0.06)
    shoulders = full(canvas.ellipsoid(head.at(50, 0, -246), (88 * build, 215 * build, 78)))
    above = blend(cranium, face, chin, nose, mm=30)
    head.body = canvas.whole(blend(blend(above, neck, mm=35), shoulders, mm=70))
    for side in SIDES.values():
        ear = head.ball((13, 76 * side, -2), (16, 8, 27), tilt=12, jitter=1)
        head.body.distance[ear.region] = np.minimum(head.body.distance[ear.region], ear.distance)
    fat_mm = head.rng.uniform(4, 8)
    canvas.paint(head.body, SKIN)
    canvas.paint(head.body.grown(-2.5), FAT + 12 * head.coarse)
    # Below the fat lies muscle with fat between its bundles.
    canvas.paint(head.body.grown(-2.5 - fat_mm), np.clip(15 + 45 * head.coarse, FAT, MUSCLE))


def draw_neck(head: Head) -> None:
    """Draw neck muscles, vessels, glands, and the top of the chest."""
    canvas, inner = head.canvas, head.body.grown(-4)
    for side in SIDES.values():
        strap = [
            head.at(24, 56 * side, -20),
            head.at(8, 40 * side, -100),
            head.at(2, 16 * side, -185),
        ]
        canvas.paint(canvas.tube(strap, [10, 13, 9]), MUSCLE, inner)
        nape = [
            head.at(58, 20 * side, -22),
            head.at(70, 22 * side, -110),
            head.at(98, 26 * side, -230),
        ]
        canvas.paint(canvas.tube(nape, [17, 20, 20]), MUSCLE + 4, inner)
        vein = [
            head.at(12, 33 * side, -30),
            head.at(6, 32 * side, -110),
            head.at(16, 24 * side, -200),
        ]
        canvas.paint(canvas.tube(vein, 6.5), float(head.rng.uniform(70, 190)), inner)
        canvas.paint(head.ball((-34, 31 * side, -88), (15, 9, 11), jitter=2), 45, inner)
        thyroid = head.ball((2, 17 * side, -150), (9, 8, 20), jitter=1)
        canvas.paint(thyroid, 110, inner)
        clavicle = [
            head.at(2, 12 * side, -196),
            head.at(22, 90 * side, -200),
            head.at(48, 160 * side, -188),
        ]
        canvas.paint(canvas.tube(clavicle, 7), BONE * 0.7, inner)
        canvas.paint(canvas.tube(clavicle, 3.5), MARROW, inner)
        canvas.paint(
            canvas.ellipsoid(head.at(50, 172 * side, -225), (26, 26, 28)), BONE * 0.6, inner
        )
        canvas.paint(canvas.ellipsoid(head.at(50, 172 * side, -225), (21, 21, 23)), 260, inner)
        lung = canvas.ellipsoid(head.at(52, 70 * side, -268), (52, 52, 70))
        canvas.paint(lung, -840, inner)
        for level in (-212, -236, -260):
            rib = [
                head.at(96, 30 * side, level + 12),
                head.at(70, 118 * side, level - 2),
                head.at(12, 96 * side, level - 16),
            ]
            canvas.paint(canvas.tube(rib, 5), 500, inner)


def draw_skull_and_brain(head: Head) -> None:
    """Draw the skull with its base and ears, and the brain with its fluid."""
    canvas = head.canvas
    vault = head.ball((6, 0, 47), (87, 68, 78))
    fossa = head.ball((34, 0, -4), (42, 47, 25))
    cavity = canvas.whole(blend(canvas.full(vault), canvas.full(fossa), mm=14))
    thick = head.rng.uniform(6.5, 8.5)
    # The skull is thinner at its base, around the hole through which the brainstem leaves.
    up = canvas.coordinates[2]
    outer = cavity.distance - thick * np.clip(1 + (up + 12) / 40, 0.45, 1)
    canvas.paint(canvas.whole(outer), BONE, head.body)
    canvas.paint(cavity.grown(thick * 0.62), 700)
    canvas.paint(cavity.grown(thick * 0.35), BONE)
    canvas.paint(cavity, FLUID + 6)
    canvas.paint(cavity.grown(-2.5), BRAIN + 3.5 * head.fine)
    canvas.paint(head.ball((52, 0, 12), (38, 50, 4), tilt=-22), FLUID + 6, cavity)  # tentorium
    cerebellum = head.ball((46, 0, -4), (31, 44, 21))
    canvas.paint(cerebellum, BRAIN + 6 + 5 * head.fine[cerebellum.region], cavity)
    canvas.paint(head.ball((6, 0, 55), (70, 1.6, 60)), FLUID + 6, cavity)  # the fissure
    for side in SIDES.values():
        canvas.paint(head.ball((-8, 11 * side, 62), (26, 5, 9), tilt=-15), FLUID, cavity)
        petrous = [head.at(20, 56 * side, -6), head.at(-6, 20 * side, 4)]
        canvas.paint(canvas.tube(petrous, [15, 7]), BONE + 250, head.body)
        mastoid = head.ball((27, 57 * side, -17), (13, 10, 17), tilt=10)
        canvas.paint(mastoid, 250 + 420 * head.fine[mastoid.region], head.body)
        canal = [head.at(6, 46 * side, -2), head.at(4, 78 * side, -3)]
        canvas.paint(canvas.tube(canal, 3.6), AIR, head.body)
    canvas.paint(head.ball((-28, 0, -4), (14, 20, 9)), BONE * 0.8)  # clivus and sphenoid
    canvas.paint(head.ball((-30, 0, 3), (11, 13, 8), jitter=1), AIR)


def draw_face(head: Head) -> None:
    """Draw eyes, nose, sinuses and the bones around them."""
    canvas, inner = head.canvas, head.body.grown(-3)
    bone = BONE * 0.75
    for side in SIDES.values():
        orbit = head.ball((-70, 31 * side, 14), (23, 21, 19))
        canvas.paint(orbit.grown(3.5), bone, inner)
        canvas.paint(orbit, FAT + 10, inner)
        canvas.paint(head.ball((-84, 31 * side, 14), (14, 14, 14)), FAT + 10, inner)
        canvas.paint(head.ball((-80, 32 * side, 14), (12, 12, 12)), 12, head.body)
        nerve = [head.at(-68, 30 * side, 14), head.at(-42, 14 * side, 10)]
        canvas.paint(canvas.tube(nerve, 2.6), 40)
        sinus = head.ball((-62, 27 * side, -20), (18, 14, 18), vary=0.08)
        canvas.paint(sinus.grown(3.2), bone, inner)
        canvas.paint(sinus, AIR, inner)
        cheek = [
            head.at(-72, 48 * side, -8),
            head.at(-40, 64 * side, -6),
            head.at(-8, 62 * side, -2),
        ]
        canvas.paint(canvas.tube(cheek, [6, 4, 4]), bone, inner)
        canvas.paint(head.ball((-52, 46 * side, -38), (15, 8, 18)), FAT - 5, inner)
    canvas.paint(head.ball((-92, 0, 12), (6, 7, 20), tilt=10), bone, head.body)
    canvas.paint(head.ball((-66, 0, -14), (34, 12, 20)), AIR, inner)
    canvas.paint(head.ball((-66, 0, -14), (34, 1.8, 20)), 250, inner)  # septum
    for side in SIDES.values():
        canvas.paint(head.ball((-62, 6.5 * side, -20), (22, 3.2, 6)), 60, inner)
    canvas.paint(head.ball((-60, 0, -38), (36, 24, 4)), bone, inner)  # palate


def draw_airway(head: Head) -> None:
    """Draw the tongue, and the airway from the nose to the chest with larynx and hyoid bone."""
    canvas = head.canvas
    canvas.paint(head.ball((-52, 0, -62), (38, 26, 22), jitter=1.5), MUSCLE)  # tongue
    if head.rng.random() < 0.7:
        canvas.paint(head.ball((-62, 0, -43), (26, 17, 2.6)), AIR)
    way = [
        head.at(-24, 0, -16),
        head.at(-14, 0, -36),
        head.at(-12, 0, -62),
        head.at(-14, 0, -92),
        head.at(-14, 0, -118),
        head.at(-6, 0, -150),
        head.at(18, 0, -250),
    ]
    wide = np.array([10, 7, 8, 9, 6, 8, 8.5]) * head.rng.uniform(0.85, 1.15, 7)
    shield = [head.at(-16, 0, -104), head.at(-15, 0, -126)]
    canvas.paint(canvas.tube(shield, 16, (1.1, 1, 1)), CARTILAGE + 60)
    canvas.paint(canvas.tube(shield, 12.5, (1.1, 1, 1)), MUSCLE)
    canvas.paint(canvas.tube(way, wide + 3, (1, 1.2, 1)), MUSCLE + 15, head.body)
    canvas.paint(canvas.tube(way, wide, (1, 1.2, 1)), AIR, head.body)
    hyoid = [
        head.at(-18, -20, -88),
        head.at(-40, -12, -92),
        head.at(-44, 0, -93),
        head.at(-40, 12, -92),
        head.at(-18, 20, -88),
    ]
    canvas.paint(canvas.tube(hyoid, 3.2), BONE * 0.6)
    gullet = [head.at(6, 0, -126), head.at(34, 3, -250)]
    canvas.paint(canvas.tube(gullet, 6), MUSCLE - 15, head.body)
