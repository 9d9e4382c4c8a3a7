"""Inside fanin.torch.accelerate: what code draws by torch, drawn by fanin, and what is left to torch."""

import contextlib
import math
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.init import kaiming_normal_, normal_, trunc_normal_, uniform_, xavier_normal_, xavier_uniform_
from torch_tensors import array, assert_same_tensors, no_generator_advanced, poisoned, std_error

import fanin.torch
from fanin.errors import SeedError

LARGE = (600, 500)


def inside(action: Callable[[], Any], seed: int = 7) -> Any:
    with fanin.torch.accelerate(seed=seed):
        return action()


def values(module: nn.Module) -> list[bytes]:
    return [array(tensor).tobytes() for tensor in module.state_dict().values()]


# What is drawn -------------------------------------------------------------------------------------

CALLS: dict[str, tuple[Callable[[torch.Tensor], Any], Callable[..., torch.Tensor]]] = {
    "uniform_": (lambda t: uniform_(t, -0.5, 2.0), lambda t, **c: fanin.torch.uniform_(t, -0.5, 2.0, **c)),
    "normal_": (lambda t: normal_(t, std=0.02), lambda t, **c: fanin.torch.normal_(t, 0.0, 0.02, **c)),
    "trunc_normal_": (lambda t: trunc_normal_(t, 0.1, 0.5, 0.0, 1.5),
                      lambda t, **c: fanin.torch.trunc_normal_(t, 0.1, 0.5, 0.0, 1.5, **c)),
    "xavier_uniform_": (xavier_uniform_, lambda t, **c: fanin.torch.xavier_uniform_(t, **c)),
    "xavier_normal_": (lambda t: xavier_normal_(t, 5 / 3), lambda t, **c: fanin.torch.xavier_normal_(t, 5 / 3, **c)),
    "kaiming_uniform_": (lambda t: nn.init.kaiming_uniform_(t, a=math.sqrt(5)),
                         lambda t, **c: fanin.torch.kaiming_uniform_(t, math.sqrt(5), **c)),
    "kaiming_normal_": (lambda t: kaiming_normal_(t, mode="fan_out", nonlinearity="relu"),
                        lambda t, **c: fanin.torch.kaiming_normal_(t, 0, "fan_out", "relu", **c)),
    "tensor.normal_": (lambda t: t.data.normal_(mean=1.0, std=0.5),
                       lambda t, **c: fanin.torch.normal_(t, 1.0, 0.5, **c)),
    "tensor.uniform_": (lambda t: t.data.uniform_(-1, 3), lambda t, **c: fanin.torch.uniform_(t, -1.0, 3.0, **c)),
    "tensor.uniform_ by name": (lambda t: t.data.uniform_(**{"from": -1, "to": 3}),
                                lambda t, **c: fanin.torch.uniform_(t, -1.0, 3.0, **c)),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_a_call_draws_the_stream_of_its_number(name: str) -> None:
    theirs, ours = CALLS[name]
    tensors = [nn.Parameter(poisoned(30, 20)) for _ in range(3)]
    with no_generator_advanced(), fanin.torch.accelerate(seed=7):
        for tensor in tensors:
            theirs(tensor)
    # The scale may be rounded once more on torch's way than on ours.
    for number, tensor in enumerate(tensors):
        expected = ours(poisoned(30, 20), seed=7, name=f"\\#{number}")
        assert torch.allclose(tensor, expected, rtol=3e-7, atol=0)
    assert not torch.equal(tensors[0], tensors[1])


@pytest.mark.parametrize("name", CALLS)
def test_distributions_stay_what_they_are(name: str) -> None:
    theirs, _ = CALLS[name]
    with torch.random.fork_rng():
        torch.manual_seed(7)
        expected = poisoned(*LARGE)
        theirs(expected)
    found = poisoned(*LARGE)
    inside(lambda: theirs(found))
    assert found.std().item() == pytest.approx(expected.std().item(), rel=2 * std_error(found))
    assert abs(found.mean().item() - expected.mean().item()) < 9 * expected.std().item() / math.sqrt(found.numel())
    assert not torch.equal(found, expected)


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "Linear": lambda: nn.Linear(8, 6),
    "Conv2d": lambda: nn.Conv2d(8, 6, 3, groups=2),
    "ConvTranspose2d": lambda: nn.ConvTranspose2d(8, 6, 3),
    "Embedding": lambda: nn.Embedding(8, 6, padding_idx=1),
    "MultiheadAttention": lambda: nn.MultiheadAttention(8, 2, add_bias_kv=True),
    "LSTM": lambda: nn.LSTM(8, 6, 2),
    "Bilinear": lambda: nn.Bilinear(3, 4, 5),
    "Transformer": lambda: nn.Transformer(8, 2, 1, 1, 16, batch_first=True),
    "BatchNorm2d": lambda: nn.BatchNorm2d(3),
    "PReLU": lambda: nn.PReLU(3),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_torch_are_made_the_same_each_time(name: str) -> None:
    with no_generator_advanced():
        first, again, other = inside(LAYERS[name]), inside(LAYERS[name]), inside(LAYERS[name], seed=8)
    assert values(first) == values(again)
    random = name not in ("BatchNorm2d", "PReLU")
    assert (values(first) != values(other)) is random
    plain = LAYERS[name]()
    for tensor, expected in zip(first.state_dict().values(), plain.state_dict().values(), strict=True):
        assert tensor.shape == expected.shape
        assert bool((tensor == 0).all()) == bool((expected == 0).all())
    if name == "Embedding":
        assert not first.weight[1].any()


def tiny(name: str) -> nn.Module:
    import transformers

    if name == "gpt2":
        config = transformers.GPT2Config(vocab_size=300, n_positions=64, n_embd=64, n_layer=2, n_head=2)
        return transformers.GPT2LMHeadModel._from_config(config)
    if name == "llama":
        config = transformers.LlamaConfig(
            vocab_size=300, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=2
        )
        return transformers.AutoModelForCausalLM.from_config(config)
    config = transformers.ViTConfig(
        hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8
    )
    return transformers.AutoModel.from_config(config)


@pytest.mark.parametrize("name", ["gpt2", "llama", "vit"])
def test_models_of_transformers_are_made_the_same_each_time(name: str) -> None:
    # A ViT calls torch.randn first, which is left to torch, and draws over it.
    with contextlib.nullcontext() if name == "vit" else no_generator_advanced():
        first, again, other = inside(lambda: tiny(name)), inside(lambda: tiny(name)), inside(lambda: tiny(name), seed=8)
    assert values(first) == values(again) != values(other)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        expected = tiny(name).state_dict()
    compared = 0
    for key, tensor in first.state_dict().items():
        if tensor.numel() >= 4096:
            assert tensor.std().item() == pytest.approx(expected[key].std().item(), rel=2 * std_error(tensor)), key
            compared += 1
        elif not expected[key].is_floating_point() or expected[key].std() == 0:
            assert torch.equal(tensor, expected[key]), key
    assert compared >= 8


def test_numbers_depend_on_the_order_of_calls() -> None:
    """The one door of fanin that does, and the documentation says so."""
    assert "depends on order" in (fanin.torch.accelerate.__doc__ or "")

    def made(*sizes: int) -> list[nn.Linear]:
        return [nn.Linear(size, 4) for size in sizes]

    alone, after = inside(lambda: made(6)), inside(lambda: made(5, 6))
    assert not torch.equal(alone[0].weight, after[1].weight)


def test_without_a_seed_every_block_is_fresh() -> None:
    block = fanin.torch.accelerate()
    made = []
    for _ in range(2):
        with block:
            made.append(nn.Linear(6, 4).weight)
    torch.manual_seed(0)
    with block:
        made.append(nn.Linear(6, 4).weight)
    assert len({array(weight).tobytes() for weight in made}) == 3


def test_a_seed_that_cannot_be_is_told() -> None:
    for seed in (-1, 2**64, True, 0.5, "7"):
        with pytest.raises(SeedError):
            fanin.torch.accelerate(seed=seed)  # type: ignore[arg-type]


# Beginning and end ---------------------------------------------------------------------------------


def assert_undone() -> None:
    """Check that torch draws from its own generator again, and that its functions are its own."""
    assert nn.init._no_grad_trunc_normal_.__module__ == "torch.nn.init"
    assert torch._C._len_torch_function_stack() == 0
    for draw in (normal_, trunc_normal_, kaiming_normal_, lambda t: t.normal_()):
        made = []
        for _ in range(2):
            torch.manual_seed(3)
            tensor = torch.empty(5, 4)
            draw(tensor)
            made.append(tensor)
        assert torch.equal(made[0], made[1])
        torch.manual_seed(4)
        draw(made[1])
        assert not torch.equal(made[0], made[1])


@pytest.fixture(autouse=True)
def _undone() -> Any:
    with torch.random.fork_rng():
        yield
        assert_undone()


def test_a_block_that_is_not_undone_is_told() -> None:
    with fanin.torch.accelerate(seed=7), pytest.raises(AssertionError):
        assert_undone()


def test_an_exception_undoes_it() -> None:

    def interrupted() -> None:
        with fanin.torch.accelerate(seed=7):
            nn.Linear(3, 2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert_undone()
    with fanin.torch.accelerate(seed=7):
        with pytest.raises(ValueError, match="fewer than 2 dimensions"):
            nn.init.xavier_normal_(torch.empty(3))
        with pytest.raises(ValueError, match="fewer than two axes"):
            nn.init.kaiming_uniform_(torch.empty(3))


def test_blocks_nest_and_count_their_own_calls() -> None:
    with fanin.torch.accelerate(seed=7):
        first = normal_(poisoned(5, 4))
        with fanin.torch.accelerate(seed=8):
            inner = [normal_(poisoned(5, 4)), trunc_normal_(poisoned(5, 4))]
        second = trunc_normal_(poisoned(5, 4))
    assert_same_tensors(first, fanin.torch.normal_(poisoned(5, 4), seed=7, name="\\#0"))
    assert_same_tensors(inner[0], fanin.torch.normal_(poisoned(5, 4), seed=8, name="\\#0"))
    assert_same_tensors(inner[1], fanin.torch.trunc_normal_(poisoned(5, 4), seed=8, name="\\#1"))
    assert_same_tensors(second, fanin.torch.trunc_normal_(poisoned(5, 4), seed=7, name="\\#1"))


def test_one_object_may_be_entered_twice_and_again() -> None:
    block = fanin.torch.accelerate(seed=7)
    made = []
    with block:
        made.append(normal_(poisoned(5, 4)))
        with block:
            made.append(normal_(poisoned(5, 4)))
    with block:
        made.append(normal_(poisoned(5, 4)))
    for tensor in made:
        assert_same_tensors(tensor, made[0])


def in_threads(*actions: Callable[[], None]) -> None:
    """Run actions in threads of their own, and raise what they raise."""
    errors: list[BaseException] = []

    def run(action: Callable[[], None]) -> None:
        try:
            action()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    for error in errors:
        raise error


def test_other_threads_see_nothing_of_a_block() -> None:
    def elsewhere() -> None:
        for draw in (normal_, trunc_normal_, lambda t: t.normal_()):
            made = []
            for _ in range(2):
                torch.manual_seed(3)
                tensor = torch.empty(5, 4)
                draw(tensor)
                made.append(tensor)
            assert torch.equal(made[0], made[1]), "a number of a call was counted"

    with fanin.torch.accelerate(seed=7):
        in_threads(elsewhere)
        assert_same_tensors(normal_(poisoned(5, 4)), fanin.torch.normal_(poisoned(5, 4), seed=7, name="\\#0"))


def test_threads_have_blocks_of_their_own_even_of_one_object() -> None:
    shared, together = fanin.torch.accelerate(seed=7), threading.Barrier(3, timeout=60)
    made: dict[int, list[bytes]] = {}

    def work(number: int, block: fanin.torch.accelerate) -> Callable[[], None]:
        def action() -> None:
            together.wait()
            with block:
                together.wait()  # all are inside
                layers = [nn.Linear(6, 4) for _ in range(20)] + [nn.Embedding(5, 4)]
                drawn = [array(layer.weight).tobytes() for layer in layers]
                drawn += [array(trunc_normal_(torch.empty(5, 4))).tobytes() for _ in range(20)]
                if number == 1:
                    together.wait()
            if number != 1:
                together.wait()  # the others have left already
            made[number] = drawn

        return action

    in_threads(work(0, shared), work(1, shared), work(2, fanin.torch.accelerate(seed=8)))
    assert made[0] == made[1] != made[2]
    assert len(set(made[0])) == 41


# What is left to torch -----------------------------------------------------------------------------


def test_a_generator_is_torch_business() -> None:
    for draw in (normal_, uniform_, trunc_normal_, xavier_uniform_, kaiming_normal_, nn.init.kaiming_uniform_):
        made = []
        for accelerated in (True, False):
            generator = torch.Generator().manual_seed(3)
            tensor = torch.empty(5, 4)
            if accelerated:
                inside(lambda t=tensor, g=generator, d=draw: d(t, generator=g))  # type: ignore[misc]
            else:
                draw(tensor, generator=generator)
            made.append(tensor)
        assert_same_tensors(made[0], made[1])


def test_calls_that_fanin_does_not_take_are_not_counted() -> None:
    with fanin.torch.accelerate(seed=7):
        normal_(torch.empty(3, 4, device="meta"))
        trunc_normal_(torch.empty(3, 4, device="meta"))
        kaiming_normal_(torch.empty(5, 4), generator=torch.Generator())
        nn.Linear(3, 4, device="meta")
        torch.zeros(3, dtype=torch.complex64).normal_()
        torch.empty(0, 4).normal_()
        with pytest.warns(UserWarning, match="zero-element"):
            nn.init.kaiming_uniform_(torch.empty(0, 4))
        with pytest.raises((RuntimeError, NotImplementedError)):
            torch.zeros(3, dtype=torch.int64).normal_()
        nn.init.zeros_(torch.empty(3))
        first = normal_(poisoned(5, 4))
    assert_same_tensors(first, fanin.torch.normal_(poisoned(5, 4), seed=7, name="\\#0"))


def test_what_torch_refuses_or_tracks_it_refuses_and_tracks_inside() -> None:
    leaf = nn.Parameter(poisoned(3, 4))
    with fanin.torch.accelerate(seed=7):
        with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
            leaf.normal_()
        assert_same_tensors(leaf, poisoned(3, 4))
        inner = leaf * 2  # a draw into a graph stops the gradient, as torch's does
        inner.normal_()
        inner.sum().backward()
        assert leaf.grad is not None
        assert leaf.grad.tolist() == [[0.0] * 4] * 3
        with pytest.raises(RuntimeError, match="single memory location"):
            torch.empty(3, 1).expand(3, 4).normal_()


def test_parts_of_leaves_are_drawn_as_by_torch() -> None:
    """Fairseq's and others' way with packed weights: nn.init of a slice, outside of no_grad."""
    leaf = nn.Parameter(torch.zeros(6, 4))
    with no_generator_advanced(), fanin.torch.accelerate(seed=7):
        xavier_uniform_(leaf[:3])
        normal_(leaf[3:5])
        trunc_normal_(leaf[5:])
    assert bool((leaf != 0).all())
    assert_same_tensors(leaf[3:5], fanin.torch.normal_(poisoned(2, 4), seed=7, name="\\#1"))


def test_orthogonal_and_sparse_take_their_normals_from_fanin() -> None:
    def made() -> torch.Tensor:
        return nn.init.orthogonal_(torch.empty(6, 6))

    with no_generator_advanced():
        first, again = inside(made), inside(made)
    assert_same_tensors(first, again)
    assert torch.allclose(first @ first.T, torch.eye(6), atol=1e-5)
    kept = inside(lambda: nn.init.sparse_(torch.empty(40, 5), 0.1, std=1.0))
    assert (kept == 0).sum(dim=0).tolist() == [4] * 5
    drawn = fanin.torch.normal_(poisoned(40, 5), seed=7, name="\\#0")
    assert torch.equal(kept[kept != 0], drawn[kept != 0])


def test_other_draws_stay_those_of_torch() -> None:
    for draw in (torch.randn, torch.rand, lambda n: torch.empty(n).exponential_(), torch.randperm):
        torch.manual_seed(3)
        expected = draw(5)
        torch.manual_seed(3)
        assert torch.equal(inside(lambda d=draw: d(5)), expected)  # type: ignore[misc]


def test_plans_and_functions_of_fanin_are_the_same_inside() -> None:
    expected = fanin.torch.kaiming_normal_(poisoned(5, 4), seed=3, name="w")
    layer = nn.Linear(6, 4)
    with fanin.torch.accelerate(seed=7):
        assert_same_tensors(fanin.torch.kaiming_normal_(poisoned(5, 4), seed=3, name="w"), expected)
        fanin.defaults("torch").apply(layer, seed=3)
    other = nn.Linear(6, 4)
    fanin.defaults("torch").apply(other, seed=3)
    assert values(layer) == values(other)
