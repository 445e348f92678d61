"""The `oarfuse` command: from the data set to the tables; `oarfuse --help` lists its commands.

Heavy imports happen inside the commands, so that ``oarfuse --help`` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from oarfuse import __version__
from oarfuse.commands import data, machine, networks, scores, speaks
from oarfuse.console import (
    MORE_MEMORY,
    OF_STREAMS,
    about_path,
    escape_what_cannot_be_shown,
    lacks_memory,
    plain_warnings,
)
from oarfuse.errors import OarfuseError
from oarfuse.interruption import Stopped, signals_as_interrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code (2 for a mistake that the user can mend)."""
    escape_what_cannot_be_shown()
    words = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(words)
    try:
        with signals_as_interrupt(), plain_warnings():
            _check_words(words)
            options.run(options)
            sys.stdout.flush()
    except OarfuseError as error:
        if speaks():
            print(f"oarfuse: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        said = stop if isinstance(stop, Stopped) else f"stopped; {_where_to_go_on(options)}"
        if speaks():
            print(f"oarfuse: {said}.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `| head` has seen enough; nothing may be flushed to it at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.filename is None and error.errno not in OF_STREAMS:
            raise
        print(f"oarfuse: error: {about_path(error)}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        print(f"oarfuse: error: {MORE_MEMORY}", file=sys.stderr)
        return 2
    return 0


def _check_words(words: Sequence[str]) -> None:
    """Refuse an empty word: as a path it would be the folder in which the user happens to be."""
    for before, word in zip(["oarfuse", *words], words, strict=False):
        if not word or (word.startswith("--") and word.endswith("=")):
            raise OarfuseError(
                f"What follows {word.rstrip('=') or before} is empty (a variable of the shell that "
                "is not set?): give its value."
            )


class _OneLine(argparse.ArgumentParser):
    """A parser whose errors are one line; the usage of `train` alone would fill a screen."""

    def error(self, message: str) -> NoReturn:
        message = " ".join(message.split())
        self.exit(2, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def _where_to_go_on(options: argparse.Namespace) -> str:
    """Say what the same command will do after it was stopped at no good moment."""
    if options.goes_on == "checkpoint":
        if any(Path(options.output).glob("checkpoint*.safetensors")):
            return "the same command goes on from the run's last checkpoint"
        return "there is no checkpoint yet, so that the same command starts anew"
    if options.goes_on == "always":
        return "the same command goes on from here"
    return "the same command starts anew"


def _parser() -> argparse.ArgumentParser:
    parser = _OneLine(
        prog="oarfuse", description="OARFocalFuseNet and 3D-MSF: prepare, train, predict, evaluate."
    )
    parser.add_argument("--version", action="version", version=f"oarfuse {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    data.add(commands)
    networks.add(commands)
    scores.add(commands)
    machine.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
