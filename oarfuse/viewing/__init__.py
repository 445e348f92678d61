"""Pictures of the kit: slices, comparisons, curves, surfaces, feature maps, the architecture.

Every function returns a closed Matplotlib figure: as the last expression of a notebook cell it is
shown once, elsewhere call `IPython.display.display(figure)` or `figure.savefig(path)`.
"""

from oarfuse.viewing.architecture import Stage, trace_stages
from oarfuse.viewing.browser import SliceBrowser
from oarfuse.viewing.comparison import ViewCase, show_cases, show_comparison
from oarfuse.viewing.curves import plot_boxes, plot_curves
from oarfuse.viewing.diagram import draw_architecture
from oarfuse.viewing.errormap import show_error_map
from oarfuse.viewing.maps import show_gates
from oarfuse.viewing.slices import show_planes
from oarfuse.viewing.surfaces import show_surfaces

__all__ = [
    "SliceBrowser",
    "Stage",
    "ViewCase",
    "draw_architecture",
    "plot_boxes",
    "plot_curves",
    "show_cases",
    "show_comparison",
    "show_error_map",
    "show_gates",
    "show_planes",
    "show_surfaces",
    "trace_stages",
]
