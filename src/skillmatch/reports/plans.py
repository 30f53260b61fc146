"""Assignments, teams and gaps: as objects of the JSON contract, as rows, and as tables for people to read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..records import Assignment, Member, Need, Person, Project, Shortfall, Team
from .content import Labels, Table, cell_text, clean, concept_label, percent, quote, shorten
from .language import tr

if TYPE_CHECKING:
    from ..allocation import Demand, Scarcity, TeamChoice

Entry = Mapping[str, Any]
#: Characters of a need's words where they stand for a skill.
_TOPIC = 60
#: Rules whose short name says too little to people.
_RULES = {"forced": "forced pairs", "forbidden": "forbidden pairs", "preferred": "the preference of links"}


# --- the objects of the contract ------------------------------------------------------------------------


class Planned(dict[str, Any]):
    """The ``skillmatch.assignment/1`` object; with it, what pictures and sheets show and the contract does not hold.

    ``demands`` by project, ``people``: everybody by id, whether they have a project or not; ``labels`` of concepts;
    ``room``: how many projects each may have at most, of those of whom it is known.
    """

    def __init__(
        self,
        entry: Entry,
        demands: Mapping[str, Demand],
        people: Mapping[str, Person],
        labels: Labels | None = None,
        room: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(entry)
        self.demands = demands
        self.people = people
        self.labels = labels or {}
        self.room = room or {}


def assignment_dict(
    found: Assignment,
    model: str,
    projects: Mapping[str, Project],
    demands: Mapping[str, Demand],
    people: Mapping[str, Person],
    labels: Labels,
    room: Mapping[str, int] | None = None,
) -> Planned:
    """The ``skillmatch.assignment/1`` object. ``projects`` as understood; everything by id; ``room`` is that of people,
    in projects."""
    entry = {
        "schema": "skillmatch.assignment/1",
        "model": model,
        "projects": [_project_dict(t, projects[t.project], demands[t.project], people) for t in found.teams],
        "loads": dict(found.loads),
        "objective": found.objective,
        "usefulness": found.usefulness,
        "worst": found.worst,
        "worst_bound": found.worst_bound,
        "gap": found.gap,
        "proven": found.proven,
        "prices": [{"rule": p.rule, "share": p.share, "exact": p.exact} for p in found.prices],
        "infeasible": [shortfall_dict(s, projects[s.project], labels) for s in found.infeasible],
    }
    return Planned(entry, demands, people, labels, room)


def _project_dict(team: Team, project: Project, demand: Demand, people: Mapping[str, Person]) -> dict[str, Any]:
    return {
        "project": team.project,
        "title": project.title,
        "lab": project.lab,
        "size": demand.size,
        "coverage": team.coverage,
        "usefulness": team.usefulness,
        "needs": _needs(team, project, demand),
        "members": [_member_dict(m, project, people) for m in team.members],
        "alternates": [_member_dict(m, project, people) for m in team.alternates],
        "uncovered": list(team.uncovered),
    }


def _needs(team: Team, project: Project, demand: Demand) -> list[dict[str, Any]]:
    """The needs, each with the score of the member who answers it best."""
    columns = demand.places(m.id for m in team.members)
    best = [float(row[columns].max()) if columns else 0.0 for row in demand.answers()]
    return [
        {"id": n.id, "text": n.text, "skill": n.skill, "weight": n.weight, "must": n.must, "score": b}
        for n, b in zip(project.needs, best, strict=True)
    ]


def _member_dict(member: Member, project: Project, people: Mapping[str, Person]) -> dict[str, Any]:
    who = people[member.id]
    return {
        "profile": member.id,
        "name": who.name,
        "lab": who.lab,
        "family": who.family,
        "score": member.score,
        "covers": list(member.covers),
        "gain": member.gain,
        "cross_lab": bool(project.lab) and who.lab != project.lab,
    }


def shortfall_dict(short: Shortfall, project: Project, labels: Labels) -> dict[str, Any]:
    """What can't be met, with its reason in English and what it was worded from."""
    need = next((n for n in project.needs if n.id == short.need), None)
    english, french = ("", "") if need is None else topic_labels(need, labels)
    entry = {
        "project": short.project,
        "kind": short.kind,
        "hard": short.hard,
        "need": short.need,
        "topic": english,
        "topic_fr": french,
        "people": list(short.people),
        "projects": list(short.projects),
        "wanted": short.wanted,
        "found": short.found,
    }
    return {**entry, "reason": reason(entry, "en")}


