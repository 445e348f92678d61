"""One augmented patch, where training makes a batch of them."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from oarfuse.data.augment import augment_batch, draw_change
from oarfuse.organs import DatasetSpec


def augment_patch(
    image_hu: Tensor,
    label: Tensor,
    spec: DatasetSpec,
    patch_size: tuple[int, int, int],
    random: np.random.Generator,
    strength: float,
) -> dict[str, Tensor]:
    """Augment one patch: HU and labels (D', H', W') to ``image`` and ``label`` (1, D, H, W)."""
    change = draw_change(random, strength, mirrors=bool(spec.mirror_pairs))
    batch = augment_batch(image_hu[None], label[None], [change], spec, patch_size)
    return {name: tensor[0] for name, tensor in batch.items()}
