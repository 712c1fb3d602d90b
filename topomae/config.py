"""The settings of a run: validated once, written beside its results, never changed after."""

from __future__ import annotations

import re
import types
from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from topomae.errors import BadSettingError

Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Precision = Literal["auto", "32", "bf16", "16"]
Stage = Annotated[
    Literal["vit", 0, 1, 2, 3],
    BeforeValidator(lambda given: int(given) if isinstance(given, str) and given.isdecimal() else given),
]
Initialization = Literal["pretrained", "vit-only", "unetrpp-only", "scratch"]

MODALITY_DROPOUT = 0.3  # of data with several modalities

_WHOLE_NUMBER = re.compile(r" *-?[0-9]{1,18} *")

SettingsType = TypeVar("SettingsType", bound=BaseModel)


class Settings(BaseModel):
    """What pre-training and fine-tuning have in common.

    Attributes:
        seed: of everything random: split, order, crops, augmentation, initial weights.
        steps: optimizer steps; None takes the default of the network size.
        learning_rate: peak learning rate of AdamW; None takes the default of the network size.
        weight_decay: of AdamW; biases and normalizations are exempt.
        warmup: fraction of the steps over which the learning rate rises.
        gradient_clip: largest norm of the gradient.
        precision: `auto` is bfloat16 (else float16) on a GPU and float32 on a CPU, which can do no other.
        workers: processes that load and augment crops; None chooses by device and cores.
        checkpoint_every: steps between checkpoints.
        fold: which of `folds`, or of those in nnU-Net's splits_final.json, is held out for validation where the data
            set has no splits.json.
        folds: number of folds of the seeded cross-validation.
        modality_dropout: chance that a modality is hidden in a training sample (one always stays), so that the
            network learns to do without it; 0 makes one that needs them all. None: 0.3 where there are several.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    steps: Count | None = None
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    weight_decay: Weight = 0.05
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.02
    gradient_clip: Annotated[float, Field(gt=0)] = 12.0
    precision: Precision = "auto"
    workers: Annotated[int, Field(ge=0)] | None = None
    checkpoint_every: Count = 100
    fold: Annotated[int, Field(ge=0)] = 0
    folds: Annotated[int, Field(ge=2)] = 5
    modality_dropout: Annotated[float, Field(ge=0, lt=1)] | None = None

    BY_SIZE: ClassVar[dict[str, dict[str, float]]] = {}

    def resolved(self: SettingsType, size: str) -> SettingsType:
        """The same settings with the defaults of a network size in place of None."""
        defaults = {name: value for name, value in self.BY_SIZE[size].items() if getattr(self, name) is None}
        return self.model_copy(update=defaults)

    def for_modalities(self: SettingsType, count: int) -> SettingsType:
        """The same settings with the `modality_dropout` of data with so many modalities; one alone is never hidden."""
        usual = MODALITY_DROPOUT if self.modality_dropout is None else self.modality_dropout
        return self.model_copy(update={"modality_dropout": usual if count > 1 else 0.0})


class PretrainSettings(Settings):
    """Settings of pre-training. A weight of 0 skips the work of that loss.

    Attributes:
        mask_ratio: fraction of the blocks that are hidden.
        reconstruction_weight: of the reconstruction of the hidden blocks.
        topology_weight: λ1, of the topological loss.
        spatial_weight: λ2, of the nine key points.
        spatial_consistency_weight: λ3, of the agreement of both branches on the key points.
        reconstruction_consistency_weight: λ3, of the agreement of both branches on the reconstruction.
        topology_dims: dimensions of the persistence diagrams: components, loops, voids.
        topology_every: compute the topological loss at every n-th step, n times as heavy. None: at every step on a
            CPU; beside a GPU as often as makes steps a tenth longer at most, judged by the clock and told in a
            note (give a number for runs that are the same to the bit).
        topology_budget: points that one matching of diagrams may look at, 1e8 being about a second; None for
            as many as it takes. What an untrained network paints has so many features that the first steps
            would last much longer than all others; a matching cut short is still a valid one, close to the
            best, and is counted in the curve `unfinished_matchings`.
        alignment_within_weight: of the alignment of two views of a crop, which are two of its modalities or, of a
            single modality, the crop and the crop in other intensities. Try 10; see docs/method.md.
        alignment_across_weight: of the alignment of crops of different subjects. Try 10.
        alignment_stage: whose features are aligned: a stage of UNETR++'s encoder, 0 to 3, or `vit`. None takes the
            deepest stage that has enough tokens.
        alignment_grid: features are averaged to about this many tokens along each axis. Memory grows with the number
            of pairs times its sixth power: 6 pairs take 50 MB with 6, 1 GB with 12.
        alignment_neighbours: neighbours of a token that are to stay its neighbours.
        alignment_negatives: what these are told apart from: `random` or the `hardest` others.
        alignment_within_margin: wanted difference of cosine distances within a subject.
        alignment_across_margin: the same across subjects.
        alignment_pairs: pairs of crops of different subjects that are compared in a step at most.
        preview_every: steps between previews.
    """

    weight_decay: Weight = 0.05
    mask_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.75
    reconstruction_weight: Weight = 1.0
    topology_weight: Weight = 0.5
    spatial_weight: Weight = 0.1
    spatial_consistency_weight: Weight = 0.1
    reconstruction_consistency_weight: Weight = 0.1
    topology_dims: tuple[Literal[0, 1, 2], ...] = (0, 1, 2)
    topology_every: Count | None = None
    topology_budget: Count | None = 50_000_000
    alignment_within_weight: Weight = 0.0
    alignment_across_weight: Weight = 0.0
    alignment_stage: Stage | None = None
    alignment_grid: Annotated[int, Field(ge=2, le=12)] = 6
    alignment_neighbours: Count = 5
    alignment_negatives: Literal["random", "hardest"] = "random"
    alignment_within_margin: Weight = 0.05
    alignment_across_margin: Weight = 0.4
    alignment_pairs: Count = 6
    preview_every: Count = 250

    BY_SIZE: ClassVar[dict[str, dict[str, float]]] = {
        "small": {"steps": 500, "learning_rate": 1e-3},
        "base": {"steps": 20000, "learning_rate": 1.5e-4},
    }

    @model_validator(mode="after")
    def _something_is_learned(self) -> PretrainSettings:
        weights = [name for name in type(self).model_fields if name.endswith("_weight")]
        if not any(getattr(self, name) > 0 for name in weights):
            raise BadSettingError("every weight of pre-training is 0", hint=f"Set one of {', '.join(weights)}.")
        return self


class FinetuneSettings(Settings):
    """Settings of fine-tuning.

    Attributes:
        architecture: `fused` is TopoMAE; the others are baselines trained by the same code.
        initialization: which pre-trained weights to take over.
        fused_stages: UNETR++ stages that ViT features are added to; 3 is the bottleneck.
        vit_learning_rate_scale: learning rate of the pre-trained ViT relative to the rest.
        schedule: `poly` (power 0.9) or `cosine`.
        foreground_fraction: part of the crops that are centred on a labelled voxel.
        augmentation: 1 augments as often as nnU-Net does, 0 never; None takes the default of the network size:
            short trainings on a CPU see each case too few times to need more than a little.
        ema: decay, after a rising start, of the moving average of the weights that is validated and kept; 0
            switches it off.
        validate_every: steps between validations; None makes about ten of them.
        labelled: use only the first n labelled training cases; None uses all.
    """

    weight_decay: Weight = 3e-5
    architecture: Literal["fused", "unetrpp", "unetr", "swinunetr"] = "fused"
    initialization: Initialization = "pretrained"
    fused_stages: tuple[Literal[0, 1, 2, 3], ...] = (3,)
    vit_learning_rate_scale: Weight = 0.3
    schedule: Literal["poly", "cosine"] = "cosine"
    foreground_fraction: Annotated[float, Field(ge=0, le=1)] = 0.33
    augmentation: Annotated[float, Field(ge=0, le=1)] | None = None
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.99
    validate_every: Count | None = None
    labelled: Count | None = None

    BY_SIZE: ClassVar[dict[str, dict[str, float]]] = {
        "small": {"steps": 3000, "learning_rate": 2e-3, "augmentation": 0.3},
        "base": {"steps": 25000, "learning_rate": 3e-4, "augmentation": 1.0},
    }


class ClassifySettings(Settings):
    """Settings of fine-tuning for classes of whole volumes.

    Attributes:
        architecture: `fused` looks with both pre-trained encoders, `unetrpp` with one.
        initialization: which pre-trained weights to take over.
        encoder_learning_rate_scale: learning rate of pre-trained encoders relative to the new last layer; 0 leaves
            them as they are.
        windows: crops that a volume is looked at with, at most, in a step. A volume that needs more shows another
            choice of them each time.
        class_balance: 1 counts all classes alike, however few cases they have, 0 all cases alike.
        augmentation: 1 augments as often as nnU-Net does, 0 never; None takes the default of the network size.
        ema: decay, after a rising start, of the moving average of the weights that is validated and kept; 0
            switches it off.
        validate_every: steps between validations; None makes about ten of them.
        labelled: use only n training cases, taken from the classes in turn; None uses all.
    """

    weight_decay: Weight = 0.05
    architecture: Literal["fused", "unetrpp"] = "fused"
    initialization: Initialization = "pretrained"
    encoder_learning_rate_scale: Weight = 1.0
    windows: Count = 8
    class_balance: Annotated[float, Field(ge=0, le=1)] = 1.0
    augmentation: Annotated[float, Field(ge=0, le=1)] | None = None
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.99
    validate_every: Count | None = None
    labelled: Count | None = None

    BY_SIZE: ClassVar[dict[str, dict[str, float]]] = {
        "small": {"steps": 1000, "learning_rate": 2e-3, "augmentation": 0.3},
        "base": {"steps": 10000, "learning_rate": 1e-4, "augmentation": 1.0},
    }


class SegmentSettings(BaseModel):
    """Settings of segmentation.

    Attributes:
        mirror: average over mirrored views.
        probabilities: also write the probability of every label.
        overlap: part of a window that its neighbour covers too.
        batch: windows computed at once; None chooses by device.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mirror: bool = False
    probabilities: bool = False
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    batch: Count | None = None


