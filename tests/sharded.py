"""Sharded tensors in real process groups: filled, gathered, compared. Run by `test_torch_sharded`.

    python tests/sharded.py WORLD DIRECTORY [CASE]

starts WORLD processes, which run every case together, over gloo on the processor. Process 0 writes
what was gathered to DIRECTORY/gathered.npz, each one what it did to DIRECTORY/RANK.json. Where one
fails, all are ended.
"""

import contextlib
import copy
import functools
import json
import logging
import multiprocessing
import multiprocessing.connection
import resource
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Partial, Placement, Replicate, Shard, distribute_module, distribute_tensor
from torch.distributed.tensor.debug import CommDebugMode
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.distributed.tensor.placement_types import _StridedShard
from torch_tensors import array, assert_same_tensors, contents, poisoned

import fanin
import fanin.torch
from fanin import Plan, Rule
from fanin.errors import FaninError, OutputError, ShapeError

SEED = 7
MIB = 2**20
DTYPES = (torch.float32, torch.bfloat16)
MESHES = {1: [(1,)], 2: [(2,), (2, 1), (1, 2)], 4: [(4,), (2, 2), (4, 1), (1, 4)]}
PATIENCE = timedelta(seconds=60)  # after which a process that waits for others gives up

Tensors = dict[str, torch.Tensor]


# What is filled ------------------------------------------------------------------------------------


class Zoo(nn.Module):
    """A layer of every kind, of lengths that meshes do not divide, some of them shorter than a mesh."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(6, 10)
        self.narrow = nn.Linear(5, 3)
        self.square = nn.Linear(6, 6, bias=False)
        self.conv = nn.Conv2d(4, 6, 3, groups=2)
        self.transposed = nn.ConvTranspose1d(6, 5, 2)
        self.norm = nn.BatchNorm1d(7)
        self.table = nn.Embedding(7, 4, padding_idx=5)
        self.attention = nn.MultiheadAttention(8, 2)
        self.lstm = nn.LSTM(3, 5)
        self.gru = nn.GRU(4, 3)
        self.bare = nn.Parameter(torch.empty(1))


# The fans of kernels count, and biases have those of their layers. The matrices of gates are orthogonal each.
PLAN = Plan(
    [
        Rule(["square.weight", "lstm.weight_h?_l0"], "orthogonal"),
        Rule(role=["*.kernel", "recurrent.recurrent_kernel"], initializer="he_normal"),
        Rule(role=["dense.bias", "conv*.bias"], initializer="random_uniform(-1 / sqrt(fan_in), 1 / sqrt(fan_in))"),
        Rule(role="norm.count", initializer="zeros"),
        Rule(module="BatchNorm1d", initializer="random_normal(mean=1, stddev=0.1)"),
        Rule("*", "random_normal(stddev=1)"),
    ]
)


class Net(nn.Module):
    """What can be trained, with a tied head."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 8, padding_idx=0)
        self.up = nn.Linear(8, 12)
        self.down = nn.Linear(12, 8)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 7, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.table(tokens)
        result: torch.Tensor = self.head(self.norm(x + self.down(self.up(x).relu())))
        return result


NET = Plan([Rule(module="LayerNorm", initializer="random_normal(1, 0.1)"), Rule("*", "random_normal(stddev=0.5)")])
LINEAR = Plan([Rule("*weight", "orthogonal"), Rule("*bias", "random_normal(stddev=1)", optional=True)])


