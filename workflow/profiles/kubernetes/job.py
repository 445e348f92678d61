"""Hands Snakemake's jobs to Kubernetes: what the plugin `cluster-generic` calls for each of them.

    python job.py submit JOBSCRIPT      create a Job, print its name
    python job.py status NAME           print running, success or failed
    python job.py cancel NAME...        delete Jobs

Snakemake's own plugin for Kubernetes takes for granted that pods share no folder, and carries
single files to and from an object store. Here checkpoints and prepared data lie in folders that
outlive a pod, on a volume that all pods mount under the path at which this command sees it.

OARFUSE_IMAGE (with this environment's Python) and OARFUSE_CLAIM (of the volume) must be set.
OARFUSE_MOUNT is where the volume is mounted (default: the working directory). Namespace and cluster
are those of `kubectl`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any


def manifest(jobscript: Path, name: str) -> dict[str, Any]:
    """Describe a Job with the cores, memory, time and GPUs that Snakemake wrote into the script."""
    found = re.search(r"^# properties = (.*)$", jobscript.read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise SystemExit(f"{jobscript} is no job script of Snakemake's.")
    job = json.loads(found[1])
    given = job["resources"]
    needs = {"cpu": str(job["threads"]), "memory": f"{given['mem_mb']}M"}
    if given.get("gpu"):
        needs["nvidia.com/gpu"] = str(given["gpu"])
    mount = os.environ.get("OARFUSE_MOUNT", os.getcwd())
    container = {
        "name": "job",
        "image": setting("OARFUSE_IMAGE"),
        "command": ["/bin/sh", str(jobscript.resolve())],
        "workingDir": os.getcwd(),
        "env": [{"name": "PATH", "value": os.environ["PATH"]}],
        "resources": {"requests": needs, "limits": needs},
        "volumeMounts": [{"name": "shared", "mountPath": mount}],
    }
    claim = {"claimName": setting("OARFUSE_CLAIM")}
    pod = {
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [{"name": "shared", "persistentVolumeClaim": claim}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": {"app": "oarfuse", "rule": job["rule"]}},
        "spec": {
            "backoffLimit": 0,  # Snakemake does the retries
            "activeDeadlineSeconds": 60 * int(given["runtime"]),
            "ttlSecondsAfterFinished": 24 * 60 * 60,
            "template": {"spec": pod},
        },
    }


def setting(name: str) -> str:
    if name not in os.environ:
        raise SystemExit(f"Set {name}: see workflow/README.md.")
    return os.environ[name]


def submit(jobscript: Path) -> str:
    name = f"oarfuse-{uuid.uuid4().hex[:12]}"
    content = json.dumps(manifest(jobscript, name))
    subprocess.run(
        ["kubectl", "create", "-f", "-"], input=content, text=True, check=True, stdout=sys.stderr
    )
    return name


def status(name: str) -> str:
    told = subprocess.run(
        ["kubectl", "get", "job", name, "-o", "json"], capture_output=True, text=True
    )
    if told.returncode:
        # A cluster that does not answer for a while has not lost the job.
        return "failed" if "NotFound" in told.stderr else "running"
    kinds = {
        condition["type"]
        for condition in json.loads(told.stdout).get("status", {}).get("conditions", [])
        if condition["status"] == "True"
    }
    return "success" if "Complete" in kinds else "failed" if "Failed" in kinds else "running"


def main() -> int:
    command, words = sys.argv[1], sys.argv[2:]
    if command == "submit":
        print(submit(Path(words[-1])))
    elif command == "status":
        print(status(words[-1]))
    else:
        subprocess.run(["kubectl", "delete", "job", "--wait=false", *words], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
