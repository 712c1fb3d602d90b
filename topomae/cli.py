"""The command line: which commands there are. What they do stands in `topomae.commands`."""

from __future__ import annotations

import typer

from topomae.commands.classification import classify
from topomae.commands.doctor import doctor
from topomae.commands.exporting import export
from topomae.commands.phantoms import phantoms
from topomae.commands.planning import plan
from topomae.commands.recipes import app as recipes
from topomae.commands.reproduction import reproduce
from topomae.commands.results import evaluate, report, segment
from topomae.commands.training import demo, finetune, pretrain
from topomae.config import EvaluateSettings, FinetuneSettings, PretrainSettings, SegmentSettings
from topomae.worker.command import worker

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help="""Train a segmentation model on **your own** volumes, with labels for a handful of them.

A typical course, for a folder DATA with images and a few label maps:

    topomae pretrain --data DATA --run runs/pretrain

    topomae finetune --data DATA --run runs/finetune --init runs/pretrain

    topomae segment --model runs/finetune --input DATA --output predictions

    topomae evaluate --predictions predictions --labels DATA --output evaluation

    topomae report --finetune runs/finetune --evaluation evaluation --output report.html

No data at hand? `topomae demo` makes phantom volumes and runs all of this on them.
""",
)


def _settings(kind: type) -> dict[str, str]:
    """What a command's help says below its options."""
    return {"epilog": f"Settings for --set: {', '.join(kind.model_fields)}."}


app.command()(plan)
app.command(**_settings(PretrainSettings))(pretrain)
app.command(**_settings(FinetuneSettings))(finetune)
app.command(**_settings(SegmentSettings))(segment)
app.command()(classify)
app.command(**_settings(EvaluateSettings))(evaluate)
app.command()(report)
app.command()(reproduce)
app.command()(export)
app.command()(demo)
app.command()(phantoms)
app.command()(doctor)
app.add_typer(recipes, name="recipes")
app.command(rich_help_panel="For programs")(worker)


def main() -> None:
    """Run the command line."""
    app(prog_name="topomae")
