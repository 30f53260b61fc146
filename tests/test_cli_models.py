"""models diff, profiles forget, typed answers, what is kept of suggestions: by the command line, on the toy world."""

from __future__ import annotations

import json
import random
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import skillmatch
import toy_world as toy
from skillmatch import feedback
from skillmatch.encoders import HashingEncoder, text_key
from skillmatch.errors import DamagedModelError, SkillmatchError
from skillmatch.matcher import Matcher, Options
from skillmatch.records import Evidence, Profile, SkillClaim
from skillmatch.runtime import Workspace
from skillmatch.sources import columns, read_profiles
from skillmatch.sources.removing import without_person
from skillmatch.store import Store
from skillmatch.taxonomy import Taxonomy

CONTRACT = ("--format", "json")
LEAVER = Profile(
    "ZX81",
    "Zéphyrine Wojnarowska",
    "LAC",
    "asr",
    skills=(SkillClaim("frobnicating", 4), SkillClaim("Ceph", 2)),
    evidence=(Evidence("Maîtrise le quuxage du stockage objet depuis toujours, avec grand soin"),),
)


@pytest.fixture(autouse=True, scope="module")
def _toy_taxonomy() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Taxonomy, "shipped", classmethod(lambda cls: toy.taxonomy()))
        yield


@pytest.fixture
def lab(quick, tmp_path) -> Path:
    """A toy workspace, trained twice: in both versions there is somebody who will leave."""
    root = tmp_path / "lab"
    toy.write_workspace(root, [*toy.people(), LEAVER])
    assert quick("train", cwd=root).code == 0
    changed = [*toy.people()[1:], Profile("N1", "New", "LAC", skills=(SkillClaim("CUDA", 5),)), LEAVER]
    toy.write_workspace(root, changed)
    judged = root / "data" / "judgements.csv"
    rows = [r for r in judged.read_text("utf-8").splitlines() if ",E0," not in r]
    judged.write_text("\n".join([*rows, "P1f,ZX81,1"]) + "\n", "utf-8")
    assert quick("train", "--force", cwd=root).code == 0
    return root


def versions(root: Path) -> list[str]:
    return Store(root / "models").versions()


# --- diff ---------------------------------------------------------------------------------------------


def test_diff_tells_what_moved(quick, lab):
    first, second = versions(lab)
    told = json.loads(quick("models", "diff", first, second, *CONTRACT, cwd=lab).out)
    assert told["schema"] == "skillmatch.diff/1"
    assert (told["first"], told["second"]) == (first, second)
    assert (told["added"], told["changed"], told["removed"]) == (["N1"], [], ["E0"])
    assert any(f["before"] == "E0" for f in told["firsts"])
    assert set(told["measures"]) == {"ndcg@5", "map", "mrr"}
    assert set(told["measures"]["mrr"]) == {"before", "after", "difference"}
    assert json.loads(quick("models", "diff", first, *CONTRACT, cwd=lab).out) == told, "the current one by default"
    table = quick("models", "diff", first, cwd=lab)
    assert "people who came" in table.out
    assert "N1" in table.out
    french = quick("--lang", "fr", "models", "diff", first, cwd=lab)
    assert "personnes arrivées" in french.out
    assert quick("models", "diff", "v000", cwd=lab).code == 2
    trained = quick("train", cwd=lab)
    assert "nothing has changed" in trained.out


def test_show_says_when_to_retrain(quick, lab, monkeypatch):
    import sklearn

    assert json.loads(quick("models", "show", *CONTRACT, cwd=lab).out)["retrain"] is None
    monkeypatch.setattr(sklearn, "__version__", "99.0.1")
    told = json.loads(quick("models", "show", *CONTRACT, cwd=lab).out)
    assert "99.0.1" in told["retrain"]
    assert "skillmatch train" in told["retrain"]
    assert quick("suggest", "Ceph", cwd=lab).code == 0, "answers need its numbers alone"


