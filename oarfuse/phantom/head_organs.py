"""The head phantom's organs at risk, and the spine that guides them."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy import ndimage

from oarfuse.phantom.drawing import blend
from oarfuse.phantom.frame import (
    BONE,
    BRAINSTEM,
    CORD,
    FLUID,
    GLAND,
    MARROW,
    MUSCLE,
    SIDES,
    TOOTH,
    Head,
)


def draw_spine(head: Head) -> None:
    """Draw thirteen vertebrae around the cord's line: atlas, dens, and the rest."""
    canvas = head.canvas
    line = head.cord_line
    levels = np.linspace(-30, -252, 13) + head.rng.normal(0, 1)
    canal_p = np.interp(-levels, -line[:, 2], line[:, 0])
    for number, (p, s) in enumerate(zip(canal_p, levels, strict=True)):
        grow = 1 + 0.035 * number  # vertebrae grow toward the chest
        front = p - 17 * grow if number else p - 14
        body = canvas.ellipsoid((front, 0, s), (10.5 * grow, 14 * grow, 8.3))
        bone = BONE * 0.8
        for side in SIDES.values():
            wide = 11 * grow * side
            arch = [(p - 6, wide, s), (p + 4, 14 * grow * side, s - 1), (p + 14, 5 * side, s - 3)]
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
            bends = ((-8, -17), (-19, -8), (-21, 0), (-19, 8), (-8, 17))
            ring = [(p + back, left, s) for back, left in bends]
            canvas.paint(canvas.tube(ring, 4), bone)
            dens = [(p - 13, 0, s + 4), (p - 14, 0, s - 18)]
            canvas.paint(canvas.tube(dens, 5.5), bone)


def draw_jaw(head: Head) -> None:
    """Draw the mandible, its muscles, both rows of teeth and the upper jaw."""
    canvas, jaw = head.canvas, head.jaw
    drop = head.rng.uniform(0, 5)  # how far the mouth stands open
    pieces = []
    for side in SIDES.values():
        body = [
            (-22 * jaw, 47, -72 - drop), (-48 * jaw, 42, -80 - drop), (-74 * jaw, 28, -86 - drop),
            (-84 * jaw, 13, -88 - drop), (-88 * jaw, 0, -89 - drop),
        ]  # fmt: skip
        ramus = [(-18 * jaw, 49, -66 - drop), (-10, 51, -28), (-5, 50, -10)]
        crown = [(-22 * jaw, 48, -44 - drop), (-27, 48, -22)]
        pieces += [
            head.tube(body, (4.9, 4.7, 4.7, 4.9, 5.2), (1, 1, 2.4), side=side),
            head.tube(ramus, (4.6, 4.1, 4.4), (2.6, 1, 1), side=side),
            head.tube(crown, (5, 3.4), (1.6, 1, 1), side=side),
        ]
        head.draw(MUSCLE + 8, [(-24, 59, -48)], (18, 7.5, 28), side=side, tilt=-12, skin_mm=3)
        head.draw(MUSCLE + 6, [(-16, 38, -50)], (15, 6, 22), side=side)
    distance = np.minimum.reduce([canvas.full(piece) for piece in pieces])
    bone = canvas.whole(distance)
    canvas.paint(bone, BONE + 150, head.body)
    canvas.paint(bone.grown(-3.4), MARROW)
    head.masks["mandible"] = distance < 0.6
    for row, height in ((1, -62 - drop), (-1, -46)):
        for step in np.linspace(-1, 1, 15):
            along = abs(step)
            reach = 79 if row > 0 else 81
            back = -(reach * (1 - along**2 * 0.62)) * jaw
            left = 37 * np.sin(step * np.pi / 2)
            tooth = canvas.ellipsoid(head.at(back, left, height), (4.2, 4.0, 7.5))
            canvas.paint(tooth, TOOTH if head.rng.random() > 0.08 else 80, head.body)
    upper = [(-42, -36, -42), (-66, -30, -42), (-83, 0, -42), (-66, 30, -42), (-42, 36, -42)]
    head.draw(BONE * 0.9, upper, 5, skin_mm=0)
    if head.rng.random() < 0.35:
        head.filling = head.at(-58, float(head.rng.choice([-34, 34])), -50)


def draw_brainstem_and_cord(head: Head) -> None:
    """Draw brainstem and cord in their fluid, and the line between the two contours."""
    canvas = head.canvas
    line = head.cord_line.copy()
    line[:, 1] += head.rng.normal(0, 1.0)
    top = line[0]
    canvas.paint(canvas.tube([head.at(22, 0, -2), *line], 10.5, (0.95, 1.1, 1)), FLUID + 4)
    stem = [head.at(6, 0, 36), head.at(8, 0, 22), head.at(10, 0, 8), head.at(20, 0, -10), top]
    wide = np.array([11, 11, 14, 9, 7]) * head.rng.normal(1, 0.05)
    cistern = canvas.tube(stem[:-1], wide[:-1] + 6, (1, 1.15, 1))
    canvas.paint(cistern, FLUID)
    canvas.paint(head.ball((28, 0, 6), (5, 8, 11)), FLUID)  # fourth ventricle
    brainstem = canvas.tube(stem, wide, (1, 1.12, 1))
    canvas.paint(brainstem, BRAINSTEM)
    cord = canvas.tube(list(line), head.rng.normal(5.4, 0.35), (0.95, 1.2, 1))
    canvas.paint(cord, CORD, head.body)
    up = canvas.coordinates[2]
    border = top[2] + head.rng.normal(0, 2)
    # Two contours drawn apart meet in a slice that both claim.
    head.masks["brainstem"] = (
        canvas.inside(brainstem.grown(0.8)) & (up > border - 1.5) & (up < head.at(0, 0, 36)[2] + 6)
    )
    head.masks["spinal_cord"] = canvas.inside(cord.grown(1.0)) & (up < border + 1.5)


def draw_parotids(head: Head) -> None:
    """Draw both glands behind and over the jaw, in tones that hardly differ from fat and muscle."""
    canvas = head.canvas
    tone = GLAND + head.rng.normal(-8, 12)
    for name, side in SIDES.items():
        lobe = partial(head.ball, side=side, jitter=1.5, vary=0.08)
        deep = lobe((6, 55, -30), (15, 14, 26), tilt=8)
        front = lobe((-12, 63, -36), (22, 7.5, 21), tilt=-10)
        tail = lobe((12, 55, -56), (12, 10, 18))
        distance = blend(*map(canvas.full, (deep, front, tail)), mm=10)
        gland = canvas.whole(np.maximum(distance + 1.3 * head.coarse, head.body.distance + 4))
        # Drawn last, so bone must be kept: the gland fills only what is soft.
        keep = canvas.hu > 250
        bones = canvas.hu[keep]
        canvas.paint(gland, tone + 10 * head.coarse)
        canvas.hu[keep] = bones
        hard = keep | head.masks["mandible"]
        inside = gland.distance < 0.4
        pieces, _ = ndimage.label(inside & ~hard)
        soft = pieces == np.bincount(pieces[pieces > 0]).argmax()
        # The contour follows the jaw, but strays into its edge here and there.
        stray = head.rng.random(canvas.shape, dtype=np.float32) < 0.06
        edge = ndimage.binary_dilation(soft) & head.masks["mandible"]
        head.masks[f"{name}_parotid"] = soft | (edge & stray)
