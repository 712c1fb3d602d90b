"""Alignment: the fast objectives say what the description says, and stay sane where there is nothing to align."""

from __future__ import annotations

import alignment_reference as reference
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from topomae.alignment.across import across_subjects, mutual_nearest, subject_pairs
from topomae.alignment.collapse import CollapseWatch, effective_rank
from topomae.alignment.loss import AlignmentLoss
from topomae.alignment.tokens import deepest_stage, pooled_grid, tokens_of
from topomae.alignment.triplets import choose_negatives
from topomae.alignment.within import within_subject

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 10_000)


def tokens(seed: int, samples: int, count: int, channels: int = 6, likeness: float = 0.7) -> list[torch.Tensor]:
    """Two views (samples, count, channels), alike to some degree within a sample and between samples."""
    random = np.random.default_rng(seed)
    common = random.normal(size=(1, count, channels))
    views = [likeness * common + (1 - likeness) * random.normal(size=(samples, count, channels)) for _ in range(2)]
    return [torch.tensor(view, dtype=torch.float32) for view in views]


@few
@given(seed=seeds, count=st.integers(3, 14), k=st.integers(1, 5))
def test_within_subjects_the_hinge_is_that_of_the_description(seed, count, k):
    first, second = tokens(seed, 3, count)
    k = min(k, count - 2)
    expected = np.mean([reference.within_subject(*pair, k, 0.3) for pair in zip(first.numpy(), second.numpy())])  # noqa: B905
    found = within_subject(first, second, neighbours=k, margin=0.3, negatives="hardest")
    assert float(found) == pytest.approx(expected, abs=1e-5)


@few
@given(seed=seeds, count=st.integers(2, 14), k=st.integers(1, 5), likeness=st.sampled_from([0.0, 0.5, 0.95]))
def test_across_subjects_the_hinge_is_that_of_the_description(seed, count, k, likeness):
    first, second = tokens(seed, 3, count, likeness=likeness)
    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = reference.across_subjects(first.numpy(), second.numpy(), pairs, min(k, count - 1), 0.4)
    found = across_subjects(first, second, torch.tensor(pairs), neighbours=k, margin=0.4, negatives="hardest")
    # With fewer neighbours than asked for there may still be as many negatives as asked for.
    if k <= count - 1:
        assert float(found) == pytest.approx(expected, abs=1e-5)


def test_where_everything_matches_negatives_are_what_is_no_positive():
    view = torch.eye(6)[None].expand(2, -1, -1) + 0.1 * torch.randn(1, 6, 6, generator=torch.manual_seed(0))
    _, matched = mutual_nearest(1 - view[0] @ view[1].T)
    assert matched.all()
    expected = reference.across_subjects(view.numpy(), view.numpy(), [(0, 1)], 2, 0.4)
    found = across_subjects(view, view, torch.tensor([[0, 1]]), neighbours=2, negatives="hardest")
    assert expected > 0
    assert float(found) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("negatives", ["random", "hardest"])
def test_random_negatives_are_as_many_different_candidates_as_asked_for(negatives):
    generator = torch.Generator().manual_seed(3)
    candidates = torch.rand(4, 20, 20, generator=generator) < 0.3
    chosen = choose_negatives(candidates, torch.rand(4, 20, 20), 5, negatives, generator)
    for sample in range(4):
        for anchor in range(20):
            taken = chosen.tokens[sample, anchor][chosen.valid[sample, anchor]].tolist()
            allowed = candidates[sample, anchor].nonzero().flatten().tolist()
            assert set(taken) <= set(allowed)
            assert len(taken) == len(set(taken)) == min(5, len(allowed))


@few
@given(seed=seeds)
def test_renumbering_the_tokens_of_both_views_or_exchanging_these_changes_nothing(seed):
    first, second = tokens(seed, 3, 12)
    pairs = torch.tensor([[0, 1], [1, 2]])

    def both(one, other):
        options = {"neighbours": 3, "negatives": "hardest"}
        return [float(within_subject(one, other, **options)), float(across_subjects(one, other, pairs, **options))]

    order = torch.from_numpy(np.random.default_rng(seed).permutation(12))
    assert both(first[:, order], second[:, order]) == pytest.approx(both(first, second), abs=1e-5)
    assert both(second, first) == pytest.approx(both(first, second), abs=1e-5)


