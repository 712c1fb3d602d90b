"""Steps that cannot be learned from, memory that does not suffice, and stops between and beside the steps."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from recorder import Recorder

import topomae
from topomae.config import FinetuneSettings
from topomae.data.phantoms import make_phantoms
from topomae.errors import RunError
from topomae.events import Events
from topomae.models.folder import load_model
from topomae.parallel.devices import Device, OutOfMemoryError
from topomae.training.loop import TrainingLoop

PLAN = {"crop_size": [16, 16, 16], "patch_size": [8, 8, 8], "spacing": [4.0, 4.0, 4.0], "batch_size": 2}


class Line(TrainingLoop):
    """Fits a line; `spoil` may change the loss or raise."""

    phase = "fit"

    def __init__(self, batch_size: int = 4, spoil=lambda loss, rows: loss):
        self.recorder, self.spoil, self.saved, self.seen = Recorder(), spoil, [], []
        run = SimpleNamespace(
            events=Events(self.recorder),
            save_checkpoint=lambda state, step: self.saved.append(state),
            load_checkpoint=lambda: self.saved[-1] if self.saved else None,
        )
        torch.manual_seed(3)
        network = torch.nn.Linear(3, 1)
        plan = SimpleNamespace(batch_size=batch_size, model_dump_json=lambda: "{}")
        settings = FinetuneSettings(steps=100).resolved("small")
        super().__init__(run, plan, settings, Device("cpu", ""), network, [(network, 1.0)])

    def loss(self, batch, step):
        self.seen.append(len(batch["x"]))
        loss = self.spoil((self.network(batch["x"]) - batch["y"]).square().mean(), len(batch["x"]))
        return loss, {"square": loss}

    def weights(self) -> torch.Tensor:
        return torch.cat([p.detach().clone().flatten() for p in self.network.parameters()])


def batch_of(size: int) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(size)
    return {"x": torch.randn(size, 3, generator=random), "y": torch.randn(size, 1, generator=random)}


def root_of_nothing(loss, rows):
    """Finite, but with an infinite slope."""
    return loss + (0 * loss).sqrt()


@pytest.mark.parametrize(
    ("spoil", "what"), [(lambda loss, rows: loss * float("nan"), "loss"), (root_of_nothing, "gradient")]
)
def test_a_step_whose_loss_or_gradient_is_not_a_number_changes_nothing_and_is_told(spoil, what):
    loop = Line(spoil=spoil)
    before = loop.weights()
    loop.take_step(4, batch_of(4))
    assert torch.equal(loop.weights(), before)
    assert loop.recorder.messages() == [f"step 5 was left out: its {what} is not a number"]
    loop.spoil = lambda loss, rows: loss
    loop.take_step(5, batch_of(4))
    assert torch.isfinite(loop.weights()).all() and not torch.equal(loop.weights(), before)


def test_steps_that_are_no_good_again_and_again_end_the_run_even_across_a_restart():
    loop = Line(spoil=root_of_nothing)
    for step in range(6):
        loop.take_step(step, batch_of(4))
    loop._save(6)
    later = Line(spoil=root_of_nothing)
    later.saved = loop.saved
    assert later._resume() == (6, False)
    with pytest.raises(RunError, match="10 steps in a row"):
        for step in range(6, 10):
            later.take_step(step, batch_of(4))


def too_much(rows_that_fit: int):
    def spoil(loss, rows):
        if rows > rows_that_fit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return loss

    return spoil


@pytest.mark.parametrize("size", [4, 5])
def test_a_batch_that_does_not_fit_is_worked_through_in_halves_from_then_on_to_the_same_weights(size):
    loop, undisturbed = Line(size, too_much(3)), Line(size)
    for step in (10, 11):
        loop.take_step(step, batch_of(size))
        undisturbed.take_step(step, batch_of(size))
    first, second = (size + 1) // 2, size // 2
    assert loop.seen == [size, first, second, first, second]
    torch.testing.assert_close(loop.weights(), undisturbed.weights())
    assert loop._means.take()["square"] == pytest.approx(undisturbed._means.take()["square"])
    (warning,) = loop.recorder.messages()
    assert "step 11" in warning and "two halves" in warning
    loop._save(12)
    later = Line(size, too_much(3))
    later.saved = loop.saved
    later._resume()
    later.take_step(12, batch_of(size))
    assert later.seen == [first, second]


@pytest.mark.parametrize(("size", "fits"), [(4, 1), (1, 0)])
def test_a_half_that_does_not_fit_either_is_an_error_that_names_the_way_out(size, fits):
    loop = Line(size, too_much(fits))
    before = loop.weights()
    with pytest.raises(OutOfMemoryError, match="memory does not hold") as told:
        loop.take_step(0, batch_of(size))
    assert "batch_size" in told.value.hint and "crop_size" in told.value.hint
    assert torch.equal(loop.weights(), before)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    return make_phantoms(tmp_path_factory.mktemp("data") / "phantoms", cases=7, labelled=4)


def train(data, run, act=lambda event: None) -> list[dict]:
    """A short fine-tuning; returns its events."""
    recorder = Recorder(act)
    settings = FinetuneSettings(steps=4, validate_every=2, checkpoint_every=3)
    topomae.finetune(data, run, init="scratch", settings=settings, plan=PLAN, device="cpu", events=Events(recorder))
    return recorder.events


@pytest.fixture(scope="module")
def undisturbed(phantoms, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "undisturbed"
    train(phantoms, run)
    return run


@pytest.mark.parametrize(("phase", "step"), [("check data", 0), ("preprocess", 0), ("validate", 2)])
def test_a_stop_beside_the_steps_is_honoured_at_once_and_loses_nothing(phantoms, undisturbed, tmp_path, phase, step):
    run = tmp_path / "run"

    def stop(event):
        if event["event"] == "progress" and event["phase"] == phase and not (run / "model").exists():
            (run / "stop").touch()

    events = train(phantoms, run, stop)
    assert events[-1]["event"] == "end" and events[-1]["status"] == "stopped" and events[-1]["step"] == step
    later = {event["phase"] for event in events if event["event"] == "progress"}
    assert phase != "preprocess" or "finetune" not in later
    assert json.loads((run / "status.json").read_text())["status"] == "stopped"
    train(phantoms, run)
    assert (run / "metrics.csv").read_bytes() == (undisturbed / "metrics.csv").read_bytes()
    one, other = (load_model(folder).network.state_dict() for folder in (undisturbed, run))
    assert all(torch.equal(one[name], other[name]) for name in one)
