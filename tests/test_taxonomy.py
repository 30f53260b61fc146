"""Concepts and their file, exact names, and the two classifiers that learn from them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import toy_world as toy
from skillmatch import retrieval
from skillmatch.errors import DamagedModelError, DataError
from skillmatch.taxonomy import (
    LEVEL_WORTH,
    Concept,
    ConceptModel,
    LevelModel,
    NameIndex,
    Taxonomy,
    concept_from_dict,
    examples,
    fit_concepts,
    fit_levels,
    read_additions,
)

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def shipped() -> Taxonomy:
    return Taxonomy.shipped()


@pytest.fixture(scope="module")
def names(shipped: Taxonomy) -> NameIndex:
    return NameIndex.build(shipped)


# --- the shipped taxonomy -----------------------------------------------------------------------------


def test_it_covers_laboratory_computing(shipped):
    assert len(shipped) >= 200
    for concept in shipped.concepts:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", concept.id), concept.id
        assert concept.label_en, concept.id
        assert concept.label_fr, concept.id
        assert set(concept.families) <= {"online", "offline", "asr", "other"}, concept.id
    for family in ("online", "offline", "asr"):
        assert sum(family in c.families for c in shipped.concepts) >= 30


def test_relations_lead_somewhere(shipped):
    assert shipped.dangling() == []
    for concept in shipped.concepts:
        assert concept.id not in (*concept.broader, *concept.related)


def test_nothing_is_broader_than_itself(shipped):
    def climb(concept_id: str, below: tuple[str, ...]) -> None:
        assert concept_id not in below, below
        for above in shipped[concept_id].broader:
            climb(above, (*below, concept_id))

    for concept in shipped.concepts:
        climb(concept.id, ())


def test_labels_are_told_apart(shipped):
    for lang in ("en", "fr"):
        labels = [retrieval.fold(c.label(lang)) for c in shipped.concepts]
        assert sorted({x for x in labels if labels.count(x) > 1}) == []


def test_examples_are_in_both_languages(shipped):
    for concept in shipped.concepts:
        for _, french, english in concept.practice:
            assert french or english
        assert all(fr or en for fr, en in concept.requests)
    sentences = [p for c in shipped.concepts for p in c.practice]
    assert sum(bool(fr) for _, fr, _ in sentences) > 0.9 * len(sentences)
    assert sum(bool(en) for *_, en in sentences) > 0.9 * len(sentences)
    assert {level for level, *_ in sentences} >= {1, 2, 3, 4}


def test_some_of_it_is_foreign_to_computing(shipped):
    """So that a need for a welder or a lawyer is recognised as such, and nobody is suggested lightly."""
    assert sum(c.families == ("other",) for c in shipped.concepts) >= 5


def test_the_sample_labs_own_concepts_fit_in(shipped):
    import csv

    with (ROOT / "data" / "skills.csv").open(encoding="utf-8", newline="") as file:
        rows = list(enumerate(csv.DictReader(file), start=2))
    merged = Taxonomy([*shipped.concepts, *read_additions(Path("skills.csv"), rows)])
    assert len(merged) == len(shipped) + len(rows)
    assert merged.dangling() == []


# --- concepts -----------------------------------------------------------------------------------------


def test_a_concept_from_its_entry():
    concept = concept_from_dict(
        {
            "id": "ceph",
            "en": " Ceph storage ",
            "names": ["Ceph", " "],
            "aliases_fr": "stockage objet; RADOS ;",
            "practice": [{"level": 4, "fr": "Exploite Ceph"}],
            "requests": [{"en": "Run Ceph"}],
        }
    )
    assert (concept.label_en, concept.label_fr, concept.label("fr")) == ("Ceph storage", "", "Ceph storage")
    assert concept.names == ("Ceph",)
    assert concept.aliases_fr == ("stockage objet", "RADOS")
    assert concept.practice == ((4, "Exploite Ceph", ""),)
    assert concept.requests == (("", "Run Ceph"),)
    assert concept.wordings() == ["Ceph storage", "stockage objet", "RADOS", "Ceph"]
    assert Concept("x", "", "").label("en") == "x"


@pytest.mark.parametrize(
    "entry",
    [{}, {"en": "no id"}, {"id": "x", "practice": [{"level": 6, "fr": "a"}]}, {"id": "x", "practice": [{"fr": "a"}]}],
)
def test_a_malformed_entry(entry):
    with pytest.raises((KeyError, ValueError)):
        concept_from_dict(entry)


def test_later_concepts_add_and_never_remove():
    first = Concept("ceph", "Ceph", "", names=("RADOS",), families=("asr",), definition_en="Object storage.")
    second = Concept("ceph", "Ceph storage", "stockage Ceph", names=("CephFS",), definition_en="Other.", source="lab")
    other = Concept("aaa", "first by id", "")
    taxonomy = Taxonomy([first, other, second])
    assert [c.id for c in taxonomy.concepts] == ["aaa", "ceph"]
    merged = taxonomy["ceph"]
    assert (merged.label_en, merged.label_fr, merged.definition_en) == ("Ceph", "stockage Ceph", "Object storage.")
    assert merged.names == ("RADOS", "CephFS")
    assert "Ceph storage" in merged.aliases_en
    assert merged.families == ("asr",)
    assert "ceph" in taxonomy
    assert "nobody" not in taxonomy
    with pytest.raises(KeyError):
        taxonomy["nobody"]


def test_neighbours():
    taxonomy = Taxonomy(
        [
            Concept("cuda", "", "", broader=("gpu",)),
            Concept("gpu", "", "", broader=("parallel",), related=("ml", "nowhere")),
            Concept("parallel", "", ""),
            Concept("ml", "", "", broader=("ml", "nowhere")),
        ]
    )
    rows = taxonomy.neighbours()
    near = {(taxonomy.concepts[i].id, taxonomy.concepts[j].id): share for i, row in enumerate(rows) for j, share in row}
    there = {("cuda", "gpu"): 0.5, ("gpu", "parallel"): 0.5, ("cuda", "parallel"): 0.25, ("gpu", "ml"): 0.15}
    assert near == there | {(b, a): share for (a, b), share in there.items()}
    assert all([j for j, _ in row] == sorted(j for j, _ in row) for row in rows)


def test_neighbours_of_the_shipped_taxonomy_go_both_ways(shipped):
    rows = [dict(row) for row in shipped.neighbours()]
    for i, row in enumerate(rows):
        assert i not in row
        assert all(0 < share <= 0.5 and rows[j][i] == share for j, share in row.items())


# --- the lab's own ------------------------------------------------------------------------------------


def test_additions():
    row = {
        "id": "",
        "en": "",
        "fr": "Cahier de quart",
        "names": "CARNET; carnet-web",
        "examples_fr": "Export CARNET; Formulaires",
        "examples_en": "A search",
        "broader": "web",
    }
    (concept,) = read_additions(Path("skills.csv"), [(2, row)])
    assert concept.id == "cahier-de-quart"
    assert concept.names == ("CARNET", "carnet-web")
    assert concept.broader == ("web",)
    assert concept.practice == ((3, "Export CARNET", ""), (3, "Formulaires", ""), (3, "", "A search"))
    assert concept.source == "lab"


def test_additions_that_are_none():
    with pytest.raises(DataError) as told:
        read_additions(Path("skills.csv"), [(2, {"id": " ", "names": "X"}), (3, {"id": "ok"}), (4, {"en": "!?"})])
    assert [(p.file, p.row) for p in told.value.problems] == [("skills.csv", 2), ("skills.csv", 4)]


# --- exact names --------------------------------------------------------------------------------------


def found(names: NameIndex, taxonomy: Taxonomy, text: str) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for concept, _, written in names.find(text):
        out.setdefault(written, []).append(taxonomy.concepts[concept].id)
    return out


def test_every_wording_finds_its_concept(names, shipped):
    missing = [
        (concept.id, text)
        for i, concept in enumerate(shipped.concepts)
        for text in concept.wordings()
        if 0 < len(retrieval.tokens(text)) <= 7 and i not in {c for c, _, _ in names.find(text)}
    ]
    assert missing == []


def test_longest_first(names, shipped):
    """False friends: a neural network is no network, a heap of hits no cluster of machines."""
    told = found(names, shipped, "Nous voulons entraîner un réseau de neurones sur nos images du soir")
    assert "réseau de neurones" in told
    assert "réseau" not in told


@pytest.mark.parametrize("text", ["C++", "c++", "Ceph", "ceph", "CEPH", "Active Directory", "active  directory"])
def test_names_in_any_case(names, shipped, text):
    assert found(names, shipped, text)


def test_short_names_need_their_own_spelling_in_a_sentence():
    taxonomy = Taxonomy([Concept("ad", "Active Directory", "", names=("AD",)), Concept("r", "R language", "R")])
    index = NameIndex.build(taxonomy)
    assert found(index, taxonomy, "Our AD forest needs somebody who knows R") == {"AD": ["ad"], "R": ["r"]}
    assert found(index, taxonomy, "we placed an ad for a job with r and so on") == {}
    # A text of three words is a list of names, whatever its capitals.
    assert found(index, taxonomy, "ad") == {"ad": ["ad"]}


def test_inflections_accents_and_apostrophes(names):
    taxonomy = toy.taxonomy()
    index = NameIndex.build(taxonomy)
    for text in ("BASES DE DONNEES RELATIONNELLES", "base de données relationnelle", "l’annuaire active directory"):
        assert found(index, taxonomy, text), text


def test_ambiguity_is_shared():
    taxonomy = Taxonomy([Concept("a", "cluster", ""), Concept("b", "", "cluster"), Concept("c", "other", "")])
    hits = NameIndex.build(taxonomy).find("a big cluster")
    assert [(taxonomy.concepts[c].id, share, text) for c, share, text in hits] == [
        ("a", 0.5, "cluster"),
        ("b", 0.5, "cluster"),
    ]


@given(st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_names_in_any_text(text):
    index = NameIndex.build(toy.taxonomy())
    for concept, share, written in index.find(text):
        assert 0 <= concept < len(toy.taxonomy())
        assert 0 < share <= 1
        assert written.strip()


# --- text to concepts ---------------------------------------------------------------------------------


def test_examples_of_a_taxonomy():
    data = examples(toy.taxonomy())
    assert len(data.text) == len(data.label) == len(data.weight) == len(data.level)
    assert np.all(np.diff(data.label) >= 0)
    assert (data.weight > 0).all()
    rows = set(zip(data.text, data.label.tolist(), data.level.tolist(), strict=True))
    ceph = toy.taxonomy().index["ceph"]
    for fr_en in toy.REQUESTS["ceph"]:
        assert (fr_en, ceph, 0) in rows
    assert {level for _, label, level in rows if label == ceph} == {0, 1, 5}


def test_imported_concepts_without_sentences_are_not_learned():
    """Thousands of bare labels would drown the classifier; names find them all the same."""
    bare = Concept("esco-1", "manage databases", "gérer des bases", source="esco")
    taxonomy = Taxonomy([*toy.taxonomy().concepts, bare])
    assert taxonomy.index["esco-1"] not in examples(taxonomy).label
    model = fit_concepts(taxonomy, toy.ENCODER)
    p = model.probabilities(["manage databases"], toy.ENCODER.encode(["manage databases"]))
    assert p[0, taxonomy.index["esco-1"]] == 0
    assert p.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("trade", toy.TRADES)
def test_texts_of_a_trade_are_recognised_in_both_languages(trade):
    model, _ = toy.models()
    concept = toy.taxonomy()[trade]
    texts = [*toy.REQUESTS[trade], concept.label_en, concept.label_fr, *concept.practice[0][1:]]
    p = model.probabilities(texts, toy.ENCODER.encode(texts))
    assert (p.argmax(axis=1) == toy.taxonomy().index[trade]).all()


def test_wordings_never_seen_are_recognised():
    model, _ = toy.models()
    cases = {
        "storage of objects, distributed": "ceph",
        "stockages objets": "ceph",
        "neural networks": "learning",
        "RESEAUX DE NEURONES": "learning",
        "the firmware of our boards": "firmware",
        "restauration de sauvegarde": "backup",
    }
    p = model.probabilities(list(cases), toy.ENCODER.encode(list(cases)))
    assert [toy.taxonomy().concepts[i].id for i in p.argmax(axis=1)] == list(cases.values())


@given(st.lists(st.text(max_size=40), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_probabilities_of_any_text(texts):
    model, _ = toy.models()
    p = model.probabilities(texts, toy.ENCODER.encode(texts))
    assert p.shape == (len(texts), len(toy.taxonomy()))
    assert p.dtype == np.float32
    assert (p >= 0).all()
    assert np.allclose(p.sum(axis=1), 1, atol=1e-4)
    alone = np.vstack([model.probabilities([t], toy.ENCODER.encode([t])) for t in texts])
    assert np.allclose(p, alone, atol=1e-4)


def test_blocks_of_texts_do_not_show():
    model, _ = toy.models()
    texts = [f"text {i} on storage" for i in range(515)]
    vectors = toy.ENCODER.encode(texts)
    whole = model.probabilities(texts, vectors)
    assert np.allclose(whole[510:], model.probabilities(texts[510:], vectors[510:]), atol=1e-5)


def test_no_text_no_row():
    model, levels = toy.models()
    assert model.probabilities([], toy.ENCODER.encode([])).shape == (0, len(toy.taxonomy()))
    assert levels.worth([], toy.ENCODER.encode([])).shape == (0,)


def test_the_sparse_bayes_is_scikit_learns():
    """Its decision, up to a constant per text."""
    from scipy.sparse import csr_matrix
    from sklearn.naive_bayes import ComplementNB

    model, _ = toy.models()
    data = examples(toy.taxonomy())
    rows = model.space.transform(data.text)
    shape = (len(data.text), len(model.space.features))
    bayes = ComplementNB(alpha=0.1).fit(
        csr_matrix((rows.values, rows.indices, rows.indptr), shape=shape), data.label, sample_weight=data.weight
    )
    texts = ["merge two domains", "GPU", "stockage distribué et sauvegardes", "une phrase sans rapport"]
    asked = model.space.transform(texts)
    want = csr_matrix((asked.values, asked.indices, asked.indptr), shape=(len(texts), shape[1])) @ (
        bayes.feature_log_prob_.T
    )
    got = model.channels(texts, toy.ENCODER.encode(texts))[0][1]
    difference = got - want
    assert np.ptp(got, axis=1).max() > 0.1
    assert np.allclose(difference, difference[:, :1], atol=1e-3)


def test_two_concepts_are_enough():
    two = Taxonomy([toy.taxonomy()["ceph"], toy.taxonomy()["welding"]])
    model = fit_concepts(two, toy.ENCODER)
    texts = ["a distributed object storage", "souder de l'inox", "Ceph", "TIG"]
    p = model.probabilities(texts, toy.ENCODER.encode(texts))
    assert p.argmax(axis=1).tolist() == [0, 1, 0, 1]


def test_held_out_texts_are_not_learned():
    """``keep`` is for cross-fitting: what is left out must leave no trace."""
    data = examples(toy.taxonomy())
    keep = np.array([t not in toy.REQUESTS["welding"] for t in data.text])
    model = fit_concepts(toy.taxonomy(), toy.ENCODER, keep=keep)
    assert len(model.example_class) == keep.sum() == len(data.text) - 2


def test_the_classifier_comes_back_from_disk(tmp_path):
    model, _ = toy.models()
    model.save(tmp_path)
    again = ConceptModel.load(tmp_path, len(toy.taxonomy()))
    texts = [*toy.REQUESTS["gpu"], "anything else"]
    vectors = toy.ENCODER.encode(texts)
    assert np.array_equal(model.probabilities(texts, vectors), again.probabilities(texts, vectors))
    assert model.named(texts) == again.named(texts)
    (tmp_path / "concepts_discriminant.npy").unlink()
    with pytest.raises(DamagedModelError, match="discriminant"):
        ConceptModel.load(tmp_path, len(toy.taxonomy()))


def test_learning_twice_is_the_same():
    texts = [*toy.REQUESTS["gpu"], "anything else"]
    vectors = toy.ENCODER.encode(texts)
    one, other = (fit_concepts(toy.taxonomy(), toy.ENCODER).probabilities(texts, vectors) for _ in range(2))
    assert np.array_equal(one, other)


# --- how much expertise a sentence shows --------------------------------------------------------------


def test_worth_of_levels():
    assert [LEVEL_WORTH[level] for level in range(1, 6)] == sorted(LEVEL_WORTH.values())
    assert 0 < LEVEL_WORTH[1] < 0.1
    assert LEVEL_WORTH[5] == 1


def test_responsibility_is_worth_more_than_a_visit():
    _, levels = toy.models()
    texts = [
        "Responsable du stockage objet depuis 2015",
        "In charge of the network and its switches",
        "A suivi une formation de deux jours sur le réseau",
        "Watched a colleague once, with help",
    ]
    worth = levels.worth(texts, toy.ENCODER.encode(texts))
    assert worth[:2].min() > worth[2:].max() + 0.2


@given(st.lists(st.text(max_size=60), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_worth_of_any_text(texts):
    _, levels = toy.models()
    worth = levels.worth(texts, toy.ENCODER.encode(texts))
    assert worth.shape == (len(texts),)
    assert worth.dtype == np.float32
    assert ((worth >= 0) & (worth <= 1)).all()
    alone = [float(levels.worth([t], toy.ENCODER.encode([t]))[0]) for t in texts]
    assert np.allclose(worth, alone, atol=1e-5)


def test_levels_come_back_from_disk(tmp_path):
    _, levels = toy.models()
    levels.save(tmp_path)
    texts = ["Responsable du réseau", "Has seen it"]
    vectors = toy.ENCODER.encode(texts)
    assert np.array_equal(levels.worth(texts, vectors), LevelModel.load(tmp_path).worth(texts, vectors))


def test_levels_are_learned_from_levelled_sentences_only():
    asked = (("Une demande urgente", "An urgent request"),)
    silent = Taxonomy(replace(c, requests=asked) for c in toy.taxonomy().concepts)
    texts = ["Responsable du réseau", "A regardé, aidé"]
    vectors = toy.ENCODER.encode(texts)
    _, levels = toy.models()
    assert np.allclose(fit_levels(silent, toy.ENCODER).worth(texts, vectors), levels.worth(texts, vectors), atol=1e-4)
