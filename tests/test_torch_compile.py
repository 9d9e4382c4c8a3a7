"""fanin.torch under torch.compile: one graph, and the bits that there are without it."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch_tensors import DTYPES, assert_same_tensors, poisoned

import fanin.torch
from fanin import initializers
from fanin.errors import ArgumentError
from fanin.layouts import as_layout

CALLS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "init_": lambda t: fanin.torch.init_(t, "he_normal", seed=7, name="a", layout="i o"),
    "init_ of a table": lambda t: fanin.torch.init_(t, {"class_name": "Orthogonal", "config": {"gain": 2.0}}, seed=7),
    "kaiming_normal_": lambda t: fanin.torch.kaiming_normal_(t, mode="fan_out", seed=7, name="a", layout="o i"),
    "trunc_normal_": lambda t: fanin.torch.trunc_normal_(t, 0.1, 0.3, -0.2, 0.7, seed=2**64 - 1, name="\u00e9"),
    "trunc_normal_ without end": lambda t: fanin.torch.trunc_normal_(t, a=1.0, b=math.inf, seed=7),
    "uniform_": lambda t: fanin.torch.uniform_(t, -0.1, 1 / 3, seed=7),
    "xavier_uniform_": lambda t: fanin.torch.xavier_uniform_(t, 5 / 3, seed=7),
    "constant_": lambda t: fanin.torch.constant_(t, 0.1),
    "eye_": fanin.torch.eye_,
    "a shard": lambda t: fanin.torch.kaiming_normal_(t, seed=7, shard=((24, 30), (4, 10))),
}
BACKENDS = ("eager", "aot_eager", "inductor")  # the last needs a compiler of C++


@pytest.fixture(autouse=True)
def _nothing_compiled_before() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(function: Callable[..., Any], backend: str = "eager", **options: Any) -> Callable[..., Any]:
    return torch.compile(function, fullgraph=True, backend=backend, **options)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", CALLS)
def test_bits_are_those_without_compilation(name: str) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        expected = CALLS[name](poisoned(12, 20, dtype=dtype))
        for backend in ("eager", "aot_eager"):
            assert_same_tensors(compiled(CALLS[name], backend)(poisoned(12, 20, dtype=dtype)), expected)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # of torch's own modules
def test_inductor_makes_the_same_bits_in_the_midst_of_other_work() -> None:
    def block(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        fanin.torch.init_(a, "he_normal", seed=7, name="a")
        fanin.torch.kaiming_normal_(b, mode="fan_out", seed=7, name="b", layout="i o")
        fanin.torch.trunc_normal_(c, 0.1, 0.3, -0.2, 0.7, seed=7, name="c")
        return a * 2 + b.abs() - c

    given = [poisoned(12, 20) for _ in range(3)]
    plain = [poisoned(12, 20) for _ in range(3)]
    result, expected = compiled(block, "inductor")(*given), block(*plain)
    for found, other in zip([*given, result], [*plain, expected], strict=True):
        assert_same_tensors(found, other)


@pytest.mark.parametrize("backend", BACKENDS[:2])
def test_leaves_that_require_grad_are_written(backend: str) -> None:
    leaf = nn.Parameter(poisoned(12, 20))
    version = leaf._version
    compiled(CALLS["kaiming_normal_"], backend)(leaf)
    assert_same_tensors(leaf, CALLS["kaiming_normal_"](poisoned(12, 20)))
    assert leaf.is_leaf
    assert leaf._version > version


def test_a_whole_module_is_one_graph() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(6, 8), nn.Conv1d(8, 4, 3)

        def reset(self) -> None:
            for name, tensor in (("first.weight", self.first.weight), ("second.weight", self.second.weight)):
                fanin.torch.xavier_uniform_(tensor, seed=3, name=name)
            fanin.torch.zeros_(self.first.bias)

    eager, other = Block(), Block()
    eager.reset()
    compiled(other.reset)()
    for name in ("first.weight", "second.weight", "first.bias"):
        assert_same_tensors(other.get_parameter(name), eager.get_parameter(name))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_compiles(dtype: torch.dtype) -> None:
    found = compiled(CALLS["kaiming_normal_"])(poisoned(5, 6, dtype=dtype))
    assert_same_tensors(found, CALLS["kaiming_normal_"](poisoned(5, 6, dtype=dtype)))


def test_a_number_that_changes_between_calls_is_taken_as_it_is() -> None:
    """Torch makes an argument that changed a symbol; the texts need its value."""

    def drawn(t: torch.Tensor, seed: int) -> torch.Tensor:
        return fanin.torch.normal_(t, 0.0, 1 / t.shape[0], seed=seed)

    function = compiled(drawn)
    for seed, rows in [(1, 4), (2, 4), (3, 5), (3, 6), (2**63, 6)]:
        assert_same_tensors(function(poisoned(rows, 3), seed), drawn(poisoned(rows, 3), seed))


def test_without_a_seed_every_call_is_fresh() -> None:
    function = compiled(lambda t: fanin.torch.normal_(t))
    assert not torch.equal(function(poisoned(4, 5)), function(poisoned(4, 5)))


UNWRITABLE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "an instance": lambda t: fanin.torch.init_(t, HE, seed=7),
    "a layout": lambda t: fanin.torch.normal_(t, seed=7, layout=LAYOUT),
    "a tensor": lambda t: fanin.torch.normal_(t, 0.0, SCALE, seed=7),
}
HE, LAYOUT, SCALE = initializers.HeNormal(), as_layout("i o"), torch.tensor(0.5)


@pytest.mark.parametrize("name", UNWRITABLE)
def test_what_is_no_literal_is_told(name: str) -> None:
    tensor = poisoned(4, 5)
    with pytest.raises(RuntimeError) as caught:  # torch's own class, which holds the reason
        compiled(UNWRITABLE[name])(tensor)
    for fragment in ("fanin.torch: inside torch.compile(fullgraph=True)", "'he_normal' for an initializer", "outside"):
        assert fragment in str(caught.value)
    assert_same_tensors(tensor, poisoned(4, 5))


@pytest.mark.parametrize("name", UNWRITABLE)
def test_what_is_no_literal_works_where_graphs_may_break(name: str) -> None:
    found = torch.compile(UNWRITABLE[name], backend="eager")(poisoned(4, 5))
    assert_same_tensors(found, UNWRITABLE[name](poisoned(4, 5)))


def test_what_is_wrong_is_told_as_without_compilation() -> None:
    tensor = poisoned(4, 5)
    with pytest.raises(ArgumentError, match="torch defines no gain for 'gelu'"):
        compiled(lambda t: fanin.torch.kaiming_normal_(t, nonlinearity="gelu"))(tensor)
    with pytest.raises(TypeError, match="'sed'"):
        compiled(lambda t: fanin.torch.normal_(t, sed=3))(tensor)
    assert_same_tensors(tensor, poisoned(4, 5))


def test_the_operator_is_well_made() -> None:
    """Torch's own checks of it: schema, registration for autograd, fake tensors, dynamic shapes."""
    arguments = (poisoned(4, 5), "kaiming_normal_", '[[], {"seed": 7}]')
    assert set(torch.library.opcheck(torch.ops.fanin.call, arguments).values()) == {"SUCCESS"}
