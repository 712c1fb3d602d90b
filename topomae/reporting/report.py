"""One self-contained report.html: the plan, how training went, how good the result is and how it looks."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

from topomae.errors import BadDataError, BadSettingError
from topomae.evaluation.classification import ClassEvaluation, is_class_evaluation
from topomae.evaluation.segmentation import Evaluation
from topomae.files import write_text_atomic
from topomae.reporting.classification_section import classification_section
from topomae.reporting.evaluation_section import case_table, headline, label_table, picture_section
from topomae.reporting.html import Markup, page, tag
from topomae.reporting.run_folder import RunFacts, read_run
from topomae.reporting.run_section import plan_section, run_section


def write_report(
    output: str | Path,
    *,
    title: str = "TopoMAE report",
    pretrain: str | Path | None = None,
    finetune: str | Path | None = None,
    evaluation: Evaluation | ClassEvaluation | str | Path | None = None,
    predictions: str | Path | None = None,
    labels: str | Path | None = None,
    images: str | Path | None = None,
    pictures: int = 6,
) -> Path:
    """Write a report that opens in any browser, without network, scripts or other files.

    Every part is optional; a run folder may be of a run that is still going or was killed.

    Args:
        output: folder that gets a report.html, or the path of the HTML file.
        title: heading of the page.
        pretrain: run folder of a pre-training.
        finetune: run folder of a fine-tuning.
        evaluation: what `evaluate` returned or the folder it wrote to.
        predictions: folder of the label maps for the pictures. Default: what was evaluated.
        labels: folder of labels or data set for the pictures. Default: what was evaluated.
        images: folder of images or data set for the pictures. Default: what `evaluate` noted.
        pictures: how many of the worst cases are drawn.

    Returns:
        Path of the HTML file.

    Raises:
        BadSettingError: there is nothing to report on.
        BadDataError: a run folder does not exist, or the evaluation cannot be read.
        RunError: the file cannot be written.
    """
    if pretrain is None and finetune is None and evaluation is None:
        raise BadSettingError("there is nothing to report on", hint="Give a run folder or an evaluation.")
    runs = {
        heading: _run(Path(folder))
        for heading, folder in (("Pre-training", pretrain), ("Fine-tuning", finetune))
        if folder is not None
    }
    if evaluation is not None and not isinstance(evaluation, (Evaluation, ClassEvaluation)):
        of_classes = is_class_evaluation(evaluation)
        evaluation = ClassEvaluation.load(evaluation) if of_classes else Evaluation.load(evaluation)

    written = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    body: list[object] = [tag("h1", title), tag("p", f"Written by TopoMAE, {written}", class_="quiet")]
    if isinstance(evaluation, ClassEvaluation):
        body += [classification_section(evaluation)]
    elif evaluation is not None:
        body += [headline(evaluation), label_table(evaluation)]
        body += [picture_section(evaluation, _path(predictions), _path(labels), _path(images), pictures)]
        body += [case_table(evaluation)]
    plans = [run.plan for run in runs.values() if run.plan is not None]
    body += [plan_section(plans[-1])] if plans else []
    body += [run_section(heading, run) for heading, run in runs.items()]

    body.insert(2, _contents(body))
    target = _target(Path(output))
    write_text_atomic(target, page(title, body))
    return target


def _run(folder: Path) -> RunFacts:
    if not folder.is_dir():
        raise BadDataError("the run folder does not exist", hint="Check the path.", path=folder)
    return read_run(folder)


def _contents(body: list[object]) -> Markup:
    """Links to the parts of the page."""
    found = re.findall(r'<h2 id="([^"]+)">([^<]*)', "".join(map(str, body)))
    return tag("nav", [tag("a", Markup(name), href=f"#{anchor}") for anchor, name in found])


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)


def _target(output: Path) -> Path:
    return output if output.suffix.lower() in (".html", ".htm") else output / "report.html"
