"""Clean-up of predicted labels after the network."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import find_objects, generate_binary_structure, label


def keep_largest_component(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Keep only the largest connected piece of each organ and set its other pieces to background.

    Voxels are connected through faces, edges and corners (26 neighbours), so that a thin organ
    is not cut where it runs diagonally. Of equally large pieces the first in C order stays.

    Parameters
    ----------
    labels
        (D, H, W) integer label volume; it is not changed.
    num_classes
        Number of classes with the background; labels 1 to num_classes - 1 are cleaned.

    Returns
    -------
    numpy.ndarray
        (D, H, W), the same dtype.
    """
    cleaned = labels.copy()
    neighbours = generate_binary_structure(labels.ndim, labels.ndim)
    for value, box in enumerate(find_objects(labels, max_label=num_classes - 1), start=1):
        if box is None:
            continue
        mask = labels[box] == value
        pieces, count = label(mask, neighbours)
        if count > 1:
            sizes = np.bincount(pieces.ravel())
            sizes[0] = 0
            cleaned[box][mask & (pieces != sizes.argmax())] = 0
    return cleaned
