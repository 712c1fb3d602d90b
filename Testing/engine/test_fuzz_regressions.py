"""Every way in which fuzzing made a parser misbehave, by name, so that it stays away."""

from __future__ import annotations

import gzip
import json
import os
import struct
import sys
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from topomae.cli import app
from topomae.config import FinetuneSettings, PretrainSettings, settings_from
from topomae.data.dataset import open_dataset
from topomae.data.geometry import Geometry
from topomae.data.plan import Plan
from topomae.data.volume_io import count_channels, read_image
from topomae.errors import BadDataError, BadSettingError
from topomae.runs.curves import Curves
from topomae.runs.locks import read_owner
from topomae.worker.arrays import read_image as read_array
from topomae.worker.requests import VolumeFile

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz.dicom_slices import BIG_ENDIAN, EXPLICIT, IMPLICIT, a_slice, element, three_slices

sys.path.pop(0)  # or the folder `slicer` beside `fuzz` would be taken for a part of Slicer

HALF_A_CHARACTER = "\\ud800"  # as JSON spells it
NRRD = "NRRD0004\ntype: uchar\ndimension: {}\nspace: LPS\nsizes: {}\nspace directions: {}\nencoding: {}\n"
IDENTITY = "(1,0,0) (0,1,0) (0,0,1)"


@pytest.fixture
def refused(is_clear):
    """Reads something that must be refused clearly; returns the sentence."""

    def refuse(read, *arguments) -> str:
        with pytest.raises(BadDataError) as error:
            read(*arguments)
        assert is_clear(error.value)
        return str(error.value)

    return refuse


@pytest.fixture
def a_data_set(tmp_path):
    """Writes dataset.json, as text, beside one image; returns the folder."""

    def write(text: str):
        (tmp_path / "imagesTr").mkdir(exist_ok=True)
        (tmp_path / "imagesTr" / "a.nii.gz").write_bytes(b"")
        (tmp_path / "dataset.json").write_text(text, encoding="utf-8")
        return tmp_path

    return write


# --- volumes ---------------------------------------------------------------------------------------


def test_the_channels_of_an_nrrd_header_with_its_voxels_elsewhere_are_counted(tmp_path):
    (tmp_path / "a.raw").write_bytes(bytes(128))
    text = NRRD.format(4, "2 4 4 4", f"none {IDENTITY}", "raw")
    text += "kinds: list domain domain domain\ndata file: a.raw\n"
    (tmp_path / "a.nhdr").write_text(text)
    assert count_channels(tmp_path / "a.nhdr") == 2 == read_image(tmp_path / "a.nhdr").array.shape[0]


def test_an_nrrd_header_with_more_directions_than_axes_is_refused_or_read(tmp_path, refused):
    text = NRRD.format(4, "4 4 4 2", f"none none {IDENTITY}", "raw") + "\n"
    (tmp_path / "a.nrrd").write_bytes(text.encode() + bytes(128))
    assert "cannot be read" in refused(read_image, tmp_path / "a.nrrd")


LONG_LINES = {
    "directions": "space directions: " + "(" * 500_000,
    "unknown": "x" * 2000,
    "kinds": "kinds: " + "domain " * 300,
    "old line ends": "a:=b\r" + "x" * 2000,
    "no pair": "x" * 2000 + ": :=y",
    "sizes": "sizes: " + "9 " * 300_000,
}


@pytest.mark.parametrize("line", LONG_LINES.values(), ids=LONG_LINES)
def test_a_line_that_ends_the_process_inside_of_a_library_never_gets_there(tmp_path, refused, line):
    """ITK's parser of NRRD headers writes past the end of a text on its way to an error message."""
    text = NRRD.format(4, "2 4 4 4", f"none {IDENTITY}", "raw")
    (tmp_path / "a.nrrd").write_bytes(f"{text}{line}\n\n".encode() + bytes(128))
    for read in (read_image, count_channels):
        refused(read, tmp_path / "a.nrrd")


def test_long_comments_and_descriptions_in_an_nrrd_header_do_no_harm(tmp_path):
    text = NRRD.format(3, "4 4 4", IDENTITY, "raw") + "#" + "x" * 9000 + "\na key:=" + "y: " * 3000 + "\n"
    (tmp_path / "a.nrrd").write_bytes(f"{text}content: {'z' * 9000}\n\n".encode() + bytes(64))
    assert read_image(tmp_path / "a.nrrd").shape == (4, 4, 4)


