"""The store: digests, promote, rollback, prune, locks, and what a killed process leaves."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import skillmatch
from skillmatch.errors import DamagedModelError, FormatError, ModelError, NoModelError, UsageError
from skillmatch.store import FORMAT, MANIFEST, Store, append_json, check_cache, replace_file, seal_cache

SOURCE = Path(skillmatch.__file__).parents[1]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "models")


def build(store, n=1, event=True, **meta):
    """One version whose content depends on ``n`` alone."""
    with store.writing() as draft:
        (draft.path / "vectors.npy").write_bytes(bytes(range(256)) * n)
        (draft.path / "ranker").mkdir()
        (draft.path / "ranker" / "schema.json").write_text(json.dumps({"n": n}))
        version = draft.commit({"seed": n, **meta})
    if event:
        store.record({"event": "trained", "version": version, "why": "test"})
    return version


def run_script(script, *arguments):
    """A Python script of its own, so that what it forks and kills is no test runner."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# Versions


def test_an_empty_store_says_so(store):
    assert store.current() is None
    assert store.versions() == []
    assert store.history() == []
    with pytest.raises(NoModelError, match="Nothing is trained yet") as caught:
        store.folder("v0123456789ab")
    assert "skillmatch train" in caught.value.hint
    assert not store.models.exists(), "reading makes nothing"


def test_commit_seals_what_was_written(store):
    version = build(store, 2, encoder="hashing")
    folder = store.folder(version)
    manifest = store.verify(version)
    assert manifest["format"] == FORMAT
    assert manifest["encoder"] == "hashing"
    assert manifest["files"]["vectors.npy"] == {
        "size": 512,
        "sha256": hashlib.sha256(bytes(range(256)) * 2).hexdigest(),
    }
    assert list(manifest["files"]) == ["ranker/schema.json", "vectors.npy"]
    assert version == "v" + hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()[:12]
    assert {p.stat().st_mode & 0o777 for p in folder.rglob("*") if p.is_file()} == {0o640}
    assert {p.stat().st_mode & 0o777 for p in (folder, folder / "ranker")} == {0o750}


def test_the_same_content_is_the_same_version(store):
    one, again, other = build(store, 1), build(store, 1), build(store, 2)
    assert one == again != other
    assert sorted(store.versions()) == sorted([one, other])
    assert not list(store.folder(one).parent.glob(".*"))


def test_a_damaged_version_is_replaced_when_built_again(store):
    version = build(store)
    (store.folder(version) / "vectors.npy").write_bytes(b"rotten")
    assert build(store) == version
    store.verify(version)


def test_a_draft_that_is_not_committed_leaves_nothing(store):
    def stopped():
        with store.writing() as draft:
            (draft.path / "half").write_text("x")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stopped()
    assert store.versions() == []
    assert not list((store.models / "versions").iterdir())


@pytest.mark.parametrize("key", ["format", "files"])
def test_the_stores_own_keys_are_refused(store, key):
    with store.writing() as draft, pytest.raises(ValueError, match=key):
        draft.commit({key: 1})


def test_a_draft_holds_plain_files_only(store):
    with store.writing() as draft:
        (draft.path / "link").symlink_to("/etc/hostname")
        with pytest.raises(ValueError, match="link"):
            draft.commit({})
    with store.writing() as draft:
        (draft.path / MANIFEST).write_text("{}")
        with pytest.raises(ValueError, match=MANIFEST):
            draft.commit({})
    with store.writing() as draft:
        draft.commit({})
        with pytest.raises(ValueError, match="already"):
            draft.commit({})


def test_versions_are_listed_by_when_they_were_last_trained(store):
    first, second, third = (build(store, n) for n in (1, 2, 3))
    assert store.versions() == [first, second, third]
    build(store, 1)
    assert store.versions() == [second, third, first]
    unannounced = build(store, 4, event=False)
    assert store.versions() == [unannounced, second, third, first]
    store.models.joinpath("history.jsonl").unlink()
    assert store.versions() == sorted([first, second, third, unannounced])


