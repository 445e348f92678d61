"""Training patches as pictures: what the network is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from oarfuse.errors import OarfuseError
from oarfuse.organs import DatasetSpec
from oarfuse.viewing.canvas.layout import panel_figure, panel_room
from oarfuse.viewing.canvas.overlay import (
    Scan,
    draw_plane,
    organ_handles,
    present_organs,
    window_text,
)
from oarfuse.viewing.canvas.planes import (
    check_image,
    check_index,
    check_labels,
    get_plane,
    telling_voxel,
    whole_box,
)
from oarfuse.viewing.canvas.style import styled

MAX_ROW_IN = 2.6


@styled
def show_patches(
    patches: Mapping[str, Mapping[str, Tensor]],
    *,
    spacing_mm: Sequence[float],
    spec: DatasetSpec,
    planes: Sequence[str] = ("axial", "coronal"),
    index: Sequence[int] | Sequence[Sequence[int]] | None = None,
    title: str = "",
) -> Figure:
    """Show patches side by side, one column each and one row a plane, all at one scale.

    Parameters
    ----------
    patches
        Column title to a patch as `oarfuse.data.patches.PatchDataset` gives it: `image`
        (1, D, H, W) in 0..1 and `label` (1, D, H, W), of the same shape in all patches.
    spacing_mm
        Voxel size (D, H, W) in mm.
    index
        The voxel (d, h, w) whose slices are shown, or one for each patch; by default, in each
        patch, the one whose slices show the most organs.

    Returns
    -------
    A closed Matplotlib figure (see `show_planes`).

    Raises
    ------
    OarfuseError
        If there is no patch, or shapes, labels, planes or index do not fit.
    """
    if not patches or not planes:
        raise OarfuseError("Nothing is shown: give at least one patch and one plane.")
    images = [np.asarray(patch["image"])[0] for patch in patches.values()]
    spacing = check_image(images[0], spacing_mm)
    if any(image.shape != images[0].shape for image in images):
        raise OarfuseError("The patches have different shapes: show patches of one size.")
    labels = [
        check_labels(np.asarray(patch["label"])[0], images[0], spec, f"patch {name!r}")
        for name, patch in patches.items()
    ]
    if index is None:
        voxels = [telling_voxel(label) for label in labels]
    else:
        given = np.asarray(index).tolist()
        given = [given] * len(images) if np.ndim(index) == 1 else given
        if len(given) != len(images):
            raise OarfuseError(
                f"{len(given)} voxels are given for {len(images)} patches: give one or as many."
            )
        voxels = [check_index(voxel, images[0].shape) for voxel in given]
    box, views = whole_box(images[0].shape), [get_plane(name) for name in planes]
    sizes = [view.size_mm(box, spacing) for view in views]
    room = panel_room(len(images))
    scale = min(
        room / len(images) / max(width for width, _ in sizes),
        MAX_ROW_IN / max(height for _, height in sizes),
    )
    panels = panel_figure(
        [max(scale * max(width for width, _ in sizes), room / len(images))] * len(images),
        [height * scale for _, height in sizes],
        title=title or "Training patches",
        caption=(
            f"{' and '.join(view.name for view in views).capitalize()} slices, each a part of "
            f"{' x '.join(map(str, images[0].shape))} voxels, as the network gets it: "
            f"{window_text(spec.window_hu)} as black to white. R, L, A, P, S, I: the patient's "
            "sides; the patient's right is on your left."
        ),
        handles=organ_handles(present_organs(spec, *labels)),
        headers=[0.24] + [0.02] * (len(views) - 1),
    )
    for row, (view, (width, height)) in enumerate(zip(views, sizes, strict=True)):
        for column, (image, label, voxel) in enumerate(zip(images, labels, voxels, strict=True)):
            axes = panels.axes(row, column, width * scale, height * scale)
            scan = Scan(image, spacing, spec, box, (0.0, 1.0))
            draw_plane(
                axes,
                scan,
                view,
                voxel[view.axis],
                label,
                fill=0.35,
                outline=0.9,
                scale_bar=column == 0,
            )
            if row == 0:
                axes.set_title(list(patches)[column], pad=4)
    return panels.figure
