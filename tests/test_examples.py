"""The examples' plans give real models what their own code gives them."""

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from harness import poisoned
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

import fanin
from fanin import Plan, engines, recipes
from fanin.errors import PlanError
from fanin.plan import Entry, digest
from fanin.recipe import Window

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
PLANS = sorted(EXAMPLES.glob("*.toml"))
SIGMAS = 6.0

# Standard error of a sample's standard deviation, times sqrt(n) / deviation: sqrt((kurtosis - 1) / 4).
NORMAL = math.sqrt((3 - 1) / 4)
UNIFORM = math.sqrt((1.8 - 1) / 4)


def filled(entries: Iterable[Entry]) -> dict[str, np.ndarray]:
    """Every tensor, written over poison."""
    arrays = {}
    for entry in entries:
        arrays[entry.name] = poisoned(entry.shape, entry.dtype)
        engines.fill(entry.recipe, Window.whole(entry.shape), arrays[entry.name])
    return arrays


def moments(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))


def check_moments(name: str, values: np.ndarray, stddev: float, spread: float = NORMAL) -> None:
    """Compare mean and standard deviation with a closed form, at 6 sigma of what a sample of this size scatters."""
    error = SIGMAS * stddev / math.sqrt(values.size)
    mean, found = moments(values)
    assert abs(mean) < error, f"{name}: mean {mean} of {values.size} values of deviation {stddev}"
    assert abs(found - stddev) < spread * error, f"{name}: deviation {found}, should be {stddev}"


def check_alike(name: str, values: np.ndarray, others: np.ndarray, spread: float = NORMAL) -> None:
    """Compare mean and standard deviation of two independent samples of one size."""
    (mean, stddev), (other_mean, other) = moments(values), moments(others)
    error = SIGMAS * other * math.sqrt(2 / values.size)
    assert abs(mean - other_mean) < error or mean == other_mean, f"{name}: mean {mean}, not {other_mean}"
    assert abs(stddev - other) < spread * error or stddev == other, f"{name}: deviation {stddev}, not {other}"


def asked(entries: Iterable[Entry]) -> dict[str, tuple[tuple[int, ...], str]]:
    return {entry.name: (entry.shape, entry.dtype.name) for entry in entries}


