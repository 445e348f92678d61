"""The head phantom's frame of reference: one patient's size, and HU by tissue.

All places are (posterior, left, superior) in mm from the point between the ears of a standard
head; HU are rounded textbook values. Nothing here was measured on a patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oarfuse.phantom.drawing import Canvas, Point, Shape, noise

SIDES = {"right": -1, "left": 1}

AIR, FAT, GLAND, MUSCLE, SKIN = -1000, -95, -8, 58, 20
FLUID, CORD, BRAINSTEM, BRAIN = 6, 44, 30, 38
MARROW, CARTILAGE, BONE, TOOTH = 420, 180, 1150, 2100


class Head:
    """One patient in the making.

    Attributes
    ----------
    canvas, rng
        Where it is drawn, and the source of all that varies.
    body
        The skin's distance on the whole canvas, once the soft tissue is drawn.
    coarse, fine
        Tissue texture of two grain sizes: mean 0, standard deviation 1, on the whole canvas.
    cord_line
        (n, 3) the spinal cord's way down.
    masks
        Organ name to mask.
    filling
        Place of a metal tooth filling, if the patient has one.
    """

    body: Shape
    filling: NDArray[np.float64] | None = None

    def __init__(self, canvas: Canvas, rng: np.random.Generator) -> None:
        self.canvas = canvas
        self.rng = rng
        self.size = rng.normal(1, 0.04)
        self.wide, self.long, self.jaw = rng.normal(1, 0.03, 3)
        self.coarse = noise(rng, canvas.shape, 1.6)
        self.fine = noise(rng, canvas.shape, 0.8)
        self.masks: dict[str, NDArray[np.bool_]] = {}
        # The neck bows forward, then the spine goes back into the chest.
        bow, sag = rng.normal(5, 4), rng.normal(56, 8)
        levels = np.linspace(-24, -260, 24)
        depth = (levels + 24) / -236
        self.cord_line = np.stack(
            [26 - bow * np.sin(np.pi * depth) + sag * depth**2, 0 * levels, levels], axis=1
        )

    def at(self, back: float, left: float, up: float, jitter: float = 0.0) -> NDArray[np.float64]:
        """A point of the standard head in this one, moved by a random `jitter` (mm, 1 sigma)."""
        place = np.array([back * self.long, left * self.wide, up]) * self.size
        return place + self.rng.normal(0, jitter, 3) if jitter else place

    def ball(
        self,
        place: Point,
        radii: Point,
        *,
        side: int = 1,
        tilt: float = 0.0,
        jitter: float = 0.0,
        vary: float = 0.0,
        scaled: bool = True,
    ) -> Shape:
        """An ellipsoid of the standard head, or its counterpart on the right (`side` -1).

        `vary` changes its radii (share, 1 sigma); unless `scaled` they are the same in all heads.
        """
        scale = np.array([self.long, self.wide, 1]) * self.size if scaled else np.ones(3)
        if vary:
            scale = scale * (1 + self.rng.normal(0, vary, 3))
        centre = self.at(place[0], place[1] * side, place[2], jitter)
        return self.canvas.ellipsoid(centre, np.asarray(radii) * scale, tilt)

    def tube(
        self,
        places: Sequence[Point],
        radii: float | Point,
        flatten: Point = (1, 1, 1),
        *,
        side: int = 1,
    ) -> Shape:
        """A tube through places of the standard head, or its counterpart on the right."""
        nodes = [self.at(back, left * side, up) for back, left, up in places]
        return self.canvas.tube(nodes, radii, flatten)

    def draw(
        self,
        hu: float,
        places: Sequence[Point],
        radii: float | Point,
        *,
        side: int = 1,
        skin_mm: float | None = None,
        shell: tuple[float, float] | None = None,
        texture: float = 0.0,
        **form: Any,
    ) -> None:
        """Draw a `ball` at one place or a `tube` through several; `form` are its other options.

        Parameters
        ----------
        skin_mm
            How far below the skin it has to stay; None for what never comes near it.
        shell
            mm and HU of a wall around it.
        texture
            HU (1 sigma) by which the tissue varies.
        """
        shape = (
            self.tube(places, radii, side=side, **form)
            if len(places) > 1
            else self.ball(places[0], np.asarray(radii), side=side, **form)
        )
        within = None if skin_mm is None else self.body.grown(-skin_mm)
        if shell:
            self.canvas.paint(shape.grown(shell[0]), shell[1], within)
        grain = texture * self.fine[shape.region] if texture else 0
        self.canvas.paint(shape, hu + grain, within)
