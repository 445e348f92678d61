"""What surrounds the phantom's organs: skin, fat, muscle, vessels, skull, brain, face, airway."""

from __future__ import annotations

from functools import partial

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
    for side in SIDES.values():
        draw = partial(head.draw, side=side, skin_mm=4)
        draw(MUSCLE, [(24, 56, -20), (8, 40, -100), (2, 16, -185)], (10, 13, 9))
        draw(MUSCLE + 4, [(58, 20, -22), (70, 22, -110), (98, 26, -230)], (17, 20, 20))
        jugular = [(12, 33, -30), (6, 32, -110), (16, 24, -200)]
        draw(float(head.rng.uniform(70, 190)), jugular, 6.5)
        draw(45, [(-34, 31, -88)], (15, 9, 11), jitter=2)  # submandibular gland
        draw(110, [(2, 17, -150)], (9, 8, 20), jitter=1)  # thyroid
        clavicle = [(2, 12, -196), (22, 90, -200), (48, 160, -188)]
        draw(BONE * 0.7, clavicle, 7)
        draw(MARROW, clavicle, 3.5)
        draw(BONE * 0.6, [(50, 172, -225)], (26, 26, 28), scaled=False)  # upper arm
        draw(260, [(50, 172, -225)], (21, 21, 23), scaled=False)
        draw(-840, [(52, 70, -268)], (52, 52, 70), scaled=False)  # lung
        for up in (-212, -236, -260):
            draw(500, [(96, 30, up + 12), (70, 118, up - 2), (12, 96, up - 16)], 5)  # rib


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
        ventricle = head.ball((-8, 11, 62), (26, 5, 9), side=side, tilt=-15)
        canvas.paint(ventricle, FLUID, cavity)
        draw = partial(head.draw, side=side, skin_mm=0)
        draw(BONE + 250, [(20, 56, -6), (-6, 20, 4)], (15, 7))  # petrous bone
        draw(250, [(27, 57, -17)], (13, 10, 17), tilt=10, texture=420)  # mastoid
        draw(AIR, [(6, 46, -2), (4, 78, -3)], 3.6)  # ear canal
    head.draw(BONE * 0.8, [(-28, 0, -4)], (14, 20, 9))  # clivus and sphenoid
    head.draw(AIR, [(-30, 0, 3)], (11, 13, 8), jitter=1)


def draw_face(head: Head) -> None:
    """Draw eyes, nose, sinuses and the bones around them."""
    bone, inner = BONE * 0.75, partial(head.draw, skin_mm=3)
    for side in SIDES.values():
        draw = partial(inner, side=side)
        draw(FAT + 10, [(-70, 31, 14)], (23, 21, 19), shell=(3.5, bone))  # orbit
        draw(FAT + 10, [(-84, 31, 14)], (14, 14, 14))
        draw(12, [(-80, 32, 14)], (12, 12, 12), skin_mm=0)  # eye
        draw(40, [(-68, 30, 14), (-42, 14, 10)], 2.6, skin_mm=None)  # its nerve
        draw(AIR, [(-62, 27, -20)], (18, 14, 18), vary=0.08, shell=(3.2, bone))  # sinus
        draw(bone, [(-72, 48, -8), (-40, 64, -6), (-8, 62, -2)], (6, 4, 4))  # cheekbone
        draw(FAT - 5, [(-52, 46, -38)], (15, 8, 18))
    inner(bone, [(-92, 0, 12)], (6, 7, 20), tilt=10, skin_mm=0)  # bridge of the nose
    inner(AIR, [(-66, 0, -14)], (34, 12, 20))
    inner(250, [(-66, 0, -14)], (34, 1.8, 20))  # septum
    for side in SIDES.values():
        inner(60, [(-62, 6.5, -20)], (22, 3.2, 6), side=side)  # concha
    inner(bone, [(-60, 0, -38)], (36, 24, 4))  # palate


def draw_airway(head: Head) -> None:
    """Draw the tongue, and the airway from the nose to the chest with larynx and hyoid bone."""
    head.draw(MUSCLE, [(-52, 0, -62)], (38, 26, 22), jitter=1.5)  # tongue
    if head.rng.random() < 0.7:
        head.draw(AIR, [(-62, 0, -43)], (26, 17, 2.6))
    way = [
        (-24, 0, -16), (-14, 0, -36), (-12, 0, -62), (-14, 0, -92), (-14, 0, -118), (-6, 0, -150),
        (18, 0, -250),
    ]  # fmt: skip
    wide = np.array([10, 7, 8, 9, 6, 8, 8.5]) * head.rng.uniform(0.85, 1.15, 7)
    shield = [(-16, 0, -104), (-15, 0, -126)]
    head.draw(CARTILAGE + 60, shield, 16, flatten=(1.1, 1, 1))
    head.draw(MUSCLE, shield, 12.5, flatten=(1.1, 1, 1))
    head.draw(MUSCLE + 15, way, wide + 3, flatten=(1, 1.2, 1), skin_mm=0)
    head.draw(AIR, way, wide, flatten=(1, 1.2, 1), skin_mm=0)
    hyoid = [(-18, -20, -88), (-40, -12, -92), (-44, 0, -93), (-40, 12, -92), (-18, 20, -88)]
    head.draw(BONE * 0.6, hyoid, 3.2)
    head.draw(MUSCLE - 15, [(6, 0, -126), (34, 3, -250)], 6, skin_mm=0)  # gullet
