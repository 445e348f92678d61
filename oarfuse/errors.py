"""The one exception that a user of the kit is meant to read."""

from __future__ import annotations


class OarfuseError(Exception):
    """A mistake in the input that the user can mend.

    The message is one sentence that names the file or value and the remedy. The command line
    prints it without a stack trace and exits with code 2.
    """
