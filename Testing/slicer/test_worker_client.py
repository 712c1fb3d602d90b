"""The client of the warm worker, against stand-ins that do what a worker should not."""

import os
import re
import time
from pathlib import Path

import numpy as np
import pytest

from harness import pump
from stand_in_workers import PATIENT, POLITE, isAlive, launcher, standInWorker
from TopoMAELib.interpreter import FROM_SLICER
from TopoMAELib.worker_client import WorkerCancelled, WorkerClient, WorkerError

KILLED = "(signal 9|exit code 1)"  # the latter behind the launcher of Slicer's own Python


@pytest.fixture
def makeClient(tmp_path):
    """Makes clients of stand-ins; their workers are ended after the test."""
    clients = []

    def make(script, startSeconds=20.0, cancelSeconds=0.5, **options):
        folder = tmp_path / f"engine{len(clients)}"
        client = WorkerClient(standInWorker(folder, script, **options), startSeconds, cancelSeconds)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.stop()


def test_a_request_is_answered_with_progress_and_warnings_on_the_way(makeClient):
    progress, warnings, finished = [], [], []
    request = makeClient(POLITE).request(
        "segment",
        {"given": [np.float32(0.5), Path("/some/where"), np.eye(2)]},
        onProgress=lambda *values: progress.append(values),
        onWarning=warnings.append,
        onFinished=finished.append,
    )
    assert request.state == "running" and not finished
    assert pump(lambda: request.state != "running", 20)
    assert request.state == "done" and request.error is None
    assert request.result["given"] == [0.5, "/some/where", [[1, 0], [0, 1]]]
    assert progress == [(0.5, 1.5, "work")]
    assert warnings == ["only a stand-in"]
    assert finished == [request]


def test_the_second_request_is_served_by_the_same_process(makeClient):
    client = makeClient(POLITE)
    assert not client.running
    first = client.request("a", {}).wait(20)
    assert client.running
    assert client.request("b", {}).wait(20)["pid"] == first["pid"]


def test_several_requests_at_once_are_all_answered(makeClient):
    client = makeClient(POLITE)
    requests = [client.request("a", {"given": number}) for number in range(50)]
    assert [request.wait(20)["given"] for request in reversed(requests)] == list(reversed(range(50)))


def test_a_callback_may_wait_for_another_request(makeClient):
    client, answers = makeClient(POLITE), []

    def ask(*_values):
        answers.append(client.request("inner", {"given": "inner"}).wait(20)["given"])

    assert client.request("outer", {"given": "outer"}, onProgress=ask).wait(20)["given"] == "outer"
    assert answers == ["inner"]


def test_waiting_works_within_a_running_event_loop_and_lets_the_application_live(makeClient):
    import qt

    client, answers, ticks = makeClient(PATIENT), [], []
    slow = client.request("slow", {})
    loop, clock = qt.QEventLoop(), qt.QTimer()

    def tick():
        ticks.append(slow.state)
        if len(ticks) == 5:
            slow.cancel()

    def ask():
        with pytest.raises(WorkerCancelled):
            slow.wait(20)
        answers.append(client.request("other", {}).wait(20))
        loop.quit()

    clock.timeout.connect(tick)
    clock.start(50)
    qt.QTimer.singleShot(10, ask)
    loop.exec_()
    clock.stop()
    assert len(answers) == 1 and len(ticks) >= 5


def test_a_callback_that_fails_does_not_stop_the_client(makeClient, caplog):
    client = makeClient(POLITE)
    assert client.request("a", {}, onProgress=lambda *_: 1 / 0, onFinished=lambda _: [][0]).wait(20)
    assert client.request("b", {}).wait(20)
    assert "ZeroDivisionError" in caplog.text and "IndexError" in caplog.text


def test_an_error_of_the_engine_comes_with_its_hint_and_the_worker_goes_on(makeClient):
    client = makeClient("""
        ready()
        for request in requests():
            answer("error", request["id"], error="BadDataError", message="It is empty.", hint="Choose another.")
    """)
    for _ in range(2):
        with pytest.raises(WorkerError, match=r"It is empty\. Choose another\.") as caught:
            client.request("segment", {}).wait(20)
        assert (caught.value.kind, caught.value.hint) == ("BadDataError", "Choose another.")
    assert client.running


def test_a_crashed_worker_is_reported_and_started_again_on_the_next_click(makeClient, tmp_path):
    mark = tmp_path / "crashed"
    client = makeClient(f"""
        ready()
        for request in requests():
            if not os.path.exists({str(mark)!r}):
                open({str(mark)!r}, "w").close()
                print("CUDA error: an illegal memory access", file=sys.stderr, flush=True)
                os.kill(os.getpid(), 9)
            answer("result", request["id"], fine=True)
    """)
    both = [client.request("segment", {}), client.request("betti", {})]
    assert pump(lambda: all(request.state == "failed" for request in both), 20)
    for request in both:
        assert re.search(rf'crashed at "segment" \({KILLED}\)', str(request.error))
        assert "CUDA error: an illegal memory access" in str(request.error)
        assert "The next request starts a new worker" in str(request.error)
    assert not client.running and client.recentLog[0] == "CUDA error: an illegal memory access"
    assert client.request("segment", {}).wait(20) == {"fine": True}


