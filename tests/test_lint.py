"""Style, types, and every example in the docstrings and the documents."""

import doctest
import importlib
import inspect
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import fanin
from fanin import initializers

ROOT = Path(__file__).resolve().parent.parent
CONFIGURATION = ROOT / "pyproject.toml"


def tool(*arguments: object, where: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a module of this environment."""
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)], cwd=where, capture_output=True, text=True, check=False
    )


CHECKS = {
    "ruff check": ("ruff", "check"),
    "ruff format": ("ruff", "format", "--check"),
    "mypy": ("mypy",),
}


@pytest.mark.parametrize("name", CHECKS)
def test_the_project_passes(name: str) -> None:
    done = tool(*CHECKS[name], *(["."] if name != "mypy" else []))
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_of_the_source_is_checked() -> None:
    files = len(list((ROOT / "src").rglob("*.py")))
    assert files >= 30
    assert f"no issues found in {files} source files" in tool("mypy").stdout


@pytest.mark.parametrize(
    ("name", "text", "fragment"),
    [
        ("ruff check", "import os\n", "F401"),
        ("ruff format", "x = 'single'\n", "would be reformatted"),
        ("mypy", "def f(x):\n    return x\n", "no-untyped-def"),
    ],
    ids=CHECKS,
)
def test_a_bad_file_does_not_pass(name: str, text: str, fragment: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text(text, "utf-8")
    option = "--config-file" if name == "mypy" else "--config"
    done = tool(*CHECKS[name], option, CONFIGURATION, file)
    assert done.returncode == 1
    assert fragment in done.stdout


# Docstrings ------------------------------------------------------------------------------------

MODULES = ["fanin", *(module.name for module in pkgutil.walk_packages(fanin.__path__, "fanin."))]


def examples(name: str) -> list[doctest.DocTest]:
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name), name)
    return [each for each in found if each.examples]


def run(tests: list[doctest.DocTest]) -> None:
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE, verbose=False)
    for test in tests:
        report: list[str] = []
        result = runner.run(test, out=report.append)
        assert result.failed == 0, "".join(report)


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_examples_in_docstrings_are_right(name: str) -> None:
    run(examples(name))


def test_there_are_examples() -> None:
    tests = [test for name in MODULES if not name.endswith("__main__") for test in examples(name)]
    assert len(tests) >= 28
    assert sum(len(test.examples) for test in tests) >= 60
    with_example = {test.name.rpartition(".")[2] for test in tests}
    classes = {name for name in initializers.__all__ if inspect.isclass(getattr(initializers, name))}
    assert classes - {"Initializer", "Alias"} <= with_example


def test_an_example_that_is_wrong_is_told() -> None:
    def wrong() -> None:
        """A sum.

        >>> 1 + 1
        3
        """

    with pytest.raises(AssertionError, match=r"Expected:\s+3\s+Got:\s+2"):
        run(doctest.DocTestFinder().find(wrong, "wrong", globs={}))


# Documents -------------------------------------------------------------------------------------

BLOCK = re.compile(r"^( *)```python\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(document: Path) -> list[tuple[int, str]]:
    """The Python blocks of a document, and the lines they begin at."""
    text = document.read_text("utf-8")
    return [(text[: match.start()].count("\n") + 1, textwrap.dedent(match[2])) for match in BLOCK.finditer(text)]


def check_blocks(document: Path, directory: Path) -> int:
    """Run each block in a process and a directory of its own, the examples' files beside it."""
    ran = 0
    for line, code in blocks(document):
        here = directory / f"{document.stem}-{line}"
        shutil.copytree(ROOT / "examples", here, ignore=shutil.ignore_patterns("__pycache__"))
        interactive = code.lstrip().startswith(">>>")
        (here / "block.py").write_text(f'"""\n{code}"""' if interactive else code, "utf-8")
        runner = ["-m", "doctest", "-o", "NORMALIZE_WHITESPACE", "block.py"] if interactive else ["block.py"]
        done = subprocess.run(
            [sys.executable, *runner],
            cwd=here,
            env={**os.environ, "KERAS_BACKEND": "jax"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{document.name}, line {line}:\n{code}\n{done.stdout}{done.stderr}"
        ran += 1
    return ran


DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_the_blocks_of_a_document_run(document: Path, tmp_path: Path) -> None:
    assert check_blocks(document, tmp_path) == document.read_text("utf-8").count("```python")


def test_a_block_that_fails_is_told(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    good = "```python\nimport fanin\nassert fanin.errors\n```\n\n1. Item\n\n   ```python\n   >>> 1 + 1\n   2\n   ```\n"
    document.write_text(f"{good}\n```sh\nexit 1\n```\n", "utf-8")
    assert check_blocks(document, tmp_path / "a") == 2
    for number, bad in enumerate(["undefined", ">>> 1 + 1\n3", "raise SystemExit(3)", "assert False"]):
        document.write_text(f"{good}\n```python\n{bad}\n```\n", "utf-8")
        with pytest.raises(AssertionError, match=r"page\.md, line 13"):
            check_blocks(document, tmp_path / f"b{number}")
