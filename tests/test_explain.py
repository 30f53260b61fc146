"""Reasons, gaps and order: what people are told adds up."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skillmatch.explain import PROOF_BAR, gaps, is_thin, missing, order, parts, reason
from skillmatch.ranking import FEATURES, PARTS, Ranker
from skillmatch.records import Match, Need, Person, Proof, Reason

NEED = Need("n1", "Ceph")
PROOF = Proof("Runs Ceph", "project", "profiles.csv:2")
RANKER = Ranker.shipped()
features = st.lists(st.floats(0, 1, width=32), min_size=len(FEATURES), max_size=len(FEATURES)).map(
    lambda values: np.array(values, dtype=np.float32)
)


def test_every_feature_has_one_part():
    assert sorted(f for names in PARTS.values() for f in names) == sorted(FEATURES)


@given(features)
@settings(max_examples=100, deadline=None)
def test_parts_and_baseline_make_the_raw_score(values):
    told = parts(RANKER, values)
    assert list(told) == list(PARTS)
    assert sum(told.values()) + RANKER.baseline == pytest.approx(float(RANKER.raw(values)), abs=1e-5)


@given(features, st.integers(0, len(FEATURES) - 1))
@settings(max_examples=50, deadline=None)
def test_a_feature_moves_its_own_part_only(values, k):
    changed = values.copy()
    changed[k] += np.float32(0.5)
    before, after = parts(RANKER, values), parts(RANKER, changed)
    moved = {name for name in before if abs(after[name] - before[name]) > 1e-5}
    assert moved <= {part for part, names in PARTS.items() if FEATURES[k] in names}


def test_proof_is_shown_where_it_proves():
    values = np.zeros(len(FEATURES), np.float32)
    shown = reason(NEED, RANKER, values, -1.0, PROOF_BAR, PROOF)
    assert (shown.need, shown.raw, shown.score, shown.evidence) == ("n1", -1.0, PROOF_BAR, PROOF)
    assert reason(NEED, RANKER, values, -1.0, PROOF_BAR - 1e-9, PROOF).evidence is None


def test_gaps_are_the_needs_nobody_reaches():
    needs = [Need("n1", "a"), Need("n2", "b"), Need("n3", "c")]
    found = gaps(needs, [0.5, 0.19, 0.2], [None, PROOF, PROOF], 0.2)
    assert [(g.need, g.best_score, g.closest) for g in found] == [("n2", 0.19, PROOF)]
    assert [g.need for g in gaps(needs, [0, 0, 0], [None] * 3, 0.2)] == ["n1", "n2", "n3"]
    with pytest.raises(ValueError, match="zip"):
        gaps(needs, [0.5], [None] * 3, 0.2)


# --- order --------------------------------------------------------------------------------------------

people = st.lists(
    st.tuples(st.text("AB1", min_size=1, max_size=3), st.sampled_from([0.0, 0.5, 1.0]), st.booleans()),
    unique_by=lambda p: p[0],
    max_size=8,
)


def ranked(given_people) -> list[str]:
    ids = [p[0] for p in given_people]
    scores = np.array([p[1] for p in given_people], dtype=np.float64)
    return [ids[i] for i in order(scores, np.array([p[2] for p in given_people], dtype=bool), ids)]


@given(people, st.randoms())
@settings(max_examples=100, deadline=None)
def test_order(given_people, chance):
    by_id = {p[0]: p for p in given_people}
    found = ranked(given_people)
    assert sorted(found) == sorted(by_id)
    for a, b in pairwise(found):
        (_, score_a, cross_a), (_, score_b, cross_b) = by_id[a], by_id[b]
        assert cross_a >= cross_b
        if cross_a == cross_b:
            assert score_a > score_b or (score_a == score_b and a < b)
    shuffled = list(given_people)
    chance.shuffle(shuffled)
    assert ranked(shuffled) == found


def test_other_labs_come_first_whatever_their_score():
    assert ranked([("S1", 1.0, False), ("S2", 0.1, True), ("S3", 0.1, True), ("S0", 0.9, False)]) == [
        *("S2", "S3"),
        *("S1", "S0"),
    ]


# --- what would lift somebody -------------------------------------------------------------------------


def match(**needs: dict[str, float]) -> Match:
    reasons = tuple(Reason(n, 0.5, 0.0, None, told) for n, told in needs.items())
    return Match(1, Person("S1", "", "", None), 0.5, 0.0, False, reasons)


def test_missing_is_what_the_better_has_more_of():
    low = match(n1={"skill": 0.1, "wording": 0.4}, n2={"skill": 0.0})
    high = match(n1={"skill": 0.6, "wording": 0.3}, n2={"skill": 0.9}, n3={"skill": 2.0})
    told = missing(low, [], high)
    assert [(need, part) for need, part, _ in told] == [("n2", "skill"), ("n1", "skill")]
    assert [round(d, 6) for *_, d in told] == [0.9, 0.5]
    assert missing(low, [], None) == []
    assert missing(low, [], low) == []


# --- thin profiles ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("items", "words", "thin"), [(2, 500, True), (3, 19, True), (3, 20, False), (0, 0, True)])
def test_thin(items, words, thin):
    assert is_thin(items, words) is thin
