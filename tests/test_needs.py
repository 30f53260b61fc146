"""What a project's text is understood to need."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import toy_world as toy
from skillmatch.needs import LINK_BAR, MOST_NEEDS, MUST_PREFIX, must_need, project_from_text, understand
from skillmatch.records import Need, Project

IDS = [c.id for c in toy.taxonomy().concepts]


def read(*projects: Project | str):
    model, _ = toy.models()
    given_projects = [project_from_text(p) if isinstance(p, str) else p for p in projects]
    return understand(given_projects, IDS, model, toy.ENCODER)


def needs(project: Project | str) -> tuple[Need, ...]:
    (understood,) = read(project)
    return understood.project.needs


# --- from text ----------------------------------------------------------------------------------------


def test_each_sentence_is_a_need_linked_to_its_concept():
    told = needs(
        "Fusionner deux domaines Windows. Il faudra aussi exploiter un stockage objet distribué ! "
        "Then train a neural network on labelled images"
    )
    assert [n.id for n in told] == ["n1", "n2", "n3"]
    assert [n.skill for n in told] == ["directory", "ceph", "learning"]
    assert told[0].text == "Fusionner deux domaines Windows."
    assert all(n.weight == 1 and not n.must for n in told)


def test_a_short_list_of_names_is_a_need_a_name():
    told = needs("CUDA, Ceph et PostgreSQL")
    assert [(n.id, n.text, n.skill) for n in told] == [
        ("n1", "CUDA", "gpu"),
        ("n2", "Ceph", "ceph"),
        ("n3", "PostgreSQL", "database"),
    ]
    assert [n.text for n in needs("Ceph, Ceph")] == ["Ceph, Ceph"]


def test_a_sentence_that_mentions_names_is_no_list():
    text = "We would like somebody to look after our Ceph and the old PostgreSQL of the shift crew"
    assert [n.text for n in needs(text)] == [text]


def test_one_name_is_one_need():
    assert [(n.text, n.skill) for n in needs("CUDA")] == [("CUDA", "gpu")]


def test_a_title_that_the_text_repeats_is_no_second_need():
    told = needs(Project("P", "Fusion de domaines Windows", description="Fusion de domaines Windows. Aide au réseau."))
    assert [n.text.rstrip(".") for n in told] == ["Fusion de domaines Windows", "Aide au réseau"]
    assert needs(Project("P", "Souder une enceinte en inox"))[0].skill == "welding"


def test_sentences_of_one_word_say_nothing_of_their_own():
    assert [n.text for n in needs("Bonjour. Fusionner deux domaines Windows. Merci.")] == [
        "Fusionner deux domaines Windows."
    ]
    assert [n.text for n in needs("Bonjour.")] == ["Bonjour."]


def test_what_nobody_recognises_is_linked_to_nothing():
    (need,) = needs("Qqq zzz xxyyzz wwvv kkjj")
    assert need.skill is None


def test_links_are_as_sure_as_they_say():
    for understood in read(*(r for both in toy.REQUESTS.values() for r in both)):
        for need, ids, p in zip(
            understood.project.needs, understood.batch.concept_ids, understood.batch.concept_p, strict=True
        ):
            assert need.skill == (IDS[ids[0]] if p[0] >= LINK_BAR else None)


def test_a_long_text_keeps_its_most_telling_sentences():
    telling = [toy.REQUESTS[t][1] for t in toy.TRADES]
    noise = [f"Qqq{i} zzz{i} xxyy{i} wwvv{i}" for i in range(MOST_NEEDS)]
    text = ". ".join(x for pair in zip(noise, [*telling, "", ""], strict=True) for x in pair if x)
    told = needs(text)
    assert len(told) == MOST_NEEDS
    kept = [n.text.rstrip(".") for n in told]
    assert [t for t in telling if t in kept] == telling
    # In the order of the text, and numbered in that order.
    assert kept == sorted(kept, key=text.index)
    assert [n.id for n in told] == [f"n{i}" for i in range(1, MOST_NEEDS + 1)]


@given(st.text(min_size=1, max_size=200).filter(lambda t: t.strip()))
@settings(max_examples=60, deadline=None)
def test_any_text_becomes_at_least_one_need(text):
    try:
        project = project_from_text(text)
    except ValidationError:
        return
    (understood,) = read(project)
    told = understood.project.needs
    assert 1 <= len(told) <= MOST_NEEDS
    assert len({n.id for n in told}) == len(told)
    assert all(n.text.strip() for n in told)
    assert understood.batch.vectors.shape == (len(told), toy.ENCODER.dim)
    assert understood.batch.texts == tuple(n.text for n in told)


# --- given needs --------------------------------------------------------------------------------------


def test_needs_that_are_given_are_kept():
    given_needs = (Need("a", "CUDA", weight=3), Need("b", "zzz", skill="my-own", must=True, level=4))
    told = needs(Project("P", "Title of it", description="Fusionner deux domaines.", needs=given_needs))
    assert [(n.id, n.text, n.weight, n.must, n.level) for n in told] == [
        ("a", "CUDA", 3, False, None),
        ("b", "zzz", 1, True, 4),
    ]
    assert [n.skill for n in told] == ["gpu", "my-own"]


def test_given_needs_are_never_dropped():
    given_needs = tuple(Need(f"n{i}", f"CUDA {i}") for i in range(MOST_NEEDS + 8))
    assert len(needs(Project("P", "T", needs=given_needs))) == MOST_NEEDS + 8


def test_must_comes_on_top():
    need = must_need("ceph", toy.taxonomy())
    assert (need.id, need.text, need.must, need.weight) == (f"{MUST_PREFIX}ceph", "Ceph storage", True, 3)
    assert must_need("Some thing").text == "Some thing"
    told = needs(Project("P", description="Fusionner deux domaines Windows", needs=(must_need("Ceph"),)))
    assert [(n.id, n.skill, n.must) for n in told] == [("n1", "directory", False), (f"{MUST_PREFIX}Ceph", "ceph", True)]
    told = needs(Project("P", description="Fusionner", needs=(Need("a", "CUDA"), must_need("Ceph"))))
    assert [n.id for n in told] == ["a", f"{MUST_PREFIX}Ceph"]


def test_must_does_not_make_a_long_text_longer():
    """The text is understood the same with and without ``--must``."""
    text = ". ".join(f"Sentence number {i} on the storage" for i in range(MOST_NEEDS + 8))
    plain = needs(text)
    must = needs(Project("P", description=text, needs=(must_need("CUDA"),)))
    assert [n.text for n in must] == [*(n.text for n in plain), "CUDA"]


# --- many at once -------------------------------------------------------------------------------------


def test_projects_are_read_each_by_itself():
    texts = [*(r for both in toy.REQUESTS.values() for r in both), "CUDA, Ceph", "x y. z w. a b c."]
    for together, text in zip(read(*texts), texts, strict=True):
        (alone,) = read(text)
        assert together.project == alone.project
        assert np.array_equal(together.batch.vectors, alone.batch.vectors)
        assert np.array_equal(together.batch.concept_ids, alone.batch.concept_ids)
        assert np.allclose(together.batch.concept_p, alone.batch.concept_p, atol=1e-6)
    assert read() == []


def test_all_needs_are_embedded_in_one_go():
    class Counting(type(toy.ENCODER)):
        calls: list[tuple[str, int]] = []  # noqa: RUF012

        def encode(self, texts, kind="passage", progress=None):
            self.calls.append((kind, len(texts)))
            return super().encode(texts, kind, progress)

    model, _ = toy.models()
    two = [project_from_text("Fusionner deux domaines. Aide au réseau."), project_from_text("CUDA")]
    understand(two, IDS, model, Counting())
    assert Counting.calls == [("query", 3)]


@pytest.mark.parametrize("text", ["", "   ", "\n\n", "a\x00b", "x" * 20_001])
def test_what_is_no_text(text):
    with pytest.raises(ValidationError):
        project_from_text(text)
