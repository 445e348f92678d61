"""Write the API reference from the package's docstrings, one page a module.

python -m reports.api_reference --output build/api
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from pathlib import Path

import pdoc
import pdoc.render

import oarfuse


def write_reference(output: Path) -> None:
    """Write ``index.html`` and a page for each public module of the package."""
    for found in pkgutil.walk_packages(oarfuse.__path__, "oarfuse."):
        parent, _, name = found.name.rpartition(".")
        package = importlib.import_module(parent)
        # pdoc leaves out the modules that a package's __all__ does not name.
        if hasattr(package, "__all__") and name not in package.__all__ and name[0] != "_":
            vars(package)["__all__"] = [*package.__all__, name]
            importlib.import_module(found.name)
        # Nor does it see names that a package imports when they are first used.
        for public in getattr(package, "__all__", ()):
            setattr(package, public, getattr(package, public))
    pdoc.render.configure(docformat="numpy", math=True)
    pdoc.pdoc("oarfuse", output_directory=output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for the HTML pages")
    write_reference(parser.parse_args().output)


if __name__ == "__main__":
    main()
