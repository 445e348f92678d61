"""The grid: the graph is what the configuration says, and neither kills nor failures cost work."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import nbformat
import pandas as pd
import pytest
import yaml

from benchmarks.grid import (
    Entry,
    SimulatedGrid,
    begun_again,
    most_at_once,
    runs_of_each_job,
)
from oarfuse.course.material import PHANTOM_TRAIN
from oarfuse.models import model_names
from oarfuse.paper.printed import paper_table
from oarfuse.weights import pretrained_names
from tests.helpers.openkbp_files import patient_files, write_source

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / "workflow"
CLUSTERS = ("slurm", "kubernetes")


def load(name: str) -> dict[str, Any]:
    return yaml.safe_load((WORKFLOW / name).read_text(encoding="utf-8"))


def snakemake(folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in a folder, with this environment's commands first on the path."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = [sys.executable, "-m", "snakemake", "-s", WORKFLOW / "Snakefile"]
    return subprocess.run(
        [str(word) for word in (*command, "--directory", folder, *words)],
        env=os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def dry_run(folder: Path, config: Path, profile: str = "none", *more: str) -> str:
    chosen = profile if profile == "none" else WORKFLOW / "profiles" / profile
    words = ["-n", "--configfile", config, "--workflow-profile", chosen, *more]
    told = snakemake(folder, *words)
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout + told.stderr


def jobs(said: str) -> dict[str, int]:
    """The counts that a dry run ends with."""
    if "Job stats:" not in said:
        return {}
    table = said.rsplit("Job stats:", 1)[1].split("\n\n")[0]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}


def test_the_course_runs_every_notebook_after_the_published_scores(tmp_path: Path) -> None:
    config = load("course.yaml")
    lessons = sorted(path.name for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"))
    assert [Path(path).name for path in config["notebooks"]["files"]] == lessons
    assert set(config["published"]) <= set(pretrained_names())
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    said = dry_run(tmp_path, WORKFLOW / "course.yaml", "none", "--cores", "2", "-p")
    found = jobs(said)
    assert (found["notebook"], found["published"]) == (len(lessons), len(config["published"]))
    assert found["all"] + found["notebook"] + found["published"] == found["total"]
    assert "--offer" not in said  # each notebook runs with its own defaults


def test_phantom_grid_is_one_cell_with_the_embedded_recipe(tmp_path: Path) -> None:
    config = load("phantom.yaml")
    recipe = {name: value for name, value in PHANTOM_TRAIN.items() if name != "model"}
    assert config["train"] == recipe | {"patch_size": list(recipe["patch_size"])}
    assert config["datasets"]["phantom"]["methods"] == [PHANTOM_TRAIN["model"]]
    found = jobs(dry_run(tmp_path, WORKFLOW / "phantom.yaml", "none", "--cores", "2"))
    assert found["train"] == found["evaluate"] == found["tables"] == 1


def test_paper_grid_is_methods_times_seeds_times_folds(tmp_path: Path) -> None:
    config = load("paper.yaml")
    for number, dataset in (("I", "openkbp"), ("II", "synapse")):
        methods = config["datasets"][dataset]["methods"]
        assert set(methods) == set(paper_table(number)["model"]) <= set(model_names())
    said = dry_run(tmp_path, WORKFLOW / "paper.yaml", "none", "--cores", "2", "-p")
    runs = (7 + 10) * 3 * 5
    found = jobs(said)
    assert (found["train"], found["evaluate"]) == (runs, runs)
    assert (found["fold"], found["prepare"], found["tables"]) == (10, 2, 15)
    commands = {line.split(" > ")[0] for line in said.splitlines() if "oarfuse train" in line}
    assert len(commands) == runs
    (darr,) = [
        line
        for line in said.splitlines()
        if "oarfuse evaluate" in line and "darr/seed2/4of5" in line
    ]
    assert "--split validation --adapt 10" in darr
    assert not re.search(r"oarfuse evaluate .*--split test", said)


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_profile_gives_gpu_memory_and_time(cluster: str, tmp_path: Path) -> None:
    profile = WORKFLOW / "profiles" / cluster
    settings = yaml.safe_load((profile / "config.yaml").read_text(encoding="utf-8"))
    rules = set(re.findall(r"^ *rule (\w+):", (WORKFLOW / "Snakefile").read_text(), re.MULTILINE))
    named = {entry.split(":")[0] for entry in settings["set-resources"]}
    assert named | {entry.split("=")[0] for entry in settings["set-threads"]} <= rules
    said = dry_run(tmp_path, WORKFLOW / "paper.yaml", cluster)
    blocks = re.findall(r"^rule (\w+):\n((?: +.*\n)+)", said, re.MULTILINE)
    resources = [(rule, dict(re.findall(r"(\w+)=([\w<>]+)", text))) for rule, text in blocks]
    assert Counter(rule for rule, _ in resources)["train"] == 255
    for rule, given in resources:
        assert int(given["runtime"]) > 0 and int(given["mem_mb"]) > 0, rule
        assert given.get("gpu") == ("1" if rule in ("train", "evaluate") else None), rule


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sedes": [0]}, "sedes"),
        ({"folds": 1}, "1 should not be valid"),
        ({"seeds": []}, "[]"),
        ({"evaluate": {}}, "split"),
        ({"datasets": {"x": {"kind": "brats", "methods": ["unet3d"]}}}, "brats"),
    ],
)
def test_wrong_configuration_does_not_fit_the_schema(change: dict[str, Any], says: str) -> None:
    schema = load("config.schema.yaml")
    for name in ("phantom.yaml", "paper.yaml"):
        jsonschema.validate(load(name), schema)
        with pytest.raises(jsonschema.ValidationError) as caught:
            jsonschema.validate(load(name) | change, schema)
        assert says in caught.value.message


def test_wrong_configuration_is_refused(tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(load("phantom.yaml") | {"sedes": [0]}))
    words = ["-n", "--cores", "1", "--workflow-profile", "none"]
    told = snakemake(tmp_path, *words, "--configfile", tmp_path / "grid.yaml")
    assert told.returncode == 1
    assert "'sedes' was unexpected" in told.stdout and "Job stats" not in told.stdout


# --- a grid whose jobs only sleep --------------------------------------------------------------


def small_grid() -> dict[str, Any]:
    """One data set, 2 methods x 2 seeds x 2 folds: 8 trainings among 25 jobs."""
    openkbp = {"kind": "openkbp", "phantom": {"train": 4}, "methods": ["oarfocalfusenet", "msf3d"]}
    return load("paper.yaml") | {"datasets": {"phantom": openkbp}, "seeds": [0, 1], "folds": 2}


def finished(grid: SimulatedGrid) -> set[Path]:
    return {path.parent.relative_to(grid.work) for path in grid.work.rglob(".done")}


def test_job_is_lost_to_the_kill_that_stopped_it() -> None:
    words = "1 begin a, 2 end a, 2 begin b, 2 begin c, 4 begin b, 4 begin d, 6 begin c, 7 begin d"
    journal = [Entry(float(second), *rest) for second, *rest in map(str.split, words.split(","))]
    # c was stopped by the first kill and waited through the second.
    assert begun_again(journal, [3, 5]) == [{"b", "c"}, {"d"}]
    assert begun_again(journal, [3]) == [{"b", "c"}]
    assert begun_again(journal, []) == []


def test_killed_scheduler_loses_only_the_jobs_in_flight(tmp_path: Path) -> None:
    grid, workers = SimulatedGrid(tmp_path / "grid", small_grid(), seconds=0.4), 3
    kills, kept = [], []
    for seconds in (2.5, 3.2, 2.8):
        killed = grid.kill_after(seconds, workers, with_jobs=True)
        if killed:
            kills.append(killed)
            kept.append(finished(grid))
    assert kills
    code, said = grid.finish(workers)
    assert code == 0, said
    journal = grid.journal()
    assert len(runs_of_each_job(journal)) == 25 - 1  # `summary` is no `oarfuse` command
    for lost, before in zip(begun_again(journal, kills), kept, strict=True):
        assert len(lost) <= workers
        assert before <= finished(grid)
    assert not (grid.work / ".snakemake/incomplete").exists() or not any(
        (grid.work / ".snakemake/incomplete").iterdir()
    )
    code, said = grid.finish(workers)
    assert code == 0 and "Nothing to be done" in said


def test_workers_work_at_once_and_a_failed_job_is_tried_again(tmp_path: Path) -> None:
    grid = SimulatedGrid(
        tmp_path / "grid", small_grid(), seconds=0.5, fails_once="train:build/grid/phantom/runs"
    )
    code, said = grid.finish(4)
    assert code == 0, said
    assert said.count("Trying to restart job") == 1
    runs = runs_of_each_job(grid.journal())
    assert sum(runs.values()) == len(runs) + 1
    assert 1 < most_at_once(grid.journal()) <= 4
    summary = pd.read_csv(grid.work / "build/grid/summary.csv")
    assert Counter(summary["model"]) == {"oarfocalfusenet": 4, "msf3d": 4}
    assert sorted(summary["seed"]) == [0, 0, 0, 0, 1, 1, 1, 1]


def test_second_scheduler_in_a_folder_is_refused(tmp_path: Path) -> None:
    grid = SimulatedGrid(tmp_path / "grid", small_grid(), seconds=30)
    first = grid.start(2)
    try:
        while not grid.journal_path.exists():
            assert first.poll() is None
        code, said = grid.finish(2)
        assert code != 0
        assert "Another snakemake works in" in said
    finally:
        os.killpg(first.pid, 9)
        first.communicate()


KUBECTL = """#!/bin/sh
# Stands in for kubectl: runs a Job at once, and tells afterwards how it ended.
cd "$OARFUSE_STATE"
case "$1" in
create) cat > new.json
  name=$(python -c "import json; print(json.load(open('new.json'))['metadata']['name'])")
  mv new.json "$name.json"
  script=$(python -c "import json; print(json.load(open('$name.json'))['spec']['template'] \
    ['spec']['containers'][0]['command'][1])")
  if /bin/sh "$script" >"$name.log" 2>&1; then echo Complete; else echo Failed; fi >"$name.end" ;;
