"""One person leaves every file of a workspace: words, id, vectors, answers, old versions included.

The order makes it safe to be killed anywhere: the profile goes last, so that the command finds the person again, and
each step leaves what it finds done alone. Of versions, the current one is rewritten without the person; every other
one that holds them, or that can't be read, is removed. Of cached vectors, only those stay whose texts are still there.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import feedback
from ..encoders import CachedEncoder, Encoder, HashingEncoder, open_encoder
from ..errors import DamagedModelError, ModelError, SkillmatchError, UsageError
from ..explain import Items
from ..matcher import Matcher
from ..ranking import SkillTable
from ..retrieval import ItemIndex
from ..runtime import Workspace
from ..sources import Dataset, columns, read_workspace
from ..sources.removing import without_person
from ..store import Store, beside, replace_file
from ..taxonomy import examples
from ..taxonomy.known import everything
from .learning import PIPELINE_FILE, Folds
from .running import _smoke, known_lexicon, workspace_taxonomy

#: What a version holds beside the matcher's own files.
_BESIDE = (PIPELINE_FILE, "folds.json")


@dataclass(frozen=True)
class Erased:
    """What went. ``version``: the current one, rewritten (None where there was none, or where it did not hold them).
    ``named``: files that still hold their id or name, in words that are not theirs."""

    rows: int
    judgements: int
    answers: int
    suggestions: int
    vectors: int
    version: str | None
    removed: tuple[str, ...]
    named: tuple[str, ...]


def erase(workspace: Workspace, profile_id: str) -> Erased:
    """Erase a person from every file of the workspace, and record that somebody was erased.

    Raises ``UsageError`` where nothing is held on them, ``DataError`` and ``ModelError`` for files that can't be
    written; what was done until then stays done, and the command may be given again.
    """
    wanted = " ".join(profile_id.split())
    store = Store(workspace.models)
    with store.lock():
        dataset = read_workspace(workspace)
        names = _names(workspace, store, dataset, wanted)
        _check_writable(dataset, wanted)
        version, removed = _from_versions(workspace, store, wanted)
        vectors = _from_caches(workspace, store, dataset, wanted)
        answers = feedback.forget(workspace.data / "feedback.jsonl", wanted, names)
        suggestions = feedback.forget_shown(workspace.data / "suggestions.jsonl", wanted, names)
        judgements = _from_file(_file_of(dataset, "judgements"), columns.JUDGEMENTS, wanted)
        erased = Erased(0, judgements, answers, suggestions, vectors, version, removed, ())
        store.record(
            {"event": "forgotten", "why": "a person was erased from this workspace"}
            | {"versions_removed": len(removed), "answers": answers, "judgements": judgements}
        )
        rows = _from_file(_file_of(dataset, "profiles"), columns.PROFILES, wanted)
        return replace(erased, rows=rows, named=tuple(_still_named(workspace, (wanted, *names))))


def require_held(workspace: Workspace, profile_id: str) -> None:
    """Raise ``UsageError`` where nothing is held on a person."""
    _names(workspace, Store(workspace.models), read_workspace(workspace), " ".join(profile_id.split()))


# --- who it is ---------------------------------------------------------------------------------------------------


def _names(workspace: Workspace, store: Store, dataset: Dataset, wanted: str) -> tuple[str, ...]:
    """The names the person is known by. Raises ``UsageError`` where nothing at all is held on them."""
    found = [p.name for p in dataset.profiles if p.id == wanted]
    held = bool(found)
    for version in store.versions():
        people = people_of(store, version)
        if people is None:
            continue
        theirs = [str(p.get("name", "")) for p in people if p.get("id") == wanted]
        held, found = held or bool(theirs), found + theirs
    if not held and not _elsewhere(workspace, dataset, wanted):
        import difflib

        close = difflib.get_close_matches(wanted, [p.id for p in dataset.profiles], n=3, cutoff=0.5)
        hint = (
            f"Did you mean: {', '.join(close)}?" if close else "`skillmatch profiles export` shows the ids there are."
        )
        raise UsageError(f"Nothing is held on '{wanted}'.", hint)
    return tuple(dict.fromkeys(n for n in found if n.strip()))


def _elsewhere(workspace: Workspace, dataset: Dataset, wanted: str) -> bool:
    """Whether judgements, answers, logged suggestions or unreadable rows know the id: a killed erasure may be left."""
    answers, _ = feedback.read(workspace.data / "feedback.jsonl")
    shown = feedback.read_shown(workspace.data / "suggestions.jsonl")
    path, judged = _file_of(dataset, "profiles"), _file_of(dataset, "judgements")
    return (
        any(a.profile == wanted for a in answers)
        or any(s.rank(wanted) for s in shown)
        or (path is not None and without_person(path, columns.PROFILES, wanted) is not None)
        or (judged is not None and without_person(judged, columns.JUDGEMENTS, wanted) is not None)
    )


def people_of(store: Store, version: str) -> list[dict[str, Any]] | None:
    """Whom a version holds; None where that can't be read."""
    try:
        people = json.loads((store.folder(version) / "people.json").read_text("utf-8"))
        return people if isinstance(people, list) and all(isinstance(p, dict) for p in people) else None
    except (OSError, ValueError, SkillmatchError):
        return None


