"""Cost of the topological loss: the engine against gudhi + POT, on the same real crops, in turn.

    python Testing/benchmarks/topology.py --output results/topology

Crops of left atrium MR volumes are compared with reconstructions of them: masked blocks smoothed away,
blurred, blurred and noisy, and nearly perfect (noise of 0.02 standard deviations). Per pair: both diagrams, the
matching in all three dimensions, and the gradient. Lower bound of everything: a radix sort of the voxels.
Written to the output folder: topology.json (every measurement), topology.md (tables), topology.png (cost
against size).

The naive route is cubical persistence by gudhi and dense optimal transport by POT (gudhi.wasserstein). It
needs 30 s and 3 GB for a pair of 96^3: `--naive-up-to` sets the largest size at which it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import torch
from scipy import ndimage

from radix_sort import sort_voxels
from topomae.topology.loss import TopologicalLoss
from topomae.topology.persistence import persistence

KINDS = ("masked", "blurred", "noisy", "late")
REPEATS = 3


def main() -> None:
    """Measure, and write the results."""
    arguments = parsed_arguments()
    if arguments.memory_of:
        print(peak_memory(*arguments.memory_of))
        return
    arguments.output.mkdir(parents=True, exist_ok=True)
    warm_up()
    rows = []
    for size in arguments.sizes:
        for number, crop in enumerate(real_crops(arguments.data, size, arguments.crops)):
            for kind in arguments.kinds:
                row = measure_pair(crop, reconstruction(crop, kind), arguments.threads, size <= arguments.naive_up_to)
                rows.append({"size": size, "crop": number, "kind": kind, **row})
                print(json.dumps(rows[-1]), flush=True)
    machine = {"machine": platform.platform(), "processor": platform.processor(), "cores": os.cpu_count()}
    text = json.dumps({**machine, "threads": arguments.threads, "pairs": rows}, indent=1)
    (arguments.output / "topology.json").write_text(text, encoding="utf-8")
    (arguments.output / "topology.md").write_text(tables(rows, arguments), encoding="utf-8")
    plot(rows, arguments.output / "topology.png")


def parsed_arguments() -> argparse.Namespace:
    """What the user asks for."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("results/topology"), help="folder for the results")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TOPOMAE_DATA", beside)), help="data sets")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 48, 64, 96], help="crop sizes in voxels")
    parser.add_argument("--crops", type=int, default=2, help="crops per size")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="kinds of reconstruction")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="thread counts for latency")
    parser.add_argument("--naive-up-to", type=int, default=64, help="largest size for gudhi + POT; 0 for none")
    parser.add_argument("--memory-of", nargs=2, metavar=("ROUTE", "FILE"), help=argparse.SUPPRESS)
    return parser.parse_args()


