"""The requests that the worker knows, and their arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Identity = Annotated[str, Field(max_length=100)] | int


def _usable(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("no path holds a NUL character")
    return path


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("the path must be absolute")
    return _usable(path)


Folder = Annotated[Path, AfterValidator(_usable)]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Row = tuple[float, float, float, float]
Point = tuple[float, float, float]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class VolumeFile(_Part):
    """A volume in a file.

    Attributes:
        array: .npy file with (I, J, K) numbers.
        affine: (4, 4), voxel index to RAS mm.
    """

    array: AbsolutePath
    affine: tuple[Row, Row, Row, Row]


class Request(_Part):
    """What every request has; `do` is its kind."""

    id: Identity | None = None
    do: str

    needs_id: ClassVar[bool] = True


class Hello(Request):
    """What can be computed with here."""

    do: Literal["hello"]


class Segment(Request):
    """Segment a volume; `images` has one entry per modality of the model, null where it is not available."""

    do: Literal["segment"]
    model: Folder
    images: Annotated[tuple[VolumeFile | None, ...], Field(min_length=1)]
    output: AbsolutePath
    device: Literal["auto", "cpu", "cuda"] = "auto"
    mirror: bool = False
    probabilities: bool = False


class Betti(Request):
    """Count the components, tunnels and cavities of every label, and say where they are."""

    do: Literal["betti"]
    labels: VolumeFile
    output: AbsolutePath | None = None


class Persistence(Request):
    """Persistence diagram of an image: the `count` longest lasting features."""

    do: Literal["persistence"]
    image: VolumeFile
    dims: Annotated[tuple[Literal[0, 1, 2], ...], Field(min_length=1)] = (0, 1, 2)
    superlevel: bool = False
    count: Annotated[int, Field(ge=0)] = 2000
    output: AbsolutePath


class Feature(Request):
    """The voxels of a feature of a diagram that was made before."""

    do: Literal["feature"]
    handle: str
    dim: Literal[0, 1, 2]
    index: Annotated[int, Field(ge=0)]
    output: AbsolutePath


class _OfCrop(Request):
    pretrained: Folder
    images: Annotated[tuple[VolumeFile, ...], Field(min_length=1)]
    center: Point
    device: Literal["auto", "cpu", "cuda"] = "auto"
    output: AbsolutePath | None = None


class Reconstruct(_OfCrop):
    """What a pre-trained network makes of a crop whose blocks are mostly hidden."""

    do: Literal["reconstruct"]
    mask_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.75
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    diagrams: bool = True
    channel: Annotated[int, Field(ge=0)] = 0
    output: AbsolutePath


class KeyPoints(_OfCrop):
    """Where a pre-trained network takes a crop to lie in its volume."""

    do: Literal["key_points"]


class CropSize(Request):
    """Size of a pre-trained network's crop, and its modalities."""

    do: Literal["crop_size"]
    pretrained: Folder


class Cancel(Request):
    """End another request, queued or running. Answered only if it has an id itself."""

    do: Literal["cancel"]
    request: Identity

    needs_id: ClassVar[bool] = False


class Quit(Request):
    """End the worker."""

    do: Literal["quit"]

    needs_id: ClassVar[bool] = False


REQUESTS: dict[str, type[Request]] = {
    "hello": Hello,
    "segment": Segment,
    "betti": Betti,
    "persistence": Persistence,
    "feature": Feature,
    "reconstruct": Reconstruct,
    "key_points": KeyPoints,
    "crop_size": CropSize,
    "cancel": Cancel,
    "quit": Quit,
}