def test_a_worker_that_exits_with_a_code_is_reported_with_it(makeClient):
    client = makeClient("ready()\nnext(requests())\nsys.exit('out of things to say')")
    with pytest.raises(WorkerError, match=r'"segment" without an answer \(exit code 1\).*out of things to say'):
        client.request("segment", {}).wait(20)


def test_half_a_line_and_then_death_is_a_failure_not_an_answer(makeClient):
    client = makeClient("""
        ready()
        for request in requests():
            sys.stdout.write('{"id": %d, "event": "res' % request["id"])
            sys.stdout.flush()
            os._exit(7)
    """)
    with pytest.raises(WorkerError, match="exit code 7"):
        client.request("segment", {}).wait(20)


@pytest.mark.parametrize(
    "line", ["Traceback (most recent call last):", "{'event': 'result'}", "[1, 2]", '{"id": 1, "event": "hooray"}']
)
def test_nonsense_for_an_answer_fails_the_request_and_ends_the_worker(makeClient, line):
    client = makeClient(f"ready()\nfor request in requests():\n    print({line!r}, flush=True)\n    time.sleep(60)")
    with pytest.raises(WorkerError, match="no answer") as caught:
        client.request("segment", {}).wait(20)
    assert line in caught.value.message
    assert not client.running


def test_a_worker_that_could_not_read_a_request_fails_what_waits(makeClient):
    client = makeClient("""
        ready()
        for request in requests():
            answer("error", None, error="BadRequest", message="The line is too long.", hint="")
    """)
    with pytest.raises(WorkerError, match="too long"):
        client.request("segment", {}).wait(20)


def test_what_is_printed_before_the_worker_is_ready_is_log_and_words_in_any_encoding_are_kept(makeClient):
    client = makeClient("""
        print("Loading libraries ...")
        sys.stdout.flush()
        sys.stderr.buffer.write("naïve ".encode() + b"\\xff\\r\\n")
        sys.stderr.flush()
        ready()
        for request in requests():
            # A letter of two bytes may be cut by the border of two chunks.
            line = json.dumps({"event": "result", "id": request["id"], "name": "Größe"}, ensure_ascii=False).encode()
            for byte in line + b"\\n":
                sys.stdout.buffer.write(bytes([byte]))
                sys.stdout.buffer.flush()
    """)
    assert client.request("a", {}).wait(20) == {"name": "Größe"}
    assert "Loading libraries ..." in client.recentLog
    assert "naïve \ufffd" in client.recentLog


def test_megabytes_of_prints_neither_block_the_worker_nor_fill_the_memory(makeClient):
    client = makeClient("""
        ready()
        for request in requests():
            for number in range(20000):
                print("x" * 500, number, file=sys.stderr)
            print("y" * 5_000_000, file=sys.stderr, flush=True)
            answer("result", request["id"], filler="z" * 5_000_000)
    """)
    assert len(client.request("a", {}).wait(60)["filler"]) == 5_000_000
    assert pump(lambda: client.recentLog[-1].startswith("yyy"), 20)
    assert len(client.recentLog) <= 200 and sum(map(len, client.recentLog)) < 200_000


def test_an_interpreter_that_is_missing_is_named(makeClient, tmp_path):
    client = makeClient(POLITE, program=tmp_path / "no such python")
    finished = []
    request = client.request("segment", {}, onFinished=finished.append)
    assert not finished, "the caller has not even got the request yet"
    with pytest.raises(WorkerError, match=r"no such python could not be started.*Choose another Python interpreter"):
        request.wait(20)
    assert finished == [request] and not client.running


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("sys.exit(sys.executable + ': No module named topomae')", "cannot find the engine"),
        ("print('licence expired', file=sys.stderr)\nsys.exit(3)", r"ended while it started \(exit code 3\).*expired"),
        ("os.abort()", r"crashed while it started \((signal 6|exit code 1)\)"),
    ],
)
def test_a_worker_that_dies_at_its_start_is_reported_and_tried_again_on_the_next_click(makeClient, script, said):
    client = makeClient(script)
    for _ in range(2):
        with pytest.raises(WorkerError, match=said):
            client.request("segment", {}).wait(20)
        assert not client.running


@pytest.mark.parametrize(
    ("origin", "what"), [(FROM_SLICER, "Press the button Install"), ("setting", "-m pip install")]
)
def test_a_package_that_is_missing_is_named_with_what_to_do(makeClient, origin, what):
    client = makeClient("import torch_of_dreams.nn", origin=origin)
    with pytest.raises(WorkerError, match='package "torch_of_dreams" is missing') as caught:
        client.request("segment", {}).wait(20)
    assert what in caught.value.hint


def test_a_worker_of_another_protocol_is_refused(makeClient):
    client = makeClient("ready(protocol=99)\ntime.sleep(60)")
    with pytest.raises(WorkerError, match=r"protocol 99, not 1.*Install the extension"):
        client.request("segment", {}).wait(20)
    assert not client.running


