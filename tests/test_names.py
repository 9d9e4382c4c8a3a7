"""Law: a name and a seed decide the stream; adding, removing or reordering parameters changes no other."""

import numpy as np
import pytest
from harness import assert_same_bits

from fanin import engines
from fanin.errors import LogicalNameError, SeedError
from fanin.recipe import Draw, Normal, Stream, Window, check_seed
from fanin.spec import identity, join_name


def drawn(name: str, seed: int, shape: tuple[int, ...] = (40, 30)) -> np.ndarray:
    view = np.empty(shape, np.float32)
    engines.fill(Draw(Normal(0.0, 1.0), shape, stream=Stream(name, seed)), Window.whole(shape), view)
    return view


def test_what_was_drawn_before_changes_nothing() -> None:
    alone = drawn("b", 1)
    for name in ("a", "c", "a.b", "b"):
        drawn(name, 1)
    assert_same_bits(drawn("b", 1), alone)


def test_names_and_seeds_that_differ_by_little_share_nothing() -> None:
    names = [f"h.{i}.weight" for i in range(64)]
    seeds = list(range(32)) + [2**32 + s for s in range(32)] + [2**63 + s for s in range(2)]
    keys = {identity(name, seed) for name in names for seed in seeds}
    assert len(keys) == len(names) * len(seeds)
    first = {drawn(name, seed, (4,)).tobytes() for name in names for seed in seeds}
    assert len(first) == len(keys)


def test_seed_words_stand_where_a_jax_key_has_them() -> None:
    zero, _ = identity("w", 0)
    key, _ = identity("w", (5 << 32) | 9)
    assert (key[0] ^ zero[0], key[1] ^ zero[1]) == (5, 9)


def test_forms_of_one_text_are_one_name() -> None:
    assert identity("caf\u00e9", 0) == identity("cafe\u0301", 0)


def test_paths_never_share_a_name() -> None:
    paths = [["a", "b"], ["a.b"], ["a/b"], ["a\\", "b"], ["a\\.b"], ["a\\/b"], ["ab"], ["a", "b", "0"]]
    assert len({join_name(path) for path in paths}) == len(paths)
    assert join_name(["h", 0, "w"]) == join_name(["h", "0", "w"]) == "h.0.w"


def test_an_empty_component_is_named() -> None:
    with pytest.raises(LogicalNameError, match="empty component"):
        join_name(["a", ""])
    with pytest.raises(LogicalNameError, match="no UTF-8 form"):
        identity("\ud800", 0)


@pytest.mark.parametrize("seed", [True, np.True_, 1.0, -1, 2**64, "1", None, [1], np.float32(3)])
def test_bad_seeds_are_named(seed: object) -> None:
    with pytest.raises(SeedError, match="from 0 to 2"):
        check_seed(seed)


@pytest.mark.parametrize("seed", [0, 2**64 - 1, np.int64(7), np.uint8(255)])
def test_integer_seeds_of_any_kind_are_read(seed: object) -> None:
    assert check_seed(seed) == int(seed)  # type: ignore[call-overload]
