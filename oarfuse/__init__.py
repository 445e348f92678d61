"""oarfuse: OARFocalFuseNet and 3D-MSF, taught and reproduced."""

from oarfuse.errors import OarfuseError
from oarfuse.models.registry import build_model, model_names

__version__ = "0.1.0"

__all__ = ["OarfuseError", "build_model", "model_names"]
