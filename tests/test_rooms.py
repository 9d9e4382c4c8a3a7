"""Imports point one way: each room of the package imports only rooms above it, inside functions too."""

import ast
import re
from pathlib import Path

import pytest

import fanin

PACKAGE = Path(fanin.__file__).parent

# From top to bottom; a room is a file or a folder of that name. The package's own `__init__` is the
# front door, which only the command line may import.
ROOMS = [
    "errors", "layouts", "spec", "dtypes", "recipe", "engines", "expressions", "initializers", "backend", "progress",
    "tables", "models", "plan", "recipes", "checkpoint", "proof", "torch", "jax", "keras", "selftest", "__init__",
    "cli", "__main__",
]  # fmt: skip
DATA = {"frameworks", "vectors", "py.typed"}


def imported(tree: ast.AST, module: list[str], package: Path) -> list[str]:
    """The rooms that a file imports; a name imported from the package itself is a room where there is such a file."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = module[: len(module) - node.level] if node.level else []
            base = start + (node.module or "").split(".") if node.module else start
            names += [[*base, alias.name] for alias in node.names]
    ours = [name[1] if len(name) > 1 else "__init__" for name in names if name[0] == package.name]
    return [room if (package / room).is_dir() or (package / f"{room}.py").is_file() else "__init__" for room in ours]


def check_rooms(package: Path) -> int:
    """Raise for a file without a room, and for an import of a room below; say how many imports were checked."""
    checked = 0
    for file in sorted(package.rglob("*.py")):
        module = [package.name, *file.relative_to(package).with_suffix("").parts]
        assert module[1] in ROOMS, f"{file} belongs to no room; give it a place in the order"
        for room in imported(ast.parse(file.read_text("utf-8")), module, package):
            own, other = ROOMS.index(module[1]), ROOMS.index(room)
            assert other <= own, f"{file}: {module[1]} imports {room}, a room below it"
            checked += other < own
    return checked


def test_imports_point_one_way() -> None:
    assert check_rooms(PACKAGE) >= 80


def test_every_folder_is_a_room_and_holds_nothing_else() -> None:
    found = {path.name for path in PACKAGE.iterdir()} - {"__pycache__"} - DATA
    assert {re.sub(r"\.py$", "", name) for name in found} <= set(ROOMS)
    assert {"errors.py", "spec", "engines", "initializers", "__init__.py"} <= found
    folders = [path for path in PACKAGE.iterdir() if path.is_dir() and path.name not in DATA | {"__pycache__"}]
    assert all((folder / "__init__.py").is_file() for folder in folders)
    assert not [path for path in PACKAGE.rglob("*.py") if re.search(r"util|helper|common|misc|^core", path.name)]


def house(package: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text, "utf-8")
    return package


GOOD = {
    "__init__.py": "from fanin import errors as errors\nfrom fanin.engines import use",
    "errors.py": "import math",
    "spec/__init__.py": "from fanin.spec.philox import words\nfrom ..errors import FaninError",
    "spec/philox.py": "from .identity import name_words\nfrom . import identity\nimport fanin.errors",
    "spec/identity.py": "from fanin.errors import FaninError",
    "engines/__init__.py": "from fanin import spec, errors\nimport numpy as np",
    "engines/numpy.py": "import numpy as np\nfrom fanin.engines.tables import table",
}


def test_a_good_house_passes(tmp_path: Path) -> None:
    assert check_rooms(house(tmp_path / "fanin", GOOD)) == 7


@pytest.mark.parametrize(
    ("file", "text", "fragment"),
    [
        ("errors.py", "from fanin.engines import use", "errors imports engines"),
        ("errors.py", "import fanin.engines.numpy", "errors imports engines"),
        ("errors.py", "from fanin import engines", "errors imports engines"),
        ("errors.py", "def f():\n    from fanin import engines as e", "errors imports engines"),
        ("errors.py", "from . import engines", "errors imports engines"),
        ("errors.py", "from .spec.philox import words", "errors imports spec"),
        ("spec/philox.py", "from .. import engines", "spec imports engines"),
        ("spec/philox.py", "from ..engines import use", "spec imports engines"),
        ("spec/philox.py", "if True:\n    import fanin.engines", "spec imports engines"),
        ("spec/philox.py", "import fanin", "spec imports __init__"),
        ("spec/philox.py", "from fanin import use", "spec imports __init__"),
        ("utils.py", "", "belongs to no room"),
        ("helpers/__init__.py", "", "belongs to no room"),
    ],
)
def test_a_bad_import_is_told(file: str, text: str, fragment: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=fragment):
        check_rooms(house(tmp_path / "fanin", {**GOOD, file: text}))
