"""The benchmarks' own arithmetic and readers, on data small enough to check by hand."""

import csv
import io
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from benchmarks import common, lab, linking, reviewers

from skillmatch import metrics
from skillmatch.encoders import HashingEncoder
from skillmatch.errors import DataError, UsageError
from skillmatch.matcher import Matcher
from skillmatch.metrics import Comparison, Interval
from skillmatch.ranking import FEATURES, RELEVANCE_FEATURES, Ranker
from skillmatch.records import Evidence, Profile, Project, SkillClaim
from skillmatch.taxonomy import Concept, Taxonomy, fit_concepts, fit_levels

# --- baselines -----------------------------------------------------------------------------------------------------


def test_best_few_is_the_mean_of_each_persons_best_items_or_of_all_they_have() -> None:
    scores = np.array([[1.0, 3.0, 2.0, 5.0], [4.0, 0.0, 0.0, -1.0]])
    owner = np.array([0, 0, 0, 1])
    assert common.best_few(scores, owner, 1).tolist() == [[3, 5], [4, -1]]
    assert common.best_few(scores, owner, 2).tolist() == [[2.5, 5], [2, -1]]
    assert common.best_few(scores, owner, 9).tolist() == [[2, 5], [4 / 3, -1]]


def test_bm25_is_its_textbook_formula() -> None:
    documents = ["ceph ceph storage", "storage tape", "python"]
    found = common.Bm25(documents).scores(["Ceph storage", "fortran"])
    k1, b, average = common.BM25_K1, common.BM25_B, 6 / 3

    def term(frequency: int, holders: int, length: int) -> float:
        idf = math.log(1 + (3 - holders + 0.5) / (holders + 0.5))
        return idf * frequency * (k1 + 1) / (frequency + k1 * (1 - b + b * length / average))

    want = [term(2, 1, 3) + term(1, 2, 3), term(1, 2, 2), 0.0]
    np.testing.assert_allclose(found, [want, [0, 0, 0]])
    assert common.Bm25.words("C++, C# et R") == ["c++", "c#", "et", "r"]


def test_a_text_is_as_near_as_can_be_to_itself_by_characters() -> None:
    found = common.char_cosine(["calcul sur GPU", "zzz"], ["calcul sur GPU", "stockage sur bande"])
    assert found[0, 0] == pytest.approx(1)
    assert 0 < found[0, 1] < 1
    assert found[1].tolist() == [0, 0]


def test_rank_fusion_adds_reciprocal_ranks_and_splits_ties() -> None:
    k = common.RRF_K
    found = common.rank_fusion(np.array([[3.0, 2.0, 1.0]]), np.array([[5.0, 5.0, 9.0]]))
    np.testing.assert_allclose(
        found, [[1 / (k + 1) + 1 / (k + 2.5), 1 / (k + 2) + 1 / (k + 2.5), 1 / (k + 3) + 1 / (k + 1)]]
    )


def test_items_keep_people_apart_and_documents_join_what_one_says() -> None:
    profiles = [
        Profile("S1", skills=(SkillClaim("Ceph"),), evidence=(Evidence("Ran a cluster."),)),
        Profile("S2", evidence=(Evidence("Wrote firmware."),)),
    ]
    items = common.Items.of(profiles)
    assert items.texts == ["Ceph", "Ran a cluster.", "Wrote firmware."]
    assert items.owner.tolist() == [0, 0, 1]
    assert items.documents() == ["Ceph\nRan a cluster.", "Wrote firmware."]
    found = common.people_baselines(["firmware", "Ceph cluster"], items, HashingEncoder())
    assert len(found) == 6
    for name, scores in found.items():
        assert scores.shape == (2, 2), name
        assert scores[0, 1] > scores[0, 0], name
        assert scores[1, 0] > scores[1, 1], name


# --- certainty -----------------------------------------------------------------------------------------------------


