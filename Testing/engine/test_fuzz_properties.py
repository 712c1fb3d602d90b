"""Whatever stands in a file, its reader reads it or refuses it in one sentence; and what it reads is right."""

from __future__ import annotations

import gzip
import io
import json
import sys
import tempfile
from copy import deepcopy
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from topomae.classification.labels import read_table
from topomae.classification.table import Predictions
from topomae.data.volume_io import read_image, read_labels
from topomae.runs.checkpoints import Checkpoints

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz import seeds, targets
from fuzz.behaviour import misbehaviour
from fuzz.json_mutator import SEPARATOR, STRANGE
from fuzz.scratch import refused_or_done, scratch

sys.path.pop(0)  # or the folder `slicer` beside `fuzz` would be taken for a part of Slicer

FEW = settings(max_examples=60, deadline=None)
NUMBERS = st.floats(width=32) | st.sampled_from([0.0, 1.0, -1.0, 352.0, 1e30, float("nan"), float("inf")])
LENGTHS = st.integers(-3, 9) | st.sampled_from([32767, -32768])


def assert_behaves(name: str, content: bytes) -> None:
    assert misbehaviour(targets.load(name), [content]) == []


# --- volumes ---------------------------------------------------------------------------------------


@st.composite
def nifti_headers(draw) -> bytes:
    """A header in which some fields hold anything."""
    header = draw(st.sampled_from([nib.Nifti1Header, nib.Nifti2Header]))(endianness=draw(st.sampled_from("<>")))
    header.set_data_shape((4, 3, 2))
    header["magic"] = b"n+1" if header.sizeof_hdr == 348 else header["magic"]
    header["vox_offset"] = header.single_vox_offset
    fields = {
        "dim": st.lists(LENGTHS, min_size=8, max_size=8),
        "datatype": st.sampled_from([0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1536, 1792, 7777]),
        "pixdim": st.lists(NUMBERS, min_size=8, max_size=8),
        "vox_offset": NUMBERS if header.sizeof_hdr == 348 else st.integers(-(2**62), 2**62),
        "scl_slope": NUMBERS,
        "scl_inter": NUMBERS,
        "qform_code": st.integers(-1, 5),
        "sform_code": st.integers(-1, 5),
        "quatern_b": NUMBERS,
        "srow_x": st.lists(NUMBERS, min_size=4, max_size=4),
        "xyzt_units": st.integers(0, 127),
    }
    for name in draw(st.lists(st.sampled_from(sorted(fields)), max_size=4, unique=True)):
        header[name] = draw(fields[name])
    return bytes(header.binaryblock)


@FEW
@given(nifti_headers(), st.binary(max_size=400), st.integers(0, 3))
def test_any_nifti_header_is_read_or_refused(header, voxels, how):
    assert_behaves("nifti", bytes([how]) + header + bytes(4) + voxels)


@FEW
@given(
    values=arrays.arrays(
        st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64]),
        st.tuples(*[st.integers(2, 5)] * 3),
        elements={"min_value": 0, "max_value": 200},
    ),
    order=st.sampled_from("<>"),
    slope=st.sampled_from([1.0, 0.5, -2.0, 3.0]),
    inter=st.sampled_from([0.0, 7.0, -1.5]),
    compressed=st.booleans(),
    version=st.sampled_from([nib.Nifti1Image, nib.Nifti2Image]),
)
def test_a_good_nifti_file_is_read_as_nibabel_reads_it(values, order, slope, inter, compressed, version):
    image = version(values.astype(values.dtype.newbyteorder(order)), np.diag([1, 2, 3, 1.0]))
    image.header.set_slope_inter(slope, inter)
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 40))
    content = _as_stored(image, values)
    path = scratch("good") / ("a.nii.gz" if compressed else "a.nii")
    path.write_bytes(gzip.compress(content, 1) if compressed else content)
    expected = nib.load(path)
    np.testing.assert_array_equal(read_image(path).array[0], np.asarray(expected.dataobj, np.float32))
    np.testing.assert_array_equal(read_image(path).affine, expected.affine)
    if slope == 1 and inter == 0 and (values == np.rint(values)).all():
        np.testing.assert_array_equal(read_labels(path).array[0], values)


def _as_stored(image, values) -> bytes:
    """The file with these numbers in it, not divided by the slope."""
    stream = io.BytesIO(image.to_bytes())
    header = type(image).header_class.from_fileobj(stream)
    header["scl_slope"], header["scl_inter"] = image.header.get_slope_inter()
    offset = header.get_data_offset()
    head = header.binaryblock + stream.getvalue()[len(header.binaryblock) : offset]
    return head + values.astype(header.get_data_dtype()).tobytes(order="F")


