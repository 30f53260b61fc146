"""Who is suggested how often: how suggestions spread, what short profiles lose, and a cap with its price."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .. import metrics
from ..matcher import Matcher, Options
from ..needs import Understood
from ..records import Judgement, Match, Project, Suggestion
from .evaluating import USEFUL, language

#: The five most suggested: the coordinators' own word for the trouble.
_MOST = 5


@dataclass(frozen=True)
class Share:
    """A lab, family or language: its share of the people, and of the places in suggestions."""

    name: str
    people: int
    of_people: float
    of_places: float


@dataclass(frozen=True)
class Exposure:
    """How the places in the first ``top`` of ``projects`` spread.

    ``gini``: over people, labs, families and languages, of places a head, 0 (even) to 1. ``most_suggested``: the share
    of all places that goes to the five people with most. ``never``: the share of people who have none. ``short``: by
    how many ranks a short profile stands below a longer one that is judged the same for the same project, with its
    interval; None where no such pair is judged.
    """

    top: int
    projects: int
    places: int
    gini: Mapping[str, float]
    most_suggested: float
    never: float
    shares: Mapping[str, tuple[Share, ...]]
    short: metrics.Interval | None


def exposure(
    matcher: Matcher, projects: Sequence[Project], judgements: Sequence[Judgement], top: int = 5, seed: int = 0
) -> Exposure:
    """How a version's suggestions for ``projects`` spread over its people; their language is that of their texts."""
    read = matcher.understand(projects)
    shown = Counter(m.profile.id for a in matcher.answers(read, Options(top=top)) for m in a.matches)
    people = [p["id"] for p in matcher.people]
    places = sum(shown.values())
    groups = {
        "labs": {p["id"]: p["lab"] or "-" for p in matcher.people},
        "families": {p["id"]: p["family"] or "-" for p in matcher.people},
        "languages": _languages(matcher),
    }
    shares = {name: _shares(of, shown, places) for name, of in groups.items()}
    gini = {"people": metrics.gini([float(shown[i]) for i in people])}
    gini |= {name: metrics.gini([s.of_places / s.of_people for s in found]) for name, found in shares.items()}
    first = sum(n for _, n in shown.most_common(_MOST))
    return Exposure(
        top,
        len(projects),
        places,
        gini,
        first / places if places else 0.0,
        sum(shown[i] == 0 for i in people) / len(people),
        shares,
        _short_profiles(matcher, read, judgements, seed),
    )


def _languages(matcher: Matcher) -> dict[str, str]:
    texts: dict[str, list[str]] = {p["id"]: [] for p in matcher.people}
    for item, owner in enumerate(matcher.index.owner):
        texts[matcher.people[int(owner)]["id"]].append(matcher.items.proof(item).text)
    return {i: language(" ".join(found)) for i, found in texts.items()}


def _shares(of: Mapping[str, str], shown: Counter[str], places: int) -> tuple[Share, ...]:
    people = Counter(of.values())
    taken = Counter(dict.fromkeys(people, 0))
    for profile, n in shown.items():
        taken[of[profile]] += n
    return tuple(
        Share(name, n, n / len(of), taken[name] / places if places else 0.0) for name, n in sorted(people.items())
    )


def _short_profiles(
    matcher: Matcher, read: Sequence[Understood], judgements: Sequence[Judgement], seed: int
) -> metrics.Interval | None:
    """By project: mean rank of short profiles less that of longer ones of the same grade (useful ones), over pairs of
    whom one holds at most half as many items as the other."""
    items = np.bincount(np.asarray(matcher.index.owner), minlength=len(matcher.people))
    length = {p["id"]: int(n) for p, n in zip(matcher.people, items, strict=True)}
    grades: dict[str, dict[str, float]] = {}
    for j in judgements:
        if j.grade >= USEFUL and j.profile_id in length:
            grades.setdefault(j.project_id, {})[j.profile_id] = float(j.grade)
    falls = []
    for answer in matcher.answers([u for u in read if u.project.id in grades], Options(top=None)):
        rank = {m.profile.id: m.rank for m in answer.matches}
        judged = {i: g for i, g in grades.get(answer.project.id, {}).items() if i in rank}
        pairs = [
            rank[short] - rank[other]
            for short, grade in judged.items()
            for other, same in judged.items()
            if grade == same and 2 * length[short] <= length[other]
        ]
        if pairs:
            falls.append(float(np.mean(pairs)))
    return metrics.bootstrap_interval(falls, seed) if falls else None


# --- a cap, and its price ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Capped:
    """Answers in which nobody is shown for more than so many projects.

    ``moved``: places that went to somebody else; ``empty``: places left free; ``price``: the share of the summed
    probability of being useful that is lost by it, 0 to 1.
    """

    answers: tuple[Suggestion, ...]
    moved: int
    empty: int
    price: float


def capped(answers: Sequence[Suggestion], top: int, most: int) -> Capped:
    """At most ``top`` people a project and ``most`` projects a person, the likeliest to be useful first.

    ``answers``: everybody who passes the bar, for each project. Ties go by the order of projects, then of ranks.
    """
    wanted = sorted(
        ((m.score, -n, -m.rank, m) for n, a in enumerate(answers) for m in a.matches),
        key=lambda t: t[:3],
        reverse=True,
    )
    load: Counter[str] = Counter()
    chosen: list[list[Match]] = [[] for _ in answers]
    for _, n, _, match in wanted:
        if load[match.profile.id] < most and len(chosen[-n]) < top:
            load[match.profile.id] += 1
            chosen[-n].append(match)
    free = [a.matches[:top] for a in answers]
    kept = [sorted(matches, key=lambda m: m.rank) for matches in chosen]
    before, after = (sum(m.score for matches in some for m in matches) for some in (free, kept))
    moved = sum(len({m.profile.id for m in k} - {m.profile.id for m in f}) for k, f in zip(kept, free, strict=True))
    renumbered = (tuple(replace(m, rank=r) for r, m in enumerate(matches, start=1)) for matches in kept)
    return Capped(
        tuple(replace(a, matches=matches) for a, matches in zip(answers, renumbered, strict=True)),
        moved,
        sum(len(f) - len(k) for k, f in zip(kept, free, strict=True)),
        1 - after / before if before else 0.0,
    )