def test_renumbering_one_view_alone_matters_within_a_subject_only():
    first, second = tokens(1, 2, 12, likeness=1.0)
    order, pairs = torch.arange(11, -1, -1), torch.tensor([[0, 1]])
    options = {"neighbours": 3, "negatives": "hardest"}
    assert float(within_subject(first, second[:, order], **options)) > 2 * float(
        within_subject(first, second, **options)
    )
    assert float(across_subjects(first, second[:, order], pairs, **options)) == pytest.approx(
        float(across_subjects(first, second, pairs, **options)), abs=1e-5
    )


def test_gradients_are_those_of_finite_differences():
    first, second = (view.double().requires_grad_() for view in tokens(4, 2, 6, channels=4))
    step, pairs = 1e-3, torch.tensor([[0, 1]])

    def losses(one, other):
        options = {"neighbours": 2, "negatives": "hardest"}
        return within_subject(one, other, **options) + across_subjects(one, other, pairs, **options)

    losses(first, second).backward()
    for which, view in enumerate((first, second)):
        for place in [(0, 0, 0), (0, 3, 2), (1, 5, 1), (1, 2, 3)]:
            values = []
            for sign in (1, -1):
                moved = [first.detach().clone(), second.detach().clone()]
                moved[which][place] += sign * step
                values.append(float(losses(*moved)))
            assert float(view.grad[place]) == pytest.approx((values[0] - values[1]) / (2 * step), abs=2e-4)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("kind", ["equal", "zero", "opposite", "huge"])
@pytest.mark.parametrize("negatives", ["random", "hardest"])
def test_degenerate_tokens_give_finite_losses_and_gradients(count, kind, negatives):
    base = {"equal": torch.ones(4), "zero": torch.zeros(4), "opposite": torch.ones(4), "huge": torch.full((4,), 1e15)}
    first = base[kind].repeat(2, count, 1).requires_grad_()
    second = (-base[kind] if kind == "opposite" else base[kind]).repeat(2, count, 1).requires_grad_()
    loss = AlignmentLoss(negatives=negatives)((first, second), torch.tensor([0, 1]), 0)
    total = loss["within"] + loss["across"]
    total.backward()
    assert torch.isfinite(total)
    assert torch.isfinite(first.grad).all()
    assert torch.isfinite(second.grad).all()


