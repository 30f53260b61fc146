"""Teaching the encoder French: what a workspace keeps of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import toy_world as toy
from skillmatch.errors import DamagedModelError
from skillmatch.runtime import Workspace, load_settings
from skillmatch.taxonomy import Taxonomy, twins
from skillmatch.training.running import ADAPTED, _encoder
from test_encoders import tiny_model


def test_twins_say_the_same_in_both_languages():
    found = dict(twins(toy.taxonomy().concepts))
    assert found["stockage Ceph"] == "Ceph storage"
    assert found["Exploiter un stockage objet distribué"] == "Operate a distributed object storage"
    assert all(f and e and f != e for f, e in found.items())
    shipped = twins(Taxonomy.shipped().concepts)
    assert len(shipped) > 5000
    assert len(shipped) == len(dict.fromkeys(shipped))


def test_the_hashing_encoder_can_not_learn(quick, lab):
    done = quick("train", "--adapt", cwd=lab)
    assert done.code == 2
    assert "can't learn" in done.err


@pytest.mark.filterwarnings("ignore")
def test_later_trainings_keep_to_what_the_encoder_learned(tmp_path: Path):
    tiny_model(tmp_path)
    source = str(tmp_path / "mine")
    workspace = Workspace(tmp_path / "lab")
    (workspace.data).mkdir(parents=True)
    (workspace.root / "skillmatch.toml").write_text(f'encoder = "{source}"\n', "utf-8")
    settings = load_settings(workspace, environment={})
    told: list[tuple[str, int, int]] = []

    def stage(name: str, done: int, total: int) -> None:
        told.append((name, done, total))

    plain = _encoder(workspace, settings, (), stage)
    assert told == []
    adapted = _encoder(workspace, settings, toy.taxonomy().concepts, stage)
    assert {name for name, _, _ in told} == {"adapting"}
    assert told[-1][1] == told[-1][2] > 0
    assert adapted.fingerprint != plain.fingerprint
    assert not np.allclose(*(e.encode(["stockage ceph"]) for e in (plain, adapted)), atol=1e-4)
    mark = workspace.models / "encoders" / ADAPTED
    assert json.loads(mark.read_text("utf-8"))["encoder"] == source
    assert _encoder(workspace, settings, (), stage).fingerprint == adapted.fingerprint
    # What is not as it was learned is refused: weights, or the note of which they are.
    (folder,) = (workspace.models / "encoders").glob("adapted-*")
    for path in (mark, folder / "model.safetensors"):
        whole = path.read_bytes()
        path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
        with pytest.raises(DamagedModelError, match=r"adapted\.json"):
            _encoder(workspace, settings, (), stage)
        path.write_bytes(whole)
    # Another taxonomy: learned anew, and the copy before goes.
    _encoder(workspace, settings, toy.taxonomy().concepts[:3], stage)
    assert len(list((workspace.models / "encoders").glob("adapted-*"))) == 1
    # Named by a flag, the encoder is taken as it is, now and from then on.
    flagged = replace(settings, sources={**settings.sources, "encoder": "flag"})
    assert _encoder(workspace, flagged, (), stage).fingerprint == plain.fingerprint
    assert _encoder(workspace, settings, (), stage).fingerprint == plain.fingerprint
