"""Build the book into a folder.

python -m reports.book --output build/book
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from reports.book.site import build


def main() -> None:
    parser = argparse.ArgumentParser(prog="reports.book", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for the HTML pages")
    sys.exit(build(parser.parse_args().output))


if __name__ == "__main__":
    main()
