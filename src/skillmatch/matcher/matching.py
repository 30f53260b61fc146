"""Composes the parts: fit on records, match needs, save to and load from a version's folder.

A version's folder holds arrays (.npy), texts (one blob with offsets), JSON and the fitted scikit-learn pipeline
(skops); answering opens the first three only.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import explain
from ..encoders import Encoder, Progress, open_encoder
from ..errors import DamagedModelError, FormatError, NoModelError, SkillmatchError, UsageError
from ..explain import Items
from ..needs import Understood, understand
from ..ranking import Ranker, SkillTable, near_matrix, score_pairs, trust_in_taxonomy
from ..records import Gap, Match, Need, Person, Profile, Project, Suggestion
from ..retrieval import Floats, Ints, ItemIndex, Postings, Sparse, load_array
from ..runtime import Workspace, find_workspace
from ..store import Store
from ..taxonomy import LEVEL_WORTH, ConceptModel, LevelModel, NeedBatch, Taxonomy, concept_rows
from ..taxonomy.lexicon import GlossedEncoder, Lexicon
from .asking import Columns, Options, allowed, as_project, holds_musts, with_musts
from .reading import UNSTATED_WORTH, as_entry, freshness, item_rows

#: In a version: the French words that its encoder reads by a lexicon, where it needs one.
LEXICON = "lexicon.json"
NOBODY = UsageError(
    "There is nobody to match: no profile, or none whose consent allows it.",
    "Add profiles to data/profiles.csv and run: skillmatch train",
)
#: A batch scores at least this many needs together.
_NEEDS_TOGETHER = 16


@dataclass(frozen=True)
class Scores:
    """Of one project, what people's answers to its needs are made of. ``people``: their indices, ascending."""

    people: Ints
    features: Floats  # (needs, people, len(FEATURES))
    best_item: Ints  # (needs, people)

    def only(self, chosen: Ints) -> Scores:
        """Those at these places alone, in the order of the people."""
        chosen = np.unique(chosen)
        return Scores(self.people[chosen], self.features.take(chosen, axis=1), self.best_item.take(chosen, axis=1))


@dataclass(frozen=True)
class _Standing:
    """How the people of some ``Scores`` stand: by place, not by index. ``raw``, ``need_scores``: (needs, people)."""

    raw: NDArray[np.float64]
    need_scores: NDArray[np.float64]
    total: NDArray[np.float64]
    score: NDArray[np.float64]
    cross: NDArray[np.bool_]
    fits: NDArray[np.bool_]
    chosen: Ints  # best first
    nearest: Ints  # to each need; empty where nobody may be asked
    abstained: bool


