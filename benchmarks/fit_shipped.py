"""Fit the parameters that come with skillmatch: ``python -m benchmarks.fit_shipped [--out FILE]``.

Nothing but the shipped taxonomy and the sample lab is used. The taxonomy's sentences are split in three; for each
third a classifier is learned from the other two, and made-up labs are drawn from the third: people who hold a few
skills at known levels (claims and sentences in French, English or both, some sentences about other trades), needs for
one skill or several, needs that nobody fits. So the ranker sees the classifier as it is on sentences it never saw.
Three stages: the relevance of single items, the ranker over features of (need, person) pairs, the calibration and the
bars below which nobody is suggested. The sample lab's judgements join in for the calibration alone.
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from skillmatch import metrics
from skillmatch import ranking as rk
from skillmatch.encoders import CachedEncoder, Encoder, resolve_encoder
from skillmatch.matcher import Matcher
from skillmatch.records import Need
from skillmatch.retrieval import ItemIndex
from skillmatch.runtime import Workspace
from skillmatch.sources import read_workspace, split_sentences
from skillmatch.taxonomy import (
    LEVEL_WORTH,
    Concept,
    NeedBatch,
    Taxonomy,
    concept_rows,
    examples,
    fit_concepts,
    fit_levels,
)
from skillmatch.taxonomy.lexicon import GlossedEncoder, Lexicon, plain, twin_texts
from skillmatch.training import workspace_taxonomy

FOLDS, LABS_PER_FOLD, PEOPLE = 3, 3, 55
SKILLS_PER_LAB = (30, 10)  # of the concepts with many sentences, and of the others
#: Share of true needs that the bar may refuse.
REFUSED = 0.01
#: Share of needs about other trades that the higher bar may let through.
MISSED = 0.05


@dataclass
class Lab:
    """A made-up lab: per person (text, level claimed or 0, is a claim), per need (fr, en, skills, kind), grades."""

    people: list[list[tuple[str, int, bool]]]
    needs: list[tuple[str, str, dict[str, int], str]]
    grades: np.ndarray


def home_skill(taxonomy: Taxonomy) -> dict[str, str]:
    """Each concept's nearest ancestor with many sentences: what people would call its skill; itself where none is."""
    core = {c.id for c in taxonomy.concepts if len(c.practice) >= 12}
    out = {}
    for concept in taxonomy.concepts:
        frontier, found = [concept.id], None
        for _ in range(5):
            found = found or next((x for x in frontier if x in core), None)
            frontier = [y for x in frontier if x in taxonomy for y in taxonomy[x].broader]
        out[concept.id] = found or concept.id
    return out


def assign_folds(taxonomy: Taxonomy, seed: int) -> dict[tuple[str, str], int]:
    """(concept, French text) -> fold, twins together, practice and requests spread evenly."""
    rng = random.Random(seed)
    out = {}
    for concept in taxonomy.concepts:
        for pairs in ([(f, e) for _, f, e in concept.practice], list(concept.requests)):
            rng.shuffle(pairs)
            for n, (french, english) in enumerate(pairs):
                out[concept.id, french] = out[concept.id, english] = n % FOLDS
    return out


def make_lab(taxonomy: Taxonomy, folds: dict[tuple[str, str], int], fold: int, seed: int) -> Lab:
    rng = random.Random(seed)
    homes = home_skill(taxonomy)
    trades = [c for c in taxonomy.concepts if c.families == ("other",)]
    members: dict[str, list[Concept]] = {}
    for c in taxonomy.concepts:
        if c not in trades:
            members.setdefault(homes[c.id], []).append(c)
    big = [k for k in sorted(members) if len(taxonomy[k].practice) >= 12]
    small = [k for k in sorted(members) if k not in big]
    rng.shuffle(big)
    rng.shuffle(small)
    skills = big[: SKILLS_PER_LAB[0]] + small[: SKILLS_PER_LAB[1]]
    pool: dict[tuple[str, int], list[tuple[str, str]]] = {}
    for k in skills:
        for c in members[k]:
            for level, french, english in c.practice:
                if folds[c.id, french] == fold:
                    pool.setdefault((k, level), []).extend([("fr", french), ("en", english)])
    for texts in pool.values():
        rng.shuffle(texts)
    others = [t for c in trades for _, f, e in c.practice for t in (f, e) if folds[c.id, t] == fold]
    rng.shuffle(others)

    def take(skill: str, level: int, lang: str) -> tuple[int, str] | None:
        for near in sorted(range(1, 6), key=lambda x: abs(x - level)):
            for i, (language, text) in enumerate(pool.get((skill, near), [])):
                if lang in ("mixed", language):
                    pool[skill, near].pop(i)
                    return near, text
        return None

    order = skills * 3
    rng.shuffle(order)
    people, held = [], []
    for n in range(PEOPLE):
        items, levels = _person(rng, taxonomy, members, skills, order[n % len(order)], take)
        if others and rng.random() < 0.5:
            items.append((others.pop(), 0, False))
        rng.shuffle(items)
        people.append(items)
        held.append(levels)
    needs = _needs(rng, members, skills, trades, folds, fold)
    grades = np.array([[_grade(levels, wanted) for levels in held] for _, _, wanted, _ in needs])
    return Lab(people, needs, grades)


