"""How long answers and trainings take: ``python -m benchmarks.speed [cold] [embed] [train]``.

Rivals take turns in one run, and ratios come first: seconds are this machine's, ratios hold. ``cold`` needs a trained
workspace (``--workspace``), which it copies. ``embed`` compares with sentence-transformers at its defaults. ``train``
makes people of its own, trains, changes a sentence of every hundredth, and trains again; with ``--encoder hashing``
embedding costs next to nothing, so that what is compared is all the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from .common import Report, say
from .timing import Cost, apart, child, in_turn, median, ratio

NEED = "Our Ceph cluster is slow after we added disks; we need someone to tune recovery and placement"
#: Of the time that ``import sentence_transformers`` takes, at most; and MB.
COLD_BARS = {"suggest": 0.20, "--help": 0.08, "completion": 0.08}
COLD_MEMORY = 250
EMBED_BAR, COSINE_BAR = 1.2, 0.9999
CHANGED_BAR = 0.05
PARTS = ("cold", "embed", "train")


# --- the first answer ----------------------------------------------------------------------------------------------


def cold(report: Report, workspace: Path, rounds: int) -> None:
    """Commands from start to last byte, beside an import."""
    with TemporaryDirectory() as name:
        copy = _copied(workspace, Path(name))
        tab = {
            "_SKILLMATCH_COMPLETE": "complete_bash",
            "COMP_WORDS": "skillmatch suggest --project P",
            "COMP_CWORD": "3",
        }
        commands: dict[str, Callable[[], Cost]] = {
            "import sentence_transformers": lambda: apart(["-c", "import sentence_transformers"]),
            "suggest": lambda: apart(["-m", "skillmatch", "suggest", NEED, "--from-lab", "LAC"], copy),
            "--help": lambda: apart(["-m", "skillmatch", "--help"], copy),
            "completion": lambda: apart(["-m", "skillmatch"], copy, tab),
        }
        for command in commands.values():  # files come from the disk once
            command()
        costs: dict[str, list[Cost]] = {n: [] for n in commands}
        for _ in range(rounds):
            for n, command in commands.items():
                costs[n].append(command())
    seconds = {n: [c.seconds for c in own] for n, own in costs.items()}
    report.table(
        "a cold answer, from the shell to the last byte",
        ["of the import", "at most", "seconds", "peak MB"],
        {
            n: [
                ratio(seconds[n], seconds["import sentence_transformers"]),
                COLD_BARS.get(n),
                median(seconds[n]),
                round(max(c.megabytes for c in own)),
            ]
            for n, own in costs.items()
        },
        f"median of {rounds} rounds in turn; memory at most {COLD_MEMORY} MB",
    )


def _copied(workspace: Path, folder: Path) -> Path:
    """A workspace without its caches: a suggestion is logged in it."""
    models = workspace / "models"
    if not (models / "CURRENT").is_file():
        raise SystemExit(f"{workspace} is not trained: name a workspace that is with --workspace DIR")
    shutil.copytree(workspace / "data", folder / "data")
    shutil.copytree(models, folder / "models", ignore=shutil.ignore_patterns("cache", ".*"))
    (folder / "skillmatch.toml").touch()
    return folder


# --- embedding -----------------------------------------------------------------------------------------------------


def embed(report: Report, encoder: str, cache: Path | None, count: int, rounds: int) -> None:
    """Texts a second beside ``SentenceTransformer.encode``, both as they come."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from sentence_transformers import SentenceTransformer

    from skillmatch.encoders import resolve_encoder, source_folder

    texts = mixed_texts(count)
    with TemporaryDirectory() as name:
        ours = resolve_encoder(encoder, (cache or Path(name)) / "encoders")
        theirs = SentenceTransformer(str(source_folder(encoder)), device="cpu")
        ours.encode(texts[:16]), theirs.encode(texts[:16])
        found: dict[str, Any] = {}
        works = {
            "skillmatch": lambda: found.update(ours=ours.encode(texts)),
            "SentenceTransformer.encode": lambda: found.update(theirs=theirs.encode(texts)),
        }
        times = in_turn(works, rounds)
    product, plain = times.values()
    cosine = float((found["ours"] * found["theirs"]).sum(axis=1).min())
    report.table(
        f"embedding {count} texts of 5 to 250 words",
        ["times as fast", "at least", "texts a second", "lowest cosine"],
        {
            "skillmatch": [ratio(plain, product), EMBED_BAR, count / median(product), f"{cosine:.6f}"],
            "SentenceTransformer.encode": [1.0, None, count / median(plain), None],
        },
        f"median of {rounds} rounds in turn; the cosine is at least {COSINE_BAR}",
    )


def mixed_texts(count: int, seed: int = 0) -> list[str]:
    """Sentences of the shipped taxonomy: three in four alone, the others as paragraphs of three to ten."""
    rng = np.random.default_rng(seed)
    pool = sentences()
    sizes = np.where(np.arange(count) % 4 == 3, rng.integers(3, 11, count), 1)
    return [". ".join(pool[i] for i in rng.integers(len(pool), size=n)) for n in sizes]


