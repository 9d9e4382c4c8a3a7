"""Choosing an engine and its threads; and that every engine survives what processes do.

Threads, forks, caches that cannot be written, a missing Numba: each is tried in a process of its own,
with a time limit, so that a hang is a failure.
"""

import os
import shutil
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from harness import assert_same_bits, poisoned

import fanin
from fanin import engines
from fanin.engines import current
from fanin.errors import EngineError
from fanin.initializers import Constant, HeNormal, Identity, Initializer, Orthogonal, RandomNormal, RandomUniform, Zeros
from fanin.layouts import as_layout
from fanin.recipe import Draw, Normal, Stream, Window

PACKAGE = Path(fanin.__file__).parent
LARGE = (1031, 2053)  # 2.1 M elements: loads Numba, and is worth several threads on every engine
EXPECTED = {}  # digests, by request

# What the processes below run: `digest` of one large fill, and of some small ones.
SCRIPT = """
import os, sys, threading, time, hashlib, multiprocessing
import numpy as np
import fanin
from fanin import engines, initializers

def digest(name="w", shape=(1031, 2053), layout=None):
    out = np.full(shape, np.nan, np.float32)
    initializers.HeNormal(seed=7)(shape, name=name, layout=layout, out=out)
    return hashlib.sha256(out.tobytes()).hexdigest()

"""


def digest(name: str = "w", shape: tuple[int, ...] = LARGE, layout: str | None = None) -> str:
    """What `digest` of the script must give."""
    key = (name, shape, layout)
    if key not in EXPECTED:
        with fanin.use(engine="numpy", threads=1):
            array = HeNormal(seed=7)(shape, name=name, layout=layout)
        EXPECTED[key] = sha256(array.tobytes()).hexdigest()
    return EXPECTED[key]


def python(code: str, *arguments: str, script: str = SCRIPT, **environment: str | None) -> list[str]:
    """Run a program in a process of its own, and return the lines that it printed."""
    variables = {"FANIN_ENGINE": None, "FANIN_NUM_THREADS": None, **environment}
    merged = {**os.environ, **variables}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script + code, *arguments],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env={key: value for key, value in merged.items() if value is not None},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    """Give the choice of engine back to the other tests."""
    before = engines._current_settings()
    yield
    engines._settings = before


# fanin.use --------------------------------------------------------------------------------------


def test_a_call_holds_until_the_next() -> None:
    fanin.use(engine="numpy", threads=3)
    assert current(10) == ("numpy", 3)
    fanin.use(threads=5)
    assert current(10) == ("numpy", 5)
    fanin.use(engine="reference")
    assert current(10) == ("reference", 5)
    fanin.use()
    assert current(10) == ("reference", 5)


def test_a_block_ends_where_it_began() -> None:
    fanin.use(engine="numpy", threads=3)
    with fanin.use(engine="numba"):
        assert current(10) == ("numba", 3)
        with fanin.use(threads=1):
            assert current(10) == ("numba", 1)
        assert current(10) == ("numba", 3)
    assert current(10) == ("numpy", 3)
    with pytest.raises(KeyError), fanin.use(engine="reference", threads=1):
        raise KeyError
    assert current(10) == ("numpy", 3)


def test_auto_chooses_by_size() -> None:
    with fanin.use(engine="numpy"), fanin.use(engine="auto"):
        assert current(2**24)[0] == "numba"
    assert engines.available() == engines.NAMES == ("reference", "numpy", "numba", "torch", "triton", "jax")


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ({"engine": "cuda"}, "engine='cuda' is no engine; choose one of reference, numpy, numba, torch, triton, jax"),
        ({"engine": "NumPy"}, "engine='NumPy' is no engine"),
        ({"engine": ""}, "engine='' is no engine"),
        ({"engine": 3}, "engine=3 is no engine"),
        ({"threads": 0}, "threads=0: the number of threads is an integer from 1"),
        ({"threads": -1}, "threads=-1"),
        ({"threads": 1.0}, "threads=1.0"),
        ({"threads": True}, "threads=True"),
        ({"threads": "many"}, "threads='many'"),
        ({"threads": [1]}, "threads=[1]"),
        ({"engine": "reference", "threads": 0}, "threads=0"),
    ],
)
def test_bad_choices_are_named_and_change_nothing(arguments: dict[str, object], fragment: str) -> None:
    fanin.use(engine="numpy", threads=3)
    with pytest.raises(EngineError) as caught:
        fanin.use(**arguments)  # type: ignore[arg-type]
    assert fragment in str(caught.value)
    assert isinstance(caught.value, RuntimeError)
    assert current(10) == ("numpy", 3)
    with pytest.raises(TypeError):
        fanin.use("numpy")  # type: ignore[misc]