def test_ratio_interval_is_the_ratio_of_sums_around_which_resamples_lie() -> None:
    rng = np.random.default_rng(3)
    bottom = rng.uniform(1, 2, 40)
    top = bottom * rng.uniform(0.5, 0.7, 40)
    found = common.ratio_interval(top, bottom)
    assert found.mean == pytest.approx(top.sum() / bottom.sum())
    assert 0.5 < found.low < found.mean < found.high < 0.7
    assert found == common.ratio_interval(top, bottom)
    assert found != common.ratio_interval(top, bottom, seed=1)
    exact = common.ratio_interval(bottom / 2, bottom)
    assert (exact.low, exact.mean, exact.high) == pytest.approx((0.5, 0.5, 0.5))


def test_ratio_interval_of_nothing_is_nan_and_lengths_must_agree() -> None:
    assert math.isnan(common.ratio_interval([], []).mean)
    assert math.isnan(common.ratio_interval([0.0], [0.0]).mean)
    with pytest.raises(ValueError, match="1 and 2"):
        common.ratio_interval([1.0], [1.0, 2.0])


def answered(key: str, chance: list[float], grades: list[float], **other: object) -> lab.Answered:
    entry = {"language": "fr", "kind": "single", "abstained": False, "ndcg": {}} | other
    return lab.Answered(key, chance=np.array(chance), grades=np.array(grades), **entry)  # type: ignore[arg-type]


def test_calibration_error_is_the_metrics_and_its_interval_is_over_needs() -> None:
    rng = np.random.default_rng(0)
    said = rng.uniform(0, 1, (30, 20))
    rows = [answered(f"n{k % 15}", list(s), list((rng.uniform(0, 1, 20) < s) * 2.0)) for k, s in enumerate(said)]
    found = lab.ece_interval(rows, 2.0)
    true = np.hstack([a.grades >= 2 for a in rows])
    assert found.mean == pytest.approx(metrics.ece(said.ravel(), true.astype(float), lab.BINS))
    assert found.count == 15
    assert found.low < found.high
    # A need asked twice with the same answer is still one need.
    once, twice = lab.ece_interval(rows[:15], 2.0), lab.ece_interval([*rows[:15], *rows[:15]], 2.0)
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high))
    # One need alone: every resample is that need, so the interval is the metric itself.
    alone = lab.ece_interval([answered("n", [0.2, 0.9, 0.3, 1.0, 0.0], [2, 1, 0, 3, 0])], 2.0)
    assert alone.low == pytest.approx(alone.mean)
    assert alone.high == pytest.approx(alone.mean)
    assert alone.mean == pytest.approx((0.8 + 0.9 + 0.3 + 0 + 0) / 5)


# --- tables --------------------------------------------------------------------------------------------------------


def test_a_report_prints_what_it_keeps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = common.Report()
    report.table(
        "Title",
        ["a", "b"],
        {
            "x": [Interval(0.5, 0.25, 0.75, 3), Comparison(-0.1, -0.2, 0.0, 0.04, 3)],
            "z": [common.Difference(0.5, -0.25, 0.75, 3), 2],
            "y": ["word", Interval(float("nan"), float("nan"), float("nan"), 0)],
        },
        "a note",
    )
    shown = capsys.readouterr().out
    assert "0.500 [0.250, 0.750]     -0.100 [-0.200, +0.000]" in shown
    assert "+0.500 [-0.250, +0.750]  2" in shown
    assert "a note" in shown
    report.write(tmp_path / "out.json")
    kept = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert kept[0]["rows"]["x"]["a"] == {"mean": 0.5, "low": 0.25, "high": 0.75, "count": 3}
    assert kept[0]["rows"]["y"] == {"a": "word", "b": {"mean": None, "low": None, "high": None, "count": 0}}


# --- lab -----------------------------------------------------------------------------------------------------------


