"""Variables of linen as their layers describe them: linen itself keeps names and shapes only."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
from flax import linen

from fanin.layouts import Shape
from fanin.models.held import Held
from fanin.models.jax import layers
from fanin.models.jax.layers import Layer, stacked
from fanin.models.trees.walking import Trail, traverse
from fanin.spec import join_name

__all__ = ["LayerShape", "shapes"]

Path = tuple[str, ...]

_GATES = {
    linen.LSTMCell: 4, linen.OptimizedLSTMCell: 4, linen.GRUCell: 3, linen.MGUCell: 2, linen.SimpleCell: 1,
}  # fmt: skip


class LayerShape(jax.ShapeDtypeStruct):
    """A shape and a dtype that know their layer."""

    __slots__ = ("layer",)

    def __init__(self, like: Any, layer: Layer) -> None:
        super().__init__(like.shape, like.dtype, sharding=like.sharding)  # type: ignore[no-untyped-call]
        self.layer = layer

    def update(self, **changes: Any) -> "LayerShape":
        """The same with another shape, dtype or sharding."""
        return LayerShape(super().update(**changes), self.layer)  # type: ignore[no-untyped-call]


class _Recorder:
    """Notes which module has which variables, in the order in which they are created, while a model is traced.

    Inside of `nn.scan` and `nn.vmap` the shapes are those of one layer.
    """

    def __init__(self) -> None:
        self.modules: dict[Path, linen.Module] = {}
        self.shapes: dict[Path, Shape] = {}  # by collection, path and name
        self._running: list[linen.Module] = []

    def __call__(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], context: Any
    ) -> Any:
        for module in self._running[-1:]:
            self._note(module)
        self._running.append(context.module)
        result = function(*args, **kwargs)
        self._note(self._running.pop())
        return result

    def _note(self, module: linen.Module) -> None:
        if module.scope is None:
            return
        self.modules[module.path] = module
        for collection, variables in module.variables.items():
            for name, value in variables.items():
                value = linen.meta.unbox(value) if isinstance(value, linen.meta.AxisMetadata) else value
                if hasattr(value, "shape"):
                    self.shapes.setdefault((collection, *module.path, name), tuple(value.shape))


def shapes(module: linen.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The variables of a module, as `LayerShape`, without any values.

    Args:
        module: unbound.
        args: of `linen.Module.init`, the generators first.
        kwargs: of the same.
    """
    recorder = _Recorder()
    leaves, tree = jax.tree_util.tree_flatten((args, dict(kwargs)))
    traced = [hasattr(leaf, "shape") and hasattr(leaf, "dtype") for leaf in leaves]  # others decide what is traced

    def init(arrays: list[Any]) -> Any:
        given = iter(arrays)
        mixed = [next(given) if is_traced else leaf for leaf, is_traced in zip(leaves, traced, strict=True)]
        positional, named = jax.tree_util.tree_unflatten(tree, mixed)
        with linen.intercept_methods(recorder):
            return module.init(*positional, **named)

    arrays = [leaf for leaf, is_traced in zip(leaves, traced, strict=True) if is_traced]
    variables = jax.eval_shape(init, arrays)
    orders = {path: number for number, path in enumerate(recorder.shapes)}

    def visit(trail: Trail, leaf: Any) -> Any:
        if not isinstance(leaf, jax.ShapeDtypeStruct):
            return leaf
        path = tuple(str(step.key) for step in trail if step.key != ())
        return LayerShape(leaf, _layer(recorder, path, leaf.shape, orders.get(path, len(orders))))

    return traverse(variables, visit)


def _layer(recorder: _Recorder, path: Path, shape: Shape, order: int) -> Layer:
    """What is known of the variable at a path."""
    collection, *within, name = path
    modules, place = recorder.modules, tuple(within)
    owner = modules.get(place)
    if owner is None or path not in recorder.shapes:
        return Layer(Held(), name, type(owner).__name__ if owner is not None else "", order)
    outer = modules.get(place[:-1]) if place else None
    own = {each[-1]: length for each, length in recorder.shapes.items() if each[:-1] == path[:-1]}
    for classes, function in _OUTER if outer is not None else ():
        if isinstance(outer, classes):
            held = function(recorder, outer, (collection, *place), owner, own, name)
            if held is not None:
                key, module = join_name((place[-1], name)), type(outer).__name__
                return Layer(stacked(replace(held, shape=recorder.shapes[path]), shape), key, module, order)
    held = _described(owner, own, name)
    return Layer(
        stacked(replace(held, shape=recorder.shapes[path]), shape), join_name((name,)), type(owner).__name__, order
    )