@pytest.mark.parametrize("bad", ["../x", "", "v1/..", ".draft-1", "V1", "a\x00b", "/etc", "v 1", "é", "v1\n"])
def test_an_id_is_no_path(store, bad):
    build(store)
    with pytest.raises(UsageError, match="no version id"):
        store.folder(bad)


def test_an_unknown_id_gets_a_suggestion(store):
    version = build(store)
    with pytest.raises(UsageError, match="no version v") as caught:
        store.folder(version[:-1] + ("0" if version[-1] != "0" else "1"))
    assert version in caught.value.hint


def test_a_link_is_no_version(store, tmp_path):
    version = build(store)
    (tmp_path / "elsewhere").mkdir()
    (store.models / "versions" / "v-link").symlink_to(tmp_path / "elsewhere")
    assert store.versions() == [version]
    with pytest.raises(UsageError):
        store.verify("v-link")


# Damage


def test_every_flipped_bit_is_found(store):
    version = build(store, 4, note="é")
    paths = sorted(p for p in store.folder(version).rglob("*") if p.is_file())
    rng = random.Random(0)
    hit = set()
    for _ in range(200):
        path = rng.choice(paths)
        good = path.read_bytes()
        bad = bytearray(good)
        bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        path.write_bytes(bad)
        with pytest.raises(DamagedModelError, match=path.name) as caught:
            store.verify(version)
        assert "rollback" in caught.value.hint
        assert caught.value.problems
        path.write_bytes(good)
        hit.add(path.name)
    assert hit == {MANIFEST, "schema.json", "vectors.npy"}
    store.verify(version)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: (f / "vectors.npy").unlink(), "vectors.npy is missing"),
        (lambda f: (f / "extra.txt").write_text("x"), "extra.txt is not in the manifest"),
        (lambda f: (f / "vectors.npy").write_bytes(b"short"), "holds 5 bytes instead of 256"),
        (lambda f: (f / MANIFEST).unlink(), "manifest.json is missing"),
        (lambda f: (f / MANIFEST).write_text("{}"), "manifest.json differs"),
        (lambda f: swap_for_link(f / "vectors.npy"), "vectors.npy is not a plain file"),
        (lambda f: swap_for_pipe(f / "vectors.npy"), "vectors.npy is not a plain file"),
        (lambda f: (f / "more").symlink_to("/"), "more is not in the manifest"),
    ],
)
def test_other_damage_is_found(store, damage, says):
    version = build(store)
    damage(store.folder(version))
    with pytest.raises(DamagedModelError, match=says):
        store.verify(version)


def swap_for_link(path):
    path.rename(path.parents[3] / "moved")
    path.symlink_to(path.parents[3] / "moved")


def swap_for_pipe(path):
    path.unlink()
    os.mkfifo(path)  # opening it would wait for ever


def test_all_wrong_files_are_told_at_once(store):
    version = build(store)
    (store.folder(version) / "vectors.npy").unlink()
    (store.folder(version) / "extra").touch()
    with pytest.raises(DamagedModelError, match=r"\(1 more\)") as caught:
        store.verify(version)
    assert [p.file for p in caught.value.problems] == [f"{version}/vectors.npy", f"{version}/extra"]


def place(store, text):
    """A version folder holding this manifest and the file ``a`` = ``hello``."""
    version = "v" + hashlib.sha256(text.encode()).hexdigest()[:12]
    folder = store.models / "versions" / version
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text(text)
    (folder / "a").write_text("hello")
    return version


HELLO = '"a": {"sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", "size": 5}'
SAVED_IN_FORMAT_1 = '{"files": {' + HELLO + '}, "format": 1, "labs": 5}\n'


def test_format_1_stays_readable(store):
    version = place(store, SAVED_IN_FORMAT_1)
    assert version == "vbbb4f3caa6b7"
    assert store.verify(version)["labs"] == 5
    store.promote(version, "test")


