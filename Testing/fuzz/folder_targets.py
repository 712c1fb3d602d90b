"""Fuzzed readers of run folders and of model folders, by the engine and on Slicer's side.

Needs a module `slicer`: in a process that fuzzes `slicer_stub`, in tests the harness of `Testing/slicer`.
"""

from __future__ import annotations

from fuzz.json_mutator import SEPARATOR
from fuzz.model_targets import model_texts, weights
from fuzz.scratch import refused_or_done, scratch
from fuzz.text_targets import run_files
from TopoMAELib.model_card import ModelCard, ModelFolderError
from TopoMAELib.run_folder import RunFolder, findRuns

RUN_FILES = ("events.jsonl", "status.json", "settings.json", ".launch.json", "metrics.csv", "lock", ".driver")
MODEL_FILES = ("plan.json", "network.json", "labels.json", "configs/metadata.json")


def run_folder(data: bytes) -> None:
    """Read the input as the files of a run folder, parted by lines of `---`; one part alone is every file."""
    for text in set(data.split(SEPARATOR)):
        run_files(text)
    slicer_run(data)


def model_folder(data: bytes) -> None:
    """Read the input as the texts of a model folder and, last, its weights, parted by lines of `---`."""
    texts = data.split(SEPARATOR)
    model_texts(texts)
    slicer_model(texts)
    if len(texts) > len(MODEL_FILES):
        weights(SEPARATOR.join(texts[len(MODEL_FILES) :]))


def slicer_run(data: bytes) -> None:
    """The same as Slicer reads them."""
    folder = scratch("slicer-run") / "run"
    folder.mkdir(exist_ok=True)
    parts = data.split(SEPARATOR)
    for place, name in enumerate(RUN_FILES):
        (folder / name).write_bytes(parts[place] if len(parts) > 1 and place < len(parts) else parts[0])
    (folder / "console.log").write_bytes(parts[-1])
    run = RunFolder(folder)
    half = len(parts[0]) // 2
    (folder / "events.jsonl").write_bytes(parts[0][:half])
    run.newEvents()
    (folder / "events.jsonl").write_bytes(parts[0])
    run.newEvents()
    _ = (run.isRun, run.kind, run.settings, run.launch, run.owner, run.driver, run.step, run.changed, run.bestDice)
    assert run.state() in ("running", "stopped", "failed", "done", "interrupted")
    run.curves()
    run.previews()
    run.modelFolder()
    progress = run.progress
    for phase in (progress.main, progress.side):
        assert phase is None or phase.fraction is None or 0 <= phase.fraction <= 1
    _ = (progress.step, progress.of, progress.secondsLeft)
    str(run.lastError(1))
    findRuns(folder.parent)
    if run.launch is not None:
        run.launch.value("--data")


def slicer_model(texts: list[bytes]) -> None:
    """The texts of a model folder as Slicer reads them."""
    folder = scratch("slicer-model")
    (folder / "configs").mkdir(exist_ok=True)
    for name, text in zip(MODEL_FILES, texts + [b"{}"] * len(MODEL_FILES), strict=False):
        (folder / name).write_bytes(text)
    card = refused_or_done(lambda: ModelCard.read(folder), ModelFolderError)
    if card is not None:
        assert all(label.value > 0 and all(0 <= part <= 255 for part in label.colour) for label in card.labels)
        assert all(0 < mm < float("inf") for mm in card.spacing)
