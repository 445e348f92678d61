"""The grid with hundreds of simulated jobs: do more workers help, and what does a kill lose?

    python benchmarks/grid.py                 # some minutes of sleeping, little computing

The jobs are those of workflow/paper.yaml with two folds, from workflow/Snakefile; only the command
`oarfuse` is another one, which sleeps for a second (grid_stand_in.py).

- *workers*: the whole grid with 2, 4 and 8 workers, beside the time that its jobs alone take. What
  is lost is Snakemake's own work, about a tenth of a second a job, which a training of hours does
  not notice.
- *kills*: the scheduler is killed (SIGKILL) at random moments, in turns with its jobs, as when a
  machine stops, and alone, when its jobs live on. Each time the same command is started again.
  Counted is which jobs ran twice: at most those that were running at a kill.

Results go to ``benchmarks/results/grid.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
STAND_IN = Path(__file__).with_name("grid_stand_in.py")
PAPER = ROOT / "workflow" / "paper.yaml"
RESULTS = Path(__file__).parent / "results" / "grid.json"
SERIAL = ("prepare", "train", "evaluate")  # rules that would take all cores of this machine


@dataclass(frozen=True)
class Entry:
    """One line of the journal: a job did ``begin``, ``end`` or ``fail``."""

    seconds: float
    what: str
    job: str


class SimulatedGrid:
    """A folder in which workflow/Snakefile runs a configuration with a command that sleeps."""

    def __init__(
        self, folder: Path, config: dict[str, Any], *, seconds: float, fails_once: str = ""
    ) -> None:
        self.work, self.journal_path = folder / "work", folder / "journal.txt"
        self.config_path = folder / "grid.yaml"
        (folder / "bin").mkdir(parents=True)
        self.work.mkdir()
        self.config_path.write_text(yaml.safe_dump(config), encoding="utf-8")
        stand_in = folder / "bin" / "oarfuse"
        stand_in.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{STAND_IN}" "$@"\n')
        stand_in.chmod(0o755)
        settings = dict(journal=str(self.journal_path), seconds=seconds, fails_once=fails_once)
        self.environment = os.environ | {
            "OARFUSE_GRID": json.dumps(settings),
            "PATH": f"{stand_in.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def start(self, workers: int, *more: str) -> subprocess.Popen[str]:
        """Start a scheduler in a process group of its own."""
        command = [sys.executable, "-m", "snakemake", "-s", ROOT / "workflow" / "Snakefile"]
        command += ["--directory", self.work, "--configfile", self.config_path]
        command += ["--workflow-profile", ROOT / "workflow" / "profiles" / "default"]
        command += ["--cores", str(workers), "--set-threads", *(f"{rule}=1" for rule in SERIAL)]
        return subprocess.Popen(
            [str(word) for word in (*command, *more)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self, workers: int, *more: str) -> tuple[int, str]:
        """Run a scheduler to its end; return its exit code and what it said."""
        scheduler = self.start(workers, *more)
        said, _ = scheduler.communicate()
        return scheduler.returncode, said

    def kill_after(self, seconds: float, workers: int, *, with_jobs: bool) -> float | None:
        """Start a scheduler and kill it; return when, or None if it had ended by itself."""
        scheduler = self.start(workers)
        try:
            scheduler.communicate(timeout=seconds)
            return None
        except subprocess.TimeoutExpired:
            killed = time.time()
            if with_jobs:
                os.killpg(scheduler.pid, signal.SIGKILL)
            else:
                scheduler.kill()
            scheduler.communicate()
            return killed

    def journal(self) -> list[Entry]:
        """What the jobs did, in order."""
        lines = self.journal_path.read_text(encoding="utf-8").splitlines()
        words = [line.split(" ", 2) for line in lines]
        return [Entry(float(seconds), what, job) for seconds, what, job in words]


def runs_of_each_job(journal: list[Entry]) -> Counter[str]:
    """How often each job was begun."""
    return Counter(entry.job for entry in journal if entry.what == "begin")


def begun_again(journal: list[Entry], kills: list[float]) -> list[set[str]]:
    """For each kill, the jobs that it cost: begun since the kill before, and again after it.

    A job may wait through several schedulers until it is begun again. It is the loss of the kill
    that stopped it, not of those that came while it waited.
    """
    begun = [entry for entry in journal if entry.what == "begin"]
    lost, earlier = [], 0.0
    for kill in kills:
        stopped = {entry.job for entry in begun if earlier <= entry.seconds < kill}
        lost.append(stopped & {entry.job for entry in begun if entry.seconds >= kill})
        earlier = kill
    return lost


def most_at_once(journal: list[Entry]) -> int:
    """The largest number of jobs that ran at the same time."""
    running = most = 0
    for entry in sorted(journal, key=lambda entry: (entry.seconds, entry.what == "begin")):
        running += 1 if entry.what == "begin" else -1
        most = max(most, running)
    return most


def measure_workers(config: dict[str, Any], seconds: float, workers: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        grid = SimulatedGrid(Path(folder) / "grid", config, seconds=seconds)
        began = time.perf_counter()
        code, said = grid.finish(workers)
        took = time.perf_counter() - began
        if code:
            raise SystemExit(said)
        journal = grid.journal()
    jobs = len(runs_of_each_job(journal))
    alone = jobs * seconds
    return {
        "workers": workers,
        "jobs": jobs,
        "seconds": round(took, 1),
        "seconds_of_the_jobs_alone": round(alone, 1),
        "speedup": round(alone / took, 1),
        "most_at_once": most_at_once(journal),
    }


def measure_kills(
    config: dict[str, Any], seconds: float, workers: int, kills: int
) -> dict[str, Any]:
    dice = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        grid = SimulatedGrid(Path(folder) / "grid", config, seconds=seconds)
        times: list[float] = []
        for number in range(kills):
            killed = grid.kill_after(
                dice.uniform(3, 9), workers, with_jobs=number % 2 == 0
            )  # 2 s pass before the first job
            if killed:
                times.append(killed)
        starts = len(times)
        while starts < 3 * kills:  # a job that lives on refuses its successor until it has ended
            starts += 1
            code, said = grid.finish(workers)
            if code == 0:
                break
        else:
            raise SystemExit(said)
        journal = grid.journal()
        if (grid.work / config["root"] / "summary.csv").read_text().count("\n") < 2:
            raise SystemExit("The summary is empty.")
    runs = runs_of_each_job(journal)
    lost = begun_again(journal, times)
    return {
        "workers": workers,
        "jobs": len(runs),
        "kills": len(times),
        "starts": starts,
        "runs_beyond_one_a_job": sum(runs.values()) - len(runs),
        "most_begun_again_after_a_kill": max(map(len, lost)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="that a job sleeps")
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    from oarfuse.files import write_json
    from oarfuse.provenance import environment

    config = yaml.safe_load(PAPER.read_text(encoding="utf-8"))
    config["folds"] = 2
    content: dict[str, Any] = {"seconds_a_job": options.seconds, "workers": []}
    for workers in options.workers:
        content["workers"].append(measure_workers(config, options.seconds, workers))
        print(content["workers"][-1], flush=True)
    content["kills"] = measure_kills(config, options.seconds, 8, options.kills)
    print(content["kills"], flush=True)
    content["environment"] = environment()
    write_json(options.output, content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
