"""An interactive 3D viewer in the notebook: NiiVue, if the reader has installed it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.colors import to_rgb

from oarfuse.errors import OarfuseError
from oarfuse.organs import DatasetSpec


def label_colormap(spec: DatasetSpec) -> dict[str, list[Any]]:
    """Return the organs' colours as NiiVue wants them: R, G, B, A (0..255), I and labels.

    The background is clear.
    """
    colors = [to_rgb(organ.color) for organ in spec.organs]
    table: dict[str, list[Any]] = {
        channel: [0, *(round(255 * color[number]) for color in colors)]
        for number, channel in enumerate("RGB")
    }
    table["A"] = [0, *([255] * len(colors))]
    table["I"] = [0, *(organ.label for organ in spec.organs)]
    table["labels"] = ["", *(organ.title for organ in spec.organs)]
    return table


def volume_viewer(
    image_path: str | Path,
    labels_path: str | Path,
    *,
    spec: DatasetSpec,
    opacity: float = 0.6,
) -> Any:
    """Return a NiiVue widget: three planes and a 3D rendering, to be turned with the mouse.

    Needs the optional package ipyniivue and a browser with WebGL2; `show_surfaces` shows the same
    organs without either. Scrolling moves through the slices.

    Parameters
    ----------
    image_path, labels_path
        NIfTI files of the CT and of a label map. The viewer reads their affines itself, so it is
        an independent test of the orientation.
    spec
        The data set, for colours, titles and the CT window.
    opacity
        Of the labels, 0 to 1.

    Raises
    ------
    OarfuseError
        If ipyniivue is not installed or a file is missing.
    """
    for path in (image_path, labels_path):
        if not Path(path).is_file():
            raise OarfuseError(f"There is no {path}: give a NIfTI file.")
    try:
        from ipyniivue import MultiplanarType, NiiVue, ShowRender, SliceType, Volume
    except ImportError as error:
        raise OarfuseError(
            "The 3D viewer needs ipyniivue: install it with `pip install ipyniivue`."
        ) from error
    low, high = spec.window_hu
    image = Volume(
        path=str(image_path), colormap="gray", cal_min=low, cal_max=high, colorbar_visible=False
    )
    labels = Volume(path=str(labels_path), opacity=opacity, colorbar_visible=False)
    labels.set_colormap_label(label_colormap(spec))
    viewer = NiiVue(height=640)
    viewer.opts.slice_type = SliceType.MULTIPLANAR
    viewer.opts.multiplanar_layout = MultiplanarType.GRID
    viewer.opts.multiplanar_show_render = ShowRender.ALWAYS
    viewer.opts.is_radiological_convention = True  # the patient's right on the viewer's left
    viewer.load_volumes([image, labels])
    return viewer
