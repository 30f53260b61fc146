"""What matching costs as the evidence grows: ``python -m benchmarks.scale [--items N ...]``.

Synthetic people, ten items each, go through the real store and the real index; vectors, concepts and words are drawn at
random (seeded), with a few concepts and words far more common than most, as in life. One need is asked warm, as is a
block of them, beside the same vectors as a plain matrix product with ``argpartition``, sentence-transformers'
``semantic_search`` and FAISS's flat index (both where installed). The bound drawn beside them is what reading the
vectors once from memory takes. ``--batch`` asks many needs of 100,000 people and ``--train`` builds a version, each in
a process of its own whose peak memory is told. With ``--figures DIR`` the numbers go there as JSON and as a plot.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from .common import Cell, Report, say
from .timing import child, in_turn, median, ratio

SIZES = (10_000, 100_000, 1_000_000)
ITEMS_EACH = 10
DIM, CONCEPTS, VOCABULARY = 384, 531, 20_000
WORDS_EACH = 10
MATCH_BAR, DENSE_BAR = 3.0, 1.2
BATCH_PEOPLE, BATCH_MB, TRAIN_MB = 100_000, 4096, 6144
TOP = 10
NEED = "Our Ceph cluster is slow after we added disks; we need someone to tune recovery and placement"
ENCODING = "embedding the need"


# --- a synthetic version -------------------------------------------------------------------------------------------


def made_up_version(items: int, models: Path, seed: int = 0) -> str:
    """Write a version of so many items to the store under ``models``; its id. Vectors are streamed to disk."""
    from skillmatch.matcher import Items, Matcher
    from skillmatch.ranking import Ranker, SkillTable
    from skillmatch.retrieval import ItemIndex, Sparse
    from skillmatch.store import Store

    rng = np.random.default_rng(seed)
    people = items // ITEMS_EACH
    owner = np.repeat(np.arange(people, dtype=np.int64), ITEMS_EACH)
    texts = made_up_texts(items, rng)
    ids, p = made_up_concepts(items, rng)
    worth = rng.choice(np.array([0.05, 1 / 7, 3 / 7, 1.0], np.float32), items)
    model, _ = tiny_models()
    near = Sparse(
        np.arange(0, CONCEPTS * 6 + 1, 6, dtype=np.int64),
        rng.integers(CONCEPTS, size=CONCEPTS * 6).astype(np.int32),
        np.full(CONCEPTS * 6, 0.3, np.float32),
    )
    with Store(models).writing() as draft:
        vectors = np.lib.format.open_memmap(models / "versions" / ".vectors.npy", "w+", np.float32, shape=(items, DIM))
        for start in range(0, items, 10_000):
            vectors[start : start + 10_000] = made_up_vectors(min(10_000, items - start), rng)
        matcher = Matcher(
            version="",
            people=tuple(made_up_person(i) for i in range(people)),
            items=Items.build([(t, "project", "made up") for t in texts], worth, [0] * items),
            index=ItemIndex.build(texts, vectors, owner, people),
            concept_ids=ids,
            concept_p=p,
            skills=SkillTable.build(owner, worth, ids, p, people, CONCEPTS),
            near=near,
            concepts=tuple((f"c{k}", f"concept {k}", "", False) for k in range(CONCEPTS)),
            model=model,
            ranker=Ranker.shipped(),
            encoder=RandomEncoder(),
        )
        matcher.save(draft.path)
        del vectors
        (models / "versions" / ".vectors.npy").unlink()
        return draft.commit({"encoder": "made up", "items": items})


def made_up_vectors(count: int, rng: np.random.Generator) -> np.ndarray:
    """Unit rows."""
    rows = rng.standard_normal((count, DIM), dtype=np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def made_up_texts(count: int, rng: np.random.Generator) -> list[str]:
    """Ten words each, by Zipf's law: the commonest stands in every third text."""
    share = 1 / (np.arange(VOCABULARY) + 3.0)
    edges = np.cumsum(share / share.sum())
    out: list[str] = []
    for start in range(0, count, 50_000):
        drawn = np.searchsorted(edges, rng.random((min(50_000, count - start), WORDS_EACH)))
        out += [" ".join(f"w{min(k, VOCABULARY - 1)}" for k in row) for row in drawn.tolist()]
    return out


