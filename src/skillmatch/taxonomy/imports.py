"""Taxonomies that others publish -> concepts. One reader a kind, each with its format's columns and habits.

::

    esco       folder of the official CSV download (skills_en.csv, skills_fr.csv, ..., relations), or one such file
    referens   REFERENS III, the job framework of French public research: JSONL or JSON, one profile an object
    rome       ROME, the French employment service's skills: CSV
    onet       O*NET technology skills: "Technology Skills.txt", or CSV
    csv        any table with a label column

Everything wrong with the files is told at once. What becomes of the concepts is ``merging``'s business.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import retrieval
from ..errors import DataError, Problem, UsageError
from ..sources import cells, read_lines
from ..sources.columns import Kind
from ..sources.tables import read_table
from .concepts import Concept

#: Longer labels are no labels: the file is read in the wrong way.
LONGEST_LABEL = 500
_SLUG = 70
_BRACKETS = re.compile(r"\s*\([^()]*\)\s*$")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file that was read: its name, the day it was last changed (ISO), its digest."""

    name: str
    date: str
    sha256: str


@dataclass(frozen=True)
class Download:
    """What a reader found. ``rows`` were read; ``repeated`` of them named a skill that an earlier one had named.

    ``problems`` are warnings: what was left out, and why.
    """

    kind: str
    licence: str
    concepts: tuple[Concept, ...]
    rows: int
    repeated: int
    files: tuple[SourceFile, ...]
    problems: tuple[Problem, ...] = ()


#: Kind -> licence under which its publisher gives it away.
LICENCES = {
    "esco": "CC BY 4.0",
    "referens": "Licence Ouverte 2.0",
    "rome": "Licence Ouverte 2.0",
    "onet": "CC BY 4.0",
    "csv": "",
}


def read_taxonomy(kind: str, path: Path) -> Download:
    """The taxonomy of that kind at ``path``. Raises ``UsageError`` for an unknown kind, ``DataError`` with every
    problem where the files can't be read or hold no skill."""
    readers: dict[str, Callable[[Path], Download]] = {
        "esco": read_esco,
        "referens": read_referens,
        "rome": read_rome,
        "onet": read_onet,
        "csv": read_plain,
    }
    if kind not in readers:
        raise UsageError(f"There is no kind of taxonomy '{kind}'.", f"Use one of: {', '.join(readers)}.")
    return readers[kind](path)


# --- tables of any format ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    file: str
    number: int
    values: Mapping[str, Any]

    def text(self, field: str) -> str:
        """A cell as text, spaces made even; "" where there is none."""
        return _even(self.values.get(field))

    def list(self, field: str) -> tuple[str, ...]:
        """A cell that holds several texts, one a line or separated by ; or |; or a list."""
        value = self.values.get(field)
        parts = value if isinstance(value, list) else re.split(r"[\n\r;|]", str(value or ""))
        return tuple(dict.fromkeys(t for p in parts if (t := _even(p))))


def _even(value: Any) -> str:
    written = cells.text(value) if value is not None else ""
    return " ".join(written.split()) if isinstance(written, str) else ""


