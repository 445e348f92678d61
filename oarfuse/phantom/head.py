"""The procedural head-and-neck phantom: one seed, one patient.

The aim is a CT in which a student finds each organ where the anatomy book has it, and a network
meets the difficulties of the real data: parotids hardly brighter than the fat around them and told
apart by their side only, a brainstem and cord that differ from their surroundings by a few HU,
bone and teeth that outshine the rest, and a scan that sometimes ends before the organs do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oarfuse.data.ct import AIR_HU
from oarfuse.data.openkbp.sparse_csv import SHAPE
from oarfuse.phantom import head_organs as phantom_organs
from oarfuse.phantom import head_tissue as phantom_tissue
from oarfuse.phantom.drawing import Canvas, noise, rotation
from oarfuse.phantom.frame import Head

# The body is drawn on this part of the volume, to save time; the rest is empty.
DRAWN = (slice(28, 108), slice(16, 112), slice(0, 128))


@dataclass(frozen=True)
class Phantom:
    """One drawn patient.

    Attributes
    ----------
    ct
        (128, 128, 128) int16, HU, axes to posterior, left, inferior.
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
    turn = rotation(*rng.normal(0, (2.0, 4.0, 4.0)))
    origin = rng.normal(0, 6, 3) + np.array((-8, 0, 62))
    shape = tuple(part.stop - part.start for part in DRAWN)
    head = Head(Canvas((shape[0], shape[1], shape[2]), spacing, turn, origin), rng)
    phantom_tissue.draw_skin_and_soft_tissue(head)
    phantom_tissue.draw_neck(head)
    phantom_tissue.draw_skull_and_brain(head)
    phantom_tissue.draw_face(head)
    phantom_tissue.draw_airway(head)
    phantom_organs.draw_spine(head)
    phantom_organs.draw_jaw(head)
    phantom_organs.draw_brainstem_and_cord(head)
    phantom_organs.draw_parotids(head)
    return _scan(head)


def _scan(head: Head) -> Phantom:
    """Lay the patient on the table, add scatter and noise, and cut the scan to a field of view."""
    canvas, rng, hu = head.canvas, head.rng, head.canvas.hu
    up = canvas.heights()  # the scanner cuts along its own axis, however the head is turned
    table = _add_table(head)
    _add_streaks(head)
    hu += 14 * noise(rng, canvas.shape, 0.55) + 5 * noise(rng, canvas.shape, 0)
    top, bottom = rng.uniform(48, 112), rng.uniform(-214, -178)
    beyond = 0  # mm that the cord's contour goes on below the scan
    if rng.random() < 0.35:  # cut to the planned region: the scan ends inside brainstem and cord
        top, beyond = rng.uniform(12, 26), 15
    scanned = (up < top) & (up > bottom)
    masks = {name: mask & (up > bottom - beyond) for name, mask in head.masks.items()}
    drawn = np.logical_or.reduce(list(masks.values()))
    # As in the real data: beyond the scan's end the CT exists where an organ was drawn.
    has_ct = ((head.body.distance < 9) | table) & scanned | drawn
    ct = np.where(has_ct, np.clip(np.rint(hu), AIR_HU + 1, 3071), AIR_HU).astype(np.int16)
    dose = (head.body.distance < 0) & (up < top - 12) & (up > bottom + 12)
    return Phantom(
        ct=_embed(ct, AIR_HU),
        has_ct=_embed(has_ct, False),
        masks={name: _embed(mask, False) for name, mask in masks.items()},
        dose_mask=_embed(dose, False),
        spacing_mm=canvas.spacing_mm,
    )


def _add_table(head: Head) -> NDArray[np.bool_]:
    # The table does not turn with the head: it is drawn on the array's own axes.
    (planes, rows, _), spacing = head.canvas.shape, head.canvas.spacing_mm
    behind = np.flatnonzero((head.body.distance < 0).any(axis=(1, 2))).max() + 2
    back = (np.arange(planes) - behind)[:, None, None] * spacing[0]
    left = (np.arange(rows) - rows / 2)[None, :, None] * spacing[1]
    bent = back + (left / 34) ** 2
    board = (np.abs(bent) < spacing[0] * 0.6) & (np.abs(left) < 190)
    table = np.broadcast_to(board, head.canvas.shape)
    head.canvas.hu[table] = -480
    return table


def _add_streaks(head: Head) -> None:
    """Metal in a tooth shines in rays through the slices around it."""
    if head.filling is None:
        return
    canvas = head.canvas
    back, left, up = (
        axis - np.float32(start)
        for axis, start in zip(canvas.coordinates, head.filling, strict=True)
    )
    reach = np.hypot(back, left)
    angle = np.arctan2(left, back)
    rays = np.cos(6 * angle + np.float32(head.rng.uniform(0, 6))) + np.cos(10 * angle)
    canvas.hu += 150 * np.exp(-((up / 5) ** 2) - reach / 45) * rays
    canvas.hu[reach**2 + up**2 < 25] = 3071


def _embed(part: NDArray, empty: float) -> NDArray:
    volume = np.full(SHAPE, empty, part.dtype)
    volume[DRAWN] = part
    return volume
