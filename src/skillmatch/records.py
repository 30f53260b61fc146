"""The things skillmatch speaks of: frozen, self-checking, with a content hash.

What comes from outside (profiles, projects, judgements) is a pydantic dataclass: building one checks every field and
reports all that is wrong at once; this is the project's only validation of records. What we make ourselves (matches,
reasons) is a plain frozen dataclass.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field, is_dataclass
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic.dataclasses import dataclass as checked

FAMILIES = ("online", "offline", "asr", "other")
Family = Literal["online", "offline", "asr", "other"]

#: The longest text of one item that is still a sentence or a paragraph, in characters; a megabyte cell is a mistake.
MAX_TEXT = 20_000
MAX_NAME = 300

# Control characters, and halves of surrogate pairs, which no file can hold.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def _no_control(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("holds control characters (NUL or the like)")
    return text


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    return text


Text = Annotated[str, AfterValidator(_no_control), Field(max_length=MAX_TEXT)]
Name = Annotated[str, AfterValidator(_no_control), AfterValidator(_one_line), Field(max_length=MAX_NAME)]
Ident = Annotated[
    str, AfterValidator(_no_control), AfterValidator(_one_line), AfterValidator(_not_blank), Field(max_length=100)
]
Level = Annotated[int, Field(ge=1, le=5)]
Weight = Annotated[float, Field(ge=1, le=3, allow_inf_nan=False)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


def _as_date(value: Any) -> Any:
    """Year or year-month stand for their first day; everything else is left to the date type itself."""
    if isinstance(value, str):
        text = value.strip()
        if re.fullmatch(r"\d{4}", text):
            return f"{text}-01-01"
        if re.fullmatch(r"\d{4}-\d{2}", text):
            return f"{text}-01"
        if re.fullmatch(r"[\d.]*", text):
            raise ValueError("is not a date")  # pydantic would take it for seconds since 1970
        return text
    if isinstance(value, int) and not isinstance(value, bool) and 1900 <= value <= 2200:
        return f"{value}-01-01"
    if isinstance(value, int | float):
        raise ValueError("is not a date")  # pydantic would take it for seconds since 1970
    return value


Day = Annotated[date, BeforeValidator(_as_date)]


@checked(frozen=True)
class SkillClaim:
    """A skill somebody says they have; ``level`` 1 (heard of it) to 5 (the reference person)."""

    name: Annotated[Name, AfterValidator(_not_blank)]
    level: Level | None = None
    last_used: Day | None = None
    source: str = ""


@checked(frozen=True)
class Evidence:
    """One thing somebody did, in their own words."""

    text: Annotated[Text, AfterValidator(_not_blank)]
    kind: Name = "note"
    date: Day | None = None
    source: str = ""


@checked(frozen=True)
class Profile:
    """One person. Only ``id`` and some skill or evidence are required."""

    id: Ident
    name: Name = ""
    lab: Name = ""
    family: Family | None = None
    site: Name = ""
    languages: tuple[Name, ...] = ()
    skills: tuple[SkillClaim, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    availability: Percent | None = None
    available_from: Day | None = None
    available_to: Day | None = None
    collaborators: tuple[Ident, ...] = ()
    consent: bool | None = None
    updated: Day | None = None
    source: str = ""

    @model_validator(mode="after")
    def _whole(self) -> Profile:
        if not self.skills and not self.evidence:
            raise ValueError("has neither a skill nor evidence")
        if self.available_from and self.available_to and self.available_from > self.available_to:
            raise ValueError("available_from is after available_to")
        return self


@checked(frozen=True)
class Need:
    """One thing a project needs. ``skill``: the taxonomy concept, where one was recognised; ``must``: not optional."""

    id: Ident
    text: Annotated[Text, AfterValidator(_not_blank)]
    skill: str | None = None
    weight: Weight = 1.0
    must: bool = False
    level: Level | None = None


@checked(frozen=True)
class Project:
    """What somebody needs help with; where ``needs`` is empty they come from title and description."""

    id: Ident
    title: Name = ""
    lab: Name = ""
    description: Text = ""
    needs: tuple[Need, ...] = ()
    size: Annotated[int, Field(ge=1, le=1000)] | None = None
    start: Day | None = None
    end: Day | None = None
    source: str = ""

    @model_validator(mode="after")
    def _whole(self) -> Project:
        if not self.title.strip() and not self.description.strip() and not self.needs:
            raise ValueError("has neither title, description nor needs")
        if self.start and self.end and self.start > self.end:
            raise ValueError("start is after end")
        return self


@checked(frozen=True)
class Judgement:
    """How well a person suits a project: 0 no, 1 a little, 2 well, 3 the right person."""

    project_id: Ident
    profile_id: Ident
    grade: Annotated[float, Field(ge=0, le=3, allow_inf_nan=False)]
    source: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """The sentence that proves a match, and where it stands (``file:row``)."""

    text: str
    kind: str
    source: str
    level: int | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """How one person answers one need. ``score`` in [0, 1]; ``parts`` add up to ``raw`` less the baseline."""

    need: str
    score: float
    raw: float
    evidence: Proof | None
    parts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Person:
    """Who a match is about; what a table shows of a profile."""

    id: str
    name: str
    lab: str
    family: str | None


@dataclass(frozen=True, slots=True)
class Match:
    """One person in an answer. ``score`` is the calibrated probability, in [0, 1], that they are useful."""

    rank: int
    profile: Person
    score: float
    raw: float
    cross_lab: bool
    needs: tuple[Reason, ...]
    thin: bool = False


@dataclass(frozen=True, slots=True)
class Gap:
    """A need that nobody in the answer covers; ``closest`` is the nearest evidence there is."""

    need: str
    best_score: float
    closest: Proof | None = None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One answer: the project as understood, the people, what nobody covers."""

    model: str
    project: Project
    matches: tuple[Match, ...]
    gaps: tuple[Gap, ...]
    abstained: bool


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody in a team, or who could be. ``covers``: the needs they answer; ``gain``: what the team is worth less
    without them (of an alternate: more with them)."""

    id: str
    score: float
    covers: tuple[str, ...]
    gain: float


@dataclass(frozen=True, slots=True)
class Team:
    """The people of one project. ``coverage`` in [0, 1]: each need by its best member, the mean by weight."""

    project: str
    members: tuple[Member, ...]
    alternates: tuple[Member, ...]
    uncovered: tuple[str, ...]
    coverage: float
    usefulness: float


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What can't be met for one project, and why; ``hard``: a rule that had to hold.

    ``kind``: ``nobody`` (no candidate at all), ``need`` (an uncovered need that all of ``people`` together can't cover
    for all of ``projects``), ``room`` (a must-need that enough people could cover, none of whom has room here),
    ``labs``, ``families`` (``found`` of ``wanted``), or ``forced`` (``people`` could not be placed).
    """

    project: str
    kind: str
    hard: bool
    need: str | None = None
    people: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    wanted: int = 0
    found: int = 0