def test_a_newer_format_is_refused_politely(store):
    version = place(store, '{"files": "elsewhere", "format": 99}\n')
    with pytest.raises(FormatError, match="format 99") as caught:
        store.manifest(version)
    assert "Upgrade skillmatch" in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{", "{}", "\x00", '{"format": "1", "files": {}}', '{"format": true, "files": {}}'),
        *(
            '{"format": 0}',
            '{"format": 1}',
            '{"format": 1, "files": {"a": {}}}',
            '{"format": 1, "files": ["a"]}',
        ),
    ],
)
def test_what_is_no_manifest_is_damage(store, text):
    version = place(store, text)
    with pytest.raises(DamagedModelError, match="not a manifest"):
        store.verify(version)


def test_a_manifest_cannot_name_files_elsewhere(store):
    secret = store.models / "secret"
    text = json.dumps({"format": 1, "files": {"../../secret": {"size": 5, "sha256": "0" * 64}}})
    version = place(store, text)
    secret.write_text("hello")
    with pytest.raises(DamagedModelError, match="secret is missing"):
        store.verify(version)


# Promote, rollback, prune


def test_promote_and_rollback_walk_back_through_history(store):
    a, b, c = (build(store, n) for n in (1, 2, 3))
    for version in (a, b, c):
        store.promote(version, "better", ndcg=0.5)
    assert (store.models / "CURRENT").read_text() == f"{c}\n"
    assert store.rollback("worse") == b
    assert store.rollback("worse") == a
    assert store.current() == a
    with pytest.raises(UsageError, match="no version to go back to"):
        store.rollback("worse")
    store.promote(c, "after all")
    assert store.rollback("no") == a
    last = store.history()[-1]
    assert (last["event"], last["version"], last["previous"], last["why"]) == ("rolled-back", a, c, "no")
    promoted = next(e for e in store.history() if e["event"] == "promoted")
    assert promoted["ndcg"] == 0.5
    assert promoted["time"].endswith("Z")


def test_rollback_passes_over_what_was_pruned(store):
    a, b, c = (build(store, n) for n in (1, 2, 3))
    for version in (a, b, a, c):
        store.promote(version, "x")
    store._remove(a)
    assert store.rollback("x") == b
    with pytest.raises(UsageError):
        store.rollback("x")


def test_rollback_mends_a_current_that_is_no_id(store):
    a, b = build(store, 1), build(store, 2)
    store.promote(a, "x")
    store.promote(b, "x")
    (store.models / "CURRENT").write_bytes(b"\x00\x00\n")
    with pytest.raises(DamagedModelError, match="CURRENT names no version"):
        store.current()
    assert store.rollback("x") == b


def test_a_damaged_version_is_not_promoted(store):
    a, b = build(store, 1), build(store, 2)
    store.promote(a, "x")
    (store.folder(b) / "vectors.npy").write_bytes(b"")
    with pytest.raises(DamagedModelError):
        store.promote(b, "x")
    assert store.current() == a


def test_current_without_its_folder_is_no_model(store):
    a, b = build(store, 1), build(store, 2)
    store.promote(b, "x")
    store._remove(b)
    with pytest.raises(NoModelError, match="CURRENT names") as caught:
        store.folder(store.current())
    assert f"promote {a}" in caught.value.hint


@pytest.mark.parametrize("keep", [0, 1, 2, 9])
def test_prune_keeps_the_current_and_the_newest(store, keep):
    versions = [build(store, n) for n in range(1, 6)]
    store.promote(versions[1], "x")
    removed = store.prune(keep)
    newest = versions[len(versions) - keep :] if keep < 5 else versions
    assert removed == [v for v in versions if v != versions[1] and v not in newest]
    assert store.versions() == [v for v in versions if v not in removed]
    assert [e["version"] for e in store.history() if e["event"] == "pruned"] == removed
    assert not list((store.models / "versions").glob(".*"))


def test_prune_refuses_nonsense(store):
    with pytest.raises(UsageError, match="-1"):
        store.prune(-1)


