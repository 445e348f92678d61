"""Score a trained network, or label files made elsewhere, in four `variants`.

Names are imported when they are first used, so that who reads tables does not wait for PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from oarfuse.evaluation.variants import VARIANT_TITLES, VARIANTS

if TYPE_CHECKING:
    from oarfuse.evaluation.cases import score_case
    from oarfuse.evaluation.folder import Evaluation, read_summary
    from oarfuse.evaluation.labels import score, score_files
    from oarfuse.evaluation.scoring import evaluate, score_predictions

_HOMES = {
    "Evaluation": "folder",
    "evaluate": "scoring",
    "read_summary": "folder",
    "score_case": "cases",
    "score": "labels",
    "score_files": "labels",
    "score_predictions": "scoring",
}

__all__ = [
    "VARIANTS",
    "VARIANT_TITLES",
    "Evaluation",
    "evaluate",
    "read_summary",
    "score",
    "score_case",
    "score_files",
    "score_predictions",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"oarfuse.evaluation.{_HOMES[name]}"), name)
