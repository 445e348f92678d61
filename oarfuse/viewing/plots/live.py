"""Curves that grow in the notebook while a network trains."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from oarfuse.extras import require
from oarfuse.organs import DatasetSpec
from oarfuse.runs import LOG, read_curves
from oarfuse.viewing.plots.curves import plot_curves


class LiveCurves:
    """Draw a run's curves in the cell that trains it: ``train(config, watch=LiveCurves())``.

    The picture is replaced, not repeated, so that the saved notebook holds the last one only. Where
    nothing can be drawn, as in a plain script, nothing happens but a line of text.

    Parameters
    ----------
    spec
        The data set whose colours and titles the organs' curves get.
    title
        Above the picture.
    every
        Seconds between two pictures: drawing costs a tenth of a second, which a step need not pay.
    """

    def __init__(
        self, spec: DatasetSpec | None = None, *, title: str = "Training", every: float = 2.0
    ) -> None:
        self.spec, self.title, self.every = spec, title, every
        self._handle: Any = None
        self._drawn_at = float("-inf")

    def __call__(self, run: Path) -> None:
        """Draw the curves of a run folder, unless the last picture is younger than `every`."""
        if time.monotonic() - self._drawn_at >= self.every and (Path(run) / LOG).exists():
            self.draw(run)

    def draw(self, run: str | Path) -> None:
        """Draw the curves of a run folder now."""
        require("Drawing into a notebook", "notebooks", "IPython")
        from IPython.display import display

        figure = plot_curves(read_curves(run), spec=self.spec, title=self.title)
        if self._handle is None:
            self._handle = display(figure, display_id=True)
        else:
            self._handle.update(figure)
        self._drawn_at = time.monotonic()
