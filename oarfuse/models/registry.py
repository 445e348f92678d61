"""Every network by its name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from importlib import import_module
from numbers import Integral, Real
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

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
    _check_options(name, options, inspect.signature(builder, eval_str=True).parameters)
    try:
        return builder(in_channels=in_channels, num_classes=num_classes, **options)
    except (ValueError, ArithmeticError, RuntimeError) as error:
        wrong = [key for key, value in options.items() if _out_of_range(key, value)]
        if not wrong:
            raise  # a bug keeps its name and trace
        reason = str(error).partition("\n")[0]
        raise OarfuseError(
            f"{wrong[0]} is {options[wrong[0]]!r}, which is out of range for the model {name!r} "
            f"({reason}): mend this option."
        ) from error


def _check_options(
    name: str, options: Mapping[str, Any], parameters: Mapping[str, inspect.Parameter]
) -> None:
    """Raise `OarfuseError` if an option's name or type is not in the builder's signature."""
    known = [key for key in parameters if key not in ("in_channels", "num_classes")]
    for key in sorted(set(options) - set(known)):
        raise OarfuseError(
            f"The model {name!r} has no option {key!r}: it takes {', '.join(known) or 'none'}."
        )
    for key, value in options.items():
        kind = parameters[key].annotation
        if not _fits(value, kind):
            wanted = inspect.formatannotation(kind).replace("collections.abc.", "")
            raise OarfuseError(
                f"{key} is {value!r}, but the model {name!r} takes {wanted}: mend this option."
            )


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value has an annotation's type; words of a choice are the builder's to check."""
    inner = get_args(kind)
    if isinstance(kind, UnionType):
        return any(_fits(value, one) for one in inner)
    if get_origin(kind) is Sequence:
        return isinstance(value, list | tuple) and all(_fits(item, inner[0]) for item in value)
    if get_origin(kind) is Literal:
        return True
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, {int: Integral, float: Real}.get(kind, kind))


def _out_of_range(key: str, value: Any) -> bool:
    """Whether an option is what no builder takes: a count below 1, or a dropout above 1."""
    if isinstance(value, list | tuple):
        return any(_out_of_range(key, item) for item in value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if key == "dropout":
        return not 0 <= value <= 1
    return value < (1 if isinstance(value, int) else 0)
