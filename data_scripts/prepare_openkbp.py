"""Prepare OpenKBP: python data_scripts/prepare_openkbp.py --source PATH --output DIR."""

from __future__ import annotations

import argparse
import sys

from oarfuse import OarfuseError
from oarfuse.data import prepare_openkbp
from oarfuse.data.openkbp import SPLIT_RULES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", required=True, help="folder, clone or GitHub's ZIP of OpenKBP")
    parser.add_argument("--output", required=True, help="folder to write")
    parser.add_argument("--split-rule", choices=SPLIT_RULES, default="folders")
    parser.add_argument("--workers", type=int, help="threads (default: one a core)")
    given = parser.parse_args()
    manifest = prepare_openkbp(
        given.source, given.output, split_rule=given.split_rule, workers=given.workers
    )
    counts = {name: len(manifest.split(name)) for name in ("train", "validation", "test")}
    print(f"{given.output}: {counts}, {len(manifest.skipped)} skipped for lacking an organ")


if __name__ == "__main__":
    try:
        main()
    except OarfuseError as error:
        sys.exit(f"prepare_openkbp: error: {error}")
