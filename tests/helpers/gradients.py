"""Which parameters a loss trains, told apart from rounding."""

from __future__ import annotations

import torch
from torch import nn

# Of the whole gradient's norm: in float64 cancelled ones have 1e-14, real ones at least 5e-7.
ROUNDING = 1e-9


def assert_every_parameter_trains(model: nn.Module, cancelled_biases: int) -> None:
    """Every parameter of a float64 model has a gradient, but for biases that cancel.

    A normalisation subtracts the mean, and with it the bias of the convolution before it: such a
    bias has a gradient of rounding errors, which may as well be exactly 0, depending on the
    machine. Their number is known for each network.
    """
    norms = {}
    for key, parameter in model.named_parameters():
        assert parameter.dtype == torch.float64, key
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        norms[key] = parameter.grad.norm()
    whole = torch.stack(list(norms.values())).norm()
    silent = [key for key, norm in norms.items() if norm < ROUNDING * whole]
    assert all(key.endswith(".bias") for key in silent), silent
    assert len(silent) == cancelled_biases, silent