def test_an_nrrd_header_with_a_nul_byte_is_refused_for_libraries_end_their_lines_there(tmp_path, refused):
    text = NRRD.format(4, "2 4 4 4", f"none {IDENTITY}", "raw") + "kinds: list domain domain domain\0x\n\n"
    (tmp_path / "a.nrrd").write_bytes(text.encode() + bytes(128))
    for read in (read_image, count_channels):
        assert "it is no text" in refused(read, tmp_path / "a.nrrd")


@pytest.mark.parametrize(
    ("encoding", "content"), [("text", b"1 1 1"), ("hex", b"0a0a0a"), ("gzip", gzip.compress(b"", mtime=0))]
)
def test_an_nrrd_header_that_declares_more_than_its_text_can_hold_is_refused_before_memory_is_taken(
    tmp_path, refused, encoding, content
):
    text = NRRD.format(3, "1000 1000 1000", IDENTITY, encoding) + "\n"
    (tmp_path / "a.nrrd").write_bytes(text.encode() + content)
    assert "more than this file" in refused(read_image, tmp_path / "a.nrrd")


def nifti(shape=(4, 3, 2), **fields) -> bytes:
    """A NIfTI-1 file of int16 zeros, with header fields changed."""
    header = nib.Nifti1Image(np.zeros(shape, np.int16), np.eye(4)).header
    header["magic"], header["vox_offset"] = b"n+1", 352
    for name, value in fields.items():
        header[name] = value
    return header.binaryblock + bytes(4) + bytes(2 * int(np.prod(shape)))


def test_a_compressed_volume_that_ends_early_in_a_whole_gzip_stream_is_refused_in_one_line(tmp_path, refused):
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(nifti()[:-20]))
    assert "end too early" in refused(read_image, tmp_path / "a.nii.gz")


def test_an_impossible_rotation_is_refused_by_all_who_read_the_header(tmp_path, refused):
    (tmp_path / "a.nii").write_bytes(nifti(sform_code=0, qform_code=1, quatern_b=2.0))
    assert "header is damaged" in refused(read_image, tmp_path / "a.nii")
    assert "header is damaged" in refused(count_channels, tmp_path / "a.nii")


@pytest.mark.parametrize("length", [-8, 0, 2**31 - 1])
def test_extensions_of_a_header_are_passed_over_whatever_their_length_says(tmp_path, length):
    """A negative length once read a whole gzip stream, which may unpack to a thousand times the file."""
    content = bytearray(nifti(vox_offset=400))
    content[348:352] = b"\1\0\0\0"
    content[352:352] = struct.pack("<ii", length, 6) + bytes(40)
    (tmp_path / "a.nii").write_bytes(content)
    assert read_image(tmp_path / "a.nii").shape == (4, 3, 2)
    assert count_channels(tmp_path / "a.nii") == 1


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_a_small_file_that_unpacks_to_far_more_than_it_declares_is_refused(tmp_path, refused, suffix):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = nifti() if suffix == ".nii.gz" else bytes(64)
    packed = packer.compress(head) + b"".join(packer.compress(bytes(1 << 20)) for _ in range(20)) + packer.flush()
    text = b"" if suffix == ".nii.gz" else (NRRD.format(3, "4 4 4", IDENTITY, "gzip") + "\n").encode()
    (tmp_path / f"a{suffix}").write_bytes(text + packed)
    assert "far more data follow" in refused(read_image, tmp_path / f"a{suffix}")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_not_waited_for(tmp_path, refused):
    for name in ("a.nii.gz", "a.nrrd", "dataset.json", "plan.json"):
        os.mkfifo(tmp_path / name)
    for name in ("a.nii.gz", "a.nrrd"):
        assert "not a file" in refused(read_image, tmp_path / name)
    assert "not a file" in refused(open_dataset, tmp_path)
    assert "neither a file nor a folder" in refused(read_image, tmp_path)  # as a folder of slices
    with pytest.raises(BadSettingError, match="not a file"):
        Plan.load(tmp_path / "plan.json")


