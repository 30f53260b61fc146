"""What a score is made of: features against a plain version of themselves, the ranker, its calibration."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import toy_world as toy
from skillmatch import ranking
from skillmatch.encoders import HashingEncoder
from skillmatch.errors import FormatError
from skillmatch.ranking import (
    FEATURES,
    RELEVANCE_FEATURES,
    TEXT_FEATURES,
    WORTH_FLOOR,
    Ranker,
    SkillTable,
    fit_ranker,
    fit_relevance,
    gain_rows,
    near_matrix,
    platt,
    relevance_features,
    score_pairs,
    spread,
    trust_in_taxonomy,
)
from skillmatch.taxonomy import TOP_CONCEPTS, Concept, NeedBatch, Taxonomy, concept_rows, fit_concepts
from skillmatch.taxonomy.classify import name_cover

SHIPPED = Ranker.shipped()
features = st.lists(st.floats(-1, 2, width=32), min_size=len(FEATURES), max_size=len(FEATURES)).map(
    lambda values: np.array(values, dtype=np.float32)
)


def batch(*texts: str) -> NeedBatch:
    model, _ = toy.models()
    vectors = toy.ENCODER.encode(texts, "query")
    return NeedBatch(tuple(texts), vectors, *concept_rows(model, texts, vectors))


# --- concepts of a text -------------------------------------------------------------------------------


def test_concept_rows_are_the_likeliest_first():
    model, _ = toy.models()
    texts = [r for both in toy.REQUESTS.values() for r in both]
    ids, p = concept_rows(model, texts, toy.ENCODER.encode(texts))
    assert ids.shape == p.shape == (len(texts), TOP_CONCEPTS)
    assert (np.diff(p, axis=1) <= 0).all()
    assert (p.sum(axis=1) <= 1 + 1e-5).all()
    assert all(len(set(row)) == TOP_CONCEPTS for row in ids.tolist())
    assert [toy.taxonomy().concepts[i].id for i in ids[:, 0]] == [t for t in toy.TRADES for _ in range(2)]


def test_a_bare_name_decides_and_a_passing_one_does_not():
    model, _ = toy.models()
    ceph = toy.taxonomy().index["ceph"]
    texts = ["Ceph", "admin Ceph", "merge two Windows domains and their accounts, like we did for Ceph"]
    ids, p = concept_rows(model, texts, toy.ENCODER.encode(texts))
    assert ids[:2, 0].tolist() == [ceph, ceph]
    assert (p[:2, 0] >= 0.7).all()
    assert ids[2, 0] == toy.taxonomy().index["directory"]


def test_name_cover():
    model, _ = toy.models()
    assert name_cover("Ceph", model.names.find("Ceph")) == 1
    assert name_cover("admin Ceph", model.names.find("admin Ceph")) == 0.5
    assert name_cover("Active Directory", model.names.find("Active Directory")) == 1
    assert name_cover("", []) == 0


def test_a_taxonomy_smaller_than_what_is_kept():
    """Three concepts: the places left over must not overwrite the first concept's probability."""
    small = Taxonomy([toy.taxonomy()[t] for t in ("ceph", "gpu", "welding")])
    model = fit_concepts(small, toy.ENCODER)
    texts = ["Ceph", "CUDA", "TIG"]
    ids, p = concept_rows(model, texts, toy.ENCODER.encode(texts))
    dense = spread(ids, p, len(small))
    assert dense.argmax(axis=1).tolist() == [0, 1, 2]
    assert np.allclose(dense.sum(axis=1), 1, atol=1e-5)


