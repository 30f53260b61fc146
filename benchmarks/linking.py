"""Linking sentences to skills: ``python -m benchmarks.linking SENTENCES... (--labels FILE | --esco FILE)``.

The task of Decorte et al. (arXiv 2209.05987 and 2307.10778): the sentences of job advertisements, each with the ESCO
skills it asks for, out of all of ESCO's. SENTENCES is a file as its authors publish it (CSV with ``sentence`` and
``label``, one row a span) or JSONL with ``sentence`` and ``labels``. The skills are a text file of labels, one a line,
or ``skills_en.csv`` of ESCO's official download, whose other labels are then known as well. Sentences without any
skill are left out. The product knows its own taxonomy beside these skills, merged and indexed as an import is, with
its classifier; only the skills are ranked.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from skillmatch import metrics
from skillmatch.encoders import CachedEncoder, Encoder
from skillmatch.errors import UsageError
from skillmatch.taxonomy import Concept, ConceptModel, Taxonomy
from skillmatch.taxonomy.linking import LabelIndex
from skillmatch.taxonomy.merging import merge
from skillmatch.training import concept_models

from .common import Bm25, Matrix, Report, arguments, char_cosine, rank_fusion, say, sentence_encoder

PRODUCT = "skillmatch"
FIRST = 10
#: What the authors write where a span has no skill.
NO_LABEL = frozenset({"LABEL NOT PRESENT", "UNDERSPECIFIED", ""})


def read_sentences(path: Path) -> dict[str, set[str]]:
    """Sentence -> its labels, those without any left out."""
    found: dict[str, set[str]] = {}
    if path.suffix == ".jsonl":
        for line in path.read_text("utf-8").splitlines():
            if line.strip():
                row = json.loads(line)
                found.setdefault(row["sentence"], set()).update(row["labels"])
    else:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                found.setdefault(row["sentence"], set()).add((row["label"] or "").strip())
    labelled = {sentence: labels - NO_LABEL for sentence, labels in found.items()}
    return {sentence: labels for sentence, labels in labelled.items() if labels}


def read_labels(path: Path) -> list[Concept]:
    """Concepts of a text file, one English label a line."""
    labels = dict.fromkeys(line.strip() for line in path.read_text("utf-8").splitlines())
    return [Concept(f"label-{n:06d}", label, "", source="esco") for n, label in enumerate(filter(None, labels))]


def read_esco(path: Path) -> list[Concept]:
    """Concepts of ESCO's skills_en.csv, with their other labels."""
    out: dict[str, Concept] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            other = tuple(t.strip() for t in (row["altLabels"] or "").splitlines() if t.strip())
            uri, label = row["conceptUri"], row["preferredLabel"].strip()
            out[uri] = Concept(uri, label, "", aliases_en=other, uri=uri, source="esco", licence="CC BY 4.0")
    return list(out.values())


def baselines(sentences: Sequence[str], labels: Sequence[str], encoder: Encoder) -> dict[str, Matrix]:
    """Plain ways to link, name -> scores (sentences, labels)."""
    chars = char_cosine(sentences, labels)
    vectors = (encoder.encode(sentences, "query") @ encoder.encode(labels).T).astype(np.float64)
    return {
        "vectors": vectors,
        "BM25": Bm25(labels).scores(sentences),
        "char 2-4-grams": chars,
        "rank fusion: chars + vectors": rank_fusion(chars, vectors),
    }


def product(
    index: LabelIndex,
    sentences: Sequence[str],
    concepts: Sequence[Concept],
    encoder: Encoder,
    model: ConceptModel | None = None,
) -> Matrix:
    """The product's order of the concepts as scores (sentences, concepts): minus the place of each.

    ``model``: the classifier of the shipped taxonomy.
    """
    column = {c.id: k for k, c in enumerate(concepts)}
    out = np.zeros((len(sentences), len(concepts)))
    known = [c.id for c in Taxonomy.shipped().concepts] if model else []
    found_in = index.linked(sentences, encoder, len(index.entries), model=model, concepts=known)
    for row, found in enumerate(found_in):
        order = [column[i] for i in (index.entries[k].id for k, _ in found) if i in column]
        out[row, order] = -np.arange(len(order))
    return out