def topic_labels(need: Need, labels: Labels) -> tuple[str, str]:
    """What a need is about, (English, French): the labels of its skill, else its own words."""
    if need.skill and need.skill in labels:
        english, french = labels[need.skill]
        return clean(english or french), clean(french or english)
    words = shorten(clean(need.text), _TOPIC)
    return quote(words, "en"), quote(words, "fr")


def topic_of(need: Entry, lang: str, labels: Labels) -> str:
    """What a need of an assignment is about, in ``lang``: the label of its skill, else its own words."""
    skill = need.get("skill")
    if skill and skill in labels:
        return concept_label(skill, lang, labels)
    return quote(shorten(clean(need["text"]), _TOPIC), lang)


def team_dict(
    found: TeamChoice, model: str, project: Project, demand: Demand, people: Mapping[str, Person], labels: Labels
) -> dict[str, Any]:
    """The ``skillmatch.team/1`` object."""
    lost = {r.id: r for r in found.refusals}
    told = _project_dict(found.team, project, demand, people)
    for member in told["members"]:
        refusal = lost[member["profile"]]
        member["links"] = found.links[member["profile"]]
        member["if_no"] = {
            "instead": list(refusal.instead),
            "coverage_lost": refusal.coverage_lost,
            "uncovered": list(refusal.uncovered),
        }
    return {
        "schema": "skillmatch.team/1",
        "model": model,
        "project": {"id": project.id, "title": project.title, "lab": project.lab, "needs": told["needs"]},
        "size": demand.size,
        "members": told["members"],
        "alternates": told["alternates"],
        "coverage": told["coverage"],
        "usefulness": told["usefulness"],
        "uncovered": told["uncovered"],
        "coordinator": found.coordinator,
        "others": [
            {"members": [m.id for m in t.members], "coverage": t.coverage, "uncovered": list(t.uncovered)}
            for t in found.others
        ],
        "infeasible": [shortfall_dict(s, project, labels) for s in found.infeasible],
    }


def gaps_dict(
    found: Sequence[Scarcity],
    model: str,
    bar: float,
    asked: Mapping[str, Sequence[tuple[str, Need]]],
    people: Mapping[str, Person],
    labels: Labels,
) -> dict[str, Any]:
    """The ``skillmatch.gaps/1`` object: worst first, known skills before needs in their own words, what more projects
    ask for before the rest. ``asked``: topic -> (project, need) that ask for it."""
    order = {kind: place for place, kind in enumerate(("nobody", "person", "lab"))}

    def worst(scarcity: Scarcity) -> tuple[object, ...]:
        needs = asked[scarcity.topic]
        projects = {project for project, _ in needs}
        # What is asked for in a project's own words says less than a skill that is known.
        return (order[scarcity.kind], needs[0][1].skill is None, -len(projects), scarcity.topic)

    skills = []
    for scarcity in sorted(found, key=worst):
        needs = asked[scarcity.topic]
        english, french = topic_labels(needs[0][1], labels)
        skills.append(
            {
                "skill": needs[0][1].skill,
                "label": english,
                "label_fr": french,
                "held_by": scarcity.kind,
                "holders": [_who(i, s, people) for i, s in scarcity.holders],
                "closest": [_who(i, s, people) for i, s in scarcity.closest],
                "projects": list(dict.fromkeys(p for p, _ in needs)),
                "must": any(n.must for _, n in needs),
            }
        )
    return {"schema": "skillmatch.gaps/1", "model": model, "bar": bar, "asked": len(asked), "skills": skills}