@dataclass(frozen=True, slots=True)
class Price:
    """What a rule costs: the share of usefulness that is lost by it; at most this where it is not ``exact``."""

    rule: str
    share: float
    exact: bool


@dataclass(frozen=True, slots=True)
class Assignment:
    """A whole list of projects as one decision.

    ``loads``: projects of each person who has one. ``usefulness``: of all teams; ``objective``: the same and what
    preferences add. ``worst``: the smallest share that a project which gets something has of what it could get alone,
    at most ``worst_bound`` in any assignment that obeys the rules. ``gap``: how much larger an objective could be at
    most, relative to its bound; 0 where ``proven``.
    """

    teams: tuple[Team, ...]
    loads: dict[str, int]
    usefulness: float
    objective: float
    worst: float
    worst_bound: float
    gap: float
    proven: bool
    prices: tuple[Price, ...]
    infeasible: tuple[Shortfall, ...]


def content_hash(record: Any) -> str:
    """Sixteen hex digits that change when, and only when, the record's content does (``source`` left out)."""

    def strip(value: Any) -> Any:
        if isinstance(value, str | int | float | None):
            return value
        if is_dataclass(value):
            return {f: strip(getattr(value, f)) for f in value.__dataclass_fields__ if f != "source"}
        if isinstance(value, dict):
            return {k: strip(v) for k, v in value.items() if k != "source"}
        if isinstance(value, list | tuple):
            return [strip(v) for v in value]
        return value.isoformat() if isinstance(value, date) else value

    text = json.dumps(strip(record), sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
