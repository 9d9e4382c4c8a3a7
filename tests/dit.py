"""DiT of facebookresearch/DiT (2023-06-02): its names, its shapes and what it computes, without its initialization.

No package has it under these names.
"""

import math

import torch
from torch import nn
from torch.nn import functional


class DiT(nn.Module):
    """Predicts the noise of images of `in_channels`, given a time and a class."""

    def __init__(
        self, *, input_size: int, patch_size: int, in_channels: int, hidden_size: int, depth: int, num_heads: int,
        num_classes: int, class_dropout_prob: float = 0.1, learn_sigma: bool = True
    ) -> None:  # fmt: skip
        super().__init__()
        self.x_embedder = nn.Module()
        self.x_embedder.proj = nn.Conv2d(in_channels, hidden_size, patch_size, patch_size)
        self.t_embedder = nn.Module()
        self.t_embedder.mlp = nn.Sequential(nn.Linear(256, hidden_size), nn.SiLU(), nn.Linear(hidden_size, hidden_size))
        self.y_embedder = nn.Module()
        self.y_embedder.embedding_table = nn.Embedding(num_classes + (class_dropout_prob > 0), hidden_size)
        places = (input_size // patch_size) ** 2
        self.pos_embed = nn.Parameter(torch.zeros(1, places, hidden_size), requires_grad=False)
        self.blocks = nn.ModuleList([Block(hidden_size, num_heads) for _ in range(depth)])
        self.final_layer = Final(hidden_size, patch_size**2 * in_channels * (2 if learn_sigma else 1))
        self.patch_size = patch_size

    def forward(self, x: torch.Tensor, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        rows = x.shape[-1] // self.patch_size
        patches = self.x_embedder.proj(x).flatten(2).transpose(1, 2) + self.pos_embed
        speeds = torch.exp(-math.log(10_000) * torch.arange(128) / 128)
        waves = torch.cat([torch.cos(t[:, None] * speeds), torch.sin(t[:, None] * speeds)], dim=-1)
        condition = self.t_embedder.mlp(waves) + self.y_embedder.embedding_table(y)
        for block in self.blocks:
            patches = block(patches, condition)
        made = self.final_layer(patches, condition).unflatten(1, (rows, rows))
        made = made.unflatten(-1, (self.patch_size, self.patch_size, -1))
        return made.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)


class Block(nn.Module):
    """Attention and MLP, each shifted, scaled and gated by the condition."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.mlp = nn.Module()
        self.mlp.fc1 = nn.Linear(width, 4 * width)
        self.mlp.fc2 = nn.Linear(4 * width, width)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        parts = self.adaLN_modulation(condition)[:, None].chunk(6, dim=-1)
        x = x + parts[2] * self.attn(self.norm1(x) * (1 + parts[1]) + parts[0])
        inner = functional.gelu(self.mlp.fc1(self.norm2(x) * (1 + parts[4]) + parts[3]), approximate="tanh")
        return x + parts[5] * self.mlp.fc2(inner)


class Attention(nn.Module):
    """Of packed queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Final(nn.Module):
    """From the width to the values of a patch."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.linear = nn.Linear(width, outputs)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        shift, scale = self.adaLN_modulation(condition)[:, None].chunk(2, dim=-1)
        return self.linear(self.norm_final(x) * (1 + scale) + shift)
