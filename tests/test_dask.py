"""Beyond one machine: a real scheduler and real worker processes on loopback, one of them killed in mid-run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks import beyond

import toy_world
from conftest import Cli, cli_environment
from skillmatch.encoders import CachedEncoder, HashingEncoder, OnnxEncoder, spread_over
from skillmatch.errors import MissingExtraError, UsageError
from skillmatch.matcher import Options, load, spreading
from skillmatch.records import Profile, Project
from skillmatch.runtime import Workspace, backend, connected, load_settings, travels_openly
from skillmatch.taxonomy import Taxonomy
from skillmatch.training import Report, train
from test_encoders import export_tiny

distributed = pytest.importorskip("distributed")
#: Seconds for which a worker has stopped, and is given more work, before it is killed.
UNNOTICED = 0.5


def start(program: str, *arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", f"distributed.cli.{program}", *map(str, arguments)]
    env = cli_environment(DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE="false")
    return subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--no-dashboard"],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.kill()
    for process in processes:
        process.wait()


@dataclass
class Cluster:
    """A scheduler, and workers of one slot each without a nanny: who is killed does not come back."""

    address: str
    folder: Path
    workers: list[subprocess.Popen[bytes]]

    def grow(self, count: int) -> None:
        self.workers = [w for w in self.workers if w.poll() is None]
        for _ in range(count - len(self.workers)):
            more = ("--nthreads", 1, "--no-nanny", "--local-directory", self.folder)
            self.workers.append(start("dask_worker", self.address, *more))

    def kill_one_at_work(self) -> None:
        """The last worker stops with work in hand, and dies."""
        victim = self.workers.pop()
        victim.send_signal(signal.SIGSTOP)  # it takes no task to its end from here on, but is given more

        def kill() -> None:
            time.sleep(UNNOTICED)
            end([victim])

        threading.Thread(target=kill).start()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("dask")
    told = folder / "scheduler.json"
    scheduler = start("dask_scheduler", "--port", 0, "--scheduler-file", told)
    found = Cluster("", folder, [])
    try:
        until = time.monotonic() + 60
        while not told.exists() and time.monotonic() < until:
            time.sleep(0.05)
        found.address = json.loads(told.read_text())["address"]
        yield found
    finally:
        end([*found.workers, scheduler])


@pytest.fixture
def two(cluster: Cluster) -> Cluster:
    """The cluster with two workers."""
    cluster.grow(2)
    return cluster


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting workers may take long where others use the processors."""
    monkeypatch.setattr(backend, "ANSWER_WITHIN", 60.0)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "ANSWER_WITHIN", 0.3)


@pytest.fixture(autouse=True)
def _toy_taxonomy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Taxonomy, "shipped", classmethod(lambda cls: toy_world.taxonomy()))


def crowd(copies: int) -> list[Profile]:
    """The toy world's people several times over, none of whose sentences says the same."""
    return [
        replace(
            p,
            id=f"{p.id}-{n:03d}" if n else p.id,
            evidence=tuple(replace(e, text=f"{e.text} ({p.id}-{n})") for e in p.evidence),
        )
        for n in range(copies)
        for p in toy_world.people()
    ]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Two hundred people, trained on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Taxonomy, "shipped", classmethod(lambda cls: toy_world.taxonomy()))
        workspace = toy_world.write_workspace(tmp_path_factory.mktemp("lab"), crowd(10))
        train(workspace, load_settings(workspace, environment={}))
    return workspace


def many_projects(count: int) -> list[Project]:
    """Of one need and of two, in both languages; some of a lab, some with something that must be shown."""
    asked = [text for pair in toy_world.REQUESTS.values() for text in pair]
    out = []
    for i in range(count):
        text = asked[i % len(asked)] if i % 3 else f"{asked[i % len(asked)]}. {asked[(i * 7 + 3) % len(asked)]}."
        out.append(Project(f"P{i:03d}", description=f"{text} {i}", lab=("", "LAC", "IPO")[i % 3]))
    return out