def test_history_tells_what_somebody_did_by_hand(store):
    a, b, c = (build(store, n) for n in (1, 2, 3))
    store.promote(a, "x")
    (store.models / "CURRENT").write_text(b + "\n")
    store.folder(c).rename(store.models / "away")
    with store.lock():
        pass
    tail = [(e["event"], e["version"], e["previous"]) for e in store.history()[-2:]]
    assert tail == [("pruned", c, b), ("promoted", b, a)]
    assert store.rollback("x") == a


# History lines


def test_an_unfinished_last_line_is_left_out_then_removed(store):
    store.record({"event": "trained", "version": "v1"})
    path = store.models / "history.jsonl"
    whole = path.read_bytes()
    for cut in range(1, len(whole) - 1):
        path.write_bytes(whole + whole[:cut])
        assert len(store.history()) == 1
        store.record({"event": "trained", "version": "v2"})
        assert [e["version"] for e in store.history()] == ["v1", "v2"]


def test_a_last_line_without_newline_is_kept(store):
    store.record({"event": "trained", "version": "v1"})
    path = store.models / "history.jsonl"
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert [e["version"] for e in store.history()] == ["v1"]
    store.record({"event": "trained", "version": "v2"})
    assert [e["version"] for e in store.history()] == ["v1", "v2"]


def test_zeros_left_by_a_power_failure_are_removed(store):
    store.record({"event": "trained", "version": "v1"})
    path = store.models / "history.jsonl"
    path.write_bytes(path.read_bytes() + bytes(500))
    store.record({"event": "trained", "version": "v2"})
    assert [e["version"] for e in store.history()] == ["v1", "v2"]


@pytest.mark.parametrize("junk", [b"what is this", b"[1]", b'{"version": "v1"}', b'{"event": 3}', b"\xff\xfe"])
def test_junk_in_history_is_shown_not_lost(store, junk):
    path = store.models / "history.jsonl"
    path.parent.mkdir()
    path.write_bytes(junk)
    store.record({"event": "trained", "version": "v1"})
    assert path.read_bytes().startswith(junk + b"\n")
    assert [e["event"] for e in store.history()] == ["unreadable", "trained"]


def test_an_altered_line_is_not_believed(store):
    for n in range(3):
        store.record({"event": "trained", "version": f"v{n}", "why": "é"})
    path = store.models / "history.jsonl"
    whole, before = path.read_bytes(), store.history()
    assert all("crc32" not in event for event in before)
    chance = random.Random(4)
    for _ in range(200):
        place = chance.randrange(len(whole))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ chance.randrange(1, 256)]) + whole[place + 1 :])
        for event in store.history():  # it may have more, where the name of its checksum was flipped
            assert event["event"] == "unreadable" or any(known.items() <= event.items() for known in before)
    older = b'{"event": "trained", "version": "v9", "time": "2026-01-01T00:00:00Z", "why": "before checksums"}\n'
    path.write_bytes(older + whole)
    assert [e["version"] for e in store.history()] == ["v9", "v0", "v1", "v2"]


def test_current_is_an_id_and_a_newline(store):
    version = build(store)
    store.promote(version, "x")
    for text in (version, f"{version}\r\n"):
        (store.models / "CURRENT").write_bytes(text.encode())
        assert store.current() == version
    for end in range(256):
        if chr(end) not in "\r\n":
            (store.models / "CURRENT").write_bytes(version.encode() + bytes([end]))
            if chr(end) in "abcdefghijklmnopqrstuvwxyz0123456789-":
                assert store.current() != version
            else:
                with pytest.raises(DamagedModelError):
                    store.current()