def _person(rng, taxonomy, members, skills, main, take):  # type: ignore[no-untyped-def]
    lang = rng.choices(["fr", "en", "mixed"], [60, 25, 15])[0]
    family = taxonomy[main].families[0]
    same = [k for k in skills if taxonomy[k].families[0] == family and k != main]
    first = [main, *rng.sample(same, k=min(len(same), rng.choice([1, 2])))]
    rest = [k for k in skills if k not in first]
    second = rng.sample(rest, k=rng.choice([2, 3]))
    light = rng.sample([k for k in rest if k not in second], k=rng.choice([1, 2]))
    items: list[tuple[str, int, bool]] = []
    levels: dict[str, int] = {}
    for group, choice in ((first, (4, 5)), (second, (2, 3)), (light, (1, 1))):
        for k in group:
            level = rng.choice(choice)
            got = take(k, level, lang)
            if rng.random() < 0.4 or got is None:
                concept = taxonomy[k] if rng.random() < 0.6 else rng.choice(members[k])
                items.append((_claim(rng, concept, lang), level, True))
                levels[k] = max(levels.get(k, 0), level)
                if got and rng.random() < 0.4:
                    got = None
            if got:
                items.append((got[1], 0, False))
                levels[k] = max(levels.get(k, 0), got[0])
    return items, levels


def _claim(rng: random.Random, concept: Concept, lang: str) -> str:
    draw = rng.random()
    if draw < 0.25 and concept.names:
        return rng.choice(concept.names)
    aliases = concept.aliases_en if lang == "en" else concept.aliases_fr
    return rng.choice(aliases) if draw < 0.35 and aliases else concept.label(lang)


def _needs(rng, members, skills, trades, folds, fold):  # type: ignore[no-untyped-def]
    asks = {k: [(f, e) for c in members[k] for f, e in c.requests if folds[c.id, f] == fold] for k in skills}
    out: list[tuple[str, str, dict[str, int], str]] = []
    for k in skills:
        out += [(f, e, {k: 1}, "single") for f, e in rng.sample(asks[k], min(4, len(asks[k])))]
    asked = [k for k in skills if asks[k]]
    for _ in range(40):
        chosen = rng.sample(asked, rng.randint(2, 5))
        texts = [rng.choice(asks[k]) for k in chosen]
        out.append(
            ("\n".join(f for f, _ in texts), "\n".join(e for _, e in texts), dict.fromkeys(chosen, 1), "several")
        )
    for c in rng.sample(trades, min(40, len(trades))):
        ask = [(f, e) for f, e in c.requests if folds[c.id, f] == fold]
        if ask:
            out.append((*rng.choice(ask), {}, "nobody"))
        if len(ask) > 1:
            two = rng.sample(ask, 2)
            out.append(("\n".join(f for f, _ in two), "\n".join(e for _, e in two), {}, "nobody several"))
    return out


def _grade(levels: dict[str, int], wanted: dict[str, int]) -> int:
    """One skill: its level; several: the mean level over five."""
    if not wanted:
        return 0
    if len(wanted) == 1:
        level = levels.get(next(iter(wanted)), 0)
        return 3 if level >= 4 else max(level - 1, 0)
    mean = sum(levels.get(k, 0) for k in wanted) / (5 * len(wanted))
    return 3 if mean >= 0.45 else 2 if mean >= 0.30 else 1 if mean >= 0.15 else 0


