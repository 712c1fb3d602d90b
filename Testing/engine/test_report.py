"""The report: self-contained, inert whatever names say, true pictures, any state of a run folder."""

from __future__ import annotations

import base64
import csv
import dataclasses
import io
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from topomae.data.plan import Normalization, Plan
from topomae.data.volume_io import read_labels, write_image, write_labels
from topomae.errors import BadDataError, BadSettingError
from topomae.evaluation.segmentation import Evaluation, evaluate
from topomae.reporting.figures import group_curves, slice_picture, thinned
from topomae.reporting.html import LABEL_COLOUR, PREDICTION_COLOUR
from topomae.reporting.report import write_report
from topomae.reporting.run_folder import read_curves, read_run
from topomae.reporting.slices import case_pictures, read_scene

EVIL = "<script>alert(1)</script>"
EVIL_ATTRIBUTE = '"><img src=x onerror=alert(1)>'


class Page(HTMLParser):
    """What a browser would see: elements with attributes, and the text."""

    def __init__(self, html: str):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def pictures(self) -> list[tuple[str, bytes, str]]:
        """(kind, content, alternative text) of every picture."""
        found = []
        for tag, attributes in self.elements:
            if tag == "img":
                match = re.fullmatch(r"data:image/(png|svg\+xml);base64,(.+)", attributes["src"])
                found.append((match[1], base64.b64decode(match[2], validate=True), attributes["alt"]))
        return found


def open_page(path) -> Page:
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert_inert_and_complete(page, html)
    return page


