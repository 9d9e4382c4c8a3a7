"""What adaptive layer norms that start at zero make of a new DiT."""

import torch
from dit import DiT

from fanin import recipes

SIZES = {"input_size": 16, "patch_size": 2, "in_channels": 4, "hidden_size": 64, "depth": 2, "num_heads": 4}


def test_blocks_of_a_new_dit_are_the_identity_and_what_comes_out_is_zero() -> None:
    generator = torch.Generator().manual_seed(1)
    model = DiT(**SIZES, num_classes=10)
    pictures = torch.randn(3, 4, 16, 16, generator=generator)
    times, classes = torch.tensor([0.0, 10.0, 999.0]), torch.tensor([0, 5, 10])
    assert model(pictures, times, classes).std() > 0
    recipes.dit(**SIZES, num_classes=10).apply(model, seed=7)
    patches = torch.randn(3, 64, 64, generator=generator)
    for block in model.blocks:
        assert (block(patches, torch.randn(3, 64, generator=generator)) == patches).all()
    made = model(pictures, times, classes)
    assert made.shape == (3, 8, 16, 16)
    assert (made == 0).all()