# --- the same answers ---------------------------------------------------------------------------------

OPTIONS = {
    "plain": Options(),
    "one": Options(top=1),
    "from a lab": Options(from_lab="LAC", top=7),
    "everybody": Options(top=None),
    "everybody above the bar": Options(top=10**9),
    "must": Options(must=("Ceph",)),
    "nobody": Options(min_score=1.0),
    "filters": Options(exclude=("E0", "E0-001"), lab=("LAC",), family=("asr",), min_score=0.01),
    "nobody may be asked": Options(lab=("IPO",), family=("offline",)),
}


class Here:
    """A backend whose workers are this process: what they are asked, and how that is put together, is the same."""

    slots = 3

    def run(self, work: Callable[..., object], tasks: Sequence[tuple[object, ...]]) -> Iterator[object]:
        for task in tasks:
            yield work(*task)

    def agree_on(self, paths: Sequence[Path]) -> None:
        assert all(p.is_file() for p in paths)


@pytest.mark.parametrize("name", OPTIONS)
def test_parted_people_give_the_same_answers(trained, name):
    alone = load(trained)
    parted = spreading.spread(alone, trained, Here())
    asked = many_projects(20)
    assert list(parted.match_many(asked, OPTIONS[name], block=8)) == list(
        alone.match_many(asked, OPTIONS[name], block=8)
    )


def test_a_part_scores_as_the_whole(trained):
    whole = load(trained)
    part = whole.part(slice(37, 121))
    assert [p["id"] for p in part.people] == [p["id"] for p in whole.people[37:121]]
    first = int(np.searchsorted(whole.index.owner, 37))
    for one in whole.understand(many_projects(9)):
        features, best = whole.features(one)
        own, own_best = part.features(one)
        assert np.array_equal(own, features[:, 37:121])
        assert np.array_equal(own_best + first, best[:, 37:121])
    assert part.items.proof(0) == whole.items.proof(first)


def test_parts_hold_everybody_once(trained):
    matcher = load(trained)
    for count in (1, 2, 7, 1000):
        parts = spreading._parts(matcher, count)
        assert [i for a, b in parts for i in range(a, b)] == list(range(len(matcher.people)))


# --- a real scheduler ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("patient")
def test_a_batch_is_as_on_one_machine_though_a_worker_dies(trained, two):
    alone = load(trained)
    asked = many_projects(200)
    with connected(two.address) as workers:
        assert workers.slots == 2
        answers = spreading.spread(alone, trained, workers).match_many(asked)
        found = [next(answers)]
        two.kill_one_at_work()
        found += answers
        assert sum(workers.client.ncores().values()) == 1
        assert found == list(alone.match_many(asked))
        # With one slot left, joblib by itself would do it all here.
        seen = set(workers.run(os.getpid, [() for _ in range(4)]))
        assert seen == {two.workers[0].pid}


def numbers(workspace: Workspace, report: Report) -> dict[str, bytes]:
    folder = workspace.models / "versions" / str(report.version)
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


@pytest.mark.usefixtures("patient")
def test_a_training_is_as_on_one_machine_though_a_worker_dies(two, tmp_path):
    people = crowd(60)
    here, there = (toy_world.write_workspace(tmp_path / name, people) for name in ("here", "there"))
    alone = train(here, load_settings(here, environment={}))
    told = []

    def stage(name: str, done: int, total: int) -> None:
        told.append((name, done, total))
        if name == "profiles" and 0 < done < total and not killed:
            killed.append(done)
            two.kill_one_at_work()

    killed: list[int] = []
    with connected(two.address) as workers:
        report = train(there, load_settings(there, environment={}), backend=workers, stage=stage)
        assert sum(workers.client.ncores().values()) == 1
    assert killed
    last = [(done, total) for name, done, total in told if name == "profiles"][-1]
    assert last[0] == last[1] > 4000
    assert report.version == alone.version
    assert numbers(there, report) == numbers(here, alone)
    assert not list(there.models.glob(".shared-*"))


