"""Assigning a whole list: ``python -m benchmarks.allocation [--people N --projects N | --workspace DIR]``.

One run compares the product's assignment with greedy (the pair that adds most, again and again) and with ranking each
project alone, on the same scores and the same capacities. The scores are those of a trained workspace, or made up:
people hold a few of many skills at some level, projects ask for two to five, some skills far more often than others.
"""

from __future__ import annotations

import heapq
import resource
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from skillmatch import metrics
from skillmatch.allocation import HAND, Demand, Rules, Worker, assign, capacity, ceilings, keep_best, layout
from skillmatch.explain import PROOF_BAR
from skillmatch.matcher import Options, load
from skillmatch.records import Need
from skillmatch.sources import read_projects

from .common import Cell, Report, arguments, say

Teams = dict[str, list[str]]
#: In the made-up lab: its labs, skills of a person, share of must-needs, the bar for a project.
LABS, HELD, MUST, BAR = 12, (4, 12), 0.1, 0.1
FAMILIES = ("online", "offline", "asr")
COLUMNS = (
    "usefulness",
    "mean coverage",
    "worst-off",
    "with nothing",
    "musts missed",
    "Gini of loads",
    "cross-lab pairs",
    "overloaded",
    "gap %",
    "seconds",
)


@dataclass(frozen=True)
class World:
    """People, and projects with the candidates that pass their bar."""

    workers: list[Worker]
    demands: list[Demand]


def made_up(people: int, projects: int, size: int, load_: int, skills: int, keep: int, seed: int) -> World:
    """A lab that needs no model. Scores are made a project at a time and thinned at once: they never all exist."""
    chance = np.random.default_rng(seed)
    level = np.zeros((skills, people))
    for person in range(people):
        held = chance.choice(skills, size=chance.integers(*HELD), replace=False)
        level[held, person] = chance.beta(2, 1.5, len(held))
    ids = [f"S{i:05}" for i in range(people)]
    workers = [Worker(i, f"L{chance.integers(LABS):02}", FAMILIES[chance.integers(len(FAMILIES))], load_) for i in ids]
    asked_for = chance.dirichlet(np.full(skills, 0.5)) + 1e-9
    asked_for /= asked_for.sum()
    demands = []
    for project in range(projects):
        asked = chance.choice(skills, size=int(chance.integers(2, 6)), replace=False, p=asked_for)
        noise = chance.uniform(0, 0.08, (len(asked), people))
        scores = np.clip(level[asked] * chance.uniform(0.85, 1, (len(asked), people)) + noise, 0, 1)
        weight = chance.integers(1, 4, len(asked))
        total = (weight[:, None] * scores).sum(axis=0) / weight.sum()
        needs = tuple(
            Need(id=f"n{k}", text=f"skill {s}", skill=f"skill{s}", weight=float(w), must=bool(chance.random() < MUST))
            for k, (s, w) in enumerate(zip(asked, weight, strict=True))
        )
        passing = np.flatnonzero(total >= BAR)
        whole = Demand(
            f"P{project:05}", size, needs, tuple(ids[i] for i in passing), total[passing], scores[:, passing], BAR
        )
        demands.append(keep_best(whole, keep))
    return World(workers, demands)


def of_workspace(folder: Path, size: int | None, load_: int) -> World:
    """The people and projects of a trained workspace, as ``batch --assign`` sees them."""
    matcher = load(folder)
    projects, _ = read_projects(folder / "data" / "projects.csv")
    answers = list(matcher.match_many(projects, Options(top=10**9)))
    bars = [matcher.need_bar(u) for u in matcher.understand([a.project for a in answers])]
    demands = []
    for answer, bar in zip(answers, bars, strict=True):
        needs = answer.project.needs
        rows = np.array([[r.score for r in m.needs] for m in answer.matches], dtype=float)
        demands.append(
            Demand(
                answer.project.id,
                size or answer.project.size or min(3, len(needs)),
                needs,
                tuple(m.profile.id for m in answer.matches),
                np.array([m.score for m in answer.matches], dtype=float),
                rows.reshape(len(answer.matches), len(needs)).T,
                max(bar, PROOF_BAR),
            )
        )
    workers = [Worker(p["id"], p["lab"], p["family"], capacity(p["availability"], load_)) for p in matcher.people]
    return World(workers, demands)


# --- rivals ---------------------------------------------------------------------------------------------------------


def greedy(world: World) -> Teams:
    """The pair that adds most usefulness, again and again, while there is room."""
    room = {w.id: w.capacity for w in world.workers}
    best = [np.zeros(len(d.needs)) for d in world.demands]
    answers = [d.answers() * d.share[:, None] for d in world.demands]
    teams: Teams = {d.id: [] for d in world.demands}

    def gain(project: int, column: int) -> float:
        more = np.maximum(answers[project][:, column] - best[project], 0).sum()
        return float(more + HAND * world.demands[project].scores[column])

    # What a pair adds only shrinks as teams grow: the first whose stored gain still holds is the best of all.
    heap = [(-gain(j, c), d.id, d.people[c], j, c) for j, d in enumerate(world.demands) for c in range(len(d.people))]
    heapq.heapify(heap)
    while heap:
        stored, name, person, j, c = heapq.heappop(heap)
        if room[person] < 1 or len(teams[name]) >= world.demands[j].size:
            continue
        now = gain(j, c)
        if now < -stored - 1e-12:
            heapq.heappush(heap, (-now, name, person, j, c))
            continue
        teams[name].append(person)
        room[person] -= 1
        best[j] = np.maximum(best[j], answers[j][:, c])
    return teams


