"""Several processes train as one would: equal losses, work shared, errors and stops that reach all of them."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from several_processes import compute_in_double, ended, start
from several_processes import together as in_processes

import topomae
from topomae.config import FinetuneSettings, PretrainSettings
from topomae.data.phantoms import make_phantoms
from topomae.errors import BadDataError, BadSettingError
from topomae.parallel.dealing import Deal
from topomae.parallel.distributed import (
    Processes,
    Stopping,
    cores,
    from_main,
    gathered,
    is_main,
    largest,
    own_share,
    processes,
    together,
)
from topomae.parallel.global_means import Fraction, global_means, summed
from topomae.parallel.launching import with_others
from topomae.parallel.started_processes import say_as_torchrun_would, started_processes

STEPS = 20
PLAN = {"crop_size": [16, 16, 16], "patch_size": [8, 8, 8], "spacing": [4.0, 4.0, 4.0], "batch_size": 4}
# Rounding grows from step to step; the less, the smaller these are.
_GENTLE = {"steps": STEPS, "checkpoint_every": 10, "learning_rate": 1e-4, "warmup": 0.5}
SETTINGS = {
    "pretrain": PretrainSettings(**_GENTLE, topology_every=4),
    "finetune": FinetuneSettings(**_GENTLE, validate_every=10, foreground_fraction=1.0),
}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    return make_phantoms(tmp_path_factory.mktemp("data") / "phantoms", cases=7, labelled=4)


def train(kind: str, data: Path, run: Path, kill_at: int | None = None) -> None:
    """Do one of the trainings; process 1 kills itself after `kill_at` steps.

    Pre-training computes in 64 bit: its topological loss hangs on single voxels, so that in 32 bit rounding grows to
    some thousandths of the loss within 20 steps, whoever computes them.
    """
    if kind == "pretrain":
        compute_in_double()
    if kill_at is not None:
        from topomae.training.loop import TrainingLoop

        take_step = TrainingLoop.take_step

        def take_step_or_die(self, step, batch):
            if step == kill_at and os.environ["RANK"] == "1":
                os.kill(os.getpid(), signal.SIGKILL)
            take_step(self, step, batch)

        TrainingLoop.take_step = take_step_or_die
    start_from = {} if kind == "pretrain" else {"init": "scratch"}
    getattr(topomae, kind)(data, run, settings=SETTINGS[kind], plan=PLAN, device="cpu", **start_from)


def curves(run: Path) -> dict[tuple[str, ...], float]:
    lines = (run / "metrics.csv").read_text().splitlines()[1:]
    return {tuple(line.split(",")[:3]): float(line.split(",")[3]) for line in lines}


@pytest.fixture(scope="module")
def alone(phantoms, tmp_path_factory):
    """The curves of each training in one process, made when first asked for."""
    made = {}

    def curves_of(kind: str) -> dict:
        if kind not in made:
            run = tmp_path_factory.mktemp("alone") / kind
            in_processes(1, train, kind, phantoms, run)
            made[kind] = curves(run)
        return made[kind]

    return curves_of


def assert_same_course(run: Path, expected: dict) -> None:
    """Every curve within 1e-4; only a Dice jumps by whole voxels."""
    found = curves(run)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        tolerance = {"abs": 0.02} if "dice" in name[2] else {"rel": 1e-4}
        assert found[name] == pytest.approx(value, nan_ok=True, **tolerance), name


@pytest.mark.parametrize(("kind", "world"), [("pretrain", 2), ("finetune", 4)])
def test_losses_are_those_of_one_process(phantoms, alone, tmp_path, kind, world):
    """Four samples a step, dealt out evenly."""
    in_processes(world, train, kind, phantoms, tmp_path / kind)
    assert_same_course(tmp_path / kind, alone(kind))
    if kind == "finetune":
        assert (tmp_path / kind / "model" / "models" / "model.safetensors").is_file()


def test_a_killed_process_ends_the_training_clearly_and_one_goes_on_to_the_same_result(phantoms, alone, tmp_path):
    """Three processes have one, one and two of the four samples, until one of them is killed."""
    run = tmp_path / "run"
    main, killed, _ = ended(start(3, train, "pretrain", phantoms, run, 14))
    assert killed.exit_code == -signal.SIGKILL
    assert main.error.startswith("LostProcessError: ")
    for words in ("was killed", "Start the same command again"):
        assert words in main.error
    assert json.loads((run / "status.json").read_text())["status"] == "failed"
    in_processes(1, train, "pretrain", phantoms, run)
    assert_same_course(run, alone("pretrain"))


def calls(what: str) -> object:
    """Runs in each process."""
    with together("cpu") as here:
        if what == "share":
            items = [f"item {n}" for n in range(7)]
            done = gathered([f"{item} by {here.rank}" for item in own_share(items)])
            return done, from_main(here.rank), largest([here.rank, -here.rank]), cores()
        if what == "gradient":
            weight = torch.tensor(3.0, requires_grad=True)
            rows = torch.arange(1.0, 8.0)[Deal(7, here).rows]
            parts = {"a": Fraction((weight * rows).square().sum(), len(rows)), "b": Fraction(rows.sum() * 0, 0)}
            means = global_means(parts)
            (means["a"].sqrt() + summed(weight * rows.sum()) ** 2 + means["b"]).backward()
            return float(means["a"].detach()), float(weight.grad / here.world)
        if here.rank == 1 and what == "bad data":
            raise BadDataError("cannot be read", hint="Restore it.", case="patient 7", path="/data/7.nii.gz")
        if here.rank == 1 and what == "stop":
            raise Stopping
        if what == "same":
            raise BadSettingError("is wrong everywhere", hint="Mend it.")
        gathered([here.rank])
        return "not reached"
    return "left"


def test_shared_work_comes_back_in_order_to_every_process():
    results = in_processes(3, calls, "share")
    expected = [f"item {n} by {n % 3}" for n in range(7)]
    assert [result[:3] for result in results] == [(expected, 0, [2.0, 0.0])] * 3
    assert all(result[3] >= 1 for result in results)


def test_gradients_of_sums_over_all_processes_are_those_of_one_process():
    """DDP's mean over the processes is taken by the test: each has its own part of the gradient of a whole."""
    weight = torch.tensor(3.0, requires_grad=True)
    rows = torch.arange(1.0, 8.0)
    mean = (weight * rows).square().mean()
    (mean.sqrt() + (weight * rows.sum()) ** 2).backward()
    results = in_processes(3, calls, "gradient")
    assert [result[0] for result in results] == pytest.approx([float(mean.detach())] * 3)
    assert sum(result[1] for result in results) == pytest.approx(float(weight.grad))