def test_a_sealed_folder_is_known_again(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.npy").write_bytes(b"numbers")
    seal_cache(tmp_path / "a")
    check_cache(tmp_path / "a")
    for change in (
        lambda: (tmp_path / "a" / "b.npy").write_bytes(b"numbels"),
        lambda: (tmp_path / "a" / "more").touch(),
        lambda: (tmp_path / "a" / "more").unlink() or (tmp_path / "a" / "b.npy").unlink(),
        lambda: (tmp_path / "a" / "digests.json").write_text("[]"),
        lambda: (tmp_path / "a" / "digests.json").unlink(),
    ):
        change()
        with pytest.raises(DamagedModelError, match="not as it was written"):
            check_cache(tmp_path / "a")


def test_text_of_any_kind_survives_in_a_line(store):
    why = 'déjà vu\n"quoted" \u2028 \udc80 \x00'
    store.record({"event": "trained", "version": "v1", "why": why, "more": [1, {"a": None}]})
    (event,) = store.history()
    assert event["why"] == why
    assert event["more"] == [1, {"a": None}]
    assert list(event)[:5] == ["event", "version", "previous", "time", "why"]


def test_a_number_that_is_not_json_is_refused(store):
    with pytest.raises(ValueError, match="JSON"):
        store.record({"event": "trained", "version": "v1", "ndcg": float("nan")})
    assert store.history() == []


def test_replace_file_keeps_the_mode(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(0o604)
    replace_file(path, b"new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o604
    assert list(tmp_path.iterdir()) == [path]


# Locks


def test_the_lock_nests_in_one_thread_and_keeps_other_threads_out(store):
    refused = []

    def other():
        try:
            with Store(store.models).lock():
                pass
        except UsageError as error:
            refused.append(error)

    with store.lock(), Store(store.models / ".." / "models").lock():
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert "another thread" in refused[0].message
    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert len(refused) == 1, "free again"


HOLDER = """
import sys, time
from skillmatch.store import Store
with Store(sys.argv[1]).lock():
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_keeps_other_processes_out_and_dies_with_its_holder(store):
    version = build(store)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store.models)],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout.readline() == b"held\n"
        for change in (lambda: store.promote(version, "x"), lambda: store.prune(0), lambda: build(store)):
            with pytest.raises(UsageError, match=rf"pid {holder.pid} since 2.*Z\) is changing") as caught:
                change()
            assert "try again" in caught.value.hint
        store.verify(version)
        store.record({"event": "trained", "version": version})
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    store.promote(version, "x")


FORKED = """
import os, sys
from skillmatch.errors import UsageError
from skillmatch.store import Store
store = Store(sys.argv[1])
with store.lock():
    child = os.fork()
    if child == 0:
        try:
            with store.lock():
                os._exit(1)
        except UsageError:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, "the child of a fork must not believe it holds the lock"
    grandchild = os.fork()
    if grandchild == 0:
        try:
            with store.lock():
                os._exit(1)
        except UsageError:
            os._exit(0)
    assert os.waitpid(grandchild, 0)[1] == 0, "a child that ends must not free its parent's lock"
with store.lock():
    pass
"""


def test_a_forked_child_neither_has_nor_frees_the_lock(store):
    run_script(FORKED, store.models)


def test_sweep_spares_the_draft_being_written(store):
    with store.writing() as draft:
        (draft.path / "a").write_text("x")
        (store.models / "versions" / ".draft-1-dead").mkdir()
        assert store.sweep() == [".draft-1-dead"]
        store.verify(draft.commit({}))


def test_sweep_removes_what_the_dead_left(store):
    version = build(store)
    store.promote(version, "x")
    left = store.models / "versions"
    (left / ".draft-9-x" / "deep").mkdir(parents=True)
    (left / ".trash-v1-y").mkdir()
    (store.models / ".CURRENT.new").write_text("v")
    assert store.sweep() == [".CURRENT.new", ".draft-9-x", ".trash-v1-y"]
    assert store.sweep() == []
    assert store.verify(store.current())


# Killed processes

CHANGES = r"""
import json, os, random, signal, sys, time
from pathlib import Path
from skillmatch.store import Store
from skillmatch.store.formats import promotions

models = Path(sys.argv[1])

def change(n):
    store = Store(models)
    with store.lock():
        with store.writing() as draft:
            (draft.path / "big").write_bytes(str(n).encode() * 5000)
            (draft.path / "deep").mkdir()
            (draft.path / "deep" / "small.json").write_text(json.dumps(n))
            version = draft.commit({"n": n})
        store.record({"event": "trained", "version": version, "why": "x" * 300})
        store.promote(version, "test")
        store.prune(1)

def check(allowed):
    store = Store(models)
    current = store.current()
    assert store.verify(current)["n"] in allowed, (store.verify(current)["n"], allowed)
    for version in store.versions():
        store.verify(version)
    assert all(event["event"] != "unreadable" for event in store.history())
    with store.lock():
        assert promotions(store.history())[-1] == current == store.current()
        left = {p.name for p in models.iterdir()} | {p.name for p in (models / "versions").iterdir()}
        dots = {name for name in left if name.startswith(".")}
        assert dots == {".lock"}, dots
        count = len(store.history())
        store.record({"event": "checked"})
        assert [e["event"] for e in store.history()].count("unreadable") == 0
        assert len(store.history()) == count + 1, "a torn line joins no other"
    store.verify(current)
    return store.verify(current)["n"]

def child(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return pid
"""

AT_EVERY_STEP = (
    CHANGES
    + r"""
STEPS = "open write fsync rename replace mkdir chmod fchmod ftruncate rmdir unlink".split()

def dying(n, fatal, half):
    # The fatal-th step of the file system is never done (or a write half done): killed there.
    count = 0
    def wrap(name, real):
        def step(*args, **kwargs):
            nonlocal count
            count += 1
            if count == fatal:
                if half and name == "write":
                    real(args[0], args[1][: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)
        return step
    for name in ["write"] if half else STEPS:
        setattr(os, name, wrap(name, getattr(os, name)))
    change(n)

change(0)
now, kills, n = check([0]), 0, 0
olds, news = 0, 0
for half in (False, True):
    fatal = 0
    while True:
        fatal, n = fatal + 1, n + 1
        status = os.waitpid(child(lambda: dying(n, fatal, half)), 0)[1]
        before, now = now, check([now, n])
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0 and now == n
            break
        kills += 1
        olds, news = olds + (now == before), news + (now == n)
print(json.dumps([kills, olds, news]))
"""
)

AT_RANDOM = (
    CHANGES
    + r"""
def forever(n, done):
    while True:
        change(n)
        os.write(done, b".")
        n += 1

change(0)
rng, now = random.Random(1), check([0])
start = time.monotonic()
change(1), change(0)
once, now = (time.monotonic() - start) / 2, check([0])
seen = []
for attempt in range(1, 31):
    first = attempt * 1000
    reader, done = os.pipe()
    pid = child(lambda: forever(first, done))
    for _ in range(rng.randrange(3)):
        os.read(reader, 1)
    time.sleep(rng.random() * once)
    os.kill(pid, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(pid, 0)[1]), "it was still at work"
    os.close(reader), os.close(done)
    now = check([now, *range(first, first + 999)])
    seen.append(now)
print(json.dumps(seen))
"""
)


def test_killed_at_every_step_it_leaves_the_old_version_or_the_new_one(store):
    kills, olds, news = json.loads(run_script(AT_EVERY_STEP, store.models))
    assert kills > 50
    assert olds > 20
    assert news > 20
    assert olds + news == kills


def test_killed_at_thirty_random_moments_it_leaves_a_whole_version(store):
    seen = json.loads(run_script(AT_RANDOM, store.models))
    assert len(seen) == 30
    assert len(set(seen)) > 10, "many got through"


WRITERS = """
import os, sys
from skillmatch.store import Store
pids = []
for writer in range(8):
    pid = os.fork()
    if pid == 0:
        store = Store(sys.argv[1])
        for n in range(40):
            store.record({"event": "note", "writer": writer, "n": n, "why": "x" * (n * 37)})
        os._exit(0)
    pids.append(pid)
assert all(os.waitpid(pid, 0)[1] == 0 for pid in pids)
"""


def test_eight_processes_append_whole_lines(store):
    run_script(WRITERS, store.models)
    events = store.history()
    assert len(events) == 320
    for writer in range(8):
        assert [e["n"] for e in events if e.get("writer") == writer] == list(range(40))


# A disk that says no

FULL = """
import resource, sys
from skillmatch.errors import ModelError
from skillmatch.store import Store
store, version, other = Store(sys.argv[1]), sys.argv[2], sys.argv[3]

def limited(size, work):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        work()
    except ModelError as error:
        print(error.exit_code, error.message, "|", error.hint)
    else:
        raise SystemExit("nothing was refused")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

history = store.models / "history.jsonl"
before = history.read_bytes()
limited(len(before) + 30, lambda: store.record({"event": "trained", "version": "v1"}))
assert history.read_bytes() == before, "a line that did not fit is taken back"

def write():
    with store.writing() as draft:
        (draft.path / "big").write_bytes(bytes(100_000))
        draft.commit({})
limited(50_000, write)
limited(5, lambda: store.promote(other, "x"))
assert store.current() == version
store.verify(version)
assert len(store.versions()) == 2
"""


def test_a_full_disk_is_told_and_harms_nothing(store):
    version, other = build(store, 1), build(store, 2)
    store.promote(version, "x")
    before = tree(store.models)
    told = run_script(FULL, store.models, version, other).splitlines()
    assert len(told) == 3
    for line, path in zip(told, ("history.jsonl", "versions/.draft-", "CURRENT"), strict=True):
        assert line.startswith("3 ")
        assert path in line
        assert "File too large" in line
        assert "Free some space" in line
    after = tree(store.models)
    after[".lock"] = before[".lock"]
    assert after == before


FORBIDDEN = """
import os, sys
from skillmatch.errors import ModelError
from skillmatch.store import Store
import difflib
if os.getuid() == 0:
    os.setgid(65534), os.setuid(65534)
store = Store(sys.argv[1])
version = store.current()
store.verify(version)
for change in (
    lambda: store.promote(version, "x"), lambda: store.record({"event": "x"}),
    lambda: store.prune(0), lambda: store.rollback("x"), lambda: store.writing().__enter__(),
):
    try:
        change()
    except ModelError as error:
        assert "Permission denied" in error.message and sys.argv[1] in error.message, error.message
        assert "permission" in error.hint
    else:
        raise SystemExit("nothing was refused")
"""


def test_a_folder_one_may_only_read_answers_and_refuses_changes(store, tmp_path):
    version = build(store)
    store.promote(version, "x")
    folders = [p for p in (store.models, *store.models.rglob("*")) if p.is_dir()]
    for path in store.models.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    store.models.chmod(0o555)
    opened = []
    for parent in tmp_path.parents:  # pytest's own folders keep other users out
        if os.getuid() == 0 and parent.stat().st_mode & 0o005 != 0o005:
            opened.append((parent, parent.stat().st_mode))
            parent.chmod(parent.stat().st_mode | 0o005)
    tmp_path.chmod(0o755)
    try:
        run_script(FORBIDDEN, store.models)
    finally:
        for path, mode in opened:
            path.chmod(mode)
        for path in folders:
            path.chmod(0o755)


def test_a_file_in_the_way_is_told(tmp_path):
    (tmp_path / "models").write_text("in the way")
    store = Store(tmp_path / "models")
    for use in (store.current, store.versions, store.history, lambda: store.promote("v1", "x")):
        with pytest.raises(ModelError, match="models") as caught:
            use()
        assert caught.value.hint


def test_an_error_of_the_callers_own_files_is_left_to_the_caller(store, tmp_path):
    with pytest.raises(FileNotFoundError), store.writing():
        (tmp_path / "my data").read_bytes()
    with pytest.raises(ModelError, match="nowhere"), store.writing() as draft:
        (draft.path / "nowhere" / "a").write_text("x")


def test_a_short_write_of_numpy_is_a_full_disk(store):
    with pytest.raises(ModelError, match="No space left on device") as caught, store.writing():
        raise OSError("3054668 requested and 2690016 written")
    assert "Free some space" in caught.value.hint


def test_append_of_nothing_makes_nothing(tmp_path):
    append_json(tmp_path / "a.jsonl", [])
    assert not (tmp_path / "a.jsonl").exists()