class _Reading:
    """Rows of some files, and what is wrong with them."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.problems: list[Problem] = []
        self.files: list[SourceFile] = []
        self.rows = 0

    def table(self, path: Path, columns: Mapping[str, str], required: Sequence[str]) -> Iterator[_Row]:
        """The rows of a file. ``columns``: field -> the names its column may have, comma-separated."""
        names = {cells.column_key(name): field for field, all_ in columns.items() for name in all_.split(",")}
        kind = Kind(self.kind, dict, names, {}, tuple(required))
        if path.is_dir():
            self.problems.append(Problem(path.name or str(path), "is a folder", "name the file in it"))
            return
        table = read_table(path, kind)
        self.problems += table.problems
        if path.is_file():
            changed = datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat()
            self.files.append(SourceFile(path.name, changed, hashlib.sha256(path.read_bytes()).hexdigest()))
        if table.header is not None:
            self._check_header(path.name, table.header, table.header_row, kind, columns)
        for row in table.rows:
            values = {f: v for c, v in row.values if (f := kind.field(c)) and not cells.is_empty(v)}
            if values:
                self.rows += 1
                yield _Row(path.name, row.number, values)

    def _check_header(
        self, file: str, header: Sequence[str], row: int | None, kind: Kind, columns: Mapping[str, str]
    ) -> None:
        found = {kind.field(c) for c in header}
        for field in kind.required:
            if field not in found:
                written = columns[field].split(",")[0]
                shown = ", ".join(c for c in header if c)[:200]
                self.problems.append(
                    Problem(file, f"has no column '{written}'", f"name it in the header, which is: {shown}", row)
                )

    def lines(self, path: Path, field: str) -> Iterator[_Row]:
        """The lines of a text file as rows of one field."""
        for number, line in enumerate(read_lines(path), start=1):
            self.rows += 1
            yield _Row(path.name, number, {field: line})

    def skip(self, row: _Row, column: str, problem: str, remedy: str) -> None:
        """A row is left out."""
        value = row.text(column) or None
        self.problems.append(Problem(row.file, problem, remedy, row.number, column, value, "warning"))

    def done(self, concepts: Iterable[Concept], repeated: int) -> Download:
        """All that was read. Raises ``DataError`` where any of it is wrong, or nothing came of it."""
        found = tuple(concepts)
        errors = [p for p in self.problems if p.severity == "error"]
        if not found and not errors:
            names = ", ".join(f.name for f in self.files) or "the folder"
            errors = [Problem(names, "holds no skill", "check that the kind and the file belong together")]
            self.problems += errors
        if errors:
            first = errors[0]
            raise DataError(
                f"The taxonomy has {len(errors)} error(s), the first: {first.place()} {first.problem}.",
                f"{first.remedy[:1].upper()}{first.remedy[1:]}. Nothing was imported.",
                self.problems,
            )
        licence = LICENCES[self.kind]
        return Download(self.kind, licence, found, self.rows, repeated, tuple(self.files), tuple(self.problems))


def slug(text: str) -> str:
    """A label as an id: folded words joined by hyphens, cut at a word after 70 letters."""
    whole = "-".join(w.strip(".'").replace("'", "-") for w in retrieval.tokens(text)).replace("--", "-")
    return whole if len(whole) <= _SLUG else whole[: _SLUG + 1].rpartition("-")[0] or whole[:_SLUG]


def _with_ids(kind: str, concepts: Iterable[Concept]) -> list[Concept]:
    """Ids made of kind and label; of those that would be equal, each gets a few digits of its address as well."""
    named = [(c, f"{kind}-{slug(c.label_en or c.label_fr) or 'skill'}") for c in concepts]
    count: dict[str, int] = {}
    for _, made in named:
        count[made] = count.get(made, 0) + 1
    return [
        replace(c, id=made if count[made] == 1 else f"{made}-{retrieval.name_code(c.uri or c.id) & 0xFFFFFF:06x}")
        for c, made in named
    ]


# --- ESCO --------------------------------------------------------------------------------------------------------

_ESCO = {
    "uri": "conceptUri,uri",
    "label": "preferredLabel",
    "aliases": "altLabels",
    "hidden": "hiddenLabels",
    "status": "status",
    "description": "description",
    "definition": "definition",
}
_ESCO_BROADER = {"uri": "conceptUri", "other": "broaderUri"}
_ESCO_RELATED = {"uri": "originalSkillUri", "other": "relatedSkillUri"}
_ESCO_FILE = re.compile(r"skills_([a-z]{2})\.csv", re.IGNORECASE)
_ESCO_RELATIONS = re.compile(r"(broaderRelationsSkillPillar|skillSkillRelations)(?:_[a-z]{2})?\.csv", re.IGNORECASE)
#: A related skill far from the matter is no help, and some have hundreds.
_MOST_RELATED = 20


def read_esco(path: Path) -> Download:
    """The official CSV download in any of its languages, joined by address: its folder, a folder that holds several
    of them, or one file. A file with labels of both languages (``label_en``, ``label_fr``) is read as well.

    Labels of a language that is neither French nor English become names, so that a text in it is recognised.
    """
    reading = _Reading("esco")
    if path.is_file() and not _ESCO_FILE.fullmatch(path.name):
        return _read_one_table(reading, path, source="esco")
    every = sorted(path.rglob("*.csv")) if path.is_dir() else [path]
    texts = {m[1].lower(): p for p in every if (m := _ESCO_FILE.fullmatch(p.name))}
    if not texts:
        problem = "holds no file skills_en.csv, skills_fr.csv or the like" if path.exists() else "isn't there"
        remedy = "name the folder of ESCO's CSV download (the skills pillar), unpacked"
        reading.problems.append(Problem(path.name or str(path), problem, remedy))
        return reading.done((), 0)
    found: dict[str, Concept] = {}
    repeated = 0
    # English first and French second, whatever else there is: they give the labels.
    for lang in sorted(texts, key=lambda x: (x != "en", x != "fr", x)):
        repeated += _esco_language(reading, texts[lang], lang, found)
    concepts = dict(zip(found, _with_ids("esco", found.values()), strict=True))
    for file in every:
        if _ESCO_RELATIONS.fullmatch(file.name):
            _esco_relations(reading, file, concepts)
    return reading.done(concepts.values(), repeated)


def _esco_language(reading: _Reading, file: Path, lang: str, found: dict[str, Concept]) -> int:
    """Add one language's texts to what is found; returns how many rows name a skill a second time."""
    seen: set[str] = set()
    repeated = 0
    for row in reading.table(file, _ESCO, ("uri", "label")):
        uri, label = row.text("uri"), row.text("label")
        if row.text("status").lower() == "obsolete":
            continue
        if not uri or not label or len(label) > LONGEST_LABEL:
            problem = "has no address" if not uri else "has no label" if not label else "has a label of a page"
            reading.skip(row, "label", f"{problem}, and was left out", "correct the row")
            continue
        repeated += uri in seen
        seen.add(uri)
        aliases = tuple(a for a in (*row.list("aliases"), *row.list("hidden")) if a != label)
        said = row.text("description") or row.text("definition")
        known = found.get(uri) or Concept(uri, "", "", uri=uri, source="esco", licence=LICENCES["esco"])
        found[uri] = _with_language(known, lang, label, aliases, said)
    return repeated