def measure(
    systems: Mapping[str, Matrix], wanted: Sequence[set[str]], labels: Sequence[str]
) -> dict[str, tuple[list[float], list[float]]]:
    """System -> (average precision, recall@10) of every sentence."""
    column = {label: k for k, label in enumerate(labels)}
    grades = np.zeros((len(wanted), len(labels)))
    for row, own in enumerate(wanted):
        grades[row, [column[x] for x in own]] = 1
    return {
        name: (
            [metrics.average_precision(s, g) for s, g in zip(scores, grades, strict=True)],
            [metrics.recall_at_k(s, g, FIRST) for s, g in zip(scores, grades, strict=True)],
        )
        for name, scores in systems.items()
    }


def tables(report: Report, title: str, found: Mapping[str, tuple[list[float], list[float]]], seed: int) -> None:
    """Every system's figures, and the product less each baseline, paired."""
    heads = ["MAP", f"recall@{FIRST}"]
    rows = {n: [metrics.bootstrap_interval(v, seed) for v in values] for n, values in found.items()}
    report.table(title, heads, rows, "95 % bootstrap intervals over sentences")
    less = {
        n: [metrics.paired_bootstrap(a, b, seed) for a, b in zip(found[PRODUCT], values, strict=True)]
        for n, values in found.items()
        if n != PRODUCT
    }
    report.table(f"{title}: {PRODUCT} less each baseline, paired", heads, less)


def main(argv: Sequence[str] | None = None) -> None:
    parser = arguments(__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="SENTENCES")
    skills = parser.add_mutually_exclusive_group(required=True)
    skills.add_argument("--labels", type=Path, metavar="FILE", help="all skills, one label a line")
    skills.add_argument("--esco", type=Path, metavar="FILE", help="skills_en.csv of ESCO's download")
    given = parser.parse_args(argv)
    concepts = read_labels(given.labels) if given.labels else read_esco(given.esco)
    # Two concepts of one label can't be told apart by the sentences' labels.
    concepts = list({c.label_en: c for c in reversed(concepts)}.values())[::-1]
    labels = [c.label_en for c in concepts]
    report = Report()
    with sentence_encoder(given.encoder, given.cache) as encoder:
        assert isinstance(encoder, CachedEncoder)
        model, _ = concept_models(encoder.path.parent, Taxonomy.shipped(), encoder)
        index = LabelIndex.fit(merge(Taxonomy.shipped(), concepts), encoder)
        for path in given.files:
            wanted = known(read_sentences(path), set(labels), path)
            sentences = list(wanted)
            systems = {
                PRODUCT: product(index, sentences, concepts, encoder, model),
                **baselines(sentences, labels, encoder),
            }
            title = f"{path.stem}: {len(sentences)} sentences, {len(labels)} skills"
            tables(report, title, measure(systems, list(wanted.values()), labels), given.seed)
    report.write(given.json)


def known(sentences: Mapping[str, set[str]], labels: set[str], path: Path) -> dict[str, set[str]]:
    """The sentences with the labels that are among the skills; says how many are not. ``UsageError`` where none is."""
    lost = sum(len(own - labels) for own in sentences.values())
    if lost:
        say(f"{path.name}: {lost} of {sum(map(len, sentences.values()))} labels are not among the skills; left out")
    left = {sentence: own & labels for sentence, own in sentences.items() if own & labels}
    if not left:
        raise UsageError(
            f"No sentence of {path} has a label that is among the skills.", "Give the labels of the same edition."
        )
    return left


if __name__ == "__main__":
    main()
