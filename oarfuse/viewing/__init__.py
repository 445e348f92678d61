"""Pictures of the kit: slices, comparisons, curves, surfaces, feature maps, the architecture."""

from oarfuse.viewing.browser import SliceBrowser
from oarfuse.viewing.comparison import ViewCase, show_cases, show_comparison
from oarfuse.viewing.errormap import show_error_map
from oarfuse.viewing.slices import show_planes

__all__ = [
    "SliceBrowser",
    "ViewCase",
    "show_cases",
    "show_comparison",
    "show_error_map",
    "show_planes",
]