def _check_writable(dataset: Dataset, wanted: str) -> None:
    """Refuse before anything is changed what could only be half done: a data file in a format nobody can write."""
    for name, kind in (("profiles", columns.PROFILES), ("judgements", columns.JUDGEMENTS)):
        path = _file_of(dataset, name)
        if path is not None:
            without_person(path, kind, wanted)


# --- data files --------------------------------------------------------------------------------------------------


def _file_of(dataset: Dataset, name: str) -> Path | None:
    return next((p for p in dataset.files if p.stem.lower() == name), None)


def _from_file(path: Path | None, kind: columns.Kind, wanted: str) -> int:
    if path is None:
        return 0
    path = path.resolve()
    try:
        beside(path).unlink(missing_ok=True)  # of one that was killed
        changed = without_person(path, kind, wanted)
        if changed is None:
            return 0
        replace_file(path, changed[0])
    except OSError as error:
        raise UsageError(
            f"{path} can't be rewritten: {error.strerror or error}.",
            "Check that disk and who may write there, then give the same command again.",
        ) from error
    return changed[1]


# --- versions ----------------------------------------------------------------------------------------------------


def _from_versions(workspace: Workspace, store: Store, wanted: str) -> tuple[str | None, tuple[str, ...]]:
    """(the current version, rewritten; the versions removed)."""
    holding = []
    for version in store.versions():
        people = people_of(store, version)
        if people is None or any(p.get("id") == wanted for p in people):
            holding.append(version)
    try:
        current = store.current()
    except ModelError:
        current = None
    rewritten = None
    if current in holding:
        rewritten = _rewritten(workspace, store, current, wanted)
        if rewritten is None:
            store.retire("its version held a person who was erased, and could not be rewritten")
    for version in holding:
        store.remove(version, "it held a person who was erased")
    return rewritten, tuple(holding)


def _rewritten(workspace: Workspace, store: Store, version: str, wanted: str) -> str | None:
    """A version without the person, promoted; None where nobody is left or the version can't be opened."""
    try:
        manifest = store.verify(version)
        encoder: Encoder = open_encoder(str(manifest["encoder"]), workspace.models / "encoders")
        folder = store.folder(version)
        without = _without(Matcher.load(folder, version, encoder), wanted)
        kept = {n: (folder / n).read_bytes() for n in _BESIDE if (folder / n).is_file()}
    except (SkillmatchError, KeyError, ValueError):
        return None
    if without is None:
        return None
    meta = {k: v for k, v in manifest.items() if k not in ("format", "files")}
    meta |= {"people": len(without.people), "items": len(without.index.owner)}
    with store.writing() as draft:
        without.save(draft.path)
        for name, content in kept.items():
            (draft.path / name).write_bytes(content)
        _smoke(draft.path, encoder, without)
        Folds.load(draft.path)
        made = draft.commit(meta)
    why = f"{version} without a person who was erased"
    store.record({"event": "trained", "version": made, "previous": version, "why": why})
    store.promote(made, why)
    return made


