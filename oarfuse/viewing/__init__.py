"""Pictures of the kit: slices, comparisons, curves, surfaces, feature maps, the architecture.

Every function returns a closed Matplotlib figure: as the last expression of a notebook cell it is
shown once, elsewhere call `IPython.display.display(figure)` or `figure.savefig(path)`.
"""

from oarfuse.viewing.architecture import Stage, trace_stages
from oarfuse.viewing.browser import SliceBrowser
from oarfuse.viewing.cohort import plot_cohort
from oarfuse.viewing.comparison import ViewCase, show_cases, show_comparison
from oarfuse.viewing.curves import plot_boxes, plot_curves
from oarfuse.viewing.diagram import draw_architecture
from oarfuse.viewing.differences import plot_differences
from oarfuse.viewing.distances import show_distances
from oarfuse.viewing.errormap import show_error_map
from oarfuse.viewing.fields import show_fields
from oarfuse.viewing.live import LiveCurves
from oarfuse.viewing.maps import show_gates
from oarfuse.viewing.patches import show_patches
from oarfuse.viewing.pipeline import draw_pipeline
from oarfuse.viewing.profiles import plot_coverage, plot_slice_dsc
from oarfuse.viewing.slices import show_planes
from oarfuse.viewing.surfaces import show_surfaces
from oarfuse.viewing.viewer3d import volume_viewer

__all__ = [
    "LiveCurves",
    "SliceBrowser",
    "Stage",
    "ViewCase",
    "draw_architecture",
    "draw_pipeline",
    "plot_boxes",
    "plot_cohort",
    "plot_coverage",
    "plot_curves",
    "plot_differences",
    "plot_slice_dsc",
    "show_cases",
    "show_comparison",
    "show_distances",
    "show_error_map",
    "show_fields",
    "show_gates",
    "show_patches",
    "show_planes",
    "show_surfaces",
    "trace_stages",
    "volume_viewer",
]
