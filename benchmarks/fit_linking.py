"""Fit the weights of text-to-concept linking (src/skillmatch/data/linking.json) on the shipped taxonomy alone.

    python -m benchmarks.fit_linking [--encoder NAME] [--cache FOLDER] [--write]

Five tasks are made of the taxonomy's own texts, each as a workspace would meet it, and weigh the same: French wordings
against English labels, with a lexicon that has not seen them; wordings left out of the index; invented advertisements
that name one to three skills; sentences that the classifier has not seen, against everything; the same where half of
the concepts are as if imported, labels alone, which no classifier has learned. The weights maximise the likelihood of
the right entries, are never negative, and are few.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

from skillmatch.encoders import DEFAULT_ENCODER, CachedEncoder, Encoder, resolve_encoder
from skillmatch.retrieval import fold
from skillmatch.taxonomy import Concept, ConceptModel, Taxonomy, examples, fit_concepts
from skillmatch.taxonomy.lexicon import Lexicon, twin_texts
from skillmatch.taxonomy.linking import FEATURES, LabelIndex, Views

TARGET = Path(__file__).parents[1] / "src" / "skillmatch" / "data" / "linking.json"
FOLDS = 5
#: Strength of the penalty on the squared weights: it only matters where the data says nothing.
PENALTY = 1e-3
FRAMES = {
    "en": (
        "Experience with {} is required",
        "We are looking for someone who knows {} and likes working in a team",
        "In this position you will be responsible for {} and report to the head of the group",
        "Strong background in {}, several years of practice",
        "Your tasks will include {}, together with the users in three buildings",
    ),
    "fr": (
        "Une expérience en {} est demandée",
        "Nous cherchons une personne qui connaît {} et aime travailler en équipe",
        "À ce poste vous serez responsable de {} et rattaché au chef de groupe",
        "Solides connaissances en {}, plusieurs années de pratique",
        "Vos missions comprendront {}, avec les utilisateurs de trois bâtiments",
    ),
}
JOINED = {"en": (", ", " and "), "fr": (", ", " et ")}

log = logging.getLogger("fit_linking")


@dataclass(frozen=True)
class Task:
    """Texts with their features (texts, concepts, features), what is meant (concepts), and how long they are."""

    name: str
    features: NDArray[np.float32]
    meant: NDArray[np.float32]
    share: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        name: str,
        index: LabelIndex,
        encoder: Encoder,
        asked: Sequence[tuple[str, Sequence[int]]],
        model: ConceptModel | None = None,
    ) -> Task:
        texts = [t for t, _ in asked]
        features = np.stack(list(index.features(texts, encoder, model=model, concepts=[e.id for e in index.entries])))
        meant = np.zeros(features.shape[:2], dtype=np.float32)
        for row, (_, right) in zip(meant, asked, strict=True):
            row[list(right)] = 1
        share = np.array([Views.of(t, index.lexicon).long for t in texts], dtype=np.float32)
        log.info("%s: %d texts, %.0f %% long", name, len(texts), 100 * share.mean())
        return cls(name, features, meant, share)

    def totals(self, p: NDArray[np.float64]) -> NDArray[np.float64]:
        n = len(FEATURES)
        long = self.share[:, None]
        return np.asarray((1 - long) * (self.features @ p[:n]) + long * (self.features @ p[n:]), dtype=np.float64)


def bare(concept: Concept, *, english: bool, french: bool) -> Concept:
    """A concept of which nothing but its labels is known."""
    return Concept(concept.id, concept.label_en if english else "", concept.label_fr if french else "")


def tasks(taxonomy: Taxonomy, encoder: Encoder, rng: random.Random) -> Iterator[Task]:
    lexicon = Lexicon.of(taxonomy)
    labels_en = Taxonomy(bare(c, english=True, french=False) for c in taxonomy.concepts)
    yield from french_to_english(taxonomy, labels_en, encoder, rng)
    # Of each concept one alias a language stays outside the index, to be asked for.
    out = [{lang: rng.choice(a) for lang in FRAMES if (a := aliases(c, lang))} for c in taxonomy.concepts]
    kept = [without(c, {fold(t) for t in o.values()}) for c, o in zip(taxonomy.concepts, out, strict=True)]
    index = LabelIndex.fit(Taxonomy(half_bare(kept, rng)), encoder, lexicon=lexicon)
    asked = [(text, (i,)) for i, o in enumerate(out) for text in o.values()]
    yield Task.of("wordings left out", index, encoder, asked)
    index = LabelIndex.fit(Taxonomy(half_bare(kept, rng)), encoder, lexicon=lexicon)
    yield Task.of("advertisements", index, encoder, advertisements(out, rng))
    yield unseen_sentences(taxonomy, lexicon, encoder, rng, set())
    imported = set(rng.sample(range(len(taxonomy)), len(taxonomy) // 2))
    yield unseen_sentences(taxonomy, lexicon, encoder, rng, imported)


def aliases(concept: Concept, lang: str) -> tuple[str, ...]:
    return concept.aliases_fr if lang == "fr" else concept.aliases_en


def without(concept: Concept, folded: set[str]) -> Concept:
    """The concept less some of its wordings, and less its sentences."""
    left = {
        f: tuple(t for t in getattr(concept, f) if fold(t) not in folded) for f in ("aliases_en", "aliases_fr", "names")
    }
    return replace(bare(concept, english=True, french=True), **left)


def half_bare(concepts: Sequence[Concept], rng: random.Random) -> list[Concept]:
    """As after an import: half of the concepts have many wordings, half only their labels."""
    some = set(rng.sample(range(len(concepts)), len(concepts) // 2))
    return [bare(c, english=True, french=True) if i in some else c for i, c in enumerate(concepts)]


def french_to_english(taxonomy: Taxonomy, labels: Taxonomy, encoder: Encoder, rng: random.Random) -> Iterator[Task]:
    index = LabelIndex.fit(labels, encoder, lexicon=Lexicon({}, {}, {}))
    place = list(range(len(taxonomy)))
    rng.shuffle(place)
    parts = []
    for k in range(FOLDS):
        held = set(place[k::FOLDS])
        seen = [c for i, c in enumerate(taxonomy.concepts) if i not in held]
        lexicon = Lexicon.learn(twin_texts(seen))
        asked = [
            (text, (i,))
            for i in sorted(held)
            for text in _some_french(taxonomy.concepts[i], rng)
            if fold(text) != fold(taxonomy.concepts[i].label_en)
        ]
        parts.append(Task.of(f"French to English {k}", replace(index, lexicon=lexicon), encoder, asked))
    yield Task(
        "French to English", *(np.concatenate([getattr(p, f) for p in parts]) for f in ("features", "meant", "share"))
    )


def _some_french(concept: Concept, rng: random.Random) -> list[str]:
    return [concept.label_fr, *rng.sample(concept.aliases_fr, min(2, len(concept.aliases_fr)))]


def advertisements(out: Sequence[dict[str, str]], rng: random.Random) -> list[tuple[str, tuple[int, ...]]]:
    """Sentences that ask for one to three concepts by the wordings left out."""
    found = []
    for k in range(1000):
        lang = ("en", "fr")[k % 2]
        meant = rng.sample([i for i, o in enumerate(out) if lang in o], rng.randint(1, 3))
        wordings = [out[i][lang] for i in meant]
        comma, and_ = JOINED[lang]
        said = and_.join([comma.join(wordings[:-1]), wordings[-1]]) if len(wordings) > 1 else wordings[0]
        found.append((rng.choice(FRAMES[lang]).format(said), tuple(meant)))
    return found


def unseen_sentences(
    taxonomy: Taxonomy, lexicon: Lexicon, encoder: Encoder, rng: random.Random, imported: set[int]
) -> Task:
    """Sentences of all concepts. Of the ``imported`` ones only labels are known, and the classifier knows nothing."""
    data = examples(taxonomy)
    sentences = [i for i, t in enumerate(data.text) if data.weight[i] == 1.0 and len(t.split()) > 6]
    held = rng.sample(sentences, 1200)
    keep = ~np.isin(data.label, list(imported))
    keep[held] = False
    model = fit_concepts(taxonomy, encoder, keep=keep)
    concepts = [bare(c, english=True, french=True) if i in imported else c for i, c in enumerate(taxonomy.concepts)]
    index = LabelIndex.fit(Taxonomy(concepts), encoder, lexicon=lexicon)
    asked = [(data.text[i], (int(data.label[i]),)) for i in held]
    return Task.of(f"unseen sentences, {len(imported)} imported", index, encoder, asked, model)


def loss(found: Sequence[Task]) -> Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]]:
    """Mean over tasks of the negative log-likelihood of what is meant, and its gradient."""

    def of(p: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, gradient = PENALTY * float(p @ p), 2 * PENALTY * p
        for t in found:
            z = t.totals(p)
            log_chance = z - logsumexp(z, axis=1, keepdims=True)
            target = t.meant / t.meant.sum(axis=1, keepdims=True)
            value -= float((target * log_chance).sum()) / len(z) / len(found)
            slope = (np.exp(log_chance) - target) / len(z) / len(found)
            parts = [np.einsum("qe,qef->f", slope * s[:, None], t.features) for s in (1 - t.share, t.share)]
            gradient = gradient + np.hstack(parts)
        return value, gradient

    return of


def calibrate(found: Sequence[Task], p: NDArray[np.float64]) -> tuple[float, float]:
    """(slope, offset) from a total to the log-odds of being meant, over each text's twenty best."""
    totals, right, weight = [], [], []
    for t in found:
        z = t.totals(p)
        best = np.argsort(-z, axis=1)[:, :20]
        totals.append(np.take_along_axis(z, best, 1).ravel())
        right.append(np.take_along_axis(t.meant, best, 1).ravel())
        weight.append(np.full(best.size, 1 / best.size))
    x, y, w = (np.concatenate(a) for a in (totals, right, weight))

    def of(q: NDArray[np.float64]) -> float:
        chance = np.clip(expit(q[0] * x + q[1]), 1e-9, 1 - 1e-9)
        return float(-(w * (y * np.log(chance) + (1 - y) * np.log(1 - chance))).sum())

    slope, offset = minimize(of, np.array([1.0, -float(x.mean())]), method="Nelder-Mead", options={"maxiter": 2000}).x
    return float(slope), float(offset)