def assert_inert_and_complete(page: Page, html: str) -> None:
    """Nothing that runs, nothing that is fetched, every picture a picture."""
    active = {"script", "iframe", "link", "object", "embed", "base", "form"}
    assert {tag for tag, _ in page.elements}.isdisjoint(active)
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")], tag
        assert attributes.get("src", "data:").startswith("data:")
        assert attributes.get("href", "#").startswith("#")
    policies = [a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == [
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    ]
    assert not re.search(r"url\(|@import|https?://", html)
    for kind, content, alternative in page.pictures():
        assert alternative
        if kind == "png":
            assert read_png(content).size
        else:
            ElementTree.fromstring(content)


def read_png(content: bytes) -> np.ndarray:
    """(height, width, 3) in 0 to 1, first row on top."""
    return imread(io.BytesIO(content), format="png")[..., :3]


def where(picture: np.ndarray, colour: str) -> tuple[np.ndarray, np.ndarray]:
    """Across and down positions, as fractions of the picture, of the pixels of a colour."""
    close = np.abs(picture - to_rgb(colour)).max(axis=-1) < 0.12
    down, across = np.nonzero(close)
    return across / picture.shape[1], down / picture.shape[0]


@pytest.fixture
def an_evaluation(tmp_path) -> Evaluation:
    """Cases good, bad and middle with label, prediction and image; spacing 1 x 1 x 3 mm."""
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    label = np.zeros((24, 28, 12), np.uint8)
    label[6:16, 8:20, 3:8] = 1
    for case, shift in (("good", 0), ("bad", 6), ("middle", 2)):
        write_labels(tmp_path / "labels" / f"{case}.nii.gz", label, affine)
        write_labels(tmp_path / "predictions" / f"{case}.nii.gz", np.roll(label, shift, 1), affine)
        image = np.random.default_rng(shift).normal(size=label.shape).astype(np.float32)
        write_image(tmp_path / "images" / f"{case}.nii.gz", image, affine)
    return evaluate(
        tmp_path / "predictions",
        tmp_path / "labels",
        tmp_path / "evaluation",
        label_names={1: "organ"},
        images=tmp_path / "images",
    )


def a_plan(**changes) -> Plan:
    values = {
        "dataset": "Phantoms",
        "modalities": ("MR",),
        "labels": {1: "organ"},
        "spacing": (1, 1, 3),
        "normalization": (Normalization(kind="robust"),),
        "crop_size": (16, 16, 8),
        "patch_size": (8, 8, 4),
        "stem_stride": (2, 2, 1),
        "batch_size": 2,
        "size": "small",
        "reasons": {"spacing": "the median spacing"},
    }
    return Plan(**{**values, **changes})


@pytest.fixture
def a_run(tmp_path):
    """A run folder with plan, curves, events and previews of steps 10 and 20."""
    folder = tmp_path / "run"
    a_plan().save(folder / "plan.json")
    lines = ["step,phase,name,value"]
    for step in range(30):
        lines += [f"{step},pretrain,reconstruction/{b},{1 / (step + 1)}" for b in ("vit", "unetrpp")]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    events = [
        {"event": "start", "time": "2030-01-01T10:00:00.000+00:00", "device": "cpu"},
        {"event": "warning", "time": "2030-01-01T10:01:00.000+00:00", "message": "thin", "case": "c7"},
        {"event": "end", "time": "2030-01-01T11:05:00.000+00:00", "status": "stopped"},
    ]
    text = "\n".join(json.dumps(event) for event in events)
    (folder / "events.jsonl").write_text(text + '\n{"event": "torn', encoding="utf-8")
    points = np.arange(27.0).reshape(9, 3)
    told = {
        "true": points.tolist(),
        "vit": (points + np.array([3, 4, 0])).tolist(),
        "unetrpp": points.tolist(),
    }
    for step in (10, 20):
        for kind in ("input", "masked", "vit", "unetrpp"):
            volume = np.random.default_rng(step).normal(size=(16, 12, 8)).astype(np.float32)
            write_image(folder / "previews" / f"step_{step:08d}_{kind}.nii.gz", volume, np.eye(4))
        path = folder / "previews" / f"step_{step:08d}_keypoints.json"
        path.write_text(json.dumps(told), encoding="utf-8")
    return folder


def test_the_whole_report_is_one_inert_file_with_every_part(an_evaluation, a_run, tmp_path):
    path = write_report(tmp_path / "out", pretrain=a_run, finetune=a_run, evaluation=an_evaluation)
    assert path == tmp_path / "out" / "report.html"
    page = open_page(path)
    assert list((tmp_path / "out").iterdir()) == [path]
    headings = [e[1]["id"] for e in page.elements if e[0] == "h2"]
    assert headings == ["labels", "pictures", "cases", "plan", "pre-training", "fine-tuning"]
    assert f"{an_evaluation.mean_dice:.3f}" in page.text
    assert "the median spacing" in page.text
    assert "1 h 5 min" in page.text and "stopped" in page.text and "case c7: thin" in page.text
    kinds = [kind for kind, _, _ in page.pictures()]
    cases, curves, previews = 3 * 3, 2 * 1, 2 * (2 * 4 * 3)
    assert (kinds.count("png"), kinds.count("svg+xml")) == (cases + previews, curves + 2 * 2)
    assert "ViT 5.0 mm off on average, UNETR++ 0.0 mm off" in page.text
    viewport = next(a for _, a in page.elements if a.get("name") == "viewport")
    assert "width=device-width" in viewport["content"]


def test_names_and_messages_cannot_become_markup(an_evaluation, a_run, tmp_path):
    names = {"good": EVIL, "bad": EVIL_ATTRIBUTE, "middle": "x' onmouseover='alert(1)"}
    rows = tuple(dataclasses.replace(row, case=names[row.case], name=EVIL, reason=EVIL) for row in an_evaluation.rows)
    labels = {1: an_evaluation.summary.per_label[1].model_copy(update={"name": EVIL})}
    evil = {"per_label": labels, "notes": (EVIL,), "missing_predictions": (EVIL_ATTRIBUTE,)}
    evaluation = Evaluation(rows, an_evaluation.summary.model_copy(update=evil))
    a_plan(dataset=EVIL, labels={1: EVIL_ATTRIBUTE}, reasons={"spacing": EVIL}).save(a_run / "plan.json")
    with open(a_run / "events.jsonl", "a", encoding="utf-8") as file:
        file.write("\n" + json.dumps({"event": "warning", "message": EVIL, "case": EVIL_ATTRIBUTE}) + "\n")
    with open(a_run / "metrics.csv", "a", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows((0, "pretrain", name, 1) for name in (EVIL, EVIL_ATTRIBUTE, "$\\bad{$"))
    path = write_report(tmp_path / "evil.html", title=EVIL, pretrain=a_run, evaluation=evaluation)
    page = open_page(path)  # which asserts that nothing runs
    assert page.text.count(EVIL) > 8
    assert EVIL_ATTRIBUTE in page.text


def test_a_case_called_like_a_script_is_inert_from_file_to_page(an_evaluation, tmp_path):
    for side in ("predictions", "labels"):
        original = tmp_path / side / "bad.nii.gz"
        try:
            original.rename(original.with_name("<script>alert(1)<script>.nii.gz"))
        except OSError:
            pytest.skip("this system does not allow such file names")
    evaluation = evaluate(tmp_path / "predictions", tmp_path / "labels", tmp_path / "again")
    page = open_page(write_report(tmp_path / "again", evaluation=tmp_path / "again"))
    assert evaluation.rows[0].case == "<script>alert(1)<script>"
    assert "<script>alert(1)<script>" in page.text


def test_cases_come_worst_first_in_pictures_and_table(an_evaluation, tmp_path):
    html = write_report(tmp_path / "r.html", evaluation=an_evaluation).read_text(encoding="utf-8")
    table = html[html.index('id="cases"') :]
    assert re.findall(r'class="name"><span>(\w+)<', table) == ["bad", "middle", "good"]
    assert re.findall(r"<h3>(\w+) <span", html) == ["bad", "middle", "good"]
    one = open_page(write_report(tmp_path / "r.html", evaluation=an_evaluation, pictures=1))
    drawn = [alternative.split(":")[0] for _, _, alternative in one.pictures()]
    assert drawn == ["bad"] * 3 + ["middle"] * 3 + ["good"] * 3  # the worst, the middle and the best


def test_contours_lie_where_the_masks_are_in_true_proportions():
    label, prediction = np.zeros((40, 10), bool), np.zeros((40, 10), bool)
    label[4:12, 2:6] = True
    prediction[24:36, 5:9] = True
    picture = read_png(slice_picture(None, (1.0, 5.0), ("", "", "", ""), labels=[label], predictions=[prediction]))
    height, width = picture.shape[:2]
    assert width / height == pytest.approx(40 * 1.0 / (10 * 5.0), rel=0.02)
    for colour, (left, right), (bottom, top) in (
        (LABEL_COLOUR, (4, 12), (2, 6)),
        (PREDICTION_COLOUR, (24, 36), (5, 9)),
    ):
        across, down = where(picture, colour)
        assert (across.min(), across.max()) == pytest.approx((left / 40, right / 40), abs=0.02)
        assert (down.min(), down.max()) == pytest.approx((1 - top / 10, 1 - bottom / 10), abs=0.06)


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (1, -1, -1)])
def test_pictures_show_the_patients_right_on_the_left_and_front_on_top(tmp_path, signs):
    affine = np.diag([*(s * v for s, v in zip(signs, (1.0, 1.5, 3.0), strict=True)), 1.0])
    label = np.zeros((30, 20, 12), np.uint8)
    label[20:26, 12:17, 7:10] = 1  # at high i, j, k: right, front and head where signs are positive
    label[4:6, 3:5, 2:3] = 2  # opens up the field of view, and is not the largest
    write_labels(tmp_path / "y.nii.gz", label, affine)
    scene = read_scene("y", tmp_path / "y.nii.gz", tmp_path / "y.nii.gz", None)
    assert scene.spacing == (1.0, 1.5, 3.0)
    html = "".join(case_pictures(scene, (1, 2), "y"))
    pictures = [read_png(content) for _, content, _ in Page(html).pictures()]
    right, front, head = (sign > 0 for sign in signs)
    expected = ((right, front), (right, head), (front, head))  # at the left, at the top
    for picture, (at_left, at_top) in zip(pictures, expected, strict=True):
        across, down = where(picture, PREDICTION_COLOUR)
        assert (np.median(across) < 0.5, np.median(down) < 0.5) == (at_left, at_top)