def _who(person: str, score: float, people: Mapping[str, Person]) -> dict[str, Any]:
    who = people[person]
    return {"profile": person, "name": who.name, "lab": who.lab, "score": score}


# --- words ------------------------------------------------------------------------------------------------


def reason(short: Entry, lang: str) -> str:
    """Why something can't be met, in ``lang``."""
    people, projects = list(short.get("people") or ()), len(short.get("projects") or ())
    what = {"skill": short.get("topic_fr" if lang == "fr" else "topic"), "projects": projects}
    wanted = {"wanted": short.get("wanted"), "found": short.get("found")}
    kind = short.get("kind")
    if kind == "nobody":
        return tr("nobody passes the bar", lang)
    if kind == "labs":
        return tr("people from {wanted} labs asked for, from {found} found", lang, **wanted)
    if kind == "families":
        return tr("people of {wanted} families asked for, of {found} found", lang, **wanted)
    if kind == "forced":
        who = ", ".join(people)
        return tr("{person} is forced here and can't be: no room left, or not among the people", lang, person=who)
    if kind == "room":
        return tr(
            "{skill}: it must be covered, and there is no room for any of the {n} who could",
            lang,
            **what,
            n=len(people),
        )
    if kind == "need" and not people:
        return tr("{skill}: nobody; asked for by {ids}", lang, skill=what["skill"], ids=", ".join(short["projects"]))
    if kind == "need" and len(people) == 1:
        return tr("{skill}: 1 person, {projects} projects; held by {person} alone", lang, **what, person=people[0])
    if kind == "need":
        return tr("{skill}: {n} people, {projects} projects", lang, **what, n=len(people))
    return tr(str(short["reason"]), lang)


def _price(price: Entry, lang: str) -> str:
    share = price["share"]
    # Less than half a percent is told as such, not as nothing.
    cost = percent(share, lang) if share > 0 else percent(0.0, lang)
    short = str(price["rule"])
    rule = tr(_RULES.get(short, short), lang)
    if price["exact"]:
        return tr("What {rule} costs: {cost} of the usefulness.", lang, rule=rule, cost=cost)
    return tr("What {rule} costs: at most {cost} of the usefulness.", lang, rule=rule, cost=cost)


def _named(person: Entry) -> str:
    return f"{person['name']} ({person['profile']})" if person.get("name") else str(person["profile"])


def plan_notes(entry: Entry, lang: str) -> Iterable[str]:
    """What is said below an assignment: how good it is, and what the rules cost."""
    if "worst" in entry:
        gap, bound = entry["gap"], percent(entry["worst_bound"], lang)
        yield tr(
            "The worst-off project that gets something has {worst} of what it could get alone.",
            lang,
            worst=percent(entry["worst"], lang),
        )
        if entry["proven"]:
            yield tr("Proven: no assignment under these rules is better.", lang)
        else:
            said = f"{100 * gap:.2f}".replace(".", "," if lang == "fr" else ".")
            yield tr(
                "Not proven to be the best: at most {gap} % more is possible, and {bound} for the worst-off.",
                lang,
                gap=said,
                bound=bound,
            )
    for price in entry.get("prices") or ():
        yield _price(price, lang)


# --- tables -----------------------------------------------------------------------------------------------


