"""Every network by its name."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import TYPE_CHECKING, Any

from oarfuse.errors import OarfuseError

if TYPE_CHECKING:
    from torch import nn

# Name -> where its class or builder function lives. The module is imported when the network is
# built, so that a heavy dependency of one network is no burden to the others.
_BUILDERS = {
    "oarfocalfusenet": "oarfuse.models.oarfocalfusenet:OARFocalFuseNet",
    "msf3d": "oarfuse.models.msf3d:MSF3D",
    "unet3d": "oarfuse.models.compared.table1:unet3d",
    "attunet": "oarfuse.models.compared.table1:attunet",
    "dynunet": "oarfuse.models.compared.table1:dynunet",
    "unetr": "oarfuse.models.compared.table1:unetr",
    "swinunetr": "oarfuse.models.compared.table1:swinunetr",
    "vnet": "oarfuse.models.compared.vnet:vnet",
    "darr": "oarfuse.models.compared.darr:DARR",
    "r50_unet": "oarfuse.models.compared.resnet_unet:r50_unet",
    "r50_attnunet": "oarfuse.models.compared.resnet_unet:r50_attnunet",
    "vit_none": "oarfuse.models.compared.transunet:vit_none",
    "vit_cup": "oarfuse.models.compared.transunet:vit_cup",
    "r50_vit_cup": "oarfuse.models.compared.transunet:r50_vit_cup",
    "transunet": "oarfuse.models.compared.transunet:transunet",
}


def model_names() -> tuple[str, ...]:
    """Return the names that `build_model` knows, the proposed networks first."""
    return tuple(_BUILDERS)


def build_model(name: str, in_channels: int = 1, num_classes: int = 6, **options: Any) -> nn.Module:
    """Build a network whose logits are ``(B, num_classes, D, H, W)``.

    Parameters
    ----------
    name
        One of `model_names()`.
    in_channels
        Channels of the input volume ``(B, in_channels, D, H, W)``.
    num_classes
        Channels of the logits, background included.
    **options
        The network's own keyword arguments, for instance ``focal_levels=3``.

    Raises
    ------
    OarfuseError
        If the name or an option is unknown, or a value is out of range.
    """
    if not isinstance(name, str) or name not in _BUILDERS:
        raise OarfuseError(
            f"There is no model named {name!r}: choose one of {', '.join(_BUILDERS)}."
        )
    for argument, value in (("in_channels", in_channels), ("num_classes", num_classes)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise OarfuseError(f"{argument} is {value!r}: give a whole number of at least 1.")
    module, attribute = _BUILDERS[name].split(":")
    builder = getattr(import_module(module), attribute)
    known = [
        key
        for key in inspect.signature(builder).parameters
        if key not in ("in_channels", "num_classes")
    ]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise OarfuseError(
            f"The model {name!r} has no option {unknown[0]!r}: "
            f"it takes {', '.join(known) or 'none'}."
        )
    try:
        return builder(in_channels=in_channels, num_classes=num_classes, **options)
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        if not options:
            raise
        said = ", ".join(f"{key}={value!r}" for key, value in options.items())
        reason = str(error).partition("\n")[0]
        raise OarfuseError(
            f"The model {name!r} cannot be built with {said} ({reason}): mend these options."
        ) from error
