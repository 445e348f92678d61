"""Stands in for `oarfuse` in the simulated grid: sleeps, and keeps a journal of what it did.

It behaves as the commands do where that matters to the workflow: it locks its folder, refuses a
folder that another process holds, needs the files of the job before it, and writes its own under
their name only when they are complete. OARFUSE_GRID holds its settings; see grid.py.
"""

import fcntl
import json
import os
import sys
import time
from pathlib import Path

METRICS = """case,organ,dsc,hd_vox,hd_mm,hd95_vox,hd95_mm,asd_vox,asd_mm,missed
simulated,brainstem,0.5,1.0,4.0,1.0,4.0,0.5,2.0,False
"""


def main() -> None:
    settings = json.loads(os.environ["OARFUSE_GRID"])
    command, words = sys.argv[1], sys.argv[2:]
    values = dict(zip(words, [*words[1:], ""], strict=True))
    output = Path(values["--output"])
    folder = output.parent if command == "download" else output
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(f"Another process is at work in {folder}.")
    for option in ("--weights", "--data"):
        if option in values and not Path(values[option]).exists():
            sys.exit(f"There is no {values[option]}.")
    job = f"{command}:{output}"
    journal(settings, "begin", job)
    time.sleep(settings["seconds"])
    if settings.get("fails_once") and settings["fails_once"] in job and is_first_to_fail(settings):
        journal(settings, "fail", job)
        sys.exit(f"{job} fails for once.")
    if command == "download":
        write(output, "simulated")
    if command == "train":
        write(output / "weights.safetensors", f"{values['--model']} {values['--seed']}")
    if command == "evaluate":
        model, seed = Path(values["--weights"]).read_text(encoding="utf-8").split()
        summary = {
            "dataset": "openkbp",
            "model": model,
            "split": values["--split"],
            "kind": "simulation",
            "split_rule": "simulated",
            "model_info": {"training": {"seed": int(seed), "step": 1, "minutes": 0.0}},
            "device_name": "none",
            "date": "",
            "commit": None,
        }
        write(output / "metrics.csv", METRICS)
        write(output / "summary.json", json.dumps(summary))
    journal(settings, "end", job)


def is_first_to_fail(settings: dict[str, str]) -> bool:
    """True for one caller only, however many processes ask at the same moment."""
    try:
        Path(settings["journal"] + ".failed").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def journal(settings: dict[str, str], what: str, job: str) -> None:
    """Add a line; one write of a short line is never torn, however many processes write."""
    line = f"{time.time():.3f} {what} {job}\n".encode()
    file = os.open(settings["journal"], os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.write(file, line)
    os.close(file)


def write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


if __name__ == "__main__":
    main()