def test_the_environment_gives_the_defaults() -> None:
    code = "print(*engines.current(1)); fanin.use(threads=2); print(*engines.current(1)); print(digest())"
    lines = python(code, FANIN_ENGINE="numba", FANIN_NUM_THREADS="3")
    assert lines == ["numba 3", "numba 2", digest()]
    assert python(code, FANIN_ENGINE="numpy", FANIN_NUM_THREADS="1")[0] == "numpy 1"
    cores = str(len(os.sched_getaffinity(0)))
    assert python("print(*engines.current(1))", FANIN_ENGINE="", FANIN_NUM_THREADS="") == [f"numpy {cores}"]
    assert python("print(*engines.current(1))", FANIN_ENGINE="auto") == [f"numpy {cores}"]


@pytest.mark.parametrize(
    ("variable", "value", "fragment"),
    [
        ("FANIN_ENGINE", "cuda", "FANIN_ENGINE='cuda' is no engine"),
        ("FANIN_NUM_THREADS", "0", "FANIN_NUM_THREADS='0': the number of threads is an integer from 1"),
        ("FANIN_NUM_THREADS", "two", "FANIN_NUM_THREADS='two'"),
        ("FANIN_NUM_THREADS", "1.5", "FANIN_NUM_THREADS='1.5'"),
    ],
)
def test_a_bad_environment_is_named_at_every_use(variable: str, value: str, fragment: str) -> None:
    code = """
for ask in (digest, lambda: fanin.use(threads=1), digest):
    try:
        ask()
    except fanin.errors.EngineError as error:
        print(error)
print(initializers.Zeros()((2,)).sum())  # draws nothing, so needs no engine
"""
    *messages, zero = python(code, **{variable: value})
    assert len(messages) == 3
    assert all(fragment in message for message in messages)
    assert zero == "0.0"


# The automatic choice ---------------------------------------------------------------------------

LOADED = """
loaded = lambda: "numba" in sys.modules
print(engines.current(1)[0], loaded())
"""


def test_small_fills_do_not_load_numba() -> None:
    code = """
import sys, fanin
from fanin import engines, initializers
for i in range(40):
    initializers.HeNormal(seed=7)((100, 60), name=str(i))
initializers.Zeros()((2000, 2000))
initializers.Identity()((2000, 2000))
print("numba" in sys.modules, "fanin.engines.numpy" in sys.modules)
"""
    assert python(code, script="") == ["False True"]


def test_a_large_fill_uses_numba_and_so_do_all_later_ones() -> None:
    code = """
print("numba" in sys.modules)
print(digest())
print("fanin.engines.numba" in sys.modules, "fanin.engines.numpy" in sys.modules, engines.current(1)[0])
"""
    assert python(code) == ["False", digest(), "True False numba"]


def test_many_small_fills_add_up_to_a_large_one() -> None:
    code = """
import sys, fanin
from fanin import initializers
for i in range(400):
    initializers.HeNormal(seed=7)((32, 32), name=str(i))
    if "numba" in sys.modules:
        break
print(i)
"""
    (count,) = python(code, script="")
    assert 40 < int(count) < 399


# What importing costs ---------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["fanin", "fanin.initializers", "fanin.backend", "fanin.engines.numpy"])
def test_importing_loads_no_framework(module: str) -> None:
    heavy = ["numba", "torch", "triton", "jax", "keras", "flax", "transformers", "rich", "click", "scipy", "tensorflow"]
    code = f"import sys, {module}; print(sorted(set({heavy}) & sys.modules.keys()), 'numpy' in sys.modules)"
    assert python(code, script="") == ["[] True"]


