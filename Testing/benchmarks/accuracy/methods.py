"""Every method that the protocols compare, by name."""

from __future__ import annotations

import argparse
from pathlib import Path

from engine_methods import Conditions, EngineMethod
from protocol import Train

NAMES = {
    "topomae": "TopoMAE",
    "unetrpp": "UNETR++ from scratch",
    "dynunet": "DynUNet (MONAI)",
    "swinunetr": "SwinUNETR (MONAI)",
    "unetr": "UNETR (MONAI)",
    "mae-unetr": "MAE → UNETR (MONAI)",
    "topomae-unetr": "TopoMAE's ViT → UNETR (MONAI)",
    "nnunet": "nnU-Net",
}
METHODS = tuple(NAMES)


def method(name: str, given: Conditions, nnunet_python: str) -> Train:
    """How a method trains."""
    if name == "topomae":
        return EngineMethod(given, pretraining={})
    if name == "unetrpp":
        return EngineMethod(given, finetuning={"architecture": "unetrpp"})
    if name == "nnunet":
        from nnunet import NnUnet

        return NnUnet(given, nnunet_python)
    from peers import Peer

    return Peer(given)


def common_arguments(parser: argparse.ArgumentParser, *, data: Path, output: Path) -> None:
    """Add what every protocol asks for."""
    parser.add_argument("--data", type=Path, default=data, help="folder of the data set")
    parser.add_argument("--output", type=Path, default=output, help="folder for everything that is written")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="in this order")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="one cell for each")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to train")
    parser.add_argument("--size", choices=("small", "base"), default="small", help="of the networks, nnU-Net's aside")
    parser.add_argument(
        "--budget-minutes",
        type=float,
        default=30.0,
        help="for each training with its pre-training: processor time on a CPU, wall time on a GPU",
    )
    parser.add_argument("--steps", type=int, help="in place of a budget: steps of every training")
    parser.add_argument("--pretraining-steps", type=int, help="with --steps: steps of every pre-training")
    parser.add_argument("--pretraining-share", type=float, default=0.35, help="of the budget, where there is one")
    parser.add_argument("--validations", type=int, default=4, help="in each training, to choose its weights by")
    parser.add_argument("--mirror", action="store_true", help="average predictions over mirrored views, all methods")
    parser.add_argument("--overlap", type=float, default=0.5, help="of the windows of predictions, all methods")
    parser.add_argument("--crop", nargs=3, type=int, help="crop size of all methods but nnU-Net; planned by default")
    parser.add_argument("--nnunet-python", default="python", help="a Python that has nnunetv2")
    parser.add_argument("--cell", nargs=3, metavar=("METHOD", "LABELLED", "SEED"), help=argparse.SUPPRESS)


def conditions(given: argparse.Namespace) -> Conditions:
    """What the arguments say of every training."""
    budget = None if given.steps else 60 * given.budget_minutes
    pretraining_steps = given.pretraining_steps or given.steps
    return Conditions(
        folder=given.output,
        device=given.device,
        size=given.size,
        budget=budget,
        steps=given.steps,
        pretraining_steps=pretraining_steps,
        pretraining_share=given.pretraining_share,
        validations=given.validations,
        mirror=given.mirror,
        overlap=given.overlap,
        plan={"crop_size": tuple(given.crop)} if given.crop else None,
    )


def about(given: argparse.Namespace) -> dict[str, object]:
    """What is written into every cell of the arguments."""
    return {
        "device": given.device,
        "size": given.size,
        "budget_minutes": None if given.steps else given.budget_minutes,
        "mirror": given.mirror,
        "overlap": given.overlap,
        "pretraining_share": given.pretraining_share,
        "validations": given.validations,
    }
