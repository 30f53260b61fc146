"""Feedback: what is kept, refused, taught, forgotten; beside other writers, and killed."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import skillmatch
from skillmatch.errors import DataError, UsageError
from skillmatch.feedback import (
    Answer,
    add,
    expire,
    forget,
    forget_shown,
    import_rows,
    labels,
    last_shown,
    log_shown,
    question_id,
    read,
    read_shown,
)

SOURCE = Path(skillmatch.__file__).parents[1]
TIME = "2026-11-20T09:30:00Z"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "feedback.jsonl"


def run_script(script, *arguments):
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


def said(answer, project="P1", profile="S01", **more):
    return Answer(project, profile, answer, **more)


# Adding and reading


def test_no_file_is_no_answer(path):
    assert read(path) == ([], [])
    assert forget(path, "S01") == 0
    assert not path.exists()


def test_what_is_added_is_read(path):
    one = add(path, "P12", "S07", "declined", reason="workload", note="« déjà pris »\n", model="v1", rank=3)
    two = add(path, " P  12 ", "S08", "Accepted", time="2026-11-20T10:30:00+01:00")
    answers, problems = read(path)
    assert problems == []
    assert [a.content() for a in answers] == [one.content(), two.content()]
    assert [a.row for a in answers] == [1, 2]
    assert (two.project, two.answer, two.time) == ("P 12", "accepted", TIME)
    assert one.time.endswith("Z")
    assert len(one.time) == 20
    line = json.loads(path.read_text().splitlines()[0])
    assert " ".join(line) == "schema time project profile answer reason note model rank"
    assert line["schema"] == "skillmatch.feedback/1"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"answer": "maybe"}, "answer"),
        ({"answer": ""}, "answer"),
        ({"project": " "}, "project"),
        ({"profile": "S\x000"}, "profile"),
        ({"profile": "x" * 101}, "profile"),
        ({"profile": "\udc80"}, "profile"),
        ({"answer": "declined", "reason": "boredom"}, "reason"),
        ({"reason": "skill"}, "reason"),
        ({"note": "x" * 20_001}, "note"),
        ({"note": "a\x07"}, "note"),
        ({"note": "\udcff"}, "note"),
        ({"rank": 0}, "rank"),
        ({"rank": True}, "rank"),
        ({"rank": 1.5}, "rank"),
        ({"time": "yesterday"}, "time"),
        ({"time": "0001-01-01T00:00:00+10:00"}, "time"),
    ],
)
def test_what_is_wrong_is_refused_and_not_kept(path, wrong, field):
    with pytest.raises(UsageError, match=field) as caught:
        add(path, **{"project": "P1", "profile": "S01", "answer": "accepted"} | wrong)
    assert [p.column for p in caught.value.problems] == [field]
    assert caught.value.hint
    assert not path.exists()


def test_everything_wrong_is_told_at_once(path):
    with pytest.raises(UsageError) as caught:
        add(path, "", "", "perhaps", rank=-1)
    assert [p.column for p in caught.value.problems] == ["project", "profile", "answer", "rank"]


GOOD = json.dumps(said("accepted", time=TIME).as_dict())


@pytest.mark.parametrize(
    ("line", "says", "severity"),
    [
        ("not json", "is not JSON", "error"),
        ("[" * 100_000, "is not JSON", "error"),
        ("\xff", "is not JSON", "error"),
        ("[1, 2]", "is not an answer", "error"),
        ('{"project": "P1"}', "is not an answer", "error"),
        (GOOD.replace("feedback/1", "feedback/2"), "newer schema", "warning"),
        (GOOD.replace("accepted", "acepted"), "not one of the choices", "error"),
        (GOOD.replace('"S01"', "null"), "is missing", "error"),
        (GOOD.replace('"S01"', '["S01"]'), "is not text", "error"),
        (GOOD.replace(TIME, ""), "is not a time", "error"),
    ],
)
def test_a_line_that_is_no_answer_is_told_and_the_others_are_read(path, line, says, severity):
    path.parent.mkdir()
    path.write_bytes(f"{GOOD}\n".encode() + line.encode("latin-1") + f"\n\n{GOOD}\r\n".encode())
    answers, (problem,) = read(path)
    assert [a.row for a in answers] == [1, 4]
    assert says in problem.problem
    assert (problem.file, problem.row, problem.severity) == ("feedback.jsonl", 2, severity)
    assert problem.remedy


def test_a_file_saved_by_hand_is_read(path):
    path.parent.mkdir()
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode() + b"\r\n" + GOOD.replace("S01", "S02").encode())
    answers, problems = read(path)
    assert ([a.profile for a in answers], problems) == (["S01", "S02"], [])
    add(path, "P1", "S03", "accepted")
    answers, problems = read(path)
    assert ([a.profile for a in answers], problems) == (["S01", "S02", "S03"], [])


def test_an_unfinished_last_line_is_a_warning_until_the_next_answer(path):
    add(path, "P1", "S01", "accepted")
    whole = path.read_bytes()
    for cut in range(1, len(whole) - 1, 7):
        path.write_bytes(whole + whole[:cut])
        answers, (problem,) = read(path)
        assert len(answers) == 1
        assert (problem.row, problem.severity) == (2, "warning")
        add(path, "P1", "S02", "accepted")
        answers, problems = read(path)
        assert ([a.profile for a in answers], problems) == (["S01", "S02"], [])


def test_what_somebody_typed_is_never_thrown_away(path):
    path.parent.mkdir()
    path.write_text("S05 was great")
    add(path, "P1", "S01", "accepted")
    assert path.read_text().startswith("S05 was great\n")
    answers, (problem,) = read(path)
    assert (len(answers), problem.row) == (1, 1)


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@settings(max_examples=60, deadline=None)
@given(note=text, project=text, profile=text)
def test_any_text_comes_back_or_is_refused(tmp_path_factory, note, project, profile):
    path = tmp_path_factory.mktemp("any") / "feedback.jsonl"
    try:
        made = add(path, project, profile, "accepted", note=note)
    except UsageError:
        assert not path.exists()
        return
    answers, problems = read(path)
    assert problems == []
    assert [a.content() for a in answers] == [made.content()]
    assert made.note == note.strip()


# Importing


def rows(*cells, first=2):
    return list(enumerate(cells, first))


def test_a_french_table_is_imported(path):
    added = import_rows(
        path,
        rows(
            {"Projet": "P1", "Profil": "S01", "Réponse": "accepté", "Rang": "2", "Date": "2026-11-20"},
            {"Projet": "P1", "Profil": "S02", "Réponse": "Refusée", "Motif": "Compétences", "Rang": ""},
            {"Projet": "", "Profil": None, "Réponse": "  ", "Rang": float("nan")},
        ),
        "answers.csv",
    )
    assert [(a.profile, a.answer, a.reason, a.rank) for a in added] == [
        ("S01", "accepted", "", 2),
        ("S02", "declined", "skill", None),
    ]
    assert added[0].time == "2026-11-20T00:00:00Z"
    assert [a.content() for a in read(path)[0]] == [a.content() for a in added]


def test_cells_of_a_spreadsheet_are_understood(path):
    cells = {"project_id": 12.0, "profile_id": 7, "answer": "accepted", "rank": 3.0}
    (one,) = import_rows(path, rows(cells | {"time": datetime(2026, 11, 20, 9, 30)}), "a.xlsx")
    assert (one.project, one.profile, one.rank, one.time) == ("12", "7", 3, TIME)
    (two,) = import_rows(path, rows(cells | {"time": date(2026, 11, 20)}), "a.xlsx")
    assert two.time == "2026-11-20T00:00:00Z"


def test_importing_twice_adds_nothing_twice(path):
    table = rows(
        {"project": "P1", "profile": "S01", "answer": "accepted"},
        {"project": "P1", "profile": "S01", "answer": "accepted"},
        {"project": "P1", "profile": "S02", "answer": "declined", "reason": "skill", "time": "2026-11-20"},
    )
    assert len(import_rows(path, table, "a.csv")) == 2
    before = path.read_bytes()
    assert import_rows(path, table, "a.csv") == []
    assert path.read_bytes() == before
    add(path, "P1", "S01", "declined", reason="workload", time="2099-01-01")
    assert len(import_rows(path, table[:1], "a.csv")) == 1, "it changed in between: this is news"


def test_a_table_with_problems_adds_nothing_and_tells_all(path):
    table = rows(
        {"project": "P1", "profile": "S01", "answer": "accepted"},
        {"project": "P1", "profile": "", "answer": "perhaps"},
        {"project": "P1", "profile": "S03", "answer": "declined", "rank": "first"},
    )
    with pytest.raises(DataError, match=r"3 problem\(s\); nothing was imported") as caught:
        import_rows(path, table, "a.csv")
    places = [(p.file, p.row, p.column) for p in caught.value.problems]
    assert places == [("a.csv", 3, "profile"), ("a.csv", 3, "answer"), ("a.csv", 4, "rank")]
    assert not path.exists()


def test_a_table_without_the_columns_is_told_once(path):
    with pytest.raises(DataError) as caught:
        import_rows(path, rows({"who": "S01", "project": "P1"}, {"who": "S02", "project": "P1"}), "a.csv")
    assert [(p.column, p.row) for p in caught.value.problems] == [("profile", None), ("answer", None)]
    assert import_rows(path, [], "empty.csv") == []


# Labels


def test_labels_by_hand():
    found = labels(
        [
            said("accepted", profile="S01", rank=1),
            said("accepted", profile="S02", rank=3),
            said("accepted", profile="S03", rank=500),
            said("accepted", profile="S04"),
            said("declined", profile="S05", reason="skill", rank=3),
            said("declined", profile="S06", reason="workload"),
            said("declined", profile="S07", reason="other"),
            said("declined", profile="S08"),
        ]
    )
    assert [(label.profile, label.grade, label.weight) for label in found] == [
        ("S01", 3, 0.5),
        ("S02", 3, 0.5 * math.log2(4)),
        ("S03", 3, 1.5),
        ("S04", 3, 0.5),
        ("S05", 0, 1.0),
    ]
    project, profile, grade, weight, _ = found[0]
    assert (project, profile, grade, weight) == ("P1", "S01", 3.0, 0.5)


def test_the_last_answer_wins_by_time_then_by_place():
    early = said("accepted", time="2026-01-01T00:00:00Z", row=9)
    late = said("declined", reason="skill", time="2026-02-01T00:00:00Z", row=1)
    same_second = said("accepted", time="2026-02-01T00:00:00Z", row=2)
    overloaded = said("declined", reason="workload", time="2026-03-01T00:00:00Z", row=3)
    assert [label.grade for label in labels([late, early])] == [0]
    assert [label.grade for label in labels([same_second, late, early])] == [3]
    assert labels([overloaded, same_second, late, early]) == []


answers_strategy = st.lists(
    st.builds(
        Answer,
        project=st.sampled_from(["P1", "P2"]),
        profile=st.sampled_from(["S1", "S2", "S3"]),
        answer=st.sampled_from(["accepted", "declined"]),
        reason=st.sampled_from(["", "skill", "workload"]),
        rank=st.none() | st.integers(1, 10**6),
        time=st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(answers=answers_strategy, data=st.data())
def test_labels_properties(answers, data):
    answers = [Answer(**{n: getattr(a, n) for n in a.__slots__} | {"row": i}) for i, a in enumerate(answers)]
    found = labels(answers)
    assert labels(data.draw(st.permutations(answers))) == found
    assert all(0.5 <= label.weight <= 1.5 and label.grade in (0, 3) for label in found)
    pairs = [(label.project, label.profile) for label in found]
    assert pairs == sorted(set(pairs))


# Forgetting


def test_a_forgotten_person_leaves_no_trace(path):
    add(path, "P1", "S07", "accepted", note="I like it")
    add(path, "P1", "S08", "declined", reason="other", note="s07 or Zoé  Martin would be better; not S070")
    add(path, "P2", "S070", "accepted", note="again\nS07")
    other = add(path, "P2", "S09", "accepted", note="nothing to see")
    extra = {**other.as_dict(), "seen": ["by\nS07"], "by": "Zoé Martin"}
    with path.open("a") as file:
        file.write('{"broken": "Zo\\u00e9 Martin\n{"broken": "S08"\n' + json.dumps(extra) + "\n")
        file.write('{"schema": "skillmatch.feedback/1", "profile": " S07", "answer": "odd"}\n')
        file.write('{"torn": "on S07')
    path.chmod(0o600)
    assert forget(path, "S07", ["Zoé Martin"]) == 7
    left = path.read_text()
    assert "S07" not in left.replace("S070", "")
    assert "s07" not in left
    assert "Martin" not in left
    answers, problems = read(path)
    assert [a.profile for a in answers] == ["S08", "S070", "S09", "S09"]
    assert answers[0].note == "[forgotten] or [forgotten] would be better; not S070"
    assert answers[1].note == "again\n[forgotten]"
    assert [p.value for p in problems] == ['{"broken": "S08"']
    assert json.loads(left.splitlines()[-1])["seen"] is None
    assert path.stat().st_mode & 0o777 == 0o600
    assert forget(path, "S07", ["Zoé Martin"]) == 0
    assert [p.name for p in path.parent.iterdir()] == ["feedback.jsonl"]


def test_forget_touches_no_byte_of_the_others(path):
    path.parent.mkdir()
    odd = b'\xef\xbb\xbf{"a":   1}\r\n\r\n junk \xff\n' + GOOD.encode()
    path.write_bytes(odd)
    assert forget(path, "S99") == 0
    assert path.read_bytes() == odd
    assert forget(path, "S01") == 1
    assert path.read_bytes() == odd.removesuffix(GOOD.encode())


def test_forget_clears_what_a_killed_one_left(path):
    add(path, "P1", "S01", "accepted")
    path.with_name(".feedback.jsonl.new").write_text("S02 S03")
    assert forget(path, "S02") == 0
    assert not path.with_name(".feedback.jsonl.new").exists()


def test_a_linked_file_stays_a_link(path, tmp_path):
    path.parent.mkdir()
    real = tmp_path / "real.jsonl"
    path.symlink_to(real)
    add(path, "P1", "S01", "accepted")
    add(path, "P1", "S02", "accepted")
    forget(path, "S01")
    assert path.is_symlink()
    assert [a.profile for a in read(real)[0]] == ["S02"]


# Many writers, killed writers, full disks

WRITERS = """
import os, sys
from pathlib import Path
from skillmatch.feedback import add, forget
path = Path(sys.argv[1])
pids = []
for writer in range(8):
    pid = os.fork()
    if pid == 0:
        for n in range(50):
            add(path, f"P{n}", f"S{writer}", "accepted", note="x" * (n * 97), rank=n + 1)
        os._exit(0)
    pids.append(pid)
