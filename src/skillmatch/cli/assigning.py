"""From scores to decisions: who may do what by the matcher, who knows whom, the pairs somebody insists on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors import DataError, Problem, UsageError
from .options import Plan
from .session import Session

if TYPE_CHECKING:
    from ..allocation import Demand, Rules, Worker
    from ..encoders import Encoder, Kind, Progress, Vectors
    from ..matcher import Matcher, Options
    from ..records import Match, Person, Profile, Project, Suggestion

#: Everybody above the bar; None would be everybody.
_ABOVE_BAR = 10**9
#: From so many scored needs of people on, only the best for each need are kept.
_MANY, _BEST = 200_000, 20
#: What a pair that is preferred is worth more: people already engaged slightly, new links somewhat.
_ENGAGED, _NEW_LINK = 0.02, 0.05


class _Once:
    """An encoder that embeds a text once: needs are read for the answers, and again for their bars."""

    def __init__(self, encoder: Encoder) -> None:
        self.inner = encoder
        self.fingerprint = encoder.fingerprint
        self.dim = encoder.dim
        self._known: dict[tuple[str, str], Any] = {}

    def encode(self, texts: Sequence[str], kind: Kind = "passage", progress: Progress | None = None) -> Vectors:
        """As the inner encoder would."""
        import numpy as np

        new = list(dict.fromkeys(t for t in texts if (t, kind) not in self._known))
        if new:
            vectors = self.inner.encode(new, kind, progress)
            self._known.update({(t, kind): v for t, v in zip(new, vectors, strict=True)})
        rows = [self._known[t, kind] for t in texts]
        return np.stack(rows) if rows else np.zeros((0, self.dim), dtype=np.float32)


@dataclass(frozen=True)
class Field:
    """All there is to decide on: the projects as understood, and who may do them."""

    projects: dict[str, Project]
    demands: dict[str, Demand]
    workers: tuple[Worker, ...]
    people: dict[str, Person]


def survey(
    session: Session,
    matcher: Matcher,
    projects: Sequence[Project | str],
    chosen: Options,
    *,
    size: int | None,
    max_load: int,
    forced: Iterable[tuple[str, str]] = (),
) -> Field:
    """Score everybody for every project. Somebody below a project's bar is no candidate, unless forced into it."""
    from ..allocation import Worker, capacity
    from ..matcher import Options
    from ..records import Person

    once = replace(matcher, encoder=_Once(matcher.encoder))
    wanted = set(forced)
    found, demands = {}, {}
    with session.progress() as stage:
        stage("projects", 0, len(projects))
        answers = once.match_many(projects, replace(chosen, top=_ABOVE_BAR))
        for done, (asked, answer) in enumerate(zip(projects, answers, strict=True), start=1):
            project = answer.project
            insisted = {p for q, p in wanted if q == project.id} - {m.profile.id for m in answer.matches}
            everyone = once.match(asked, Options(top=None)).matches if insisted else ()
            more = [m for m in everyone if m.profile.id in insisted]
            bar = _bar(once, answer, chosen)
            limit = size or project.size or _default_size(project)
            found[project.id] = project
            demands[project.id] = _demand(answer, more, limit, bar)
            stage("projects", done, len(projects))
    people = {p["id"]: Person(p["id"], p["name"], p["lab"], p["family"]) for p in matcher.people}
    workers = tuple(
        Worker(p["id"], p["lab"] or "", p["family"], capacity(p["availability"], max_load)) for p in matcher.people
    )
    return Field(found, demands, workers, people)


def _default_size(project: Project) -> int:
    """Where nobody says how many: one for each need, three at most."""
    return min(3, len(project.needs))


def _bar(matcher: Matcher, answer: Suggestion, chosen: Options) -> float:
    """From which probability on a need counts as covered: the project's bar, and that of a proof at least."""
    from ..explain import PROOF_BAR

    bar = chosen.min_score
    if bar is None:
        bar = matcher.need_bar(matcher.understand([answer.project])[0])
    return max(bar, PROOF_BAR)


def _demand(answer: Suggestion, more: Sequence[Match], size: int, bar: float) -> Demand:
    import numpy as np

    from ..allocation import Demand

    matches = [*answer.matches, *more]
    needs = answer.project.needs
    rows = [[r.score for r in m.needs] for m in matches]
    scores = np.array(rows, dtype=np.float64).reshape(len(matches), len(needs)).T
    return Demand(
        id=answer.project.id,
        size=size,
        needs=needs,
        people=tuple(m.profile.id for m in matches),
        scores=np.array([m.score for m in matches], dtype=np.float64),
        need_scores=scores,
        bar=bar,
    )


def thinned(field: Field, always: Iterable[tuple[str, str]]) -> Field:
    """Of very many candidates, those who answer some need best."""
    from ..allocation import keep_best

    if sum(d.need_scores.size for d in field.demands.values()) <= _MANY:
        return field
    kept = {i: keep_best(d, _BEST, [p for q, p in always if q == i]) for i, d in field.demands.items()}
    return replace(field, demands=kept)


# --- batch --assign ---------------------------------------------------------------------------------------


def assign_all(
    session: Session,
    matcher: Matcher,
    projects: Sequence[Project],
    chosen: Options,
    plan: Plan,
    kind: str,
    out: Path | None,
) -> None:
    """Decide for the whole list and tell. Exits with 4 where a hard rule can't be met; the rest is told even so."""
    from ..allocation import assign
    from ..reports import assignment_dict

    _refuse_twice(projects)
    pairs = read_pairs(plan.pairs, [p.id for p in projects], [p["id"] for p in matcher.people]) if plan.pairs else {}
    forced = frozenset(p for p, rule in pairs.items() if rule == "forced")
    field = survey(session, matcher, projects, chosen, size=plan.per_project, max_load=plan.max_load, forced=forced)
    rules = _rules(session, field, chosen, plan, pairs)
    field = thinned(field, rules.forced)
    found = assign(field.workers, list(field.demands.values()), rules)
    room = {w.id: w.capacity for w in field.workers}
    told = assignment_dict(found, matcher.version, field.projects, field.demands, field.people, matcher.labels, room)
    session.emit(told, kind, out, labels=matcher.labels)
    leave_if_broken(session, found.infeasible)


