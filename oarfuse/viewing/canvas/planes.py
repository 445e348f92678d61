"""Where a slice lies and which way it faces: the geometry behind every picture of the kit.

All volumes are (D, H, W) with axes pointing Superior, Posterior, Left. Pictures follow the
radiological convention: the patient's right is on the viewer's left, anterior (axial) or superior
(coronal, sagittal) is up, and a sagittal slice faces left (anterior on the viewer's left).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from oarfuse.errors import OarfuseError
from oarfuse.organs import DatasetSpec

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
Spacing = tuple[float, float, float]
Extent = tuple[float, float, float, float]
Limits = tuple[tuple[float, float], tuple[float, float]]
Crop = Literal["body", "organs", "none"]
ORGAN_MARGIN_MM = 25.0


@dataclass(frozen=True)
class Plane:
    """One of the three viewing planes.

    Attributes
    ----------
    axis, row_axis, col_axis
        The volume axes that the slice fixes, that runs along the picture's rows, its columns.
    upward
        Whether the row axis points up in the picture (superior) or down (posterior).
    left, right, top, bottom
        Letters of the patient directions at the picture's edges.
    """

    name: str
    axis: int
    row_axis: int
    col_axis: int
    upward: bool
    left: str
    right: str
    top: str
    bottom: str

    @property
    def origin(self) -> Literal["upper", "lower"]:
        """Matplotlib's `origin` under which the slice stands upright."""
        return "lower" if self.upward else "upper"

    def take(self, volume: np.ndarray, index: int) -> np.ndarray:
        """Return the slice `index` of a (D, H, W) volume as (rows, columns)."""
        return np.take(volume, index, axis=self.axis)

    def extent(self, shape: Sequence[int], spacing_mm: Spacing) -> Extent:
        """Return Matplotlib's (left, right, bottom, top) of a whole slice in mm."""
        width = shape[self.col_axis] * spacing_mm[self.col_axis]
        height = shape[self.row_axis] * spacing_mm[self.row_axis]
        return (0.0, width, 0.0, height) if self.upward else (0.0, width, height, 0.0)

    def limits(self, box: Box, spacing_mm: Spacing) -> Limits:
        """Return x limits and y limits in mm that show the part of a slice inside `box`."""
        x0, x1 = (edge * spacing_mm[self.col_axis] for edge in box[self.col_axis])
        y0, y1 = (edge * spacing_mm[self.row_axis] for edge in box[self.row_axis])
        return (x0, x1), ((y0, y1) if self.upward else (y1, y0))

    def size_mm(self, box: Box, spacing_mm: Spacing) -> tuple[float, float]:
        """Return width and height in mm of the part of a slice inside `box`."""
        (x0, x1), (y0, y1) = self.limits(box, spacing_mm)
        return abs(x1 - x0), abs(y1 - y0)


AXIAL = Plane("axial", 0, 1, 2, False, "R", "L", "A", "P")
CORONAL = Plane("coronal", 1, 0, 2, True, "R", "L", "S", "I")
SAGITTAL = Plane("sagittal", 2, 0, 1, True, "A", "P", "S", "I")
PLANES: dict[str, Plane] = {plane.name: plane for plane in (AXIAL, CORONAL, SAGITTAL)}


def get_plane(name: str) -> Plane:
    """Return the plane `axial`, `coronal` or `sagittal`; raise `OarfuseError` for another name."""
    try:
        return PLANES[name]
    except KeyError:
        raise OarfuseError(
            f"There is no plane named {name!r}: choose one of {', '.join(PLANES)}."
        ) from None


def check_image(image: np.ndarray, spacing_mm: Sequence[float]) -> Spacing:
    """Return the spacing as three floats; raise `OarfuseError` unless both can be drawn."""
    if np.ndim(image) != 3 or 0 in np.shape(image):
        raise OarfuseError(
            f"An image of shape {np.shape(image)} cannot be shown: pass one volume (D, H, W)."
        )
    spacing = tuple(float(step) for step in spacing_mm)
    if len(spacing) != 3 or not all(np.isfinite(step) and step > 0 for step in spacing):
        raise OarfuseError(
            f"spacing_mm is {tuple(spacing_mm)}: give three positive numbers in mm for (D, H, W)."
        )
    return spacing


