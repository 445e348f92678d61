"""Draw the phantom data set: python data_scripts/make_phantom.py --output DIR."""

from __future__ import annotations

import argparse
import sys

from oarfuse import OarfuseError
from oarfuse.data import make_phantom


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", required=True, help="folder to write, in OpenKBP's layout")
    parser.add_argument("--train", type=int, default=12)
    parser.add_argument("--validation", type=int, default=4)
    parser.add_argument("--test", type=int, default=4)
    parser.add_argument("--incomplete", type=int, default=0, help="patients that lack an organ")
    parser.add_argument("--seed", type=int, default=0)
    print(make_phantom(**vars(parser.parse_args())))


if __name__ == "__main__":
    try:
        main()
    except OarfuseError as error:
        sys.exit(f"make_phantom: error: {error}")