@pytest.mark.usefixtures("patient")
def test_the_commands(quick: Cli, two, tmp_path):
    lab = toy_world.write_workspace(tmp_path / "lab", crowd(5)).root
    dask = ("--backend", "dask", "--scheduler", two.address)
    made = quick("train", *dask, cwd=lab)
    assert made.code == 0, made.err
    assert f"2 slots for tasks at {two.address}" in made.err
    assert "Note:" not in made.err
    for more in (("--top", "3", "--format", "json"), ("--format", "jsonl"), ("--assign", "--format", "json")):
        batch = ("batch", "data/projects.json", *more)
        there, here = quick(*batch, *dask, cwd=lab), quick(*batch, cwd=lab)
        assert (there.code, there.out) == (here.code, here.out), there.err
        assert there.out
    with (lab / "skillmatch.toml").open("a") as file:
        file.write("max_shown = 2\n")
    batch = ("batch", "data/projects.json", "--format", "json")
    assert quick(*batch, *dask, cwd=lab).out == quick(*batch, cwd=lab).out


# --- what is refused before any work ------------------------------------------------------------------


def test_backend_and_scheduler_go_together(quick: Cli, trained):
    for command in (("train",), ("batch", "data/projects.json")):
        alone = quick(*command, "--scheduler", "tcp://127.0.0.1:1", cwd=trained.root)
        assert alone.code == 2
        assert "--scheduler goes with --backend dask" in alone.err
        nowhere = quick(*command, "--backend", "dask", cwd=trained.root)
        assert nowhere.code == 2
        assert "--scheduler tcp://" in nowhere.err


