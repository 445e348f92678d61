"""Looking hard at a prepared data set before any number is believed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from oarfuse.data.manifest import Case, Manifest, load_case
from oarfuse.data.sparse_csv import CT_OFFSET

if TYPE_CHECKING:
    import pandas as pd

# In the 133 training and validation patients, organ slices hold either below 3 % or above 15 % of
# the CT of a full slice, with almost nothing between: any limit in the gap finds the same slices.
LEAK_SHARE = 0.05


def leaking_slices(image: NDArray[Any], label: NDArray[Any]) -> NDArray[np.bool_]:
    """Find axial slices that give the answer away, because CT exists only where organs are.

    In many OpenKBP patients the CT was cut to the planned region while the organ contours go on.
    Beyond the cut the data set keeps CT only inside structures, so that a network need not know
    what an organ looks like: wherever there is CT, there is an organ.

    A slice leaks if it holds organ voxels and its CT voxels outside all organs number less than
    `LEAK_SHARE` of those in a full slice. A voxel has CT if its value is above -1024 HU. A full
    slice is the 90th percentile of that count over the volume's organ slices; the median would not
    do, because in some patients half of the organ slices leak.

    Parameters
    ----------
    image
        (D, H, W) HU, -1024 where there is no CT; the first axis runs along the body.
    label
        (D, H, W) label values, 0 for background.

    Returns
    -------
    (D,) boolean, True for leaking slices. All False if there is no organ, or no CT outside organs
    at all, since then no slice can be told from the others.
    """
    organ = label > 0
    with_organ = organ.any(axis=(1, 2))
    if not with_organ.any():
        return np.zeros(len(label), bool)
    outside = ((image > -CT_OFFSET) & ~organ).sum(axis=(1, 2))
    full = np.percentile(outside[with_organ], 90)
    return with_organ & (outside < LEAK_SHARE * full)


def audit(manifest: Manifest, workers: int | None = None) -> pd.DataFrame:
    """Measure every prepared patient: the table behind the data notebook.

    Returns
    -------
    One row a patient, indexed by case, with the columns ``split``; ``spacing_d``, ``spacing_h``,
    ``spacing_w`` (mm); ``voxels_<organ>`` and ``components_<organ>`` (components touch by faces,
    edges or corners); ``overlap_voxels``; ``extent_d``, ``extent_h``, ``extent_w`` (voxels of the
    box around all organs); ``leaking_slices``; ``leaking_share`` (share of the organ voxels that
    lie in leaking slices); ``organ_voxels_without_ct``; ``hu_max``.
    """
    import pandas as pd

    with ThreadPoolExecutor(workers) as pool:
        rows = list(pool.map(lambda case: _measure(case, manifest), manifest.cases))
    return pd.DataFrame(rows).set_index("case")


def _measure(case: Case, manifest: Manifest) -> dict[str, Any]:
    volume = load_case(case)
    organ = volume.label > 0
    box = ndimage.find_objects(organ.astype(np.uint8))[0]
    leaking = leaking_slices(volume.image, volume.label)
    row: dict[str, Any] = {"case": case.case, "split": case.split}
    row |= {f"spacing_{axis}": size for axis, size in zip("dhw", case.spacing_mm, strict=True)}
    row |= {f"voxels_{name}": count for name, count in case.voxels.items()}
    for entry in manifest.spec.organs:
        mask = volume.label[box] == entry.label
        row[f"components_{entry.name}"] = ndimage.label(mask, np.ones((3, 3, 3)))[1]
    row["overlap_voxels"] = case.overlap_voxels
    row |= {f"extent_{axis}": part.stop - part.start for axis, part in zip("dhw", box, strict=True)}
    row["leaking_slices"] = int(leaking.sum())
    row["leaking_share"] = float(organ[leaking].sum() / organ.sum())
    row["organ_voxels_without_ct"] = int((organ & (volume.image == -CT_OFFSET)).sum())
    row["hu_max"] = int(volume.image.max())
    return row
