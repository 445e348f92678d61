"""The commands of `oarfuse`: each module adds parsers, and the functions that they run.

Heavy imports happen inside the functions, so that ``oarfuse --help`` answers at once.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import Any

DATA = "prepared folder; sample: the real patients that come with the kit"
WEIGHTS = "a .safetensors file, or a name of oarfuse.pretrained_names()"


def command(
    commands: Any,
    name: str,
    run: Callable[[argparse.Namespace], None],
    summary: str,
    goes_on: str = "never",
) -> argparse.ArgumentParser:
    """Add a command's parser.

    `goes_on` tells what it does when it is given again after a stop: ``always`` goes on,
    ``checkpoint`` if its output folder holds one, ``never`` starts anew.
    """
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    parser.set_defaults(run=run, goes_on=goes_on)
    return parser


def speaks() -> bool:
    """Whether this is the only process, or the first of those that train on several devices."""
    return os.environ.get("LOCAL_RANK", "0") == "0"
