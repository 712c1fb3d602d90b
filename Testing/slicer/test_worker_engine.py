"""The engine itself behind the client, and the files that go between them."""

from pathlib import Path

import numpy as np
import pytest

from harness import pump
from stand_in_workers import isAlive
from TopoMAELib.exchange import Exchange
from TopoMAELib.interpreter import findInterpreter
from TopoMAELib.worker_client import WorkerClient, WorkerError


def test_an_exchange_takes_volumes_there_and_back_and_leaves_nothing(slicer):
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4).transpose(2, 1, 0)
    affine = np.diag([1.0, -2.0, 3.0, 1.0])
    with Exchange() as exchange:
        volume = exchange.saveVolume(array, affine)
        assert exchange.folder.is_relative_to(Path(slicer.app.temporaryPath).resolve())
        assert volume["affine"] == affine.tolist()
        np.testing.assert_array_equal(exchange.load(volume["array"]), array)
        np.savez(exchange.folder / "several.npz", a=array, b=affine)
        assert set(exchange.load(exchange.folder / "several.npz")) == {"a", "b"}
    assert not exchange.folder.exists()


def test_an_exchange_loads_neither_from_elsewhere_nor_pickles_nor_halves(tmp_path):
    np.save(tmp_path / "elsewhere.npy", np.zeros(3))
    with Exchange() as exchange:
        np.save(exchange.folder / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
        (exchange.folder / "cut.npy").write_bytes((tmp_path / "elsewhere.npy").read_bytes()[:-5])
        with pytest.raises(ValueError, match="outside"):
            exchange.load(tmp_path / "elsewhere.npy")
        for name in ("pickled.npy", "cut.npy", "missing.npy"):
            with pytest.raises(ValueError, match=f"{name} cannot be read"):
                exchange.load(exchange.folder / name)
        with pytest.raises(ValueError, match="three axes"):
            exchange.saveVolume(np.zeros((2, 2)), np.eye(4))
    folder = Exchange().folder
    assert not folder.exists(), "an exchange that nobody holds is removed"


@pytest.fixture(scope="module")
def realClient():
    """A client of the engine itself."""
    if not (Path(findInterpreter().source) / "topomae" / "worker").is_dir():
        pytest.skip("the engine is not there")
    client = WorkerClient()
    yield client
    client.stop()


def test_the_engine_counts_the_hole_of_a_ring(realClient):
    ring = np.zeros((8, 8, 5), np.uint8)
    ring[1:7, 1:7, 2] = 1
    ring[3:5, 3:5, 2] = 0
    with Exchange() as exchange:
        arguments = {"labels": exchange.saveVolume(ring, np.eye(4)), "output": exchange.folder}
        label = realClient.request("betti", arguments).wait(120)["labels"]["1"]
    assert (label["components"], label["tunnels"], label["cavities"]) == (1, 1, 0)


def test_the_engine_refuses_a_wrong_request_and_goes_on(realClient):
    with pytest.raises(WorkerError) as caught:
        realClient.request("betti", {"nonsense": 1}).wait(120)
    assert caught.value.kind == "BadRequest"
    with pytest.raises(WorkerError) as caught:
        realClient.request("make coffee", {}).wait(120)
    assert "make coffee" in caught.value.message
    assert realClient.running


def test_the_engine_is_ended_with_its_client_and_by_itself_when_its_input_ends(realClient):
    realClient.startUp()
    assert realClient._worker is not None and pump(lambda: realClient._worker.ready, 60)
    pid = realClient._worker.pid
    realClient._worker.process.closeInput()
    assert pump(lambda: not realClient.running, 10), "the worker ends when Slicer dies"
    assert not isAlive(pid)
