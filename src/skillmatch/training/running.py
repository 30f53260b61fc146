"""One training: read, embed what changed, fit, compare with the current version, promote or keep aside."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .. import feedback
from .._version import __version__
from ..encoders import (
    HASHING,
    CachedEncoder,
    Encoder,
    HashingEncoder,
    adapt_encoder,
    fingerprint_of,
    resolve_encoder,
    spread_over,
)
from ..errors import DamagedModelError, ModelError, UsageError
from ..matcher import NOBODY, Matcher, Options, load
from ..runtime import Backend, Settings, Workspace, cores
from ..sources import Dataset, read_workspace
from ..store import Store, beside, check_cache, replace_file, seal_cache, signed, sound
from ..taxonomy import (
    Concept,
    ConceptModel,
    LevelModel,
    NameIndex,
    Taxonomy,
    examples,
    fit_concepts,
    fit_levels,
    read_additions,
    twins,
)
from ..taxonomy.known import everything, label_index
from ..taxonomy.lexicon import GlossedEncoder, Lexicon, reading_french
from .learning import PIPELINE_FILE, Fitted, Folds, fit_to_judgements, judged_projects, save_pipeline
from .moved import Moved, moved
from .rivals import Rival, Verdict, duel, rival_of
from .unchanged import inputs, remember, remembered

Stage = Callable[[str, int, int], None]

#: Beside the encoders: the encoder that was adapted, and the folder of its adapted copy.
ADAPTED = "adapted.json"
_LEXICON = "lexicon.json"


@dataclass(frozen=True)
class Report:
    """What a training did; ``skillmatch train`` shows it. ``answers``: those that the ranker learned from."""

    version: str | None
    promoted: bool
    reason: str
    people: int
    items: int
    embedded: int
    unchanged: bool
    ranker: str
    metrics: Mapping[str, Any] | None = None
    previous: str | None = None
    moved: Moved | None = None
    answers: int = 0


def train(
    workspace: Workspace,
    settings: Settings,
    *,
    full: bool = False,
    adapt: bool = False,
    dry_run: bool = False,
    force: bool = False,
    stage: Stage = lambda *_: None,
    backend: Backend | None = None,
) -> Report:
    """Build a version from the workspace's data; promote it unless it is worse (or ``force``).

    ``full``: forget cached vectors and classifiers first. ``adapt``: teach the encoder French by the taxonomy first;
    later trainings go on with what it learned until the encoder is named by a flag. ``dry_run``: write nothing.
    ``backend``: workers that embed; they must see ``models/``.
    Raises ``DataError`` with every problem where the data is wrong; then nothing is written. Raises ``ModelError``
    where ``models/`` can't be written, as on a full disk; then the version before still answers.
    """
    store = Store(workspace.models)
    if backend is not None and not dry_run:
        with _told(workspace.models):
            backend.agree_on_folder(workspace.models)
    digest = inputs(workspace, settings)
    if not (full or adapt or dry_run or force) and (same := _nothing_new(workspace, settings, store, digest)):
        return same
    dataset = read_workspace(workspace).require()
    taxonomy = workspace_taxonomy(workspace, dataset)
    merged = everything(workspace.data, taxonomy)
    if not any(p.consent is not False for p in dataset.profiles):
        raise NOBODY
    if adapt and dry_run:
        raise UsageError("--adapt teaches the encoder, for minutes; --dry-run keeps nothing.", "Leave one of them out.")
    with _told(workspace.models), _place(workspace, settings, dataset, full, dry_run) as models:
        encoder = _encoder(
            Workspace(models.parent), settings, merged.taxonomy.concepts if adapt else (), stage, backend
        )
        reading = bilingual(models / "cache", taxonomy, encoder)
        model, levels = concept_models(models / "cache", taxonomy, reading, stage)
        if merged.twins:
            model = replace(model, names=NameIndex.build(merged.named(taxonomy)))
        known = encoder.misses
        matcher = Matcher.fit(
            dataset.profiles,
            taxonomy,
            reading,
            model,
            levels,
            progress=_counted(stage, "profiles", dataset),
            earlier=None if full else _earlier(workspace, store),
            scratch=models / "cache",
        )
        embedded = min(encoder.misses - known, len(matcher.index.owner))  # a gloss is no text of anybody
        answers, _ = feedback.read(workspace.data / "feedback.jsonl")
        judged = judged_projects(matcher, dataset.projects, dataset.judgements, feedback.labels(answers))
        fitted = fit_to_judgements(matcher, judged, int(settings["seed"]))
        matcher = replace(matcher, ranker=fitted.ranker)
        stage("version", 0, 1)
        report = _Finish(
            store, workspace, settings, dataset, encoder, matcher, fitted, embedded, dry_run, force
        ).report()
        if report.version and report.promoted:
            # Last: whoever interrupts it has a version all the same, and the next search or training goes on with it.
            label_index(workspace.models, workspace.data, taxonomy, encoder, lambda n, of: stage("labels", n, of))
            remember(workspace, digest, encoder.fingerprint, report.version, report.answers)
    return report


@contextmanager
def _place(workspace: Workspace, settings: Settings, dataset: Dataset, full: bool, dry_run: bool) -> Iterator[Path]:
    """Where caches and encoders are: ``models/`` itself, locked and tidied, or for a dry run a copy that goes again."""
    if dry_run:
        with tempfile.TemporaryDirectory(prefix="skillmatch-") as aside:
            yield _copied(workspace.models, Path(aside) / "models", full)
        return
    with Store(workspace.models).lock():
        _tidy(workspace, settings, dataset)
        cache = workspace.models / "cache"
        if full:
            shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir(mode=0o750, exist_ok=True)  # it holds vectors of people's sentences
        yield workspace.models


def _copied(models: Path, aside: Path, full: bool) -> Path:
    """What saves a dry run work: vectors, classifiers, and links to the encoders."""
    (aside / "cache").mkdir(mode=0o700, parents=True)
    (aside / "encoders").mkdir()
    for path in () if full else (models / "cache").glob("[!.]*"):
        if path.suffix == ".sqlite":  # by its own means: somebody may be writing
            kept = aside / "cache" / path.name
            try:
                source = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
                with closing(source), closing(sqlite3.connect(kept)) as target:
                    source.backup(target)
            except sqlite3.Error:  # somebody died in the middle of writing: the next training mends it, not this one
                kept.unlink(missing_ok=True)
        elif path.name.startswith(("concepts-", "lexicon-")) and path.is_dir():
            shutil.copytree(path, aside / "cache" / path.name)
    for path in (models / "encoders").glob("[!.]*"):
        if path.is_dir():
            (aside / "encoders" / path.name).symlink_to(path.resolve(), target_is_directory=True)
        else:
            shutil.copyfile(path, aside / "encoders" / path.name)
    return aside


@contextmanager
def _told(models: Path) -> Iterator[None]:
    """What disk and file system refuse to the caches, as ``ModelError``; the store tells its own."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        where = getattr(error, "filename", None) or models
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelError(
            f"{where}: {reason}. Nothing was changed; the version before still answers.",
            "Free some space on that disk, or get permission to write there, then train again.",
        ) from error