@given(st.integers(1, 5), st.integers(TOP_CONCEPTS, 20), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_spread(rows, concepts, seed):
    rng = np.random.default_rng(seed)
    full = rng.random((rows, concepts)).astype(np.float32)
    ids = np.argsort(-full, axis=1)[:, :TOP_CONCEPTS].astype(np.int32)
    dense = spread(ids, np.take_along_axis(full, ids, axis=1), concepts)
    for r in range(rows):
        assert set(np.flatnonzero(dense[r])) <= set(ids[r].tolist())
        assert np.array_equal(dense[r, ids[r]], full[r, ids[r]])


def test_near_matrix_is_the_taxonomys_neighbours():
    near = near_matrix(toy.taxonomy())
    rows = [
        list(zip(near.indices[a:b].tolist(), near.values[a:b].tolist(), strict=True))
        for a, b in zip(near.indptr[:-1], near.indptr[1:], strict=True)
    ]
    assert rows == toy.taxonomy().neighbours()
    assert any(rows)
    assert near_matrix(Taxonomy([Concept("a", "", ""), Concept("b", "", "")])).indptr.tolist() == [0, 0, 0]


def test_skill_table_keeps_each_persons_best():
    ids = np.array([[0, 1], [0, 2], [1, 0]], np.int32)
    p = np.array([[0.64, 0.36], [1.0, 0.0], [0.25, 0.25]], np.float32)
    table = SkillTable.build(np.array([0, 0, 1]), np.array([1.0, 0.1, 0.5], np.float32), ids, p, 2, 3).worth
    best = [[0.8 * (1 + WORTH_FLOOR), 0.6 * (1 + WORTH_FLOOR), 0], [0.5 * (0.5 + WORTH_FLOOR)] * 2 + [0]]
    assert np.allclose(table, best)


# --- features -----------------------------------------------------------------------------------------


def score(needs: NeedBatch):
    m = toy.everyone()
    weights = m.ranker.relevance, m.ranker.text
    return score_pairs(needs, m.index, m.items.worth, m.skills, m.near, *weights)


def test_features_against_plain_loops():
    m = toy.everyone()
    needs = batch(*toy.REQUESTS["gpu"], "Ceph", "Weld a vessel and train a neural network", "qqq zzz")
    got = score(needs)
    n_concepts = len(toy.taxonomy())
    near = [dict(row) for row in toy.taxonomy().neighbours()]
    dense, words = m.index.channels(needs.vectors, needs.texts)
    owner = m.index.owner.tolist()
    for q in range(len(needs)):
        want = dict(zip(needs.concept_ids[q].tolist(), needs.concept_p[q].tolist(), strict=True))
        wider = {j: sum(want.get(i, 0.0) * near[i].get(j, 0.0) for i in range(n_concepts)) for j in range(n_concepts)}
        for person in range(len(m.people)):
            held = m.skills.worth[person]
            mine = [i for i, o in enumerate(owner) if o == person]
            values = []
            for i in mine:
                item = dict(zip(m.concept_ids[i].tolist(), m.concept_p[i].tolist(), strict=True))
                about = sum(want.get(c, 0.0) * p**0.5 for c, p in item.items())
                parts = np.array([about, dense[q, i], words[q, i], 1.0])
                relevant = 1 / (1 + np.exp(-(parts * m.ranker.relevance).sum()))
                values.append(relevant * (m.items.worth[i] + WORTH_FLOOR))
            expected = {
                "skill_worth": sum(held[c] * p for c, p in want.items()),
                "near_worth": sum(held[c] * p for c, p in wider.items()),
                "evidence_worth": max(values),
            }
            for name, value in expected.items():
                assert got.features[q, person, FEATURES.index(name)] == pytest.approx(value, abs=1e-4), name
            assert values[mine.index(int(got.best_item[q, person]))] == pytest.approx(max(values), abs=1e-4)
    text = m.ranker.text[0] * dense + m.ranker.text[1] * words
    for q in range(len(needs)):
        assert np.allclose(got.features[q, :, FEATURES.index("text_few")], m.index.best_few(text[q]))


def test_features_have_names():
    got = score(batch("Ceph"))
    assert got.features.shape == (1, len(toy.everyone().people), len(FEATURES))
    assert got.best_item.shape == got.features.shape[:2]
    assert np.isfinite(got.features).all()
    assert set(TEXT_FEATURES) < set(FEATURES)


def test_the_best_item_is_the_persons_own():
    m = toy.everyone()
    got = score(batch("Ceph", "Port a code to graphics cards"))
    for row in got.best_item:
        assert m.index.owner[row].tolist() == list(range(len(m.people)))


def test_each_need_is_scored_by_itself():
    texts = ["Ceph", *toy.REQUESTS["gpu"], "x"]
    together = score(batch(*texts))
    for q, text in enumerate(texts):
        alone = score(batch(text))
        assert np.allclose(together.features[q], alone.features[0], atol=1e-5)
        assert np.array_equal(together.best_item[q], alone.best_item[0])


def test_who_holds_a_narrower_concept_holds_some_of_the_broader():
    column = FEATURES.index("near_worth")
    m = toy.everyone()
    kernels = score(batch("Kernels made twice as fast after measuring")).features[0, :, column]
    who = [p["id"] for p in m.people]
    assert who[int(kernels.argmax())] == toy.expert("gpu")


def test_relevance_features():
    m = toy.everyone()
    needs = batch("Ceph", *toy.REQUESTS["welding"])
    got = relevance_features(needs, m.index, m.concept_ids, m.concept_p, len(toy.taxonomy()))
    assert got.shape == (3, len(m.index.owner), len(RELEVANCE_FEATURES))
    channels = m.index.channels(needs.vectors, needs.texts)
    for k, channel in enumerate(channels, start=1):
        assert np.allclose(got[..., k], channel)


# --- the ranker ---------------------------------------------------------------------------------------


@given(features)
@settings(max_examples=60, deadline=None)
def test_the_raw_score_is_the_sum_of_its_terms(values):
    raw = SHIPPED.raw(values)
    by_hand = SHIPPED.baseline + sum(
        float(c) * (float(v) - float(m)) / float(s)
        for c, v, m, s in zip(SHIPPED.coef, values, SHIPPED.mean, SHIPPED.scale, strict=True)
    )
    assert float(raw) == pytest.approx(by_hand, rel=1e-4, abs=1e-4)
    assert np.allclose(SHIPPED.terms(values).sum() + SHIPPED.baseline, raw, atol=1e-4)


@given(st.floats(-8, 8), st.floats(0.01, 2), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_probability_grows_with_the_raw_score(raw, more, needs):
    low, high = SHIPPED.probability(np.array([raw, raw + more]), needs)
    assert 0 <= low < high <= 1


def test_single_needs_and_several_are_calibrated_apart():
    ranker = replace(SHIPPED, single=(1.0, 0.0), several=(2.0, 1.0))
    raw = np.array([0.5])
    assert ranker.probability(raw, 1)[0] == pytest.approx(1 / (1 + np.exp(-0.5)))
    assert ranker.probability(raw, 2)[0] == ranker.probability(raw, 9)[0] == pytest.approx(1 / (1 + np.exp(-2.0)))


def test_the_bar_rises_with_what_is_foreign():
    ranker = replace(SHIPPED, bars=(0.1, 0.5, 0.2, 0.8))
    assert [ranker.bar(x, 1) for x in (0.0, 0.5, 1.0)] == pytest.approx([0.1, 0.3, 0.5])
    assert [ranker.bar(x, 3) for x in (0.0, 0.5, 1.0)] == pytest.approx([0.2, 0.5, 0.8])
    assert 0 < SHIPPED.bars[0] < SHIPPED.bars[1] < 1
    assert 0 < SHIPPED.bars[2] <= SHIPPED.bars[3] < 1


def test_the_shipped_ranker_is_sane():
    assert SHIPPED.origin == "shipped"
    assert (SHIPPED.scale > 0).all()
    assert SHIPPED.single[0] > 0
    assert SHIPPED.several[0] > 0
    for trust in (0.0, 1.0):
        assert np.isfinite(Ranker.shipped(trust).raw(np.ones(len(FEATURES), np.float32)))


@pytest.mark.parametrize("trust", [0.0, 0.3, 1.0])
def test_no_feature_counts_against_a_person(trust):
    """More of anything that speaks for somebody must not lower their score."""
    ranker = Ranker.shipped(trust)
    against = {f: float(c) for f, c in zip(FEATURES, ranker.coef, strict=True) if c < 0}
    against |= {f: float(c) for f, c in zip(RELEVANCE_FEATURES, ranker.relevance[:-1], strict=True) if c < 0}
    assert against == {}


def test_trust_mixes_two_rankers():
    text, skills = Ranker.shipped(0.0), Ranker.shipped(1.0)
    columns = [FEATURES.index(f) for f in FEATURES if f not in TEXT_FEATURES]
    assert not text.coef[columns].any()
    values = np.linspace(0, 1, len(FEATURES), dtype=np.float32)
    half = Ranker.shipped(0.5)
    assert half.raw(values) == pytest.approx((text.raw(values) + skills.raw(values)) / 2, abs=1e-5)
    assert half.bar(0.3, 1) == pytest.approx((text.bar(0.3, 1) + skills.bar(0.3, 1)) / 2)


def test_trust_is_high_where_the_taxonomy_speaks_of_the_same_things():
    model, _ = toy.models()
    assert trust_in_taxonomy(model, []) == 1
    assert trust_in_taxonomy(model, [t for _, did, tried in toy.taxonomy()["ceph"].practice for t in (did, tried)]) == 1
    assert trust_in_taxonomy(model, ["quasi-Lagrangian zyxwv of oxbow qqq", "jkl vbn wsx"]) == 0
    many = [f"Exploite un stockage objet distribué, numéro {i}" for i in range(1200)]
    assert trust_in_taxonomy(model, many) == trust_in_taxonomy(model, many[:300])


def test_a_ranker_comes_back_from_json():
    again = Ranker.from_dict(json.loads(json.dumps(SHIPPED.as_dict())))
    values = np.random.default_rng(0).random((50, len(FEATURES))).astype(np.float32)
    assert np.array_equal(again.raw(values), SHIPPED.raw(values))
    assert np.array_equal(again.probability(again.raw(values), 2), SHIPPED.probability(SHIPPED.raw(values), 2))
    assert (again.origin, again.bars, again.baseline) == (SHIPPED.origin, SHIPPED.bars, SHIPPED.baseline)
    assert np.array_equal(again.relevance, SHIPPED.relevance)


@pytest.mark.parametrize("names", [[], [*FEATURES, "more"], FEATURES[::-1], None])
def test_a_ranker_of_other_features_is_refused(names):
    with pytest.raises(FormatError) as told:
        Ranker.from_dict({**SHIPPED.as_dict(), "features": names})
    assert "skillmatch train" in told.value.hint


# --- fitting ------------------------------------------------------------------------------------------


def test_gain_rows():
    x = np.arange(8, dtype=np.float32).reshape(4, 2)
    rows, labels, weights = gain_rows(x, np.array([0, 1, 2, 3], np.float32))
    assert rows.tolist() == [*x.tolist(), *x[1:].tolist()]
    assert labels.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert weights == pytest.approx([1, 6 / 7, 4 / 7, 0, 1 / 7, 3 / 7, 1])
    # Each pair weighs one in all, and its positive share is its gain.
    assert weights.sum() == pytest.approx(4)


def test_fit_ranker_finds_what_matters():
    rng = np.random.default_rng(0)
    x = rng.random((400, 4)).astype(np.float32)
    grades = np.clip(np.round(3 * x[:, 2]), 0, 3)
    for standardise in (True, False):
        fitted = fit_ranker(x, grades, 10.0, standardise)
        coef = fitted[-1].coef_[0]
        assert coef.argmax() == 2
        assert coef[2] > 4 * np.abs(np.delete(coef, 2)).max()
    held_back = fit_ranker(x, grades, 1e-4)
    assert np.abs(held_back[-1].coef_).max() < 0.1


def test_fit_relevance():
    rng = np.random.default_rng(0)
    x = rng.random((500, len(RELEVANCE_FEATURES))).astype(np.float32)
    weights = fit_relevance(x, x[:, 0] + x[:, 1] > 1.1)
    assert weights.shape == (len(RELEVANCE_FEATURES) + 1,)
    assert weights.dtype == np.float32
    assert ((x @ weights[:-1] + weights[-1] > 0) == (x[:, 0] + x[:, 1] > 1.1)).mean() > 0.95
    assert weights[:2].min() > 5 * np.abs(weights[2:-1]).max()


def test_platt_recovers_a_calibration():
    rng = np.random.default_rng(0)
    raw = rng.normal(0, 2, 6000)
    grades = np.where(rng.random(6000) < 1 / (1 + np.exp(-(1.5 * raw - 0.5))), 3.0, 0.0)
    slope, offset = platt(raw, grades)
    assert slope == pytest.approx(1.5, rel=0.1)
    assert offset == pytest.approx(-0.5, abs=0.1)
    # A grade of one is half useful; weights count.
    half, _ = platt(raw, np.ones(6000))
    assert half == pytest.approx(1e-3, abs=1e-2)
    assert (
        platt(raw, np.zeros(6000) + 3 * (raw > 0), np.where(raw > 0, 1.0, 3.0))[1]
        < platt(raw, np.zeros(6000) + 3 * (raw > 0))[1] + 1e-6
    )


def test_platt_never_turns_the_order_round():
    raw = np.linspace(-2, 2, 50)
    slope, _ = platt(raw, np.linspace(3, 0, 50))
    assert slope > 0


def test_another_encoder_is_another_matter():
    """Nothing in ranking knows an encoder: vectors of any size will do."""
    small = HashingEncoder(32)
    m = toy.matcher(toy.people())
    index = replace(m.index, vectors=small.encode([m.items.proof(i).text for i in range(len(m.index.owner))]))
    needs = batch("Ceph")
    needs = replace(needs, vectors=small.encode(needs.texts, "query"))
    weights = m.ranker.relevance, m.ranker.text
    scored = score_pairs(needs, index, m.items.worth, m.skills, m.near, *weights)
    assert np.isfinite(scored.features).all()
    assert not hasattr(ranking, "Encoder")
