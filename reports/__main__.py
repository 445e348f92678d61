"""Write the pages that are made from result files: README's tables, cards, ledger and others.

python -m reports                    all pages
python -m reports readme cards       these; cost and workflow draw docs/figures/NAME.png
python -m reports --check            writes nothing, fails if a page differs
"""

from __future__ import annotations

import argparse
import sys

from oarfuse.errors import OarfuseError
from reports.pages import FIGURES, PAGES, write, write_figure


def main() -> None:
    parser = argparse.ArgumentParser(prog="reports", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join([*PAGES, *FIGURES]))
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    options = parser.parse_args()
    for name in options.names:
        if name not in PAGES | FIGURES:
            parser.error(f"there is no {name!r}: choose among {', '.join([*PAGES, *FIGURES])}")
    chosen = [name for name in PAGES if name in options.names or not options.names]
    try:
        differing = write(chosen, check=options.check)
        if options.check:
            says = f"run `python -m reports`, these differ: {', '.join(differing)}"
            sys.exit(says if differing else 0)
        for name in FIGURES.keys() & options.names:
            write_figure(name)
    except OarfuseError as error:
        sys.exit(f"reports: {error}")


if __name__ == "__main__":
    main()