@pytest.mark.skipif(sys.platform != "linux", reason="only here are file names any bytes")
def test_a_file_name_that_is_no_text_is_refused(tmp_path, is_clear):
    (tmp_path / os.fsdecode(b"a\xff.nii.gz")).write_bytes(b"")
    with pytest.raises(BadDataError, match="not UTF-8") as error:
        open_dataset(tmp_path)
    assert is_clear(error.value)
    str(error.value).encode("utf-8")


# --- DICOM -----------------------------------------------------------------------------------------


@pytest.fixture
def a_series(tmp_path):
    """Writes three slices, one of them with some bytes replaced; returns the folder."""

    def write(old: bytes, new: bytes):
        contents = list(three_slices())
        assert contents[1].count(old) == 1
        contents[1] = contents[1].replace(old, new)
        for place, content in enumerate(contents):
            (tmp_path / f"{place}.dcm").write_bytes(content)
        return tmp_path

    return write


SERIES, ROWS = element(0x20, 0x0E, "UI", "1.2.3.4"), element(0x28, 0x10, "US", 6)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        # Most of these once had gigabytes taken for a file of one kilobyte.
        (SERIES, SERIES[:4] + b"OB\0\0" + struct.pack("<I", 1 << 30) + b"12", "claims 1,073,741,824 bytes"),
        (SERIES, SERIES[:4] + b"XX" + SERIES[6:], "cannot be told apart"),
        (b"\2\0\2\0UI", b"\2\0\2\0DI", "cannot be told apart"),
        (ROWS, element(0x28, 0x10, "US", 0xFFFF), "declares 1,048,560 bytes of pixels"),
        (b"DICM", b"DIC\0", "cannot be read"),
        (element(2, 0x10, "UI", EXPLICIT), element(2, 0x10, "UI", "1.2.840.10008.1.2.1.99"), "deflated"),
    ],
)
def test_a_dicom_slice_that_asks_for_more_than_it_holds_is_refused_by_name(a_series, refused, old, new, words):
    told = refused(read_image, a_series(old, new))
    assert words in told and "1.dcm" in told


@pytest.mark.parametrize("directions", ["1\\0\\0\\1\\0\\0", "0\\0\\0\\0\\0\\0", "nan\\0\\0\\0\\1\\0"])
def test_directions_that_contradict_themselves_are_refused(a_series, refused, directions):
    good, bad = (element(0x20, 0x37, "DS", text) for text in ("1\\0\\0\\0\\1\\0", directions))
    assert "direction" in refused(read_image, a_series(good, bad))


def test_zeros_behind_the_last_element_do_no_harm(a_series):
    pixels = three_slices()[1][-96:]
    assert read_image(a_series(pixels, pixels + bytes(64))).shape == (8, 6, 3)


@pytest.mark.parametrize("zeros", [4, 8, 12])
def test_zeros_hide_no_element_that_asks_for_more_than_there_is(a_series, refused, zeros):
    pixels = three_slices()[1][-96:]
    hidden = element(0x29, 0x1010, "OB", b"12")[:8] + struct.pack("<I", 1 << 30)
    assert "1.dcm" in refused(read_image, a_series(pixels, pixels + bytes(zeros) + hidden))


@pytest.mark.parametrize("syntax", [IMPLICIT, BIG_ENDIAN])
def test_every_order_of_bytes_is_read_alike(tmp_path, syntax):
    for place in range(3):
        (tmp_path / f"{place}.dcm").write_bytes(a_slice(place, syntax if place == 1 else EXPLICIT))
    plain = (np.arange(48).reshape(6, 8).T * 2 % 50) * 2 - 5
    np.testing.assert_array_equal(read_image(tmp_path).array[0, :, :, 1], plain)


# --- texts -----------------------------------------------------------------------------------------