class Block(nn.Module):
    """Two layers as Megatron cuts them: the first by columns (outputs), the second by rows (inputs)."""

    def __init__(self, world: int = 1) -> None:
        super().__init__()
        self.table = nn.Embedding(8 // world, 6)
        self.up = nn.Linear(6, 12 // world)
        self.down = nn.Linear(12 // world, 6)


MODELS: dict[str, tuple[Callable[[], nn.Module], Plan]] = {
    "zoo": (Zoo, PLAN),
    "net": (Net, NET),
    "linear": (lambda: nn.Linear(6, 10), LINEAR),
    "matrices": (lambda: nn.Sequential(nn.Linear(6, 10, bias=False), nn.Linear(10, 4, bias=False)), LINEAR),
    "block": (Block, fanin.defaults("torch")),  # whose biases have the fans of the whole
}


def made(make: Callable[[], nn.Module], dtype: torch.dtype = torch.float32, device: str = "cpu") -> Any:
    """A model that holds 0xA5 bytes, or nothing yet."""
    with torch.device(device):
        model = make().to(dtype)
    if device != "meta":
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.data = poisoned(*tensor.shape, dtype=tensor.dtype)
    return model


def held(model: nn.Module) -> Tensors:
    """Parameters and buffers by name."""
    return {name: tensor.detach() for name, tensor in (*model.named_parameters(), *model.named_buffers())}


@functools.cache
def whole(kind: str, dtype: torch.dtype = torch.float32) -> Tensors:
    """What one process alone has."""
    make, plan = MODELS[kind]
    model = made(make, dtype)
    plan.apply(model, seed=SEED)
    return held(model)


# Checks --------------------------------------------------------------------------------------------


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Check that nothing is communicated."""
    with CommDebugMode() as counted:
        yield
    assert counted.get_total_counts() == 0, counted.get_comm_counts()


def split(tensor: torch.Tensor, like: DTensor) -> torch.Tensor:
    """The part that torch gives to this process when it distributes a tensor."""
    distributed = distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)
    return distributed.to_local()


class Run:
    """One process of several.

    Attributes:
        world: how many there are.
        rank: of this one.
        gathered: arrays of bits, by model, dtype, case and name.
        facts: to be reported: the cases that ran, and the number of tensors that were compared here only.
    """

    def __init__(self, world: int, rank: int) -> None:
        self.world, self.rank = world, rank
        self.gathered: dict[str, np.ndarray] = {}
        self.facts: dict[str, Any] = {"world": world, "cases": [], "tensors": 0}
        self._meshes: dict[tuple[tuple[int, ...], tuple[str, ...] | None], DeviceMesh] = {}

    def mesh(self, shape: tuple[int, ...], names: tuple[str, ...] | None = None) -> DeviceMesh:
        """A mesh over all processes, made once."""
        if (shape, names) not in self._meshes:
            self._meshes[shape, names] = init_device_mesh("cpu", shape, mesh_dim_names=names)
        return self._meshes[shape, names]

    def compare(self, case: str, kind: str, model: nn.Module, dtype: torch.dtype = torch.float32) -> None:
        """Compare the local part of every tensor with torch's split of the whole, and gather it."""
        found, expected = held(model), whole(kind, dtype)
        assert found.keys() == expected.keys()
        for name, tensor in found.items():
            full = tensor
            if isinstance(tensor, DTensor):
                assert_same_tensors(tensor.to_local(), split(expected[name], tensor))
                full = tensor.full_tensor()
            self.keep(case, kind, dtype, name, full)

    def keep(self, case: str, kind: str, dtype: torch.dtype, name: str, full: torch.Tensor) -> None:
        """Keep what was gathered, for the test to compare with what its one process has."""
        key = f"{kind}/{dtype}/{case}/{name}"
        assert key not in self.gathered, key
        bits = array(full)
        self.gathered[key] = bits.view(f"u{bits.itemsize}")

    def join(self, local: torch.Tensor, group: dist.ProcessGroup | None = None) -> list[torch.Tensor]:
        """What each process of a group has, of any shapes."""
        found: list[Any] = [None] * dist.get_world_size(group)
        dist.all_gather_object(found, array(local).view(f"u{local.element_size()}"), group)
        return [torch.from_numpy(each).view(local.dtype) for each in found]


CASES: dict[str, tuple[Sequence[int], Callable[[Run], None]]] = {}


def case(*worlds: int) -> Callable[[Callable[[Run], None]], Callable[[Run], None]]:
    """Enter a function as a case for so many processes."""

    def enter(function: Callable[[Run], None]) -> Callable[[Run], None]:
        CASES[function.__name__] = worlds, function
        return function

    return enter


# Memory --------------------------------------------------------------------------------------------


@case()
def memory(run: Run) -> None:
    """The peak of a process that has a quarter of 512 MiB, beyond what it had before, in MiB.

    Run alone: the peak of a process does not fall again, and is to be none of other cases.
    """
    rows, columns = 8192, 16384
    plan = Plan([Rule("*", "random_normal(stddev=0.02)")])
    with fanin.use(engine="numba"):  # kernels are loaded, and torch's first touches made
        for tensor in (poisoned(64, 64), distribute_tensor(poisoned(64, 64), run.mesh((4,)), [Shard(0)])):
            fanin.torch.init_(tensor, "random_normal(stddev=0.02)", seed=1)

    def materialized() -> object:
        with torch.device("meta"):
            model = nn.Sequential(nn.Linear(columns, rows, bias=False))
        fully_shard(model, mesh=run.mesh((4,)))
        return fanin.torch.materialize(model, plan, seed=SEED)

    def placed(*placements: Placement) -> Callable[[], object]:
        def make() -> object:
            mesh = run.mesh((4,) if len(placements) == 1 else (2, 2))
            with torch.device("meta"):
                model = nn.Sequential(nn.Linear(columns, rows, bias=False))
            split = distribute_tensor(model[0].weight, mesh, placements, src_data_rank=None)
            model[0].weight = nn.Parameter(split)
            return fanin.torch.materialize(model, plan, seed=SEED)

        return make

    def partitioned() -> object:
        model = nn.Linear(1, 1, bias=False)
        model.out_features, model.in_features = rows, columns
        model.weight = partition(torch.Size((rows, columns)), None)
        plan.apply(model, seed=SEED)
        return model

    ways = {
        "fully_shard": materialized,
        "Shard(1)": placed(Shard(1)),
        "strided": placed(_StridedShard(0, split_factor=2), Shard(0)),
        "ZeRO-3": partitioned,
    }
    figures = {}
    for name, make in ways.items():
        before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
        with silence():
            kept = make()
        figures[name] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / MIB
        del kept
    run.facts["memory"] = figures


# DTensors in a module ------------------------------------------------------------------------------


def arrangements(mesh: Sequence[int], dtype: torch.dtype) -> dict[str, list[Placement]]:
    """Placements on a mesh, by name: all in float32, and few where an axis of two has one process."""
    if len(mesh) == 1:
        return {
            "S0": [Shard(0)],
            "S1": [Shard(1)],
            "S2": [Shard(2)],
            "R": [Replicate()],
            "strided 0 of 2": [_StridedShard(0, split_factor=2)],
            "strided 1 of 3": [_StridedShard(1, split_factor=3)],
        }
    few: dict[str, list[Placement]] = {
        "S0 S0": [Shard(0), Shard(0)],
        "S0 S1": [Shard(0), Shard(1)],
        "strided 0, S0": [_StridedShard(0, split_factor=mesh[1]), Shard(0)],
    }
    if 1 in mesh or dtype != torch.float32:
        return few
    return few | {
        "S1 S0": [Shard(1), Shard(0)],
        "S1 S1": [Shard(1), Shard(1)],
        "S2 S0": [Shard(2), Shard(0)],
        "S0 R": [Shard(0), Replicate()],
        "R S1": [Replicate(), Shard(1)],
        "R R": [Replicate(), Replicate()],
        "strided 1, S1": [_StridedShard(1, split_factor=mesh[1]), Shard(1)],
        "strided 0 of 3, R": [_StridedShard(0, split_factor=3), Replicate()],
    }


def distribute(model: nn.Module, mesh: DeviceMesh, placements: Sequence[Placement]) -> nn.Module:
    """Make DTensors of all parameters; an axis that one does not have is not sharded."""
    for layer in list(model.modules()):
        for key, tensor in list(layer._parameters.items()):
            if tensor is not None:
                fitting = [Replicate() if getattr(each, "dim", 0) >= tensor.dim() else each for each in placements]
                split = distribute_tensor(tensor.detach(), mesh, fitting, src_data_rank=None)
                layer.register_parameter(key, nn.Parameter(split))
    return model


@case(1, 2, 4)
def placements(run: Run) -> None:
    """`plan.apply` on DTensors, on every mesh, in every arrangement."""
    for dtype in DTYPES:
        for shape in MESHES[run.world]:
            for name, arrangement in arrangements(shape, dtype).items():
                model = distribute(made(Zoo, dtype), run.mesh(shape), arrangement)
                with silence():
                    PLAN.apply(model, seed=SEED)
                run.compare(f"{shape} {name}", "zoo", model, dtype)


@case(2)
def distributed_module(run: Run) -> None:
    """`distribute_module`, with a function that shards linear layers, and replicas of the rest."""

    def shard(name: str, layer: nn.Module, mesh: DeviceMesh) -> None:
        if isinstance(layer, nn.Linear):
            layer.register_parameter("weight", nn.Parameter(distribute_tensor(layer.weight, mesh, [Shard(1)])))

    model: Any = distribute_module(made(Zoo), run.mesh((2,)), shard)
    with silence():
        PLAN.apply(model, seed=SEED)
    assert model.norm.running_mean.placements == (Replicate(),)
    run.compare("distribute_module", "zoo", model)


@case(4)
def outside_of_the_mesh(run: Run) -> None:
    """A process that a mesh is without has nothing to write."""
    mesh = DeviceMesh("cpu", [0, 1])
    model: Any = distribute(made(MODELS["linear"][0]), mesh, [Shard(0)])
    LINEAR.apply(model, seed=SEED)
    for key, tensor in whole("linear").items():
        here = model.get_parameter(key).to_local()
        assert_same_tensors(here, tensor.chunk(2)[run.rank] if run.rank < 2 else torch.empty(0))
        run.facts["tensors"] += 1


# Meta models ---------------------------------------------------------------------------------------


def wrapped(model: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """A model with `fully_shard` on its layers and on itself."""
    for layer in model.children():
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


@case(1, 2, 4)
def fully_sharded(run: Run) -> None:
    """`materialize` after `fully_shard` of every layer, which also changes the classes of layers."""
    for dtype in DTYPES:
        model = wrapped(made(Zoo, dtype, "meta"), run.mesh((run.world,)))
        with silence():
            fanin.torch.materialize(model, PLAN, seed=SEED)
        run.compare("fully_shard", "zoo", model, dtype)


@case(2)
def fully_sharded_on_dim_1(run: Run) -> None:
    """`fully_shard` on another axis than the first."""
    model = made(MODELS["matrices"][0], device="meta")
    fully_shard(model, mesh=run.mesh((2,)), shard_placement_fn=lambda _: Shard(1))
    fanin.torch.materialize(model, LINEAR, seed=SEED)
    assert model[0].weight.placements == (Shard(1),)
    run.compare("fully_shard on dim 1", "matrices", model)


@case(4)
def replicas(run: Run) -> None:
    """HSDP: shards over one axis of a mesh, replicas over the other, which are equal."""
    mesh = run.mesh((2, 2), ("replicate", "shard"))
    model = wrapped(made(Zoo, device="meta"), mesh)
    with silence():
        fanin.torch.materialize(model, PLAN, seed=SEED)
    for name, tensor in held(model).items():
        local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
        first, second = run.join(local, mesh.get_group("replicate"))
        assert_same_tensors(first, second)
        assert not isinstance(tensor, DTensor) or tensor.placements == (Replicate(), Shard(0)), name
        run.facts["tensors"] += 1
    run.compare("HSDP", "zoo", model)


def parallel(model: Any, mesh: DeviceMesh) -> nn.Module:
    """Tensor parallelism of the two middle layers."""
    found: nn.Module = parallelize_module(model, mesh, {"up": ColwiseParallel(), "down": RowwiseParallel()})
    return found


def trains(model: Any) -> None:
    """Two steps of training give the losses of one process, the second lower than the first."""
    alone = made(Net)
    NET.apply(alone, seed=SEED)
    tokens = torch.arange(12).view(3, 4) % 7
    losses = []
    for each in (model, alone):
        optimizer = torch.optim.SGD(each.parameters(), lr=0.1)
        for _ in range(2):
            loss = nn.functional.cross_entropy(each(tokens).flatten(0, 1), tokens.flatten())
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    found, expected = losses[:2], losses[2:]
    assert np.allclose(found, expected, rtol=1e-4), losses
    assert found[1] < found[0]


@case(1, 2, 4)
def trained_fully_sharded(run: Run) -> None:
    model = wrapped_net(run.mesh((run.world,)))
    with silence():
        fanin.torch.materialize(model, NET, seed=SEED)
    run.compare("fully_shard", "net", model)
    assert model.head.weight is model.table.weight
    trains(model)


def wrapped_net(mesh: DeviceMesh, model: Any = None) -> Any:
    """A net on the meta device; its tied weights are of two layers, so they are sharded with the whole."""
    model = made(Net, device="meta") if model is None else model
    for layer in (model.up, model.down, model.norm):
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


@case(1, 2, 4)
def trained_tensor_parallel(run: Run) -> None:
    model: Any = parallel(made(Net, device="meta"), run.mesh((run.world,)))
    with silence():
        fanin.torch.materialize(model, NET, seed=SEED)
    assert model.up.weight.placements == (Shard(0),)
    assert model.down.weight.placements == (Shard(1),)
    run.compare("tensor parallel", "net", model)
    trains(model)


@case(2, 4)
def trained_both(run: Run) -> None:
    """Tensor parallelism and `fully_shard` on a mesh of two axes: both cut the rows of one weight."""
    for shape in MESHES[run.world][1:]:
        mesh = run.mesh(shape, ("dp", "tp"))
        model = wrapped_net(mesh["dp"], parallel(made(Net, device="meta"), mesh["tp"]))
        with silence():
            fanin.torch.materialize(model, NET, seed=SEED)
        first, second = model.up.weight.placements
        assert (first.dim, second) == (0, Shard(0))
        assert isinstance(first, _StridedShard) == (shape[1] > 1)
        run.compare(f"both {shape}", "net", model)
        trains(model)


@case(2)
def after_a_forward_pass(run: Run) -> None:
    """The gathered parameters that it leaves are not what is written, for they are dropped."""
    model = wrapped_net(run.mesh((2,)))
    fanin.torch.materialize(model, NET, seed=SEED + 1)
    with torch.no_grad():
        model(torch.zeros(1, 1, dtype=torch.int64))
    assert not isinstance(model.table.weight, DTensor)
    with silence():
        NET.apply(model, seed=SEED)
    run.compare("after a forward pass", "net", model)
    trains(model)


@case(2)
def accelerated(run: Run) -> None:
    """What resets its own parameters, sharded, inside of `accelerate`: the streams are those of the calls.

    Not the table: torch zeroes the padding row of what it has gathered, and so of a copy.
    """

    def reset(model: Any) -> nn.Module:
        with fanin.torch.accelerate(seed=SEED):
            for layer in (model.up, model.down, model.norm, model.head):
                layer.reset_parameters()
        return model

    expected = held(reset(made(Net)))
    model = wrapped_net(run.mesh((2,))).to_empty(device="cpu")
    model.head.weight = model.table.weight
    with silence():
        reset(model)
    for name, tensor in held(model).items():
        assert_same_tensors(tensor.to_local(), split(expected[name], tensor))
        run.facts["tensors"] += 1


# Functions -----------------------------------------------------------------------------------------

FILLS: dict[str, tuple[tuple[int, ...], Callable[..., torch.Tensor]]] = {
    "init_": ((7, 10), lambda t, **call: fanin.torch.init_(t, "glorot_uniform", **call)),
    "init_ of a vector": ((9,), lambda t, **call: fanin.torch.init_(t, "he_normal", layout="i", **call)),
    "trunc_normal_": ((7, 10), lambda t, **call: fanin.torch.trunc_normal_(t, std=0.02, a=-0.04, b=0.03, **call)),
    "kaiming_normal_": ((6, 4, 3, 3), fanin.torch.kaiming_normal_),
    "kaiming_uniform_": ((6, 4, 3, 3), lambda t, **call: fanin.torch.kaiming_uniform_(t, layout="o/2 i *k", **call)),
    "xavier_normal_": ((5, 3, 2), fanin.torch.xavier_normal_),
    "orthogonal_": ((5, 9), fanin.torch.orthogonal_),
    "sparse_": ((9, 5), lambda t, **call: fanin.torch.sparse_(t, 0.4, **call)),
    "eye_": ((9, 5), lambda t, **call: fanin.torch.eye_(t)),
    "dirac_": ((6, 4, 3), lambda t, **call: fanin.torch.dirac_(t)),
    "constant_": ((5,), lambda t, **call: fanin.torch.constant_(t, 0.1)),
}


@case(1, 2, 4)
def functions(run: Run) -> None:
    """Functions of tensors, on DTensors."""
    for dtype in DTYPES:
        for shape in MESHES[run.world][:2]:
            for arrangement in arrangements(shape, dtype).values():
                for name, (size, fill) in FILLS.items():
                    expected = fill(poisoned(*size, dtype=dtype), seed=SEED, name=name)
                    layer = nn.ParameterList([nn.Parameter(poisoned(*size, dtype=dtype))])
                    tensor = distribute(layer, run.mesh(shape), arrangement).get_parameter("0")
                    with silence():
                        assert fill(tensor, seed=SEED, name=name) is tensor
                    assert_same_tensors(tensor.to_local(), split(expected, tensor))
                    run.facts["tensors"] += 1


@case(2)
def a_backward_pass_notices(run: Run) -> None:
    """What autograd saved of a DTensor is known to have changed."""
    weight = nn.Parameter(distribute_tensor(torch.ones(4, 4), run.mesh((2,)), [Replicate()]))
    result = (weight * weight).sum()
    fanin.torch.init_(weight, "he_normal", seed=1)
    refuses(lambda: result.backward(), RuntimeError, "modified by an inplace operation")


# No communication ----------------------------------------------------------------------------------


@case(2, 4)
def alone(run: Run) -> None:
    """One process fills its shards while the others wait for it: they take part in nothing."""
    model = wrapped(made(Zoo, device="meta"), run.mesh((run.world,)))
    placed = distribute(made(Zoo), run.mesh((run.world,)), [Shard(1)])
    expected = whole("zoo")

    def fill() -> None:
        fanin.torch.materialize(model, PLAN, seed=SEED)
        PLAN.apply(placed, seed=SEED)
        for found in (model, placed):
            for name, tensor in held(found).items():
                local = tensor.to_local() if isinstance(tensor, DTensor) else tensor
                assert_same_tensors(local, split(expected[name], tensor) if local is not tensor else expected[name])
                run.facts["tensors"] += 1

    wait_for(run.world - 1, run, fill, PATIENCE)


def wait_for(one: int, run: Run, action: Callable[[], object], patience: timedelta) -> None:
    """One process does something, and the others sleep until it has."""
    store = dist.distributed_c10d._get_default_store()
    if run.rank == one:
        action()
        store.set("done", "")
    else:
        store.wait(["done"], patience)


@case(2)
def communication_is_counted(run: Run) -> None:
    """`silence` hears what there is to hear."""
    tensor = distribute_tensor(torch.ones(4), run.mesh((2,)), [Shard(0)])
    for action in (
        tensor.full_tensor,
        lambda: dist.all_reduce(torch.ones(1)),
        lambda: dist.broadcast(torch.ones(1), 0),
    ):
        with pytest.raises(AssertionError, match="c10d"), silence():
            action()


@case()
def lonely(run: Run) -> None:
    """Not to succeed: the one process does communicate, so that the other waits in vain."""
    tensor = distribute_tensor(torch.ones(4), run.mesh((2,)), [Shard(0)])
    wait_for(1, run, tensor.full_tensor, timedelta(seconds=2))


# Plain shards ---------------------------------------------------------------------------------------


@case(1, 2, 4)
def declared(run: Run) -> None:
    """Plain local tensors in layers whose arguments are those of the shard: torch's own defaults need the fans."""
    rows, width, at = 8 // run.world, 12 // run.world, run.rank
    shards = {
        "table.weight": ((8, 6), (rows * at, 0)),
        "up.weight": ((12, 6), (width * at, 0)),
        "up.bias": ((12,), (width * at,)),
        "down.weight": fanin.torch.Shard((6, 12), (0, width * at)),
    }
    plan = MODELS["block"][1]
    for dtype in DTYPES:
        model = made(lambda: Block(run.world), dtype)
        with silence():
            plan.apply(model, seed=SEED, shards=shards)
        other = made(lambda: Block(run.world), dtype, "meta")
        fanin.torch.materialize(other, plan, seed=SEED, shards=shards)
        for name, tensor in held(model).items():
            assert_same_tensors(other.get_parameter(name), tensor)
            pieces = run.join(tensor) if name in shards else [tensor]
            run.keep("declared", "block", dtype, name, torch.cat(pieces, 1 if name == "down.weight" else 0))


@case(1, 2, 4)
def declared_functions(run: Run) -> None:
    """The same for functions, cut as `torch.chunk` cuts: some have nothing."""
    for name, (size, fill) in FILLS.items():
        if name in ("eye_", "dirac_", "constant_"):
            continue
        expected = fill(poisoned(*size), seed=SEED, name=name)
        for axis in range(len(size)):
            step = -(-size[axis] // run.world)
            start = min(step * run.rank, size[axis])
            shape, offset = list(size), [0] * len(size)
            shape[axis], offset[axis] = min(step, size[axis] - start), start
            local = fill(poisoned(*shape), seed=SEED, name=name, shard=(size, tuple(offset)))
            assert_same_tensors(torch.cat(run.join(local), axis), expected)
            run.facts["tensors"] += 1


def partition(shape: torch.Size, group: dist.ProcessGroup | None, dtype: torch.dtype = torch.float32) -> Any:
    """A parameter as ZeRO-3 leaves it (deepspeed/runtime/zero/partition_parameters.py, 0.19.8).

    Its elements in C order are padded to a multiple of the processes of a group, each of which has one
    stretch of them in ``ds_tensor``; the parameter itself has no elements left.
    """
    parameter: Any = nn.Parameter(torch.empty(0, dtype=dtype))
    number = dist.get_world_size(group)
    parameter.ds_shape, parameter.ds_numel = shape, shape.numel()
    parameter.ds_tensor = torch.empty(-(-shape.numel() // number), dtype=dtype)
    parameter.ds_tensor.ds_numel = parameter.ds_tensor.numel()
    parameter.ds_process_group = group
    return parameter


def partitioned(model: nn.Module, group: dist.ProcessGroup | None) -> nn.Module:
    """A model whose parameters ZeRO-3 has partitioned; what they hold is 0xA5 bytes."""
    for layer in list(model.modules()):
        for key, tensor in list(layer._parameters.items()):
            if tensor is not None:
                found = partition(tensor.shape, group, tensor.dtype)
                found.ds_tensor.copy_(poisoned(*found.ds_tensor.shape, dtype=tensor.dtype))
                layer._parameters[key] = found
    return model


def unpartitioned(tensor: Any, run: Run, group: dist.ProcessGroup | None) -> torch.Tensor:
    """The whole of a partitioned parameter, the padding of which is as it was."""
    flat = torch.cat(run.join(tensor.ds_tensor, group))
    padding = flat[tensor.ds_numel :]
    assert_same_tensors(padding, poisoned(*padding.shape, dtype=flat.dtype))
    return flat[: tensor.ds_numel].view(tensor.ds_shape)


@case(1, 2, 4)
def zero_3(run: Run) -> None:
    """Partitions over all processes, and over groups of two."""
    groups: dict[str, Any] = {"all": None}
    if run.world == 4:
        groups["two"] = dist.new_subgroups(2)[0]
    for dtype in DTYPES:
        for name, group in groups.items():
            model = partitioned(made(Zoo, dtype), group)
            with silence():
                PLAN.apply(model, seed=SEED)
            for key, tensor in (*model.named_parameters(), *model.named_buffers()):
                full = unpartitioned(tensor, run, group) if hasattr(tensor, "ds_tensor") else tensor
                assert_same_tensors(full, whole("zoo", dtype)[key])  # in every group, not in that of process 0 alone
                run.keep(f"ZeRO-3 over {name}", "zoo", dtype, key, full)


@case(2)
def zero_3_functions(run: Run) -> None:
    """Functions of partitioned parameters, fans and all."""
    for name, (size, fill) in FILLS.items():
        tensor = partition(torch.Size(size), None)
        tensor.ds_tensor.copy_(poisoned(*tensor.ds_tensor.shape))
        fill(tensor, seed=SEED, name=name)
        assert_same_tensors(unpartitioned(tensor, run, None), fill(poisoned(*size), seed=SEED, name=name))
        run.facts["tensors"] += 1


@case(2)
def zero_3_gathered(run: Run) -> None:
    """Inside of GatheredParameters: the whole is written, and the partition, for either may be kept."""
    model: Any = partitioned(made(MODELS["linear"][0]), None)
    for parameter in model.parameters():
        parameter.data = poisoned(*parameter.ds_shape)
    LINEAR.apply(model, seed=SEED)
    for name, parameter in model.named_parameters():
        assert_same_tensors(parameter, whole("linear")[name])
        run.keep("ZeRO-3, gathered", "linear", torch.float32, name, unpartitioned(parameter, run, None))


# Proof -----------------------------------------------------------------------------------------------


@case()
def proof(run: Run) -> None:
    """Fingerprints that processes have add up to that of one process alone, and each verifies what it has."""
    alone = made(Zoo)
    PLAN.apply(alone, seed=SEED)
    expected = fanin.fingerprint(alone)
    models = {"fully_shard": wrapped(made(Zoo, device="meta"), run.mesh((run.world,)))}
    fanin.torch.materialize(models["fully_shard"], PLAN, seed=SEED)
    models["ZeRO-3"] = partitioned(made(Zoo), None)
    shape = MESHES[run.world][1] if run.world == 4 else (run.world,)
    for name in ("S0 S1", "S0 R", "R R", "strided 0, S0") if run.world == 4 else ("S0", "S1", "R", "strided 1 of 3"):
        models[name] = distribute(made(Zoo), run.mesh(shape), arrangements(shape, torch.float32)[name])
    for name, model in models.items():
        if name != "fully_shard":
            PLAN.apply(model, seed=SEED)
        with silence():
            found = fanin.fingerprint(model)
            verified = fanin.verify(model, PLAN, seed=SEED)
        assert verified.ok, f"{name}: {verified}"
        assert found.complete == (set(name) <= set("R ")), name
        everywhere: list[Any] = [None] * run.world
        dist.all_gather_object(everywhere, found)
        assert sum(everywhere) == expected, name
        assert sum(everywhere).digest == expected.digest
        run.facts["tensors"] += len(expected.tensors)
    flipped(run, models["fully_shard"])


def flipped(run: Run, model: Any) -> None:
    """One bit of one shard: the process that has it says where it is in the whole, the others have nothing to say."""
    last = run.world - 1
    if run.rank == last:
        model.dense.weight.to_local().view(torch.int32)[-1, -1] ^= 1
    found = fanin.verify(model, PLAN, seed=SEED)
    assert found.ok == (run.rank != last)
    if run.rank == last:
        (finding,) = found.wrong
        assert (finding.name, finding.index, finding.differing) == ("dense.weight", (9, 5), 1)


# What cannot be written -----------------------------------------------------------------------------


def refuses(action: Callable[[], object], error: type[Exception], *fragments: str) -> None:
    """Check that an action raises an error with fragments in its message."""
    with pytest.raises(error) as caught:
        action()
    for fragment in fragments:
        assert fragment in str(caught.value), (fragment, str(caught.value))


def untouched(model: nn.Module, action: Callable[[], object], error: type[FaninError], *fragments: str) -> None:
    """Check that a refusal leaves every tensor of a model as it is, and on the device it is on."""

    def state() -> object:
        tensors = {name: getattr(tensor, "_local_tensor", tensor) for name, tensor in held(model).items()}
        return {name: "meta" if each.is_meta else array(each).tobytes() for name, each in tensors.items()}

    before = state()
    refuses(action, error, *fragments)
    assert state() == before


@case(2)
def refusals(run: Run) -> None:
    mesh = run.mesh((2,))

    def pair(device: str = "cpu") -> Any:
        """Two linear layers, the first of which can be written."""
        model = made(lambda: nn.Sequential(nn.Linear(6, 10), nn.Linear(6, 10)), device=device)
        distribute(model[0], mesh, [Shard(0)])
        return model

    def given(weight: torch.Tensor, device: str = "cpu") -> Any:
        model = pair(device)
        model[1].weight = nn.Parameter(weight)
        return model

    def apply(model: nn.Module, **options: Any) -> Callable[[], object]:
        return lambda: LINEAR.apply(model, seed=SEED, **options)

    def materialize(model: nn.Module, **options: Any) -> Callable[[], object]:
        return lambda: fanin.torch.materialize(model, LINEAR, seed=SEED, **options)

    summed = DTensor.from_local(poisoned(10, 6), mesh, [Partial()])
    for model, action in [(given(summed), apply), (given(summed.to("meta"), "meta"), materialize)]:
        untouched(model, action(model), OutputError, "'1.weight'", "Partial", "Redistribute")
    refuses(lambda: fanin.torch.normal_(summed, seed=1), OutputError, "Partial", "Redistribute")
    assert_same_tensors(summed.to_local(), poisoned(10, 6))

    model = pair("meta")
    untouched(model, materialize(model, device="cuda"), OutputError, "'0.weight'", "mesh on 'cpu'", "to_empty")

    odd = DTensor.from_local(poisoned(4 + 2 * run.rank, 6), mesh, [Shard(0)], shape=(10, 6), stride=(6, 1))
    model = given(odd)
    untouched(model, apply(model), OutputError, "'1.weight'", f"{(4 + 2 * run.rank, 6)!r} here", "(5, 6)")

    model = pair()
    untouched(model, apply(model, shards={"0.weight": ((10, 6), (0, 0))}), ShapeError, "'0.weight'", "itself")
    refuses(lambda: fanin.torch.init_(model[0].weight, "zeros", shard=((10, 6), (0, 0))), ShapeError, "itself")

    # Shards of the usual shape that nobody has declared: each tensor of a layer on its own.
    for key, shape in [("weight", (5, 6)), ("weight", (10, 3)), ("bias", (5,)), ("weight", (0,)), ("bias", (0,))]:
        model = pair()
        model[1].register_parameter(key, nn.Parameter(poisoned(*shape)))
        untouched(model, apply(model), ShapeError, f"'1.{key}'", "shards=")
    model = given(poisoned(5, 6))
    untouched(model, apply(model, shards={"1.weight": ((10, 6), (6, 0))}), ShapeError, "does not lie in")
    refuses(lambda: fanin.torch.init_(poisoned(0), "he_normal"), ShapeError, "no elements", "shard=")

    tensor = partition(torch.Size((10, 6)), None)
    tensor.ds_tensor = torch.zeros(30, dtype=torch.int8)
    model = pair()
    model[1].weight = tensor
    untouched(model, apply(model), OutputError, "'1.weight'", "quantized")
    tensor.ds_tensor = torch.empty(0)
    tensor.ds_tensor.ds_numel = 30  # where it was swapped out
    untouched(model, apply(model), OutputError, "'1.weight'", "not in memory")


@case(2)
def flattened(run: Run) -> None:
    """FullyShardedDataParallel, the first: its flat parameter is told, and what was applied before it is kept."""
    from torch.distributed.fsdp import FullyShardedDataParallel

    for original in (True, False):
        model = made(lambda: nn.Sequential(nn.Linear(6, 10), nn.Linear(10, 4)))
        LINEAR.apply(model, seed=SEED)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = FullyShardedDataParallel(
                copy.deepcopy(model), device_id=torch.device("cpu"), use_orig_params=original
            )
        before = contents(module)
        refuses(
            lambda found=module: LINEAR.apply(found, seed=1), OutputError, "FullyShardedDataParallel", "fully_shard"
        )
        assert contents(module) == before


# Running -------------------------------------------------------------------------------------------


def names(world: int) -> list[str]:
    """The cases for so many processes."""
    return [name for name, (worlds, _) in CASES.items() if world in worlds]


def work(world: int, rank: int, directory: Path, only: Sequence[str]) -> None:
    """One of the processes."""
    torch.set_num_threads(1)
    logging.getLogger("torch.distributed.tensor").setLevel(logging.ERROR)  # two gatherings could be one
    init = f"file://{directory / 'store'}"
    dist.init_process_group("gloo", init_method=init, world_size=world, rank=rank, timeout=PATIENCE)
    run = Run(world, rank)
    for name in only or names(world):
        dist.barrier()
        CASES[name][1](run)
        run.facts["cases"].append(name)
    if rank == 0:
        np.savez(directory / "gathered.npz", **run.gathered)
    (directory / f"{rank}.json").write_text(json.dumps(run.facts))
    dist.barrier()
    dist.destroy_process_group()


def main(world: int, directory: Path, only: Sequence[str]) -> None:
    fork = multiprocessing.get_context("fork")  # what was imported takes seconds
    processes = [fork.Process(target=work, args=(world, rank, directory, only)) for rank in range(world)]
    for process in processes:
        process.start()
    waiting = {process.sentinel: process for process in processes}
    while waiting:
        for sentinel in multiprocessing.connection.wait(list(waiting)):
            process = waiting.pop(sentinel)
            process.join()
            if process.exitcode:
                for other in waiting.values():
                    other.kill()
                sys.exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
