"""Checkpoints notice damage, hold no code, and survive a disk that is full."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
import torch
from run_stand_ins import Recorder, open_run

from topomae.errors import RunError
from topomae.events import Events
from topomae.files import atomic_path, write_json_atomic
from topomae.runs import checkpoints


@pytest.fixture
def a_folder(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def recorder():
    return Recorder()


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_in_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [flip_a_byte, cut_in_half])
def test_a_damaged_checkpoint_is_said_to_be_so_and_the_one_before_is_used(a_folder, recorder, damage):
    with open_run(a_folder) as run:
        for step in (1, 2, 3):
            run.log_metrics(step, "train", {"loss": 1.0})
            newest = run.save_checkpoint({"step": step, "weights": torch.arange(100.0)}, step=step)
        run._stop.honoured = True
    assert len(list(newest.parent.iterdir())) == 2
    damage(newest)
    with open_run(a_folder, events=Events(recorder)) as run:
        assert run.load_checkpoint()["step"] == 2
        run._stop.honoured = True
    assert newest.name in recorder.of("warning")[0]["message"]
    assert (a_folder / "metrics.csv").read_text().splitlines()[-1].startswith("2,")

    damage(run.checkpoints.of("last")[0].path)
    for _ in range(2):  # asked again, it must not begin from nothing behind the user's back
        with pytest.raises(RunError, match="damaged"), open_run(a_folder) as run:
            run.load_checkpoint()


def test_code_hidden_in_a_checkpoint_is_not_run(a_folder, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    with open_run(a_folder) as run:
        path = run.save_checkpoint({"step": 1}, step=1)
        torch.save({"step": Evil()}, path)
        checksum = checkpoints.hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        path.rename(path.with_name(f"last-00000009-{checksum}.pt"))
        with pytest.raises(RunError, match="cannot read"):
            run.load_checkpoint()
    assert not (tmp_path / "evil").exists()


def test_a_state_that_could_not_be_loaded_again_is_refused_by_name(a_folder):
    with open_run(a_folder) as run, pytest.raises(TypeError, match=r"state\['a'\]\[1\] is a float64"):
        run.save_checkpoint({"a": [1, np.float64(2)]}, step=1)
    module, optimizer = torch.nn.Linear(2, 2), None
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 2)).sum().backward(), optimizer.step()
    state = {"module": module.state_dict(), "optimizer": optimizer.state_dict()}
    with open_run(a_folder, extend=True) as run:
        run.save_checkpoint(state, step=1)
        torch.testing.assert_close(run.load_checkpoint()["optimizer"], state["optimizer"])


def test_a_full_disk_is_told_and_leaves_the_checkpoint_before(a_folder, monkeypatch):
    class FullDisk(checkpoints._HashingWriter):
        def write(self, data):
            self.error = OSError(errno.ENOSPC, "No space left on device")
            raise self.error

    with open_run(a_folder) as run:
        run.save_checkpoint({"step": 1}, step=1)
        with (
            monkeypatch.context() as patched,
            pytest.raises(RunError, match=r"No space left.*Free some space"),
        ):
            patched.setattr(checkpoints, "_HashingWriter", FullDisk)
            run.save_checkpoint({"step": 2}, step=2)
        assert run.load_checkpoint() == {"step": 1}
    assert not list(a_folder.rglob(".tmp-*"))


def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path):
    target = tmp_path / "case.01.nii.gz"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(target) as temporary:
        assert temporary.name.endswith(".nii.gz")
        temporary.write_text("new")
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match="JSON"):
        write_json_atomic(target, {"loss": float("nan")})
    assert [(path, path.read_text()) for path in tmp_path.iterdir()] == [(target, "old")]


def test_a_place_that_cannot_be_written_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cannot write: .*file.run\)\. Choose a folder you may write to\."):
        open_run(tmp_path / "file" / "run")
    with pytest.raises(RunError, match="is a file, not a run folder"):
        open_run(tmp_path / "file")