# Threads ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "shape", "least"),
    [("numpy", (2**20 + 3, 5), 5), ("numpy", (3, 2**20 + 5), 5), ("numba", (2**12 + 1, 2**12 + 3), 63)],
)
def test_the_number_of_threads_changes_nothing(
    engine: str, shape: tuple[int, ...], least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = 0
    start = threading.Thread.start

    def counting(thread: threading.Thread) -> None:
        nonlocal started
        started += thread.name.startswith("fanin-")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", counting)
    outputs = {}
    for threads in (1, 2, 3, 7, 64):
        started = 0
        outputs[threads] = poisoned(shape, np.dtype(np.float32))
        with fanin.use(engine=engine, threads=threads):
            RandomNormal(seed=7)(shape, out=outputs[threads])
        assert started >= min(threads - 1, least)  # threads that do not start would prove nothing
        assert started < threads
    for output in outputs.values():
        assert_same_bits(output, outputs[1])
    assert len(outputs) == 5


def requests() -> list[tuple[Initializer, tuple[int, ...], str | None, str]]:
    kinds = [HeNormal(7), RandomUniform(seed=7), RandomNormal(1.0, 2.0, 7), Identity(), Orthogonal(seed=7)]
    small, large = ((40, 30), None), ((700, 1000), "o i")  # the second is worth threads of its own
    asked = [(kind, *form, f"layer.{n}") for n in range(2) for kind in kinds[:4] for form in (small, large)]
    return [*asked, (kinds[4], *small, "layer.0")]


@pytest.mark.parametrize("engine", ["reference", "numpy", "numba", "torch", "triton", "jax", "auto"])
def test_sixteen_threads_at_once_give_what_one_gives(engine: str) -> None:
    slow = engine in ("reference", "torch", "triton", "jax")
    asked = [request for request in requests() if not slow or request[1] == (40, 30)]
    with fanin.use(engine="numpy", threads=1):
        expected = [kind(shape, layout=layout, name=name) for kind, shape, layout, name in asked]
    found: list[list[np.ndarray]] = [[] for _ in range(16)]
    gate = threading.Barrier(16)

    def work(number: int) -> None:
        gate.wait(60)
        order = asked[number % len(asked) :] + asked[: number % len(asked)]
        for kind, shape, layout, name in order:
            out = poisoned(shape, np.dtype(np.float32))
            found[number].append(kind(shape, layout=layout, name=name, out=out))

    with fanin.use(engine=engine, threads=3):
        threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    compared = 0
    for number, arrays in enumerate(found):
        for array, reference in zip(
            arrays, expected[number % len(asked) :] + expected[: number % len(asked)], strict=True
        ):
            assert_same_bits(array, reference)
            compared += 1
    assert compared == 16 * len(asked)
    assert len(asked) == (9 if slow else 17)


def test_sixteen_threads_may_be_the_first_to_need_numba() -> None:
    code = """
found = []
gate = threading.Barrier(16)
def work(number):
    gate.wait(60)
    found.append(digest("w") + digest("v", layout="o i", shape=(301, 401)))
threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(len(found), *set(found))
"""
    assert python(code) == [f"16 {digest() + digest('v', (301, 401), 'o i')}"]


def test_a_failure_in_a_thread_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that swallowed it would return poison."""
    from fanin.engines import numpy as engine

    fills = 0
    honest = engine._fill_tile

    def failing(*arguments: object) -> None:
        nonlocal fills
        fills += 1
        if fills == 3:
            raise MemoryError("the third tile")
        honest(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "_fill_tile", failing)
    with fanin.use(engine="numpy", threads=3), pytest.raises(MemoryError, match="the third tile"):
        RandomNormal(seed=7)((2**20, 3))


# Forks ------------------------------------------------------------------------------------------

FORK = """
import warnings
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)  # from Python 3.12