def assignments(entries: Sequence[Entry], lang: str) -> Table:
    """Who works on what."""
    rows: list[tuple[object, ...]] = []
    notes: list[str] = []
    for entry in entries:
        for project in entry["projects"]:
            where = f"{project['project']} {project.get('title') or ''}".strip()
            roles = ((tr("member", lang), "members"), (tr("alternate", lang), "alternates"))
            group = [(role, person) for role, key in roles for person in project[key]]
            rows += [_assigned(where, role, person, lang) for role, person in group]
            if not group:
                rows.append((where, tr("nobody", lang), None, None, None, None))
            if project["uncovered"]:
                needs = ", ".join(project["uncovered"])
                notes.append(tr("{project}: nobody covers {needs}.", lang, project=project["project"], needs=needs))
        notes += [f"{failed['project']}: {reason(failed, lang)}" for failed in entry["infeasible"]]
        if entry["loads"]:
            loads = ", ".join(f"{who} {cell_text(load, lang)}" for who, load in entry["loads"].items())
            notes.append(tr("Projects a person: {loads}.", lang, loads=loads))
        notes += plan_notes(entry, lang)
    title = tr("Who works on what", lang)
    return Table(title, ("project", "role", "person", "lab", "score", "covers"), tuple(rows), tuple(notes))


def _assigned(where: str, role: str, person: Entry, lang: str) -> tuple[object, ...]:
    covers = ", ".join(person.get("covers") or ())
    return (where, role, _named(person), person.get("lab"), percent(person["score"], lang), covers)


def teams(entries: Sequence[Entry], lang: str) -> Table:
    """The people of a team, and what each is to it."""
    rows: list[tuple[object, ...]] = []
    notes: list[str] = []
    for entry in entries:
        for member in entry["members"]:
            rows.append(
                (
                    _named(member),
                    member["lab"],
                    percent(member["score"], lang),
                    ", ".join(member["covers"]),
                    percent(max(0.0, member["gain"]), lang),
                    _if_no(member["if_no"], lang),
                )
            )
        notes += _team_notes(entry, lang)
    project = entries[0]["project"]
    title = tr("Team for {project}", lang, project=clean(f"{project['id']} {project['title']}".strip()))
    columns = ("person", "lab", "score", "covers", "brings", "if they say no")
    return Table(title, columns, tuple(rows), tuple(notes))


def _if_no(refusal: Entry, lang: str) -> tuple[str, ...]:
    lost = percent(max(0.0, refusal["coverage_lost"]), lang)
    who = ", ".join(refusal["instead"]) or tr("nobody", lang)
    said = [tr("instead: {people}; coverage lost: {lost}", lang, people=who, lost=lost)]
    if refusal["uncovered"]:
        said.append(tr("then nobody covers {needs}", lang, needs=", ".join(refusal["uncovered"])))
    return tuple(said)


def _team_notes(entry: Entry, lang: str) -> Iterable[str]:
    for need in entry["project"]["needs"]:
        text = quote(shorten(clean(need["text"]), _TOPIC), lang)
        said = {"need": need["id"], "text": text, "score": percent(need["score"], lang)}
        yield tr("{need} {text}: {score}", lang, **said)
    if entry["members"]:
        yield tr("Together they cover {share} of the needs, by weight.", lang, share=percent(entry["coverage"], lang))
    if entry["uncovered"]:
        project, needs = entry["project"]["id"], ", ".join(entry["uncovered"])
        yield tr("{project}: nobody covers {needs}.", lang, project=project, needs=needs)
    if entry["coordinator"]:
        yield tr("Could coordinate: {person}.", lang, person=entry["coordinator"])
    for other in entry["others"]:
        who, share = ", ".join(other["members"]), percent(other["coverage"], lang)
        yield tr("Next best: {people}, {share} of the needs.", lang, people=who, share=share)
    if entry["alternates"]:
        who = ", ".join(_named(a) for a in entry["alternates"])
        yield tr("Could stand in: {people}.", lang, people=who)
    for failed in entry["infeasible"]:
        yield f"{failed['project']}: {reason(failed, lang)}"


