"""The networks: the two proposed ones and everything they are compared with."""

from oarfuse.models.registry import build_model, model_names

__all__ = ["build_model", "model_names"]