def test_an_error_of_any_process_reaches_the_main_one_with_its_number():
    main, _ = ended(start(2, calls, "bad data"))
    assert main.error.startswith("LostProcessError: ")
    for words in ("case patient 7", "process 1 of 2: cannot be read", "/data/7.nii.gz", "Restore"):
        assert words in main.error


def test_a_process_that_is_asked_to_stop_takes_the_others_along():
    assert in_processes(3, calls, "stop") == ["left"] * 3


def test_an_error_of_all_processes_is_told_by_the_main_one_only(capfd):
    results = ended(start(2, calls, "same"))
    assert all(result.error.startswith("BadSettingError: is wrong everywhere") for result in results)
    assert "is wrong everywhere" not in capfd.readouterr().err


def test_with_one_process_everything_is_an_identity():
    assert processes() == Processes(0, 1, 0, 1) and is_main()
    assert own_share([3, 1, 2]) == gathered([3, 1, 2]) == [3, 1, 2]
    assert largest([1, False]) == [1.0, 0.0] and from_main("x") == "x"
    value = torch.tensor([1.0, 2.0], requires_grad=True)
    assert summed(value) is value
    with together("cpu") as here:
        assert here.world == 1
    with together("cpu"):
        raise Stopping


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RANK": "2", "WORLD_SIZE": "2"}, "which of several processes"),
        ({"RANK": "one", "WORLD_SIZE": "2"}, "which of several processes"),
        ({"RANK": "0", "WORLD_SIZE": "3", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}, "not alike on all machines"),
        ({"RANK": "0", "WORLD_SIZE": "2", "TOPOMAE_TIMEOUT": "soon"}, "is no time"),
    ],
)
def test_an_environment_that_contradicts_itself_is_told(monkeypatch, environment, message):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadSettingError, match=message), together("cpu"):
        pass


