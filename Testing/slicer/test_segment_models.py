"""Model folders: what is read of them, whether volumes fit them, and the list of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from segment_helpers import MIRRORED, greyVoxels

pytest_plugins = ("segment_fixtures",)


def test_a_card_tells_what_the_engine_wrote(slicer, untrainedModel):
    from TopoMAELib.model_folders import ModelCard

    card = ModelCard.read(untrainedModel.parent)  # given the run, it finds the model in it
    assert card.folder == str(untrainedModel)
    assert card.name == "Untrained (untrained)"
    assert card.modalities == ("MRI",)
    assert [(label.value, label.name) for label in card.labels] == [(1, "Anterior"), (2, "Left kidney")]
    assert card.labels[1].terminology["type"]["meaning"] == "Kidney"
    assert (card.validationDice, card.trainingCases) == (0.8765, 2)
    assert card.sizeOnDisk > 1e6


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda place: (place / "labels.json").unlink(), "is no model; choose the folder"),
        (lambda place: (place / "plan.json").write_text("{"), "plan.json is damaged"),
        (lambda place: (place / "plan.json").write_text("[]"), "plan.json is damaged"),
        (lambda place: (place / "plan.json").write_text('{"version": 2}'), "made by a newer version of TopoMAE"),
        (lambda place: (place / "labels.json").write_text('{"labels": [{"value": 0}]}'), "is damaged"),
    ],
)
def test_a_folder_that_is_no_model_is_refused_in_words(slicer, makeCardFolder, damage, words):
    from TopoMAELib.model_folders import ModelCard, ModelFolderError

    place = makeCardFolder()
    damage(place)
    with pytest.raises(ModelFolderError, match=words):
        ModelCard.read(place)


def test_a_pre_training_run_is_refused_with_what_to_do(slicer, tmp_path):
    from TopoMAELib.model_folders import ModelCard, ModelFolderError

    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(ModelFolderError, match="it is a pre-training, or has not finished"):
        ModelCard.read(tmp_path)


def test_a_model_of_whole_volumes_is_left_out_with_the_reason(slicer, makeCardFolder):
    from TopoMAELib.model_folders import ModelCard, ModelFolderError

    place = makeCardFolder()
    content = json.loads((place / "network.json").read_text())
    content["network"]["task"] = "classification"
    (place / "network.json").write_text(json.dumps(content))
    with pytest.raises(ModelFolderError, match="says the class of whole volumes and cannot segment"):
        ModelCard.read(place)


def test_the_run_that_a_model_started_from_is_found_while_it_exists(slicer, makeCardFolder, tmp_path):
    from TopoMAELib.model_folders import ModelCard

    place, start = makeCardFolder("run/model"), tmp_path / "pretrain"
    (place.parent / "settings.json").write_text(json.dumps({"settings": {"init": str(start)}}))
    assert ModelCard.read(place).pretrainedRun == ""
    start.mkdir()
    assert ModelCard.read(place).pretrainedRun == str(start)


def test_a_volume_like_the_training_images_fits(card, aVolume):
    assert card.misfit([aVolume]) == []


def test_a_ct_given_to_an_mr_model_is_told_by_its_values(card, scene):
    from TopoMAELib.volumes import addVolume

    volume = addVolume(greyVoxels(offset=-1000), MIRRORED, "chest")
    assert card.misfit([volume]) == ["chest: values down to -1000 as in CT, but the model was trained on MRI."]


def test_an_mr_given_to_a_ct_model_is_told_by_its_values(slicer, makeCardFolder, aVolume):
    from TopoMAELib.model_folders import ModelCard

    place = makeCardFolder(plan={"modalities": ["CT"], "normalization": [{"kind": "ct"}]})
    (told,) = ModelCard.read(place).misfit([aVolume])
    assert told.startswith("MR head: no value is below 0, so these are probably not the Hounsfield units")


def test_voxels_of_another_size_are_told_along_the_bodys_axes(card, scene):
    from TopoMAELib.volumes import addVolume

    # The array's first axis runs towards the head: 4 mm there is the spacing along S.
    affine = np.array([[0.0, 0, 1, 0], [0, 1, 0, 0], [4, 0, 0, 0], [0, 0, 0, 1]])
    (told,) = card.misfit([addVolume(greyVoxels(), affine, "thick")])
    assert told == "thick: its voxels of 1 × 1 × 4 mm are very unlike the 1 × 1 × 1 mm that the model works at."


def test_too_few_volumes_and_volumes_on_other_voxels_are_told(slicer, makeCardFolder, aVolume):
    from TopoMAELib.model_folders import ModelCard
    from TopoMAELib.volumes import addVolume

    two = ModelCard.read(
        makeCardFolder(plan={"modalities": ["T1", "FLAIR"], "normalization": [{"kind": "robust"}] * 2})
    )
    assert two.misfit([aVolume]) == ["The model needs 2 volumes (T1, FLAIR), but 1 are chosen."]
    other = addVolume(greyVoxels(), MIRRORED, "other")
    assert two.misfit([aVolume, other]) == ["other has other voxels than MR head; resample it to the same grid first."]


def test_the_list_remembers_folders_tells_of_changes_and_shows_what_is_gone(slicer, makeCardFolder):
    import shutil

    from TopoMAELib.model_folders import ModelFolderError, ModelList

    told = []
    ModelList.changed.append(lambda: told.append(1))
    try:
        first, second = makeCardFolder("a"), makeCardFolder("b")
        ModelList().add(first)
        ModelList().add(second)
        ModelList().add(first)
        assert ModelList().folders() == [str(first), str(second)]
        assert len(told) == 2
        shutil.rmtree(first)
        gone, kept = ModelList().entries()
        assert gone.card is None and gone.problem.startswith(f"There is no folder {first}")
        assert [card.folder for card in ModelList().cards()] == [kept.folder]
        with pytest.raises(ModelFolderError):
            ModelList().add(first)
        ModelList().remove(str(first))
        assert ModelList().folders() == [str(second)]
        assert second.is_dir()
    finally:
        ModelList.changed.pop()
