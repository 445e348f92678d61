"""Prepare OpenKBP: what `oarfuse prepare openkbp` does."""

import sys

from oarfuse.cli import main

if __name__ == "__main__":
    sys.exit(main(["prepare", "openkbp", *sys.argv[1:]]))
