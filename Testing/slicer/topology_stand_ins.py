"""Stand-ins for the tests of the topology and key-point panels: a client whose requests end when the test says so."""

import sys
from pathlib import Path

import numpy as np

# The application has the module's folder on its path once the module is loaded.
_MODULE = str(Path(__file__).resolve().parents[2] / "TopoMAESegment")
if _MODULE not in sys.path:
    sys.path.append(_MODULE)


class Context:
    """What the segment panel tells the other panels."""

    def __init__(self, volumes=(), segmentation=None, probabilities=None, card=None):
        self.volumes, self.segmentation, self.probabilities, self.card = (
            list(volumes),
            segmentation,
            probabilities,
            card,
        )
        self.changed = []

    def volumeNodes(self):
        return list(self.volumes)

    def segmentationNode(self):
        return self.segmentation

    def modelCard(self):
        return self.card

    def probabilityNode(self, segmentID):
        return (self.probabilities or {}).get(segmentID)


class Failure(RuntimeError):
    """As WorkerError."""


class Request:
    def __init__(self, do, arguments, onProgress, onFinished):
        self.do, self.arguments, self.state, self.result, self.error = do, arguments, "running", None, None
        self.onProgress, self._onFinished = onProgress, onFinished

    def cancel(self):
        self.end("cancelled")

    def answer(self, **result):
        self.end("done", result)

    def fail(self, message):
        self.error = Failure(message)
        self.end("failed")

    def end(self, state, result=None):
        if self.state == "running":
            self.state, self.result = state, result
            self._onFinished(self)

    def wait(self, seconds=None):
        raise Failure(f"{self.do} was not answered")


class Client:
    """Keeps requests; `answers` maps a name to a function that answers such a request when it is waited for.

    Attributes:
        requests: all that were made.
    """

    def __init__(self):
        self.requests = []

    def request(self, do, arguments, onProgress=None, onWarning=None, onFinished=None):
        self.requests.append(Request(do, arguments, onProgress, onFinished))
        return self.requests[-1]

    @property
    def last(self):
        return self.requests[-1]

    def of(self, do):
        """The last request of a kind."""
        return [request for request in self.requests if request.do == do][-1]


def sent(volume):
    """Array and affine of a volume that a request names."""
    return np.load(volume["array"]), np.array(volume["affine"])


FEATURES = (  # dim, index, birth, death, birth voxel, death voxel
    (1, 4, 10.0, 90.0, (2, 3, 4), (5, 6, 7)),
    (0, 9, 5.0, 60.0, (1, 1, 1), (3, 3, 3)),
    (1, 2, 20.0, 40.0, (0, 2, 0), (4, 4, 1)),
    (2, 0, 30.0, 35.0, (7, 7, 7), (6, 5, 4)),
)


def diagramAnswer(folder, affine, handle="d1", superlevel=False, features=FEATURES):
    """What the worker answers: a diagram, its arrays in a file."""
    dim, index, birth, death, birthVoxel, deathVoxel = (np.array(column) for column in zip(*features, strict=True))
    path = Path(folder) / f"{handle}.npz"

    def positions(voxels):
        return voxels @ affine[:3, :3].T + affine[:3, 3]

    np.savez(
        path,
        dim=dim.astype(np.int8),
        index=index.astype(np.int32),
        birth=death if superlevel else birth,
        death=birth if superlevel else death,
        birth_voxel=birthVoxel,
        death_voxel=deathVoxel,
        birth_position=positions(birthVoxel),
        death_position=positions(deathVoxel),
    )
    essential = np.array([6, 1, 2])
    return {
        "diagram": str(path),
        "handle": handle,
        "features": {"0": 12, "1": 30, "2": 5},
        "shown": len(features),
        "essential": {
            "value": 100.0 if superlevel else 1.0,
            "voxel": essential.tolist(),
            "position": positions(essential).tolist(),
        },
        "superlevel": superlevel,
    }


def answerDiagram(request, **options):
    """Answer a request for a diagram."""
    _, affine = sent(request.arguments["image"])
    superlevel = request.arguments["superlevel"]
    request.answer(**diagramAnswer(request.arguments["output"], affine, superlevel=superlevel, **options))


def answerReconstruction(request, shape=(6, 6, 6)):
    """Answer a request for a reconstruction: a crop around the centre with voxels of 1 mm."""
    folder = Path(request.arguments["output"])
    affine = np.eye(4)
    affine[:3, 3] = np.array(request.arguments["center"]) - (np.array(shape) - 1) / 2
    images = {}
    for number, name in enumerate(("input", "masked", "vit", "unetrpp")):
        images[name] = str(folder / f"{name}.npy")
        np.save(images[name], np.random.default_rng(number).normal(size=shape).astype(np.float32))
    request.answer(
        **images,
        affine=affine.tolist(),
        size_mm=[float(size) for size in shape],
        mse={"vit": 0.25, "unetrpp": 0.5},
        diagrams={
            name: diagramAnswer(folder, affine, handle=name, features=FEATURES[: 4 - number])
            for number, name in enumerate(("input", "vit", "unetrpp"))
        },
        wasserstein={
            "vit": {"0": 1.0, "1": 2.0, "2": 2.0, "total": 3.0},
            "unetrpp": {"0": 2.0, "1": 4.0, "2": 4.0, "total": 6.0},
        },
    )


KEY_POINT_NAMES = ("centre", "LPI", "LPS", "LAI", "LAS", "RPI", "RPS", "RAI", "RAS")


def answerKeyPoints(request, size=(20.0, 24.0, 16.0), center=None):
    """Answer a request for key points: the ViT is 3 mm off along R, the other network 1 mm along S."""
    center = np.array(request.arguments["center"] if center is None else center)
    corners = np.array([[(n >> bit & 1) - 0.5 for bit in (2, 1, 0)] for n in range(8)]) * size
    true = np.vstack([center, center + corners])
    request.answer(
        names=list(KEY_POINT_NAMES),
        true=true.tolist(),
        vit=(true + np.array([3.0, 0, 0])).tolist(),
        unetrpp=(true + np.array([0, 0, 1.0])).tolist(),
        error_mm={"vit": [3.0] * 9, "unetrpp": [1.0] * 9},
        informative=[True, True, False],
        crop={"center": center.tolist(), "size_mm": list(size), "affine": np.eye(4).tolist()},
    )