def check_labels(labels: np.ndarray, image: np.ndarray, spec: DatasetSpec, what: str) -> np.ndarray:
    """Return `labels` as uint8; raise `OarfuseError` unless they fit the image and the data set."""
    labels = np.asarray(labels)
    if labels.shape != np.shape(image):
        raise OarfuseError(
            f"The {what} has shape {labels.shape} but the image {np.shape(image)}: "
            "pass label maps on the image's grid."
        )
    if labels.dtype != bool and not np.issubdtype(labels.dtype, np.integer):
        raise OarfuseError(
            f"The {what} holds {labels.dtype} values: pass whole-number labels, not logits."
        )
    if labels.size and (labels.min() < 0 or labels.max() >= spec.num_classes):
        raise OarfuseError(
            f"The {what} holds labels {labels.min()}..{labels.max()}, but {spec.title} has "
            f"0..{spec.num_classes - 1}: pass the data set the labels belong to."
        )
    return labels.astype(np.uint8, copy=False)


def check_index(index: Sequence[int], shape: Sequence[int]) -> tuple[int, int, int]:
    """Return a voxel index as three ints; raise `OarfuseError` unless it lies in the volume."""
    voxel = tuple(int(i) for i in index)
    if len(voxel) != 3 or not all(0 <= i < n for i, n in zip(voxel, shape, strict=True)):
        raise OarfuseError(
            f"The voxel {tuple(index)} is outside the volume {tuple(shape)}: "
            "give three indices (d, h, w) inside it."
        )
    return voxel


def telling_voxel(labels: np.ndarray) -> tuple[int, int, int]:
    """Return the voxel whose three slices show the most organs, then the most labelled voxels.

    A centre of mass would often miss the small paired organs; with no organ at all the centre
    of the volume is returned.
    """
    if not labels.any():
        d, h, w = labels.shape
        return d // 2, h // 2, w // 2
    values = [value for value in np.unique(labels) if value]
    voxel = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        area = np.stack([(labels == value).sum(axis=others) for value in values])
        # The area is below the voxel count, so the number of organs always decides first.
        voxel.append(int(np.argmax((area > 0).sum(axis=0) * labels.size + area.sum(axis=0))))
    return voxel[0], voxel[1], voxel[2]


def whole_box(shape: Sequence[int]) -> Box:
    """Return the box that holds the whole volume."""
    return (0, shape[0]), (0, shape[1]), (0, shape[2])


def box_around(mask: np.ndarray, spacing_mm: Spacing, margin_mm: float) -> Box:
    """Return the bounding box of a (D, H, W) mask with a margin, cut at the volume's edges.

    An empty mask gives the whole volume.
    """
    if not mask.any():
        return whole_box(mask.shape)
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        used = np.flatnonzero(mask.any(axis=others))
        margin = int(np.ceil(margin_mm / spacing_mm[axis]))
        box.append(
            (max(0, int(used[0]) - margin), min(mask.shape[axis], int(used[-1]) + 1 + margin))
        )
    return box[0], box[1], box[2]


def crop_box(image: np.ndarray, labels: np.ndarray | None, spacing_mm: Spacing, crop: Crop) -> Box:
    """Return the box that `crop` names: the body, the organs with 25 mm around, or everything.

    Without a label map the organs' box is the body's: what is denser than -300 HU, with 8 mm of air
    around. That is for the eye; prediction has its own box, `oarfuse.data.ct.body_box`.
    """
    if crop == "none":
        return whole_box(image.shape)
    if crop == "organs" and labels is not None:
        return box_around(labels > 0, spacing_mm, ORGAN_MARGIN_MM)
    if crop in ("body", "organs"):
        return box_around(image > -300, spacing_mm, margin_mm=8.0)
    raise OarfuseError(f"There is no crop named {crop!r}: choose body, organs or none.")
