"""Keep the small files of a run, and its newest weights in half precision, where git can have them.

python -m reports.keep_run build/openkbp/long results/openkbp/handover

A training goes on elsewhere with `oarfuse train ... --init FOLDER/latest.safetensors`. The run may
be training meanwhile. A second call replaces the files of the first.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from oarfuse.files import atomic_path
from oarfuse.runs import CONFIG, ENVIRONMENT, HISTORY, LOG, VALIDATION, export_weights

RECORDS = (CONFIG, ENVIRONMENT, HISTORY, LOG, VALIDATION)


def copy_records(run: Path, folder: Path) -> None:
    """Copy a run's configuration, machine, history and curves; no weights."""
    for name in RECORDS:
        if (run / name).exists():
            with atomic_path(folder / name) as temporary:
                temporary.write_bytes((run / name).read_bytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="run folder of `oarfuse train`")
    parser.add_argument("folder", type=Path, help="folder to write")
    options = parser.parse_args()
    written = export_weights(options.run, options.folder / "latest.safetensors", latest=True)
    copy_records(options.run, options.folder)
    print(f"{written}: {written.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
