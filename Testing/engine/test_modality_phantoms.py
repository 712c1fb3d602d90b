"""Multi-modal phantoms: what is the same between modalities, visits and people, and what tells them apart."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import ndimage

from topomae.data.dataset import check_dataset, open_dataset
from topomae.data.modality_phantoms import LABELS, MODALITIES, draw_head, make_modality_phantoms
from topomae.errors import BadDataError, BadSettingError

GRID = {"shape": (32, 32, 24), "spacing": (1.9, 1.9, 1.9)}


def head(number, visit="a"):
    return draw_head(seed=0, name=f"head_{number:03d}_{visit}", subject=f"head_{number:03d}", **GRID)


@pytest.fixture(scope="module")
def heads():
    return [head(number) for number in range(24)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_modality_phantoms(tmp_path_factory.mktemp("heads") / "data", subjects=12, labelled=3)


def contrast(phantom, modality, label):
    """How far a label stands out from the tissue right around it, as a part of the brightness of that."""
    image = phantom.images[MODALITIES.index(modality)]
    inside = phantom.labels == next(value for value, name in LABELS.items() if name == label)
    around = ndimage.binary_dilation(inside, iterations=2) & (phantom.labels == 0)
    return abs(image[inside].mean() / image[around].mean() - 1) if inside.any() else np.nan


def test_every_structure_shows_where_it_does_in_real_scans(heads):
    def usual(modality, label):
        return np.nanmedian([contrast(phantom, modality, label) for phantom in heads])

    assert usual("FLAIR", "lesion") > 2 * usual("T1c", "lesion")
    assert usual("T2", "deep nuclei") > 1.5 * usual("FLAIR", "deep nuclei")
    assert min(usual(modality, "ventricles") for modality in MODALITIES) > 0.2


def test_both_classes_are_frequent_and_show_as_a_bright_rim_on_t1c_only(heads):
    active = np.array([phantom.active for phantom in heads])
    assert 0.25 < active.mean() < 0.75

    def brightest(phantom, modality):
        image = phantom.images[MODALITIES.index(modality)]
        return np.percentile(image[phantom.labels == 3], 95) / np.median(image[phantom.labels == 3])

    for modality, differs in (("T1c", True), ("FLAIR", False)):
        values = np.array([brightest(phantom, modality) for phantom in heads])
        assert (np.median(values[active]) > 1.2 * np.median(values[~active])) == differs


def test_a_person_keeps_the_anatomy_from_one_visit_to_the_next_and_people_differ():
    def ventricles(phantom):
        return np.count_nonzero(phantom.labels == 1) * abs(np.linalg.det(phantom.affine[:3, :3]))

    first = np.array([ventricles(head(number, "a")) for number in range(8)])
    second = np.array([ventricles(head(number, "b")) for number in range(8)])
    assert np.abs(first - second).max() < 0.25 * first.mean()
    assert first.max() > 1.5 * first.min()
    assert not np.array_equal(head(4, "a").images, head(4, "b").images)


def test_equal_arguments_give_equal_scans():
    assert np.array_equal(head(3).images, head(3).images)


def test_the_data_set_opens_with_its_modalities_subjects_and_few_labels(folder):
    dataset = open_dataset(folder)
    assert dataset.modalities == MODALITIES
    assert len(dataset.cases) == 15
    assert len({case.subject for case in dataset.cases}) == 12
    split = dataset.fixed_split
    assert sum(dataset.case(name).label is not None for name in split.train) == 3
    assert all(report.ok for report in check_dataset(dataset, dataset.cases[:3], labels_needed=False))


def test_all_scans_of_a_person_stand_on_one_side_of_the_split(folder):
    split = json.loads((folder / "splits.json").read_text())
    people = [{split["subject_of"][name] for name in split[use]} for use in ("train", "val", "test")]
    assert not people[0] & people[1] and not people[0] & people[2] and not people[1] & people[2]


def test_a_folder_is_used_again_for_the_same_data_set_only(folder):
    before = (folder / "dataset.json").stat().st_mtime_ns
    make_modality_phantoms(folder, subjects=12, labelled=3)
    assert (folder / "dataset.json").stat().st_mtime_ns == before
    with pytest.raises(BadDataError, match="another data set"):
        make_modality_phantoms(folder, subjects=12, labelled=4)
    with pytest.raises(BadSettingError, match="10 people"):
        make_modality_phantoms(folder, subjects=3)
