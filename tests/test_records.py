"""Records check themselves, all problems at once, and their hash changes with their content only."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from skillmatch.records import (
    MAX_NAME,
    MAX_TEXT,
    Evidence,
    Judgement,
    Need,
    Profile,
    Project,
    SkillClaim,
    content_hash,
)

CEPH = SkillClaim("Ceph", 3)


def wrong(make) -> dict[str, str]:
    """What was refused, by field, and why."""
    with pytest.raises(ValidationError) as told:
        make()
    return {".".join(map(str, e["loc"])): e["msg"] for e in told.value.errors()}


# --- what is refused ----------------------------------------------------------------------------------


def test_little_is_required():
    profile = Profile("S01", skills=(SkillClaim("Ceph"),))
    assert (profile.name, profile.lab, profile.family, profile.consent, profile.evidence) == ("", "", None, None, ())
    assert Profile("S01", evidence=(Evidence("Runs the farm"),)).evidence[0].kind == "note"
    assert Project("P01", description="Help").needs == ()
    assert Need("n1", "GPU") == Need("n1", "GPU", None, 1.0, False, None)


def test_a_profile_says_something_of_somebody():
    assert "neither a skill nor evidence" in wrong(lambda: Profile("S01"))[""]
    for nobody in ("", "   ", "\n"):
        assert wrong(lambda who=nobody: Profile(who, skills=(CEPH,)))


def test_a_project_says_something():
    for empty in ({}, {"title": "  "}, {"description": " \n "}):
        assert "neither title, description nor needs" in wrong(lambda given=empty: Project("P01", **given))[""]


@pytest.mark.parametrize("blank", ["", " ", "\n\t ", "\u00a0"])
def test_nothing_is_blank(blank):
    """Not a text to embed, nor a sentence to show as proof."""
    for make in (lambda: SkillClaim(blank), lambda: Evidence(blank), lambda: Need("n1", blank)):
        assert wrong(make)


def test_every_wrong_field_is_told_at_once():
    told = wrong(
        lambda: TypeAdapter(Profile).validate_python(
            {
                "id": "S\x00",
                "name": "x" * (MAX_NAME + 1),
                "family": "boss",
                "skills": [{"name": "Ceph", "level": 9}, {"name": "CUDA", "last_used": "soon"}],
                "evidence": [{"text": "x" * (MAX_TEXT + 1)}],
                "availability": 140,
                "available_from": "2026-13-01",
            }
        )
    )
    assert set(told) == {
        *("id", "name", "family", "availability", "available_from"),
        *("skills.0.level", "skills.1.last_used", "evidence.0.text"),
    }


@pytest.mark.parametrize("level", [0, 6, -1, 2.5, "much", float("nan")])
def test_levels_go_from_1_to_5(level):
    assert wrong(lambda: SkillClaim("Ceph", level))
    assert wrong(lambda: Need("n1", "Ceph", level=level))


@pytest.mark.parametrize("share", [-1, 100.5, float("nan"), float("inf"), "half"])
def test_availability_is_a_percentage(share):
    assert wrong(lambda: Profile("S01", skills=(CEPH,), availability=share))


@pytest.mark.parametrize("weight", [0, 3.5, float("nan"), float("-inf")])
def test_weights_go_from_1_to_3(weight):
    assert wrong(lambda: Need("n1", "Ceph", weight=weight))


@pytest.mark.parametrize("grade", [-0.1, 3.1, float("nan"), None, "good"])
def test_grades_go_from_0_to_3(grade):
    assert wrong(lambda: Judgement("P01", "S01", grade))
    assert Judgement("P01", "S01", 2.5).grade == 2.5


def test_dates_are_in_order():
    late, early = date(2027, 1, 1), date(2026, 1, 1)
    assert "after" in wrong(lambda: Profile("S", skills=(CEPH,), available_from=late, available_to=early))[""]
    assert "after" in wrong(lambda: Project("P", "T", start=late, end=early))[""]
    assert Project("P", "T", start=early, end=early).end == early


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-03-12", date(2026, 3, 12)),
        (" 2026-03 ", date(2026, 3, 1)),
        ("2026", date(2026, 1, 1)),
        (2026, date(2026, 1, 1)),
        (date(2026, 3, 12), date(2026, 3, 12)),
        (None, None),
    ],
)
def test_dates(written, read):
    assert SkillClaim("Ceph", last_used=written).last_used == read


@pytest.mark.parametrize("written", ["yesterday", "2026-02-30", "12/03/2026", "2026-00", True, 20260312, "0", "86400"])
def test_what_is_no_date_is_refused(written):
    """A bare number is no count of seconds since 1970, as pydantic would have it."""
    assert wrong(lambda: SkillClaim("Ceph", last_used=written))


@pytest.mark.parametrize("bad", ["a\x00b", "\x1f", "\x7f", "bell\x07"])
def test_control_characters_are_refused(bad):
    """The unit separator among them: it keeps an item's text, kind and source apart on disk."""
    for make in (
        lambda: SkillClaim(bad),
        lambda: Evidence(bad),
        lambda: Evidence("text", kind=bad),
        lambda: Need("n1", bad),
        lambda: Project("P1", title=bad),
        lambda: Judgement(bad, "S01", 1),
    ):
        assert wrong(make)
    assert Evidence("two\nlines\tand a tab").text == "two\nlines\tand a tab"