def _described(layer: linen.Module, own: Mapping[str, Shape], name: str) -> Held:
    for classes, function in _LAYERS:
        if isinstance(layer, classes):
            held: Held = function(layer, own, name)
            return held
    return Held()


def _dense(layer: Any, own: Mapping[str, Shape], name: str) -> Held:
    return layers.dense(name, own["kernel"][:1], own["kernel"][1:])


def _general(layer: linen.DenseGeneral, own: Mapping[str, Shape], name: str) -> Held:
    kernel, batch, columns = own["kernel"], _count(layer.batch_dims), _count(layer.features)
    rows = len(kernel) - columns
    return layers.dense(name, kernel[batch:rows], kernel[rows:], kernel[:batch])


def _count(axes: int | Sequence[int]) -> int:
    return 1 if isinstance(axes, int) else len(tuple(axes))


def _einsum(layer: linen.Einsum, own: Mapping[str, Shape], name: str) -> Held:
    return layers.einsum(name, layer.einsum_str, own["kernel"], own.get("bias"))


def _conv(layer: linen.Conv, own: Mapping[str, Shape], name: str) -> Held:
    *window, inputs, outputs = own["kernel"]
    return layers.conv(name, tuple(window), inputs * layer.feature_group_count, outputs, layer.feature_group_count)


def _conv_local(layer: linen.ConvLocal, own: Mapping[str, Shape], name: str) -> Held:
    """A dense layer for each place of the output, whose inputs are the window's."""
    *places, inputs, outputs = own["kernel"]
    return layers.dense(name, (inputs,), (outputs,), tuple(places), "conv")


def _conv_transpose(layer: linen.ConvTranspose, own: Mapping[str, Shape], name: str) -> Held:
    *window, inputs, outputs = own["kernel"]
    if layer.transpose_kernel:
        inputs, outputs = outputs, inputs
    return layers.conv_transpose(name, tuple(window), inputs, outputs, layer.transpose_kernel)


def _embed(layer: linen.Embed, own: Mapping[str, Shape], name: str) -> Held:
    return layers.embedding(name, layer.num_embeddings, layer.features)


def _norm(layer: linen.Module, own: Mapping[str, Shape], name: str) -> Held:
    return layers.norm(name)


def _prelu(layer: linen.PReLU, own: Mapping[str, Shape], name: str) -> Held:
    return Held("activation.slope") if name == "negative_slope" else Held()


def _attention(
    recorder: _Recorder, layer: Any, place: Path, inner: linen.Module, own: Mapping[str, Shape], name: str
) -> Held | None:
    if not isinstance(inner, linen.DenseGeneral):
        return None
    held = _general(inner, own, name)
    return layers.attention(held) if place[-1] in ("query", "key", "value") else held


def _cell(
    recorder: _Recorder, cell: Any, place: Path, inner: linen.Module, own: Mapping[str, Shape], name: str
) -> Held | None:
    if not isinstance(inner, linen.Dense | linen.recurrent.DenseParams):
        return None
    gates = next(number for cls, number in _GATES.items() if isinstance(cell, cls))
    beside = (
        shape for path, shape in recorder.shapes.items()
        if path[:-2] == place[:-1] and path[-2].startswith("i") and path[-1] == "kernel"
    )  # fmt: skip
    inputs = next(beside)[0]
    return layers.recurrent(place[-1][0], name, inputs, own["kernel"][-1], gates)


_OUTER: Sequence[tuple[type | tuple[type, ...], Callable[..., Held | None]]] = (
    (linen.MultiHeadDotProductAttention, _attention),
    (tuple(_GATES), _cell),
)
_LAYERS: Sequence[tuple[type | tuple[type, ...], Callable[..., Held]]] = (
    ((linen.Dense, linen.recurrent.DenseParams), _dense),
    (linen.DenseGeneral, _general),
    (linen.Einsum, _einsum),
    (linen.Conv, _conv),
    (linen.ConvLocal, _conv_local),
    (linen.ConvTranspose, _conv_transpose),
    (linen.Embed, _embed),
    ((linen.BatchNorm, linen.LayerNorm, linen.RMSNorm, linen.GroupNorm, linen.InstanceNorm), _norm),
    (linen.PReLU, _prelu),
)