DESCRIPTION = '{"modality": ["MR"], "labels": {"0": "background", "1": "a"}, "training": [%s]}'


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (f'"imagesTr/{HALF_A_CHARACTER}.nii.gz"', "half of a character"),
        (f'{{"image": "imagesTr/a.nii.gz", "{HALF_A_CHARACTER}": 1}}', "half of a character"),
        (f'"{"x" * 300}.nii.gz"', "does not exist"),
        ('"imagesTr/a\\nb\\u001b[31m.nii.gz"', "does not exist"),
        ("1" * 5000, "digits"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_listed_image_that_no_file_can_be_is_refused(a_data_set, refused, entry, words):
    told = refused(open_dataset, a_data_set(DESCRIPTION % entry))
    assert words in told and told.isprintable()


def test_a_key_that_stands_twice_among_very_many_is_found(a_data_set, refused):
    keys = [*(f'"{n}": 0' for n in range(200_000)), '"199999": 1']
    assert 'the key "199999" stands twice' in refused(open_dataset, a_data_set("{" + ", ".join(keys) + "}"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f'{{"dataset": "{HALF_A_CHARACTER}"}}', "half of a character"),
        ('{"batch_size": ' + "9" * 5000 + "}", "digits"),
        ("[" * 100_000, "not JSON"),
        ('{"a\\nb": 1}', "a b: Extra inputs"),
    ],
)
def test_a_plan_that_no_program_can_have_written_is_refused(tmp_path, text, words):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(BadSettingError, match=words) as error:
        Plan.load(tmp_path / "plan.json")
    assert str(error.value).isprintable() and error.value.hint


@pytest.mark.parametrize("text", ["²", "٣", "--1", "9" * 5000, "0,1\x1e,2", "1_0", "\udcff"])
def test_a_list_of_settings_that_only_looks_like_numbers_is_refused(text):
    for kind, name in ((PretrainSettings, "topology_dims"), (FinetuneSettings, "fused_stages")):
        with pytest.raises(BadSettingError):
            settings_from(kind, [f"{name}={text}"])


@pytest.mark.parametrize("header", ["1)", "{'descr': '<f4', 'shape': (2,", "{[]: 1}", "-" * 9000 + "1"])
def test_an_array_file_whose_header_is_no_dictionary_is_refused(tmp_path, header):
    text = header.encode()
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + bytes(100))
    rows = tuple(tuple(float(i == j) for j in range(4)) for i in range(4))
    with pytest.raises(BadDataError, match=r"not an \.npy file that can be read|does not fit into memory"):
        read_array(VolumeFile(array=path, affine=rows), "volume", print)


def test_a_lock_whose_owner_has_an_infinite_id_belongs_to_nobody_alive(tmp_path):
    for text in ('{"pid": 1e999, "started": "", "host": "", "token": ""}', "[" * 100_000):
        (tmp_path / "lock").write_text(text)
        assert read_owner(tmp_path / "lock", patience=0).pid == 0


def test_damaged_rows_of_the_curves_are_dropped_when_a_run_goes_back(tmp_path):
    table = tmp_path / "metrics.csv"
    good = "step,phase,name,value\n1,train,loss,0.5\n"
    table.write_bytes((good + '2,"tr\rain,x,1\n3,a\rb,x,1\n' + "9" * 5000 + ",train,loss,1\n").encode())
    curves = Curves(table)
    curves.rewind(1)
    curves.close()
    assert table.read_bytes() == good.encode()


def test_a_geometry_with_an_infinite_number_of_voxels_is_none():
    good = Geometry((4, 4, 4), np.eye(4), ((0, 1), (1, 1), (2, 1)), ((0, 4),) * 3, (4, 4, 4)).to_dict()
    assert Geometry.from_dict(json.loads(json.dumps(good))).shape == (4, 4, 4)
    for part in ("shape", "box", "orientation"):
        with pytest.raises(ValueError):
            Geometry.from_dict(good | {part: json.loads("[1e999, [1e999, 1e999], [1e999, 1]]")})


def test_a_sentence_is_one_printable_line_of_moderate_length():
    error = BadDataError("a\nb\x1b[31m\udcff" + "x" * 10_000, hint="c\r\nd", case="e\nf", path="g\nh\x07")
    assert str(error).isprintable() and len(str(error)) < 3000
    assert error.case == "e\nf" and error.path.name == "g\nh\x07"  # as they are, for programs


def test_a_path_too_long_to_exist_is_told_as_such_by_every_command(tmp_path):
    long = "x" * 400
    for arguments in (
        ["plan", "--data", long, "--output", "p.json"],
        ["segment", "--model", long, "--input", str(tmp_path), "--output", str(tmp_path / "o")],
        ["evaluate", "--predictions", long, "--labels", str(tmp_path), "--output", str(tmp_path / "o")],
    ):
        result = CliRunner().invoke(app, [*arguments, "--events", "json"])
        event = next(json.loads(line) for line in result.output.splitlines() if '"event": "error"' in line)
        assert result.exit_code == 1 and "too long" in event["message"] and event["hint"], event