def _with_language(known: Concept, lang: str, label: str, aliases: tuple[str, ...], said: str) -> Concept:
    if lang == "en":
        first = known.label_en or label
        rest = _others(first, (*known.aliases_en, label, *aliases))
        return replace(known, label_en=first, aliases_en=rest, definition_en=known.definition_en or said)
    if lang == "fr":
        first = known.label_fr or label
        rest = _others(first, (*known.aliases_fr, label, *aliases))
        return replace(known, label_fr=first, aliases_fr=rest, definition_fr=known.definition_fr or said)
    if not known.label_en and not known.label_fr:
        return replace(known, label_en=label, names=(*known.names, *aliases))
    return replace(known, names=tuple(dict.fromkeys((*known.names, label, *aliases))))


def _others(label: str, texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(t for t in texts if t != label))


def _esco_relations(reading: _Reading, file: Path, concepts: dict[str, Concept]) -> None:
    """Relations between skills; those with groups, which are no skills, are passed over."""
    before = reading.rows
    broader = file.name.lower().startswith("broader")
    columns = _ESCO_BROADER if broader else _ESCO_RELATED
    found: dict[str, dict[str, None]] = {}
    for row in reading.table(file, columns, tuple(columns)):
        own, other = row.text("uri"), concepts.get(row.text("other"))
        if own in concepts and other is not None and other.id != concepts[own].id:
            found.setdefault(own, {})[other.id] = None
    for uri, ids in found.items():
        if broader:
            concepts[uri] = replace(concepts[uri], broader=tuple(ids))
        else:
            concepts[uri] = replace(concepts[uri], related=tuple(ids)[:_MOST_RELATED])
    reading.rows = before  # relations are no skills


# --- a table of skills, one a row --------------------------------------------------------------------------------

_PLAIN = {
    "id": "id,identifiant,code,concept",
    "en": "label_en,en,english,anglais,label,libellé anglais,skill,compétence anglais,name,preferred label",
    "fr": "label_fr,fr,french,français,libellé,libellé français,compétence,intitulé",
    "aliases_en": "aliases_en,alias en,alt_en,aliases,alias,alt labels,synonyms,synonymes en,synonyms en",
    "aliases_fr": "aliases_fr,alias fr,alt_fr,synonymes,synonymes fr",
    "names": "names,noms,acronyms,acronymes,sigles",
    "broader": "broader,broader_en,parent,générique",
    "related": "related,liés,see also,voir aussi",
    "definition_en": "definition_en,description_en,description,definition",
    "definition_fr": "definition_fr,description_fr",
    "uri": "uri,url,conceptUri,iri",
    "licence": "licence,license",
}
_IS_ADDRESS = re.compile(r"(?:https?|urn):\S+")