def child(task):
    # Run in a fork, and say what it printed; a hang is told from an answer.
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.write(write, task().encode())
        finally:
            os._exit(0)
    os.close(write)
    until = time.monotonic() + 60
    while os.waitpid(process, os.WNOHANG)[0] == 0:
        if time.monotonic() > until:
            os.kill(process, 9)
            os.waitpid(process, 0)
            return "hangs"
        time.sleep(0.002)
    answer = os.read(read, 1000).decode()
    os.close(read)
    return answer

def task():
    q = initializers.Orthogonal(seed=7)((40, 30))
    return digest() + digest("v", (301, 401), "o i") + str(bool(abs(q.T @ q - np.eye(30)).max() < 1e-5))

"""
TASK = ("w", LARGE, None), ("v", (301, 401), "o i")


def task() -> str:
    return "".join(digest(*request) for request in TASK) + "True"


@pytest.mark.parametrize("engine", ["numpy", "numba", "auto"])
@pytest.mark.parametrize("filled_before", [False, True])
def test_a_fork_fills_the_same_bits(engine: str, filled_before: bool) -> None:
    code = "if len(sys.argv) > 1: task()\n" + "print(child(task)); print(child(task)); print(task())"
    lines = python(FORK + code, *(["before"] if filled_before else []), FANIN_ENGINE=engine, FANIN_NUM_THREADS="4")
    assert lines == [task()] * 3


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_a_fork_while_another_thread_fills(engine: str) -> None:
    code = """
task()
stop, fills = False, 0
def fill():
    global fills
    while not stop:
        assert task() == expected
        fills += 1
expected = task()
threads = [threading.Thread(target=fill) for _ in range(2)]
[thread.start() for thread in threads]
answers = [child(task) for _ in range(12)]
stop = True
[thread.join() for thread in threads]
print(fills > 0, len(answers), *set(answers))
"""
    assert python(FORK + code, FANIN_ENGINE=engine, FANIN_NUM_THREADS="4") == [f"True 12 {task()}"]


def test_a_hang_would_be_told() -> None:
    code = FORK.replace("+ 60", "+ 0.3") + "lock = threading.Lock(); lock.acquire(); print(child(lock.acquire))"
    assert python(code) == ["hangs"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_worker_processes_fill_the_same_bits(method: str, tmp_path: Path) -> None:
    code = """
def work(name):
    return digest(name), os.getpid()

if __name__ == "__main__":
    method = sys.argv[1]
    if method == "fork":
        digest()
    with multiprocessing.get_context(method).Pool(2) as pool:
        for found, process in pool.map(work, ["w", "v", "w", "u"], chunksize=1):
            print(found, process != os.getpid())
"""
    file = tmp_path / "workers.py"
    file.write_text(SCRIPT + code, "utf-8")
    done = subprocess.run([sys.executable, file, method], capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{digest(name)} True" for name in ("w", "v", "w", "u")]


# The cache of compiled kernels ------------------------------------------------------------------

CACHED = """
with fanin.use(engine="numba"):
    print(digest())
