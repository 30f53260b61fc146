"""Reports: the choice of a language, and that the French catalogue is whole."""

from __future__ import annotations

import ast
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2 import Environment, nodes

import skillmatch
from skillmatch.errors import UsageError
from skillmatch.reports import (
    pick_lang,
    tr,
)
from skillmatch.reports.language import catalogue, read_po

SOURCE = Path(skillmatch.__file__).parent


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        ("fr", {"LANG": "en_GB.UTF-8"}, "fr"),
        ("fr_FR.UTF-8", {}, "fr"),
        ("", {}, "en"),
        ("", {"LANG": "fr_CA.UTF-8"}, "fr"),
        ("", {"LC_ALL": "C", "LANG": "fr_FR"}, "en"),
        ("", {"LC_ALL": "", "LC_MESSAGES": "fr_BE@euro", "LANG": "en_US"}, "fr"),
        ("", {"LANG": "de_DE.UTF-8"}, "en"),
    ],
)
def test_pick_lang(given: str, environment: dict[str, str], expected: str) -> None:
    assert pick_lang(given, environment) == expected


def test_a_language_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="no language 'de'"):
        pick_lang("de", {})


def test_tr() -> None:
    assert tr("yes", "fr") == "oui"
    assert tr("yes", "en") == "yes"
    assert tr("Never said before: {what}.", "fr", what="{x} <b>") == "Never said before: {x} <b>."
    assert tr("a {brace} in data", "fr") == "a {brace} in data"


def msgids() -> dict[str, str]:
    """Every message that tr() or _() translates, and the titles and columns of tables -> where."""
    found: dict[str, str] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                for text in _messages(node, shown=path.relative_to(SOURCE).parts[0] in ("reports", "cli", "cli.py")):
                    found.setdefault(text, f"{path.relative_to(SOURCE)}:{node.lineno}")
    for text, where in template_messages():
        found.setdefault(text, where)
    return found


def template_messages() -> Iterator[tuple[str, str]]:
    """(message, where) of every ``_("...")`` in a template of a page."""
    for path in sorted((SOURCE / "reports" / "templates").iterdir()):
        for call in Environment(autoescape=True).parse(path.read_text("utf-8")).find_all(nodes.Call):
            if getattr(call.node, "name", "") == "_":
                assert isinstance(call.args[0], nodes.Const), f"{path.name}:{call.lineno}"
                yield call.args[0].value, f"{path.name}:{call.lineno}"


def _messages(call: ast.Call, shown: bool) -> list[str]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name in ("tr", "_"):
        # Of a choice between messages, both; what comes from a variable is data.
        chosen = call.args[0]
        parts = [chosen.body, chosen.orelse] if isinstance(chosen, ast.IfExp) else [chosen]
        return [part.value for part in parts if isinstance(part, ast.Constant)]
    if name == "Table" and shown:
        named = {keyword.arg: keyword.value for keyword in call.keywords}
        given = [*call.args[:2], *(named[key] for key in ("title", "columns") if key in named)]
        literal = [node for node in given if not isinstance(node, ast.Call | ast.JoinedStr)]
        constants = [node for arg in literal for node in ast.walk(arg) if isinstance(node, ast.Constant)]
        return [node.value for node in constants if isinstance(node.value, str) and node.value]
    return []


def placeholders(text: str) -> list[str]:
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)


def test_french_is_complete() -> None:
    ids = msgids()
    french = catalogue("fr")
    assert len(ids) > 40
    missing = {text: where for text, where in ids.items() if text not in french}
    assert missing == {}, "add a msgid and its msgstr to locale/fr.po"
    for text in ids:
        assert placeholders(french[text]) == placeholders(text), text


def test_french_holds_nothing_that_is_never_said() -> None:
    # Some words reach tr() through a variable (names of metrics, of columns): they must stand in the code all the same.
    said = {
        node.value
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    said |= {text.replace("_", " ") for text in said}  # columns are shown that way
    said |= {text for text, _ in template_messages()}
    assert set(catalogue("fr")) - said - {""} == set()


def test_po_is_read_as_gettext_would() -> None:
    head = '# comment\nmsgid ""\nmsgstr "Language: fr\\n"\n\n'
    text = head + 'msgid "a \\"b\\" "\n"{c}"\nmsgstr ""\n"été\\n"\n"{c}"\n'
    assert read_po(text) == {'a "b" {c}': "été\n{c}"}
    assert read_po('msgid "empty"\nmsgstr ""\n') == {}
    for broken in ("msgid oops", 'msgstr "x"', '"x"'):
        with pytest.raises(ValueError, match="line 1"):
            read_po(broken)