def test_the_kind_comes_from_grades_then_prefix_then_number_of_needs() -> None:
    def kind(name: str, grades: list[float], needs: int = 1) -> str:
        return lab.kind_of(Project(name, title="t"), grades, needs, {"N": "single", "C": "composite"})

    assert kind("N-1", [0, 0]) == lab.NOBODY
    assert kind("N-1", []) == lab.NOBODY
    assert kind("C-A01", [0, 2]) == "composite"
    assert kind("N-gpu-0", [1], 3) == "single"
    assert kind("P12", [1]) == "single"
    assert kind("P12", [1], 2) == "composite"
    assert kind("N", [1], 2) == "composite"


def test_languages_of_one_need_are_one_case() -> None:
    rows = [answered("a", [0], [1]), answered("a", [0], [1], language="en"), answered("b", [0], [1])]
    assert lab.by_need(rows, [1.0, 0.0, 0.25]) == [0.5, 0.25]


def some_ranker() -> Ranker:
    """A ranker over today's features, of no particular merit."""
    zeros, ones = np.zeros(len(FEATURES), np.float32), np.ones(len(FEATURES), np.float32)
    entry = Ranker.shipped().as_dict() | {
        "relevance": [1.0] * len(RELEVANCE_FEATURES) + [0.0],
        "mean": list(zeros),
        "scale": list(ones),
        "coef": list(ones),
        "baseline": -2.0,
    }
    return Ranker.from_dict(entry)


