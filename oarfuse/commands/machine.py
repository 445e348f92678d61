"""The command about this machine and installation: doctor."""

from __future__ import annotations

import argparse
from typing import Any

from oarfuse.commands import command


def add(commands: Any) -> None:
    """Add this command to the parser."""
    command(
        commands,
        "doctor",
        _doctor,
        "Print what a report of a fault needs, and test this machine against stored numbers.",
    )


def _doctor(options: argparse.Namespace) -> None:
    from oarfuse.doctor import diagnose

    diagnose()