def test_losses_are_computed_in_float32_whatever_surrounds_them():
    first, second = tokens(2, 3, 20)
    alone = AlignmentLoss()((first, second), torch.arange(3), 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = AlignmentLoss()((first, second), torch.arange(3), 5)
    for name, value in alone.items():
        assert value.dtype == inside[name].dtype == torch.float32
        assert float(value) == float(inside[name])


def test_what_is_random_depends_on_seed_and_step_alone():
    views = tokens(2, 6, 40)

    def losses(seed, step):
        torch.rand(3)  # the global generator has no say
        return [float(v) for v in AlignmentLoss(seed=seed, most_pairs=2)(views, torch.arange(6), step).values()]

    assert losses(1, 7) == losses(1, 7)
    assert losses(1, 7) != losses(1, 8)
    assert losses(1, 7) != losses(2, 7)


def test_only_crops_of_different_subjects_are_paired_and_no_more_than_allowed():
    subjects = torch.tensor([4, 7, 4, 9, 7])
    generator = torch.Generator().manual_seed(0)
    everything = {tuple(pair) for pair in subject_pairs(subjects, 100, generator).tolist()}
    assert everything == {(p, q) for p in range(5) for q in range(p + 1, 5) if subjects[p] != subjects[q]}
    some = [tuple(pair) for pair in subject_pairs(subjects, 3, generator).tolist()]
    assert len(set(some)) == 3
    assert set(some) <= everything
    assert len(subject_pairs(torch.tensor([1, 1, 1]), 9, generator)) == 0


def test_a_batch_of_one_subject_has_no_term_across_subjects():
    views = tokens(0, 3, 10)
    assert set(AlignmentLoss()(views, torch.tensor([5, 5, 5]), 0)) == {"within"}
    assert set(AlignmentLoss()([view[:1] for view in views], torch.tensor([5]), 0)) == {"within"}
    assert set(AlignmentLoss(within=False)(views, torch.tensor([5, 6, 5]), 0)) == {"across"}


def test_learning_brings_the_neighbourhoods_of_two_views_together():
    """Free tokens that start at random: the share of common nearest neighbours rises from chance to most of them."""
    generator = torch.Generator().manual_seed(0)
    views = [torch.randn(1, 30, 8, generator=generator).requires_grad_() for _ in range(2)]
    optimizer = torch.optim.Adam(views, lr=0.05)

    def shared() -> float:
        close = [torch.cdist(v.detach(), v.detach())[0].topk(6, largest=False).indices[:, 1:] for v in views]
        return float(np.mean([len(set(a.tolist()) & set(b.tolist())) / 5 for a, b in zip(*close, strict=True)]))

    before = shared()
    for _ in range(300):
        optimizer.zero_grad()
        within_subject(*views, margin=0.2, negatives="random", generator=generator).backward()
        optimizer.step()
    assert before < 0.35
    assert shared() > 0.7


def test_a_token_holds_the_channels_of_one_place():
    features = torch.arange(2 * 3 * 4 * 5 * 6, dtype=torch.float32).reshape(2, 3, 4, 5, 6)
    found = tokens_of(features, least=9)
    assert found.shape == (2, 4 * 5 * 6, 3)
    assert torch.equal(found[1, 2 * 30 + 3 * 6 + 4], features[1, :, 2, 3, 4])
    pooled = tokens_of(torch.ones(1, 3, 12, 12, 12).cumsum(2), least=6)
    assert pooled.shape == (1, 216, 3)
    assert pooled[0, ::36, 0].tolist() == [1.5, 3.5, 5.5, 7.5, 9.5, 11.5]


@given(shape=st.tuples(*[st.integers(1, 40)] * 3), least=st.integers(2, 12))
def test_a_map_keeps_as_many_tokens_as_wanted_if_it_has_them(shape, least):
    grid = pooled_grid(shape, least)
    assert all(1 <= g <= n for g, n in zip(grid, shape, strict=True))
    assert np.prod(grid) >= min(least**3, np.prod(shape))
    if min(shape) >= least:
        assert grid == (least,) * 3


def test_the_deepest_stage_with_enough_tokens_is_aligned():
    assert deepest_stage((96, 96, 96), (2, 2, 2), 6) == 3
    assert deepest_stage((96, 96, 96), (4, 4, 4), 6) == 2
    assert deepest_stage((24, 24, 16), (2, 2, 2), 6) == 0
    assert deepest_stage((8, 8, 8), (4, 4, 4), 6) == 0


def test_the_effective_rank_counts_dimensions():
    random = torch.Generator().manual_seed(0)
    assert float(effective_rank(torch.eye(7))) == pytest.approx(7)
    assert float(effective_rank(torch.ones(50, 7))) == pytest.approx(1, abs=1e-3)
    assert float(effective_rank(torch.zeros(50, 7))) == pytest.approx(1)
    weights = np.array([3.0, 2.0, 1.0]) / 6
    closed_form = np.exp(-(weights * np.log(weights)).sum())
    assert float(effective_rank(torch.diag(torch.tensor([3.0, 2.0, 1.0])))) == pytest.approx(closed_form)
    tall = torch.randn(40, 6, generator=random)
    singular = torch.linalg.svdvals(tall.double())
    expected = torch.special.entr(singular / singular.sum()).sum().exp()
    for features in (tall, tall.T, 100 * tall, tall[torch.randperm(40, generator=random)]):
        assert float(effective_rank(features)) == pytest.approx(float(expected), rel=1e-6)


def test_the_effective_rank_falls_when_features_become_alike_and_rises_when_they_spread():
    random = torch.Generator().manual_seed(0)
    spread, common = torch.randn(200, 16, generator=random), torch.randn(1, 16, generator=random)
    ranks = [float(effective_rank((1 - a) * spread + a * common)) for a in (0, 0.5, 0.9, 0.99, 1)]
    assert all(later < earlier for earlier, later in zip(ranks, ranks[1:]))  # noqa: B905, RUF007
    assert ranks[0] > 15
    assert ranks[-1] == pytest.approx(1, abs=1e-4)


def test_a_collapse_is_told_once_and_remembered_by_a_resumed_run():
    watch = CollapseWatch()
    assert [watch.observe(rank) for rank in (20.0, 25.0, 8.0, 3.0)] == [None] * 4
    resumed = CollapseWatch()
    resumed.load(watch.state())
    news = resumed.observe(2.4)
    assert "2.4" in news
    assert "25.0" in news
    assert resumed.observe(1.0) is None
    again = CollapseWatch()
    again.load(resumed.state())
    assert again.observe(1.0) is None