def _nothing_new(workspace: Workspace, settings: Settings, store: Store, digest: str) -> Report | None:
    """The report of a training that would read just what the current version was made of; else None."""
    before = remembered(workspace)
    if before.get("inputs") != digest or before.get("version") != store.current():
        return None
    with store.lock(), _told(workspace.models):
        encoder = _encoder(workspace, settings, (), lambda *_: None)
        try:
            made = store.verify(before["version"])
        except DamagedModelError:
            return None
        if encoder.fingerprint != before["encoder"]:
            return None
        feedback.expire(workspace.data / "suggestions.jsonl", int(settings["retention"]))
    return Report(
        before["version"],
        True,
        "nothing has changed",
        people=made["people"],
        items=made["items"],
        embedded=0,
        unchanged=True,
        ranker=made["ranker"],
        metrics=made["metrics"],
        previous=before["version"],
        answers=before["answers"],
    )


def _earlier(workspace: Workspace, store: Store) -> Matcher | None:
    """The current version, where there is one that can be opened."""
    try:
        version = store.current()
        return load(workspace, version) if version else None
    except (DamagedModelError, ModelError, UsageError):
        return None


def _tidy(workspace: Workspace, settings: Settings, dataset: Dataset) -> None:
    """Under the lock: what killed processes left beside the data and in the caches, and suggestions past their time."""
    for path in dataset.files:
        beside(path.resolve()).unlink(missing_ok=True)
    left = [*(workspace.models / "cache").glob(".concepts-*"), *(workspace.models / "encoders").glob(".export-*")]
    left += (workspace.models / "encoders").glob(".adapted-*")
    for mark in workspace.models.glob(".shared-*"):
        mark.unlink(missing_ok=True)
    # An index of skills may be written by a search, which takes no lock: an hour old it is nobody's.
    old = time.time() - 3600
    left += [p for p in (workspace.models / "cache").glob(".labels-*") if p.stat().st_mtime < old]
    for path in left:
        shutil.rmtree(path, ignore_errors=True)
    feedback.expire(workspace.data / "suggestions.jsonl", int(settings["retention"]))