def test_tasks_of_slurm_find_their_place(monkeypatch):
    step = {"PROCID": "5", "STEP_NUM_TASKS": "8", "LOCALID": "1", "STEP_TASKS_PER_NODE": "4(x2)", "NODEID": "1"}
    for name, value in {**step, "STEP_NODELIST": "gpu[03-04]", "JOB_ID": "123456"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    place = started_processes()
    assert place == Processes(rank=5, world=8, local_rank=1, local_world=4)
    with monkeypatch.context() as during:
        during.setattr(os, "environ", dict(os.environ))
        say_as_torchrun_would(place)
        said = {name: os.environ[name] for name in ("MASTER_ADDR", "RANK", "WORLD_SIZE", "LOCAL_RANK", "GROUP_RANK")}
    assert said == {"MASTER_ADDR": "gpu03", "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "GROUP_RANK": "1"}
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")  # a batch script that starts one process by itself
    assert started_processes() == Processes()


def test_devices_that_contradict_torchrun_are_refused(monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadSettingError, match="--devices 4, but 2 processes"), with_others(4):
        pass
    with with_others(2):  # one of those that --devices 2 itself has started
        pass


@given(batch_size=st.integers(1, 40), world=st.integers(1, 12), halved=st.booleans())
def test_every_sample_is_dealt_to_exactly_one_process_in_exactly_one_go(batch_size, world, halved):
    if batch_size < world:
        with pytest.raises(BadSettingError, match="batch_size"):
            Deal(batch_size, Processes(0, world, 0, world))
        return
    deals = [Deal(batch_size, Processes(rank, world, rank, world)) for rank in range(world)]
    assert [row for deal in deals for row in deal.rows] == list(range(batch_size))
    assert max(len(deal.rows) for deal in deals) - min(len(deal.rows) for deal in deals) <= 1
    goes = list(zip(*(deal.portions(halved=halved) for deal in deals), strict=True))
    assert sum(go[0].weight for go in goes) == pytest.approx(1.0)
    for go in goes:
        counts = [portion.rows.stop - portion.rows.start for portion in go]
        assert [portion.first for portion in go] == [sum(counts[:rank]) for rank in range(world)]
        assert {portion.total for portion in go} == {sum(counts)}
    for rank, deal in enumerate(deals):
        local = [row for go in goes for row in range(go[rank].rows.start, go[rank].rows.stop)]
        assert local == list(range(len(deal.rows)))
    assert not halved or all(deal.can_be_halved == (batch_size // world > 1) for deal in deals)


def test_more_processes_than_samples_are_refused_before_any_work():
    with pytest.raises(BadSettingError, match=r"4 processes share the batch_size of 2"):
        Deal(2, Processes(0, 4, 0, 4))


def test_dropout_of_some_rows_is_that_of_the_whole_batch():
    from topomae.networks.shared_dropout import SharedDropout3d, tell_rows

    layer, features = SharedDropout3d(0.4), torch.randn(6, 16, 2, 3, 2)
    torch.manual_seed(5)
    whole, after = torch.nn.Dropout3d(0.4)(features), torch.get_rng_state()
    for first, count in ((0, 6), (0, 2), (2, 4)):
        tell_rows(layer, first, count, 6)
        torch.manual_seed(5)
        assert torch.equal(layer(features[first : first + count]), whole[first : first + count])
        assert torch.equal(torch.get_rng_state(), after)


@pytest.mark.parametrize(("classes", "levels"), [(2, 3), (4, 3), (3, 1)])
def test_the_segmentation_loss_is_monais(classes, levels):
    from monai.losses import DeepSupervisionLoss, DiceCELoss

    from topomae.training.segmentation_loss import DeepDiceCrossEntropy

    torch.manual_seed(classes)
    weights = (4 / 7, 2 / 7, 1 / 7)
    dice = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    oracle, ours = DeepSupervisionLoss(dice, weights=list(weights)), DeepDiceCrossEntropy(weights)
    logits = [torch.randn(2, classes, 12 >> n, 16 >> n, 8 >> n, requires_grad=True) for n in range(levels)]
    label = torch.randint(0, classes, (2, 1, 12, 16, 8))
    expected, found = oracle(logits, label.float()), ours(logits, label)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, logits), torch.autograd.grad(expected, logits))


def test_a_plan_for_several_devices_has_a_batch_for_each():
    import numpy as np

    from topomae.data.plan_rules import Fingerprint, choose_batch

    shape = {"shapes": np.full((1, 3), 32.0), "spacings": np.ones((1, 3)), "size": "small", "device": "cuda"}
    one, _ = choose_batch((32, 32, 32), Fingerprint(**shape, memory_gb=12.0))
    four, reason = choose_batch((32, 32, 32), Fingerprint(**shape, memory_gb=12.0, devices=4))
    assert four == 4 * one and "4 devices" in reason
