"""Phantoms: drawn patients in the data sets' own file formats."""

from oarfuse.phantom.patients import make_phantom

__all__ = ["make_phantom"]