# --- answers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [("Exploiter un stockage objet",), ("Ceph",), ("--project", "P1f")])
def test_the_command_that_suggest_prints_records_the_answer(quick, lab, asked):
    done = quick("suggest", *asked, "--top", "2", cwd=lab)
    command = re.search(r"skillmatch (feedback add .*)", done.err)[1]
    assert quick(*shlex.split(command), cwd=lab).code == 0
    (answer,) = json.loads(quick("feedback", "list", *CONTRACT, cwd=lab).out)
    assert (answer["profile"], answer["rank"], answer["model"]) == ("E1", 1, versions(lab)[1])
    assert answer["question"] == ("" if asked[0] == "--project" else asked[0])
    assert "feedback add" not in quick("suggest", *asked, *CONTRACT, cwd=lab).err
    trained = quick("train", cwd=lab)
    assert trained.code == 0
    assert re.search(r"answers learned from +1", trained.out)


def test_one_unknown_word_is_no_question(quick, lab):
    assert quick("feedback", "add", "P99", "E1", "accepted", cwd=lab).code == 2


def test_suggestions_are_kept_only_where_asked_for(quick, lab):
    log = lab / "data" / "suggestions.jsonl"
    assert quick("suggest", "Ceph", cwd=lab).code == 0
    assert quick("batch", lab / "data" / "projects.json", cwd=lab).code == 0
    assert not log.exists()
    kept = {"SKILLMATCH_RETENTION": "30"}
    assert quick("suggest", "exploiter Ceph", cwd=lab, env=kept).code == 0
    assert quick("batch", lab / "data" / "projects.json", *CONTRACT, cwd=lab, env=kept).code == 0
    shown = feedback.read_shown(log)
    assert len(shown) == 1 + len(toy.projects())
    assert (shown[0].question, shown[0].people[0]) == ("exploiter Ceph", "E1")
    assert log.stat().st_mode & 0o027 == 0
    told = json.loads(quick("profiles", "show", "E1", *CONTRACT, cwd=lab).out)
    assert {s["project"] for s in told["suggestions"]} >= {"P1f", "P1e"}
    quick("feedback", "add", "P1e", "E1", "accepted", cwd=lab)
    (answer,) = json.loads(quick("feedback", "list", *CONTRACT, cwd=lab).out)
    assert answer["rank"] == 1
    assert quick("train", cwd=lab).code == 0, "whose retention is 0 again"
    assert feedback.read_shown(log) == []


def test_what_cannot_be_kept_is_told_and_answered(quick, lab):
    (lab / "data" / "suggestions.jsonl").mkdir()
    done = quick("suggest", "Ceph", cwd=lab, env={"SKILLMATCH_RETENTION": "30"})
    assert done.code == 0
    assert "was not kept" in done.err


def test_a_batch_with_a_cap_says_its_price(quick, lab):
    projects = lab / "data" / "projects.json"
    free = json.loads(quick("batch", projects, "--top", "1", *CONTRACT, cwd=lab).out)
    done = quick("batch", projects, "--top", "1", *CONTRACT, cwd=lab, env={"SKILLMATCH_MAX_SHOWN": "1"})
    assert "max_shown" in done.err
    assert "%" in done.err
    shown = [m["profile"]["id"] for a in json.loads(done.out) for m in a["matches"]]
    assert len(shown) == len(set(shown))
    before = [m["profile"]["id"] for a in free for m in a["matches"]]
    assert len(before) > len(set(before))


# --- forget -------------------------------------------------------------------------------------------


def traces(root: Path) -> list[str]:
    """Files that hold a byte of whoever left: id, name, words, vectors, or the keys of vectors."""
    words = [LEAVER.id, "Zéphyrine", "Wojnarowska", "frobnicating", "quuxage"]
    texts = ["frobnicating", LEAVER.evidence[0].text]
    found = [w.encode() for w in words] + [json.dumps(w).strip('"').encode() for w in words]
    found += [text_key(t, kind) for t in texts for kind in ("query", "passage")]
    vectors = HashingEncoder().encode(texts).reshape(-1, 32)
    found += [part.tobytes() for part in vectors if np.count_nonzero(part) >= 6]
    files = [p for p in root.rglob("*") if p.is_file()]
    return sorted(p.relative_to(root).as_posix() for p in files if any(t in p.read_bytes() for t in found))


