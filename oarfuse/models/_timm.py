"""Import timm, also beside a torch whose torchvision lacks its compiled operators.

timm imports torchvision for a few Python helpers. The torchvision of the package index is compiled
against the CUDA build of torch; beside a CPU build its extension does not load, and its import
ends with "operator torchvision::nms does not exist", because it registers shape functions for two
operators that the extension would have defined. Nothing here ever calls them (they suppress
overlapping boxes of object detectors), so when, and only when, that import fails, their schemas
are declared and the import is tried again. Calling one would still raise, as without torchvision.
"""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType
from typing import Any

import torch

from oarfuse.errors import OarfuseError
from oarfuse.extras import require

_WHAT = "The encoder of this network, which is timm's,"
_BOX_OPERATORS = ("nms", "qnms")
_BOX_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


@lru_cache(maxsize=1)
def load_timm() -> ModuleType:
    """Return the ``timm`` module.

    Raises
    ------
    OarfuseError
        If timm or torchvision is missing, or torchvision does not fit the installed torch.
    """
    try:
        try:
            require(_WHAT, "table2", "torchvision")
        except RuntimeError as error:
            if "torchvision::" not in str(error):
                raise
            _declare_box_operators()
        require(_WHAT, "table2", "timm")
        import timm
    except RuntimeError as error:
        raise OarfuseError(
            f"torchvision does not fit torch {torch.__version__} ({error}): install the "
            "torchvision release that names this torch release as its own."
        ) from error
    return timm


def _declare_box_operators() -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in _BOX_OPERATORS:
        library.define(name + _BOX_SCHEMA)
    _KEPT_ALIVE.append(library)


# torch forgets a library's operators when the Library object goes away.
_KEPT_ALIVE: list[torch.library.Library] = []


def create_encoder(name: str, *, pretrained: bool = False, **options: Any) -> Any:
    """Build a timm model (an ``nn.Module``; timm is not typed).

    Parameters
    ----------
    name : str
        timm's name, with the tag of the weights: ``"resnet50.tv_in1k"``.
    pretrained : bool
        Fetch those weights (needs internet once; they are cached as safetensors).
    **options
        Passed to ``timm.create_model``.

    Raises
    ------
    OarfuseError
        If the weights cannot be fetched.
    """
    timm = load_timm()
    if not pretrained:
        return timm.create_model(name, pretrained=False, **options)
    try:
        return timm.create_model(name, pretrained=True, **options)
    except Exception as error:  # the hub client raises many kinds, none of them documented
        raise OarfuseError(
            f"the pretrained weights of {name} could not be fetched "
            f"({type(error).__name__}): connect to the internet or leave pretrained=False."
        ) from error
