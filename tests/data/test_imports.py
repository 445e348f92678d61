"""What preparing and predicting must not import: tools of training that they have no use for."""

from __future__ import annotations

import subprocess
import sys

import pytest

SAMPLER = {"oarfuse.data.patches", "oarfuse.data.augment", "oarfuse.data.feeding"}


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        ("import oarfuse.inference", SAMPLER),
        ("from oarfuse.data.openkbp import ORGAN_FILES, prepare_openkbp", SAMPLER | {"torch"}),
    ],
)
def test_training_s_tools_stay_away(statement: str, unwanted: set[str]) -> None:
    found = subprocess.run(
        [sys.executable, "-c", f"import sys; {statement}; print(*sys.modules, sep='\\n')"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(found.stdout.splitlines())
    assert "oarfuse.data.ct" in loaded
    assert not unwanted & loaded
