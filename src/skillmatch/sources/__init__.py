"""Any file of a lab -> records plus every row's problems. Hides encodings, separators, headers and formats.

::

    decode      -> tables        -> columns, cells, sentences -> build
    bytes: text    file: rows       row: fields                  fields: records, problems
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError, Problem
from ..records import Judgement, Need, Profile, Project
from ..runtime import Workspace
from . import columns
from .build import Built, build, shown
from .cells import safe_cell
from .columns import Kind
from .decode import decode
from .sentences import split_sentences
from .tables import READERS, Refused, Row, Table, read_bytes, read_table

__all__ = [
    "Dataset",
    "parse_needs",
    "read_judgements",
    "read_lines",
    "read_profiles",
    "read_projects",
    "read_workspace",
    "safe_cell",
    "split_sentences",
]


@dataclass(frozen=True)
class Dataset:
    """All that a workspace's data folder holds. ``skills`` are the rows (number, cells) of ``skills.csv``."""

    profiles: tuple[Profile, ...] = ()
    projects: tuple[Project, ...] = ()
    judgements: tuple[Judgement, ...] = ()
    skills: tuple[tuple[int, dict[str, str]], ...] = ()
    problems: tuple[Problem, ...] = ()
    files: tuple[Path, ...] = ()

    def errors(self) -> tuple[Problem, ...]:
        """The problems that must be mended."""
        return tuple(p for p in self.problems if p.severity == "error")

    def require(self) -> Dataset:
        """Itself; raises ``DataError`` with every problem where any is an error."""
        errors = self.errors()
        if errors:
            raise DataError(
                f"The data has {len(errors)} error(s), the first: {errors[0].place()} {errors[0].problem}.",
                "Mend what is listed, then look again with: skillmatch check",
                self.problems,
            )
        return self


def read_workspace(workspace: Workspace) -> Dataset:
    """Everything under ``data/``. Never raises for what the files hold: ``problems`` tells."""
    kinds = (columns.PROFILES, columns.PROJECTS, columns.JUDGEMENTS, columns.SKILLS)
    found = {kind.name: _gather(workspace.data, kind) for kind in kinds}
    profiles, projects, judgements, skills = (found[kind.name].built for kind in kinds)
    problems = [p for source in found.values() for p in source.built.problems]
    return Dataset(
        tuple(profiles.records),
        tuple(projects.records),
        tuple(_referring(judgements, found, problems)),
        tuple(zip(skills.rows, skills.records, strict=True)),
        tuple(problems),
        tuple(source.path for source in found.values() if source.path is not None),
    )


def read_profiles(path: Path) -> tuple[list[Profile], list[Problem]]:
    """The profiles of a file, and all that is wrong in it. Bad rows are left out."""
    built = _read(path, columns.PROFILES)
    return built.records, built.problems


def read_projects(path: Path) -> tuple[list[Project], list[Problem]]:
    """The projects of a file, and all that is wrong in it. Bad rows are left out."""
    built = _read(path, columns.PROJECTS)
    return built.records, built.problems


def read_judgements(path: Path) -> tuple[list[Judgement], list[Problem]]:
    """A file's judgements, and all that is wrong in it. That their ids exist is ``read_workspace``'s."""
    built = _read(path, columns.JUDGEMENTS)
    return built.records, built.problems


def read_lines(path: Path) -> list[str]:
    """The lines of a text file in any encoding, trimmed, empty ones left out. Raises ``DataError``."""
    try:
        data = read_bytes(path)
    except Refused as refusal:
        problem = Problem(path.name, refusal.problem, refusal.remedy)
        raise DataError(f"{path} {refusal.problem}.", f"{refusal.remedy.capitalize()}.", [problem]) from None
    text = decode(data).text
    if "\0" in text:
        problem = Problem(path.name, "is no text file: it holds NUL bytes", "save it as plain text, UTF-8")
        raise DataError(f"{path} {problem.problem}.", "Save it as plain text, UTF-8.", [problem])
    return [line for raw in re.split(r"\r\n|\r|\n", text) if (line := raw.strip())]


def parse_needs(text: str) -> tuple[Need, ...]:
    """Needs n1, n2, ... from ``GPU:3; Ceph:2!`` (weight 1 to 3, ``!`` = must). Raises ``DataError``."""
    table = Table([Row(1, (("id", "?"), ("title", "?"), ("needs", text)))])
    built = build(columns.PROJECTS, table, "needs")
    if built.problems:
        said = "; ".join(p.problem for p in built.problems)
        raise DataError(f"The needs can't be read: {said}.", "Write them as: GPU:3; Ceph:2!", built.problems)
    return tuple(built.records[0].needs)


# --- one file -----------------------------------------------------------------------------------------


