"""init, check: make a workspace, read all of its data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import DataError, Problem, SkillmatchError, UsageError
from . import options
from .failures import show_problems
from .session import Page, Session, session_of

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from ..runtime import Workspace
    from ..sources import Dataset

#: What a workspace starts with. Never all of a folder: a lab in use holds feedback as well.
_TABLES = ("profiles.csv", "projects.csv", "judgements.csv", "skills.csv")


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``app``."""
    app.command()(init)
    app.command()(check)


# --- init ---------------------------------------------------------------------------------------------


def init(
    ctx: typer.Context,
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="The folder to make; this one by default.", show_default=False),
    ] = Path(),
    empty: Annotated[bool, typer.Option("--empty", help="Header lines only, without the sample lab.")] = False,
) -> None:
    """Make a workspace, with a sample lab to try.

    The sample lab is 50 fictional people and 30 projects; with --empty the tables are there to be filled.

    Example: skillmatch init mylab
    """
    from ..reports import Table
    from ..runtime import CONFIG

    session = session_of(ctx)
    root = folder.expanduser()
    _refuse_taken(root)
    sample = _sample_lab()
    (root / "data").mkdir(parents=True, exist_ok=True)
    (root / "models").mkdir(exist_ok=True)
    for name in _TABLES:
        content = (sample / name).read_bytes()
        (root / "data" / name).write_bytes(_header(content) if empty else content)
    if not empty:
        (root / "data" / "README.md").write_bytes((sample / "README.md").read_bytes())
    (root / "models" / "README.md").write_text(_MODELS_README, "utf-8")
    # Last: what makes the folder a workspace is there only once all the rest is.
    (root / CONFIG).write_text(_config(), "utf-8")
    session.emit(Table(session.tr("Made the workspace {folder}", folder=root), (), ()))
    _tell_next(session, root, empty)


def _refuse_taken(root: Path) -> None:
    from ..runtime import CONFIG

    if root.exists() and not root.is_dir():
        raise UsageError(f"{root} is a file.", "Name a folder: skillmatch init mylab")
    data = root / "data"
    taken = (root / CONFIG).exists() or (data.exists() and (not data.is_dir() or any(data.iterdir())))
    if taken or (root / "models" / "CURRENT").exists():
        raise UsageError(
            f"{root} holds a workspace already; nothing was changed.",
            "Name another folder: skillmatch init mylab",
        )


def _sample_lab() -> Traversable:
    """The sample lab: in the installed package, or at the top of the repository."""
    for place in (resources.files("skillmatch") / "sample_lab", Path(__file__).parents[3] / "data"):
        if (place / _TABLES[0]).is_file():
            return place
    raise SkillmatchError("The sample lab is missing from this installation.", "Install skillmatch again.")


def _header(content: bytes) -> bytes:
    """The header line alone, marked as UTF-8: spreadsheet programs ask for that."""
    line = content.decode("utf-8-sig").splitlines()[0]
    return f"{line}\n".encode("utf-8-sig")


def _config() -> str:
    from ..runtime import SETTINGS

    lines = ["# Settings of this workspace. Take away the # before a name to change its value.", ""]
    for name, (default, _, what) in SETTINGS.items():
        value = f'"{default}"' if isinstance(default, str) else default
        lines += [f"# {what}", f"# {name} = {value}", ""]
    return "\n".join(lines)


_MODELS_README = """\
Trained versions live here. All of it is made by `skillmatch train`: CURRENT names the version that answers,
history.jsonl tells when each came and why, versions/ holds them, encoders/ and cache/ save work.
To remove old versions: skillmatch models prune
"""


def _tell_next(session: Session, root: Path, empty: bool) -> None:
    inside = root.resolve() == Path.cwd()
    steps = [] if inside else [f"cd {root}"]
    if empty:
        session.say("Next: fill data/profiles.csv (a spreadsheet program will do), then:")
        steps += ["skillmatch check"]
    else:
        session.say("Next:")
    steps += ["skillmatch train", 'skillmatch suggest "tune our Ceph cluster" --top 3']
    for step in steps:
        session.say("  {step}", step=step)


# --- check --------------------------------------------------------------------------------------------


def check(ctx: typer.Context, fmt: options.Format = None, out: options.Out = None) -> None:
    """Read all data and tell every problem at once.

    For each: the file, the row, the column, the value, what is wrong, and how to mend it.

    Example: skillmatch check
    """
    from ..reports import Table, format_of

    session = session_of(ctx)
    kind = format_of(out, fmt)
    dataset, answers, problems = _read_all(session.workspace)
    errors = sum(p.severity == "error" for p in problems)
    if errors:
        first = next(p for p in problems if p.severity == "error")
        raise DataError(
            f"The data has {errors} error(s), the first: {first.place()} {first.problem}.",
            "Mend what is listed, then look again with: skillmatch check",
            problems,
        )
    counts = {
        "profiles": len(dataset.profiles),
        "projects": len(dataset.projects),
        "judgements": len(dataset.judgements),
        "skills": len(dataset.skills),
        "answers": answers,
    }
    if problems and not session.json:
        show_problems(problems, session)
    state = session.tr("No problem found.")
    if problems:
        state = session.tr("{warnings} warning(s).", warnings=len(problems))
    said = ", ".join(f"{n} {session.tr(name)}" for name, n in counts.items() if n or name in _MAIN)
    table = Table(session.tr("Read: {what}", what=said), (), (), (state,))
    told = [{k: v for k, v in asdict(p).items() if k != "severity"} for p in problems]
    session.emit(Page((table,), {"schema": "skillmatch.check/1", **counts, "problems": told}), kind, out)


#: What is counted aloud even where there is none.
_MAIN = ("profiles", "projects", "judgements")


def _read_all(workspace: Workspace) -> tuple[Dataset, int, list[Problem]]:
    """(the data, how many answers, all problems) of a workspace."""
    from .. import feedback
    from ..sources import read_workspace

    dataset = read_workspace(workspace)
    problems = list(dataset.problems)
    problems += _concept_problems(workspace, dataset)
    answers, wrong = feedback.read(workspace.data / "feedback.jsonl")
    return dataset, len(answers), problems + wrong


def _concept_problems(workspace: Workspace, dataset: Dataset) -> Iterator[Problem]:
    """Relations of the lab's own skills that lead nowhere."""
    if not dataset.skills:
        return
    from rapidfuzz import process

    from ..taxonomy import Taxonomy, read_additions
    from ..training import workspace_taxonomy

    try:
        taxonomy = workspace_taxonomy(workspace, dataset)
    except DataError as error:
        yield from error.problems
        return
    file = next((p.name for p in dataset.files if p.stem.lower() == "skills"), "skills.csv")
    shipped = Taxonomy.shipped()
    for number, row in dataset.skills:
        for concept in read_additions(Path(file), [(number, row)]):
            for column, others in (("broader", concept.broader), ("related", concept.related)):
                for other in others:
                    if other in taxonomy:
                        continue
                    near = process.extractOne(other, [*shipped.index], score_cutoff=60)
                    remedy = f"did you mean {near[0]}?" if near else "see: skillmatch skills list"
                    problem = "is the id of no skill, and is ignored"
                    yield Problem(file, problem, remedy, number, column, other, "warning")
