"""The plan: every choice about data and network size that a data set calls for, as one readable file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from topomae.data.json_files import parsed, read_description
from topomae.errors import BadSettingError
from topomae.files import write_text_atomic

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Name = Annotated[str, Field(min_length=1)]


class Normalization(BaseModel):
    """How the intensities of one modality are made comparable.

    Attributes:
        kind: "ct": clip to [lower, upper] HU, subtract `mean`, divide by `sd` (all of the data set);
            "robust": subtract the mean and divide by the standard deviation of the volume's own voxels
            that lie between their 0.5 and 99.5 percentiles.
        lower: HU, "ct" only. upper: HU, "ct" only. mean: HU, "ct" only. sd: HU, "ct" only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["ct", "robust"]
    lower: float | None = None
    upper: float | None = None
    mean: float | None = None
    sd: PositiveFloat | None = None

    @model_validator(mode="after")
    def _numbers_belong_to_ct(self) -> Normalization:
        numbers = (self.lower, self.upper, self.mean, self.sd)
        if self.kind == "ct" and None in numbers:
            raise ValueError('"ct" needs lower, upper, mean and sd in HU')
        if self.kind == "ct" and self.lower >= self.upper:
            raise ValueError("lower must be less than upper")
        if self.kind == "robust" and numbers != (None,) * 4:
            raise ValueError('"robust" takes no numbers: it measures each volume itself')
        return self


class Plan(BaseModel):
    """What to do with a data set. Lengths are along the RAS axes: left-right, posterior-anterior, foot-head.

    Attributes:
        version: of this file's format.
        dataset: name of the data set it was made for.
        modalities: names of the image channels.
        labels: label value in the files to its name, without background (0), ascending.
        spacing: mm between voxel centres after preprocessing.
        normalization: one per modality.
        crop_size: voxels (at `spacing`) that a network sees at once.
        patch_size: voxels of a ViT token, which is also the block of the mask.
        stem_stride: voxels that UNETR++'s stem merges into one position.
        batch_size: crops per step.
        size: network size; "small" for a CPU or laptop, "base" as published.
        mirror_axes: axes that fine-tuning and test-time mirroring may flip.
        reasons: field name to one sentence saying why it has its value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    version: Literal[1] = 1
    dataset: str
    modalities: Annotated[tuple[Name, ...], Field(min_length=1)]
    labels: dict[PositiveInt, Name]
    spacing: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    normalization: tuple[Normalization, ...]
    crop_size: tuple[PositiveInt, PositiveInt, PositiveInt]
    patch_size: tuple[PositiveInt, PositiveInt, PositiveInt]
    stem_stride: tuple[PositiveInt, PositiveInt, PositiveInt]
    batch_size: PositiveInt
    size: Literal["small", "base"]
    mirror_axes: tuple[Literal[0, 1, 2], ...] = (0, 1, 2)
    reasons: dict[str, str] = Field(default_factory=dict)

    @field_validator("labels")
    @classmethod
    def _ascending(cls, labels: dict[int, str]) -> dict[int, str]:
        return dict(sorted(labels.items()))

    @field_validator("mirror_axes")
    @classmethod
    def _each_axis_once(cls, axes: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(axes)) != len(axes):
            raise ValueError("names an axis twice")
        return tuple(sorted(axes))

    @model_validator(mode="after")
    def _fields_fit_together(self) -> Plan:
        if len(self.normalization) != len(self.modalities):
            raise ValueError(
                f"normalization has {len(self.normalization)} entries for {len(self.modalities)} modalities"
            )
        for name in ("patch_size", "stem_stride"):
            part = getattr(self, name)
            if any(c % p for c, p in zip(self.crop_size, part, strict=True)):
                raise ValueError(f"crop_size {self.crop_size} must be a multiple of {name} {part} on each axis")
        return self

    @property
    def class_values(self) -> tuple[int, ...]:
        """Label value in files of each network output channel: (0, *labels)."""
        return (0, *self.labels)

    @property
    def channels(self) -> int:
        """Number of image channels."""
        return len(self.modalities)

    @property
    def classes(self) -> int:
        """Number of classes, background included."""
        return len(self.labels) + 1

    def save(self, path: str | Path) -> None:
        """Write the plan as JSON meant to be read and edited; either the whole file or nothing."""
        write_text_atomic(path, _readable_json(self.model_dump(mode="json")))

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """Read a plan.

        Raises:
            BadSettingError: the file is missing, not JSON, or a field is wrong (the message names it).
        """
        path = Path(path)
        try:
            content = parsed(read_description(path))
        except FileNotFoundError:
            raise BadSettingError("the plan does not exist", hint="Make one: topomae plan.", path=path) from None
        except (OSError, UnicodeDecodeError) as error:
            raise BadSettingError(f"the plan cannot be read ({error})", hint=_REMEDY, path=path) from None
        except (ValueError, RecursionError) as error:  # RecursionError: nested too deeply
            raise BadSettingError(f"the plan is not JSON ({error})", hint=_REMEDY, path=path) from None
        return cls.check(content, path=path)

    @classmethod
    def check(cls, content: object, *, path: str | Path | None = None) -> Plan:
        """Turn parsed JSON into a plan; `path` is only named in the message.

        Raises:
            BadSettingError: naming each field that is wrong.
        """
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            wrong = "; ".join(_sentence(problem) for problem in error.errors())
            raise BadSettingError(f"the plan is not valid: {wrong}", hint=_REMEDY, path=path) from None


_REMEDY = "Correct it, or make a new plan: topomae plan."


def _sentence(problem: dict) -> str:
    """One pydantic problem as "field: what is wrong"."""
    field = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    return f"{field}: {message}" if field else message


def _readable_json(content: dict) -> str:
    """JSON with one line per field, so that a person can edit [40, 56, 40] in one place."""
    lines = []
    for key, value in content.items():
        nested = isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict))
        text = json.dumps(value, ensure_ascii=False, indent=2 if nested else None)
        lines.append(f"  {json.dumps(key)}: " + text.replace("\n", "\n  "))
    return "{\n" + ",\n".join(lines) + "\n}\n"
