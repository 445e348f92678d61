"""oarfuse: OARFocalFuseNet and 3D-MSF, taught and reproduced."""

from oarfuse.errors import OarfuseError
from oarfuse.models.registry import build_model, model_names
from oarfuse.pretrained import load_pretrained, pretrained_names
from oarfuse.provenance import name_the_user

name_the_user()

__version__ = "0.1.0"

__all__ = ["OarfuseError", "build_model", "load_pretrained", "model_names", "pretrained_names"]