def report(found: Sequence[Task], p: NDArray[np.float64]) -> None:
    for t in found:
        z = t.totals(p)
        best = np.where(t.meant > 0, z, -np.inf).max(axis=1, keepdims=True)
        rank = ((z > best) & (t.meant == 0)).sum(axis=1)
        log.info("%-22s first %.3f, among ten %.3f", t.name, (rank < 1).mean(), (rank < 10).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", default=DEFAULT_ENCODER)
    parser.add_argument("--cache", type=Path, default=Path("models"))
    parser.add_argument("--write", action="store_true", help=f"replace {TARGET.name}")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    inner = resolve_encoder(given.encoder, given.cache / "encoders")
    encoder = CachedEncoder(inner, given.cache / "cache" / f"{inner.fingerprint}.sqlite")
    found = list(tasks(Taxonomy.shipped(), encoder, random.Random(0)))
    n = len(FEATURES)
    start = np.full(2 * n, 0.5)
    fitted = minimize(loss(found), start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * (2 * n)).x
    slope, offset = calibrate(found, fitted)
    report(found, fitted)
    data = {
        kind: dict(zip(FEATURES, np.round(part, 2).tolist(), strict=True))
        for kind, part in (("short", fitted[:n]), ("long", fitted[n:]))
    }
    text = json.dumps({**data, "slope": round(slope, 3), "offset": round(offset, 3)}, indent=1) + "\n"
    log.info(text)
    if given.write:
        TARGET.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
