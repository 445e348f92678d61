"""The organs of each data set: names, label values, colours, and the CT window that shows them."""

from __future__ import annotations

from dataclasses import dataclass

from oarfuse.errors import OarfuseError


@dataclass(frozen=True)
class Organ:
    """One organ: field name, title for people, label value, and its colour everywhere.

    `seen_ml` is the least and greatest volume in the data set's train and validation patients.
    """

    name: str
    title: str
    label: int
    color: str
    seen_ml: tuple[float, float] | None = None


@dataclass(frozen=True)
class DatasetSpec:
    """What the rest of the kit must know about a data set.

    Attributes
    ----------
    organs
        In label order; label 0 is background.
    window_hu
        CT window (low, high) in Hounsfield units that is clipped and scaled for the networks.
    mirror_pairs
        Label pairs that trade places when the patient is mirrored left to right.
    """

    name: str
    title: str
    organs: tuple[Organ, ...]
    window_hu: tuple[float, float]
    mirror_pairs: tuple[tuple[int, int], ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names by label value, background first."""
        return ("background", *(organ.name for organ in self.organs))

    @property
    def num_classes(self) -> int:
        """How many classes a network tells apart: the organs and the background."""
        return len(self.organs) + 1


# Colours: Okabe and Ito's palette, which readers with colour-blindness can tell apart.
OPENKBP = DatasetSpec(
    name="openkbp",
    title="OpenKBP",
    organs=(
        Organ("brainstem", "Brainstem", 1, "#E69F00", (6.5, 50.0)),
        Organ("spinal_cord", "Spinal cord", 2, "#56B4E9", (5.3, 50.7)),
        Organ("right_parotid", "Right parotid", 3, "#009E73", (5.2, 77.5)),
        Organ("left_parotid", "Left parotid", 4, "#CC79A7", (10.0, 80.4)),
        Organ("mandible", "Mandible", 5, "#F0E442", (29.1, 111.8)),
    ),
    window_hu=(-160.0, 400.0),
    mirror_pairs=((3, 4),),
)

SYNAPSE = DatasetSpec(
    name="synapse",
    title="Synapse multi-organ",
    organs=(
        Organ("aorta", "Aorta", 1, "#D55E00"),
        Organ("gallbladder", "Gallbladder", 2, "#009E73"),
        Organ("left_kidney", "Kidney (L)", 3, "#CC79A7"),
        Organ("right_kidney", "Kidney (R)", 4, "#56B4E9"),
        Organ("liver", "Liver", 5, "#E69F00"),
        Organ("pancreas", "Pancreas", 6, "#F0E442"),
        Organ("spleen", "Spleen", 7, "#0072B2"),
        Organ("stomach", "Stomach", 8, "#999999"),
    ),
    window_hu=(-125.0, 275.0),
    mirror_pairs=(),  # the abdomen is not symmetric: a mirrored liver teaches nothing
)

_SPECS = {spec.name: spec for spec in (OPENKBP, SYNAPSE)}


def get_spec(name: str) -> DatasetSpec:
    """Return the data set named `openkbp` or `synapse`; raise `OarfuseError` for any other name."""
    try:
        return _SPECS[name]
    except KeyError:
        known = ", ".join(sorted(_SPECS))
        raise OarfuseError(f"There is no data set named {name!r}: choose one of {known}.") from None
