"""Kill -9 at random moments, and suggestions during retrainings: nothing is lost, nothing is left half done.

    python -m benchmarks.kills --kills 300 --trainings 50

On the toy world of the tests (twenty people, the hashing encoder). Each kill forks a process that does one thing
(train, promote, rollback, prune, answer suggestions, forget a person) and ends it with SIGKILL after a random time.
Then, each time: the current version is whole and answers; every confirmed answer is there once; no profile is lost;
the next run leaves nothing behind; who was being forgotten is gone from every byte once the command is repeated.
"""

from __future__ import annotations

# ruff: noqa: E402  what threads and paths are set to comes before the imports that read it
import argparse
import json
import os
import random
import signal
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # before NumPy: threads and fork don't go together
    os.environ.setdefault(_name, "1")

import numpy as np

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))

import toy_world as toy
from skillmatch import feedback, load
from skillmatch.encoders import HashingEncoder, text_key
from skillmatch.errors import SkillmatchError, UsageError
from skillmatch.records import Evidence, Profile, SkillClaim
from skillmatch.runtime import load_settings
from skillmatch.store import Store
from skillmatch.training import erase, train

QUESTION = "Exploiter un stockage objet distribué"
#: Who comes and is forgotten.
LEAVER = Profile(
    "ZX81",
    "Zéphyrine Wojnarowska",
    "LAC",
    "asr",
    skills=(SkillClaim("frobnicating", 4),),
    evidence=(Evidence("Maîtrise le quuxage du stockage objet depuis toujours, avec grand soin"),),
)
OPERATIONS = ("train", "promote", "rollback", "prune", "feedback", "forget")


def void(_: object) -> None:
    """For its effect alone."""