def _encoder(
    workspace: Workspace,
    settings: Settings,
    adapt: Sequence[Concept],
    stage: Stage,
    backend: Backend | None = None,
) -> CachedEncoder:
    """The encoder that the settings name, or its copy that was adapted to this workspace's taxonomy.

    ``adapt``: the concepts to adapt it to now; none to leave it as it is. ``backend``: who embeds, if not we.
    """
    home, cache, name = workspace.models / "encoders", workspace.models / "cache", str(settings["encoder"])
    mark = home / ADAPTED

    def opened(source: str) -> CachedEncoder:
        inner = resolve_encoder(source, home, cores(settings))
        embed = spread_over(backend, inner) if backend is not None else None
        return CachedEncoder(inner, cache / f"{inner.fingerprint}.sqlite", embed)

    if adapt:
        if name == HASHING:
            raise UsageError("The hashing encoder can't learn.", "Adapt the default encoder: skillmatch train --adapt")
        folder = adapt_encoder(
            name, home, twins(adapt), opened(name), int(settings["seed"]), lambda n, of: stage("adapting", n, of)
        )
        told = {"encoder": name, "folder": folder.name, "fingerprint": fingerprint_of(folder)}
        replace_file(mark, json.dumps(signed(told)).encode())
        for path in (*home.glob("adapted-*"), *home.glob(".adapting-*")):  # of another taxonomy or encoder
            if path.is_dir() and path != folder:
                shutil.rmtree(path)
            elif path.is_file():
                path.unlink()
    elif settings.sources["encoder"] == "flag":
        mark.unlink(missing_ok=True)
    return opened(str(_adapted(mark, name) or name))