def test_slices_go_through_the_largest_area_of_the_label(tmp_path):
    label = np.zeros((20, 20, 20), np.uint8)
    label[10, 5:15, 5:15] = label[5:15, 12, 5:15] = label[5:15, 5:15, 7] = 1
    write_labels(tmp_path / "y.nii.gz", label, np.eye(4))
    scene = read_scene("y", tmp_path / "y.nii.gz", tmp_path / "y.nii.gz", None)
    html = "".join(case_pictures(scene, (1,), "y"))
    told = re.findall(r"(\w+), slice (\d+) of", html)
    assert told == [("axial", "8"), ("coronal", "13"), ("sagittal", "11")]


def test_an_image_on_another_grid_or_unreadable_does_not_stop_the_pictures(an_evaluation, tmp_path):
    write_image(tmp_path / "images" / "bad.nii.gz", np.zeros((3, 3, 3), np.float32), np.eye(4))
    (tmp_path / "images" / "good.nii.gz").write_bytes(b"not an image")
    page = open_page(write_report(tmp_path / "r.html", evaluation=an_evaluation))
    assert len(page.pictures()) == 9


def test_predictions_that_are_gone_leave_numbers_and_say_so(an_evaluation, tmp_path):
    for path in (tmp_path / "predictions").iterdir():
        path.unlink()
    page = open_page(write_report(tmp_path / "r.html", evaluation=tmp_path / "evaluation"))
    assert page.pictures() == []
    assert "No pictures" in page.text and f"{an_evaluation.mean_dice:.3f}" in page.text


def test_structures_that_are_missed_or_nowhere_are_told(tmp_path):
    label = np.zeros((8, 8, 8), np.uint8)
    label[2:5, 2:5, 2:5] = 1
    write_labels(tmp_path / "y.nii.gz", label, np.eye(4))
    write_labels(tmp_path / "p.nii.gz", label * 0, np.eye(4))
    names = {1: "organ", 2: "nowhere"}
    result = evaluate(tmp_path / "p.nii.gz", tmp_path / "y.nii.gz", tmp_path / "e", label_names=names)
    page = open_page(write_report(tmp_path / "r.html", evaluation=result))
    assert "organ: prediction empty" in page.text
    assert "nan" not in page.text.lower()