def test_half_characters_are_refused():
    """Lone surrogates (from a JSON file's ``\\ud800``) can be neither hashed nor written."""
    for make in (lambda: Evidence("half \ud800"), lambda: SkillClaim("\udcff"), lambda: Project("P1", "\ud800 x")):
        assert wrong(make)


def test_names_are_one_line():
    assert SkillClaim("  Ceph \n storage ").name == "Ceph storage"
    assert Profile(" S01\n", name="Ana \t Maria", skills=(CEPH,)).id == "S01"


def test_records_are_frozen():
    with pytest.raises(FrozenInstanceError):
        CEPH.level = 5
    assert hash(CEPH) == hash(SkillClaim("Ceph", 3))
    assert replace(CEPH, level=5) == SkillClaim("Ceph", 5)
    assert isinstance(Profile("S", skills=[CEPH]).skills, tuple)


# --- the content hash ---------------------------------------------------------------------------------

words = st.text("abcé ", min_size=1, max_size=8).filter(str.strip)
claims = st.builds(SkillClaim, words, st.none() | st.integers(1, 5), st.none() | st.dates(date(1990, 1, 1)), words)
sentences = st.builds(Evidence, words, st.sampled_from(["note", "project"]), st.none(), words)
profiles = st.builds(
    Profile,
    words,
    name=words,
    skills=st.lists(claims, min_size=1, max_size=3).map(tuple),
    evidence=st.lists(sentences, max_size=3).map(tuple),
    availability=st.none() | st.integers(0, 100),
    consent=st.none() | st.booleans(),
    source=words,
)


def without_source(profile: Profile) -> Profile:
    return replace(
        profile,
        source="",
        skills=tuple(replace(s, source="") for s in profile.skills),
        evidence=tuple(replace(e, source="") for e in profile.evidence),
    )


@given(profiles, profiles)
@settings(max_examples=100, deadline=None)
def test_hashes_agree_where_content_does(one, other):
    same = without_source(one) == without_source(other)
    assert (content_hash(one) == content_hash(other)) is same
    assert content_hash(one) == content_hash(without_source(one))


def test_every_field_counts_but_the_source():
    base = Profile("S01", skills=(CEPH,))
    changes = {
        "id": "S02",
        "name": "Ana",
        "lab": "LAC",
        "family": "asr",
        "site": "Bât. 1",
        "languages": ("fr",),
        "skills": (SkillClaim("Ceph", 4),),
        "evidence": (Evidence("x"),),
        "availability": 0,
        "available_from": date(2026, 1, 1),
        "available_to": date(2026, 1, 1),
        "collaborators": ("S02",),
        "consent": False,
        "updated": date(2026, 1, 1),
    }
    assert set(changes) == {f.name for f in fields(Profile)} - {"source"}
    hashes = {content_hash(replace(base, **{name: value})) for name, value in changes.items()}
    assert len(hashes | {content_hash(base)}) == len(changes) + 1
    assert content_hash(replace(base, source="profiles.csv:9")) == content_hash(base)


def test_the_hash_is_the_same_in_every_process():
    assert content_hash(Profile("S01", skills=(CEPH,))) == "d9ed24fddbdaa124"
