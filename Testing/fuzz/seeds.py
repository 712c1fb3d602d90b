"""Good inputs of every target, from which fuzzing starts."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import nibabel as nib
import numpy as np
from safetensors.numpy import save

from fuzz.dicom_slices import BIG_ENDIAN, EXPLICIT, IMPLICIT, a_slice
from fuzz.json_mutator import SEPARATOR

_GRID = np.arange(4 * 3 * 2, dtype=np.int16).reshape(4, 3, 2)
_PLAN = {
    "version": 1,
    "dataset": "d",
    "modalities": ["MR"],
    "labels": {"1": "a", "2": "left kidney"},
    "spacing": [1.0, 1.0, 2.5],
    "normalization": [{"kind": "robust", "lower": None, "upper": None, "mean": None, "sd": None}],
    "crop_size": [32, 32, 16],
    "patch_size": [8, 8, 8],
    "stem_stride": [2, 2, 1],
    "batch_size": 2,
    "size": "small",
    "mirror_axes": [0, 1],
    "reasons": {"spacing": "median"},
}
_CT = {"kind": "ct", "lower": -100.0, "upper": 300.0, "mean": 50.0, "sd": 70.0}
_NETWORK = {
    "architecture": "fused",
    "size": "small",
    "in_channels": 1,
    "out_channels": 3,
    "crop_size": [32, 32, 16],
    "patch_size": [8, 8, 8],
    "stem_stride": [2, 2, 1],
    "fused_stages": [3],
}
_CODE = {"scheme": "SCT", "value": "64033007", "meaning": "Kidney"}
_LABELS = {
    "labels": [
        {"value": 1, "name": "a", "colour": [230, 159, 0], "terminology": None},
        {
            "value": 2,
            "name": "left kidney",
            "colour": [1, 2, 3],
            "terminology": {"category": _CODE, "type": _CODE, "modifier": None},
        },
    ]
}
_METADATA = {"training": {"cases": ["a", "b"]}, "eval_metrics": {"validation_dice": 0.8}}


def seeds(name: str) -> list[bytes]:
    """The inputs that a target starts from."""
    return _SEEDS[name]()


def _texts(*values: object) -> bytes:
    return SEPARATOR.join(v if isinstance(v, bytes) else json.dumps(v).encode() for v in values)


def _nifti() -> list[bytes]:
    found = []
    four = np.zeros((4, 3, 2, 2), np.float32)
    four[1, 1, 1, 0] = np.nan
    colours = np.zeros((4, 3, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    for array in (_GRID, _GRID.astype(np.uint8), four, _GRID.astype(np.float64), _GRID.astype(">i4"), colours):
        for kind in (nib.Nifti1Image, nib.Nifti2Image):
            image = kind(array, np.diag([1, 2, 3, 1.0]), dtype=array.dtype)
            image.header.extensions.append(nib.nifti1.Nifti1Extension(6, b"comment"))
            found.append(image.to_bytes())
    scaled = nib.Nifti1Image(_GRID, None)
    scaled.header["scl_slope"], scaled.header["scl_inter"] = 0.5, 3
    found.append(scaled.to_bytes())
    return [bytes([how]) + content for content in found for how in range(4)]


def _nrrd() -> list[bytes]:
    place = "space: left-posterior-superior\nspace directions: (1,0,0) (0,2,0) (0,0,3)\nspace origin: (1,2,3)\n"
    head = "NRRD0004\n# comment\ntype: {}\ndimension: 3\nsizes: 4 4 4\n{}encoding: {}\n"
    raw = bytes(range(128))
    four = (
        "NRRD0005\ntype: uint8\ndimension: 4\nspace: LPS\nsizes: 2 4 4 4\nkinds: list domain domain domain\n"
        "space directions: none (1,0,0) (0,1,0) (0,0,1)\nencoding: raw\n\n"
    )
    spaced = "NRRD0001\ntype: uchar\ndimension: 3\nsizes: 4 4 4\nspacings: 1 2 3\nencoding: raw\nkey:=value\n\n"
    return [
        b"\0" + (head.format("short", place, "raw") + "endian: big\n\n").encode() + raw,
        b"\1" + (head.format("uchar", place, "raw") + "\n").encode() + raw[:64],
        b"\2" + (head.format("short", place, "gzip") + "endian: little\n\n").encode() + raw,
        b"\0" + (head.format("uchar", place, "text") + "\n").encode() + b"1 " * 64,
        b"\0" + (head.format("uchar", place, "hex") + "\n").encode() + b"0a" * 64,
        b"\0" + (head.format("uchar", place, "bzip2") + "\n").encode() + b"BZh9",
        b"\4" + (head.format("uchar", place, "raw") + "data file: a.raw\n").encode(),
        b"\4" + (head.format("uchar", place, "raw") + "byte skip: -1\ndata file: ./a.raw\n").encode(),
        b"\0" + four.encode() + raw,
        b"\1" + spaced.encode() + raw[:64],
    ]


def _dataset() -> list[bytes]:
    entry = {"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}
    labels = {"0": "background", "1": "a"}
    decathlon = {
        "name": "D",
        "modality": {"0": "MRI"},
        "labels": labels,
        "training": [entry, {"image": "./imagesTr/b.nii.gz"}],
    }
    nnunet = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1}, "file_ending": ".nii.gz"}
    listed = {"dataset": {"a": {"images": ["imagesTr/a.nii.gz"], "label": "labelsTr/a.nii.gz"}}}
    two = {"image": ["imagesTr/a.nii.gz", "imagesTr/b.nii.gz"], "label": None}
    several = {"modality": ["T1", "T2"], "labels": labels, "training": [two], "unlabelled": ["imagesTr/d.nii.gz"]}
    numbered = {"labels": labels, "training": [{"image": "imagesTr/c.nii.gz"}], "numTraining": 1}
    return [_texts(one) for one in (decathlon, nnunet, nnunet | listed, several, numbered)]


def _splits() -> list[bytes]:
    full = {"train": ["a", "b"], "val": ["c_0000"], "test": ["d"], "subject_of": {"a": "x", "b": "x", "d": 3}}
    return [_texts(full), _texts({"train": []})]


def _settings() -> list[bytes]:
    return [
        b"steps=500\ntopology_dims=0,2\nlearning_rate=1e-3",
        b"topology_every=none\nprecision=bf16\nworkers=0\nseed=7\nmask_ratio=0.5",
        b"fused_stages=2,3\nschedule=poly\nema=0\nlabelled=4\naugmentation=0.5",
        b"crop_size=32,32,16\nspacing=1,1,2.5\nbatch_size=4\nmirror_axes=0",
        b"mirror=true\noverlap=0.25\nbatch=none\nsurface_tolerance_mm=2",
    ]


def _run_files() -> list[bytes]:
    curves = b"step,phase,name,value\n1,train,loss,0.5\n20,validate,dice,nan\n"
    events = b'{"event": "progress", "phase": "pretrain", "step": 1, "of": 9, "seconds_left": 3.5}\n'
    report = {"errors": [], "warnings": [], "shape": [4, 4, 4], "spacing": [1, 1, 1], "foreground_shape": [2, 2, 2]}
    numbers = dict.fromkeys(("p0_5", "p50", "p99_5", "mean", "sd", "minimum", "maximum"), 1.5)
    report |= {"intensities": [numbers], "label_voxels": {"1": 3}}
    affine = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    geometry = {"shape": [4, 4, 4], "affine": affine, "orientation": [[0, 1], [1, -1], [2, 1]]}
    geometry |= {"box": [[0, 4], [1, 3], [0, 4]], "preprocessed_shape": [4, 2, 4]}
    index = {"case": "a", "key": "k", "arrays": {"image": ["k.npy", 0]}, "geometry": geometry, "available": None}
    return [_status(), _lock(), curves, events, _texts(report), _texts(index), events + b'{"event": "end"'[:9]]


def _status() -> bytes:
    return _texts({"status": "running", "step": 20, "time": "2026-01-01T00:00:00Z"})


def _lock() -> bytes:
    return _texts({"pid": 1, "started": "x", "host": "h", "token": "ab"})


def _requests() -> list[bytes]:
    volume = {"array": "/a/b.npy", "affine": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}
    crop = {"pretrained": "/p", "images": [volume], "center": [1, 2, 3.5], "output": "/o"}
    return [
        _texts(one)
        for one in (
            {"id": 1, "do": "hello"},
            {"id": 2, "do": "segment", "model": "/m", "images": [volume], "output": "/o", "mirror": True},
            {"id": 3, "do": "betti", "labels": volume, "output": None},
            {"id": 4, "do": "persistence", "image": volume, "dims": [0, 1], "count": 3, "output": "/o"},
            {"id": 5, "do": "feature", "handle": "h", "dim": 0, "index": 3, "output": "/o"},
            {"id": "x", "do": "reconstruct", "mask_ratio": 0.5, "seed": 1, "diagrams": False, "channel": 0, **crop},
            {"id": 7, "do": "key_points", **crop},
            {"id": 8, "do": "crop_size", "pretrained": "/p"},
            {"do": "cancel", "request": 8},
            {"do": "quit"},
        )
    ]


def _arrays() -> list[bytes]:
    found = []
    odd = np.array([[[0, np.nan], [np.inf, -1]]], np.float32)
    for array in (_GRID, _GRID.astype(np.uint8), np.asfortranarray(_GRID), _GRID > 3, _GRID.astype(">f8"), odd):
        stream = io.BytesIO()
        np.save(stream, array)
        found.append(stream.getvalue())
    stream = io.BytesIO()
    np.lib.format.write_array(stream, _GRID, version=(2, 0))
    return [*found, stream.getvalue()]


def _models() -> list[bytes]:
    file = {"format": 1, "network": _NETWORK, "weights_sha256": "ab", "weights_bytes": 0}
    ct = _PLAN | {"modalities": ["CT"], "normalization": [_CT]}
    return [_texts(_PLAN, file, _LABELS, _METADATA), _texts(ct, _NETWORK, _LABELS, _METADATA)]


def _weights() -> list[bytes]:
    content = save({"a": np.zeros((2, 3), np.float32), "b": np.ones(4, np.int64)}, {"format": "pt"})
    size = int.from_bytes(content[:8], "little")
    return [b"\0" + content, b"\1" + content[8 : 8 + size] + b"\0" + content[8 + size :]]


def _slicer_run() -> list[bytes]:
    events = [
        {"event": "start", "time": "2026-01-01T00:00:00+00:00", "device": "cpu", "pid": 3},
        {"event": "progress", "phase": "pretrain", "step": 1, "of": 9, "seconds_left": 3.5},
        {"event": "progress", "phase": "check", "step": 1, "of": None, "seconds_left": None},
        {"event": "warning", "message": "odd", "case": "a"},
        {"event": "error", "time": "2026-01-01T00:00:09Z", "message": "bad", "hint": "h", "case": "", "path": None},
        {"event": "end", "status": "failed"},
    ]
    settings = {"format": 1, "kind": "pretrain", "settings": {"init": "/x"}}
    launch = {"format": 1, "kind": "pretrain", "arguments": ["--data", "/d"], "time": "2026-01-01T00:00:00+00:00"}
    launch |= {"consoleStart": 0, "pid": 1, "started": "", "host": ""}
    curves = b"step,phase,name,value\n1,train,loss,0.5\n20,validate,dice,0.9"
    lines = b"\n".join(json.dumps(event).encode() for event in events) + b"\n"
    whole = _texts(lines, _status(), settings, launch, curves, _lock(), _lock(), b"last words\n")
    return [whole, *(_texts(event) + b"\n" for event in events), _status(), _texts(launch), _lock(), curves]


def _plans() -> list[bytes]:
    ct = _PLAN | {"modalities": ["CT"], "normalization": [_CT]}
    return [SEPARATOR.join((_texts(plan), lines)) for plan in (_PLAN, ct) for lines in _settings()]


def _data_sets() -> list[bytes]:
    both = [SEPARATOR.join((one, splits)) for one in _dataset() for splits in _splits()]
    return [*_dataset(), *both]


def _worker() -> list[bytes]:
    return [*_requests(), *(SEPARATOR.join((b"{}", array)) for array in _arrays())]


def _model_folders() -> list[bytes]:
    return [SEPARATOR.join((texts, weights)) for texts in _models() for weights in _weights()]


_SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "nifti": _nifti,
    "nrrd": _nrrd,
    "dicom": lambda: [a_slice(1, syntax) for syntax in (EXPLICIT, IMPLICIT, BIG_ENDIAN)],
    "data_set": _data_sets,
    "plan_and_settings": _plans,
    "worker": _worker,
    "run_folder": lambda: [*_run_files(), *_slicer_run()],
    "model_folder": _model_folders,
}
