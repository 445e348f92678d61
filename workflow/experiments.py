"""Run the trainings of experiments.yaml one after the other and keep their results.

python -m workflow.experiments --data build/openkbp/prepared            all that is not done yet
python -m workflow.experiments --data build/openkbp/prepared --only ablations leak-blanked
python -m workflow.experiments --list

Stop it at any time: the same command resumes the run that was cut, and skips those whose results
are in the results folder. Nothing else should run meanwhile; the processor time that other programs
took is recorded beside each result.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import yaml

from oarfuse.errors import OarfuseError
from oarfuse.files import atomic_path, sole_writer, write_json
from oarfuse.provenance import usable_cores
from oarfuse.runs import WEIGHTS
from reports.keep_run import copy_records
from workflow.flags import flags

ROOT = Path(__file__).parents[1]
LIST = Path(__file__).with_suffix(".yaml")
RESULTS = ROOT / "results" / "openkbp" / "experiments"
SCORES = ("metrics.csv", "metrics_largest_component.csv", "summary.md")
MARK = "summary.json"  # the last file to be copied: where it is, an experiment is finished
RECORD = "experiment.json"


def read_list(path: Path = LIST) -> dict[str, Any]:
    """Return the content of experiments.yaml."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def experiments(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return name -> all options of its training, in the order of the list."""
    return {
        name: {**content["train"], **group["train"], **own}
        for group in content["groups"].values()
        for name, own in group["runs"].items()
    }


def place(content: dict[str, Any], name: str, results: Path) -> Path:
    """Return the folder of a run's results: one folder a group, for `oarfuse tables` and others."""
    (group,) = (key for key, group in content["groups"].items() if name in group["runs"])
    return results / group / name


def compared(content: dict[str, Any], results: Path) -> dict[str, float]:
    """Return model -> raw validation DSC of what the group `comparison` has finished."""
    found = {}
    for name, own in content["groups"]["comparison"]["runs"].items():
        path = place(content, name, results) / MARK
        if path.exists():
            summary = json.loads(path.read_text(encoding="utf-8"))
            found[own["model"]] = summary["means"]["raw"]["mean"]["dsc"]
    return found


def best_rival(content: dict[str, Any], results: Path) -> str | None:
    """Return the rival with the highest raw DSC; None until all of them have been compared."""
    scores = compared(content, results)
    if set(content["rivals"]) - set(scores):
        return None
    return max(content["rivals"], key=lambda model: scores[model])


def run(
    name: str, options: dict[str, Any], data: Path, work: Path, target: Path, *, smoke: bool
) -> None:
    """Train, evaluate and keep one experiment, from wherever an earlier call stopped."""
    folder, scores = work / name, work / name / "scores"
    command = [sys.executable, "-m", "oarfuse.cli"]
    sessions = work / name / "sessions.json"
    known = json.loads(sessions.read_text(encoding="utf-8")) if sessions.exists() else []
    # Relative: config.json is published, and nobody else has this machine's folders.
    places = ["--data", os.path.relpath(data), "--output", os.path.relpath(folder)]
    training = ["train", *places, *flags(options)]
    before = usage()
    try:
        _call([*command, *training])
    finally:  # a session that was stopped counts as well
        after = usage()
        wall, own, busy = (b - a for a, b in zip(before, after, strict=True))
        known.append(
            {
                "wall_seconds": wall,
                "own_cpu_seconds": own,
                "other_cpu_seconds": max(busy - own, 0.0),
                "cores": usable_cores(),
            }
        )
        write_json(sessions, known)
    _call([*command, "evaluate", "--weights", str(folder / WEIGHTS), "--data", str(data),
           "--output", str(scores), *(["--smoke"] if smoke else [])])  # fmt: skip
    copy_records(folder, target)
    write_json(target / RECORD, {"name": name, "options": options, "sessions": known})
    for file in (*SCORES, MARK):
        with atomic_path(target / file) as temporary:
            temporary.write_bytes((scores / file).read_bytes())


def _call(command: Sequence[str]) -> None:
    done = subprocess.run(command, check=False)
    if done.returncode:
        raise OarfuseError(f"`{' '.join(command)}` ended with {done.returncode}: see above.")


def usage() -> tuple[float, float, float]:
    """Return wall seconds, CPU seconds of ended children, and busy seconds of the machine."""
    children = os.times()
    machine = psutil.cpu_times()
    busy = sum(machine) - machine.idle - getattr(machine, "iowait", 0.0)
    return time.monotonic(), children.children_user + children.children_system, busy


def finished(name: str, options: dict[str, Any], target: Path) -> bool:
    """Whether the results of these very options are there."""
    path = target / RECORD
    if not (target / MARK).exists():
        return False
    there = json.loads(path.read_text(encoding="utf-8"))["options"]
    if there != options:
        raise OarfuseError(
            f"{path} was run with other options than {LIST.name} gives to {name}: remove the "
            "folder to run it again, or give the new run another name."
        )
    return True


def run_all(
    content: dict[str, Any], data: Path, work: Path, results: Path, only: list[str], smoke: bool
) -> None:
    """Run what is missing, in order."""
    chosen = _choose(content, only)
    for name, listed in experiments(content).items():
        if name not in chosen:
            continue
        options = dict(listed)
        if options["model"] == "best_rival":
            rival = best_rival(content, results)
            if rival is None:
                print(f"{name}: waits for the comparison of {', '.join(content['rivals'])}")
                continue
            options["model"] = rival
        target = place(content, name, results)
        if finished(name, options, target):
            print(f"{name}: done")
            continue
        print(f"{name}: {options}", flush=True)
        run(name, options, data, work, target, smoke=smoke)


def _choose(content: dict[str, Any], only: list[str]) -> set[str]:
    known = set(experiments(content))
    groups = {key: set(group["runs"]) for key, group in content["groups"].items()}
    unknown = set(only) - known - set(groups)
    if unknown:
        raise OarfuseError(
            f"There is no {sorted(unknown)[0]!r} in {LIST.name}: choose a group "
            f"({', '.join(groups)}) or the name of a run (--list shows them)."
        )
    chosen: set[str] = set()
    for name in only:
        chosen |= groups.get(name, {name})
    return chosen or known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="prepared folder")
    parser.add_argument("--list", action="store_true", help="show what is done, run nothing")
    parser.add_argument("--only", nargs="+", default=[], help="names of groups or runs")
    parser.add_argument("--experiments", type=Path, default=LIST, help="another list")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "experiments")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--smoke", action="store_true", help="mark the scores as a smoke run")
    options = parser.parse_args()
    content = read_list(options.experiments)
    try:
        if options.list:
            for name, listed in experiments(content).items():
                done = (place(content, name, options.results) / MARK).exists()
                print(f"{'done' if done else '    '} {name} {listed}")
            return
        if options.data is None:
            raise OarfuseError("Give the prepared folder with --data, or --list.")
        with sole_writer(options.work, "running experiments in"):
            run_all(content, options.data, options.work, options.results, options.only,
                    options.smoke)  # fmt: skip
    except OarfuseError as error:
        raise SystemExit(f"experiments: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("experiments: stopped; the same command goes on from here") from None


if __name__ == "__main__":
    main()