def read_plain(path: Path) -> Download:
    """Any table (CSV, XLSX, JSON, ...) with an English or a French label a row; ids, aliases, names, broader and
    related ids or labels, definitions, addresses and licences where they are given. Lists are separated by ; or |.

    A text file without any of these columns is a list of English labels, one a line.
    """
    return _read_one_table(_Reading("csv"), path, source="csv")


def _read_one_table(reading: _Reading, path: Path, source: str) -> Download:
    found: dict[str, Concept] = {}
    repeated = 0
    rows = list(reading.table(path, _PLAIN, ()))
    if path.suffix.lower() == ".txt" and not rows and path.is_file():
        reading.problems.clear()
        rows = list(reading.lines(path, "en"))
    for row in rows:
        english, french = row.text("en"), row.text("fr")
        given, uri = row.text("id"), row.text("uri")
        if _IS_ADDRESS.fullmatch(given):
            given, uri = "", uri or given
        label = english or french
        if not label or len(label) > LONGEST_LABEL:
            problem = "has no label" if not label else "has a label of a page"
            reading.skip(row, "label_en", f"{problem}, and was left out", "give it label_en, label_fr or both")
            continue
        concept = Concept(
            id=given,
            label_en=english,
            label_fr=french,
            aliases_en=tuple(t for t in row.list("aliases_en") if t != english),
            aliases_fr=tuple(t for t in row.list("aliases_fr") if t != french),
            names=row.list("names"),
            broader=row.list("broader"),
            related=row.list("related"),
            definition_en=row.text("definition_en"),
            definition_fr=row.text("definition_fr"),
            uri=uri,
            source=source,
            licence=row.text("licence") or LICENCES[source],
        )
        key = given or uri or f"{retrieval.fold(english)}\n{retrieval.fold(french)}"
        repeated += key in found
        found.setdefault(key, concept)
    if not found and not any(p.severity == "error" for p in reading.problems):
        remedy = "name one column label_en, or label_fr"
        reading.problems.append(Problem(path.name, "has no row with a label", remedy))
    made = iter(_with_ids(source, [c for c in found.values() if not c.id]))
    concepts = [c if c.id else next(made) for c in found.values()]
    return reading.done(_relations_by_label(concepts), repeated)


def _relations_by_label(concepts: Sequence[Concept]) -> list[Concept]:
    """Relations that name a label lead to the id of the skill that has it."""
    ids = {c.id for c in concepts}
    labels = {retrieval.fold(t): c.id for c in reversed(concepts) for t in (c.label_fr, c.label_en) if t}

    def resolved(c: Concept, others: tuple[str, ...]) -> tuple[str, ...]:
        to = (o if o in ids else labels.get(retrieval.fold(o), o) for o in others)
        return tuple(dict.fromkeys(o for o in to if o != c.id))

    return [replace(c, broader=resolved(c, c.broader), related=resolved(c, c.related)) for c in concepts]


# --- REFERENS, ROME, O*NET ---------------------------------------------------------------------------------------

_REFERENS = {
    "id": "id,code emploi,code",
    "connaissances": "connaissances,connaissances générales",
    "operationnelles": "competences_operationnelles,compétences opérationnelles",
    "comportementales": "competences_comportementales,compétences comportementales",
    "definitions": "definitions,définitions",
}
#: How much of a competence a job asks for; not part of what it is called.
_MASTERY = re.compile(
    r"\s*\(\s*(?:connaissance\s+(?:g[ée]n[ée]rale|approfondie)|notions?(?:\s+de\s+base)?|ma[îi]trise|expertise|application)\s*\)\s*$",
    re.IGNORECASE,
)
_SOURCE_NOTE = re.compile(r"\s*\(source\s*:[^()]*\)\s*$", re.IGNORECASE)
_NO_DEFINITION = "definition non necessaire"