def test_a_killed_or_damaged_run_is_shown_as_far_as_it_is_there(a_run, tmp_path):
    with open(a_run / "metrics.csv", "a", encoding="utf-8") as file:
        file.write("30,pretrain,reconstruction/vit,nan\n31,pretrain,recon")
    with open(a_run / "metrics.csv", "ab") as file:
        file.write(b"\n\xff\xfe\x00\n")
    (a_run / "plan.json").write_text('{"version": 1', encoding="utf-8")
    (a_run / "previews" / "step_00000020_vit.nii.gz").write_bytes(b"torn")
    (a_run / "previews" / "step_00000010_keypoints.json").write_text("[1, 2", encoding="utf-8")
    page = open_page(write_report(tmp_path / "r.html", pretrain=a_run))
    assert "the plan is not JSON" in page.text
    kinds = [kind for kind, _, _ in page.pictures()]
    assert (kinds.count("png"), kinds.count("svg+xml")) == ((4 + 3) * 3, 1 + 1)
    empty = tmp_path / "young"
    empty.mkdir()
    assert "No curves yet" in open_page(write_report(tmp_path / "r.html", pretrain=empty)).text


def test_nothing_to_report_and_folders_that_do_not_exist_are_refused(tmp_path):
    with pytest.raises(BadSettingError, match="nothing to report"):
        write_report(tmp_path)
    with pytest.raises(BadDataError, match="run folder does not exist"):
        write_report(tmp_path, pretrain=tmp_path / "absent")
    with pytest.raises(BadDataError, match="no complete evaluation"):
        write_report(tmp_path, evaluation=tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


def test_of_a_step_written_twice_the_later_value_counts(tmp_path):
    text = "step,phase,name,value\n5,train,loss,9\n4,train,loss,2\n5,train,loss,1\n6,train,loss,oops\n"
    (tmp_path / "metrics.csv").write_text(text, encoding="utf-8")
    steps, values = read_curves(tmp_path / "metrics.csv")["train", "loss"]
    assert (steps.tolist(), values.tolist()) == ([4, 5], [2, 1])


def test_curves_that_belong_together_share_a_panel():
    curve = (np.arange(3.0), np.arange(3.0))
    names = [
        ("pretrain", "reconstruction/vit"),
        ("pretrain", "reconstruction/unetrpp"),
        ("finetune", "loss"),
        ("validate", "loss"),
        ("validate", "dice"),
        ("validate", "dice/Anterior"),
        ("finetune", "learning_rate"),
    ]
    panels = {title: list(curves) for title, curves in group_curves(dict.fromkeys(names, curve)).items()}
    assert panels == {
        "reconstruction": ["ViT", "UNETR++"],
        "loss": ["finetune", "validate"],
        "dice": ["mean", "Anterior"],
        "learning_rate": [""],
    }


def test_long_curves_are_averaged_and_stay_true():
    steps = np.arange(10_000.0)
    values = np.where(steps == 17, np.nan, 2 * steps)
    at, mean = thinned(steps, values, most=100)
    assert len(at) == 100
    assert mean[1:] == pytest.approx(2 * at[1:])
    assert np.isfinite(mean).all()


def test_a_run_without_anything_has_no_facts(tmp_path):
    facts = read_run(tmp_path)
    assert (facts.plan, facts.curves, facts.previews, facts.facts, facts.warnings) == (None, {}, (), (), ())


def test_real_hippocampus_with_a_perturbed_copy_gives_pictures_on_the_images(hippocampus_dataset, tmp_path):
    for shift, case in enumerate(hippocampus_dataset.fixed_split.test[:3]):
        volume = read_labels(hippocampus_dataset.case(case).label)
        write_labels(tmp_path / "p" / f"{case}.nii.gz", np.roll(volume.array[0], shift, 1), volume.affine)
    result = evaluate(tmp_path / "p", hippocampus_dataset.folder, tmp_path / "e")
    page = open_page(write_report(tmp_path / "e", evaluation=result))
    pictures = page.pictures()
    worst = hippocampus_dataset.fixed_split.test[2]
    assert [alternative.startswith(worst) for _, _, alternative in pictures] == [True] * 3 + [False] * 6
    for _, content, _ in pictures:
        picture = read_png(content)
        assert picture.mean(axis=-1).std() > 0.1  # the image is behind the contours
        assert len(where(picture, PREDICTION_COLOUR)[0]) > 100
    assert "Posterior" in page.text and "62 of 65 labelled cases" in page.text