n = changes = 0
while sys.argv[2:] and os.waitid(os.P_PID, pids[-1], os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
    changes += forget(path, f"S{n % 4}")
    n += 1
assert all(os.waitpid(pid, 0)[1] == 0 for pid in pids)
print(changes)
"""


def test_eight_writers_of_fifty_answers_lose_none(path):
    run_script(WRITERS, path)
    answers, problems = read(path)
    assert problems == []
    assert len(answers) == 400
    for writer in range(8):
        own = [a for a in answers if a.profile == f"S{writer}"]
        assert [a.rank for a in own] == list(range(1, 51)), "each writer's own order is kept"
        assert all(len(a.note) == (a.rank - 1) * 97 for a in own)


def test_answers_written_while_others_are_forgotten_are_kept(path):
    assert int(run_script(WRITERS, path, "forget")) > 10
    answers, problems = read(path)
    assert problems == []
    for writer in range(4, 8):
        assert [a.rank for a in answers if a.profile == f"S{writer}"] == list(range(1, 51))
    for person in range(4):
        forget(path, f"S{person}")
    assert len(read(path)[0]) == 200


KILLED = r"""
import os, random, signal, sys, time
from pathlib import Path
from skillmatch.feedback import add, forget, read

path, real_write, real_replace = Path(sys.argv[1]), os.write, os.replace

def writer(number, acknowledge, half):
    # Every half-th line is only half written when the writer is killed.
    count = 0
    def write(descriptor, data):
        nonlocal count
        count += 1
        if count == half:
            real_write(descriptor, data[: random.randrange(len(data))])
            os.kill(os.getpid(), signal.SIGKILL)
        return real_write(descriptor, data)
    os.write = write
    n = 0
    while True:
        add(path, f"P{n}", f"S{number}", "accepted", note="x" * 500)
        real_write(acknowledge, f"P{n} S{number}\n".encode())
        n += 1

random.seed(1)
kept = set()
for number in range(0, 60, 2):
    reader, acknowledge = os.pipe()
    pids = []
    for half in (random.randrange(2, 9), 10**9):  # one torn by its own kill, one killed from outside
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            writer(number + (half == 10**9), acknowledge, half)
        pids.append(pid)
    os.close(acknowledge)
    assert os.WIFSIGNALED(os.waitpid(pids[0], 0)[1])
    time.sleep(random.random() * 0.005)
    os.kill(pids[1], signal.SIGKILL)
    os.waitpid(pids[1], 0)
    with open(reader) as pipe:
        kept |= set(pipe.read().split("\n")) - {""}
    answers, problems = read(path)
    assert len(problems) <= 1 and all(p.severity == "warning" for p in problems), problems
    missing = kept - {f"{a.project} {a.profile}" for a in answers}
    assert not missing, missing
    add(path, "P", f"after-{number}", "accepted")
    answers, problems = read(path)
    assert not problems, problems
    assert answers[-1].profile == f"after-{number}"
print(len(kept))
"""


def test_killed_writers_lose_no_answer_they_had_confirmed(path):
    path.parent.mkdir()
    kept = int(run_script(KILLED, path))
    assert kept > 100
    assert len(read(path)[0]) >= kept + 30


FORGET_KILLED = r"""
import os, signal, sys
from pathlib import Path
from skillmatch.feedback import add, forget, read

path = Path(sys.argv[1])
for n in range(20):
    add(path, f"P{n}", f"S{n % 2}", "accepted")
before = path.read_bytes()
kills = outcomes = 0
for fatal in range(1, 100):
    path.write_bytes(before)
    pid = os.fork()
    if pid == 0:
        count = 0
        def wrap(name, real):
            def step(*args, **kwargs):
                global count
                count += 1
                if count == fatal:
                    if name == "write":
                        real(args[0], args[1][: len(args[1]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **kwargs)
            return step
        for name in "open write fsync rename replace fchmod unlink".split():
            setattr(os, name, wrap(name, getattr(os, name)))
        forget(path, "S1")
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    answers, problems = read(path)
    assert not problems
    people = {a.profile for a in answers}
    assert (len(answers), people) in ((20, {"S0", "S1"}), (10, {"S0"})), (len(answers), people)
    add(path, "P", "S9", "accepted")
    forget(path, "S1")
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert len(read(path)[0]) == 11
    if not os.WIFSIGNALED(status):
        break
    kills += 1
    outcomes += len(answers) == 10
assert kills >= 6 and 0 < outcomes < kills, (kills, outcomes)
"""


def test_a_killed_forget_leaves_the_old_file_or_the_new_one(path):
    path.parent.mkdir()
    run_script(FORGET_KILLED, path)


FULL = """
import resource, sys
from pathlib import Path
from skillmatch.errors import DataError
from skillmatch.feedback import add, forget
path = Path(sys.argv[1])
for size, work in (
    (path.stat().st_size + 50, lambda: add(path, "P1", "S03", "accepted")),
    (20, lambda: forget(path, "S01")),
):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        work()
    except DataError as error:
        print(error.exit_code, error.message)
"""


def test_a_full_disk_is_told_and_harms_nothing(path):
    add(path, "P1", "S01", "accepted")
    add(path, "P1", "S02", "accepted")
    before = path.read_bytes()
    told = run_script(FULL, path).splitlines()
    assert told == [f"2 {path}: File too large."] * 2
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["feedback.jsonl"]


def test_a_path_that_is_no_file_is_told(tmp_path):
    (tmp_path / "feedback.jsonl").mkdir()
    for use in (read, lambda p: forget(p, "S01"), lambda p: add(p, "P1", "S01", "accepted")):
        with pytest.raises(DataError, match=r"feedback\.jsonl") as caught:
            use(tmp_path / "feedback.jsonl")
        assert caught.value.hint


# Typed questions


def test_an_answer_to_a_typed_question_keeps_the_question(path):
    made = add(path, "", "S01", "accepted", question="tune our  Ceph cluster", rank=2)
    again = add(path, "", "S02", "declined", reason="skill", question="tune our Ceph cluster")
    assert made.project == again.project == question_id("tune our Ceph cluster")
    assert made.project != question_id("tune our network")
    first, second = labels(read(path)[0])
    assert (first.question, first.grade, second.grade) == ("tune our  Ceph cluster", 3.0, 0.0)
    forget(path, "S09", ["Ceph"])
    assert "Ceph" not in path.read_text("utf-8")


# What was shown


def test_what_was_shown_tells_version_and_rank(tmp_path):
    log = tmp_path / "data" / "suggestions.jsonl"
    assert (read_shown(log), last_shown(log, "P1", "S2"), forget_shown(log, "S2"), expire(log, 1)) == ([], None, 0, 0)
    log_shown(log, [("v1", "P1", "", ["S1", "S2"])], 30)
    log_shown(log, [("v2", "P1", "", ["S3", "S1"]), ("v2", "text-1", "Ask Ana", ["S2"])], 30)
    assert [s.people for s in read_shown(log)] == [("S1", "S2"), ("S3", "S1"), ("S2",)]
    one, two = last_shown(log, "P1", "S1"), last_shown(log, "P1", "S2")
    assert (one.model, one.rank("S1"), two.model, two.rank("S2")) == ("v2", 2, "v1", 2)
    assert forget_shown(log, "S1", ["Ana"]) == 3
    assert [s.people for s in read_shown(log)] == [(None, "S2"), ("S3", None), ("S2",)]
    assert last_shown(log, "P1", "S2").rank("S2") == 2, "the ranks of the others stay"
    assert "S1" not in log.read_text("utf-8")
    assert "Ana" not in log.read_text("utf-8")
    assert log.stat().st_mode & 0o007 == 0


def test_what_was_shown_goes_when_its_time_is_over(tmp_path):
    log = tmp_path / "suggestions.jsonl"
    for day in ("2020-01-01", "2020-01-20", "2020-02-01"):
        log_shown(log, [("v", day, "", ["S1"])], 10**9, f"{day}T00:00:00Z")
    assert expire(log, 30, datetime(2020, 2, 10, tzinfo=UTC)) == 1
    assert [s.project for s in read_shown(log)] == ["2020-01-20", "2020-02-01"]
    assert expire(log, 30, datetime(2020, 2, 10, tzinfo=UTC)) == 0
    log_shown(log, [("v", "now", "", ["S1"])], 7)
    assert [s.project for s in read_shown(log)] == ["now"]
    log.write_text("not json\n" + log.read_text("utf-8"), "utf-8")
    assert [s.project for s in read_shown(log)] == ["now"]
    assert expire(log, 0) == 2
    assert read_shown(log) == []


# --- answers that can't be ----------------------------------------------------------------------------


def test_an_import_knows_the_workspace(path):
    """Else an old table brings back the id of somebody who was forgotten."""
    table = rows(
        {"project": "P1", "profile": "S01", "answer": "accepted"},
        {"project": "P9", "profile": "S09", "answer": "accepted"},
    )
    known = {"project": {"P1"}, "profile": {"S01"}}
    with pytest.raises(DataError) as caught:
        import_rows(path, table, "a.csv", known)
    told = [(p.row, p.column, p.value) for p in caught.value.problems]
    assert [(column, value) for _, column, value in told] == [("project", "P9"), ("profile", "S09")]
    assert len({row for row, _, _ in told}) == 1
    assert not path.exists()
    assert len(import_rows(path, table[:1], "a.csv", known)) == 1


def test_the_command_refuses_ranks_versions_and_people_that_are_not(quick, lab):
    file = lab / "data" / "feedback.jsonl"
    said = quick("feedback", "add", "P01", "S07", "accepted", "--rank", "0", cwd=lab)
    assert (said.code, "is not a rank" in said.err) == (2, True)
    said = quick("feedback", "add", "P01", "S07", "accepted", "--model", "v00000000dead", cwd=lab)
    assert (said.code, "never a version v00000000dead" in said.err) == (2, True)
    (lab / "answers.csv").write_text("project,profile,answer\nP01,S07,accepted\nP01,S777,accepted\n", "utf-8")
    said = quick("feedback", "import", "answers.csv", cwd=lab)
    assert (said.code, "S777" in said.err, "is no profile" in said.err) == (2, True, True)
    assert not file.exists()
    version = (lab / "models" / "CURRENT").read_text("utf-8").strip()
    assert quick("feedback", "add", "P01", "S07", "accepted", "--rank", "1", "--model", version, cwd=lab).code == 0
    assert json.loads(file.read_text("utf-8"))["rank"] == 1
