"""Segment a volume with a 2D network, one axial slice at a time."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from oarfuse.errors import OarfuseError
from oarfuse.models.compared.anysize import check_axes, pad_far_ends


class SliceWise(nn.Module):
    """Run a 2D network on every slice ``volume[:, :, d]`` and stack the logits.

    Slices know nothing of their neighbours: that is how Table II's 2D methods work.

    Parameters
    ----------
    network : nn.Module
        Maps images (N, C, H, W) to logits (N, num_classes, H, W) when H and W divide by
        ``multiple``.
    multiple : int
        The network's total stride. Slices of other sizes are padded at the far end (the last
        pixel repeated) and the logits cropped back.
    resize_to : int, optional
        Side in pixels to which every slice is zoomed (bicubic) before the network; the logits
        are zoomed back (bilinear). TransUNet's protocol is 224. By default a slice keeps its
        size.
    slices_at_once : int
        Slices per pass in evaluation mode, to bound memory; the result does not depend on it. In
        training mode all slices go together, because batch normalisation averages over them.
    """

    def __init__(
        self,
        network: nn.Module,
        multiple: int,
        resize_to: int | None = None,
        slices_at_once: int = 16,
    ) -> None:
        super().__init__()
        if resize_to is not None and (resize_to < multiple or resize_to % multiple):
            raise OarfuseError(
                f"slices cannot be resized to {resize_to} pixels: the network needs a multiple "
                f"of {multiple}."
            )
        if slices_at_once < 1:
            raise OarfuseError(f"slices_at_once={slices_at_once} is too few: give at least 1.")
        self.network = network
        self.multiple = multiple
        self.resize_to = resize_to
        self.slices_at_once = slices_at_once

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        """Logits (B, num_classes, D, H, W) of a (B, C, D, H, W) volume.

        Raises
        ------
        OarfuseError
            If the input is not five-dimensional.
        """
        check_axes(volume)
        batch, _, depth = volume.shape[:3]
        slices = volume.transpose(1, 2).flatten(0, 1)  # (B*D, C, H, W)
        if self.training:
            logits = self._segment(slices)
        else:
            chunks = slices.split(self.slices_at_once)
            logits = torch.cat([self._segment(chunk) for chunk in chunks])
        # (B*D, num_classes, H, W) -> (B, num_classes, D, H, W)
        return logits.unflatten(0, (batch, depth)).transpose(1, 2)

    def _segment(self, slices: torch.Tensor) -> torch.Tensor:
        height, width = slices.shape[2:]
        if self.resize_to is not None:
            zoomed = F.interpolate(
                slices, size=(self.resize_to, self.resize_to), mode="bicubic", align_corners=False
            )
            return F.interpolate(
                self.network(zoomed), size=(height, width), mode="bilinear", align_corners=False
            )
        multiples = [side + -side % self.multiple for side in (height, width)]
        return self.network(pad_far_ends(slices, multiples))[:, :, :height, :width]