from fanin.engines import kernels
print(sum(kernels.along.stats.cache_hits.values()))
"""


def cached_files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.suffix in (".nbi", ".nbc"))


def test_a_cache_is_made_where_it_can_be_and_used_again(tmp_path: Path) -> None:
    place = tmp_path / "not" / "there"
    assert python(CACHED, NUMBA_CACHE_DIR=str(place)) == [digest(), "0"]
    assert cached_files(place)
    before = {path: path.stat().st_mtime_ns for path in cached_files(place)}
    assert python(CACHED, NUMBA_CACHE_DIR=str(place)) == [digest(), "1"]
    assert {path: path.stat().st_mtime_ns for path in cached_files(place)} == before


@pytest.mark.parametrize("place", ["/dev/null/x", "file/x", "file"])
def test_a_cache_directory_that_cannot_be_made_is_no_error(place: str, tmp_path: Path) -> None:
    """Below a regular file nothing can be made, whoever asks; permissions would not stop root."""
    (tmp_path / "file").write_text("not a directory", "utf-8")
    assert python(CACHED, NUMBA_CACHE_DIR=str(tmp_path / place))[0] == digest()
    assert (tmp_path / "file").read_text("utf-8") == "not a directory"


@pytest.mark.parametrize("place", [None, "/dev/null/x"])
def test_an_installation_that_cannot_be_written_is_no_error(place: str | None, tmp_path: Path) -> None:
    """Neither beside the package nor in the home directory is there a place for a cache."""
    installed = tmp_path / "site" / "fanin"
    shutil.copytree(PACKAGE, installed, ignore=shutil.ignore_patterns("__pycache__"))
    (installed / "engines" / "__pycache__").write_text("a file in the way", "utf-8")
    code = f"assert fanin.__file__ == {str(installed / '__init__.py')!r}, fanin.__file__\n"
    environment = {"PYTHONPATH": str(tmp_path / "site"), "HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null/x"}
    # no bytecode either, so that Python itself does not try the directory
    lines = python(code + CACHED, **environment, PYTHONDONTWRITEBYTECODE="1", NUMBA_CACHE_DIR=place)
    assert lines == [digest(), "0"]
    assert not cached_files(tmp_path)


def test_a_disk_that_is_full_is_no_error(tmp_path: Path) -> None:
    """Files may grow to 1 KiB only, so that saving fails half way; what is left is no trap for the next."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))\n"
    assert python(limit + CACHED, NUMBA_CACHE_DIR=str(tmp_path)) == [digest(), "0"]
    assert all(path.stat().st_size <= 1024 for path in tmp_path.rglob("*") if path.is_file())
    assert python(CACHED, NUMBA_CACHE_DIR=str(tmp_path)) == [digest(), "0"]
    assert python(CACHED, NUMBA_CACHE_DIR=str(tmp_path)) == [digest(), "1"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a good cache."""
    directory = tmp_path_factory.mktemp("cache")
    assert python(CACHED, NUMBA_CACHE_DIR=str(directory)) == [digest(), "0"]
    return directory


def harm(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "zeroed":
        path.write_bytes(bytes(len(content)))
    else:
        path.unlink()
    if how == "made a directory":
        path.mkdir()


@pytest.mark.parametrize(
    ("suffix", "how"),
    [(".nbi", "cut"), (".nbi", "made a directory"), (".nbc", "zeroed"), (".nbc", "removed")],
)
def test_a_cache_that_cannot_be_read_is_compiled_again(suffix: str, how: str, cache: Path, tmp_path: Path) -> None:
    """The index (nbi) or the code (nbc) is harmed."""
    shutil.copytree(cache, tmp_path, dirs_exist_ok=True)
    harmed = [path for path in cached_files(tmp_path) if path.suffix == suffix]
    assert harmed
    for path in harmed:
        harm(path, how)
    assert python(CACHED, NUMBA_CACHE_DIR=str(tmp_path)) == [digest(), "0"]


# Without Numba ----------------------------------------------------------------------------------

# As if it were not installed: no finder finds it.
WITHOUT_NUMBA = """
import sys

def hide(finder):
    class Hiding:
        @staticmethod
        def find_spec(name, path=None, target=None):
            return None if name.partition(".")[0] in ("numba", "llvmlite") else finder.find_spec(name, path, target)
    return Hiding

sys.meta_path[:] = [hide(finder) for finder in sys.meta_path]
"""


def test_without_numba_everything_works_on_numpy() -> None:
    code = """
print(digest(), digest("v", (301, 401), "o i"))
print(*engines.available(), engines.current(2**30)[0], "numba" in sys.modules)
for ask in (lambda: fanin.use(engine="numba"), lambda: fanin.use(engine="numba").__enter__()):
    try:
        ask()
    except fanin.errors.EngineError as error:
        print(error)
needing = {"LogUniform": (0.1, 1.0), "Scaled": ("he_normal", 0.5), "Masked": ("he_normal", "lower"),
           "Transformed": ("he_normal", "tanh")}
made = [getattr(initializers, n)(*needing.get(n, ())) for n in initializers.__all__
        if isinstance(getattr(initializers, n), type) and n not in ("Initializer", "Alias", "STFT")]
print(len(made), all(i((4, 4)).shape == (4, 4) for i in made), initializers.STFT()((4, 1, 3)).shape)
from fanin import selftest
print({result.engine for result in selftest.run()} == {"spec", "reference", "numpy", "torch", "triton", "jax"})
"""
    lines = python(code, script=WITHOUT_NUMBA + SCRIPT)
    assert lines == [
        f"{digest()} {digest('v', (301, 401), 'o i')}",
        "reference numpy torch triton jax numpy False",
        *["engine='numba' is not installed; run: pip install numba"] * 2,
        "21 True (4, 1, 3)",
        "True",
    ]


def test_without_numba_an_environment_that_asks_for_it_is_told() -> None:
    code = """
try:
    digest()
except fanin.errors.EngineError as error:
    print(error)
"""
    lines = python(code, script=WITHOUT_NUMBA + SCRIPT, FANIN_ENGINE="numba")
    assert lines == ["FANIN_ENGINE='numba' is not installed; run: pip install numba"]


# Without torch, Triton or a CUDA device -----------------------------------------------------------

ASK = """
fanin.use(engine="reference")
print(*engines.available(), *(name in sys.modules for name in ("torch", "triton", "jax")))
for engine in ("torch", "triton"):
    try:
        fanin.use(engine=engine)
        print("chosen", digest("w", (3, 5)), "torch" in sys.modules)
    except fanin.errors.EngineError as error:
        print(error)
"""


def small() -> str:
    return digest("w", (3, 5))


@pytest.mark.parametrize(
    ("hidden", "interpret", "expected"),
    [
        ((), "1", ["reference numpy numba torch triton jax False False False", "chosen {} True", "chosen {} True"]),
        (
            ("triton",),
            "1",
            [
                "reference numpy numba torch jax False False False",
                "chosen {} True",
                "engine='triton' is not installed; run: pip install triton",
            ],
        ),
        (
            ("torch", "triton"),
            "1",
            [
                "reference numpy numba jax False False False",
                "engine='torch' is not installed; run: pip install torch",
                "engine='triton' is not installed; run: pip install torch triton",
            ],
        ),
        (
            (),
            None,
            [
                "reference numpy numba torch jax False False False",
                "chosen {} True",
                "engine='triton' needs a CUDA device, and finds none; choose 'torch', or 'auto'. To run its kernels on "
                "the host, slowly, set TRITON_INTERPRET=1 in the environment before Triton is imported.",
            ],
        ),
    ],
)
def test_engines_that_cannot_run_say_what_to_do(
    hidden: tuple[str, ...], interpret: str | None, expected: list[str]
) -> None:
    """And looking for them loads neither torch nor Triton."""
    hide = WITHOUT_NUMBA.replace('("numba", "llvmlite")', repr((*hidden, "nothing")))
    # no such device, whatever this machine has
    no_device = "import pathlib; pathlib.Path.exists = lambda path: False\n"
    lines = python(ASK, script=hide + no_device + SCRIPT, TRITON_INTERPRET=interpret, CUDA_VISIBLE_DEVICES="")
    assert lines == [line.format(small()) for line in expected]


# Memory -----------------------------------------------------------------------------------------

MIB = 2**20
SIDE = 2**12  # 64 MiB of float32
FILLS = {
    "rows": (HeNormal(7), (SIDE, SIDE), None, None),
    "transposed": (HeNormal(7), (SIDE, SIDE), "o i", None),
    "uniform": (RandomUniform(seed=7), (SIDE, SIDE), None, None),
    "normal with a mean": (RandomNormal(1.0, 0.5, 7), (SIDE, SIDE), None, None),
    "one row": (HeNormal(7), (2**24,), None, None),
    "narrow": (HeNormal(7), (2**22, 4), None, None),
    "narrow, transposed": (HeNormal(7), (4, 2**22), "o i", None),
    "one column": (HeNormal(7), (2**24, 1), None, None),
    "merged": (HeNormal(7), (SIDE, SIDE), "o2 o1", None),
    "identity": (Identity(), (SIDE, SIDE), None, None),
    "window of columns": (HeNormal(7), (SIDE, 2**20), None, (slice(None), slice(5, SIDE + 5))),
    "three rows": (HeNormal(7), (2**20, 2**16), None, (slice(9, 12), slice(None))),
    "three columns": (HeNormal(7), (2**16, 2**20), "o i", (slice(None), slice(9, 12))),
    "constant": (Constant(0.1), (SIDE, SIDE), None, None),
    "zeros": (Zeros(), (SIDE, SIDE), None, None),
}


def fill(request: str) -> np.ndarray:
    initializer, shape, layout, window = FILLS[request]
    extent = Window.of(shape, window).shape
    out = np.ones(extent, np.float32)
    tracemalloc.start()
    try:
        initializer(shape, layout=layout, window=window, out=out)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * MIB, f"{request}: {peak / MIB:.1f} MiB beyond the output"
    return out


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("request_", FILLS)
def test_a_fill_allocates_little_beyond_its_output(engine: str, request_: str) -> None:
    """As NumPy counts it; `test_windows` asks the system for the peak of a process."""
    with fanin.use(engine=engine, threads=2):
        out = fill(request_)
    assert np.count_nonzero(out == 1) == (SIDE if request_ == "identity" else 0)  # all is written


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_strided_outputs_are_written_without_a_copy(engine: str) -> None:
    big = np.ones((SIDE, SIDE), np.float32)
    views = [big.T, big[::-1, ::-1], np.moveaxis(big.reshape(64, 64, SIDE), 2, 0)]
    for view in views:
        RandomNormal(seed=7)((2, 2))
        tracemalloc.start()
        try:
            with fanin.use(engine=engine, threads=2):
                RandomNormal(seed=7)(view.shape, out=view)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 64 * MIB


def test_the_measure_of_memory_sees_a_copy() -> None:
    class Copying(HeNormal):
        def __call__(self, shape: tuple[int, ...], **call: object) -> np.ndarray:  # type: ignore[override]
            out = call.pop("out")
            out[...] = super().__call__(shape, **call)  # type: ignore[index,arg-type]
            return out  # type: ignore[return-value]

    FILLS["copying"] = (Copying(7), (SIDE, SIDE), None, None)
    try:
        with pytest.raises(AssertionError, match=r"copying: \d+\.\d MiB beyond"):
            fill("copying")
    finally:
        del FILLS["copying"]


PEAK = """
def peak():  # KiB; not getrusage's, which begins with that of the process that started this one
    with open("/proc/self/status") as lines:
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
engine, shape, layout, order = sys.argv[1], *map(eval, sys.argv[2:])
with fanin.use(engine=engine, threads=2):
    initializers.HeNormal(seed=7)((2, 2))
    out = np.ones(shape, np.float32, order=order)
    before = peak()
    initializers.HeNormal(seed=7)(shape, layout=layout, out=out)
print(peak() - before)
"""


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize(("layout", "order"), [(None, "C"), ("o i", "C"), (None, "F")])
def test_the_peak_of_a_process_grows_by_little(engine: str, layout: str | None, order: str) -> None:
    (grown,) = python(PEAK, engine, repr((SIDE, SIDE)), repr(layout), repr(order))
    assert int(grown) < 64 * 1024  # KiB


# Every engine that is listed is asked the same -----------------------------------------------------


def test_an_engine_is_a_module_with_one_fill() -> None:
    draw = Draw(Normal(0.0, 1.0), (5, 7), as_layout("o i"), Stream("w", 1))
    outputs = []
    for name in engines.NAMES:
        out = poisoned((5, 7), np.dtype(np.float32))
        engines._engine(name)(draw, Window.whole((5, 7)), out, 2)
        outputs.append(out)
    for out in outputs:
        assert_same_bits(out, outputs[0])
    assert len(outputs) == 6


def test_the_expected_digests_are_many() -> None:
    """The digests that processes were compared with differ, so that equality means something."""
    assert len({digest(name) for name in "wvu"} | {digest("v", (301, 401), "o i")}) == 4