def _adapted(mark: Path, name: str) -> Path | None:
    """The adapted copy of the encoder ``name`` that this workspace keeps to, None where there is none of it.

    Raises ``DamagedModelError`` where it is not what was learned: its vectors would be others.
    """
    try:
        known = json.loads(mark.read_text("utf-8"))
        folder = mark.parent / Path(known["folder"]).name
        whole = sound(known) and (
            known["encoder"] != name or known.get("fingerprint") in (None, fingerprint_of(folder))
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole or (known["encoder"] == name and not folder.is_dir()):
        raise DamagedModelError(
            f"The encoder that learned French is not as {mark} says.",
            "Teach it again: skillmatch train --adapt; or go on without: skillmatch train --encoder NAME",
        )
    return folder if known["encoder"] == name else None


def _counted(stage: Stage, name: str, dataset: Dataset) -> Callable[[int], None]:
    total = sum(len(p.skills) + len(p.evidence) for p in dataset.profiles if p.consent is not False)
    done = 0

    def progress(n: int) -> None:
        nonlocal done
        done += n
        stage(name, done, total)

    stage(name, 0, total)
    return progress


def workspace_taxonomy(workspace: Workspace, dataset: Dataset) -> Taxonomy:
    """The shipped taxonomy with the lab's own concepts."""
    return Taxonomy([*Taxonomy.shipped().concepts, *read_additions(workspace.data / "skills.csv", dataset.skills)])


def bilingual(cache: Path, taxonomy: Taxonomy, encoder: Encoder) -> Encoder:
    """The encoder as it reads profiles and needs: with the taxonomy's lexicon beside it, where it knows no French.

    The lexicon is learned at most once and kept in ``cache``. The hashing encoder, for trials, stays as it is.
    """
    if isinstance(getattr(encoder, "inner", encoder), HashingEncoder):
        return encoder
    lexicon = known_lexicon(cache, taxonomy)
    if lexicon is None:
        folder = _lexicon_folder(cache, taxonomy)
        shutil.rmtree(folder, ignore_errors=True)
        lexicon = Lexicon.of(taxonomy)
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".concepts-", dir=cache) as temporary:
            made = Path(temporary) / folder.name
            made.mkdir()
            lexicon.save(made / _LEXICON)
            seal_cache(made)
            made.rename(folder)
    # The labels were among the lessons of an adapted one, so that it would pass any test on them.
    return GlossedEncoder(encoder, lexicon) if _is_adapted(encoder) else reading_french(encoder, taxonomy, lexicon)


def known_lexicon(cache: Path, taxonomy: Taxonomy) -> Lexicon | None:
    """The lexicon of this taxonomy that an earlier training kept; None where there is none, or it is damaged."""
    folder = _lexicon_folder(cache, taxonomy)
    try:
        check_cache(folder)
        return Lexicon.load(folder / _LEXICON)
    except DamagedModelError:
        return None


def _lexicon_folder(cache: Path, taxonomy: Taxonomy) -> Path:
    return cache / f"lexicon-{_key(taxonomy, '')}"


def _is_adapted(encoder: Encoder) -> bool:
    return str(getattr(getattr(encoder, "inner", encoder), "name", "")).startswith("adapted-")


def _key(taxonomy: Taxonomy, encoder: str) -> str:
    text = json.dumps([asdict(c) for c in taxonomy.concepts], sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(f"{__version__}\0{encoder}\0{text}".encode(), digest_size=8).hexdigest()


def concept_models(
    cache: Path, taxonomy: Taxonomy, encoder: Encoder, stage: Stage = lambda *_: None
) -> tuple[ConceptModel, LevelModel]:
    """The classifiers of this taxonomy and encoder, fitted at most once and kept in ``cache``."""
    folder = cache / f"concepts-{_key(taxonomy, encoder.fingerprint)}"
    if folder.is_dir():
        try:
            check_cache(folder)
            return ConceptModel.load(folder, len(taxonomy)), LevelModel.load(folder)
        except DamagedModelError:
            shutil.rmtree(folder)  # a cache: made anew below
    total = len(examples(taxonomy).text)
    done = 0

    def progress(n: int) -> None:
        nonlocal done
        done += n
        stage("taxonomy", done, total)

    stage("taxonomy", 0, total)
    model = fit_concepts(taxonomy, encoder, progress)
    levels = fit_levels(taxonomy, encoder)
    cache.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".concepts-", dir=cache))
    try:
        model.save(temporary)
        levels.save(temporary)
        seal_cache(temporary)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    # Read back, so that the first training computes with the very numbers that later ones will.
    return ConceptModel.load(folder, len(taxonomy)), LevelModel.load(folder)


