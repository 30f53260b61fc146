"""Metrics: by hand, against scikit-learn, against every order of the tied people, and by property."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, ndcg_score

from skillmatch import metrics

RANKING = {
    "ndcg": lambda s, g: metrics.ndcg_at_k(s, g, 3),
    "ap": metrics.average_precision,
    "recall": lambda s, g: metrics.recall_at_k(s, g, 3),
    "rr": metrics.reciprocal_rank,
    "loss": metrics.pairwise_loss,
}

people = st.lists(st.tuples(st.integers(-4, 4), st.integers(0, 3)), min_size=1, max_size=30)
quick = settings(max_examples=40, deadline=None)


def split(rows):
    return np.array([s / 4 for s, _ in rows]), np.array([float(g) for _, g in rows])


# By hand


def test_ndcg_by_hand():
    # ranking: grades 3, 0, 1; ideal 3, 1, 0
    got = 7 / 1 + 0 + 1 / math.log2(4)
    best = 7 / 1 + 1 / math.log2(3)
    assert metrics.ndcg_at_k([0.9, 0.1, 0.5], [3, 1, 0], 3) == pytest.approx(got / best)
    assert metrics.ndcg_at_k([0.9, 0.1, 0.5], [3, 1, 0], 2) == pytest.approx(7 / best)
    assert metrics.ndcg_at_k([0.9, 0.5, 0.1], [3, 1, 0], None) == 1.0


def test_ndcg_of_a_tie_shares_the_gain():
    # grades 3 and 0 tied on ranks 1 and 2: 3.5 at each
    assert metrics.ndcg_at_k([0.5, 0.5], [0, 3], 2) == pytest.approx((3.5 + 3.5 / math.log2(3)) / 7)
    assert metrics.ndcg_at_k([0.5, 0.5], [0, 3], 1) == pytest.approx(0.5)


def test_average_precision_by_hand():
    assert metrics.average_precision([4, 3, 2, 1], [1, 0, 1, 0]) == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.average_precision([1, 1], [0, 1]) == pytest.approx((1 + 1 / 2) / 2)
    assert metrics.average_precision([3, 2, 1], [2, 1, 2], relevant=2) == pytest.approx((1 + 2 / 3) / 2)


def test_recall_by_hand():
    assert metrics.recall_at_k([4, 3, 2, 1], [1, 0, 1, 1], 3) == pytest.approx(2 / 3)
    # three tied on ranks 2..4, one of them relevant, cut at 2: a third of a person
    assert metrics.recall_at_k([2, 1, 1, 1], [1, 1, 0, 0], 2) == pytest.approx((1 + 1 / 3) / 2)
    assert metrics.recall_at_k([2, 1], [1, 1], 50) == 1.0


def test_reciprocal_rank_by_hand():
    assert metrics.reciprocal_rank([3, 2, 1], [0, 0, 1]) == pytest.approx(1 / 3)
    assert metrics.reciprocal_rank([1, 1, 1], [0, 0, 1]) == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert metrics.reciprocal_rank([1, 1, 1], [1, 0, 1]) == pytest.approx(2 / 3 + 1 / 3 * 1 / 2)


def test_pairwise_loss_by_hand():
    # pairs (5,3): right; (5,1): tied; (3,1): wrong -> (0 + 4/2 + 2) / (2 + 4 + 2)
    assert metrics.pairwise_loss([0.9, 0.1, 0.9], [5, 3, 1]) == pytest.approx((4 / 2 + 2) / 8)
    assert metrics.pairwise_loss([3, 2, 1], [3, 2, 1]) == 0
    assert metrics.pairwise_loss([1, 2, 3], [3, 2, 1]) == 1


def test_pairwise_loss_over_several_blocks_equals_the_plain_sum():
    rng = np.random.default_rng(3)
    s, g = rng.integers(0, 50, 2500) / 10, rng.integers(0, 4, 2500).astype(float)
    surplus = np.maximum(g[:, None] - g[None, :], 0)
    wrong = surplus * ((s[:, None] < s[None, :]) + 0.5 * (s[:, None] == s[None, :]))
    assert metrics.pairwise_loss(s, g) == pytest.approx(wrong.sum() / surplus.sum())


def test_calibration_by_hand():
    found = metrics.calibration([0.15, 0.15, 0.95, 0.95], [0, 1, 1, 1], bins=10)
    assert found.ece == pytest.approx(0.5 * 0.35 + 0.5 * 0.05)
    assert [(b.count, b.true) for b in found.bins] == [(2, 0.5), (2, 1.0)]
    assert [b.said for b in found.bins] == pytest.approx([0.15, 0.95])
    assert (found.bins[0].low, found.bins[0].high) == pytest.approx((0.1, 0.2))
    assert metrics.ece([0.15, 0.15, 0.95, 0.95], [0, 1, 1, 1]) == found.ece


def test_the_calibration_error_of_draws_is_that_of_their_pairs():
    rng = np.random.default_rng(5)
    groups = [(rng.random(n).tolist(), rng.integers(2, size=n).tolist()) for n in (1, 7, 30, 4)]
    draws = rng.integers(4, size=(50, 4))
    pooled = [[[x for k in draw for x in groups[k][side]] for side in (0, 1)] for draw in draws]
    assert metrics.ece_of_draws(groups, draws) == pytest.approx([metrics.ece(*both) for both in pooled])


@pytest.mark.parametrize("tenth", range(11))
def test_a_probability_on_an_edge_belongs_to_the_bin_below(tenth):
    (only,) = metrics.calibration([tenth / 10], [1]).bins
    assert only.high == pytest.approx(max(tenth, 1) / 10)


def test_brier_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    p, y = rng.random(200), rng.integers(0, 2, 200)
    assert metrics.brier(p, y) == pytest.approx(brier_score_loss(y, p))


def test_gini_by_hand():
    assert metrics.gini([2, 2, 2]) == 0
    assert metrics.gini([0, 0, 0]) == 0
    assert metrics.gini([0, 0, 0, 8]) == pytest.approx(3 / 4)
    assert metrics.gini([1, 3]) == pytest.approx(1 / 4)


def test_need_coverage_by_hand():
    scores = [[0.9, 0.2, 0.1], [0.3, 0.5, 0.4]]
    assert metrics.need_coverage(scores, 0.5) == pytest.approx(2 / 3)
    assert metrics.need_coverage(scores, 0.5, [1, 1, 3]) == pytest.approx(2 / 5)
    assert metrics.need_coverage(np.empty((0, 2)), 0.5) == 0
    assert math.isnan(metrics.need_coverage(np.empty((2, 0)), 0.5))


# Against scikit-learn


def test_ndcg_agrees_with_scikit_learn_ties_included():
    rng = np.random.default_rng(1)
    for _ in range(100):
        n = int(rng.integers(2, 40))
        s, g = rng.integers(0, 6, n).astype(float), rng.integers(0, 4, n)
        g[0] = 2
        for k in (1, 3, 10, None):
            theirs = ndcg_score([2.0**g - 1], [s], k=k, ignore_ties=False)
            assert metrics.ndcg_at_k(s, g, k) == pytest.approx(theirs)


def test_average_precision_agrees_with_scikit_learn_without_ties():
    rng = np.random.default_rng(2)
    for _ in range(100):
        n = int(rng.integers(2, 40))
        s, g = rng.permutation(n).astype(float), rng.integers(0, 4, n)
        g[0] = 1
        assert metrics.average_precision(s, g) == pytest.approx(average_precision_score(g >= 1, s))


# Ties


@pytest.mark.parametrize("name", RANKING)
@quick
@given(rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=5))
def test_a_tie_is_the_mean_over_every_order(name, rows):
    scores, grades = split(rows)
    measure = RANKING[name]
    tied = measure(scores, grades)
    if math.isnan(tied):
        assert len(set(grades)) == 1 or grades.max() < 1
        return
    # Every way to break the ties, by steps too small to reach the next score and too large to be a tie.
    broken = [measure(scores + 1e-3 * np.array(order), grades) for order in itertools.permutations(range(len(rows)))]
    assert tied == pytest.approx(np.mean(broken))


@pytest.mark.parametrize("name", RANKING)
@quick
@given(rows=people, data=st.data())
def test_input_order_never_matters(name, rows, data):
    shuffled = data.draw(st.permutations(rows))
    np.testing.assert_equal(RANKING[name](*split(rows)), RANKING[name](*split(shuffled)))


@pytest.mark.parametrize("name", RANKING)
@quick
@given(rows=people, noise=st.lists(st.floats(-1e-9, 1e-9), min_size=30, max_size=30))
def test_noise_below_float32_precision_changes_nothing(name, rows, noise):
    scores, grades = split(rows)
    noisy = scores + 2 + np.array(noise[: len(scores)])
    np.testing.assert_equal(RANKING[name](noisy, grades), RANKING[name](scores + 2, grades))


def test_rounding_left_over_from_a_sum_is_a_tie_with_zero():
    with_rounding = [1.0, 0.1 + 0.2 - 0.3, 0.0]
    assert with_rounding[1] != 0
    assert metrics.average_precision(with_rounding, [0, 1, 0]) == pytest.approx((1 / 2 + 1 / 3) / 2)
    assert metrics.average_precision([1.0, 1e-5, 0.0], [0, 1, 0]) == pytest.approx(1 / 2)


def test_scores_a_float32_apart_are_not_tied():
    a, b = np.float32(0.5), np.nextafter(np.float32(0.5), np.float32(1))
    assert metrics.reciprocal_rank([a, b], [0, 1]) == 0.75
    assert metrics.reciprocal_rank([0.5, 0.5 + 4e-7], [0, 1]) == 1.0


# Properties


@pytest.mark.parametrize("name", RANKING)
@quick
@given(rows=people)
def test_bounds(name, rows):
    value = RANKING[name](*split(rows))
    assert math.isnan(value) or 0 <= value <= 1


@quick
@given(rows=people)
def test_a_perfect_ranking_is_perfect(rows):
    _, grades = split(rows)
    if grades.max() >= 1:
        assert metrics.ndcg_at_k(grades, grades, 5) == pytest.approx(1)
        assert metrics.average_precision(grades, grades) == pytest.approx(1)
        assert metrics.reciprocal_rank(grades, grades) == 1
    if len(set(grades)) > 1:
        assert metrics.pairwise_loss(grades, grades) == 0
        assert metrics.pairwise_loss(-grades, grades) == 1


@quick
@given(rows=people)
def test_a_growing_change_of_scale_changes_nothing(rows):
    scores, grades = split(rows)
    for measure in RANKING.values():
        np.testing.assert_equal(measure(scores, grades), measure(1000 * scores + 5, grades))


def test_undefined_is_nan():
    for measure in RANKING.values():
        assert math.isnan(measure([0.1, 0.2], [0, 0]))


chances = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=1, max_size=40)


@quick
@given(rows=chances, bins=st.integers(1, 20), data=st.data())
def test_calibration_properties(rows, bins, data):
    p, y = [r[0] for r in rows], [r[1] for r in rows]
    found = metrics.calibration(p, y, bins)
    assert 0 <= found.ece <= 1
    assert sum(b.count for b in found.bins) == len(rows)
    assert all(b.low <= b.high and 0 <= b.true <= 1 and 0 <= b.said <= 1 for b in found.bins)
    # More bins never hide less: with one bin the error is the difference of the means, a lower bound.
    assert found.ece >= abs(np.mean(p) - np.mean(y)) - 1e-9
    again = data.draw(st.permutations(rows))
    assert metrics.calibration([r[0] for r in again], [r[1] for r in again], bins) == found
    assert metrics.brier(p, y) == metrics.brier([r[0] for r in again], [r[1] for r in again])


@quick
@given(loads=st.lists(st.floats(0, 1e6), min_size=1, max_size=40))
def test_gini_properties(loads):
    value = metrics.gini(loads)
    assert 0 <= value < 1
    assert metrics.gini(loads[::-1]) == value
    assert metrics.gini([*loads, *loads]) == pytest.approx(value, abs=1e-9)


# Bootstrap


def test_bootstrap_is_deterministic_and_ignores_order():
    values = np.random.default_rng(0).random(50)
    one = metrics.bootstrap_interval(values, seed=7)
    assert one == metrics.bootstrap_interval(values[::-1], seed=7)
    assert one != metrics.bootstrap_interval(values, seed=8)
    assert one.low < one.mean < one.high
    assert one.count == 50


def test_bootstrap_interval_is_as_wide_as_the_normal_one():
    values = np.random.default_rng(1).normal(0.6, 0.1, 400)
    found = metrics.bootstrap_interval(values)
    half = 1.96 * values.std(ddof=1) / math.sqrt(400)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)


def test_bootstrap_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(2)
    inside = 0
    for seed in range(200):
        found = metrics.bootstrap_interval(rng.random(40), seed=seed, n=500)
        inside += found.low <= 0.5 <= found.high
    assert 0.89 <= inside / 200 <= 0.99


def test_paired_bootstrap_sees_a_clear_difference_and_no_difference():
    rng = np.random.default_rng(4)
    base = rng.random(60)
    clear = metrics.paired_bootstrap(base + 0.1 + rng.normal(0, 0.05, 60), base)
    assert clear.low > 0
    assert clear.p < 0.01
    assert clear.difference == pytest.approx(0.1, abs=0.03)
    none = metrics.paired_bootstrap(base, base)
    assert (none.difference, none.low, none.high, none.p) == (0, 0, 0, 1)


def test_paired_bootstrap_is_antisymmetric_and_ignores_the_order_of_queries():
    rng = np.random.default_rng(5)
    a, b, order = rng.random(30), rng.random(30), rng.permutation(30)
    one, shuffled = metrics.paired_bootstrap(a, b), metrics.paired_bootstrap(a[order], b[order])
    back = metrics.paired_bootstrap(b, a)
    assert one == shuffled
    assert back.difference == pytest.approx(-one.difference)
    assert back.p == pytest.approx(one.p, abs=0.05)


def test_p_is_uniform_where_nothing_differs():
    rng = np.random.default_rng(6)
    p = [metrics.paired_bootstrap(rng.random(40), rng.random(40), n=300).p for _ in range(200)]
    assert np.mean(np.array(p) < 0.05) < 0.11
    assert 0.35 < np.mean(p) < 0.6


def test_few_queries_prove_nothing():
    assert metrics.paired_bootstrap([0.9], [0.1]).p == 1
    assert metrics.paired_bootstrap([0.9, 0.8, 0.9], [0.1, 0.1, 0.1]).p >= 0.25
    assert metrics.bootstrap_interval([0.4]) == metrics.Interval(0.4, 0.4, 0.4, 1)


# Wrong input


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: metrics.ndcg_at_k([1, 2], [1]), "2 scores, 1 grades"),
        (lambda: metrics.ndcg_at_k([], []), "at least one value"),
        (lambda: metrics.ndcg_at_k([[1.0]], [1]), "vector"),
        (lambda: metrics.ndcg_at_k([float("nan"), 1], [1, 0]), "1 of 2"),
        (lambda: metrics.average_precision([1, 2], [1, -1]), "0 or more"),
        (lambda: metrics.recall_at_k([1, 2], [1, 0], 0), "k must be"),
        (lambda: metrics.calibration([0.5, 1.5], [0, 1]), "probabilities must lie"),
        (lambda: metrics.calibration([0.5], [0, 1]), "1 and 2"),
        (lambda: metrics.calibration([0.5], [0], bins=0), "at least 1 bin"),
        (lambda: metrics.brier([0.5], [2]), "outcomes must lie"),
        (lambda: metrics.gini([1, -1]), "0 or more"),
        (lambda: metrics.need_coverage([0.5], 0.5), "people x needs"),
        (lambda: metrics.need_coverage([[0.5, 0.5]], 0.5, [1]), "2 needs"),
        (lambda: metrics.paired_bootstrap([1, 2], [1]), "2 and 1"),
        (lambda: metrics.bootstrap_interval([0.5], n=0), "at least 1 resample"),
    ],
)
def test_wrong_input_says_what_is_wrong(call, says):
    with pytest.raises(ValueError, match=says):
        call()