def test_a_forgotten_person_is_in_no_byte(quick, lab):
    kept = {"SKILLMATCH_RETENTION": "30"}
    quick("feedback", "add", "P1f", "ZX81", "accepted", "--note", "with Zéphyrine Wojnarowska", cwd=lab)
    quick("feedback", "add", "P1f", "E1", "accepted", "--note", "asked Zéphyrine Wojnarowska (ZX81)", cwd=lab)
    quick("batch", lab / "data" / "projects.json", "--top", "all", cwd=lab, env=kept)
    before = traces(lab)
    assert {"data/profiles.json", "data/feedback.jsonl", "data/suggestions.jsonl"} <= set(before)
    assert any(p.endswith(".sqlite") for p in before)
    assert len({p.split("/")[2] for p in before if p.startswith("models/versions/")}) == 2
    old = skillmatch.load(lab)
    asked = quick("profiles", "forget", "ZX81", cwd=lab)
    assert asked.code == 2
    assert "--yes" in asked.err
    assert traces(lab) == before, "nobody was there to say yes"
    done = quick("profiles", "forget", "ZX81", "--yes", cwd=lab)
    assert done.code == 0, done.err
    assert traces(lab) == []
    assert "ZX81" not in done.out
    new = skillmatch.load(lab)
    assert [p["id"] for p in new.people] == [p["id"] for p in old.people if p["id"] != "ZX81"]
    assert versions(lab) == [new.version]
    event = next(e for e in Store(lab / "models").history() if e["event"] == "forgotten")
    assert event["versions_removed"] == 2
    assert [a.profile for a in feedback.read(lab / "data" / "feedback.jsonl")[0]] == ["E1"]
    again = quick("profiles", "forget", "ZX81", "--yes", cwd=lab)
    assert again.code == 2
    assert "Nothing is held" in again.err
    retrained = quick("train", cwd=lab)
    assert retrained.code == 0
    assert traces(lab) == []


def test_a_version_rewritten_answers_as_if_the_person_had_never_been(quick, lab):
    quick("profiles", "forget", "ZX81", "--yes", cwd=lab)
    rewritten = skillmatch.load(lab)
    people, _ = read_profiles(lab / "data" / "profiles.json")
    plain = Matcher.fit(people, toy.taxonomy(), toy.ENCODER, *toy.models(), rewritten.ranker)
    for text in ("Ceph", "Entraîner un réseau de neurones", "Weld a stainless steel vessel"):
        one, other = (m.match(text, Options(top=None)).matches for m in (rewritten, plain))
        assert [m.profile for m in one] == [m.profile for m in other]
        assert [m.raw for m in one] == pytest.approx([m.raw for m in other], abs=1e-5)
        assert [[r.evidence for r in m.needs] for m in one] == [[r.evidence for r in m.needs] for m in other]


def test_forget_where_nobody_is_known(quick, lab):
    wrong = quick("profiles", "forget", "ZX8", "--yes", cwd=lab)
    assert wrong.code == 2
    assert "ZX81" in wrong.err


