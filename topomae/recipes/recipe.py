"""What a recipe says, as plain data that is checked when it is read."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from topomae.config import FinetuneSettings, PretrainSettings, settings_from
from topomae.data.cases import Split
from topomae.data.planning import checked_fields
from topomae.errors import BadSettingError

Text = Annotated[str, Field(min_length=1)]
# Names of cases and recipes become names of files.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=100)]
Millimetres = Annotated[float, Field(gt=0)]
Range = tuple[Millimetres, Millimetres]

# Of the plan, what holds for any network, and what only for one of the recipe's size.
DataField = Literal["spacing", "normalization", "mirror_axes"]
NetworkField = Literal["crop_size", "patch_size", "stem_stride", "batch_size"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Chosen(_Part):
    """One number of a recipe, with where it comes from.

    Attributes:
        value: as the plan or the settings take it.
        published: whether it stands in a paper or its authors' code; else it is our choice.
        why: the source, or the reason.
    """

    value: Any
    published: bool
    why: Text

    @property
    def reason(self) -> str:
        """Source or reason as one clause."""
        return f"{'published' if self.published else 'our choice'}: {self.why}"


class Layout(_Part):
    """Where the files of a case lie in the folder as it is downloaded.

    In the paths, without suffix, `{case}` stands for the name of the case, `{number}` for the digits at its end and
    `{subject}` for the person scanned.

    Attributes:
        inside: folders, in that one, in which the paths may begin; "" is the folder itself.
        images: path of each modality.
        label: path of the label map.
    """

    inside: Annotated[tuple[str, ...], Field(min_length=1)] = ("",)
    images: Annotated[tuple[Text, ...], Field(min_length=1)]
    label: Text


class DataDescription(_Part):
    """The data set a recipe is for.

    Attributes:
        title: its name in the literature.
        where: address, in words.
        licence: in words.
        cite: what its publishers want cited.
        modalities: name of each image channel; "CT" means Hounsfield units.
        labels: label value to name, without background (0).
        evaluated: values of the labels that the literature scores.
        voxel_mm: least and greatest voxel size along left-right, posterior-anterior and inferior-superior, roughly;
            data far from it are something else, or their axes are in another order.
        layout: of the folder as downloaded; None if it has a dataset.json.
    """

    title: Text
    where: Text
    licence: Text
    cite: Text
    modalities: Annotated[tuple[Text, ...], Field(min_length=1)]
    labels: dict[Annotated[int, Field(gt=0)], Text]
    evaluated: Annotated[tuple[int, ...], Field(min_length=1)]
    voxel_mm: tuple[Range, Range, Range]
    layout: Layout | None = None

    @field_validator("labels")
    @classmethod
    def _ascending(cls, labels: dict[int, str]) -> dict[int, str]:
        if len({name.casefold() for name in labels.values()}) < len(labels):
            raise ValueError("two labels have the same name")
        return dict(sorted(labels.items()))

    @model_validator(mode="after")
    def _parts_fit_together(self) -> DataDescription:
        if unknown := [value for value in self.evaluated if value not in self.labels]:
            raise ValueError(f"evaluated: there is no label {unknown[0]}")
        if self.layout is not None and len(self.layout.images) != len(self.modalities):
            raise ValueError("layout: images needs one path per modality")
        return self


class RecipeSplit(_Part):
    """Which cases train, validate and test.

    Attributes:
        source: where the lists come from.
        train, val, test: case names. Without `val`, the last weights of fine-tuning are kept.
        subject_of: case name to the person scanned, where somebody was scanned more than once.
    """

    source: Text
    train: Annotated[tuple[Name, ...], Field(min_length=1)]
    val: tuple[Name, ...] = ()
    test: tuple[Name, ...] = ()
    subject_of: dict[Name, Name] = {}

    @property
    def cases(self) -> tuple[str, ...]:
        """All cases, in the order of the lists."""
        return (*self.train, *self.val, *self.test)

    @property
    def split(self) -> Split:
        """The lists as data sets have them."""
        return Split(self.train, self.val, self.test)

    @model_validator(mode="after")
    def _nobody_stands_on_two_sides(self) -> RecipeSplit:
        if repeated := [name for name, times in Counter(self.cases).items() if times > 1]:
            raise ValueError(f"{repeated[0]} stands twice")
        sides: dict[str, str] = {}
        for side in ("train", "val", "test"):
            for name in getattr(self, side):
                subject = self.subject_of.get(name, name)
                if sides.setdefault(subject, side) != side:
                    raise ValueError(f"{subject} stands in {sides[subject]} and in {side}")
        return self


class Recipe(_Part):
    """How to train on one well-known data set.

    Attributes:
        format: of this description.
        name: for `--recipe`.
        description: one line.
        data: the data set.
        split: its cases.
        size: network size that crop, batch and lengths of training are for.
        orientation: what is assumed of it.
        plan: fields of the plan, along the RAS axes.
        pretrain: settings of pre-training, see `PretrainSettings`.
        finetune: settings of fine-tuning, see `FinetuneSettings`.
        scoring: how the literature scores predictions.
    """

    format: Literal[1] = 1
    name: Name
    description: Text
    data: DataDescription
    split: RecipeSplit
    size: Literal["small", "base"]
    orientation: Text
    plan: dict[DataField | NetworkField, Chosen]
    pretrain: dict[str, Chosen]
    finetune: dict[str, Chosen]
    scoring: Text

    @model_validator(mode="after")
    def _values_are_possible(self) -> Recipe:
        try:
            checked_fields(self.values("plan"))
            settings_from(PretrainSettings, **self.values("pretrain"))
            settings_from(FinetuneSettings, **self.values("finetune"))
        except BadSettingError as error:
            raise ValueError(error.message) from None
        return self

    def values(self, part: Literal["plan", "pretrain", "finetune"]) -> dict[str, Any]:
        """Name to value of what the recipe says of the plan or of a training."""
        return {name: chosen.value for name, chosen in getattr(self, part).items()}

    @property
    def evaluated(self) -> dict[int, str]:
        """The labels that the literature scores, value to name."""
        return {value: self.data.labels[value] for value in sorted(self.data.evaluated)}

    @property
    def subject_of(self) -> dict[str, str]:
        """Every case with the person scanned: itself, unless the recipe says otherwise."""
        return {name: self.split.subject_of.get(name, name) for name in self.split.cases}
