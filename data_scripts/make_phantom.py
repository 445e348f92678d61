"""Draw the phantom data set: what `oarfuse phantom` does."""

import sys

from oarfuse.cli import main

if __name__ == "__main__":
    sys.exit(main(["phantom", *sys.argv[1:]]))
