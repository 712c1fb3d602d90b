"""The comparison with other methods is fair and is what it says: Testing/benchmarks/accuracy."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from topomae.data.file_names import stem_of
from topomae.data.phantoms import make_phantoms

HARNESS = Path(__file__).resolve().parents[1] / "benchmarks" / "accuracy"
LABELLED = 2


@pytest.fixture(scope="module", autouse=True)
def harness_importable():
    """Its scripts import one another by name, as they do when started from the command line."""
    sys.path.insert(0, str(HARNESS))
    yield
    sys.path.remove(str(HARNESS))


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> Path:
    """Five labelled training cases, one for validation, two for the test."""
    return make_phantoms(tmp_path_factory.mktemp("phantoms"), cases=8, labelled=5, shape=(24, 24, 16))


@pytest.fixture
def study(phantoms, tmp_path):
    import hippocampus
    from protocol import Study

    return Study(hippocampus.protocol(phantoms), tmp_path / "study", {"device": "cpu"})


def _perfect(study, seen: list[Path] | None = None):
    """A method that trains nothing, notes what it was shown, and answers with the true labels."""
    from topomae.data.dataset import open_dataset
    from topomae.data.volume_io import read_labels, write_labels

    def train(cell, data: Path, run: Path):
        if seen is not None:
            seen.extend(path for path in [*data.rglob("*"), *study.folder.rglob("*")] if path.is_file())

        def segment(images: Path, output: Path) -> None:
            truth = open_dataset(study.protocol.data)
            for image in images.iterdir():
                label = read_labels(truth.case(image.name.removesuffix(".nii.gz").removesuffix("_0000")).label)
                write_labels(output / image.name.replace("_0000", ""), label.array, label.affine)

        nothing = {"seconds": 0.0, "steps": 0}
        return segment, {"pretraining": nothing, "training": nothing, "seconds": 0.0, "parameters": 0}

    return train


def test_a_cell_that_is_done_is_not_computed_again(study):
    from protocol import Cell

    cell = Cell("dynunet", LABELLED, 0)
    first = study.cell(cell, _perfect(study))

    def never(*_):
        raise AssertionError("computed again")

    assert study.cell(cell, never) == first
    assert first["scores"]["dice"] == 1.0
    assert study.rows() == [first]


def test_cells_of_another_budget_do_not_get_into_the_same_table(study):
    from protocol import Cell, Study

    study.cell(Cell("dynunet", LABELLED, 0), _perfect(study))
    assert Study(study.protocol, study.folder, {"device": "cpu"}).rows() == study.rows()
    with pytest.raises(SystemExit, match="holds cells with device cpu, not cuda"):
        Study(study.protocol, study.folder, {"device": "cuda"})


def test_training_is_shown_no_test_case_and_only_the_labels_it_may_use(study):
    from protocol import Cell

    seen: list[Path] = []
    study.cell(Cell("dynunet", LABELLED, 0), _perfect(study, seen))

    protocol = study.protocol
    assert not [path for path in seen for name in protocol.test if path.name.startswith(name)]
    labels = {stem_of(path) for path in seen if path.parent.name == "labelsTr"}
    assert labels == {*protocol.train[:LABELLED], *protocol.val}
    images = {
        path.name.removesuffix(".nii.gz").removesuffix("_0000") for path in seen if path.parent.name == "imagesTr"
    }
    assert images == {*protocol.train, *protocol.val}


def test_a_case_cannot_train_and_test(phantoms):
    from protocol import Protocol

    with pytest.raises(ValueError, match="b is a test case"):
        Protocol("wrong", phantoms, ("a", "b"), (), ("b", "c"))


def test_a_case_that_was_not_segmented_makes_no_result(study):
    from protocol import Cell

    def train(cell, data, run):
        perfect, report = _perfect(study)(cell, data, run)

        def all_but_one(images: Path, output: Path) -> None:
            perfect(images, output)
            next(output.glob("*.nii.gz")).unlink()

        return all_but_one, report

    cell = Cell("dynunet", LABELLED, 0)
    with pytest.raises(RuntimeError, match="segmented 1 of 2"):
        study.cell(cell, train)
    assert not study.path(cell).exists()


def test_a_network_trains_within_its_budget_and_the_results_are_written(study):
    from engine_methods import Conditions
    from peers import Peer
    from protocol import Cell
    from tables import write_results

    budget = 3.0
    given = Conditions(folder=study.folder, device="cpu", size="small", budget=budget, validations=1)
    row = study.cell(Cell("dynunet", LABELLED, 0), Peer(given))
    assert row["training"]["steps"] >= 1
    assert row["seconds"] < 2 * budget
    assert 0 <= row["validation_dice"] <= 1
    write_results(study.rows(), study.folder, title="Phantoms")
    assert "DynUNet (MONAI)" in (study.folder / "results.md").read_text(encoding="utf-8")
    assert (study.folder / "results.png").stat().st_size > 1000


def test_the_autoencoders_whole_encoder_reaches_the_unetr(phantoms):
    import torch
    from peers import build_autoencoder, build_peer, hand_over, padded, patches_of

    import topomae

    plan = topomae.plan(phantoms, overrides={"crop_size": (48, 32, 32)})
    autoencoder, unetr = build_autoencoder(plan, 0.75).eval(), build_peer("mae-unetr", plan).network.eval()
    hand_over(autoencoder, unetr)
    image = padded(torch.rand(1, 1, *plan.crop_size))
    tokens = autoencoder.patch_embedding(image)
    features, _ = unetr.vit(image)
    torch.testing.assert_close(features, autoencoder.blocks(tokens))
    # The order of patches is that of tokens: only the embedding of the patch that changed changes.
    changed = patches_of(image)
    changed[0, 5] += 1
    difference = (autoencoder.patch_embedding(_image_of(changed, image.shape)) - tokens).abs().sum(-1)[0]
    assert difference.argmax() == 5
    assert int((difference > 0).sum()) == 1


def _image_of(patches, shape):
    """The inverse of `patches_of` for one channel, by looking up where each voxel went."""
    import torch
    from peers import patches_of

    where = patches_of(torch.arange(float(np.prod(shape))).reshape(shape)).long().flatten()
    image = torch.empty(int(np.prod(shape)))
    image[where] = patches.flatten()
    return image.reshape(shape)


def test_the_encoder_that_topomae_pretrained_reaches_the_unetr(study):
    import torch
    from engine_methods import Conditions
    from peers import Peer, build_peer, padded_crop
    from protocol import Cell

    import topomae
    from topomae.exporting.monai_encoder import load_encoder

    given = Conditions(folder=study.folder, device="cpu", size="small", budget=None, steps=1, pretraining_steps=1)
    cell = Cell("topomae-unetr", LABELLED, 0)
    row = study.cell(cell, Peer(given))
    assert (row["pretraining"]["steps"], row["training"]["steps"]) == (1, 1)

    plan = topomae.plan(study.protocol.training_folder(study.folder / "data" / str(LABELLED), LABELLED))
    network = build_peer(cell.method, plan)
    Peer(given)._take_encoder(network, plan, cell, study.folder / "data" / str(LABELLED))
    encoder = load_encoder(study.folder / "runs" / "pretraining-unetr-patches-0").network.eval()
    image = torch.rand(1, 1, *padded_crop(plan))
    with torch.no_grad():
        torch.testing.assert_close(network.network.eval().vit(image)[0], encoder(image), rtol=1e-4, atol=1e-4)


def test_nnunet_is_given_the_same_cases_and_no_others(study, tmp_path):
    from nnunet import DATASET, convert

    protocol = study.protocol
    data = protocol.training_folder(tmp_path / "data", LABELLED)
    convert(data, tmp_path / "run", channels=1)
    splits = json.loads((tmp_path / "run" / "splits_final.json").read_text(encoding="utf-8"))
    assert splits == [{"train": list(protocol.train[:LABELLED]), "val": list(protocol.val)}]
    files = {path.name for path in (tmp_path / "run" / "raw" / DATASET / "imagesTr").iterdir()}
    assert files == {f"{name}_0000.nii.gz" for name in (*protocol.train[:LABELLED], *protocol.val)}


def test_nnunets_epochs_fit_the_budget():
    from nnunet_driver import share

    for budget, step, validation in ((240.0, 5.0, 1.5), (3600.0, 0.1, 0.03), (1e7, 0.1, 0.03)):
        iterations, epochs = share(budget, step, validation)
        used = epochs * (iterations * step + max(1, iterations // 5) * validation)
        assert used <= 1.01 * budget
        assert used >= 0.7 * budget or (iterations, epochs) == (250, 1000)


def test_without_nnunet_one_sentence_says_what_to_do(study, tmp_path):
    from engine_methods import Conditions
    from nnunet import NnUnet
    from protocol import Cell

    given = Conditions(folder=study.folder, device="cpu", size="small", budget=None, steps=1)
    with pytest.raises(SystemExit, match="has no nnunetv2: install it"):
        study.cell(Cell("nnunet", LABELLED, 0), NnUnet(given, str(tmp_path / "no_python")))


def _blobs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(seed)
    label = gaussian_filter(random.standard_normal((20, 24, 18)), 3)
    prediction = label + 0.3 * gaussian_filter(random.standard_normal(label.shape), 3)
    return prediction > 0.02, label > 0.01


def _border(mask: np.ndarray) -> np.ndarray:
    """Coordinates of voxels with a face neighbour outside the mask, or at the edge of the volume."""
    around = np.pad(mask, 1)
    shifted = [np.roll(around, shift, axis)[1:-1, 1:-1, 1:-1] for axis in range(3) for shift in (-1, 1)]
    return np.argwhere(mask & ~np.logical_and.reduce(shifted))


@pytest.mark.parametrize("seed", range(3))
def test_voxel_metrics_are_those_of_the_literature(seed):
    from voxel_metrics import compare_in_voxels

    prediction, label = _blobs(seed)
    there, _ = cKDTree(_border(label)).query(_border(prediction))
    back, _ = cKDTree(_border(prediction)).query(_border(label))
    found = compare_in_voxels(prediction, label)
    union = (prediction | label).sum()
    assert found.jaccard == pytest.approx((prediction & label).sum() / union)
    assert found.dice == pytest.approx(2 * found.jaccard / (1 + found.jaccard))
    assert found.hd95 == pytest.approx(np.percentile(np.concatenate([there, back]), 95))
    assert found.asd == pytest.approx(there.mean())
    assert found.asd != pytest.approx(compare_in_voxels(label, prediction).asd)


def test_an_empty_prediction_scores_nothing_in_voxels():
    from voxel_metrics import VoxelScores, compare_in_voxels

    _, label = _blobs(0)
    assert compare_in_voxels(np.zeros_like(label), label) == VoxelScores(0.0, 0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="the label is empty"):
        compare_in_voxels(label, np.zeros_like(label))


def test_the_left_atriums_labelled_cases_are_those_of_the_literature(data_folder):
    import left_atrium

    protocol = left_atrium.protocol(data_folder / "left_atrium", validation=False)
    assert (len(protocol.train), len(protocol.val), len(protocol.test)) == (80, 0, 20)


def test_variants_share_a_pretraining_only_if_it_is_the_same():
    from ablation import VARIANTS

    by_name: dict[str, dict] = {}
    for variant in VARIANTS.values():
        if variant.pretraining is not None:
            assert by_name.setdefault(variant.shared_pretraining, variant.pretraining) == variant.pretraining
    assert len(by_name) == 8
