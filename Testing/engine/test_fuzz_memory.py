"""Reading a volume takes at most twice its declared size in memory, and nothing where the header lies.

Each file is read by a process of its own, which measures itself and may not take more than a limit.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and measures of memory are those of Linux")

SHAPE = (200, 200, 200)
BESIDE = 40 << 20  # bytes for pieces, decompression, libraries' first use
# Prints the growth of the process in bytes, or the sentence with which the file was refused.
READ = """
import resource, sys
from pathlib import Path
from topomae.data.volume_io import read_image, read_labels
from topomae.errors import BadDataError
import SimpleITK, nibabel

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

if limit := int(sys.argv[3]):
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
before = peak()
try:
    volume = {"image": read_image, "labels": read_labels}[sys.argv[1]](Path(sys.argv[2]))
    print(peak() - before)
except BadDataError as error:
    print(error, peak() - before, sep="\\n")
"""


def in_a_process(kind: str, path, limit: int = 0) -> list[str]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", READ, kind, str(path), str(limit)]
    child = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert child.returncode == 0, child.stderr
    return child.stdout.splitlines()


@pytest.mark.parametrize(
    ("name", "kind", "dtype"),
    [
        ("int16.nii", "image", np.int16),
        ("nan.nii.gz", "image", np.float32),
        ("float64.nii", "labels", np.float64),
        ("int16.nrrd", "image", np.int16),
    ],
)
def test_reading_takes_at_most_twice_the_declared_size(tmp_path, name, kind, dtype):
    values = np.zeros(SHAPE, dtype)
    values[40:80] = 2
    if name.startswith("nan"):
        values[100:120] = np.nan
    if name.endswith(".nrrd"):
        sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / name), True)
    else:
        nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / name)
    # What a user sees as the size of an image in memory: float32, or as stored where that is more.
    declared = values.size * max(values.itemsize, 4 if kind == "image" else 1)
    assert int(in_a_process(kind, tmp_path / name)[0]) <= 2 * declared + BESIDE


def lying_files(folder) -> dict[str, str]:
    """Small files that ask for very much, each with words of its refusal."""
    header = nib.Nifti2Header()
    header.set_data_dtype(np.float32)
    header["dim"][:4] = [3, 10_000, 10_000, 10_000]
    (folder / "a.nii").write_bytes(header.binaryblock + bytes(1000))
    (folder / "a.nii.gz").write_bytes(gzip.compress(header.binaryblock + bytes(1000)))
    text = "NRRD0004\ntype: float\ndimension: 3\nsizes: {0} {0} {0}\nencoding: {1}\n\n"
    (folder / "a.nrrd").write_bytes(text.format(10_000, "raw").encode() + bytes(100))
    (folder / "text.nrrd").write_bytes(text.format(2000, "text").encode() + b"1 2 3")
    # An extension of 100 megabytes, which zeros unpack to.
    small = nib.Nifti1Image(np.zeros((4, 3, 2), np.int16), np.eye(4)).header
    small["magic"], small["vox_offset"] = b"n+1", 352 + (100 << 20)
    extension = b"\1\0\0\0" + (100 << 20).to_bytes(4, "little") + (6).to_bytes(4, "little")
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = packer.compress(small.binaryblock + extension)
    packed += b"".join(packer.compress(bytes(1 << 20)) for _ in range(200)) + packer.flush()
    (folder / "bomb.nii.gz").write_bytes(packed)
    impossible, much = "impossible size", "more than this file"
    return {
        "a.nii": impossible,
        "a.nii.gz": impossible,
        "a.nrrd": impossible,
        "text.nrrd": much,
        "bomb.nii.gz": "far more data follow",
    }


def test_a_header_that_lies_is_refused_before_memory_is_taken(tmp_path):
    for name, words in lying_files(tmp_path).items():
        told, grown = in_a_process("image", tmp_path / name, limit=6 << 30)
        assert words in told and int(grown) < 40 << 20, f"{name}: {told} ({grown})"