FIELDS = {
    "type": ["uchar", "short", "float", "double", "block", "unsigned long long", "", "int24"],
    "dimension": ["3", "4", "0", "-1", "17", "x"],
    "sizes": ["4 4 4", "2 4 4 2", "4 4", "0 4 4", "-4 4 4", "1000000 1000000 1000000", "4 4 x", ""],
    "encoding": ["raw", "gzip", "text", "hex", "bzip2", "zrl", ""],
    "endian": ["big", "little", "middle"],
    "space": ["LPS", "right-anterior-superior", "scanner-xyz", "nowhere"],
    "space dimension": ["3", "0", "99999999999"],
    "space directions": ["(1,0,0) (0,1,0) (0,0,1)", "none (1,0,0) (0,1,0) (0,0,1)", "(nan,0,0) (0,0,0) (1,1)", "none"],
    "space origin": ["(0,0,0)", "(inf,0,0)", "(1,2)"],
    "spacings": ["1 2 3", "0 0 0", "nan nan nan"],
    "kinds": ["domain domain domain", "list domain domain domain", "RGB-color domain domain domain", "?"],
    "data file": ["a.raw", "../a.raw", "/etc/hostname", "LIST", "a%d.raw 1 2 1", "x" * 300, "\0"],
    "byte skip": ["-1", "0", "1000000000000"],
    "line skip": ["0", "-3", "1000000000000"],
}


@FEW
@given(
    st.lists(
        st.sampled_from(sorted(FIELDS)).flatmap(lambda name: st.tuples(st.just(name), st.sampled_from(FIELDS[name]))),
        max_size=6,
    ),
    st.integers(0, 7),
    st.binary(max_size=300),
)
def test_any_nrrd_header_is_read_or_refused(changes, how, voxels):
    fields = {"type": "uchar", "dimension": "3", "sizes": "4 4 4", "encoding": "raw"} | dict(changes)
    text = "NRRD0004\n" + "".join(f"{name}: {value}\n" for name, value in fields.items()) + "\n"
    assert_behaves("nrrd", bytes([how]) + text.encode() + voxels)


@FEW
@given(st.sampled_from(seeds.seeds("dicom")), st.integers(128, 800), st.binary(min_size=1, max_size=4))
def test_any_damage_to_a_dicom_slice_is_read_or_refused(good, place, damage):
    assert_behaves("dicom", good[:place] + damage + good[place + len(damage) :])


# --- texts -----------------------------------------------------------------------------------------

ANYTHING = st.recursive(
    st.sampled_from(STRANGE) | st.text(max_size=8) | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def changed_texts(draw, name: str) -> bytes:
    """A good input of a target, with one value of one of its JSON texts replaced by anything."""
    texts = draw(st.sampled_from(seeds.seeds(name))).split(SEPARATOR)
    place = draw(st.integers(0, len(texts) - 1))
    try:
        tree = json.loads(texts[place])
    except ValueError:
        tree = None
    texts[place] = json.dumps(_replaced(draw, tree)).encode()
    return SEPARATOR.join(texts)


def _replaced(draw, tree: object) -> object:
    if not isinstance(tree, (dict, list)) or not tree or draw(st.integers(0, 4)) == 0:
        return draw(ANYTHING)
    tree = deepcopy(tree)
    key = draw(st.sampled_from(sorted(tree) if isinstance(tree, dict) else range(len(tree))))
    if draw(st.integers(0, 5)) == 0:
        del tree[key]
    else:
        tree[key] = _replaced(draw, tree[key])
    return tree


@pytest.mark.parametrize("name", ["data_set", "plan_and_settings", "worker"])
def test_any_value_in_a_good_text_is_read_or_refused(name):
    @FEW
    @given(changed_texts(name))
    def check(content):
        assert_behaves(name, content)

    check()


CELLS = st.sampled_from(["case", "class", "a", "b", "0.5", "nan", "", '"', "'=1", "probability a", "probability b"])


@FEW
@given(
    st.lists(st.lists(CELLS | st.text(max_size=4), max_size=4), max_size=4),
    st.sampled_from(",;\t"),
    st.binary(max_size=3),
)
def test_any_table_of_classes_is_read_or_refused(rows, comma, end):
    path = scratch("table") / "a.csv"
    path.write_bytes("\r\n".join(comma.join(row) for row in rows).encode("utf-8", "surrogatepass") + end)
    classes = refused_or_done(lambda: read_table(path))
    assert classes is None or (all(classes) and all(classes.values()))
    predictions = refused_or_done(lambda: Predictions.load(path))
    assert predictions is None or np.allclose(predictions.probabilities.sum(1), 1)


CHECKPOINT = r"(last|best|[a-z]{1,3})-\d{1,9}-[0-9a-f]{14,17}\.pt(\.damaged)?"


@FEW
@given(st.sets(st.from_regex(CHECKPOINT, fullmatch=True), max_size=5))
def test_empty_files_that_are_named_like_checkpoints_are_all_found_damaged(names):
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            Path(folder, name).write_bytes(b"")
        told = []
        checkpoints = Checkpoints(Path(folder))
        assert checkpoints.load("last", told.append) is None
        assert checkpoints.of("last") == []
        assert len(checkpoints.damaged("last")) >= len(told)


NAMES = st.sampled_from(["steps", "seed", "topology_dims", "fused_stages", "crop_size", "batch", ""])


@FEW
@given(st.lists(st.tuples(NAMES, st.text(max_size=12)), max_size=3))
def test_any_setting_is_taken_or_refused(pairs):
    lines = "\n".join(f"{name}={text}" for name, text in pairs)
    assert_behaves("plan_and_settings", b"{}" + SEPARATOR + lines.encode("utf-8", "surrogatepass"))