class EvaluateSettings(BaseModel):
    """Settings of evaluation.

    Attributes:
        surface_tolerance_mm: tolerance of surface Dice.
        bootstrap: resamples of the confidence intervals of classes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    surface_tolerance_mm: Annotated[float, Field(gt=0)] = 1.0
    bootstrap: Annotated[int, Field(ge=100, le=1_000_000)] = 1000


def settings_from(kind: type[SettingsType], assignments: Iterable[str] = (), /, **values: object) -> SettingsType:
    """Make settings from `key=value` texts as typed on the command line, and from keyword values.

    Args:
        kind: class of the settings, such as `PretrainSettings`.
        assignments: e.g. `["steps=500", "topology_dims=0,2"]`; they win over `values`.
        values: settings by name.
    Raises:
        BadSettingError: an unknown name or a value that does not fit; names what is allowed.
    """
    given = dict(values)
    for name, text in split_assignments(assignments).items():
        given[name] = _parse(kind, name, text)
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0]) if problem["loc"] else ""
        if problem["type"] == "extra_forbidden":
            known = ", ".join(kind.model_fields)
            raise BadSettingError(f"there is no setting {name!r}", hint=f"Known settings: {known}.") from None
        raise BadSettingError(
            f"setting {name} = {given.get(name)!r}: {problem['msg'].lower()}",
            hint="See the settings listed by --help.",
        ) from None


def split_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """Split `key=value` texts.

    Raises:
        BadSettingError: a text without `=`.
    """
    pairs = {}
    for text in assignments:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise BadSettingError(f"--set {text!r} is not of the form key=value", hint="Example: --set steps=500.")
        pairs[name.strip()] = value.strip()
    return pairs


def _parse(kind: type[BaseModel], name: str, text: str) -> object:
    """Leave reading numbers to pydantic; only lists and `none` need help."""
    field = kind.model_fields.get(name)
    kinds = [] if field is None else _alternatives(field.annotation)
    if text.lower() in ("none", "null") and type(None) in kinds:
        return None
    if any(get_origin(one) is tuple for one in kinds):
        return [int(part) if _WHOLE_NUMBER.fullmatch(part) else part for part in text.split(",") if part]
    return text


def _alternatives(annotation: object) -> list[object]:
    if get_origin(annotation) in (Union, types.UnionType):
        return [one for part in get_args(annotation) for one in _alternatives(part)]
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    return [annotation]
