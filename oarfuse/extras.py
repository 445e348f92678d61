"""Optional packages: one sentence that names the extra when one is missing."""

from __future__ import annotations

from importlib import import_module

from oarfuse.errors import OarfuseError


def require(what: str, extra: str, *modules: str) -> None:
    """Import modules of an extra of this package, or say what needs which one.

    Parameters
    ----------
    what
        The subject of the sentence: ``"DICOM"``.
    extra
        A name under ``[project.optional-dependencies]`` of ``pyproject.toml``.
    *modules
        Names as Python imports them.

    Raises
    ------
    OarfuseError
        If one is not installed or cannot be imported.
    """
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            absent = isinstance(error, ModuleNotFoundError) and error.name == module
            reason = "is not installed" if absent else f"cannot be imported ({error})"
            raise OarfuseError(
                f"{what} needs {module}, which {reason}: pip install 'oarfuse[{extra}]'."
            ) from error
