"""oarfuse: OARFocalFuseNet and 3D-MSF, taught and reproduced."""

from typing import TYPE_CHECKING, Any

from oarfuse.errors import OarfuseError
from oarfuse.models.registry import build_model, model_names
from oarfuse.provenance import name_the_user

if TYPE_CHECKING:
    from oarfuse.weights import load_pretrained, pretrained_names

name_the_user()

__version__ = "0.1.0"

__all__ = ["OarfuseError", "build_model", "load_pretrained", "model_names", "pretrained_names"]


def __getattr__(name: str) -> Any:
    # When they are first used, because they take PyTorch, for which `oarfuse --help` must not wait.
    if name not in ("load_pretrained", "pretrained_names"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from oarfuse import weights

    return getattr(weights, name)
