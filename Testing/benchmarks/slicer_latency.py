"""How long a click on "Segment with TopoMAE" takes: the first, later ones, and the bare inference in them.

    python Testing/benchmarks/slicer_latency.py --model RUN --image FILE --output results/slicer_latency

Opens the module on the test harness, with the real worker. A click lasts until the segmentation is in the scene;
drawing the views does not count. In turn with the later clicks the same volume goes through the same network in a
process that does nothing else: no scene, no worker, no files. Bare inference is what `topomae segment` does between
reading and writing: preprocessing, network, labels on the volume's own voxels. Written to the output folder, one pair
of files for each image: NAME.json (every time), NAME.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = 1800  # for one click
RATIO, ALLOWANCE = 1.15, 0.3  # goal: a later click takes at most RATIO times the bare inference and ALLOWANCE seconds


def main() -> None:
    """Measure, and write the results."""
    arguments = parsedArguments()
    if arguments.bare:
        serveBare(arguments.model, arguments.image, arguments.device)
        return
    os.environ.setdefault("TOPOMAE_PYTHON", sys.executable)
    measured = measure(arguments)
    name = arguments.image.name.split(".")[0]
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / f"{name}.json").write_text(json.dumps(measured, indent=1), encoding="utf-8")
    text = table(measured)
    (arguments.output / f"{name}.md").write_text(text, encoding="utf-8")
    print(text)


def parsedArguments() -> argparse.Namespace:
    """What the user asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="finished fine-tuning run, or model folder")
    parser.add_argument("--image", type=Path, required=True, help="volume file")
    parser.add_argument("--output", type=Path, default=Path("results/slicer_latency"), help="folder for results")
    parser.add_argument("--clicks", type=int, default=10, help="clicks after the first")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="where to compute")
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(arguments: argparse.Namespace) -> dict:
    """Click; all times in seconds."""
    sys.path[:0] = [str(REPOSITORY / "Testing" / "slicer"), str(REPOSITORY / "TopoMAESegment")]
    import harness

    slicer = harness.start()
    from TopoMAELib.model_folders import ModelList
    from TopoMAELib.worker_client import sharedWorkerClient, stopSharedWorker

    ModelList().add(arguments.model)
    volume = slicer.util.loadVolume(str(arguments.image), {})
    answers = answersOf(sharedWorkerClient())
    began = time.perf_counter()
    widget = harness.load("TopoMAESegment")
    widget.content.parameters.device = arguments.device
    if not harness.pump(lambda: widget.ui.segmentButton.enabled, SECONDS):
        sys.exit(widget.ui.statusLabel.text)
    opened = time.perf_counter() - began
    try:
        clicks, bare = [], []
        clicks.append(click(harness, widget, answers))
        with bareInference(arguments) as run:
            run()  # warm
            for _number in range(arguments.clicks):
                clicks.append(click(harness, widget, answers))
                bare.append(run())
    finally:
        harness.unload("TopoMAESegment")
        stopSharedWorker()
    return {
        "image": arguments.image.name,
        "voxels": list(volume.GetImageData().GetDimensions()),
        "device": answers[-1].result["device"],
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", ""),
        "load average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "machine": platform.platform(),
        "module ready": opened,
        "clicks": clicks,
        "bare": bare,
    }


def click(harness: object, widget: object, answers: list) -> dict[str, float]:
    """Press the button and wait for the segmentation.

    Returns: "click", and the parts that the worker tells: "load" and "inference".
    """
    began = time.perf_counter()
    widget.ui.segmentButton.click()
    if not harness.pump(lambda: not widget.content.segmentPanel.running, SECONDS):
        sys.exit(f"There was no answer within {SECONDS} s.")
    taken = time.perf_counter() - began
    if answers[-1].state != "done":
        sys.exit(f"The click failed: {widget.ui.statusLabel.text}")
    return {"click": taken, **answers[-1].result["seconds"]}


def answersOf(client: object) -> list:
    """A list that receives every request that is made of a client."""
    requests, ask = [], client.request

    def request(*arguments, **callbacks):
        requests.append(ask(*arguments, **callbacks))
        return requests[-1]

    client.request = request
    return requests


@contextmanager
def bareInference(arguments: argparse.Namespace) -> Iterator[Callable[[], float]]:
    """Start a process that has the model and the volume in memory.

    Yields: a function that has the volume segmented there and tells the seconds that took.
    """
    options = ["--model", str(arguments.model), "--image", str(arguments.image), "--device", arguments.device]
    command = [os.environ["TOPOMAE_PYTHON"], str(Path(__file__).resolve()), "--bare", *options]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:

        def run() -> float:
            process.stdin.write("go\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                sys.exit("The process for the bare inference ended.")
            return float(line)

        yield run
        process.stdin.close()


def serveBare(model: Path, image: Path, device: str) -> None:
    """In a process of its own: segment the volume once for every line on stdin, and print the seconds."""
    from topomae.data.preprocessing import preprocess
    from topomae.data.volume_io import read_image
    from topomae.inference.segmentation import Segmenter
    from topomae.models.folder import load_model
    from topomae.parallel.devices import choose_device

    segmenter = Segmenter(load_model(model), choose_device(device).kind)
    volume = read_image(image)
    for _line in sys.stdin:
        began = time.perf_counter()
        segmenter(preprocess(volume, None, segmenter.plan))
        print(time.perf_counter() - began, flush=True)


def table(measured: dict) -> str:
    """The results as Markdown."""
    first, *later = measured["clicks"]
    second = median(one["click"] for one in later)
    inside = median(one["inference"] for one in later)
    bare = median(measured["bare"])
    limit = RATIO * bare + ALLOWANCE
    load = measured["load average"]
    return "\n".join(
        [
            f"{measured['image']}, {'×'.join(str(n) for n in measured['voxels'])} voxels, {measured['device']}, "
            f"{measured['cores']} cores{_threadText(measured)}, load average "
            f"{'unknown' if load is None else f'{load[0]:.1f}'}; medians of {len(later)} clicks after the first, in "
            "turn with bare inferences.",
            "",
            "| first click s | second click s | inference in the worker s | bare inference s | second / first "
            "| second / bare | second − bare s | goal s | met |",
            "|---|---|---|---|---|---|---|---|---|",
            f"| {first['click']:.2f} | {second:.3f} | {inside:.3f} | {bare:.3f} | {second / first['click']:.2f} "
            f"| {second / bare:.2f} | {second - bare:.3f} | ≤ {limit:.3f} | {'yes' if second <= limit else 'no'} |",
            "",
        ]
    )


def _threadText(measured: dict) -> str:
    return f" (OMP_NUM_THREADS={measured['threads']})" if measured["threads"] else ""


if __name__ == "__main__":
    main()