@dataclass(frozen=True)
class Matcher:
    """A trained model in memory. Build with ``Matcher.fit``, or open with ``skillmatch.load``."""

    version: str
    people: tuple[dict[str, Any], ...]
    items: Items
    index: ItemIndex
    concept_ids: NDArray[np.int32]  # (items, TOP_CONCEPTS)
    concept_p: Floats
    skills: SkillTable
    near: Sparse
    concepts: tuple[tuple[str, str, str, bool], ...]  # id, English label, French label, foreign to computing
    model: ConceptModel
    ranker: Ranker
    encoder: Encoder = field(repr=False)

    # --- building ---

    @classmethod
    def fit(
        cls,
        profiles: Sequence[Profile],
        taxonomy: Taxonomy,
        encoder: Encoder,
        model: ConceptModel,
        levels: LevelModel,
        ranker: Ranker | None = None,
        *,
        today: date | None = None,
        progress: Progress | None = None,
        earlier: Matcher | None = None,
        scratch: Path | None = None,
    ) -> Matcher:
        """Embed every claim and sentence of the profiles that may be shown, and index them.

        ``ranker``: the shipped one by default, trusting the taxonomy as far as it knows what these people speak of.
        ``today``: what dates of evidence are measured against; the latest date in the profiles by default, so that
        the same data gives the same model on any day. ``earlier``: a version whose reading of the same texts is taken
        over. ``scratch``: a folder whose disk holds the vectors until the matcher is saved; else memory does. Raises
        ``UsageError`` where no profile is left.
        """
        from ..taxonomy.reading import Earlier, read_texts

        shown = sorted((p for p in profiles if p.consent is not False), key=lambda p: p.id)
        if not shown:
            raise NOBODY
        rows, owner, level, when = item_rows(shown)
        texts = [r[0] for r in rows]
        before = None
        if earlier is not None:
            before = Earlier(earlier.items.texts(), earlier.model, earlier.concept_ids, earlier.concept_p)
        sentences = np.array([kind != "skill" for _, kind, _ in rows], dtype=bool)
        read = read_texts(texts, encoder, model, levels, progress, scratch, before, sentences)
        ids, p = read.concept_ids, read.concept_p
        worth = np.array(
            [
                LEVEL_WORTH[lv] if lv else (UNSTATED_WORTH if kind == "skill" else w)
                for (_, kind, _), lv, w in zip(rows, level, read.worth, strict=True)
            ],
            dtype=np.float32,
        )
        worth *= freshness(when, today or max((d for d in when if d), default=date(2000, 1, 1)))
        trust = trust_in_taxonomy(model, [t for t, kind, _ in rows if kind != "skill"])
        return cls(
            version="",
            people=tuple(as_entry(profile) for profile in shown),
            items=Items.build(rows, worth, level),
            index=ItemIndex.build(texts, read.vectors, owner, len(shown)),
            concept_ids=ids,
            concept_p=p,
            skills=SkillTable.build(owner, worth, ids, p, len(shown), len(taxonomy)),
            near=near_matrix(taxonomy),
            concepts=tuple((c.id, c.label_en, c.label_fr, c.families == ("other",)) for c in taxonomy.concepts),
            model=model,
            ranker=ranker or Ranker.shipped(trust),
            encoder=encoder,
        )

    # --- answering ---

    @property
    def labels(self) -> dict[str, tuple[str, str]]:
        """Concept id -> (English label, French label)."""
        return {i: (en, fr) for i, en, fr, _ in self.concepts}

    def understand(self, projects: Sequence[Project]) -> list[Understood]:
        """Projects with their needs, as ``match`` would read them."""
        return understand(
            projects, [c[0] for c in self.concepts], self.model, self.encoder, whole=self.ranker.trust < 0.5
        )

    def match(self, need: str | Project, options: Options | None = None) -> Suggestion:
        """The people who answer a need best. Raises ``UsageError`` for an empty text or an unknown filter value."""
        project = as_project(need)
        return next(self.match_many([project], options))

    def match_many(
        self, projects: Iterable[str | Project], options: Options | None = None, block: int = 64
    ) -> Iterator[Suggestion]:
        """One suggestion a project, in order, each the same as ``match`` would give."""
        chosen = options or Options()
        self._check(chosen)
        batch: list[Project] = []
        for project in projects:
            batch.append(self.asked(project, chosen))
            if len(batch) == block:
                yield from self.answers(self.understand(batch), chosen)
                batch = []
        if batch:
            yield from self.answers(self.understand(batch), chosen)

    @staticmethod
    def asked(need: str | Project, options: Options) -> Project:
        """A need as it is answered: what must be shown is one of its needs. Raises ``UsageError`` for an empty text."""
        return with_musts(as_project(need), options.must)

    def features(self, understood: Understood) -> tuple[Floats, Ints]:
        """((needs, people, len(FEATURES)), best item (needs, people)) of an understood project."""
        return self._score(understood.batch)

    def _score(self, needs: NeedBatch) -> tuple[Floats, Ints]:
        scored = score_pairs(
            needs,
            self.index,
            self.items.worth,
            self.skills,
            self.near,
            self.ranker.relevance,
            self.ranker.text,
            self.items.telling,
        )
        return scored.features, scored.best_item

    def answers(self, understood: Sequence[Understood], options: Options) -> Iterator[Suggestion]:
        """One suggestion a project that is understood, in order.

        Needs of several projects are scored together: the items then pass through memory once for all of them.
        """
        for group in grouped(understood):
            for one, scores in zip(group, self.scores(group), strict=True):
                yield self.answer(one, options, scores)

    def scores(self, group: Sequence[Understood]) -> Iterator[Scores]:
        """What the answers to each of these projects are made of, of everybody."""
        features, best = self._score(_joined([u.batch for u in group]))
        everybody, end = np.arange(len(self.people)), 0
        for one in group:
            begin, end = end, end + len(one.batch)
            yield Scores(everybody, features[begin:end], best[begin:end])

    def part(self, people: slice) -> Matcher:
        """These people alone, whose scores are the same as among all; ``people`` and items count from 0 there."""
        items = slice(*np.searchsorted(self.index.owner, [people.start, people.stop]).tolist())
        return replace(
            self,
            people=self.people[people],
            items=self.items.part(items),
            index=self.index.part(people, items),
            concept_ids=self.concept_ids[items],
            concept_p=self.concept_p[items],
            skills=SkillTable(self.skills.people.part(people), self.skills.items.part(items)),
        )

    def link(self, texts: Sequence[str], top: int = 10) -> list[list[tuple[str, float]]]:
        """(concept id, score in [0, 1]) of the concepts each text is about, best first."""
        vectors = self.encoder.encode(texts, "query")
        ids, p = concept_rows(self.model, texts, vectors)
        return [
            [(self.concepts[i][0], float(x)) for i, x in zip(row, q, strict=True)][:top]
            for row, q in zip(ids, p, strict=True)
        ]

    def bar(self, understood: Understood) -> float:
        """The probability below which nobody is suggested for this project."""
        return self.ranker.bar(self._foreign(understood), len(understood.project.needs))

    def need_bar(self, understood: Understood) -> float:
        """The probability below which nobody covers a single need of this project."""
        return self.ranker.bar(self._foreign(understood), 1)

    def _foreign(self, understood: Understood) -> float:
        """How far a project is about other trades than computing, 0 to 1: by the concepts of its needs, weighted."""
        other = np.array([c[3] for c in self.concepts], dtype=np.float32)
        batch = understood.batch
        weight = np.array([n.weight for n in understood.project.needs])
        foreign = (batch.concept_p * other[batch.concept_ids]).sum(axis=1)
        return float((foreign * weight).sum() / weight.sum())

    def answer(self, understood: Understood, options: Options, scores: Scores) -> Suggestion:
        """The suggestion that these people's scores make; of ``notable`` ones, the same as of everybody."""
        needs = understood.project.needs
        stand = self._standing(understood, options, scores)
        matches = tuple(
            self._match(rank, int(scores.people[i]), i, needs, scores, stand)
            for rank, i in enumerate(stand.chosen.tolist(), start=1)
        )
        gaps = self._gaps(needs, stand, scores.best_item, self._bars(understood, options)[1])
        return Suggestion(self.version, understood.project, matches, gaps, abstained=stand.abstained)

    def notable(self, understood: Understood, options: Options, scores: Scores) -> Scores:
        """The scores of those alone whom the answer needs: whom it shows, and who comes nearest to each need."""
        stand = self._standing(understood, options, scores)
        return scores.only(np.concatenate([stand.chosen, stand.nearest]))

    def _bars(self, understood: Understood, options: Options) -> tuple[float, float]:
        """For the project, and for a single need."""
        asked = options.min_score
        return (self.bar(understood), self.need_bar(understood)) if asked is None else (asked, asked)

    def _standing(self, understood: Understood, options: Options, scores: Scores) -> _Standing:
        project = understood.project
        needs = project.needs
        raw = self.ranker.raw(scores.features)
        weight = np.array([n.weight for n in needs], dtype=np.float64)
        total = (raw * (weight / weight.sum())[:, None]).sum(axis=0)
        need_scores = self.ranker.probability(raw, 1)
        score = self.ranker.probability(total, len(needs))
        who = self._who.only(scores.people)
        lab = options.from_lab or project.lab
        cross = who.lab != lab if lab else np.zeros(len(who.ids), dtype=bool)
        fits = (score >= self._bars(understood, options)[0]) & holds_musts(needs, need_scores)

        def ranked(people: Ints, most: int | None = None) -> Ints:
            if most and most < len(people):  # a full sort of everybody costs more than scoring them
                people = people[total[people] >= np.partition(total[people], -most)[-most]]
            # People stand in the order of their ids: of equals, whoever comes first has the smaller one.
            keys = (-total[people], ~cross[people]) if options.from_lab else (-total[people],)
            return people[np.lexsort(keys)]

        among = np.flatnonzero(allowed(who, project, options, need_scores))
        chosen = ranked(among if options.top is None else among[fits[among]], options.top)[: options.top]
        # Of those who come as near to a need as anybody, the one who ranks first.
        nearest = [int(ranked(among[r == r.max()])[0]) for r in raw[:, among]] if len(among) else []
        return _Standing(
            raw,
            need_scores,
            total,
            score,
            cross,
            fits,
            chosen,
            np.array(nearest, dtype=np.int64),
            not fits[among].any(),
        )

    def _match(
        self, rank: int, person: int, place: int, needs: Sequence[Need], scores: Scores, stand: _Standing
    ) -> Match:
        meta = self.people[person]
        need_scores = stand.need_scores[:, place]
        # Whoever is suggested is suggested with a proof: that of the need they come nearest to, if of no other.
        bar = min(explain.PROOF_BAR, float(need_scores.max())) if stand.fits[place] else explain.PROOF_BAR
        reasons = tuple(
            explain.reason(
                need,
                self.ranker,
                scores.features[k, place],
                float(stand.raw[k, place]),
                float(need_scores[k]),
                self.items.proof(int(scores.best_item[k, place])),
                bar,
            )
            for k, need in enumerate(needs)
        )
        who = Person(meta["id"], meta["name"], meta["lab"], meta["family"])
        score, total, cross = float(stand.score[place]), float(stand.total[place]), bool(stand.cross[place])
        return Match(rank, who, score, total, cross, reasons, bool(meta["thin"]))

    def _gaps(self, needs: Sequence[Need], stand: _Standing, best: Ints, bar: float) -> tuple[Gap, ...]:
        nearest = stand.nearest.tolist()
        if not nearest:
            return explain.gaps(needs, [0.0] * len(needs), [None] * len(needs), bar)
        closest = [self.items.proof(int(best[k, i])) for k, i in enumerate(nearest)]
        return explain.gaps(needs, [float(stand.need_scores[k, i]) for k, i in enumerate(nearest)], closest, bar)

    @cached_property
    def _who(self) -> Columns:
        return Columns.of(self.people)

    def _check(self, options: Options) -> None:
        known = {
            "lab": {p["lab"] for p in self.people if p["lab"]},
            "family": {"online", "offline", "asr", "other"},
        }
        asked = {"lab": [*options.lab, *([options.from_lab] if options.from_lab else [])], "family": options.family}
        for kind, values in asked.items():
            for value in values:
                if value not in known[kind]:
                    raise UsageError(
                        f"There is no {kind} '{value}' in the profiles.", f"Known: {', '.join(sorted(known[kind]))}."
                    )

    def person(self, profile_id: str) -> int:
        """A person's index. Raises ``UsageError`` with the nearest ids where it is unknown."""
        ids = [p["id"] for p in self.people]
        if profile_id in ids:
            return ids.index(profile_id)
        from rapidfuzz.process import extract

        near = ", ".join(m[0] for m in extract(profile_id, ids, limit=3))
        raise UsageError(f"There is no profile '{profile_id}' in this version.", f"Nearest: {near}.")

    # --- on disk ---

    def save(self, folder: Path) -> None:
        """Write everything an answer needs to ``folder``, which exists."""
        arrays: dict[str, Any] = {
            "items_blob": self.items.blob,
            "items_offsets": self.items.offsets,
            "items_worth": self.items.worth,
            "items_level": self.items.level,
            "items_telling": self.items.telling,
            "items_owner": self.index.owner,
            "items_vectors": self.index.vectors,
            "items_concept_ids": self.concept_ids,
            "items_concept_p": self.concept_p,
            "near_indptr": self.near.indptr,
            "near_indices": self.near.indices,
            "near_values": self.near.values,
        }
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)
        self.index.words.save(folder, "words")
        self.skills.save(folder)
        self.model.save(folder)
        _write_json(folder / "people.json", list(self.people))
        _write_json(folder / "concepts.json", [list(c) for c in self.concepts])
        _write_json(folder / "ranker.json", self.ranker.as_dict())
        if isinstance(self.encoder, GlossedEncoder):
            self.encoder.lexicon.save(folder / LEXICON)

    @classmethod
    def load(cls, folder: Path, version: str, encoder: Encoder) -> Matcher:
        """Open a version's folder; arrays are memory-mapped. The caller has verified the folder's digests."""
        get = {
            name: load_array(folder / f"{name}.npy")
            for name in (
                "items_blob",
                "items_offsets",
                "items_worth",
                "items_level",
                "items_telling",
                "items_owner",
                "items_vectors",
                "items_concept_ids",
                "items_concept_p",
                "near_indptr",
                "near_indices",
                "near_values",
            )
        }
        if (folder / LEXICON).is_file():
            encoder = GlossedEncoder(encoder, Lexicon.load(folder / LEXICON))
        people = tuple(_read_json(folder / "people.json"))
        concepts = tuple((i, en, fr, other) for i, en, fr, other in _read_json(folder / "concepts.json"))
        n_items = len(get["items_owner"])
        return cls(
            version=version,
            people=people,
            items=Items(*(get[f"items_{n}"] for n in ("blob", "offsets", "worth", "level", "telling"))),
            index=ItemIndex(
                get["items_vectors"],
                get["items_owner"],
                Postings.load(folder, "words", n_items),
                len(people),
            ),
            concept_ids=get["items_concept_ids"],
            concept_p=get["items_concept_p"],
            skills=SkillTable.load(folder, len(people), n_items),
            near=Sparse(get["near_indptr"], get["near_indices"], get["near_values"]),
            concepts=concepts,
            model=ConceptModel.load(folder, len(concepts)),
            ranker=Ranker.from_dict(_read_json(folder / "ranker.json")),
            encoder=encoder,
        )


