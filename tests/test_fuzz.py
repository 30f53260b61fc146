"""A seeded thousand of the inputs of ``benchmarks/fuzz.py``, and what longer runs of it have found."""

from __future__ import annotations

import pytest
from benchmarks import fuzz


def test_a_thousand_inputs_raise_nothing():
    seen = fuzz.fuzz(1000, 1)
    assert sum(seen.values()) >= 1000
    assert set(seen) == set(fuzz.TARGETS)


def test_the_fuzzer_sees(monkeypatch):
    def fail(folder, data):
        raise KeyError("a defect")

    monkeypatch.setattr(fuzz, "TARGETS", {"lines": (lambda: b"sound", fail)})
    with pytest.raises(KeyError):
        fuzz.one("lines", b"anything")
    with pytest.raises(AssertionError, match="lines of"):
        fuzz.fuzz(30, 1)


@pytest.mark.parametrize(
    ("target", "data"),
    [
        # NumPy reads the header of an array with Python's tokenizer, and lets its errors through.
        ("array", b"\x93NUMPY\x01\x00\x06\x00\x00\x00\x00'''"),
        ("array", b"\x93NUMPY\x01\x00\x0c\x00" + b"\x00" * 10 + b"{"),
        # An argument that is no text was looked for as a file, whose name was too long.
        ("command", b"9" * 400 + b"\x80suggest\nCeph"),
        # Read with libyaml, rewritten with PyYAML's own parser, which takes this question mark for a key.
        (".yaml", b"- id: A\n  skills: [Ceph, {name: G?t, level: 3}]\n- id: B\n  evidence: Oui.\n"),
    ],
)
def test_what_was_found_stays_mended(target, data):
    fuzz.one(target, data)
