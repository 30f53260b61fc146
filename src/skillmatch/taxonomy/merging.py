"""Imported concepts beside the known ones: told apart, joined where they are the same, kept as files, taken back.

An import lives in ``data/taxonomies/<kind>.jsonl``: a header line (what, from where, under which licence, of which
day and digest), then one concept a line. A later import of the same kind takes its place, and the one before can be
had back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .. import retrieval
from ..errors import DataError, Problem, UsageError
from ..store import locked_file, replace_file
from .concepts import Concept, Taxonomy, concept_from_dict
from .imports import Download, label_forms

SCHEMA = "skillmatch.taxonomy/1"
FOLDER = "taxonomies"
#: Words this short have no plural, and labels this short are abbreviations.
_SHORT = 3
#: Merged skills that are named to whoever imports.
_EXAMPLES = 5
_ARTICLES = frozenset({"de", "des", "du", "le", "la", "les", "of", "the"})


# --- one taxonomy of several -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Twin:
    """An imported skill that was merged into a concept. ``exact``: it has the concept's label, not only an alias."""

    concept: Concept
    exact: bool


@dataclass(frozen=True)
class Merged:
    """``taxonomy`` holds each skill once. ``twins``: the imported skills that a concept stands for, by its id."""

    taxonomy: Taxonomy
    twins: Mapping[str, tuple[Twin, ...]] = field(default_factory=dict)

    def host(self, concept_id: str) -> str:
        """The id under which the taxonomy knows a concept: another one where it was merged."""
        if concept_id not in self.taxonomy:
            for host, twins in self.twins.items():
                if any(t.concept.id == concept_id for t in twins):
                    return host
        return concept_id

    def addressed(self, uri: str) -> str:
        """The id of the skill published under an address, or of the one it was merged into; "" where there is none."""
        for concept in self.taxonomy.concepts if uri else ():
            if concept.uri == uri or any(t.concept.uri == uri for t in self.twins.get(concept.id, ())):
                return concept.id
        return ""

    def named(self, own: Taxonomy) -> Taxonomy:
        """Our own concepts with the names that their imported twins bring: what a text may call them by.

        Taken are wordings of several words, of twins of the same label, that no other skill has, and that are the
        twin's label or share a word with one of the concept's: a name decides what a short text is about, and
        publishers' aliases are generous (Turbo Pascal for programming).
        """
        owners: dict[str, set[str]] = {}
        for concept in self.taxonomy.concepts:
            for text in concept.wordings():
                owners.setdefault(_key(text), set()).add(concept.id)
        known = {c.id: {_key(t) for t in c.wordings()} for c in own.concepts}
        gained = []
        for host, twins in self.twins.items():
            if host not in own:
                continue
            same = [t.concept for t in twins if t.exact]
            words = _stems((own[host].label_en, own[host].label_fr))
            labels = {text for c in same for text in (c.label_en, c.label_fr)}
            new = dict.fromkeys(
                text
                for c in same
                for text in c.wordings()
                if _may_name(text)
                and owners[_key(text)] == {host}
                and _key(text) not in known[host]
                and (text in labels or words & _stems((text,)))
            )
            if new:
                gained.append(replace(own[host], names=tuple(new)))
        return Taxonomy([*own.concepts, *gained])


def _may_name(text: str) -> bool:
    return sum(w not in retrieval.STOPWORDS for w in retrieval.tokens(text)) > 1


def _stems(texts: Iterable[str]) -> set[str]:
    return {retrieval.stem(w) for t in texts for w in retrieval.tokens(t) if w not in retrieval.STOPWORDS}


def merge(taxonomy: Taxonomy, imported: Sequence[Concept]) -> Merged:
    """Join imported concepts to a taxonomy.

    One whose label is, but for case, accents, plurals and articles, a label or alias of a known concept (of another
    source) becomes that concept's twin: the concept gains its wordings, relations, definitions and, if it has none,
    its address. All others become concepts of their own. Relations follow; those that lead nowhere are dropped.
    """
    wordings = _Wordings()
    for concept in taxonomy.concepts:
        wordings.add(concept)
    hosts: dict[str, str] = {}
    twins: dict[str, list[Twin]] = {}
    own: dict[str, Concept] = {}
    for source in dict.fromkeys(c.source for c in imported):
        batch = [c for c in imported if c.source == source]
        for concept in batch:
            host, exact = (concept.id, True) if concept.id in taxonomy else wordings.find(concept)
            if host is None:
                own[concept.id] = concept
            else:
                hosts[concept.id] = host
                twins.setdefault(host, []).append(Twin(concept, exact))
        # Skills of one source are told apart by that source: they may only join those of others.
        for concept in batch:
            if concept.id in own:
                wordings.add(concept)
    known = {*taxonomy.index, *own}
    gained = [replace(t.concept, id=host, source="", licence="") for host, some in twins.items() for t in some]
    new = [_relinked(c, hosts, known) for c in (*own.values(), *gained)]
    return Merged(Taxonomy([*taxonomy.concepts, *new]), {host: tuple(some) for host, some in twins.items()})


class _Wordings:
    """Labels and aliases -> the concepts that have them."""

    def __init__(self) -> None:
        self._labels: dict[str, set[str]] = {}
        self._aliases: dict[str, set[str]] = {}

    def add(self, concept: Concept) -> None:
        for key in _label_keys(concept):
            self._labels.setdefault(key, set()).add(concept.id)
        for text in (*concept.aliases_en, *concept.aliases_fr):
            self._aliases.setdefault(_key(text), set()).add(concept.id)

    def find(self, concept: Concept) -> tuple[str | None, bool]:
        """(the one concept that is called so, whether by its label); none where several are. English goes first."""
        for exact, known in ((True, self._labels), (False, self._aliases)):
            for key in _label_keys(concept):
                found = known.get(key, set())
                if len(found) == 1:
                    return next(iter(found)), exact
        return None, False