@dataclass
class Rows:
    """Everything that fitting needs of one lab in one language."""

    relevance: list[tuple[np.ndarray, np.ndarray]]  # per single need: item features, same skill
    unaided: list[np.ndarray]  # the same features, by the encoder without its lexicon
    score: object  # relevance weights -> list of (needs, people, features) a project
    grades: np.ndarray
    kinds: list[str]
    english: bool


def lab_rows(taxonomy, lab, model, levels, encoder, homes, owner_of, near):  # type: ignore[no-untyped-def]
    rows = [(text, level, claim) for items in lab.people for text, level, claim in items]
    owner = np.repeat(np.arange(len(lab.people)), [len(i) for i in lab.people])
    texts = [r[0] for r in rows]
    vectors = encoder.encode(texts)
    worth = levels.worth(texts, vectors)
    worth = np.array([LEVEL_WORTH[lv] if lv else w for (_, lv, _), w in zip(rows, worth, strict=True)], np.float32)
    index = ItemIndex.build(texts, vectors, owner, len(lab.people))
    ids, p = concept_rows(model, texts, vectors)
    skills = rk.SkillTable.build(owner, worth, ids, p, len(lab.people), len(taxonomy))
    item_skills = [owner_of.get(t, set()) for t in texts]
    for english in (False, True):
        parts = [(need[1] if english else need[0]).split("\n") for need in lab.needs]
        flat = [t for part in parts for t in part]
        need_vectors = encoder.encode(flat, "query")
        batch = NeedBatch(tuple(flat), need_vectors, *concept_rows(model, flat, need_vectors))
        starts = np.cumsum([0] + [len(part) for part in parts])

        def score(relevance, batch=batch, starts=starts):  # type: ignore[no-untyped-def]
            f = rk.score_pairs(batch, index, worth, skills, near, *relevance).features
            return [f[a:b].mean(axis=0) for a, b in pairwise(starts)]

        single = [i for i, need in enumerate(lab.needs) if need[3] == "single"]
        chosen = NeedBatch(
            tuple(batch.texts[starts[i]] for i in single),
            batch.vectors[starts[single]],
            batch.concept_ids[starts[single]],
            batch.concept_p[starts[single]],
        )
        features = rk.relevance_features(chosen, index, ids, p, len(taxonomy))
        own = plain(encoder)
        bare = replace(index, vectors=own.encode(texts))
        asked = replace(chosen, vectors=own.encode(chosen.texts, "query"))
        unaided = rk.relevance_features(asked, bare, ids, p, len(taxonomy))
        same = [np.array([next(iter(lab.needs[i][2])) in s for s in item_skills]) for i in single]
        known = list(zip(features, same, strict=True))
        yield Rows(known, list(unaided), score, lab.grades, [n[3] for n in lab.needs], english)


def worlds(taxonomy: Taxonomy, encoder: Encoder) -> list[Rows]:
    """Every made-up lab, in both languages."""
    folds, homes, near = assign_folds(taxonomy, 0), home_skill(taxonomy), rk.near_matrix(taxonomy)
    data = examples(taxonomy)
    fold_of = np.array(
        [folds.get((taxonomy.concepts[i].id, t), -1) for t, i in zip(data.text, data.label, strict=True)]
    )
    owner_of: dict[str, set[str]] = {}
    for c in taxonomy.concepts:
        for t in [*c.wordings(), *(t for _, f, e in c.practice for t in (f, e))]:
            owner_of.setdefault(t, set()).add(homes[c.id])
    out: list[Rows] = []
    for fold in range(FOLDS):
        # What reads French has not seen these sentences either.
        said = [p for c in taxonomy.concepts for p in twin_texts([c]) if folds.get((c.id, p[0])) != fold]
        reading = GlossedEncoder(encoder, Lexicon.learn(said))
        model = fit_concepts(taxonomy, reading, keep=fold_of != fold)
        levels = fit_levels(taxonomy, reading, keep=fold_of != fold)
        for n in range(LABS_PER_FOLD):
            lab = make_lab(taxonomy, folds, fold, 100 * fold + n)
            out += lab_rows(taxonomy, lab, model, levels, reading, homes, owner_of, near)
        print(f"fold {fold + 1} of {FOLDS}", flush=True)
    return out


