"""Download OpenKBP's archive: what `oarfuse download openkbp` does."""

import sys

from oarfuse.cli import main

if __name__ == "__main__":
    sys.exit(main(["download", "openkbp", *sys.argv[1:]]))