def real_crops(data: Path, size: int, count: int) -> list[np.ndarray]:
    """Central crops of left atrium volumes, (size, size, size) float32 of mean 0 and standard deviation 1."""
    crops = []
    for path in sorted((data / "left_atrium" / "imagesTr").glob("*.nii.gz"))[:: max(1, 60 // count)][:count]:
        volume = nibabel.load(path).get_fdata(dtype=np.float32)
        if min(volume.shape) < size:
            volume = ndimage.zoom(volume, 1.001 * size / min(volume.shape), order=1)
        start = [(length - size) // 2 for length in volume.shape]
        crop = volume[tuple(slice(s, s + size) for s in start)]
        crops.append(np.ascontiguousarray((crop - crop.mean()) / crop.std(), np.float32))
    if not crops:
        raise SystemExit(f"no left atrium volumes in {data}; name the folder of the data sets with --data")
    return crops


def reconstruction(crop: np.ndarray, kind: str) -> np.ndarray:
    """What a network might return for a crop, float32."""
    random = np.random.default_rng(0)
    blurred = ndimage.gaussian_filter(crop, 1.5)
    if kind == "masked":
        block = 16 if crop.shape[0] % 16 == 0 else 8
        masked = random.random([length // block for length in crop.shape]) < 0.75
        for axis in range(3):
            masked = masked.repeat(block, axis)
        return np.where(masked, ndimage.gaussian_filter(crop, 3.0), crop).astype(np.float32)
    noise = random.standard_normal(crop.shape)
    return {"blurred": blurred, "noisy": blurred + 0.05 * noise, "late": crop + 0.02 * noise}[kind].astype(np.float32)


def warm_up() -> None:
    """Compile, and load libraries, outside all measurements."""
    tiny = np.random.default_rng(0).standard_normal((2, 6, 6, 6)).astype(np.float32)
    engine_route(*tiny, threads=2)
    naive_route(*tiny)


def engine_route(x: np.ndarray, x_hat: np.ndarray, threads: int = 1) -> tuple[float, np.ndarray]:
    """Sum of squared distances, and its gradient, by the engine."""
    loss = TopologicalLoss(reduction="sum", essential=False, threads=threads)
    leaf = torch.from_numpy(x_hat)[None, None].requires_grad_()
    value = loss(leaf, torch.from_numpy(x)[None, None])
    value.backward()
    return 2 * loss.last.value, 2 * leaf.grad[0, 0].numpy()


def naive_route(x: np.ndarray, x_hat: np.ndarray) -> tuple[float, np.ndarray]:
    """The same by gudhi and POT."""
    from gudhi.wasserstein import wasserstein_distance

    total, gradient = 0.0, np.zeros(x_hat.size)
    for (_, target), (voxels, found) in zip(gudhi_diagrams(x), gudhi_diagrams(x_hat), strict=True):
        distance, matching = wasserstein_distance(target, found, matching=True, order=2, internal_p=2)
        total += distance**2
        slopes = np.zeros_like(found)
        for i, j in matching:
            if j >= 0 and i >= 0:
                slopes[j] = 2 * (found[j] - target[i])
            elif j >= 0:
                slopes[j] = (found[j, 0] - found[j, 1]) * np.array([1, -1])
        np.add.at(gradient, voxels, slopes)
    return total, gradient.reshape(x_hat.shape)


def gudhi_diagrams(volume: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Per dimension (n, 2) flat C-order voxels and values of the finite features, by gudhi."""
    import gudhi

    cubes = gudhi.CubicalComplex(vertices=volume)
    cubes.compute_persistence(homology_coeff_field=2)
    pairs = list(cubes.vertices_of_persistence_pairs()[0])
    diagrams = []
    for dim in range(3):
        fortran = np.asarray(pairs[dim] if dim < len(pairs) else [], np.int64).reshape(-1, 2)
        voxels = np.ravel_multi_index(np.unravel_index(fortran, volume.shape, order="F"), volume.shape)
        diagrams.append((voxels, volume.reshape(-1)[voxels].astype(np.float64)))
    return diagrams


def timed(work: Callable) -> tuple[float, float]:
    """Median CPU and wall seconds of some calls."""
    spent = []
    for _ in range(REPEATS):
        cpu, wall = time.process_time(), time.perf_counter()
        work()
        spent.append((time.process_time() - cpu, time.perf_counter() - wall))
    return tuple(float(seconds) for seconds in np.median(spent, axis=0))


def measure_pair(x: np.ndarray, x_hat: np.ndarray, threads: list[int], with_naive: bool) -> dict:
    """All measurements of one pair; the routes take turns."""
    naive = {}
    if with_naive:
        cpu, wall = time.process_time(), time.perf_counter()
        naive["squared"], gradient = naive_route(x, x_hat)
        naive["cpu"], naive["wall"] = time.process_time() - cpu, time.perf_counter() - wall
        naive["memory_mb"] = memory("naive", x, x_hat)
    squared, our_gradient = engine_route(x, x_hat)
    row = {"squared": squared, "points": [len(persistence(x)), len(persistence(x_hat))]}
    if with_naive:
        length = np.linalg.norm(gradient) * np.linalg.norm(our_gradient)
        row["agreement"] = {
            "value": abs(squared - naive["squared"]) / max(squared, 1e-12),
            "gradient_cosine": float((gradient * our_gradient).sum() / length) if length else 1.0,
        }
        row["naive"] = naive
    row["sort_cpu"], row["sort_wall"] = timed(lambda: sort_voxels(x.reshape(-1)))
    row["persistence_cpu"], _ = timed(lambda: persistence(x))
    row["cpu"], _ = timed(lambda: engine_route(x, x_hat))
    for count in threads:
        row[f"wall_{count}"] = timed(lambda n=count: engine_route(x, x_hat, n))[1]
        row[f"persistence_wall_{count}"] = timed(lambda n=count: persistence(x, threads=n))[1]
    row["memory_mb"] = memory("engine", x, x_hat)
    return row


def memory(route: str, x: np.ndarray, x_hat: np.ndarray) -> float | None:
    """Memory in MB that a route needs beyond its libraries and the volumes, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pair.npy"
        np.save(path, np.stack([x, x_hat]))
        command = [sys.executable, str(Path(__file__).resolve()), "--memory-of", route, str(path)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return None if answer == "None" else float(answer)


def peak_memory(route: str, path: str) -> float | None:
    """Largest growth of this process's resident set while a route runs, in MB; None where Linux cannot tell."""
    warm_up()
    pair = np.load(path)
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak so far
        before = resident_set("VmRSS")
        {"engine": engine_route, "naive": naive_route}[route](*pair)
        return round(resident_set("VmHWM") - before, 1)
    except OSError:
        return None


def resident_set(entry: str) -> float:
    """An entry of /proc/self/status, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(entry))


def tables(rows: list[dict], arguments: argparse.Namespace) -> str:
    """The results as Markdown, medians over crops."""
    latency = [f"wall_{count}" for count in arguments.threads]
    lines = [
        "# Cost of the topological loss",
        "",
        "Loss and gradient of one pair of crops, medians over crops. Naive: gudhi + POT.",
        "",
        "| size | kind | points | naive CPU s | ours CPU s | ratio | "
        + " | ".join(f"wall s, {count} threads" for count in arguments.threads)
        + " | memory MB (naive) | value differs by |",
        "|" + "---|" * (8 + len(latency)),
    ]
    for size in arguments.sizes:
        for kind in arguments.kinds:
            group = [row for row in rows if row["size"] == size and row["kind"] == kind]
            naive, ours = middle(group, "naive", "cpu"), middle(group, "cpu")
            cells = [
                f"{size}^3",
                kind,
                f"{middle(group, 'points', 0):.0f} / {middle(group, 'points', 1):.0f}",
            ]
            cells += [shown(naive), shown(ours), shown(naive / ours if naive else None)]
            cells += [shown(middle(group, key)) for key in latency]
            cells += [f"{shown(middle(group, 'memory_mb'))} ({shown(middle(group, 'naive', 'memory_mb'))})"]
            cells += [shown(middle(group, "agreement", "value"))]
            lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "Persistence alone, and as a multiple of a radix sort of the voxels.",
        "",
        "| size | sort s | CPU s | x sort | "
        + " | ".join(f"wall s, {count} threads | x sort" for count in arguments.threads)
        + " |",
        "|" + "---|" * (4 + 2 * len(latency)),
    ]
    for size in arguments.sizes:
        group = [row for row in rows if row["size"] == size]
        sort, cpu = middle(group, "sort_cpu"), middle(group, "persistence_cpu")
        cells = [f"{size}^3", shown(sort), shown(cpu), shown(cpu / sort)]
        for key in latency:
            wall = middle(group, f"persistence_{key}")
            cells += [shown(wall), shown(wall / middle(group, "sort_wall"))]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def middle(rows: list[dict], *keys: str | int) -> float | None:
    """Median of a measurement over rows; None where it was not taken."""
    found = []
    for value in rows:
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else value[key]
            if value is None:
                break
        if value is not None:
            found.append(value)
    return float(np.median(found)) if found else None


def shown(number: float | None) -> str:
    """A number with three digits."""
    return "-" if number is None else f"{number:.3g}"


def plot(rows: list[dict], path: Path) -> None:
    """CPU seconds against the number of voxels, one line per kind."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 4.2), constrained_layout=True)
    sizes = sorted({row["size"] for row in rows})
    for color, kind in enumerate(sorted({row["kind"] for row in rows}, key=KINDS.index)):
        for keys, style in ((("cpu",), "o-"), (("naive", "cpu"), "s--")):
            points = [
                (size, middle([row for row in rows if row["size"] == size and row["kind"] == kind], *keys))
                for size in sizes
            ]
            points = [(size, seconds) for size, seconds in points if seconds]
            if points:
                label = f"{kind}, {'gudhi + POT' if keys[0] == 'naive' else 'ours'}"
                axes.plot(*zip(*points, strict=True), style, color=f"C{color}", label=label)
    bound = [middle([row for row in rows if row["size"] == size], "sort_cpu") for size in sizes]
    axes.plot(sizes, bound, "k:", label="radix sort of the voxels")
    axes.set(xscale="log", yscale="log", xlabel="crop edge (voxels)", ylabel="CPU seconds per pair")
    axes.set_xticks(sizes, [str(size) for size in sizes], minor=False)
    axes.minorticks_off()
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1))
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