def test_without_the_extra(quick: Cli, trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    told = quick("batch", "none.csv", "--backend", "dask", "--scheduler", "tcp://127.0.0.1:1", cwd=trained.root)
    assert told.code == 2
    assert "pip install 'skillmatch[dask]'" in told.err
    with pytest.raises(MissingExtraError), connected("tcp://127.0.0.1:1"):
        pass


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://x", "tcp://127.0.0.1:port"])
def test_nobody_answers(address):
    with pytest.raises(UsageError, match="No Dask scheduler answers at") as told, connected(address):
        pass
    assert "dask scheduler" in told.value.hint


@pytest.mark.usefixtures("hurried")
def test_one_slot_is_too_few(cluster):
    end(cluster.workers)
    cluster.grow(1)
    with pytest.raises(UsageError, match=r"has [01] slot\(s\)"), connected(cluster.address):
        pass


@pytest.mark.usefixtures("patient")
def test_another_version_or_another_disk(two, monkeypatch):
    with connected(two.address) as workers:
        workers.agree_on([Path(__file__)])
        monkeypatch.setattr(backend, "ANSWER_WITHIN", 0.3)
        # A file that says in every process something else.
        with pytest.raises(UsageError, match="does not see /proc/self/cmdline as it is here"):
            workers.agree_on([Path("/proc/self/cmdline")])
        with (
            pytest.raises(UsageError, match="came later has skillmatch"),
            closing(
                replace(workers, versions=tuple(v + "?" * v.startswith("skill") for v in workers.versions)).run(
                    os.getpid, [()]
                )
            ) as results,
        ):
            next(results)
        with pytest.raises(ZeroDivisionError):  # what work raises is raised here
            list(workers.run(divmod, [(1, 1), (1, 0)]))
    monkeypatch.setattr(backend, "__version__", "0.0.1")
    backend._versions.cache_clear()
    try:
        with (
            pytest.raises(UsageError, match=r"has skillmatch .*, and here it is skillmatch 0\.0\.1"),
            connected(two.address),
        ):
            pass
    finally:
        backend._versions.cache_clear()


@pytest.mark.usefixtures("patient")
def test_work_that_nobody_does_is_an_error(two, monkeypatch):
    with connected(two.address) as workers:
        for worker in two.workers:
            worker.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(backend, "PATIENCE", 0.5)
        with pytest.raises(UsageError, match="all of its workers are gone"):
            list(workers.run(os.getpid, [()] * 3))
        end(two.workers)
        monkeypatch.setattr(backend, "ANSWER_WITHIN", 0.5)
        with pytest.raises(UsageError, match="all of its workers are gone"):
            list(workers.run(os.getpid, [()] * 3))


def test_what_is_open_to_read_on_the_way():
    for address in ("tcp://127.0.0.1:8786", "127.0.0.1:8786", "tcp://localhost:1", "tcp://[::1]:1", "tls://far:8786"):
        assert not travels_openly(address)
    for address in ("tcp://10.0.0.3:8786", "node7:8786", "ws://node7:8786"):
        assert travels_openly(address)


# --- embedding ----------------------------------------------------------------------------------------


def mixed(count: int) -> list[str]:
    """Texts of one to ninety words, in no order of length."""
    words = ["we", "tune", "our", "storage", "cluster", "nous", "réglons", "le", "cluster", "de", "stockage"]
    return [" ".join(words[(i + k) % len(words)] for k in range(1 + i * 37 % 90)) for i in range(count)]


def test_pieces_of_an_exported_encoder_make_its_batches(tmp_path):
    encoder = OnnxEncoder(export_tiny(tmp_path / "encoders" / "0123456789abcdef", max_tokens=128))
    texts = mixed(400)
    for kind in ("query", "passage"):
        pieces = encoder.pieces(texts, kind)
        assert len(pieces) > 3
        assert sorted(np.concatenate(pieces).tolist()) == list(range(len(texts)))
        whole = encoder.encode(texts, kind)
        for rows in pieces:
            assert np.array_equal(encoder.encode([texts[i] for i in rows], kind), whole[rows])


@pytest.mark.usefixtures("patient")
def test_workers_embed_as_this_machine(two, tmp_path):
    folder = export_tiny(tmp_path / "encoders" / "0123456789abcdef", max_tokens=128)
    texts = mixed(1100)
    for encoder in (OnnxEncoder(folder), HashingEncoder()):
        alone = CachedEncoder(encoder, tmp_path / f"here {encoder.dim}.sqlite").encode(texts)
        heard: list[int] = []
        with connected(two.address) as workers:
            spread = CachedEncoder(encoder, tmp_path / f"there {encoder.dim}.sqlite", spread_over(workers, encoder))
            assert np.array_equal(spread.encode(texts, progress=heard.append), alone)
            assert sum(heard) == len(texts)
            assert len(heard) > 3
            assert spread.encode([]).shape == (0, encoder.dim)


@pytest.mark.usefixtures("patient")
def test_an_interrupted_training_goes_on_from_what_was_kept(two, tmp_path):
    class StopError(Exception):
        pass

    def stop(done: int) -> None:
        heard.append(done)
        if sum(heard) > 600:
            raise StopError

    texts, heard = mixed(1500), []
    with connected(two.address) as workers:
        embed = spread_over(workers, HashingEncoder())
        texts = [f"{t} {i}" for i, t in enumerate(texts)]
        with pytest.raises(StopError):
            CachedEncoder(HashingEncoder(), tmp_path / "c.sqlite", embed).encode(texts, progress=stop)
        again = CachedEncoder(HashingEncoder(), tmp_path / "c.sqlite", embed)
        assert np.array_equal(again.encode(texts), HashingEncoder().encode(texts))
    assert again.misses == len(texts) - 512


@pytest.mark.usefixtures("patient")
def test_the_benchmark_compares_the_same_work(two, tmp_path, monkeypatch, capsys):
    @contextmanager
    def these(folder: Path) -> Iterator[str]:
        yield two.address

    monkeypatch.setattr(beyond, "two_workers", these)
    out = tmp_path / "beyond.json"
    beyond.main(["--encoder", "hashing", "--texts", "160", "--rounds", "1", "--json", str(out)])
    assert "two Dask workers" in capsys.readouterr().out
    assert "two Dask workers" in out.read_text("utf-8")
