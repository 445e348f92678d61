"""Ctrl-C, and the signals by which batch systems and closed terminals ask for the same."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# What a batch system sends before it kills, and a terminal when it closes; Windows lacks one.
_LIKE_CTRL_C = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stopped(KeyboardInterrupt):
    """A command was stopped; the message says where the same command goes on."""


class StopRequest:
    """Whether somebody has asked to stop. Before the first step begins, nothing need wait."""

    begun = False
    asked = False


@contextmanager
def signals_as_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise `KeyboardInterrupt`, as Ctrl-C does."""
    with _handling(_LIKE_CTRL_C, _interrupt):
        yield


@contextmanager
def stop_at_step_end(*, wait: bool) -> Iterator[StopRequest]:
    """Note Ctrl-C and SIGTERM instead of raising at once; a second one raises.

    Processes that are forked inside inherit this, so that a Ctrl-C, which a terminal sends to all
    of them, ends no worker before the step that waits for it.

    Parameters
    ----------
    wait
        False changes nothing: of several processes that train, each would end at another step.
    """
    request = StopRequest()

    def note(number: int, frame: FrameType | None) -> None:
        if request.asked or not request.begun:
            raise KeyboardInterrupt
        request.asked = True

    with _handling([signal.SIGINT, *_LIKE_CTRL_C] if wait else [], note):
        yield request


def spare_worker(worker: int) -> None:
    """Let a process that prepares patches outlive the first SIGTERM; the second one ends it.

    A batch system sends the signal to all processes of a job, and a step that waits for its patches
    could not end without them. PyTorch itself ends its workers by other means first.
    """

    def spare(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, spare)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _handling(signals: list[signal.Signals], handler: Any) -> Iterator[None]:
    """Set a handler where nobody ignores the signal on purpose (`nohup`, a job in background)."""
    before: dict[signal.Signals, Any] = {}
    try:
        for number in signals:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    except ValueError:  # outside of the main thread, where no signal arrives either
        pass
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
