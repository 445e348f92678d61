"""oarfuse: OARFocalFuseNet and 3D-MSF, taught and reproduced.

What people do with the kit stands here, each name imported when it is first used, so that
``import oarfuse`` is light: build a network or load a trained one, prepare a data set, train,
predict, evaluate, score.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from oarfuse.errors import OarfuseError
from oarfuse.moved import say_where_modules_went
from oarfuse.provenance import name_the_user

if TYPE_CHECKING:
    from oarfuse.config import TrainConfig
    from oarfuse.data.datasets import prepare
    from oarfuse.evaluation import evaluate, score
    from oarfuse.models.registry import build_model, model_names
    from oarfuse.prediction import predict
    from oarfuse.training import train
    from oarfuse.weights import load_pretrained, pretrained_names

__version__ = "0.1.0"

_HOMES = {
    "TrainConfig": "config",
    "build_model": "models.registry",
    "evaluate": "evaluation",
    "load_pretrained": "weights",
    "model_names": "models.registry",
    "predict": "prediction",
    "prepare": "data.datasets",
    "pretrained_names": "weights",
    "score": "evaluation",
    "train": "training",
}

__all__ = [
    "OarfuseError",
    "TrainConfig",
    "build_model",
    "evaluate",
    "load_pretrained",
    "model_names",
    "predict",
    "prepare",
    "pretrained_names",
    "score",
    "train",
]

name_the_user()
say_where_modules_went()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"oarfuse.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