def fit(rows: list[Rows], encoder: Encoder, home: Path) -> dict[str, rk.Ranker]:
    """The two shipped rankers: ``skills`` over what the taxonomy knows, ``text`` over what needs none.

    Text features beside the skills bring nothing (``python -m benchmarks.lab --ablate``), so each ranker has its own;
    words and vectors reach the first through the relevance of single items all the same.
    """
    rng = np.random.default_rng(0)
    x, y, x_en, y_en = [], [], [], []
    for r in rows:
        for (features, same), unaided in zip(r.relevance, r.unaided, strict=True):
            wrong = rng.choice(np.flatnonzero(~same), 60, replace=False)
            keep = np.hstack([np.flatnonzero(same), wrong])
            x.append(features[keep])
            y.append(same[keep])
            if r.english:
                x_en.append(unaided[keep])
                y_en.append(y[-1])
    relevance = rk.fit_relevance(np.vstack(x), np.hstack(y))
    # Where the taxonomy knows nothing its lexicon doesn't either; sentence vectors lead, which are English by default.
    text = rk.fit_relevance(np.vstack(x_en)[:, 1:], np.hstack(y_en))[:-1]
    text /= text.sum()
    print("relevance", relevance, "text", text)
    pairs = [
        (f, r.grades[q], r.kinds[q], r.english)
        for r in rows
        for q, f in enumerate(r.score((relevance, text)))  # type: ignore[operator]
    ]
    out: dict[str, rk.Ranker] = {}
    chosen_pairs = {}
    for name, used, english_only in (("skills", rk.SKILL_FEATURES, False), ("text", rk.TEXT_FEATURES, True)):
        # Where the taxonomy is of no help, sentence vectors lead, and the default encoder's are English.
        # Needs that nobody fits teach how concepts fail to meet, which text alone can't.
        chosen = [p for p in pairs if not english_only or (p[3] and "nobody" not in p[2])]
        out[name] = _fit_one(chosen, used, relevance, text)
        chosen_pairs[name] = chosen
    scale = out["skills"]
    plain = out["text"]
    # Onto the same scale of features, so that the two can be mixed.
    coef = plain.coef / plain.scale * scale.scale
    shift = float((plain.coef / plain.scale * (scale.mean - plain.mean)).sum())
    out["text"] = replace(plain, mean=scale.mean, scale=scale.scale, coef=coef, baseline=plain.baseline + shift)
    sample = sample_lab(out["skills"], encoder, home)
    return {n: set_bars(calibrate(r, chosen_pairs[n], sample), chosen_pairs[n]) for n, r in out.items()}


def _fit_one(pairs, used, relevance, text):  # type: ignore[no-untyped-def]
    columns = [rk.FEATURES.index(f) for f in used]
    taught = [p for p in pairs if p[2] in ("single", "nobody")]
    x = np.vstack([p[0][:, columns] for p in taught])
    pipeline = rk.fit_ranker(x, np.hstack([p[1] for p in taught]).astype(float))
    scaler, model = pipeline[0], pipeline[-1]
    mean, scale, coef = (np.zeros(len(rk.FEATURES), np.float32) for _ in range(3))
    scale += 1
    mean[columns], scale[columns], coef[columns] = scaler.mean_, scaler.scale_, model.coef_[0]
    fitted = rk.Ranker(
        relevance, text, mean, scale, coef, float(model.intercept_[0]), (1.0, 0.0), (1.0, 0.0), (0.0, 0.0, 0.0, 0.0)
    )
    print(dict(zip(used, (float(c) for c in coef[columns].round(3)), strict=True)))
    for kind in ("single", "several"):
        scores = [metrics.ndcg_at_k(fitted.raw(p[0]), p[1], 5) for p in pairs if p[2] == kind and p[1].max() > 0]
        print(f"  {kind}: nDCG@5 on the made-up labs {np.mean(scores):.3f} over {len(scores)} needs")
    return fitted


