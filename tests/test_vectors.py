"""The recorded answers: an independent reading of the documents derives them, and every engine writes them.

Both checks are shown to fail: one flipped digit in a copy of the vectors is enough.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from fanin import engines, selftest
from fanin.dtypes import FLOATS
from fanin.errors import SelftestError

ROOT = Path(__file__).resolve().parent.parent
TOOL = ROOT / "tools" / "derive_vectors.py"
VECTORS = ROOT / "src" / "fanin" / "vectors"
LEAST = {  # vectors per file, so that none is emptied by accident
    "words.txt": 20,
    "identities.txt": 40,
    "tables.txt": 25,
    "variates.txt": 600,
    "rounding.txt": 700,
    "tensors.txt": 150,
}


def recorded(file: str) -> list[str]:
    return [line for line in (VECTORS / file).read_text("utf-8").splitlines() if not line.startswith("#")]


def flipped(line: str) -> str:
    """The line with its last hexadecimal digit changed."""
    return re.sub(r"[0-9a-f](?=[^0-9a-f]*$)", lambda match: "1" if match[0] != "1" else "0", line)


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("derive_vectors", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(VECTORS, tmp_path / "vectors"))


def test_the_documents_alone_derive_the_vectors() -> None:
    # -S and -I hide all installed packages, this one too
    done = subprocess.run([sys.executable, "-S", "-I", TOOL, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == [f"{file}: same" for file in LEAST]


def test_the_tool_writes_what_it_checks(tool: ModuleType, tmp_path: Path) -> None:
    assert tool.main(["--directory", str(tmp_path / "new")]) == 0
    assert tool.main(["--directory", str(tmp_path / "new"), "--check"]) == 0
    for file in LEAST:
        assert (tmp_path / "new" / file).read_bytes() == (VECTORS / file).read_bytes()


@pytest.mark.parametrize("file", LEAST)
def test_the_tool_refuses_one_flipped_digit(
    file: str, tool: ModuleType, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = recorded(file)[0]
    text = (copy / file).read_text("utf-8")
    (copy / file).write_text(text.replace(line, flipped(line), 1), "utf-8")
    assert tool.main(["--directory", str(copy), "--check"]) == 1
    differing = [line for line in capsys.readouterr().out.splitlines() if not line.endswith(": same")]
    assert len(differing) == 1
    assert differing[0].startswith(f"{file}: DIFFERS in 1 lines")


def test_the_tool_refuses_a_missing_file(tool: ModuleType, copy: Path) -> None:
    (copy / "words.txt").unlink()
    assert tool.main(["--directory", str(copy), "--check"]) == 1


def test_every_engine_writes_every_vector() -> None:
    results = selftest.run()
    expected = [(file, "spec") for file in LEAST if file != "tensors.txt"]
    expected += [("tensors.txt", engine) for engine in engines.NAMES]
    assert [(result.file, result.engine) for result in results] == expected
    for result in results:
        assert result.vectors == len(recorded(result.file)) >= LEAST[result.file]


def test_the_recorded_tensors_are_of_every_kind() -> None:
    tensors = [json.loads(line) for line in recorded("tensors.txt")]
    assert {tensor["dtype"] for tensor in tensors} == set(FLOATS)
    assert {len(tensor["shape"]) for tensor in tensors} == set(range(6))
    kinds = Counter(
        kind for tensor in tensors for kind in ("uniform", "normal", "diagonal", "constant") if kind in tensor
    )
    assert min(kinds.values()) >= 10
    layouts = re.findall(r"\| `([*~bkio][^`]*)` \|$", (ROOT / "docs" / "layouts.md").read_text("utf-8"), re.MULTILINE)
    assert len(layouts) >= 10
    missing = {re.sub(r"/\w+", "", layout) for layout in layouts} - {
        re.sub(r"/\w+", "", tensor["layout"] or "") for tensor in tensors
    }
    assert not missing


@pytest.mark.parametrize("file", LEAST)
def test_the_selftest_prints_the_vector_that_disagrees(
    file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = flipped(recorded(file)[0])

    def lines(asked: str) -> Iterator[str]:
        yield wrong if asked == file else recorded(asked)[0]

    monkeypatch.setattr(selftest, "lines", lines)
    assert selftest.main() == 1
    output = capsys.readouterr().out
    assert "FAILED" in output
    assert wrong in output
    assert ("(spec)" in output, "engine" in output) == ((False, True) if file == "tensors.txt" else (True, False))


@pytest.mark.parametrize(("variable", "value"), [("FANIN_ENGINE", "foo"), ("FANIN_NUM_THREADS", "0")])
def test_the_selftest_tells_a_bad_environment_in_one_line(variable: str, value: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fanin.selftest"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, variable: value},
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(f"fanin selftest: {variable}='{value}'.*\n", done.stderr)


def test_a_disagreement_is_told_whatever_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANIN_ENGINE", "foo")
    monkeypatch.setattr(engines, "_settings", None)
    with pytest.raises(SelftestError, match=r"\(spec\)"):
        selftest.check_words(flipped(recorded("words.txt")[0]))


def test_the_selftest_refuses_an_empty_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(selftest, "lines", lambda file: iter([] if file == "tables.txt" else recorded(file)[:1]))
    assert selftest.main() == 1
    assert "tables.txt: no vectors" in capsys.readouterr().out


def test_the_selftest_returns_0_where_all_agree(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(selftest, "lines", lambda file: iter(recorded(file)[:2]))
    assert selftest.main() == 0
    assert capsys.readouterr().out.count("2 vectors agree") == 5 + len(engines.NAMES)


@pytest.mark.parametrize("engine", engines.NAMES)
def test_every_engine_can_fail(engine: str) -> None:
    with engines.use(engine=engine):
        selftest.check_tensor(recorded("tensors.txt")[0])
        with pytest.raises(SelftestError, match=f"engine {engine}"):
            selftest.check_tensor(flipped(recorded("tensors.txt")[0]))
