"""Concepts, their relations and their file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from .. import retrieval
from ..errors import DataError, Problem

#: How much of a concept a neighbour stands for, when one asks for it and the other is held.
BROADER_SHARE, RELATED_SHARE = 0.5, 0.15


@dataclass(frozen=True, slots=True)
class Concept:
    """One skill. Texts in ``practice`` are (level, French, English), in ``requests`` (French, English)."""

    id: str
    label_en: str
    label_fr: str
    aliases_en: tuple[str, ...] = ()
    aliases_fr: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    broader: tuple[str, ...] = ()
    related: tuple[str, ...] = ()
    definition_en: str = ""
    definition_fr: str = ""
    practice: tuple[tuple[int, str, str], ...] = ()
    requests: tuple[tuple[str, str], ...] = ()
    uri: str = ""
    source: str = "skillmatch"
    licence: str = "MIT"

    def label(self, lang: str) -> str:
        """The label in ``lang``, else in the other language."""
        first, second = (self.label_fr, self.label_en) if lang == "fr" else (self.label_en, self.label_fr)
        return first or second or self.id

    def wordings(self) -> list[str]:
        """Labels, aliases and names: the short texts that stand for the concept."""
        every = [self.label_en, self.label_fr, *self.aliases_en, *self.aliases_fr, *self.names]
        return list(dict.fromkeys(t for t in every if t))


def concept_from_dict(entry: Mapping[str, Any], source: str = "skillmatch", licence: str = "MIT") -> Concept:
    """A concept from an entry of a taxonomy file. Raises ``KeyError`` or ``ValueError`` where it is malformed."""

    def texts(key: str) -> tuple[str, ...]:
        value = entry.get(key) or ()
        if isinstance(value, str):
            value = value.split(";")
        return tuple(str(v).strip() for v in value if str(v).strip())

    practice = tuple(
        (int(p["level"]), str(p.get("fr", "")).strip(), str(p.get("en", "")).strip())
        for p in entry.get("practice") or ()
    )
    if any(not 1 <= level <= 5 for level, _, _ in practice):
        raise ValueError("a practice level is not between 1 and 5")
    return Concept(
        id=str(entry["id"]),
        label_en=str(entry.get("en") or "").strip(),
        label_fr=str(entry.get("fr") or "").strip(),
        aliases_en=texts("aliases_en"),
        aliases_fr=texts("aliases_fr"),
        names=texts("names"),
        families=texts("families"),
        broader=texts("broader"),
        related=texts("related"),
        definition_en=str(entry.get("definition_en") or "").strip(),
        definition_fr=str(entry.get("definition_fr") or "").strip(),
        practice=practice,
        requests=tuple(
            (str(r.get("fr", "")).strip(), str(r.get("en", "")).strip()) for r in entry.get("requests") or ()
        ),
        uri=str(entry.get("uri") or ""),
        source=str(entry.get("source") or source),
        licence=str(entry.get("licence") or licence),
    )


class Taxonomy:
    """Concepts in a fixed order, by id; later ones may add to earlier ones (same id) but never remove."""

    def __init__(self, concepts: Iterable[Concept]) -> None:
        merged: dict[str, Concept] = {}
        for concept in concepts:
            known = merged.get(concept.id)
            merged[concept.id] = _merge(known, concept) if known else concept
        self.concepts: tuple[Concept, ...] = tuple(merged[k] for k in sorted(merged))
        self.index: dict[str, int] = {c.id: i for i, c in enumerate(self.concepts)}

    def __len__(self) -> int:
        return len(self.concepts)

    def __getitem__(self, concept_id: str) -> Concept:
        return self.concepts[self.index[concept_id]]

    def __contains__(self, concept_id: object) -> bool:
        return concept_id in self.index

    @classmethod
    @lru_cache(maxsize=1)
    def shipped(cls) -> Taxonomy:
        """The taxonomy of laboratory computing that comes with skillmatch."""
        text = resources.files("skillmatch").joinpath("data/taxonomy.yaml").read_text("utf-8")
        return cls(concept_from_dict(entry) for entry in _yaml(text))

    def dangling(self) -> list[tuple[str, str]]:
        """(concept, unknown id) of every relation that leads nowhere."""
        return [(c.id, other) for c in self.concepts for other in (*c.broader, *c.related) if other not in self.index]

    def neighbours(self) -> list[list[tuple[int, float]]]:
        """For each concept the concepts that stand for a share of it: (index, share), itself not among them.

        Who holds a narrower concept (CUDA) also holds half of the broader one (GPU computing) and the other way
        round, a quarter over two steps, a little over "related".
        """
        out: list[dict[int, float]] = [{} for _ in self.concepts]

        def link(a: int, b: int, share: float) -> None:
            if a != b:
                out[a][b] = max(out[a].get(b, 0.0), share)
                out[b][a] = max(out[b].get(a, 0.0), share)

        for i, concept in enumerate(self.concepts):
            for other in concept.broader:
                j = self.index.get(other)
                if j is not None:
                    link(i, j, BROADER_SHARE)
                    for grand in self.concepts[j].broader:
                        k = self.index.get(grand)
                        if k is not None:
                            link(i, k, BROADER_SHARE**2)
            for other in concept.related:
                j = self.index.get(other)
                if j is not None:
                    link(i, j, RELATED_SHARE)
        return [sorted(d.items()) for d in out]


def _merge(a: Concept, b: Concept) -> Concept:
    def union(x: tuple[Any, ...], y: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(dict.fromkeys((*x, *y)))

    lists = ("aliases_en", "aliases_fr", "names", "families", "broader", "related", "practice", "requests")
    changes: dict[str, Any] = {f: union(getattr(a, f), getattr(b, f)) for f in lists}
    for f in ("definition_en", "definition_fr", "uri", "label_en", "label_fr"):
        changes[f] = getattr(a, f) or getattr(b, f)
    for f, lang in (("label_en", "aliases_en"), ("label_fr", "aliases_fr")):
        if getattr(b, f) and getattr(b, f) != changes[f]:
            changes[lang] = union(changes[lang], (getattr(b, f),))
    return replace(a, **changes)


def twins(concepts: Iterable[Concept]) -> list[tuple[str, str]]:
    """(French text, English text that says the same): labels, aliases to the label, definitions, example sentences."""
    out: list[tuple[str, str]] = []
    for c in concepts:
        if c.label_en:
            out += [(text, c.label_en) for text in (c.label_fr, *c.aliases_fr)]
        out.append((c.definition_fr, c.definition_en))
        out += [(french, english) for _, french, english in c.practice] + list(c.requests)
    return [(f, e) for f, e in dict.fromkeys(out) if f and e and f != e]


def _yaml(text: str) -> Any:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(text, Loader=loader)


def read_additions(path: Path, rows: Iterable[tuple[int, Mapping[str, str]]]) -> list[Concept]:
    """The lab's own concepts from the rows (number, cells) of ``data/skills.csv``; all problems at once.

    Columns: ``id``, ``en``, ``fr`` (one of the three is enough), ``aliases_en``, ``aliases_fr``, ``names``,
    ``broader``, ``related``, ``examples_en``, ``examples_fr`` (lists separated by ``;``).
    """
    out: list[Concept] = []
    problems: list[Problem] = []
    for number, row in rows:
        cells = {k: (v or "").strip() for k, v in row.items()}
        label = cells.get("id") or cells.get("en") or cells.get("fr") or ""
        concept_id = "-".join(retrieval.tokens(label)).replace("'", "-")
        if not concept_id:
            problems.append(
                Problem(path.name, "has no id and no label", "give the concept an English or French label", number)
            )
            continue
        entry: dict[str, Any] = {**cells, "id": concept_id}
        french, english = (
            [t.strip() for t in cells.get(f"examples_{lang}", "").split(";") if t.strip()] for lang in ("fr", "en")
        )
        entry["practice"] = [{"level": 3, "fr": t} for t in french] + [{"level": 3, "en": t} for t in english]
        out.append(concept_from_dict(entry, source="lab", licence=""))
    if problems:
        raise DataError(f"{path.name} has {len(problems)} problem(s).", "Mend the rows and try again.", problems)
    return out
