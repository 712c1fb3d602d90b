"""What a model's labels are called, look like, and stand for: `labels.json` of a model folder."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# Colours that people with any kind of colour blindness can tell apart: Okabe and Ito (2008, without black), then
# those that are farthest, one after the other, from all before them with normal vision, protanopia, deuteranopia and
# tritanopia (Machado et al. 2009), with some saturation, so that they show on grey voxels.
_COLOURS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (139, 23, 46),
    (185, 255, 209),
    (139, 70, 116),
    (185, 0, 0),
    (46, 0, 232),
    (139, 116, 255),
    (185, 209, 139),
    (255, 255, 162),
    (70, 232, 209),
)

# SNOMED CT codes of structures that are segmented often (DICOM PS3.16, context groups 7151 to 7199).
_ANATOMY, _ALTERED = ("123037004", "Anatomical Structure"), ("49755003", "Morphologically Altered Structure")
_STRUCTURES = {
    "adrenal gland": ("23451007", "Adrenal gland"),
    "aorta": ("15825003", "Aorta"),
    "bladder": ("89837001", "Urinary bladder"),
    "brain": ("12738006", "Brain"),
    "colon": ("71854001", "Colon"),
    "duodenum": ("38848004", "Duodenum"),
    "esophagus": ("32849002", "Esophagus"),
    "gallbladder": ("28231008", "Gallbladder"),
    "heart": ("80891009", "Heart"),
    "inferior vena cava": ("64131007", "Inferior vena cava"),
    "kidney": ("64033007", "Kidney"),
    "left atrium": ("82471001", "Left atrium"),
    "left ventricle": ("87878005", "Left ventricle of heart"),
    "liver": ("10200004", "Liver"),
    "lung": ("39607008", "Lung"),
    "myocardium": ("74281007", "Myocardium"),
    "pancreas": ("15776009", "Pancreas"),
    "prostate": ("41216001", "Prostate"),
    "right atrium": ("73829009", "Right atrium"),
    "right ventricle": ("53085002", "Right ventricle of heart"),
    "small bowel": ("30315005", "Small Intestine"),
    "spinal cord": ("2748008", "Spinal cord"),
    "spleen": ("78961009", "Spleen"),
    "stomach": ("69695003", "Stomach"),
    "thyroid gland": ("69748006", "Thyroid gland"),
    "trachea": ("44567001", "Trachea"),
}
_ALTERATIONS = {"cyst": ("367643001", "Cyst")}
_SIDES = {"right": ("24028007", "Right"), "left": ("7771000", "Left")}
_SYNONYMS = {
    "urinary bladder": "bladder",
    "oesophagus": "esophagus",
    "la": "left atrium",
    "lv": "left ventricle",
    "ra": "right atrium",
    "rv": "right ventricle",
    "myo": "myocardium",
    "ivc": "inferior vena cava",
    "small intestine": "small bowel",
    "kidneys": "kidney",
    "lungs": "lung",
}

Intensity = Annotated[int, Field(ge=0, le=255)]


class Code(BaseModel):
    """One concept: coding scheme, value and meaning, as DICOM writes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scheme: str = "SCT"
    value: str
    meaning: str


class Terminology(BaseModel):
    """What a segment is, in DICOM's terms: category, type, and the side of the body if it has one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    category: Code
    type: Code
    modifier: Code | None = None


class Label(BaseModel):
    """One label.

    Attributes:
        value: in label maps.
        name: as the data set calls it.
        colour: red, green, blue, 0 to 255.
        terminology: if the name is a well-known one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: Annotated[int, Field(gt=0)]
    name: str
    colour: tuple[Intensity, Intensity, Intensity]
    terminology: Terminology | None = None


class LabelTable(BaseModel):
    """`labels.json`: the labels of a model, ascending by value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: tuple[Label, ...]

    @classmethod
    def of(cls, names: Mapping[int, str]) -> LabelTable:
        """The table for label values and names; the same names always get the same colours."""
        return cls(
            labels=tuple(
                Label(value=value, name=name, colour=colour_of(place), terminology=terminology_of(name))
                for place, (value, name) in enumerate(sorted(names.items()))
            )
        )


def colour_of(place: int) -> tuple[int, int, int]:
    """The colour of the label at a place (from 0): colour-blind-safe for the first 16, spread hues after."""
    if place < len(_COLOURS):
        return _COLOURS[place]
    turn = place * 0.618034 % 1  # the golden ratio spreads any number of hues evenly
    red, green, blue = colorsys.hls_to_rgb(turn, (0.35, 0.5, 0.65)[place % 3], 0.7)
    return round(255 * red), round(255 * green), round(255 * blue)


def terminology_of(name: str) -> Terminology | None:
    """Terminology of a label name such as "left kidney" or "spleen"; None if it is not a well-known one."""
    words = re.sub(r"[\W_]+", " ", name.casefold()).strip()
    side = None
    for word, code in _SIDES.items():
        rest = " ".join(part for part in words.split() if part != word)
        if _known(words) is None and rest != words and _known(rest) is not None:
            words, side = rest, code
    found = _known(words)
    if found is None:
        return None
    category, kind = found
    return Terminology(category=_code(category), type=_code(kind), modifier=side and _code(side))


def _known(words: str) -> tuple[tuple[str, str], tuple[str, str]] | None:
    words = _SYNONYMS.get(words, words)
    if words in _STRUCTURES:
        return _ANATOMY, _STRUCTURES[words]
    return (_ALTERED, _ALTERATIONS[words]) if words in _ALTERATIONS else None


def _code(pair: tuple[str, str]) -> Code:
    return Code(value=pair[0], meaning=pair[1])