class Lab:
    """A workspace, and what must be true of it."""

    def __init__(self, root: Path, seed: int) -> None:
        toy.use_toy_taxonomy()
        self.workspace = toy.write_workspace(root)
        self.settings = load_settings(self.workspace, environment={})
        self.chance = random.Random(seed)
        self.edits = 0
        self.confirmed: set[int] = set()
        self.said = 0
        self.killed: Counter[str] = Counter()
        self.finished: Counter[str] = Counter()
        self.time: dict[str, float] = {}
        self.edit()
        self.train()
        self.edit()
        start = time.monotonic()
        self.train()
        taken = time.monotonic() - start
        self.time |= {"train": 1.2 * taken, "forget": 2 * taken}  # until one has finished by itself
        # Everything imported and warm, so that a fork starts at once.
        load(self.workspace).match(QUESTION)

    # --- what is done ---

    def people(self, leaver: bool = False) -> list[Profile]:
        first, *rest = toy.people()
        changed = replace(first, evidence=(*first.evidence, Evidence(f"Phrase numéro {self.edits} sur les cartes")))
        return [changed, *rest, *([LEAVER] if leaver else [])]

    def edit(self, leaver: bool = False) -> None:
        """Profiles change, so that a training has something to do."""
        self.edits += 1
        toy.write_workspace(self.workspace.root, self.people(leaver))

    def train(self) -> None:
        train(self.workspace, self.settings, force=True)

    def store(self) -> Store:
        return Store(self.workspace.models)

    def feedback_file(self) -> Path:
        return self.workspace.data / "feedback.jsonl"

    def operation(self, name: str) -> Callable[[int], None]:
        """What the child does; it writes what it has confirmed to a descriptor."""
        store = self.store()
        versions = store.versions()

        def promote(out: int) -> None:
            while True:
                for version in versions:
                    store.promote(version, "killing")

        def rollback(out: int) -> None:
            while True:
                store.promote(versions[0], "killing")
                store.promote(versions[-1], "killing")
                store.rollback("killing")

        def prune(out: int) -> None:
            while True:
                store.prune(1)
                for n in range(2):
                    with store.writing() as draft:
                        (draft.path / "x.json").write_text(str(n) * 9999)
                        draft.commit({"n": n, "encoder": "none"})

        def answer(out: int) -> None:
            n = self.said
            while True:
                feedback.add(self.feedback_file(), "P1f", f"N{n}", "accepted", note="x" * (n % 4000), rank=1)
                os.write(out, struct.pack("i", n))
                n += 1

        return {
            "train": lambda out: self.train(),
            "promote": promote,
            "rollback": rollback,
            "prune": prune,
            "feedback": answer,
            "forget": lambda out: void(erase(self.workspace, LEAVER.id)),
        }[name]

    def prepare(self, name: str) -> None:
        if name == "forget":
            self.edit(leaver=True)
            self.train()
            feedback.add(self.feedback_file(), "P1f", LEAVER.id, "accepted", note=f"with {LEAVER.name}")
            feedback.log_shown(
                self.workspace.data / "suggestions.jsonl", [("v1", "P1f", "", [LEAVER.id, "E1"])], days=9999
            )
        elif name == "train":
            self.edit()
        elif len(self.store().versions()) < 3:
            self.edit()
            self.train()

    def kill(self, name: str) -> None:
        """Fork, do, kill, look."""
        self.prepare(name)
        before = self.store().current()
        reading, writing = os.pipe()
        start = time.monotonic()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            code = 1
            try:
                self.operation(name)(writing)
                code = 0
            except UsageError as error:
                # Nothing to roll back to, where the killed one before had pruned.
                code = 0 if "no version to go back to" in str(error) else 1
            finally:
                os._exit(code)
        os.close(writing)
        longest = self.time.get(name, 0.3)
        time.sleep(self.chance.uniform(0, longest))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            self.killed[name] += 1
        else:
            assert os.waitstatus_to_exitcode(status) == 0, f"{name} failed by itself"
            self.finished[name] += 1
            self.time[name] = max(0.9 * (time.monotonic() - start), 0.02)
        data = b""
        while part := os.read(reading, 1 << 16):
            data += part
        os.close(reading)
        told = {n for (n,) in struct.iter_unpack("i", data[: len(data) // 4 * 4])}
        self.confirmed |= told
        self.check(name, before)

    # --- what must be true ---

    def check(self, name: str, before: str | None) -> None:
        store = self.store()
        current = store.current()
        assert current is not None
        store.verify(current)
        if "people.json" in store.manifest(current)["files"]:
            assert load(self.workspace).match(QUESTION).matches, "the current version answers"
        answers, problems = feedback.read(self.feedback_file())
        assert all(p.severity == "warning" for p in problems), problems
        numbers = Counter(int(a.profile[1:]) for a in answers if a.profile.startswith("N"))
        assert not numbers or max(numbers.values()) == 1, "no answer twice"
        assert self.confirmed <= set(numbers), "no confirmed answer lost"
        self.said = max([self.said, *(n + 1 for n in numbers)])  # one may be there that was not confirmed any more
        held = {p["id"] for p in json.loads((self.workspace.data / "profiles.json").read_text("utf-8"))}
        assert {p.id for p in toy.people()} <= held, "no profile lost"
        if name == "forget":
            with_leaver = any(self.traces())
            if with_leaver:
                erase(self.workspace, LEAVER.id)
            left = list(self.traces())
            assert not left, f"still there: {left}"
        # The next run: whatever was left is gone, and nothing new is left.
        if name == "prune":
            for version in store.versions():
                if "people.json" not in store.manifest(version)["files"] and version != store.current():
                    store.remove(version, "made to be pruned")
        with store.lock():
            pass
        if name == "train":
            self.train()
        if name == "feedback":
            feedback.add(self.feedback_file(), "P1f", f"N{self.said}", "accepted")
            self.confirmed.add(self.said)
            self.said += 1
            assert feedback.read(self.feedback_file())[1] == []
        left = [p.name for folder in (self.workspace.data, self.workspace.models) for p in folder.rglob(".*")]
        assert set(left) <= {".lock"}, f"left after {name}: {left}"
        journals = [p.name for p in self.workspace.models.rglob("*-journal")]
        assert not journals or name != "train", journals

    def traces(self) -> list[str]:
        """Files that hold a byte of the leaver: id, name, words, vectors or their keys."""
        words = [LEAVER.id, "Zéphyrine", "Wojnarowska", "frobnicating", "quuxage"]
        texts = ["frobnicating", LEAVER.evidence[0].text]
        found = [w.encode() for w in words] + [json.dumps(w).strip('"').encode() for w in words]
        found += [text_key(t, kind) for t in texts for kind in ("query", "passage")]
        vectors = HashingEncoder().encode(texts).reshape(-1, 32)
        found += [part.tobytes() for part in vectors if np.count_nonzero(part) >= 6]
        files = [p for top in ("data", "models") for p in (self.workspace.root / top).rglob("*") if p.is_file()]
        return [p.relative_to(self.workspace.root).as_posix() for p in files if any(t in p.read_bytes() for t in found)]


def suggest_while_training(lab: Lab, trainings: int) -> tuple[int, int]:
    """(answers, versions seen) while a child trains and prunes: never an error, each answer of one version."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            for _ in range(trainings):
                lab.edit()
                lab.train()
                lab.store().prune(1)
            code = 0
        finally:
            os._exit(code)
    answers, versions = 0, set()
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        matcher = load(lab.workspace)
        answer = matcher.match(QUESTION)
        assert answer.matches
        assert answer.model == matcher.version
        assert answer.matches[0].profile.id == toy.expert("ceph")
        answers += 1
        versions.add(answer.model)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, "a training failed"
    return answers, len(versions)


def main(argv: list[str] | None = None) -> int:
    """Run it; 0 where everything held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--trainings", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(argv)
    with TemporaryDirectory() as name:
        lab = Lab(Path(name) / "lab", given.seed)
        start = time.monotonic()
        try:
            for n in range(given.kills):
                lab.kill(OPERATIONS[n % len(OPERATIONS)])
        except (AssertionError, SkillmatchError) as error:
            print(f"kill {sum(lab.killed.values()) + sum(lab.finished.values())}: {type(error).__name__}: {error}")
            return 1
        print(f"{given.kills} times, {time.monotonic() - start:.0f} s; killed in the act, and done before the kill:")
        for name_ in OPERATIONS:
            print(f"  {name_:10} {lab.killed[name_]:4} {lab.finished[name_]:4}")
        print(f"  {len(lab.confirmed)} answers confirmed, none lost, none twice")
        if given.trainings:
            answers, versions = suggest_while_training(lab, given.trainings)
            print(f"{given.trainings} retrainings: {answers} suggestions from {versions} versions, no error")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