def read_referens(path: Path) -> Download:
    """REFERENS III job profiles: each competence they list becomes one concept, however many jobs ask for it."""
    reading = _Reading("referens")
    labels: dict[str, str] = {}
    said: dict[str, str] = {}
    repeated = 0
    for row in reading.table(path, _REFERENS, ()):
        lists = [row.list(f) for f in ("connaissances", "operationnelles", "comportementales")]
        if not any(lists):
            reading.skip(row, "id", "lists no competence, and was left out", "check that it is a REFERENS profile")
        defined = row.values.get("definitions")
        for written, text in defined.items() if isinstance(defined, dict) else ():
            definition = _SOURCE_NOTE.sub("", _even(text))
            if definition and not retrieval.fold(definition).startswith(_NO_DEFINITION):
                said.setdefault(retrieval.fold(_MASTERY.sub("", _even(written))), definition)
        for competence in (c for part in lists for c in part):
            label = _MASTERY.sub("", competence)
            repeated += retrieval.fold(label) in labels
            labels.setdefault(retrieval.fold(label), label)
    concepts = [
        Concept("", "", label, definition_fr=said.get(key, ""), source="referens", licence=LICENCES["referens"])
        for key, label in labels.items()
        if label
    ]
    return reading.done(_with_ids("referens", concepts), repeated)


_ROME = {
    "id": "competence_id,code_ogr,code ogr compétence,code ogr",
    "label": "competence,libelle_competence,libellé compétence,libelle_savoir,libelle_macro_competence,libelle",
}


def read_rome(path: Path) -> Download:
    """ROME's skills: a row for each job that asks for one, with the skill's number and French label."""
    reading = _Reading("rome")
    found: dict[str, Concept] = {}
    repeated = 0
    for row in reading.table(path, _ROME, ("label",)):
        number, label = row.text("id"), row.text("label")
        if not label or len(label) > LONGEST_LABEL:
            reading.skip(row, "label", "has no label, and was left out", "give the competence its label")
            continue
        key = number or retrieval.fold(label)
        if key in found:
            repeated += 1
            before = found[key]
            if label not in (before.label_fr, *before.aliases_fr):
                found[key] = replace(before, aliases_fr=(*before.aliases_fr, label))
            continue
        made = f"rome-{number or slug(label)}"
        found[key] = Concept(made, "", label, source="rome", licence=LICENCES["rome"])
    return reading.done(found.values(), repeated)


_ONET = {"label": "example,technology", "commodity": "commodity title,commodity", "hot": "hot technology,hot"}


def read_onet(path: Path) -> Download:
    """O*NET's technology skills; their commodities become broader concepts. Rows repeat a technology for each job."""
    reading = _Reading("onet")
    found: dict[str, Concept] = {}
    repeated = 0

    def add(label: str) -> Concept:
        spelled, short = _acronym(label)
        aliases = tuple(t for t in (spelled, short) if t)
        concept = Concept(label, label, "", aliases_en=aliases, source="onet", licence=LICENCES["onet"])
        return found.setdefault(retrieval.fold(label), concept)

    for row in reading.table(path, _ONET, ("label", "commodity")):
        label, commodity = row.text("label"), row.text("commodity")
        if not label:
            reading.skip(row, "label", "names no technology, and was left out", "correct the row")
            continue
        repeated += retrieval.fold(label) in found
        own = add(label)
        if commodity and retrieval.fold(commodity) != retrieval.fold(label):
            wider = add(commodity).id
            if wider not in own.broader:
                found[retrieval.fold(label)] = replace(own, broader=(*own.broader, wider))
    concepts = _with_ids("onet", found.values())
    ids = {before.id: after.id for before, after in zip(found.values(), concepts, strict=True)}
    return reading.done((replace(c, broader=tuple(ids[b] for b in c.broader)) for c in concepts), repeated)


def _acronym(label: str) -> tuple[str, str]:
    """("Structured query language", "SQL") of "Structured query language SQL"; empty where it is no such label."""
    words, _, short = label.rpartition(" ")
    if not re.fullmatch(r"[A-Z]{2,6}", short) or len(words.split()) < 2:
        return "", ""
    letters = iter(words.upper())
    initials = [w[0].upper() for w in words.split()]
    # Every letter in its order, most of them as initials: "Dynamics CRM" is no acronym of its words.
    if all(c in letters for c in short) and 2 * sum(c in initials for c in short) > len(short):
        return words, short
    return "", ""


def label_forms(label: str) -> list[str]:
    """A label, and what it is without what publishers add: "(computer programming)", or an acronym at its end."""
    forms = [label, _BRACKETS.sub("", label), _acronym(label)[0]]
    return list(dict.fromkeys(f for f in forms if f))