def load(
    workspace: str | Path | Workspace | None = None, version: str | None = None, threads: int | None = None
) -> Matcher:
    """The current (or the named) version of a workspace, verified file by file before it is opened.

    ``threads``: of the encoder; every core by default. Raises ``NoModelError`` where nothing was trained yet,
    ``DamagedModelError`` where a file was altered, ``FormatError`` where it was made by another skillmatch.
    """
    where = workspace if isinstance(workspace, Workspace) else find_workspace(workspace)
    store = Store(where.models)
    while True:
        chosen = version or store.current()
        if chosen is None:
            raise NoModelError("Nothing is trained yet in this workspace.", "Run: skillmatch train")
        try:
            manifest = store.verify(chosen)
            encoder = open_encoder(str(manifest["encoder"]), where.models / "encoders", threads)
            return _opened(store.folder(chosen), chosen, encoder)
        except (SkillmatchError, OSError):
            # It may have been replaced and pruned while it was read: then the one of now answers.
            if version is not None or store.current() == chosen:
                raise


def _opened(folder: Path, version: str, encoder: Encoder) -> Matcher:
    """A verified version. Raises ``FormatError`` where it is whole, but not what this skillmatch reads."""
    try:
        return Matcher.load(folder, version, encoder)
    except (DamagedModelError, KeyError, IndexError, TypeError, ValueError) as error:
        if not folder.is_dir():  # pruned meanwhile
            raise
        raise FormatError(
            f"Version {version} is whole, but was made by another skillmatch, which kept other things.",
            "Build one with this skillmatch: skillmatch train",
        ) from error


def grouped(understood: Sequence[Understood]) -> Iterator[list[Understood]]:
    """Projects in order, in groups whose needs are scored together."""
    group: list[Understood] = []
    for one in understood:
        group.append(one)
        if sum(len(u.batch) for u in group) >= _NEEDS_TOGETHER:
            yield group
            group = []
    if group:
        yield group


def _joined(batches: Sequence[NeedBatch]) -> NeedBatch:
    if len(batches) == 1:
        return batches[0]
    arrays = (np.concatenate([getattr(b, n) for b in batches]) for n in ("vectors", "concept_ids", "concept_p"))
    return NeedBatch(tuple(t for b in batches for t in b.texts), *arrays)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, sort_keys=True), "utf-8")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedModelError(f"{path} can't be read ({error}).", "Run: skillmatch train") from error