def _read(path: Path, kind: Kind) -> Built:
    built = build(kind, read_table(path, kind), path.name)
    if kind is columns.PROFILES:
        built.problems += [*_unknown_collaborators(built, path.name), *_same_content(built, path.name)]
    elif kind is columns.JUDGEMENTS:
        built.problems += _judged_twice(built, path.name)
    return built


def _nearest(name: str, names: Iterable[str]) -> str:
    """'did you mean ...?' for an id nobody has, or nothing."""
    from rapidfuzz import process

    found = process.extractOne(name, list(names), score_cutoff=60)
    return f"; did you mean {shown(found[0])}?" if found else ""


def _unknown_collaborators(built: Built, file: str) -> Iterable[Problem]:
    told: set[str] = set()
    for row, profile in zip(built.rows, built.records, strict=True):
        for name in profile.collaborators:
            if name not in built.ids and name not in told:
                told.add(name)
                yield Problem(
                    file,
                    "is nobody's id",
                    "write the ids of other profiles" + _nearest(name, built.ids),
                    row,
                    "collaborators",
                    shown(name),
                    "warning",
                )


def _same_content(built: Built, file: str) -> Iterable[Problem]:
    seen: dict[Any, int] = {}
    for row, p in zip(built.rows, built.records, strict=True):
        claims = tuple((s.name, s.level) for s in p.skills)
        content = (p.name, p.lab, p.family, p.site, claims, tuple(e.text for e in p.evidence))
        first = seen.setdefault(content, row)
        if first != row:
            remedy = "if it is one person, keep one of the two rows"
            problem = f"holds the same as row {first} under another id"
            yield Problem(file, problem, remedy, row, "id", shown(p.id), "warning")


def _judged_twice(built: Built, file: str) -> Iterable[Problem]:
    seen: dict[tuple[str, str], tuple[int, float]] = {}
    for row, judgement in zip(built.rows, built.records, strict=True):
        first, grade = seen.setdefault((judgement.project_id, judgement.profile_id), (row, judgement.grade))
        if grade != judgement.grade:
            problem = f"judges the same pair as row {first}, with another grade ({grade:g})"
            yield Problem(file, problem, "keep one of the two", row, "grade", f"{judgement.grade:g}", "warning")


# --- a folder of files --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Source:
    path: Path | None
    built: Built


def _gather(folder: Path, kind: Kind) -> _Source:
    """The file of one kind, read; none and several are told apart."""
    try:
        named = sorted(p for p in folder.iterdir() if p.stem.lower() == kind.name and p.is_file())
    except OSError:
        named = []
    paths = [p for p in named if p.suffix.lower() in READERS]
    # Only where there is nothing better is a file of another kind worth a word.
    paths = paths or [p for p in named if p.suffix.lower() in (".xls", ".xlsm", ".doc", ".docx", ".pdf")]
    if len(paths) == 1:
        return _Source(paths[0], _read(paths[0], kind))
    empty = Built(readable=False)
    if paths:
        names = ", ".join(p.name for p in paths)
        empty.problems.append(
            Problem(paths[0].name, f"is not the only file of {kind.name}: {names}", "keep one of them")
        )
    elif kind is columns.PROFILES:
        remedy = f"put profiles.csv (or {', '.join(s for s in READERS if s != '.csv')}) in {folder}"
        empty.problems.append(
            Problem(
                f"{kind.name}.csv",
                "isn't there, nor under another suffix",
                f"{remedy}, or see: skillmatch init",
            )
        )
    return _Source(None, empty)


def _referring(judgements: Built, found: dict[str, _Source], problems: list[Problem]) -> list[Judgement]:
    """The judgements whose project and profile exist; the others are reported, each unknown id once."""
    path = found["judgements"].path
    good: list[Judgement] = []
    told: dict[tuple[str, str], None] = {}
    for row, judgement in zip(judgements.rows, judgements.records, strict=True):
        unknown = False
        for column, name, source in (
            ("project_id", judgement.project_id, found["projects"]),
            ("profile_id", judgement.profile_id, found["profiles"]),
        ):
            ids = source.built.ids
            if name in ids or not _can_tell(source):
                continue
            unknown = True
            if (column, name) in told:
                continue
            told[column, name] = None
            what = column.removesuffix("_id")
            remedy = f"correct the id, or add the {what}" + _nearest(name, ids)
            file = path.name if path else "judgements"
            problems.append(Problem(file, f"is the id of no {what}", remedy, row, column, shown(name)))
        if not unknown:
            good.append(judgement)
    return good


def _can_tell(source: _Source) -> bool:
    """Whether an id that is not among a file's ids is wrong: not where the file itself could not be read."""
    return source.built.readable or (source.path is None and not source.built.problems)