def alone(world: World, room: dict[str, int] | None) -> Teams:
    """The best of each project by itself; with ``room``, those who are full are passed over, in list order."""
    teams: Teams = {}
    for d in world.demands:
        order = sorted(range(len(d.people)), key=lambda c: (-d.scores[c], d.people[c]))
        free = [d.people[c] for c in order if room is None or room[d.people[c]] > 0]
        teams[d.id] = free[: d.size]
        for person in teams[d.id] if room is not None else ():
            room[person] -= 1
    return teams


# --- what is compared -----------------------------------------------------------------------------------------------


def measured(world: World, teams: Mapping[str, Sequence[str]], ceiling: np.ndarray) -> list[Cell]:
    """The columns up to ``overloaded``: of each assignment in the same way."""
    lab = {w.id: w.lab for w in world.workers}
    limit = {w.id: w.capacity for w in world.workers}
    load_ = Counter(p for team in teams.values() for p in team)
    coverage = [d.coverage(teams[d.id]) for d in world.demands]
    able = [(c, top) for c, top in zip(coverage, ceiling, strict=True) if top > 0]
    musts = sum(
        bool(n.must and not c) for d in world.demands for n, c in zip(d.needs, d.covered(teams[d.id]), strict=True)
    )
    pairs = [pair for team in teams.values() for pair in combinations(team, 2)]
    return [
        sum(d.usefulness(teams[d.id]) for d in world.demands),
        float(np.mean(coverage)),
        min((c / top for c, top in able), default=0.0),
        sum(c == 0 for c, _ in able),
        musts,
        metrics.gini([load_.get(w.id, 0) for w in world.workers if w.capacity]),
        sum(lab[a] != lab[b] for a, b in pairs) / len(pairs) if pairs else 0.0,
        sum(n > limit[p] for p, n in load_.items()),
    ]


def compare(report: Report, title: str, world: World, min_labs: int, seconds: float) -> None:
    """Print the table of one world."""
    rules = Rules(min_labs=min_labs)
    # Projects in order of id, as in the layout.
    ceiling = ceilings(layout(world.workers, world.demands, rules))
    rows: dict[str, list[Cell]] = {}
    for name, asked in (("skillmatch", rules), ("the same, not fair", Rules(min_labs=min_labs, fair=False))):
        start = time.perf_counter()
        found = assign(world.workers, world.demands, asked, seconds=seconds, prices=False)
        spent = time.perf_counter() - start
        teams = {t.project: [m.id for m in t.members] for t in found.teams}
        rows[name] = [*measured(world, teams, ceiling), 100 * found.gap, spent]
    rivals: dict[str, Callable[[], Teams]] = {
        "greedy": lambda: greedy(world),
        "each alone, in order": lambda: alone(world, {w.id: w.capacity for w in world.workers}),
        "each alone, no limit": lambda: alone(world, None),
    }
    for name, run in rivals.items():
        start = time.perf_counter()
        teams = run()
        rows[name] = [*measured(world, teams, ceiling), None, time.perf_counter() - start]
    pairs = sum(len(d.people) for d in world.demands)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    note = f"{len(world.workers)} people, {len(world.demands)} projects, {pairs} pairs; peak memory {peak:.0f} MB."
    report.table(title, COLUMNS, rows, note)


def main() -> None:
    """Measure one world, or the same made-up one with more and fewer candidates kept."""
    parser = arguments(__doc__)
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--projects", type=int, default=500)
    parser.add_argument("--size", type=int, help="people a project (default: 3; of a workspace, the project's own)")
    parser.add_argument("--load", type=int, default=2, help="projects a person")
    parser.add_argument("--skills", type=int, default=300, help="skills in the made-up lab")
    parser.add_argument(
        "--keep", type=int, nargs="+", default=[20], help="candidates kept for each need; one table each"
    )
    parser.add_argument("--min-labs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=480.0, help="about how long one assignment may take")
    parser.add_argument("--workspace", type=Path, help="the scores of this trained workspace instead")
    given = parser.parse_args()
    report = Report()
    if given.workspace is not None:
        world = of_workspace(given.workspace, given.size, given.load)
        compare(report, f"Assignment, {given.workspace.resolve().name}", world, given.min_labs, given.seconds)
    else:
        for keep in given.keep:
            say(f"making up {given.people} people and {given.projects} projects, best {keep} for each need")
            world = made_up(given.people, given.projects, given.size or 3, given.load, given.skills, keep, given.seed)
            compare(report, f"Assignment, best {keep} for each need", world, given.min_labs, given.seconds)
    report.write(given.json)


if __name__ == "__main__":
    main()