# --- versions ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Finish:
    """The last part of a training: a fitted matcher becomes a version, or is kept aside."""

    store: Store
    workspace: Workspace
    settings: Settings
    dataset: Dataset
    encoder: CachedEncoder
    matcher: Matcher
    fitted: Fitted
    embedded: int
    dry_run: bool
    force: bool

    def report(self) -> Report:
        previous = self.store.current()
        if self.dry_run:
            verdict, differences = self._against(previous, replace(self.matcher, version="a dry run"))
            told = self._told(previous, None, False, "a dry run: nothing was written")
            return replace(told, moved=differences, reason=f"{told.reason}; {verdict.reason}")
        with self.store.writing() as draft:
            self.matcher.save(draft.path)
            if self.fitted.pipeline is not None:
                save_pipeline(draft.path / PIPELINE_FILE, self.fitted.pipeline)
            self.fitted.folds.save(draft.path)
            _smoke(draft.path, self.encoder.inner, self.matcher)
            version = draft.commit(self._meta())
        if version == previous:
            return self._told(previous, version, True, "nothing has changed", unchanged=True)
        verdict, differences = self._against(previous, replace(self.matcher, version=version))
        kept = {} if differences is None else {"moved": differences.counts()}
        measured = {name: [asdict(part) for part in parts] for name, parts in verdict.measures.items()}
        self.store.record(
            {"event": "trained", "version": version, "previous": previous, "why": verdict.reason}
            | kept
            | ({"measures": measured} if measured else {})
        )
        promoted = self.force or not verdict.worse
        if promoted:
            self.store.promote(version, f"{verdict.reason} (forced)" if verdict.worse else verdict.reason)
        return replace(self._told(previous, version, promoted, verdict.reason), moved=differences)

    def _told(
        self, previous: str | None, version: str | None, promoted: bool, reason: str, unchanged: bool = False
    ) -> Report:
        return Report(
            version,
            promoted,
            reason,
            people=len(self.matcher.people),
            items=len(self.matcher.index.owner),
            embedded=self.embedded,
            unchanged=unchanged,
            ranker=self.matcher.ranker.origin,
            metrics=self.fitted.figures,
            previous=previous,
            answers=self.fitted.answers,
        )

    def _meta(self) -> dict[str, Any]:
        return {
            "skillmatch": __version__,
            "libraries": {"numpy": np.__version__, "scikit-learn": metadata.version("scikit-learn")},
            "encoder": self.encoder.fingerprint,
            "encoder_name": str(self.settings["encoder"]),
            "adapted": _is_adapted(self.encoder),
            "seed": int(self.settings["seed"]),
            "people": len(self.matcher.people),
            "items": len(self.matcher.index.owner),
            "concepts": len(self.matcher.concepts),
            "ranker": self.matcher.ranker.origin,
            "metrics": self.fitted.figures,
        }

    def _against(self, previous: str | None, challenger: Matcher) -> tuple[Verdict, Moved | None]:
        """(the verdict of the judgements both can be held to, what moved)."""
        if previous is None:
            return Verdict("the first version", False, {}), None
        try:
            champion = self._champion(previous)
        except (DamagedModelError, ModelError, UsageError) as error:
            return Verdict(f"the version before can't be opened ({error.message})", False, {}), None
        data, seed = self.dataset, int(self.settings["seed"])
        verdict = duel(champion, Rival(challenger, self.fitted.folds), data.projects, data.judgements, seed)
        return verdict, moved(champion.matcher, challenger, data.projects, verdict.measures)

    def _champion(self, version: str) -> Rival:
        old = load(self.workspace, version)
        if old.encoder.fingerprint == self.matcher.encoder.fingerprint:
            old = replace(old, encoder=self.matcher.encoder)  # the needs are embedded already
        folds = Folds.load(self.store.folder(version))
        seed = int(self.settings["seed"])
        return rival_of(old, folds, self.dataset.projects, self.dataset.judgements, seed)


def _smoke(folder: Path, encoder: Encoder, matcher: Matcher) -> None:
    """Open what was written and answer with it: the same scores, or the version is not made."""
    opened = Matcher.load(folder, "", encoder)
    text = matcher.items.proof(0).text
    want = matcher.match(text, Options(top=None))
    got = opened.match(text, Options(top=None))
    if [(m.profile.id, m.raw) for m in want.matches] != [(m.profile.id, m.raw) for m in got.matches]:
        raise ModelError("The new version answers differently once saved; it was not kept.", "Please report this.")
