"""Download OpenKBP's archive: python data_scripts/download_openkbp.py --output open-kbp.zip."""

from __future__ import annotations

import argparse
import sys

from oarfuse import OarfuseError
from oarfuse.data import download_openkbp


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", required=True, help="ZIP file to write")
    parser.add_argument("--known-hash", help="SHA-256 that the whole file must have")
    given = parser.parse_args()
    print(download_openkbp(given.output, known_hash=given.known_hash))


if __name__ == "__main__":
    try:
        main()
    except OarfuseError as error:
        sys.exit(f"download_openkbp: error: {error}")