def test_ablation_removes_one_part_and_leaves_the_rest() -> None:
    ranker = some_ranker()
    found = lab.ablations(ranker)
    assert set(found) >= {f"feature {f}" for f in FEATURES}
    for name in FEATURES:
        left = found[f"feature {name}"]
        assert [f for f, c in zip(FEATURES, left.coef, strict=True) if c == 0] == [name]
        assert left.relevance.tolist() == ranker.relevance.tolist()
    concepts = found["the concept channel"]
    assert {f for f, c in zip(FEATURES, concepts.coef, strict=True) if c == 0} == set(lab.CONCEPT_FEATURES) != set()
    assert concepts.relevance[RELEVANCE_FEATURES.index("concept")] == 0
    assert ranker.coef.all()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A lab whose right answers are obvious: each of three people says one thing, and each need asks for one."""
    words = {"S1": "Ceph cluster", "S2": "FPGA firmware", "S3": "Geant4 simulation"}
    people = [{"id": i, "evidence": [{"text": f"{w} {w}"}, {"text": "paperwork"}]} for i, w in words.items()]
    needs = [{"id": f"N-{i}", "description": f"we need a {w}"} for i, w in words.items()]
    needs.append({"id": "X-0", "description": "welding of steel"})
    (tmp_path / "profiles.jsonl").write_text("".join(json.dumps(p) + "\n" for p in people), "utf-8")
    for lang in ("fr", "en"):
        (tmp_path / f"projects_{lang}.jsonl").write_text("".join(json.dumps(n) + "\n" for n in needs), "utf-8")
    rows = "".join(f"N-{i},{i},3\n" for i in words)
    (tmp_path / "judgements.csv").write_text("project_id,profile_id,grade\n" + rows, "utf-8")
    return tmp_path


def test_a_lab_is_read_with_its_languages_and_without_its_judgements(folder: Path) -> None:
    read = lab.Lab.read(folder)
    assert [p.id for p in read.profiles] == ["S1", "S2", "S3"]
    assert [lang for lang, _ in read.projects] == ["en"] * 4 + ["fr"] * 4
    assert read.grades == {f"N-S{k}": {f"S{k}": 3.0} for k in (1, 2, 3)}
    assert list(read.files) == ["profiles.jsonl"]


def test_a_workspace_is_read_from_its_data_folder_and_brings_its_own_skills(folder: Path) -> None:
    inner = folder / "ws" / "data"
    inner.mkdir(parents=True)
    for name in ("profiles.jsonl", "judgements.csv"):
        (folder / name).rename(inner / name)
    rows = [{"id": "P1", "description": "Nous avons besoin de le faire avec la baie"}]
    (inner / "projects.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), "utf-8")
    (inner / "skills.csv").write_text("id,en\nx,X\n", "utf-8")
    read = lab.Lab.read(folder / "ws")
    assert [(lang, p.id) for lang, p in read.projects] == [("fr", "P1")]
    assert sorted(read.files) == ["profiles.jsonl", "skills.csv"]


def test_a_folder_that_is_no_lab_is_told_so(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UsageError, match="profiles"):
        lab.Lab.read(tmp_path / "nothing")
    (folder / "judgements.csv").write_text("project_id,profile_id,grade\nN-S1,S1,7\n", "utf-8")
    with pytest.raises(DataError, match="judgements"):
        lab.Lab.read(folder)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Taxonomy:
    """Three concepts in the place of the shipped taxonomy: trained in a moment."""
    taxonomy = Taxonomy(
        [
            Concept("ceph", "Ceph cluster", "grappe Ceph", practice=((3, "Ceph en grappe", "a Ceph cluster"),)),
            Concept("fpga", "FPGA firmware", "micrologiciel FPGA", practice=((4, "du FPGA", "some FPGA firmware"),)),
            Concept(
                "geant", "Geant4 simulation", "simulation Geant4", practice=((5, "Geant4", "a Geant4 simulation"),)
            ),
        ]
    )
    monkeypatch.setattr(Taxonomy, "shipped", classmethod(lambda cls: taxonomy))
    return taxonomy


def test_the_product_and_the_baselines_find_the_obvious(
    folder: Path, small: Taxonomy, capsys: pytest.CaptureFixture[str]
) -> None:
    read, encoder = lab.Lab.read(folder), HashingEncoder()
    models = fit_concepts(small, encoder), fit_levels(small, encoder)
    matcher = Matcher.fit(read.profiles, small, encoder, *models, some_ranker())
    found = lab.measure(read, matcher, encoder, lab.KINDS)
    assert len(found) == 8
    assert [a.key for a in found if not a.fits] == [f"{folder}/X-0"] * 2
    for a in found:
        assert all(v == pytest.approx(1) for v in a.ndcg.values()), a
        assert bool(a.ndcg) == a.fits
        assert ((a.chance >= 0) & (a.chance <= 1)).all()
    left = lab.ablate(read, matcher, found)
    report = common.Report()
    lab.show(report, "toy", found, left, 0)
    tables = {t["title"]: t["rows"] for t in report.tables}
    product = tables["toy: nDCG@5"][lab.PRODUCT]
    assert product["fr single"] == {"mean": 1.0, "low": 1.0, "high": 1.0, "count": 3}
    assert tables["toy: French over English, nDCG@5 on needs given in both"][lab.PRODUCT]["all"]["mean"] == 1
    assert "what each part brings" in capsys.readouterr().out


def test_the_lab_command_trains_and_measures_the_product_itself(
    folder: Path, small: Taxonomy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, kept = tmp_path / "out.json", tmp_path / "kept"
    lab.main([str(folder), str(folder), "--encoder", "hashing", "--cache", str(kept), "--json", str(out)])
    tables = {t["title"]: t["rows"] for t in json.loads(out.read_text("utf-8"))}
    product = tables[f"{folder.name}: nDCG@5"][lab.PRODUCT]
    assert product["fr single"]["mean"] == product["en single"]["mean"] > 0.6
    assert tables["all folders: nDCG@5"][lab.PRODUCT]["fr single"]["count"] == 6
    assert "3 people, 8 needs" in capsys.readouterr().out
    assert [p.name.partition("-")[0] for p in (kept / "cache").glob("concepts-*")] == ["concepts"]


# --- reviewers -----------------------------------------------------------------------------------------------------


def test_pairs_are_the_definitions_spelt_out() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        n = int(rng.integers(2, 10))
        ratings, scores = rng.integers(4, 21, n) / 4, rng.integers(0, 5, n).astype(float)
        wrong = difference = 0.0
        easy, hard = [0, 0], [0, 0]
        for a, b in itertools.combinations(range(n), 2):
            gap = ratings[a] - ratings[b]
            agree = gap * (scores[a] - scores[b])
            difference += abs(gap)
            wrong += abs(gap) * (0.5 if scores[a] == scores[b] else float(agree < 0))
            high, low = max(ratings[a], ratings[b]), min(ratings[a], ratings[b])
            for wanted, count in ((high >= 4 and low <= 2, easy), (low >= 4 and high > low, hard)):
                if wanted:
                    count[0] += int(agree > 0)
                    count[1] += 1
        found = reviewers.pairs_of(scores, ratings)
        assert found.wrong == pytest.approx(wrong)
        assert found.difference == pytest.approx(difference)
        assert (found.easy, found.hard) == (tuple(easy), tuple(hard))


def test_the_loss_pools_people_and_averages_samplings() -> None:
    right = reviewers.Pairs(0.0, 3.0, (1, 1), (0, 2))
    wrong = reviewers.Pairs(1.0, 1.0, (0, 1), (2, 2))
    mixed = reviewers.Pairs(0.5, 1.0, (1, 1), (1, 2))
    loss, easy, hard = reviewers.figures([[right, wrong], [right, mixed]], 0)
    assert loss.mean == pytest.approx(0.75 / 4)
    assert easy.mean == pytest.approx(1.5 / 2)
    assert hard.mean == pytest.approx(1.5 / 4)
    assert loss.count == 2
    better = reviewers.differences([[right, mixed]], [[right, wrong]], 0)
    assert [d.mean for d in better] == pytest.approx([-0.5 / 4, 0.5, -0.25])
    same = reviewers.differences([[right, wrong]], [[right, wrong]], 0)
    assert all((d.low, d.mean, d.high) == (0, 0, 0) for d in same)


PAPERS = {
    "p1": ("Ceph", "Storage in clusters.", 2020),
    "p2": ("FPGA", "Firmware for triggers.", 2021),
    "p3": ("Geant4", "Simulation of\x00 showers.", 2019),
    "p4": ("No abstract", None, 2019),
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The authors' layout: two people, three papers to rate and one that can't be."""
    data = tmp_path / "repo" / "data"
    (data / "participants").mkdir(parents=True)
    (data / "papers").mkdir()
    for name, (title, abstract, year) in PAPERS.items():
        entry = {"title": title, "abstract": abstract, "year": year, "ssId": name}
        (data / "papers" / f"{name}.json").write_text(json.dumps(entry), "utf-8")
    for person, own in (("11", ["p1", "p4"]), ("22", ["p2", "p3"])):
        entry = {"authorId": person, "papers": [{"paperId": p} for p in own]}
        (data / "participants" / f"{person}.json").write_text(json.dumps(entry), "utf-8")
    heads = ["ParticipantID", *(f"Paper{k}" for k in range(1, 11)), *(f"Expertise{k}" for k in range(1, 11))]
    table = io.StringIO()
    writer = csv.DictWriter(table, heads, delimiter="\t", restval="")
    writer.writeheader()
    writer.writerow({"ParticipantID": "11", "Paper1": "p1", "Expertise1": "5.0", "Paper2": "p2", "Expertise2": "1.25"})
    writer.writerow({"ParticipantID": "22", "Paper1": "p3", "Expertise1": "4", "Paper2": "no_ss", "Expertise2": "2"})
    (data / "evaluations.csv").write_text(table.getvalue(), "utf-8")
    return tmp_path / "repo"