def leave_if_broken(session: Session, infeasible: Iterable[Any]) -> None:
    """Exit with 4 where a rule that had to hold could not."""
    broken = list(dict.fromkeys(s.project for s in infeasible if s.hard))
    if broken:
        session.say(
            "Rules that can't all be met, in: {projects}. The rest is decided all the same.", projects=", ".join(broken)
        )
        raise typer.Exit(4)


def _refuse_twice(projects: Sequence[Project]) -> None:
    seen: set[str] = set()
    for project in projects:
        if project.id in seen:
            raise UsageError(f"There is more than one project '{project.id}'.", "Give each an id of its own.")
        seen.add(project.id)


def _rules(session: Session, field: Field, chosen: Options, plan: Plan, pairs: dict[tuple[str, str], str]) -> Rules:
    from ..allocation import Rules

    known = acquainted(session, field, chosen.from_lab)
    liked, bonus = known, _ENGAGED
    if plan.new_links:
        lab = {w.id: w.lab for w in field.workers}
        asker = {i: chosen.from_lab or p.lab for i, p in field.projects.items()}
        across = {
            (i, p) for i, d in field.demands.items() for p in d.people if asker[i] and lab[p] not in ("", asker[i])
        }
        liked, bonus = frozenset(across - known), _NEW_LINK
    return Rules(
        min_labs=plan.min_labs,
        min_families=plan.min_families,
        forced=frozenset(p for p, rule in pairs.items() if rule == "forced"),
        forbidden=frozenset(p for p, rule in pairs.items() if rule == "forbidden"),
        liked=liked,
        bonus=bonus,
    )


def acquainted(session: Session, field: Field, from_lab: str | None) -> frozenset[tuple[str, str]]:
    """(project, person) who are engaged already: they accepted a suggestion for it, or work with somebody of its lab
    while being of another."""
    from .. import feedback

    answers, _ = feedback.read(session.workspace.data / "feedback.jsonl")
    found = {(a.project, a.profile) for a in answers if a.answer == "accepted"}
    lab = {w.id: w.lab for w in field.workers}
    knows: dict[str, set[str]] = {}
    for one, other in (sorted(link) for link in links(session)):
        knows.setdefault(one, set()).add(lab.get(other, ""))
        knows.setdefault(other, set()).add(lab.get(one, ""))
    for i, project in field.projects.items():
        asker = from_lab or project.lab
        people = field.demands[i].people
        found |= {(i, p) for p in people if asker and lab[p] != asker and asker in knows.get(p, ())}
    return frozenset(found)


def links(session: Session) -> set[frozenset[str]]:
    """Who works with whom, by the profiles (``collaborators``), whichever of the two says so."""
    return {frozenset((p.id, other)) for p in _profiles(session) for other in p.collaborators if other != p.id}


def _profiles(session: Session) -> Sequence[Profile]:
    from ..sources import read_workspace

    return [p for p in read_workspace(session.workspace).profiles if p.consent is not False]


# --- forced and forbidden pairs ---------------------------------------------------------------------------

_COLUMNS = ("project_id", "profile_id", "rule")
_RULES = {
    **dict.fromkeys(("forced", "force", "imposé", "impose", "obligatoire"), "forced"),
    **dict.fromkeys(("forbidden", "forbid", "interdit", "exclu"), "forbidden"),
}


def read_pairs(path: Path, projects: Sequence[str], people: Sequence[str]) -> dict[tuple[str, str], str]:
    """(project, person) -> ``forced`` or ``forbidden``. Raises ``DataError`` with every wrong row at once."""
    from ..sources.cells import column_key
    from ..sources.columns import Kind
    from ..sources.tables import read_table

    keys = {column_key(name): name for name in _COLUMNS}
    table = read_table(path, Kind("pairs", None, keys, {}, _COLUMNS))
    problems = [p for p in table.problems if p.severity == "error"]
    found: dict[tuple[str, str], str] = {}
    for row in table.rows:
        cells = {keys.get(column_key(k)): " ".join(str(v).split()) for k, v in row.values if v is not None}
        values = [cells.get(name, "") for name in _COLUMNS]
        wrong = list(_wrong(values, projects, people))
        problems += [
            Problem(path.name, said, remedy, row.number, column, value) for column, value, said, remedy in wrong
        ]
        if wrong:
            continue
        project, person, rule = values
        kind = _RULES[rule.casefold()]
        if found.setdefault((project, person), kind) != kind:
            said = "contradicts another row"
            problems.append(Problem(path.name, said, "keep one of the two", row.number, "rule", rule))
    if problems:
        raise DataError(f"{path} has {len(problems)} error(s); nothing was decided.", "Mend what is listed.", problems)
    return found


def _wrong(
    values: Sequence[str], projects: Sequence[str], people: Sequence[str]
) -> Iterable[tuple[str, str, str, str]]:
    """(column, value, problem, remedy) of what is wrong in a row."""
    project, person, rule = values
    if project not in projects:
        yield (
            "project_id",
            project,
            "is no project of the list",
            "write the id of a project in the file that is assigned",
        )
    if person not in people:
        yield "profile_id", person, "is nobody in the current version", "write the id of a profile that was trained"
    if rule.casefold() not in _RULES:
        yield "rule", rule, "is no rule", "write forced or forbidden"