def made_up_concepts(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(ids, probabilities) of eight different concepts each; a few are common."""
    share = 1 / (np.arange(CONCEPTS) + 20.0)
    first = np.searchsorted(np.cumsum(share / share.sum()), rng.random(count)).clip(max=CONCEPTS - 1)
    steps = rng.integers(1, CONCEPTS // 8, size=(count, 8)).cumsum(axis=1)
    steps -= steps[:, :1]
    p = np.sort(rng.dirichlet(np.full(8, 0.3), count).astype(np.float32), axis=1)[:, ::-1]
    return ((first[:, None] + steps) % CONCEPTS).astype(np.int32), np.ascontiguousarray(p)


def made_up_person(place: int) -> dict[str, Any]:
    """What a version holds of a person beside their items."""
    return {
        "id": f"S{place:07d}",
        "name": f"Somebody {place}",
        "lab": ("LAC", "IPO", "CSA", "GRM", "DPV")[place % 5],
        "family": ("online", "offline", "asr")[place % 3],
        "availability": 100,
        "available_from": None,
        "available_to": None,
        "updated": None,
        "thin": False,
        "hash": "",
    }


class RandomEncoder:
    """A vector drawn by the text's digest: nothing is understood, and nothing has to be."""

    fingerprint = "made up"
    dim = DIM

    def encode(self, texts: Sequence[str], kind: str = "passage", progress: Any = None) -> np.ndarray:
        """Unit vectors."""
        out = np.empty((len(texts), DIM), np.float32)
        for row, text in enumerate(texts):
            seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
            out[row] = np.random.Generator(np.random.SFC64(seed)).standard_normal(DIM, dtype=np.float32)
        if progress is not None:
            progress(len(texts))
        return out / np.linalg.norm(out, axis=1, keepdims=True)


def tiny_models() -> tuple[Any, Any]:
    """Classifiers of three concepts: here to be saved and opened, not to be asked."""
    from skillmatch.taxonomy import fit_concepts, fit_levels

    return fit_concepts(tiny_taxonomy(), RandomEncoder()), fit_levels(tiny_taxonomy(), RandomEncoder())


def tiny_taxonomy() -> Any:
    """Twelve concepts with a sentence of an expert and one of a beginner."""
    from skillmatch.taxonomy import Concept, Taxonomy

    return Taxonomy(
        [
            Concept(
                f"c{k}",
                f"concept {k}",
                f"notion {k}",
                practice=((5, f"Responsable w{k} w{k + 1}", f"Lead of w{k}"), (1, f"A vu w{k}", f"Helped w{k} once")),
            )
            for k in range(12)
        ]
    )


def made_up_needs(count: int, rng: np.random.Generator) -> Any:
    """Needs as they are once understood."""
    from skillmatch.taxonomy import NeedBatch

    return NeedBatch(tuple(made_up_texts(count, rng)), made_up_vectors(count, rng), *made_up_concepts(count, rng))


# --- one need ------------------------------------------------------------------------------------------------------


def one_need(items: int, folder: Path, rounds: int, encoder: Any = None) -> dict[str, Any]:
    """Milliseconds of one need, warm, by rival, and their ratios; beside what embedding it takes, with an encoder."""
    matcher, _ = opened(items, folder)
    vectors = np.asarray(matcher.index.vectors)
    needs = made_up_needs(rounds + 1, np.random.default_rng(1))
    turn = itertools.cycle(np.repeat(np.arange(rounds + 1), 4).tolist())

    def plain() -> None:
        scores = vectors @ needs.vectors[next(turn)]
        np.argpartition(scores, -TOP)[-TOP:]

    def dense() -> None:
        scores = matcher.index.dense(needs.vectors[[next(turn)]])[0]
        np.argpartition(scores, -TOP)[-TOP:]

    works = {
        "plain float32 matrix product and argpartition": plain,
        "dense search alone": dense,
        "the whole match": lambda: answer(matcher, needs, next(turn)),
        "reading the vectors once (the bound)": lambda: (next(turn), bound(vectors)),
    }
    if encoder is not None:
        works[ENCODING] = lambda: encoder.encode([NEED], "query")
    for work in works.values():
        work()
    times = in_turn(works, rounds)
    plain_times, dense_times, match_times, bound_times, *encoding = times.values()
    return {
        "items": items,
        "milliseconds": {name: 1e3 * median(own) for name, own in times.items()},
        "match over dense": ratio(match_times, dense_times),
        "dense over plain": ratio(dense_times, plain_times),
        "dense over the bound": ratio(dense_times, bound_times),
        "match over encoding": ratio(match_times, encoding[0]) if encoding else None,
    }


def opened(items: int, folder: Path) -> tuple[Any, str]:
    """The synthetic version of this size under ``folder``, made first where it is not there; its id."""
    from skillmatch.matcher import Matcher
    from skillmatch.store import Store

    models = folder / f"made-up-{items}"
    store = Store(models)
    found = store.versions()
    version = found[0] if found else made_up_version(items, models)
    return Matcher.load(store.folder(version), version, RandomEncoder()), version


def answer(matcher: Any, needs: Any, which: int) -> Any:
    """The whole match of one need that is understood: scores, order, reasons, gaps."""
    from skillmatch.matcher import Options
    from skillmatch.needs import Understood
    from skillmatch.records import Need, Project
    from skillmatch.taxonomy import NeedBatch

    rows = slice(which, which + 1)
    batch = NeedBatch(needs.texts[rows], needs.vectors[rows], needs.concept_ids[rows], needs.concept_p[rows])
    project = Project("need", needs=(Need("n1", needs.texts[which]),))
    return next(matcher.answers([Understood(project, batch)], Options(min_score=0.0)))


def bound(vectors: np.ndarray) -> None:
    """Read every vector once, on every core, and do as little as can be done with it."""
    from skillmatch.retrieval import on_cores

    flat = vectors.reshape(-1).view(np.uint64)
    step = 1 << 20
    on_cores(lambda start: np.bitwise_or.reduce(flat[start : start + step]), range(0, len(flat), step), len(flat))


# --- many needs ----------------------------------------------------------------------------------------------------


def many_needs(items: str, count: str, folder: str) -> dict[str, Any]:
    """Needs a second of the whole match in blocks; for a process of its own."""
    from skillmatch.matcher import Options
    from skillmatch.needs import Understood
    from skillmatch.records import Need, Project
    from skillmatch.taxonomy import NeedBatch

    matcher, _ = opened(int(items), Path(folder))
    needs = made_up_needs(int(count), np.random.default_rng(2))
    asked = [
        Understood(
            Project(f"P{k}", needs=(Need("n1", needs.texts[k]),)),
            NeedBatch(*(part[k : k + 1] for part in (needs.texts, needs.vectors, needs.concept_ids, needs.concept_p))),
        )
        for k in range(int(count))
    ]
    begin = time.perf_counter()
    answered = sum(1 for _ in matcher.answers(asked, Options(min_score=0.0)))
    return {"needs": answered, "seconds": time.perf_counter() - begin}


def many_by_rivals(items: int, count: int, folder: Path) -> dict[str, float]:
    """Needs a second of rivals that search the same vectors, and do nothing else; those that are installed."""
    matcher, _ = opened(items, folder)
    vectors = np.asarray(matcher.index.vectors)
    needs = made_up_needs(count, np.random.default_rng(2)).vectors
    works: dict[str, Any] = {"dense search alone": partial(_dense_blocks, matcher.index, needs)}
    try:
        os.environ["HF_HUB_OFFLINE"] = "1"
        import torch
        from sentence_transformers.util import semantic_search

        both = torch.from_numpy(needs), torch.from_numpy(vectors.copy())
        works["sentence-transformers semantic_search"] = lambda: semantic_search(*both, top_k=TOP)
    except ImportError:
        pass
    try:
        import faiss  # type: ignore[import-not-found,unused-ignore]

        flat = faiss.IndexFlatIP(DIM)
        flat.add(vectors)
        works["FAISS flat"] = lambda: flat.search(needs, TOP)
    except ImportError:
        pass
    return {name: count / min(own) for name, own in in_turn(works, 2).items()}


def _dense_blocks(index: Any, needs: np.ndarray) -> None:
    for start in range(0, len(needs), 16):
        scores = index.dense(needs[start : start + 16])
        np.argpartition(scores, -TOP, axis=1)[:, -TOP:]


# --- training ------------------------------------------------------------------------------------------------------


def trained(items: str, folder: str) -> dict[str, Any]:
    """Profiles of so many items through ``Matcher.fit`` and the store; for a process of its own."""
    from skillmatch.matcher import Matcher
    from skillmatch.records import Evidence, Profile
    from skillmatch.store import Store

    texts = made_up_texts(int(items), np.random.default_rng(3))
    people = [
        Profile(f"S{i:07d}", evidence=tuple(Evidence(t) for t in texts[i * ITEMS_EACH : (i + 1) * ITEMS_EACH]))
        for i in range(int(items) // ITEMS_EACH)
    ]
    begin = time.perf_counter()
    scratch = Path(folder) / "scratch"
    matcher = Matcher.fit(people, tiny_taxonomy(), RandomEncoder(), *tiny_models(), scratch=scratch)
    with Store(Path(folder) / "trained").writing() as draft:
        matcher.save(draft.path)
        draft.commit({"encoder": "made up", "items": int(items)})
    return {"seconds": time.perf_counter() - begin}


# --- the command ---------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--items", type=int, nargs="+", default=list(SIZES), help="sizes of the index")
    parser.add_argument("--batch", type=int, default=0, metavar="NEEDS", help="ask so many needs of 100,000 people")
    parser.add_argument("--train", type=int, default=0, metavar="ITEMS", help="build a version of so many items")
    parser.add_argument("--rounds", type=int, default=7, help="rounds in which the rivals take turns")
    parser.add_argument("--cache", type=Path, help="a models/ folder with the exported encoder, to embed a need beside")
    parser.add_argument("--folder", type=Path, help="keep the synthetic versions here (2.2 GB at a million items)")
    parser.add_argument("--figures", type=Path, help="write the numbers, and a plot of them, to this folder")
    given = parser.parse_args(argv)
    report = Report()
    with TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        found: dict[str, Any] = {"machine": {"cores": os.cpu_count(), "numpy": np.__version__}}
        encoder = None
        if given.cache is not None:
            from skillmatch.encoders import DEFAULT_ENCODER, resolve_encoder

            encoder = resolve_encoder(DEFAULT_ENCODER, given.cache / "encoders")
        found["one need"] = sizes(report, given.items, folder, given.rounds, encoder)
        if given.batch:
            found["batch"] = batch(report, given.batch, folder)
        if given.train:
            found["train"] = training(report, given.train, folder)
    if given.figures is not None:
        write_figures(given.figures, found)


def sizes(report: Report, items: Sequence[int], folder: Path, rounds: int, encoder: Any = None) -> list[dict[str, Any]]:
    """One need at each size."""
    found = []
    for size in items:
        say(f"{size} items")
        found.append(one_need(size, folder, rounds, encoder))
    rows: dict[str, list[Cell]] = {
        f"{f['items']} items": [
            *(value for name, value in f.items() if " over " in name),
            *f["milliseconds"].values(),
        ]
        for f in found
    }
    report.table(
        "one need, warm",
        [*(n for n in found[0] if " over " in n), *(f"ms: {name}" for name in found[0]["milliseconds"])],
        rows,
        f"at a million at most {MATCH_BAR} and {DENSE_BAR}; at 10,000 at most the encoding; median of {rounds} rounds",
    )
    return found


def batch(report: Report, needs: int, folder: Path) -> dict[str, Any]:
    """Many needs, the whole match beside searches alone."""
    items = BATCH_PEOPLE * ITEMS_EACH
    opened(items, folder)
    found, cost = child("benchmarks.scale", "many_needs", items, needs, folder)
    speeds = {"the whole match": found["needs"] / found["seconds"], **many_by_rivals(items, min(needs, 100), folder)}
    report.table(
        f"{needs} needs against {BATCH_PEOPLE} people, {items} items",
        ["needs a second", "peak MB"],
        {name: [speed, round(cost.megabytes) if name == "the whole match" else None] for name, speed in speeds.items()},
        f"memory at most {BATCH_MB} MB, the mapped vectors included; the others only search, at most 100 needs",
    )
    return {"needs": needs, "people": BATCH_PEOPLE, "peak MB": cost.megabytes, "needs a second": speeds}


def training(report: Report, items: int, folder: Path) -> dict[str, Any]:
    """What a version of so many items takes to build."""
    found, cost = child("benchmarks.scale", "trained", items, folder)
    report.table(
        "building a version",
        ["seconds", "peak MB"],
        {f"{items} items": [found["seconds"], round(cost.megabytes)]},
        f"memory at most {TRAIN_MB} MB at a million items, the mapped vectors included",
    )
    return {"items": items, "peak MB": cost.megabytes, "seconds": found["seconds"]}


def write_figures(folder: Path, found: dict[str, Any]) -> None:
    """``scale.json`` and ``scale.svg``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "scale.json"
    before = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    path.write_text(json.dumps({**before, **found}, indent=1) + "\n", "utf-8")
    import matplotlib
    from matplotlib.figure import Figure

    rows = found["one need"]
    figure = Figure(figsize=(7, 5))
    axes = figure.subplots()
    for name in rows[0]["milliseconds"]:
        style = "--" if "bound" in name else "-"
        axes.loglog([r["items"] for r in rows], [r["milliseconds"][name] for r in rows], style, marker="o", label=name)
    axes.set(xlabel="claims and sentences", ylabel="milliseconds for one need", title="One need, warm")
    axes.grid(alpha=0.3)
    axes.legend()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "scale"}):
        figure.savefig(folder / "scale.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