def test_the_authors_repository_is_read_and_sampled_by_their_rule(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = reviewers.read_task(repository, samplings=2)
    assert task.ratings == {"11": {"p1": 5.0, "p2": 1.25}, "22": {"p3": 4.0}}
    assert "no_ss" in capsys.readouterr().out
    assert len(task.samplings) == 2
    people = [json.loads(line) for line in task.samplings[0].splitlines()]
    assert [(p["id"], [e["date"] for e in p["evidence"]]) for p in people] == [
        ("11", ["2020"]),
        ("22", ["2021", "2019"]),
    ]
    assert people[0]["evidence"][0]["text"] == "Ceph. Storage in clusters."
    profiles, papers = reviewers._records(task.samplings[0], task.papers)
    assert [p.id for p in papers] == ["p1", "p2", "p3"]
    assert papers[2].description == "Simulation of  showers."
    assert len(profiles) == 2


def test_the_authors_own_samplings_are_preferred(repository: Path) -> None:
    archives = repository / "evaluation_datasets" / "d_20_1" / "archives"
    archives.mkdir(parents=True)
    for person, (title, abstract, year) in (("11", PAPERS["p3"]), ("22", PAPERS["p1"])):
        content = {"id": "x", "content": {"title": title, "abstract": abstract, "year": year}}
        (archives / f"~{person}.jsonl").write_text(json.dumps(content) + "\n", "utf-8")
    task = reviewers.read_task(repository)
    assert len(task.samplings) == 1
    assert json.loads(task.samplings[0].splitlines()[0])["evidence"][0]["text"].startswith("Geant4.")


def test_the_folder_layout_holds_the_same_task(repository: Path, tmp_path: Path) -> None:
    published = reviewers.read_task(repository, samplings=2)
    plain = tmp_path / "plain"
    plain.mkdir()
    for k, people in enumerate(published.samplings, start=1):
        (plain / f"profiles_{k}.jsonl").write_bytes(people)
    (plain / "projects.jsonl").write_bytes(published.papers)
    rows = [f"{p},{who},{r}\n" for who, rated in published.ratings.items() for p, r in rated.items()]
    (plain / "judgements.csv").write_text("project_id,profile_id,grade\n" + "".join(rows), "utf-8")
    assert reviewers.read_task(plain) == published
    with pytest.raises(UsageError, match="neither"):
        reviewers.read_task(tmp_path)


def test_people_are_scored_on_the_papers_they_rated() -> None:
    papers = [Project("p1", title="a"), Project("p2", title="b"), Project("p3", title="c")]
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    ratings = {"A": {"p1": 5.0, "p2": 1.0}, "B": {"p1": 4.0, "p2": 1.0, "p3": 2.0}, "gone": {"p1": 1.0, "p2": 2.0}}
    first, second = reviewers.score(scores, papers, {"A": 0, "B": 1}, ratings)
    assert (first.wrong, first.difference) == (0, 4)
    assert (second.wrong, second.difference) == (6, 6)


def test_the_reviewers_command_asks_the_product_and_every_baseline(
    repository: Path, small: Taxonomy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    reviewers.main([str(repository), "--samplings", "2", "--encoder", "hashing", "--json", str(out)])
    first, second = json.loads(out.read_text("utf-8"))
    # Of two people only one rated two papers that have a text: Ceph, their own field, 5, and FPGA 1.25.
    assert "1 people, 2 sampling(s)" in first["title"]
    assert len(first["rows"]) == 1 + len(second["rows"]) == 7
    for name, row in first["rows"].items():
        assert row["loss (less is better)"]["mean"] == 0, name
        assert row["easy pairs right"]["mean"] == 1, name
        assert row["hard pairs right"]["mean"] is None, name
    assert "1 easy and 0 hard pairs" in capsys.readouterr().out


# --- linking -------------------------------------------------------------------------------------------------------


def test_both_layouts_of_the_sentences_say_the_same(tmp_path: Path) -> None:
    rows = [
        {"sentence": "Knows Java, React", "span": "Java", "label": "Java"},
        {"sentence": "Knows Java, React", "span": "React", "label": "LABEL NOT PRESENT"},
        {"sentence": "Degree", "span": "Degree", "label": "UNDERSPECIFIED"},
        {"sentence": "Works in teams, Java", "span": "teams", "label": "work in teams"},
        {"sentence": "Works in teams, Java", "span": "Java", "label": "Java"},
    ]
    table = io.StringIO()
    writer = csv.DictWriter(table, ["sentence", "span", "sub_span", "label"])
    writer.writeheader()
    writer.writerows(rows)
    (tmp_path / "tech.csv").write_text(table.getvalue(), "utf-8")
    lines = [
        {"sentence": "Knows Java, React", "labels": ["Java"]},
        {"sentence": "Degree", "labels": []},
        {"sentence": "Works in teams, Java", "labels": ["work in teams", "Java"]},
    ]
    (tmp_path / "tech.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines), "utf-8")
    want = {"Knows Java, React": {"Java"}, "Works in teams, Java": {"work in teams", "Java"}}
    assert linking.read_sentences(tmp_path / "tech.csv") == want
    assert linking.read_sentences(tmp_path / "tech.jsonl") == want


def test_labels_are_read_from_a_list_and_from_esco(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("Java\n\nwork in teams\nJava\n", "utf-8")
    assert [c.label_en for c in linking.read_labels(tmp_path / "labels.txt")] == ["Java", "work in teams"]
    table = io.StringIO()
    writer = csv.DictWriter(table, ["conceptUri", "preferredLabel", "altLabels"])
    writer.writeheader()
    writer.writerow({"conceptUri": "http://x/1", "preferredLabel": "work in teams", "altLabels": "team work\nteamwork"})
    writer.writerow({"conceptUri": "http://x/2", "preferredLabel": "Java", "altLabels": ""})
    (tmp_path / "skills_en.csv").write_text(table.getvalue(), "utf-8")
    first, second = linking.read_esco(tmp_path / "skills_en.csv")
    assert (first.uri, first.label_en, first.aliases_en) == ("http://x/1", "work in teams", ("team work", "teamwork"))
    assert second.aliases_en == ()


def test_labels_that_are_no_skill_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sentences = {"a": {"Java", "gone"}, "b": {"gone"}}
    assert linking.known(sentences, {"Java", "R"}, tmp_path / "tech.csv") == {"a": {"Java"}}
    assert "2 of 3 labels" in capsys.readouterr().out
    with pytest.raises(UsageError, match="tech"):
        linking.known(sentences, {"R"}, tmp_path / "tech.csv")


def test_linking_is_scored_over_all_skills() -> None:
    labels = [f"skill {k}" for k in range(30)]
    place = -np.arange(30.0)
    wanted = [{"skill 0", "skill 2"}, {"skill 29"}]
    found = linking.measure({"x": np.stack([place, place])}, wanted, labels)["x"]
    assert found[0] == pytest.approx([(1 + 2 / 3) / 2, 1 / 30])
    assert found[1] == [1, 0]


def test_the_product_links_among_the_given_skills_alone() -> None:
    ours = [Concept("java", "Java", "Java"), Concept("teams", "work in teams", "travail en groupe")]
    other = [Concept("ceph", "Ceph storage", "stockage Ceph")]
    encoder = HashingEncoder()
    index = linking.LabelIndex.fit(Taxonomy([*ours, *other]), encoder)
    found = linking.product(index, ["we work in teams with Ceph storage", "Java"], ours, encoder)
    assert found.shape == (2, 2)
    assert found.argmax(axis=1).tolist() == [1, 0]
    assert sorted(found[0]) == [-1, 0]


def test_the_linking_command_measures_product_and_baselines(tmp_path: Path, small: Taxonomy) -> None:
    (tmp_path / "labels.txt").write_text("Java\nwork in teams\nwelding\n", "utf-8")
    row = {"sentence": "You work in teams", "labels": ["work in teams"]}
    (tmp_path / "toy.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    out = tmp_path / "out.json"
    files = [str(tmp_path / "toy.jsonl"), "--labels", str(tmp_path / "labels.txt")]
    linking.main([*files, "--encoder", "hashing", "--json", str(out)])
    first, second = json.loads(out.read_text("utf-8"))
    assert first["title"] == "toy: 1 sentences, 3 skills"
    assert len(first["rows"]) == 1 + len(second["rows"]) == 5
    assert all(row["MAP"]["mean"] == row["recall@10"]["mean"] == 1 for row in first["rows"].values())
