"""One writer per folder, and the dead do not keep others out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress

import pytest
from run_stand_ins import fast_processes

from topomae.errors import RunError
from topomae.runs import locks
from topomae.runs.locks import Lock, Owner, process_started, read_owner

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX signals and processes")


@pytest.fixture(scope="module")
def processes():
    return fast_processes()


def claim(path, start, claimed):
    start.wait()
    with suppress(RunError):
        Lock(path)
        claimed.put(os.getpid())
    start.wait()  # all stay alive until all have tried


def test_of_many_that_find_the_same_dead_owner_one_gets_the_lock(processes, tmp_path):
    for attempt in range(3):
        path = tmp_path / f"lock{attempt}"
        path.write_text(json.dumps({"pid": 2**30, "started": "long ago", "host": Owner.me().host, "token": "x"}))
        start, claimed = processes.Barrier(6), processes.SimpleQueue()
        children = [processes.Process(target=claim, args=(path, start, claimed)) for _ in range(6)]
        for child in children:
            child.start()
        for child in children:
            child.join()
        winner = claimed.get()
        assert claimed.empty()
        assert read_owner(path).pid == winner


@posix
def test_a_lock_is_stale_when_its_process_is_dead_or_another_one(tmp_path):
    sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    path, me = tmp_path / "lock", Owner.me()

    def left_by(pid, started, host=me.host):
        path.write_text(json.dumps({"pid": pid, "started": started, "host": host, "token": "x"}))

    left_by(sleeper.pid, process_started(sleeper.pid))
    with pytest.raises(RunError, match=f"in use by process {sleeper.pid}"):
        Lock(path)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # dead, but not yet taken notice of
    Lock(path).release()
    left_by(sleeper.pid, "whenever")
    sleeper.communicate()
    Lock(path).release()
    left_by(me.pid, "before the last restart")
    Lock(path).release()
    path.write_bytes(b'{"pid": 1')
    Lock(path).release()
    left_by(1, "whenever", host="elsewhere")
    with pytest.raises(RunError, match=r"process 1 on elsewhere.*delete the file lock"):
        Lock(path)


@posix
def test_the_portable_way_to_see_a_process_agrees_with_the_one_of_linux():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = locks._started_by_ps(child.pid)
    if started == "":
        pytest.skip("no ps here")
    assert started == locks._started_by_ps(child.pid) and process_started(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert locks._started_by_ps(child.pid) is None and process_started(child.pid) is None
    child.communicate()
    assert locks._started_by_ps(child.pid) is None and process_started(child.pid) is None
