"""Law: no global random state is read or advanced, in any library; calling twice is calling once."""

import random

import numpy as np
import pytest
from harness import FAST, SLOW, assert_same_bits, cases_for, filled, use

from fanin import engines
from fanin.recipe import Draw, Normal, Stream, Window


@pytest.mark.parametrize("configuration", FAST)
def test_no_global_generator_is_read_or_advanced(configuration: str) -> None:
    import torch

    def states() -> tuple[object, ...]:
        return random.getstate(), str(np.random.get_state()), bytes(torch.get_rng_state().numpy().tobytes())

    asked = cases_for(configuration)[: 20 if configuration in SLOW else 200]
    outputs = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        before = states()
        outputs.append([filled(case, configuration) for case in asked])
        assert states() == before
    for first, second in zip(*outputs, strict=True):
        assert_same_bits(first, second)


@pytest.mark.parametrize("configuration", FAST)
def test_filling_twice_is_filling_once(configuration: str) -> None:
    draw = Draw(Normal(0.0, 1.0), (33, 17), stream=Stream("w", 1))
    view = np.empty(draw.shape, np.float32)
    with use(configuration):
        engines.fill(draw, Window.whole(draw.shape), view)
        once = view.copy()
        engines.fill(draw, Window.whole(draw.shape), view)
    assert_same_bits(view, once)
