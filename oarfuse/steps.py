"""One training step: forward, loss, backward, Adam and the moving average.

On a GPU such a step is thousands of small kernels, and starting each from Python takes longer than
running it. The whole step is therefore recorded once as a CUDA graph and replayed with one call;
``torch.compile`` can fuse its kernels first.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from oarfuse.config import Precision, StepMode
from oarfuse.errors import OarfuseError
from oarfuse.models.compared.darr import DARR
from oarfuse.models.kernels import triton_works

# Steps that run one by one before the recording: libraries choose kernels and memory in them.
_STEPS_BEFORE_GRAPH = 3


def choose_mode(mode: str, device: torch.device, precision: Precision, processes: int) -> StepMode:
    """Resolve ``"auto"``: a CUDA graph where Triton runs and one process trains, else ``"eager"``.

    What a device cannot do is left out: several processes must talk between backward and Adam, and
    float16's scaling decides on the host whether to step.
    """
    graphs = device.type == "cuda" and processes == 1 and precision != "16-mixed"
    if mode == "auto":
        return "graph" if graphs and triton_works(device.index or 0) else "eager"
    if mode != "eager" and not graphs:
        warnings.warn(
            f"compile={mode!r} needs one CUDA GPU and another precision than 16-mixed: "
            f"training goes on with 'eager'.",
            stacklevel=2,
        )
        return "eager"
    return cast(StepMode, mode)


class TrainStep:
    """The step of a run, whatever runs it.

    Parameters
    ----------
    fabric
        Carries precision and devices.
    network
        On its device. Its weights, Adam's moments and the average change in place.
    loss_function
        Of logits and labels ``(B, 1, D, H, W)`` float32.
    ema_decay
        Of the moving average of the weights.
    mode
        ``"eager"``: call by call. ``"graph"``: recorded once, then replayed. ``"compiled"``: fused
        by `torch.compile`, which takes a minute or two, and recorded. The numbers are the same up
        to the rounding of fused operations; those of ``"graph"`` are the same to the bit.
    """

    def __init__(
        self,
        fabric: Fabric,
        network: nn.Module,
        loss_function: Callable[[Any, Tensor], Tensor],
        *,
        ema_decay: float,
        mode: StepMode,
    ) -> None:
        self.fabric, self.network, self.loss_function = fabric, network, loss_function
        self.ema_decay = ema_decay
        self.average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(ema_decay))
        cuda = fabric.device.type == "cuda"
        self.mode: StepMode = mode
        # A replayed step reads the rate where it was recorded: a number in the GPU's memory.
        rate = torch.tensor(0.0, device=fabric.device) if mode != "eager" else 0.0
        self.optimizer = torch.optim.Adam(
            network.parameters(), lr=rate, fused=cuda or None, capturable=mode != "eager"
        )
        self._graph: torch.cuda.CUDAGraph | None = None
        self._done = 0

    def setup(self, scaling: Mapping[str, Any] | None = None) -> None:
        """Hand network and optimizer to Fabric; call it once, after a checkpoint was loaded.

        `scaling` is what `scaling` returned when that checkpoint was written.
        """
        if scaling:
            self.fabric.strategy.precision.load_state_dict(dict(scaling))
        if self.mode == "compiled":
            self.network.compile(dynamic=False)
        if self.mode != "eager":  # every step has the same shapes: trying kernels once pays
            torch.backends.cudnn.benchmark = True
        model, optimizer = self.fabric.setup(self.network, self.optimizer)
        self._model, self._fabric_optimizer = model, optimizer
        self._has_auxiliary = isinstance(self.network, DARR)  # a loss that needs no labels
        if self._has_auxiliary:
            # Precision and several GPUs must apply to it as they do to the forward pass. It draws
            # its puzzle on the host, which a recorded step would not do again.
            model.mark_forward_method("auxiliary_loss")
            self.mode = "eager"
        model.train()
        self._taken = max((int(s["step"]) for s in self.optimizer.state.values()), default=0)

    def __call__(self, image: Tensor, label: Tensor, rate: float) -> Tensor:
        """Make one step and return its loss, a number on the device: reading it waits for the step.

        Parameters
        ----------
        image, label
            ``(B, 1, D, H, W)``: float32 in 0..1, and int64. Every step has the same shape.
        rate
            Adam's learning rate.
        """
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        self._done += 1
        if self.mode == "eager":
            return self._run(image, label)
        if self._graph is None:
            if self._done <= _STEPS_BEFORE_GRAPH:
                return self._run_aside(image, label)
            self._record(image, label)
        self._image.copy_(image)
        self._label.copy_(label)
        cast(torch.cuda.CUDAGraph, self._graph).replay()
        self.average.n_averaged += 1  # lies on the host
        return self._loss.clone()

    def scaling(self) -> dict[str, Any]:
        """Return the state of float16's loss scaling, to go on from; empty in other precisions."""
        return self.fabric.strategy.precision.state_dict()

    def tell_skipped(self, figures: list[dict[str, float]]) -> list[dict[str, float]]:
        """Add to each row ``skipped``, the share of these steps that float16 made Adam skip.

        A step is skipped where a scaled gradient is not finite, after which the scale is halved;
        a few at the start are normal. Adam counts the steps that it takes.

        Raises
        ------
        OarfuseError
            If the scale has fallen so far that only a forward pass that is not finite explains it.
        """
        scale = self.scaling().get("scale")
        if scale is None:
            return figures
        if scale < 1:
            raise OarfuseError(
                "float16 gives gradients that are not finite, however small the loss is scaled: "
                "train with --precision bf16-mixed or 32-true."
            )
        taken = max((int(s["step"]) for s in self.optimizer.state.values()), default=0)
        skipped = 1 - (taken - self._taken) / len(figures)
        self._taken = taken
        return [row | {"skipped": skipped} for row in figures]

    def _run(self, image: Tensor, label: Tensor) -> Tensor:
        loss = self._descend(image, label)
        self.average.update_parameters(self.network)
        return loss

    def _descend(self, image: Tensor, label: Tensor) -> Tensor:
        # (B, classes, D, H, W), or a list at three scales; (B, 1, D, H, W)
        loss = self.loss_function(self._model(image), label.float())
        if self._has_auxiliary:
            loss = loss + self._model.auxiliary_loss(image)
        self._fabric_optimizer.zero_grad()
        self.fabric.backward(loss)
        self._fabric_optimizer.step()
        return loss.detach()

    def _run_aside(self, image: Tensor, label: Tensor) -> Tensor:
        """Run on another stream, as what is to be recorded must have done before."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            loss = self._run(image, label)
        torch.cuda.current_stream().wait_stream(stream)
        return loss

    def _record(self, image: Tensor, label: Tensor) -> None:
        self._image, self._label = image.clone(), label.clone()
        self._fabric_optimizer.zero_grad()  # gradients get their place from the graph
        averaged = [value.detach() for value in self.average.module.parameters()]
        current = [value.detach() for value in self.network.parameters()]
        kept, buffers = list(self.average.module.buffers()), list(self.network.buffers())
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._loss = self._descend(self._image, self._label)
            # What `AveragedModel.update_parameters` does on the device.
            torch._foreach_lerp_(averaged, current, 1 - self.ema_decay)
            if kept:
                torch._foreach_copy_(kept, buffers)