def gaps(entries: Sequence[Entry], lang: str) -> Table:
    """Skills that too few hold, worst first."""
    kinds = {"nobody": "nobody", "person": "one person", "lab": "one lab"}
    rows = []
    for skill in (s for entry in entries for s in entry["skills"]):
        name = skill["label_fr" if lang == "fr" else "label"]
        closest = tuple(_ranked(p, lang) for p in skill["closest"])
        holders = tuple(_ranked(p, lang) for p in skill["holders"])
        asked = ", ".join(skill["projects"])
        rows.append((name, tr(kinds[skill["held_by"]], lang), holders, asked, closest))
    notes = tuple(note for entry in entries for note in gap_notes(entry, lang))
    title = tr("Skills that too few people hold", lang)
    return Table(title, ("skill", "held by", "person", "projects", "closest to learning it"), tuple(rows), notes)


def gap_notes(entry: Entry, lang: str) -> list[str]:
    """How many skills too few hold, and what holding means."""
    return [
        tr("{n} of the {all} skills that projects ask for.", lang, n=len(entry["skills"]), all=entry["asked"]),
        tr(
            "Held by somebody: useful for it with a probability of {bar} or more.",
            lang,
            bar=percent(entry["bar"], lang),
        ),
    ]


def _ranked(person: Entry, lang: str) -> str:
    lab = f", {person['lab']}" if person["lab"] else ""
    return f"{_named(person)}{lab} {percent(person['score'], lang)}"


# --- rows, for CSV and XLSX -------------------------------------------------------------------------------

_PERSON = ("project_id", "role", "profile_id", "name", "lab", "score", "covers")


def assignment_rows(entry: Entry) -> tuple[tuple[str, ...], tuple[tuple[object, ...], ...]]:
    """A row for each member and alternate; at least one a project."""
    nobody = (None,) * (len(_PERSON) - 1)
    reasons: dict[str, list[str]] = {}
    for short in entry["infeasible"]:
        reasons.setdefault(short["project"], []).append(short["reason"])
    rows: list[tuple[object, ...]] = []
    for project in entry["projects"]:
        where = project["project"]
        told = reasons.pop(where, None)
        end = (project["uncovered"], None if told is None else "; ".join(told))
        roles = (("member", "members"), ("alternate", "alternates"))
        group = [(role, person) for role, key in roles for person in project[key]]
        for role, person in group:
            who = (person.get("name"), person.get("lab"), person["score"], person.get("covers"))
            rows.append((where, role, person["profile"], *who, *end))
        if not group:
            rows.append((where, *nobody, *end))
    rows += [(where, *nobody, None, "; ".join(told)) for where, told in reasons.items()]
    return (*_PERSON, "uncovered", "infeasible"), tuple(rows)


def team_rows(entry: Entry) -> tuple[tuple[str, ...], tuple[tuple[object, ...], ...]]:
    """A row for each member and alternate."""
    rows = []
    for role, key in (("member", "members"), ("alternate", "alternates")):
        for person in entry[key]:
            no = person.get("if_no") or {"instead": None, "coverage_lost": None, "uncovered": None}
            who = (entry["project"]["id"], role, person["profile"], person["name"], person["lab"], person["score"])
            end = (no["instead"], no["coverage_lost"], no["uncovered"])
            rows.append((*who, person["covers"], person["gain"], person["profile"] == entry["coordinator"], *end))
    more = ("gain", "coordinator", "instead", "coverage_lost", "then_uncovered")
    return (*_PERSON, *more), tuple(rows)


def gap_rows(entry: Entry) -> tuple[tuple[str, ...], tuple[tuple[object, ...], ...]]:
    """A row for each skill."""
    rows = tuple(
        (
            *(s[key] for key in ("skill", "label", "label_fr", "held_by")),
            [p["profile"] for p in s["holders"]],
            [p["profile"] for p in s["closest"]],
            s["projects"],
            s["must"],
        )
        for s in entry["skills"]
    )
    return ("skill", "label", "label_fr", "held_by", "holders", "closest", "projects", "must"), rows
