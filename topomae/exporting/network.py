"""A segmentation network alone, for programs that have neither TopoMAE nor MONAI."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from topomae.errors import BadSettingError, RunError
from topomae.exporting.comparison import Comparison, answers, compare, random_images
from topomae.files import write_json_atomic
from topomae.models.folder import Model
from topomae.models.label_table import LabelTable
from topomae.versions import versions

NetworkFormat = Literal["torchscript", "torch-export", "onnx"]
FILES: dict[str, str] = {"torchscript": "model.ts", "torch-export": "model.pt2", "onnx": "model.onnx"}
DESCRIPTION = "model.json"
_ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


def check_possible(model: Model, kind: NetworkFormat) -> None:
    """Refuse what cannot be exported, before anything is done.

    Raises:
        BadSettingError: a network that classifies, or packages are missing.
    """
    if model.classes:
        raise BadSettingError(
            f"a network that says the class of whole volumes looks at many windows at once and has no {kind} form",
            hint="Export it with --format bundle.",
            path=model.folder,
        )
    lacking = [name for name in _ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if kind == "onnx" and lacking:
        raise BadSettingError(
            f"ONNX needs packages that are not installed here ({', '.join(lacking)})",
            hint=f'Install them: pip install "topomae[onnx]", which is pip install {" ".join(_ONNX_PACKAGES)}.',
        )


def write_network(model: Model, folder: Path, kind: NetworkFormat) -> Comparison:
    """Write the network as one file, see that it says the same, and describe it in `model.json`.

    It takes `image`, (B, C, *crop_size) float32, normalised as the plan says, and, if it was trained to do without
    some modalities, `available`, (B, C) bool; it gives `pred`, (B, L, *crop_size) float32 logits. B is free.

    Args:
        model: segments.
        folder: exists and is empty.
        kind: of the file.
    Raises:
        RunError: PyTorch cannot export the network, or what it exports says something else.
    """
    named = _WithAvailable(model.network) if model.spec.missing_modalities else _ImageAlone(model.network)
    file = folder / FILES[kind]
    inputs = [_examples(model, batch) for batch in (1, 2)]
    writers: dict[str, Callable[[], Callable[..., torch.Tensor]]] = {
        "torchscript": lambda: _torchscript(named, inputs[1], file, _metadata(model)),
        "torch-export": lambda: _torch_export(named, inputs[1], file),
        "onnx": lambda: _onnx(named, inputs[1], file),
    }
    assert set(writers) == set(get_args(NetworkFormat))
    # First, so that exporters find position codes computed; they would leave their stand-ins in the cache.
    expected = answers(named.eval(), inputs)
    try:
        with _quiet(), torch.no_grad():
            found = answers(writers[kind](), inputs)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # exporters have no error of their own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RunError(
            f"PyTorch {torch.__version__} cannot export this {model.spec.architecture} network as {kind}: {reason}",
            hint="Choose another --format; bundle always works.",
        ) from None
    comparison = compare(expected, found, file.name)
    write_json_atomic(folder / DESCRIPTION, _description(model, kind, comparison))
    return comparison


class _ImageAlone(nn.Module):
    """The network with an input that has a name."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.network(image)


class _WithAvailable(_ImageAlone):
    """The network with inputs that have names."""

    def forward(self, image: torch.Tensor, available: torch.Tensor) -> torch.Tensor:
        return self.network(image, available)


def _examples(model: Model, batch: int) -> tuple[torch.Tensor, ...]:
    """Arguments of a call. Where modalities may be missing, the last one is in the first sample."""
    image = random_images(batch, model.plan.channels, model.plan.crop_size, seed=batch)
    if not model.spec.missing_modalities:
        return (image,)
    available = torch.ones(batch, model.plan.channels, dtype=torch.bool)
    if model.plan.channels > 1:
        available[0, -1] = False
    return image, available


def _torchscript(
    network: nn.Module, examples: tuple[torch.Tensor, ...], file: Path, metadata: dict[str, Any]
) -> Callable[..., torch.Tensor]:
    from monai.data import save_net_with_metadata

    traced = torch.jit.trace(network, examples, check_trace=False)
    with open(file, "wb") as stream:  # with the metadata inside, as MONAI's own TorchScript bundles have them
        save_net_with_metadata(traced, stream, meta_values=metadata)
    return torch.jit.load(file, map_location="cpu")


def _metadata(model: Model) -> dict[str, Any]:
    """That of the bundle without the record of the training, which names cases."""
    return {name: value for name, value in model.metadata.items() if name != "training"}


def _torch_export(network: nn.Module, examples: tuple[torch.Tensor, ...], file: Path) -> Callable[..., torch.Tensor]:
    torch.export.save(torch.export.export(network, examples, dynamic_shapes=_free_batch(examples)), file)
    return torch.export.load(file).module()


def _onnx(network: nn.Module, examples: tuple[torch.Tensor, ...], file: Path) -> Callable[..., torch.Tensor]:
    import onnxruntime

    names = ["image", "available"][: len(examples)]
    torch.onnx.export(
        network,
        examples,
        file,
        input_names=names,
        output_names=["pred"],
        dynamic_shapes=_free_batch(examples),
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])

    def run(*given: torch.Tensor) -> torch.Tensor:
        fed = {name: tensor.numpy() for name, tensor in zip(names, given, strict=True)}
        return torch.from_numpy(session.run(["pred"], fed)[0])

    return run


def _free_batch(examples: tuple[torch.Tensor, ...]) -> tuple[dict[int, Any], ...]:
    """For each input, that its first axis may have any length."""
    batch = torch.export.Dim("batch")
    return tuple({0: batch} for _ in examples)


def _description(model: Model, kind: NetworkFormat, comparison: Comparison) -> dict[str, Any]:
    """What a program needs to know to use the file."""
    plan, crop = model.plan, list(model.plan.crop_size)
    inputs: dict[str, Any] = {
        "image": {
            "shape": ["batch", plan.channels, *crop],
            "dtype": "float32",
            "channels": list(plan.modalities),
            "axes": "R, A, S: voxel indices rise to the right, to the front and to the head of the patient",
            "spacing_mm": list(plan.spacing),
            "normalization": [how.model_dump(mode="json", exclude_none=True) for how in plan.normalization],
        }
    }
    if model.spec.missing_modalities:
        told = "false for a modality that is missing; its channel of the image is not looked at"
        inputs["available"] = {"shape": ["batch", plan.channels], "dtype": "bool", "meaning": told}
    return {
        "format": 1,
        "file": FILES[kind],
        "kind": kind,
        "inputs": inputs,
        "outputs": {
            "pred": {
                "shape": ["batch", plan.classes, *crop],
                "dtype": "float32",
                "meaning": "logits: softmax over axis 1 gives probabilities, argmax the place in label_values",
                "label_values": list(plan.class_values),
                "channels": ["background", *plan.labels.values()],
            }
        },
        "labels": LabelTable.of(plan.labels).model_dump(mode="json")["labels"],
        "plan": plan.model_dump(mode="json"),
        "check": comparison.described(),
        "versions": versions(),
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what exporters say of themselves and of packages that nobody needs."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
