"""Pictures of the kit: slices, comparisons, curves, surfaces, feature maps, the architecture.

Every function returns a closed Matplotlib figure: as the last expression of a notebook cell it is
shown once, elsewhere call `IPython.display.display(figure)` or `figure.savefig(path)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from oarfuse.extras import require
from oarfuse.models.stages import Stage, trace_stages
from oarfuse.viewing.ct.comparison import ViewCase, show_cases, show_comparison
from oarfuse.viewing.ct.distances import show_distances
from oarfuse.viewing.ct.error_map import show_error_map
from oarfuse.viewing.ct.fields import show_fields
from oarfuse.viewing.ct.patches import show_patches
from oarfuse.viewing.ct.slice_page import slice_page
from oarfuse.viewing.ct.slices import show_planes
from oarfuse.viewing.ct.surfaces import show_surfaces
from oarfuse.viewing.ct.volume import volume_viewer
from oarfuse.viewing.network.diagram import draw_architecture
from oarfuse.viewing.network.focal_block import draw_focal_block
from oarfuse.viewing.network.maps import show_maps
from oarfuse.viewing.network.pipeline import draw_pipeline
from oarfuse.viewing.plots.budgets import plot_budgets, recorded_curve
from oarfuse.viewing.plots.cohort import plot_cohort
from oarfuse.viewing.plots.curves import plot_boxes, plot_curves
from oarfuse.viewing.plots.differences import plot_differences
from oarfuse.viewing.plots.live import LiveCurves
from oarfuse.viewing.plots.pairs import plot_pairs
from oarfuse.viewing.plots.profiles import plot_coverage, plot_slice_dsc

if TYPE_CHECKING:
    from oarfuse.viewing.ct.browser import SliceBrowser

show_gates = show_maps  # as notebook 02 calls it, which looks at the gates of the focal-fuse block

__all__ = [
    "LiveCurves",
    "SliceBrowser",
    "Stage",
    "ViewCase",
    "draw_architecture",
    "draw_focal_block",
    "draw_pipeline",
    "plot_boxes",
    "plot_budgets",
    "plot_cohort",
    "plot_coverage",
    "plot_curves",
    "plot_differences",
    "plot_pairs",
    "plot_slice_dsc",
    "recorded_curve",
    "show_cases",
    "show_comparison",
    "show_distances",
    "show_error_map",
    "show_fields",
    "show_gates",
    "show_maps",
    "show_patches",
    "show_planes",
    "show_surfaces",
    "slice_page",
    "trace_stages",
    "volume_viewer",
]


def __getattr__(name: str) -> Any:
    # The one class whose module cannot be imported without an extra.
    if name != "SliceBrowser":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require("The slice browser", "notebooks", "ipywidgets")
    from oarfuse.viewing.ct.browser import SliceBrowser

    return SliceBrowser