def test_a_worker_that_never_gets_ready_is_given_up(makeClient):
    client = makeClient(
        "print('looking for a licence', file=sys.stderr, flush=True)\ntime.sleep(60)", startSeconds=1.5
    )
    with pytest.raises(WorkerError, match=r"did not start within 2 seconds.*looking for a licence"):
        client.request("segment", {}).wait(20)
    assert not client.running


def test_waiting_can_be_given_up_without_losing_the_request(makeClient):
    client = makeClient(PATIENT)
    request = client.request("slow", {})
    with pytest.raises(WorkerError, match="not answered within"):
        request.wait(0.5)
    assert request.state == "running"


def test_a_cancelled_request_ends_as_cancelled_and_the_next_is_done(makeClient):
    client, finished = makeClient(PATIENT), []
    slow = client.request("slow", {}, onFinished=finished.append)
    pid = client.request("other", {}).wait(20)["pid"]
    slow.cancel()
    slow.cancel()
    with pytest.raises(WorkerCancelled):
        slow.wait(20)
    assert slow.state == "cancelled" and finished == [slow]
    assert client.request("other", {}).wait(20)["pid"] == pid, "the worker was not ended for that"


def test_a_request_that_was_not_sent_yet_is_cancelled_at_once(makeClient):
    request = makeClient(PATIENT).request("slow", {})
    request.cancel()
    assert request.state == "cancelled"


def test_a_worker_that_does_not_obey_is_ended_and_what_else_was_asked_is_done_by_a_new_one(makeClient, tmp_path):
    mark = tmp_path / "first"
    client = makeClient(f"""
        ready()
        first = not os.path.exists({str(mark)!r})
        if first:
            open({str(mark)!r}, "w").write(str(os.getpid()))
        for request in requests():
            if first:
                time.sleep(60)
            answer("result", request["id"], pid=os.getpid())
    """)
    stuck, other = client.request("stuck", {}), client.request("other", {})
    assert pump(lambda: mark.exists() and mark.read_text(), 20)
    time.sleep(0.1)
    pump()
    stuck.cancel()
    assert other.wait(20)["pid"] != int(mark.read_text())
    assert stuck.state == "cancelled"
    assert pump(lambda: not isAlive(int(mark.read_text())), 5)


@pytest.mark.skipif(os.name == "nt", reason="the stand-in launcher is a script with a shebang")
@pytest.mark.parametrize("wayToEnd", ["cancel", "crash"])
def test_behind_a_launcher_it_is_the_worker_that_is_ended(makeClient, tmp_path, wayToEnd):
    client = makeClient(
        """
        ready()
        for request in requests():
            answer("progress", request["id"], phase=str(os.getpid()))
            if request["do"] == "crash":
                print("a thing broke", file=sys.stderr, flush=True)
                os.abort()
            time.sleep(60)
        """,
        program=launcher(tmp_path),
    )
    phases = []
    request = client.request(wayToEnd, {}, onProgress=lambda fraction, left, phase: phases.append(int(phase)))
    assert pump(lambda: phases, 20)
    if wayToEnd == "cancel":
        request.cancel()
        assert pump(lambda: request.state == "cancelled", 5)
    else:
        with pytest.raises(WorkerError, match=r'crashed at "crash".*a thing broke'):
            request.wait(20)
    assert pump(lambda: not isAlive(phases[0]), 5), "the launcher's child must not be left behind"


def test_stopping_ends_the_worker_and_cancels_what_it_was_asked_for(makeClient):
    client = makeClient(PATIENT)
    pid = client.request("a", {}).wait(20)["pid"]
    slow = client.request("slow", {})
    client.stop()
    assert slow.state == "cancelled" and not client.running
    assert not isAlive(pid)
    client.startUp()
    assert client.running
    assert client.request("a", {}).wait(20)["pid"] != pid


def test_a_worker_that_does_not_quit_is_ended_all_the_same(makeClient):
    client = makeClient(
        "ready()\nfor request in requests(): answer('result', request['id'], pid=os.getpid())\ntime.sleep(60)"
    )
    pid = client.request("a", {}).wait(20)["pid"]
    client.stop(seconds=0.3)
    assert not isAlive(pid)


def test_another_interpreter_in_the_settings_is_used_for_the_next_request(tmp_path, monkeypatch):
    first, second = (standInWorker(tmp_path / name, POLITE) for name in "ab")
    wanted = [first]
    # Not by name: tests that reload the modules leave another TopoMAELib in its place.
    monkeypatch.setitem(WorkerClient.__init__.__globals__, "findInterpreter", lambda: wanted[0])
    client = WorkerClient()
    try:
        pid = client.request("a", {}).wait(20)["pid"]
        wanted[0] = second
        assert client.request("a", {}).wait(20)["pid"] != pid
    finally:
        client.stop()


def test_arguments_that_cannot_be_sent_are_refused_before_anything_is_started(makeClient):
    client = makeClient(POLITE)
    with pytest.raises(TypeError, match="object cannot be sent"):
        client.request("a", {"given": object()})
    with pytest.raises(ValueError):
        client.request("a", {"given": float("nan")})
    assert not client.running
