"""The networks: published size, any input, no leaks, and a fusion that starts as UNETR++."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from topomae.data.crops import token_grid
from topomae.networks.co_pretrainer import voxel_mask
from topomae.networks.epa import GridProjection, PairedAttention, resample_grid
from topomae.networks.factory import NetworkSpec, build_co_pretrainer, build_segmenter
from topomae.networks.fused_segmenter import FusedSegmenter
from topomae.networks.masked_vit import VitEncoder, VitSize, visible_tokens
from topomae.networks.unetrpp import Form, Unetrpp, UnetrppSegmenter, UnetrppSize

SMALL = UnetrppSize((8, 16, 32, 64), (1, 1, 1, 1), (8, 8, 8, 8), 8, 4, norm=("group", {"num_groups": 4}))
FORMS = get_args(Form)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def spec(**changes) -> NetworkSpec:
    values = {"in_channels": 1, "out_channels": 3, "crop_size": (24, 24, 24), "patch_size": (8, 8, 8)}
    return NetworkSpec(**{**values, "stem_stride": (2, 2, 2), "form": "joined", **changes})


def a_mask(batch: int, grid: tuple[int, int, int], hidden: int) -> torch.Tensor:
    count = grid[0] * grid[1] * grid[2]
    return torch.rand(batch, count).argsort(dim=1).lt(hidden).reshape(batch, *grid)


def test_the_synapse_network_has_the_published_parameters_and_multiplications():
    network = UnetrppSegmenter(Unetrpp(1, (64, 128, 128), (2, 4, 4)), out_channels=9).eval()
    parameters = sum(p.numel() for p in network.parameters())
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 1, 64, 128, 128))
    multiplications = counter.get_total_flops() / 2
    assert parameters == pytest.approx(42.95e6, rel=0.005)
    assert multiplications == pytest.approx(47.5e9, rel=0.02)


def test_at_its_native_size_the_grid_projection_is_a_plain_linear_layer():
    projection = GridProjection((3, 4, 5), projected=7).double()
    tokens = torch.randn(2, 4, 6, 60, dtype=torch.float64)
    linear = F.linear(tokens, projection.weight.reshape(7, 60), projection.bias)
    torch.testing.assert_close(projection(tokens, (3, 4, 5)), linear, rtol=0, atol=1e-12)


def test_paired_attention_equals_a_literal_fixed_size_formulation():
    """Head by head and token by token, with plain linear layers and no reshaping of heads."""
    grid, channels, heads = (2, 3, 2), 8, 4
    attention = PairedAttention(channels, grid, projected=5, heads=heads, dropout=0.0).double()
    tokens = torch.randn(1, 12, channels, dtype=torch.float64)
    projected = attention.query_key_values(tokens)[0]  # (N, 4C)
    query, key, channel_value, spatial_value = projected.split(channels, dim=1)
    weight, bias = attention.projection.weight.reshape(5, 12), attention.projection.bias
    by_channel, by_space = torch.empty(12, channels).double(), torch.empty(12, channels).double()
    width = channels // heads
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        q, k, v_c, v_s = (x[:, part].T for x in (query, key, channel_value, spatial_value))  # (d, N)
        k_p, v_p = k @ weight.T + bias, v_s @ weight.T + bias  # (d, P)
        q = q / q.norm(dim=1, keepdim=True)
        k = k / k.norm(dim=1, keepdim=True)
        map_c = (q @ k.T * attention.channel_temperature[head]).softmax(dim=1)
        map_s = (q.T @ k_p * attention.spatial_temperature[head]).softmax(dim=1)
        by_channel[:, part] = (map_c @ v_c).T
        by_space[:, part] = map_s @ v_p.T
    expected = torch.cat([attention.spatial_out(by_space), attention.channel_out(by_channel)], dim=1)
    torch.testing.assert_close(attention(tokens, grid)[0], expected, rtol=0, atol=1e-10)


def test_a_token_attends_for_itself_whatever_the_order_of_the_others():
    """Swapping tokens and their places in the projection swaps the output: nothing is scrambled."""
    attention = PairedAttention(8, (1, 1, 6), projected=3, heads=4, dropout=0.0).double()
    tokens = torch.randn(1, 6, 8, dtype=torch.float64)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    before = attention(tokens, (1, 1, 6))[:, order]
    attention.projection.weight.data = attention.projection.weight.data[..., order]
    torch.testing.assert_close(attention(tokens[:, order], (1, 1, 6)), before, rtol=0, atol=1e-10)


def test_resampling_keeps_the_projection_of_a_constant():
    projection = GridProjection((4, 4, 4), projected=3)
    ones = lambda n: torch.ones(1, 1, 1, n)  # noqa: E731
    native, larger = projection(ones(64), (4, 4, 4)), projection(ones(512), (8, 8, 8))
    torch.testing.assert_close(native, larger, rtol=1e-4, atol=1e-5)
    assert resample_grid(torch.zeros(1, 2, 4, 4, 4), (4, 4, 4)).shape[2:] == (4, 4, 4)


@pytest.mark.parametrize(
    ("shape", "stem"),
    [((12, 20, 20), (1, 4, 4)), ((37, 50, 33), (2, 2, 2)), ((16, 40, 40), (1, 4, 4)), ((5, 9, 7), (2, 4, 4))],
)
@pytest.mark.parametrize("form", FORMS)
def test_any_size_goes_in_and_comes_out(shape, stem, form):
    network = UnetrppSegmenter(Unetrpp(2, (16, 32, 32), stem, replace(SMALL, form=form)), out_channels=4).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 2, *shape)).shape == (1, 4, *shape)
    levels = network.train()(torch.randn(2, 2, *shape))
    assert [level.shape[1] for level in levels] == [4, 4, 4]
    assert levels[1].shape[2:] == token_grid(shape, stem)


@pytest.mark.parametrize("crop", [(24, 24, 24), (8, 8, 8), (32, 32, 4)])
def test_small_networks_normalize_each_sample_by_itself_however_thin_the_crop(crop):
    network = build_segmenter(spec(crop_size=crop, patch_size=(4, 4, 4), block_norm="instance"))
    one, other = torch.randn(2, 1, 1, *crop)
    network.eval()
    with torch.no_grad():
        together = network(torch.cat([one, 100 * other]))
        torch.testing.assert_close(together[:1], network(one), atol=1e-4, rtol=1e-4)
    assert all(level.isfinite().all() for level in network.train()(torch.cat([one, other])))


@pytest.mark.parametrize(("size", "norm"), [("small", "group"), ("base", "batch")])
def test_networks_of_earlier_versions_are_built_as_they_were(size, norm):
    def modules(**changes):
        return str(build_segmenter(spec(size=size, architecture="unetrpp", **{"form": None, **changes})))

    assert modules() == modules(block_norm=norm, form="published")
    assert modules() != modules(block_norm="instance")
    assert modules() != modules(form="joined")


def test_joining_can_do_all_that_adding_does():
    """Joins whose weights add, below full resolution: the joined decoder then says what the published one says."""
    published, joined = (Unetrpp(1, (24,) * 3, (2,) * 3, replace(SMALL, form=form)).eval() for form in FORMS)
    shared = {name: value for name, value in published.state_dict().items() if name.startswith(("decoder", "upsam"))}
    joined.load_state_dict(shared, strict=False)
    for channels, join in zip(SMALL.channels, joined.joins, strict=False):
        join.weight.data = torch.eye(channels).repeat(1, 2)[..., None, None, None]
        join.bias.data.zero_()
    with torch.no_grad():
        features = published.encode(torch.randn(1, 1, 24, 24, 24))
        for theirs, ours in zip(published.decode(features)[1:], joined.decode(features)[1:], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("form", "reached"), [("published", 1), ("joined", 3)])
def test_a_position_sees_its_own_patch_or_beyond_it(form, reached):
    """One voxel changes: patches pass it on to one position, what overlaps to those around it as well."""
    network = Unetrpp(1, (16,) * 3, (2,) * 3, replace(SMALL, form=form)).double()
    plain = nn.Conv3d(1, SMALL.convolution_channels, kernel_size=3, padding=1)  # a normalization would see everything
    network.convolution = plain.double()
    before, after = torch.zeros(2, 1, 1, 16, 16, 16, dtype=torch.float64)
    after[..., 8, 8, 8] = 1
    begin = network.convolution if form == "joined" else nn.Identity()
    first = network.downsamplings[0].convolution
    changed = (first(begin(after)) != first(begin(before))).any(dim=1)
    assert changed.sum() == reached**3


def test_a_crop_of_160_voxels_a_side_runs():
    network = UnetrppSegmenter(Unetrpp(1, (64, 128, 128), (4, 4, 4), SMALL), out_channels=2).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 1, 160, 160, 160)).shape == (1, 2, 160, 160, 160)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_several_modalities_go_in(channels):
    network = build_segmenter(spec(in_channels=channels)).eval()
    assert network(torch.randn(1, channels, 24, 24, 24)).shape == (1, 3, 24, 24, 24)


def test_nothing_leaks_from_masked_voxels_into_the_vit_encoder():
    encoder = VitEncoder(1, (8, 8, 8), VitSize(96, 2, 4)).eval()
    image, mask = torch.randn(2, 1, 24, 32, 24), a_mask(2, (3, 4, 3), hidden=27)
    hidden = voxel_mask(mask, (8, 8, 8), image.shape[2:])
    changed = torch.where(hidden, torch.full_like(image, 1e6), image)
    with torch.no_grad():
        before, after = (encoder(x, visible_tokens(mask)) for x in (image, changed))
        seen = encoder(torch.where(~hidden, image + 1, image), visible_tokens(mask))
    assert before.shape == (2, 9, 96)
    assert torch.equal(before, after)
    assert not torch.allclose(before, seen)  # the visible ones do count


def test_neither_branch_of_pre_training_sees_masked_voxels():
    network = build_co_pretrainer(spec()).eval()
    image, mask = torch.randn(1, 1, 24, 24, 24), a_mask(1, (3, 3, 3), hidden=20)
    hidden = voxel_mask(mask, (8, 8, 8), image.shape[2:])
    with torch.no_grad():
        before = network(image, mask)
        after = network(torch.where(hidden, -7.0, image), mask)
    for branch in before:
        assert torch.equal(before[branch].reconstruction, after[branch].reconstruction)
        assert torch.equal(before[branch].key_points, after[branch].key_points)
        assert before[branch].reconstruction.shape == image.shape
        assert before[branch].key_points.abs().max() <= 1


def test_unpatchify_puts_every_voxel_back_where_it_was():
    """Feeding each token its own voxels through an identity must give the image, channels included."""
    vit = build_co_pretrainer(spec(in_channels=2, patch_size=(4, 8, 2), crop_size=(8, 16, 6))).vit
    image = torch.randn(1, 2, 8, 16, 6)
    tokens = [
        image[0, :, i : i + 4, j : j + 8, k : k + 2].reshape(-1)
        for i in range(0, 8, 4)
        for j in range(0, 16, 8)
        for k in range(0, 6, 2)
    ]
    assert torch.equal(vit._unpatchify(torch.stack(tokens)[None], (2, 2, 3), (8, 16, 6)), image)


def test_the_fused_network_starts_as_the_pretrained_unetrpp_exactly():
    fused = build_segmenter(spec()).eval()
    alone = UnetrppSegmenter(fused.unetrpp, 3).eval()
    alone.heads = fused.heads
    image = torch.randn(1, 1, 24, 24, 24)
    with torch.no_grad():
        assert torch.equal(fused(image), alone(image))


@pytest.mark.parametrize("stages", [(3,), (0, 1, 2, 3)])
def test_the_fusion_learns_from_its_first_step(stages):
    fused = FusedSegmenter(
        Unetrpp(1, (24,) * 3, (2,) * 3, SMALL), VitEncoder(1, (8,) * 3, VitSize(96, 1, 4)), 2, stages
    )
    sum(level.square().mean() for level in fused(torch.randn(1, 1, 24, 24, 24))).backward()
    for projection in fused.fusion:
        assert projection.weight.grad.abs().sum() > 0
    with torch.no_grad():
        for projection in fused.fusion:
            projection.weight.normal_(std=0.1)
    fused.zero_grad()
    sum(level.square().mean() for level in fused(torch.randn(1, 1, 24, 24, 24))).backward()
    assert fused.vit.patch_embedding.weight.grad.abs().sum() > 0  # then the ViT learns, too


@pytest.mark.parametrize("architecture", ["fused", "unetrpp", "unetr", "swinunetr"])
def test_every_architecture_answers_alike(architecture):
    network = build_segmenter(spec(architecture=architecture, crop_size=(32, 32, 24)))
    image = torch.randn(1, 1, 32, 32, 24)
    levels = network.train()(image)
    assert isinstance(levels, list)
    assert levels[0].shape == (1, 3, 32, 32, 24)
    with torch.no_grad():
        assert network.eval()(image).shape == (1, 3, 32, 32, 24)


def test_a_missing_modality_is_not_looked_at_but_its_absence_is_noticed():
    spec = NetworkSpec(
        in_channels=2, out_channels=2, crop_size=(16, 16, 16), patch_size=(8, 8, 8), stem_stride=(2, 2, 2)
    )
    image, other = torch.randn(2, 1, 2, 16, 16, 16)
    other[:, 0] = image[:, 0]
    only_first = torch.tensor([[True, False]])
    for architecture in ("fused", "unetrpp"):
        network = build_segmenter(spec.model_copy(update={"architecture": architecture})).eval()
        everything = torch.tensor([[True, True]])
        assert torch.equal(network(image), network(image, everything))
        assert torch.equal(network(image, only_first), network(other, only_first))
        zeroed = torch.cat([image[:, :1], torch.zeros_like(image[:, 1:])], dim=1)
        assert torch.equal(network(image, only_first), network(zeroed))  # before anything is learned
        torch.nn.init.normal_(network.unetrpp.missing.embedding)
        assert not torch.allclose(network(image, only_first), network(zeroed))


def test_a_network_of_one_modality_has_no_weights_for_missing_ones():
    spec = NetworkSpec(
        in_channels=1, out_channels=2, crop_size=(16, 16, 16), patch_size=(8, 8, 8), stem_stride=(2, 2, 2)
    )
    assert not [name for name in build_segmenter(spec).state_dict() if "missing" in name]