get) echo "{\\"status\\": {\\"conditions\\": [
  {\\"type\\": \\"$(cat "$3.end")\\", \\"status\\": \\"True\\"}]}}" ;;
esac
"""


def test_kubernetes_gets_each_job_with_its_needs(tmp_path: Path) -> None:
    config = small_grid() | {"seeds": [0], "folds": 0}
    config["datasets"]["phantom"]["methods"] = ["oarfocalfusenet"]
    first = "train:build/grid/phantom/runs"
    grid = SimulatedGrid(tmp_path / "grid", config, seconds=0.05, fails_once=first)
    (grid.work / "workflow").symlink_to(WORKFLOW)  # the profile's commands are relative to it
    kubectl, state = tmp_path / "grid/bin/kubectl", tmp_path / "state"
    state.mkdir()
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    grid.environment |= dict(OARFUSE_IMAGE="image", OARFUSE_CLAIM="claim", OARFUSE_MOUNT="/shared")
    grid.environment |= {"OARFUSE_STATE": str(state)}
    command = [sys.executable, "-m", "snakemake", "-s", WORKFLOW / "Snakefile"]
    command += ["--directory", grid.work, "--configfile", grid.config_path]
    command += ["--workflow-profile", WORKFLOW / "profiles/kubernetes"]
    command += ["--seconds-between-status-checks", "1", "--latency-wait", "5"]
    command += ["build/grid/phantom/runs/oarfocalfusenet/seed0/own/.done"]
    told = subprocess.run(
        [str(word) for word in command],
        env=grid.environment,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    made = [json.loads(path.read_text()) for path in state.glob("*.json")]
    rules = Counter(job["metadata"]["labels"]["rule"] for job in made)
    assert rules == {"phantom": 1, "prepare": 1, "train": 2}  # the first training failed
    for job in made:
        (container,) = job["spec"]["template"]["spec"]["containers"]
        trains = job["metadata"]["labels"]["rule"] == "train"
        assert container["resources"]["limits"].get("nvidia.com/gpu") == ("1" if trains else None)
        assert (job["spec"]["activeDeadlineSeconds"] == 1440 * 60) == trains
        assert container["volumeMounts"] == [{"name": "shared", "mountPath": "/shared"}]


# --- the real commands --------------------------------------------------------------------------

CELLS = """parameters:data_dir = "x"
:print(open(data_dir + "/manifest.json").read().count("fold 1 of 2"))"""


def write_notebook(path: Path, cells: str) -> None:
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "", "language": "python"}
    for line in cells.splitlines():
        tag, source = line.split(":", 1)
        cell = nbformat.v4.new_code_cell(source, metadata={"tags": [tag] if tag else []})
        notebook.cells.append(cell)
    path.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, path)


def test_commands_go_through_from_csv_to_tables_and_notebook(tmp_path: Path) -> None:
    patients = {f"train/pt_{n}": patient_files(n) for n in (1, 2)}
    patients["validation/pt_201"] = patient_files(201)
    write_source(tmp_path / "my data", patients)
    write_notebook(tmp_path / "notebooks/00_small.ipynb", CELLS)
    openkbp = {"kind": "openkbp", "source": "my data", "methods": ["oarfocalfusenet"]}
    tiny = {"model_options": {"width": 2}, "patch_size": [64, 64, 64], "augment": False}
    config = {
        "root": "out",
        "datasets": {"openkbp": openkbp},
        "seeds": [0],
        "folds": 2,
        "train": tiny | {"steps": 1, "batch_size": 1, "workers": 0, "accelerator": "cpu"},
        "evaluate": {"split": "validation", "smoke": True, "device": "cpu"},
        "notebooks": {"output": "out/notebooks", "files": ["notebooks/00_small.ipynb"]},
    }
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(config))
    profile: list[str | Path] = ["--workflow-profile", WORKFLOW / "profiles" / "default"]
    words = [*profile, "--configfile", tmp_path / "grid.yaml", "--cores", "2"]
    words += ["out/tables/seed0/1of2/.done", "out/notebooks/00_small.ipynb"]  # one fold of two
    told = snakemake(tmp_path, *words)
    assert told.returncode == 0, told.stdout + told.stderr
    (scores,) = (tmp_path / "out").glob("openkbp/scores/*/*/*/summary.json")
    summary = json.loads(scores.read_text())
    assert summary["split_rule"] == "folders, fold 1 of 2 (seed 0)"
    table = pd.read_csv(tmp_path / "out/tables/seed0/1of2/table_I.csv")
    assert table["Mean DSC, ours"].isna().all()  # a smoke run enters no table
    executed = nbformat.read(tmp_path / "out/notebooks/00_small.ipynb", as_version=4)
    assert executed.cells[-1].outputs[0].text.strip() == "1"
    again = snakemake(tmp_path, *words, "-n")
    assert again.returncode == 0
    # A notebook is run anew when the package has changed, which costs no training.
    assert "train" not in jobs(again.stdout + again.stderr)


def test_failed_notebook_keeps_its_cells_and_stderr(tmp_path: Path) -> None:
    cells = "parameters:text = 'x'\n:import sys; print(text); print('why', file=sys.stderr)\n:1 / 0"
    write_notebook(tmp_path / "notebooks/00_bad.ipynb", cells)
    output = tmp_path / "executed"
    output.mkdir()
    (output / "00_bad.ipynb").write_text("of an earlier run")
    script = ROOT / "workflow" / "run_notebooks.py"
    words = [script, "--output", output, "-p", "text", "said", tmp_path / "notebooks/00_bad.ipynb"]
    told = subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, timeout=120
    )
    assert told.returncode == 1
    assert "failed in cell" in told.stderr and "ZeroDivisionError" in told.stderr
    kept = json.loads((output / "00_bad.unfinished.ipynb").read_text())
    assert "said\n" in json.dumps(kept["cells"]).replace("\\n", "\n")
    assert "why" in (output / "00_bad.stderr.txt").read_text()
    assert (output / "00_bad.ipynb").read_text() == "of an earlier run"