def stated(tensors: dict[str, torch.Tensor]) -> dict[str, tuple[tuple[int, ...], str]]:
    return {name: (tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")) for name, tensor in tensors.items()}


def test_every_example_is_tested() -> None:
    assert [path.name for path in PLANS] == ["gpt2.toml", "resnet50.toml"]


def test_the_checks_can_fail() -> None:
    values = np.random.default_rng(7).normal(0, 0.02, 2**16)
    check_moments("good", values, 0.02)
    check_alike("good", values, -values[::-1])
    for bad in (values * 1.02, values + 0.001):  # 6 sigma are 1.7 % of the deviation, and 2.3 % of it for the mean
        with pytest.raises(AssertionError, match=r"bad: (mean|deviation)"):
            check_moments("bad", bad, 0.02)
        with pytest.raises(AssertionError, match=r"bad: (mean|deviation)"):
            check_alike("bad", bad * 1.01, values)
    with pytest.raises(AssertionError, match="zeros"):
        check_alike("zeros", np.zeros(100), values[:100])


# GPT-2 ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gpt2() -> tuple[tuple[Entry, ...], dict[str, np.ndarray]]:
    entries = Plan.from_file(EXAMPLES / "gpt2.toml").resolve(seed=42)
    return entries, filled(entries)


def test_gpt2_has_the_parameters_of_transformers() -> None:
    with torch.device("meta"):
        model = GPT2LMHeadModel(GPT2Config())
    entries = Plan.from_file(EXAMPLES / "gpt2.toml").resolve()
    assert asked(entries) == stated(dict(model.named_parameters()))
    assert model.state_dict().keys() - asked(entries).keys() == {"lm_head.weight"}  # tied to wte
    assert sum(math.prod(entry.shape) for entry in entries) == 124_439_808


def gpt2_stddev(name: str) -> float:
    if name.endswith("c_proj.weight"):
        return 0.02 / math.sqrt(2 * 12)
    return 0.02


def test_gpt2_has_the_moments_of_openai_s_scheme(gpt2: tuple[tuple[Entry, ...], dict[str, np.ndarray]]) -> None:
    """The smallest random tensor has 590 k values, whose deviation is known to 0.6 % at 6 sigma."""
    random, constant = 0, 0
    for name, values in gpt2[1].items():
        if ".ln_" in name or name.endswith(".bias"):
            assert (values == (1 if name.endswith(".weight") else 0)).all(), name
            constant += 1
        else:
            assert values.size >= 589_824
            check_moments(name, values, gpt2_stddev(name))
            random += 1
    assert (random, constant) == (2 + 4 * 12, 98)


def test_gpt2_is_as_transformers_makes_it(gpt2: tuple[tuple[Entry, ...], dict[str, np.ndarray]]) -> None:
    torch.manual_seed(7)
    model = GPT2LMHeadModel(GPT2Config())
    compared = 0
    for name, parameter in model.named_parameters():
        check_alike(name, gpt2[1][name], parameter.detach().numpy())
        compared += 1
    assert compared == 148
    missing = model.load_state_dict({name: torch.from_numpy(v) for name, v in gpt2[1].items()}, strict=False)
    assert missing.missing_keys == ["lm_head.weight"]
    assert not missing.unexpected_keys
    assert model.lm_head.weight is model.transformer.wte.weight
    loss = model(torch.arange(64)[None], labels=torch.arange(64)[None]).loss
    assert abs(loss.item() - math.log(50257)) < 0.5  # what a model knows that has learned nothing


# ResNet-50 -----------------------------------------------------------------------------------------


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up, with a projection where the shape changes."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        return (self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x))).relu()


class ResNet50(nn.Module):
    """He et al. 2015 with torchvision's names and initialization."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inputs = 64
        for stage, blocks in enumerate([3, 4, 6, 3], start=1):
            width = 32 * 2**stage
            layer = nn.Sequential()
            for block in range(blocks):
                layer.append(Bottleneck(inputs, width, 2 if stage > 1 and block == 0 else 1))
                inputs = 4 * width
            self.add_module(f"layer{stage}", layer)
        self.fc = nn.Linear(2048, 1000)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(x.mean((2, 3)))


@pytest.fixture(scope="module")
def resnet50() -> dict[str, np.ndarray]:
    return filled(Plan.from_file(EXAMPLES / "resnet50.toml").resolve(seed=42))


def test_resnet50_has_the_tensors_of_torchvision() -> None:
    with torch.device("meta"):
        model = ResNet50()
    assert sum(parameter.numel() for parameter in model.parameters()) == 25_557_032  # torchvision's own count
    assert asked(Plan.from_file(EXAMPLES / "resnet50.toml").resolve()) == stated(model.state_dict())


def test_resnet50_has_torchvision_s_moments(resnet50: dict[str, np.ndarray]) -> None:
    """The smallest convolution has 4096 values, whose deviation is known to 6.6 %, the head's bias to 8.5 %."""
    torch.manual_seed(7)
    model = ResNet50()
    convolutions = 0
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * math.prod(module.kernel_size)
            check_moments(name, resnet50[f"{name}.weight"], math.sqrt(2 / fan_out))
            convolutions += 1
    assert convolutions == 53
    for name in ("fc.weight", "fc.bias"):
        values, limit = resnet50[name], 1 / math.sqrt(2048)
        check_moments(name, values, limit / math.sqrt(3), UNIFORM)
        assert 0.99 * limit < abs(values).max() <= limit
    for name, tensor in model.state_dict().items():
        check_alike(name, resnet50[name], tensor.numpy())


def test_the_recipes_of_resnet_are_for_torchvision_s_names_as_well() -> None:
    """Those of transformers are in the recipes' lists."""
    with torch.device("meta"):
        parameters = fanin.parameters(ResNet50())
    ours = Plan.from_file(EXAMPLES / "resnet50.toml").resolve(seed=42)
    plain, timm = (recipes.load(name).resolve(parameters, seed=42) for name in ("resnet", "resnet_timm"))
    assert {digest([entry]) for entry in plain} == {digest([entry]) for entry in ours}
    apart = {one.name for one, other in zip(plain, timm, strict=True) if digest([one]) != digest([other])}
    assert apart == {name for name in asked(ours) if name.endswith("bn3.weight")}
    assert len(apart) == 16
    with pytest.raises(PlanError, match=r"claims 16 parameters, .* but expects blocks = 33"):
        recipes.resnet_timm(depth_2=23).resolve(parameters)
    with pytest.raises(PlanError, match="no rule claims 16 of 320 parameters"):
        recipes.resnet_timm(bottleneck=0).resolve(parameters)


def test_resnet50_loads_and_runs(resnet50: dict[str, np.ndarray]) -> None:
    model = ResNet50()
    model.load_state_dict({name: torch.from_numpy(values) for name, values in resnet50.items()}, strict=True)
    for name, tensor in model.state_dict().items():
        if name.endswith(("running_mean", "num_batches_tracked", "bn1.bias")):
            assert not tensor.any(), name
        if name.endswith(("running_var", "bn1.weight", "downsample.1.weight")):
            assert (tensor == 1).all(), name
    with torch.no_grad():
        logits = model(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(7)))
    assert logits.shape == (2, 1000)
    assert logits.isfinite().all()
    assert 0.1 < logits.std().item() < 10
