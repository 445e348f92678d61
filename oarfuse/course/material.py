"""What notebooks read without a download: the real patients of `oarfuse.sample`, or a phantom.

A phantom is drawn only where a notebook asks for one. Its scores say that code works; they say
nothing about patients and never stand beside the paper's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oarfuse.config import TrainConfig
from oarfuse.data import load_manifest, prepare_openkbp, prepare_synapse
from oarfuse.data.manifest import MANIFEST
from oarfuse.errors import OarfuseError
from oarfuse.phantom import COURSE_SIZES, make_phantom
from oarfuse.sample import openkbp_sample, openkbp_source

# What notebooks call the patients that come with the kit.
SAMPLE = "sample"
# Notebooks draw a phantom only into a folder that lies in one of this name.
PHANTOM = "phantom"

# Chosen so that a minute on two cores shows every organ: half the paper's width, small patches, a
# higher rate than the paper's and no augmentation: eight tame patients are all there is to learn.
PHANTOM_TRAIN: dict[str, Any] = dict(
    model="oarfocalfusenet",
    model_options={"width": 8},
    patch_size=(64, 48, 48),
    batch_size=1,
    steps=320,
    max_lr=0.005,
    cycle_steps=160,
    ema_decay=0.9,
    augment=False,
    validate_every=160,
    checkpoint_every=160,
)


def course_data(folder: str | Path) -> Path:
    """Return the prepared folder that a notebook reads.

    The notebooks' default, ``sample``, is `oarfuse.sample.openkbp_sample`. A folder inside of one
    called ``phantom`` is drawn by `phantom_data` if it is not there. Every other folder is meant
    to hold patients: a phantom must not take their place unnoticed.

    Raises
    ------
    OarfuseError
        If a folder for patients does not hold prepared data.
    """
    if str(folder) == SAMPLE:
        return openkbp_sample()
    folder = Path(folder)
    if folder.parent.name == PHANTOM:
        return phantom_data(folder)
    if not (folder / MANIFEST).exists():
        raise OarfuseError(
            f"{folder} holds no prepared data: run notebook 01 with notebooks/openkbp.yaml or "
            "`oarfuse prepare` first, or leave data_dir at its default for the patients that come "
            "with the kit."
        )
    return folder


def course_source(source: str | Path | None, folder: str | Path) -> Path:
    """Return the source from which notebook 01 prepares a folder: the one given, or what there is.

    For ``sample`` that is a ZIP with one of its patients as CSV files; a phantom is drawn.

    Raises
    ------
    OarfuseError
        If no source is given for a folder that is not a phantom's (see `course_data`).
    """
    if source is not None:
        return Path(source)
    if str(folder) == SAMPLE:
        return openkbp_source()
    if Path(folder).parent.name != PHANTOM:
        raise OarfuseError(
            f"{folder} is a folder for patients: set source to OpenKBP's ZIP, folder or clone, or "
            f"leave data_dir at its default for the patient that comes with the kit."
        )
    return phantom_source(folder)


def course_weights(run: str | Path, data: str | Path) -> Path:
    """Return the weights that a notebook looks at: those of a run, if it has any.

    Without them a phantom gets a small network, trained there and then (`phantom_weights`), and
    patients get the OARFocalFuseNet that comes with the kit: a minute's training must not pass for
    a result.

    Raises
    ------
    OarfuseError
        If there are no weights for these patients.
    """
    from oarfuse.runs import WEIGHTS
    from oarfuse.weights import find_weights, pretrained_names

    weights = Path(run) / WEIGHTS
    if weights.exists():
        return weights
    manifest = load_manifest(course_data(data))
    if manifest.phantom:
        return phantom_weights(run, data)
    name = f"oarfocalfusenet-{manifest.spec.name}"
    if name in pretrained_names():
        return find_weights(name)
    raise OarfuseError(
        f"{run} holds no {WEIGHTS} and none come with the kit for {manifest.spec.title}: train on "
        f"{data} with `oarfuse train` first."
    )


def phantom_source(folder: str | Path, *, dataset: str = "openkbp", seed: int = 0) -> Path:
    """Draw the phantom's source files beside a prepared folder, in ``folder/../source``.

    `oarfuse.phantom.COURSE_SIZES` patients. Of ``openkbp`` besides one without a right parotid,
    whom the preparation must leave out; ``synapse`` goes to ``folder/../source_synapse``. Does
    nothing if they are there already.
    """
    counts: dict[str, Any] = {**COURSE_SIZES, "seed": seed}
    if dataset == "synapse":
        return make_phantom(Path(folder).parent / "source_synapse", dataset=dataset, **counts)
    return make_phantom(Path(folder).parent / "source", dataset=dataset, incomplete=1, **counts)


def phantom_data(folder: str | Path, *, dataset: str = "openkbp", seed: int = 0) -> Path:
    """Return a prepared phantom folder (`COURSE_SIZES`), making it if needed.

    The files of `phantom_source` go through the same `prepare_openkbp` or `prepare_synapse` as real
    data. A folder that holds a manifest already, of phantoms or of patients, is left as it is.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).exists() or not load_manifest(folder).complete:
        source = phantom_source(folder, dataset=dataset, seed=seed)
        if dataset == "synapse":
            prepare_synapse(source, folder, validation=COURSE_SIZES["validation"], progress=False)
        else:
            prepare_openkbp(source, folder, progress=False)
    return folder


def phantom_weights(run: str | Path, data: str | Path) -> Path:
    """Return a run's weights, training a small network on the phantom if there are none.

    Takes about a minute on two cores the first time. The recipe is `PHANTOM_TRAIN`.
    """
    from oarfuse.runs import WEIGHTS
    from oarfuse.training import train

    weights = Path(run) / WEIGHTS
    if not weights.exists():
        train(TrainConfig(data=str(data), output=str(run), **PHANTOM_TRAIN), progress=False)
    return weights