def sentences() -> list[str]:
    """What people do, in both languages, from the shipped taxonomy."""
    from skillmatch.taxonomy import Taxonomy

    return [text for c in Taxonomy.shipped().concepts for _, *both in c.practice for text in both if text]


# --- training ------------------------------------------------------------------------------------------------------


def train(report: Report, encoder: str, cache: Path | None, profiles: int) -> None:
    """A first training, one after a sentence of every hundredth person changed, one after nothing did."""
    with TemporaryDirectory() as name:
        root = Path(name)
        (root / "data").mkdir()
        (root / "skillmatch.toml").write_text(f"encoder = {json.dumps(encoder)}\n", "utf-8")
        if cache is not None:
            _borrow(cache, root / "models")
        people = made_up_people(profiles)
        runs: dict[str, tuple[dict[str, Any], Cost]] = {}
        for run in ("first", "1 % of people changed", "nothing changed"):
            if run.startswith("1 %"):
                for i in range(0, profiles, 100):
                    people[i]["evidence"][-1]["text"] += " Depuis, a formé deux collègues."
            lines = "".join(json.dumps(p, ensure_ascii=False) + "\n" for p in people)
            (root / "data" / "profiles.jsonl").write_text(lines, "utf-8")
            runs[run] = child("benchmarks.speed", "trained_once", root)
    first = runs["first"][1].seconds
    report.table(
        f"training on {profiles} people, {sum(len(p['skills']) + len(p['evidence']) for p in people)} items",
        ["of the first", "at most", "seconds", "of them embedding", "embedded", "peak MB"],
        {
            run: [
                cost.seconds / first,
                CHANGED_BAR if run != "first" else None,
                cost.seconds,
                found["embedding"],
                found["embedded"],
                round(cost.megabytes),
            ]
            for run, (found, cost) in runs.items()
        },
        f"encoder: {encoder}; {'classifiers taken from --cache' if cache else 'the first also learns the taxonomy'}",
    )


def trained_once(root: str) -> dict[str, Any]:
    """One training, and how many seconds of it were spent in the encoder; for a process of its own."""
    from skillmatch import encoders
    from skillmatch.runtime import Workspace, load_settings
    from skillmatch.training import train as train_once

    spent = 0.0
    for kind in (encoders.OnnxEncoder, encoders.HashingEncoder):
        own = kind.encode

        def timed(*given: Any, own: Any = own) -> Any:
            nonlocal spent
            begin = time.perf_counter()
            try:
                return own(*given)
            finally:
                spent += time.perf_counter() - begin

        kind.encode = timed  # type: ignore[method-assign]
    workspace = Workspace(Path(root))
    made = train_once(workspace, load_settings(workspace, environment={}))
    return {"embedding": spent, "embedded": made.embedded, "unchanged": made.unchanged}


def _borrow(cache: Path, models: Path) -> None:
    """Exported encoders and classifiers, but no vector: the people's texts are to be embedded."""
    (models / "cache").mkdir(parents=True)
    shutil.copytree(cache / "encoders", models / "encoders")
    for folder in (cache / "cache").glob("*-*"):
        if folder.is_dir():
            shutil.copytree(folder, models / "cache" / folder.name)


def made_up_people(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Profiles of four claims and six sentences, none of them a text that stands in another profile."""
    from skillmatch.taxonomy import Taxonomy

    rng = np.random.default_rng(seed)
    names = [c.label_en or c.label_fr for c in Taxonomy.shipped().concepts]
    pool = sentences()
    out = []
    for i in range(count):
        claims = [f"{names[k]} {i}" for k in rng.choice(len(names), 4, replace=False)]
        said = [f"{pool[k]} ({i}-{n})" for n, k in enumerate(rng.integers(len(pool), size=6))]
        out.append(
            {
                "id": f"S{i:06d}",
                "name": f"Somebody {i}",
                "lab": ("LAC", "IPO", "CSA", "GRM", "DPV")[i % 5],
                "skills": [{"name": c, "level": int(rng.integers(1, 6))} for c in claims],
                "evidence": [{"text": s, "kind": "project"} for s in said],
            }
        )
    return out


# --- the command ---------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="cold|embed|train", help="all by default")
    parser.add_argument("--workspace", type=Path, default=Path(), help="a trained workspace, for cold (default: here)")
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2", help="sentence-transformers name or folder")
    parser.add_argument("--cache", type=Path, help="a models/ folder: its encoders and classifiers are used")
    parser.add_argument("--texts", type=int, default=2000, help="texts to embed")
    parser.add_argument("--profiles", type=int, default=10_000, help="people to train on")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of cold; embed takes at most 3")
    parser.add_argument("--json", type=Path, help="write the tables to this file as well")
    given = parser.parse_args(argv)
    report = Report()
    parts = given.parts or PARTS
    if "cold" in parts:
        cold(report, given.workspace.resolve(), given.rounds)
    if "embed" in parts:
        embed(report, given.encoder, given.cache, given.texts, min(given.rounds, 3))
    if "train" in parts:
        say(f"\ntraining with the encoder {given.encoder}")
        train(report, given.encoder, given.cache, given.profiles)
    report.write(given.json)


if __name__ == "__main__":
    main()
