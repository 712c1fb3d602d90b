"""First weights of a classification network: pre-trained encoders, those of another model, or random ones."""

from __future__ import annotations

import torch

from topomae.errors import BadSettingError
from topomae.models.folder import Model
from topomae.models.pretrained import take_weights
from topomae.networks.classifier import VolumeClassifier
from topomae.training.initialization import Start
from topomae.training.optimization import Part


def initialize_classifier(network: VolumeClassifier, start: Start | None, which: str, classes: tuple[str, ...]) -> str:
    """Give a classification network its first weights; return in words what was taken over.

    Args:
        network: from `build_classifier`.
        start: weights to take over, or None. Of a model that segments, its encoders; of one that classifies into
            the same classes, everything.
        which: `pretrained` (both encoders), `vit-only`, `unetrpp-only` or `scratch`.
        classes: names of the classes.
    Raises:
        BadDataError: the weights do not fit the network.
        BadSettingError: the start has no such encoder.
    """
    if start is None or which == "scratch":
        return "random weights"
    if goes_on(start, which, classes):
        take_weights(network, start.weights.network.state_dict(), start.folder)
        return f"model {start.weights.plan.dataset}"
    taken = []
    if which in ("pretrained", "unetrpp-only"):
        take_weights(network.unetrpp, network.unetrpp.of_whole(_part(start, "unetrpp")), start.folder)
        taken.append("UNETR++ encoder")
    if which in ("pretrained", "vit-only") and network.vit is not None:
        take_weights(network.vit, _part(start, "vit"), start.folder)
        taken.append("ViT encoder")
    kind = "" if isinstance(start.weights, Model) else "pre-trained "
    return f"{kind}{' and '.join(taken) or 'nothing'} ({start.weights.plan.dataset})"


def goes_on(start: Start | None, which: str, classes: tuple[str, ...]) -> bool:
    """Whether a model that classifies into the same classes is trained on, see `initialize_classifier`."""
    return start is not None and which == "pretrained" and getattr(start.weights, "classes", None) == classes


def learning_parts(network: VolumeClassifier, taken_over: bool, scale: float) -> list[Part]:
    """Modules with the scale of their learning rate: pre-trained encoders are changed more gently.

    Args:
        network: the whole.
        taken_over: whether its encoders come from elsewhere.
        scale: of their learning rate then; 0 leaves them as they are.
    """
    if not taken_over:
        return [(network, 1.0)]
    encoders = network.encoders()
    if scale == 0:
        encoders.requires_grad_(False)
    return [(network.head, 1.0), (encoders, scale)]


def _part(start: Start, name: str) -> dict[str, torch.Tensor]:
    """Weights of one encoder, with the prefix taken off."""
    if not isinstance(start.weights, Model):
        return start.weights.part({"vit": "vit.encoder"}.get(name, name))
    encoder = getattr(start.weights.network, name, None)
    if encoder is None:
        raise BadSettingError(
            f"{start.folder} has no {'ViT' if name == 'vit' else 'UNETR++'} encoder to start from",
            hint="Start from a pre-training run, or choose architecture=unetrpp, or --init scratch.",
        )
    return encoder.state_dict()