def calibrate(ranker: rk.Ranker, pairs, sample) -> rk.Ranker:  # type: ignore[no-untyped-def]
    """Platt scaling, for single needs and for projects of several apart, over made-up labs and the sample lab.

    Both sources weigh the same: made-up labs are harder than real ones (their classifier saw fewer sentences), the
    sample lab is small and by one author.
    """
    out = {}
    for name, kinds in (("single", ("single", "nobody")), ("several", ("several", "nobody several"))):
        chosen = [p for p in pairs if p[2] in kinds]
        made = np.hstack([ranker.raw(p[0]) for p in chosen]), np.hstack([p[1] for p in chosen])
        own = [np.hstack(v) for v in zip(*((ranker.raw(x), g) for x, g in sample[name]), strict=True)]
        weight = np.hstack([np.full(len(made[0]), 1 / len(made[0])), np.full(len(own[0]), 1 / len(own[0]))])
        raw, grades = np.hstack([made[0], own[0]]), np.hstack([made[1], own[1]])
        out[name] = rk.platt(raw, grades, weight * len(raw) / 2)
    print("calibration", out)
    return replace(ranker, **out)


def sample_lab(ranker: rk.Ranker, encoder: Encoder, home: Path):  # type: ignore[no-untyped-def]
    """(features, grades) of the sample lab's projects, per calibration; people without a judgement are no match."""
    data = read_workspace(Workspace(home)).require()
    taxonomy = workspace_taxonomy(Workspace(home), data)
    encoder = GlossedEncoder(encoder, Lexicon.of(taxonomy))
    model, levels = fit_concepts(taxonomy, encoder), fit_levels(taxonomy, encoder)
    matcher = Matcher.fit(data.profiles, taxonomy, encoder, model, levels, ranker)
    shown = {p["id"]: i for i, p in enumerate(matcher.people)}
    whole = [replace(p, needs=(Need("n1", f"{p.title}. {p.description}"),)) for p in data.projects if not p.needs]
    out: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"single": [], "several": []}
    for understood in matcher.understand([*data.projects, *whole]):
        one = len(understood.project.needs) == 1
        if one and len(split_sentences(understood.project.description)) > 2:
            continue  # a paragraph asks for more than one thing, even taken whole
        features, _ = matcher.features(understood)
        weight = np.array([n.weight for n in understood.project.needs])
        grades = np.zeros(len(matcher.people))
        for j in data.judgements:
            if j.project_id == understood.project.id and j.profile_id in shown:
                grades[shown[j.profile_id]] = j.grade
        mean = np.einsum("n,npf->pf", weight / weight.sum(), features)
        out["single" if one else "several"].append((mean, grades))
    return out


def set_bars(ranker: rk.Ranker, pairs) -> rk.Ranker:  # type: ignore[no-untyped-def]
    """The bar that refuses REFUSED of the true needs, and the one that refuses nearly all that nobody fits: for single
    needs, and for projects of several, whose probabilities are on another scale."""
    bars: list[float] = []
    for kind, nobody in (("single", "nobody"), ("several", "nobody several")):
        best = {
            k: [ranker.probability(ranker.raw(p[0]), 1 if kind == "single" else 2).max() for p in pairs if p[2] == k]
            for k in (kind, nobody)
        }
        low = float(np.quantile(best[kind], REFUSED))
        bars += [low, max(float(np.quantile(best[nobody] or best[kind], 1 - MISSED)), low)]
    print("bars", np.round(bars, 3))
    return replace(ranker, bars=(bars[0], bars[1], bars[2], bars[3]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    home = Path(__file__).parent.parent
    parser.add_argument("--out", type=Path, default=home / "src/skillmatch/data/ranker.json")
    parser.add_argument("--cache", type=Path, default=home / "models", help="where the encoder and its cache are kept")
    arguments = parser.parse_args()
    inner = resolve_encoder("all-MiniLM-L6-v2", arguments.cache / "encoders")
    encoder = CachedEncoder(inner, arguments.cache / "cache" / f"{inner.fingerprint}.sqlite")
    taxonomy = Taxonomy.shipped()
    fitted = fit(worlds(taxonomy, encoder), encoder, home)
    text = json.dumps({k: v.as_dict() for k, v in fitted.items()}, indent=1)
    arguments.out.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