def test_forget_without_any_version(quick, tmp_path):
    root = tmp_path / "new"
    toy.write_workspace(root, [*toy.people(), LEAVER])
    assert quick("profiles", "forget", "ZX81", "--yes", cwd=root).code == 0
    assert traces(root) == []


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json", ".yaml", ".xlsx", ".parquet"])
def test_every_format_loses_the_rows_of_one_person_alone(quick, tmp_path, suffix):
    root = tmp_path / "lab"
    people = [*toy.people(), LEAVER]
    toy.write_workspace(root, people)
    source = root / "data" / "profiles.json"
    rows = json.loads(source.read_text("utf-8"))
    rows[3]["collaborators"] = ["ZX81", "E1"]
    source.write_text(json.dumps(rows, ensure_ascii=False), "utf-8")
    file = tmp_path / f"profiles{suffix}"
    if suffix in (".json", ".yaml"):
        import yaml

        file.write_text(yaml.safe_dump(rows) if suffix == ".yaml" else json.dumps(rows), "utf-8")
    elif suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        table = pyarrow.Table.from_pylist([{**r, "collaborators": r.get("collaborators")} for r in rows])
        pyarrow.parquet.write_table(table, file)
    else:
        out = tmp_path / f"out{suffix if suffix != '.tsv' else '.csv'}"
        assert quick("profiles", "export", "--out", out, cwd=root).code == 0
        file.write_bytes(out.read_bytes())
    before, _ = read_profiles(file)
    assert "ZX81" in [p.id for p in before]
    changed = without_person(file, columns.PROFILES, "ZX81")
    assert changed is not None
    assert changed[1] == 1
    file.write_bytes(changed[0])
    after, problems = read_profiles(file)
    assert [p for p in problems if p.severity == "error"] == []
    assert [p.id for p in after] == [p.id for p in before if p.id != "ZX81"]
    assert next(p for p in after if p.id == rows[3]["id"]).collaborators == ("E1",)
    assert b"quuxage" not in file.read_bytes()
    assert without_person(file, columns.PROFILES, "ZX81") is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_a_table_keeps_its_encoding_and_every_other_byte(tmp_path, encoding):
    lines = [
        "id;nom;compétences;expérience;collègues\r\n",
        'A;Zoé;Ceph;"deux\r\nlignes; là";B\r\n',
        "B;Éric;CUDA;;A\r\n",
    ]
    file = tmp_path / "profiles.csv"
    file.write_bytes("".join([*lines, "C;Ève;Git;;\r\n"]).encode(encoding))
    changed, rows = without_person(file, columns.PROFILES, "C")
    assert rows == 1
    assert changed == "".join(lines).encode(encoding)


# --- nothing smuggled in ------------------------------------------------------------------------------


def test_thirty_flipped_bytes_are_refused(quick, lab, monkeypatch):
    """Each file at least once, the others at random places; before anything is opened."""
    store = Store(lab / "models")
    folder = store.folder(store.current())
    chance = random.Random(11)
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    chosen = [*files, *chance.choices(files, k=max(0, 30 - len(files)))]
    monkeypatch.setattr(Matcher, "load", classmethod(lambda *_: pytest.fail("opened before it was checked")))
    for path in chosen:
        whole = path.read_bytes()
        if not whole:
            continue
        place = chance.randrange(len(whole))
        path.chmod(0o640)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ chance.randrange(1, 256)]) + whole[place + 1 :])
        with pytest.raises(SkillmatchError) as caught:
            skillmatch.load(lab)
        assert isinstance(caught.value, DamagedModelError), path.name
        path.write_bytes(whole)
    store.verify(folder.name)


# --- who may read -------------------------------------------------------------------------------------


def test_what_we_write_is_not_for_everybody(quick, lab):
    quick("feedback", "add", "P1f", "E1", "accepted", cwd=lab)
    quick("profiles", "export", "--out", lab / "copy.csv", cwd=lab)
    assert (lab / "copy.csv").stat().st_mode & 0o027 == 0
    assert (lab / "data" / "feedback.jsonl").stat().st_mode & 0o027 == 0
    cache = lab / "models" / "cache"
    assert cache.stat().st_mode & 0o007 == 0
    for path in (lab / "models" / "versions").rglob("*"):
        assert path.stat().st_mode & 0o027 == 0, path
    quick("init", lab / "new", cwd=lab)
    assert (lab / "new" / "data" / "profiles.csv").stat().st_mode & 0o027 == 0


def test_the_api_keeps_the_cache_from_everybody(tmp_path):
    from skillmatch.runtime import load_settings
    from skillmatch.training import train

    workspace = toy.write_workspace(tmp_path / "lab")
    train(workspace, load_settings(Workspace(workspace.root), environment={}))
    assert (workspace.models / "cache").stat().st_mode & 0o007 == 0