def _without(matcher: Matcher, wanted: str) -> Matcher | None:
    """The matcher as if that person's profile had not been there; None where nobody would be left."""
    place = next(i for i, p in enumerate(matcher.people) if p["id"] == wanted)
    if len(matcher.people) == 1:
        return None
    owner = np.asarray(matcher.index.owner)
    keep = np.flatnonzero(owner != place)
    proofs = [matcher.items.proof(int(i)) for i in keep]
    gone = matcher.items.proof(int(np.flatnonzero(owner == place)[0])).source
    left = owner[keep]
    left = np.where(left > place, left - 1, left)
    texts = [p.text for p in proofs]
    rows = [(p.text, p.kind, _moved_up(p.source, gone)) for p in proofs]
    worth, shares = np.asarray(matcher.items.worth)[keep], np.asarray(matcher.concept_p)[keep]
    ids = np.asarray(matcher.concept_ids)[keep]
    return replace(
        matcher,
        people=tuple(p for i, p in enumerate(matcher.people) if i != place),
        items=Items.build(rows, worth, [p.level or 0 for p in proofs]),
        index=ItemIndex.build(texts, np.asarray(matcher.index.vectors)[keep], left, len(matcher.people) - 1),
        concept_ids=ids,
        concept_p=shares,
        skills=SkillTable.build(left, worth, ids, shares, len(matcher.people) - 1, len(matcher.concepts)),
    )


def _moved_up(source: str, gone: str) -> str:
    """A source (``file:row``) as it reads once the row of ``gone`` is out of the same file."""
    (file, _, row), (other, _, number) = source.rpartition(":"), gone.rpartition(":")
    if file != other or not (row.isdecimal() and number.isdecimal()) or int(row) <= int(number):
        return source
    return f"{file}:{int(row) - 1}"


# --- caches ------------------------------------------------------------------------------------------------------


def _from_caches(workspace: Workspace, store: Store, dataset: Dataset, wanted: str) -> int:
    """Erase every cached vector but those of texts that stay: earlier wordings of theirs may be among the rest."""
    paths = sorted((workspace.models / "cache").glob("*.sqlite"))
    if not paths:
        return 0
    texts = list(_texts_that_stay(workspace, store, dataset, wanted))
    return sum(_kept_in(path, texts) for path in paths)


def _kept_in(path: Path, texts: Sequence[str]) -> int:
    """Erase all other vectors from one cache; where it can't be rewritten, the whole of it: it is made again."""
    try:
        return CachedEncoder(HashingEncoder(), path).keep(texts)
    except (sqlite3.Error, DamagedModelError):
        try:
            for part in (path, path.with_name(f"{path.name}-journal")):
                part.unlink(missing_ok=True)
        except OSError as error:
            raise ModelError(
                f"{path} can't be rewritten nor removed: {error.strerror or error}.",
                "Remove it by hand, then give the same command again.",
            ) from error
        return 0


def _texts_that_stay(workspace: Workspace, store: Store, dataset: Dataset, wanted: str) -> Iterator[str]:
    for profile in dataset.profiles:
        if profile.id != wanted:
            yield from (claim.name for claim in profile.skills)
            yield from (item.text for item in profile.evidence)
    try:
        taxonomy = workspace_taxonomy(workspace, dataset)
        merged = everything(workspace.data, taxonomy)
    except SkillmatchError:  # wrong rows of skills: their vectors are made again
        return
    # What the encoder read of them word by word is made again where it is missed, except for the taxonomy's many.
    lexicon = known_lexicon(workspace.models / "cache", taxonomy)
    for text in examples(taxonomy).text:
        yield from (text, lexicon.gloss(text)) if lexicon else (text,)
    for concept in merged.taxonomy.concepts:
        yield from concept.wordings()
    for twins in merged.twins.values():
        for twin in twins:
            yield from twin.concept.wordings()


# --- what is left ------------------------------------------------------------------------------------------------


def _still_named(workspace: Workspace, words: Sequence[str]) -> Iterator[str]:
    """Files under data/ and models/ that hold an id or a name: other people's words, for somebody to look at."""
    # Short ids (12, AB) are parts of too much to tell anything.
    told = [w for w in words if len(w) >= 3]
    if not told:
        return
    forms = sorted({form.encode() for w in told for form in (w, json.dumps(w)[1:-1])})
    whole = [(form, re.compile(rb"(?<![\w-])" + re.escape(form) + rb"(?![\w-])")) for form in forms]
    for path in sorted(_files(workspace)):
        try:
            content = path.read_bytes()
        except OSError:
            continue
        # Looking for the plain bytes first is a hundred times as fast, and most files do not have them.
        if any(form in content and pattern.search(content) for form, pattern in whole):
            yield path.relative_to(workspace.root).as_posix()


def _files(workspace: Workspace) -> Iterable[Path]:
    for folder in (workspace.data, workspace.models):
        for path in folder.rglob("*"):
            if path.is_file() and "encoders" not in path.relative_to(workspace.root).parts:
                yield path
