"""The folder a pre-training run leaves behind: weights of both branches, how to build them, and the plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from topomae.data.json_files import read_json, validated
from topomae.data.plan import Plan
from topomae.errors import BadDataError, BadSettingError
from topomae.files import atomic_path, write_json_atomic, write_text_atomic
from topomae.models.files import check_size, model_file
from topomae.models.weights import WeightsError, read_weights
from topomae.networks.co_pretrainer import CoPretrainer
from topomae.networks.factory import NetworkSpec, build_co_pretrainer
from topomae.networks.outline import outline

WEIGHTS, NETWORK, PLAN = "pretrained.safetensors", "network.json", "plan.json"
TRAINING = "training.json"
_REMEDY = "Copy it again, or pre-train again."


@dataclass(frozen=True)
class Pretrained:
    """What pre-training hands on.

    Attributes:
        weights: state of a `CoPretrainer`.
        spec: how to build it.
        plan: the plan it was trained with.
        folder: where it was read from.
    """

    weights: dict[str, torch.Tensor] = field(repr=False)
    spec: NetworkSpec
    plan: Plan
    folder: Path

    def network(self) -> CoPretrainer:
        """Build the pre-training network with its weights.

        Raises:
            BadDataError: the weights do not belong to the network described beside them.
        """
        network = build_co_pretrainer(self.spec)
        take_weights(network, self.weights, self.folder / WEIGHTS)
        return network.eval()

    def part(self, prefix: str) -> dict[str, torch.Tensor]:
        """The weights of one part, such as `vit.encoder`, with the prefix taken off."""
        start = prefix + "."
        return {name[len(start) :]: weight for name, weight in self.weights.items() if name.startswith(start)}


def save_pretrained(
    folder: Path, network: CoPretrainer, spec: NetworkSpec, plan: Plan, training: dict[str, Any] | None = None
) -> None:
    """Write the folder; the weights come last, so that a folder with weights is whole.

    Args:
        folder: the folder to be.
        network: built from `spec`.
        spec: how to build it.
        plan: what it was trained with.
        training: where it comes from, see `topomae.runs.provenance`.
    """
    plan.save(folder / PLAN)
    if training is not None:
        write_json_atomic(folder / TRAINING, training)
    write_text_atomic(folder / NETWORK, spec.model_dump_json(indent=2) + "\n")
    with atomic_path(folder / WEIGHTS) as temporary:
        weights = {name: weight.detach().cpu().contiguous() for name, weight in network.state_dict().items()}
        save_file(weights, temporary)


def is_pretrained(folder: Path) -> bool:
    """Whether `folder` is a finished pre-training run or the model folder of one."""
    return any((place / WEIGHTS).is_file() for place in (folder, folder / "model"))


def load_pretrained(folder: Path) -> Pretrained:
    """Read what a pre-training run left behind.

    Args:
        folder: the run folder, or its `model` folder.
    Raises:
        BadDataError: it holds no finished pre-training, or a damaged one.
    """
    folder = Path(folder)
    place = folder if (folder / WEIGHTS).is_file() else folder / "model"
    if not (place / WEIGHTS).is_file():
        unfinished = (folder / "settings.json").is_file()
        raise BadDataError(
            "the pre-training run has not finished" if unfinished else "holds no pre-trained network",
            hint="Run topomae pretrain again to finish it."
            if unfinished
            else "Give the folder of a pre-training run.",
            path=folder,
        )
    description = model_file(place, NETWORK)
    try:
        spec = validated(NetworkSpec, read_json(description), description, _REMEDY)
        check_size(spec, place)
        plan = Plan.check(read_json(model_file(place, PLAN)), path=place / PLAN)
        weights = read_weights(model_file(place, WEIGHTS), outline(lambda: build_co_pretrainer(spec)), others=True)
    except (WeightsError, BadSettingError, ValueError, IndexError, AssertionError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadDataError(f"the pre-trained network is damaged: {reason}", hint=_REMEDY, path=place) from None
    return Pretrained(weights, spec, plan, place)


def take_weights(module: torch.nn.Module, weights: dict[str, torch.Tensor], path: Path) -> None:
    """Load weights that must fit exactly.

    Raises:
        BadDataError: a weight is missing, left over or of another shape.
    """
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:200]
        raise BadDataError(
            f"the weights do not fit the network: {detail}",
            hint="They were made for another network.",
            path=path,
        ) from None