def _label_keys(concept: Concept) -> list[str]:
    keys = []
    for text in (concept.label_en, concept.label_fr):
        for form in label_forms(text):
            # What is left of "R (programming language)" stands for too much.
            if form == text or len(form) > _SHORT:
                keys.append(_key(form))
    return [k for k in dict.fromkeys(keys) if k]


def _key(text: str) -> str:
    words = [w for w in retrieval.tokens(text) if w not in _ARTICLES]
    # Plurals and no more: stems make securities of security, and RAG of RAGE.
    return " ".join(w.removesuffix("s") if len(w) > _SHORT else w for w in words)


def _relinked(concept: Concept, hosts: Mapping[str, str], known: set[str]) -> Concept:
    def to(ids: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(h for i in ids if (h := hosts.get(i, i)) != concept.id and h in known))

    return replace(concept, broader=to(concept.broader), related=to(concept.related))


# --- in the workspace --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Summary:
    """What an import did, or what taking it back undid.

    ``read`` rows gave ``skills``; ``repeated`` rows named one again. ``new`` of the skills nobody had named before;
    ``merged`` were known under the same wording. ``replaced``: skills of the import of this kind that went before.
    """

    kind: str
    file: str
    read: int
    repeated: int
    skills: int
    new: int
    merged: int
    replaced: int = 0
    examples: tuple[tuple[str, str], ...] = ()  # (imported label, concept it was merged into), a few


def write_import(data: Path, download: Download, known: Taxonomy) -> Summary:
    """Keep what was read under the workspace's ``data`` folder, in place of an earlier import of its kind.

    ``known``: the shipped taxonomy with the lab's own, to tell what is new. Whole or not at all.
    """
    path = _path(data, download.kind)
    header = {
        "schema": SCHEMA,
        "kind": download.kind,
        "licence": download.licence,
        "concepts": len(download.concepts),
        "files": [asdict(f) for f in download.files],
    }
    lines = [header, *(_entry(c) for c in download.concepts)]
    content = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
    with _alone(data):
        before = path.read_bytes() if path.is_file() else b""
        if before and before != content:
            replace_file(_before(path), before)
        replace_file(path, content)
    others = [c for c in read_imports(data) if c.source != download.kind]
    merged = merge(known, [*others, *download.concepts])
    joined = {t.concept.id: (host, t.exact) for host, twins in merged.twins.items() for t in twins}
    own = [c for c in download.concepts if c.id in joined]
    telling = [c for c in own if joined[c.id][1]] or own
    return Summary(
        download.kind,
        f"{FOLDER}/{path.name}",
        download.rows,
        download.repeated,
        len(download.concepts),
        len(download.concepts) - len(own),
        len(own),
        max(before.count(b"\n") - 1, 0),
        tuple((c.label_en or c.label_fr, joined[c.id][0]) for c in telling[:_EXAMPLES]),
    )


def remove_import(data: Path, kind: str) -> int:
    """Take the import of a kind back: the one before it returns, where there was one. Returns how many skills of this
    kind are left. Raises ``UsageError`` where nothing of the kind was imported."""
    path = _path(data, kind)
    if not path.is_file():
        there = sorted(p.stem for p in _files(data))
        hint = f"There is: {', '.join(there)}." if there else "Nothing was imported here."
        raise UsageError(f"No taxonomy of the kind '{kind}' was imported.", hint)
    with _alone(data):
        before = _before(path)
        if before.is_file():
            before.replace(path)
            return len(_read(path, []))
        path.unlink()
        return 0


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """Two imports at once wait for each other."""
    folder = data / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with locked_file(folder / ".lock"):
        yield


def read_imports(data: Path) -> list[Concept]:
    """Every imported concept of a workspace, in the order of kinds. Raises ``DataError`` with every damaged line."""
    problems: list[Problem] = []
    found = [c for path in _files(data) for c in _read(path, problems)]
    if problems:
        raise DataError(
            f"The imported taxonomies have {len(problems)} error(s), the first: {problems[0].place()} "
            f"{problems[0].problem}.",
            "Import the taxonomy again, or remove the file.",
            problems,
        )
    return found


def import_digests(data: Path) -> dict[str, str]:
    """Kind -> sha256 of its import."""
    return {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in _files(data)}


def _path(data: Path, kind: str) -> Path:
    return data / FOLDER / f"{kind}.jsonl"


def _before(path: Path) -> Path:
    return path.with_name(f".{path.stem}.before")


def _files(data: Path) -> list[Path]:
    return sorted(p for p in (data / FOLDER).glob("*.jsonl") if not p.name.startswith("."))


#: Fields of a concept, as its line names them: those of ``data/taxonomy.md``.
_FIELDS = {"label_en": "en", "label_fr": "fr"}


def _entry(concept: Concept) -> dict[str, Any]:
    return {_FIELDS.get(k, k): v for k, v in asdict(concept).items() if v}


def _read(path: Path, problems: list[Problem]) -> list[Concept]:
    remedy = "import the taxonomy again"
    found: list[Concept] = []
    try:
        lines = path.read_text("utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(Problem(path.name, f"can't be read: {error}", remedy))
        return found
    told = 0
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            if number == 1:
                if entry["schema"] != SCHEMA:
                    raise ValueError(f"its schema is {entry['schema']}, not {SCHEMA}")
                told = int(entry["concepts"])
            else:
                found.append(concept_from_dict(entry))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            problems.append(Problem(path.name, f"is no concept: {error}", remedy, number, value=line[:80]))
    if told != len(found) and not problems:
        problems.append(Problem(path.name, f"holds {len(found)} concepts, its first line says {told}", remedy))
    return found
