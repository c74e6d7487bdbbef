"""The networks of the three published settings, against the published lists of layers.

docs/concepts/fidelity.md names the files in which the layers were read.
"""

from functools import cache
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from wholesight.nn.published import Bmvc2021UpBlock, Media2022UpBlock
from wholesight.nn.vae import VAE
from wholesight.recipe import Recipe

BMVC, GRADCAMCONS, AMCONS = "bmvc2021", "media2022-gradcamcons", "media2022-amcons"
PUBLISHED = (BMVC, GRADCAMCONS, AMCONS)


@cache
def full_size(name: str) -> VAE:
    return Recipe.load(name).method.network.eval()


def up_block(before: int, after: int) -> int:
    """Parameters of an up block of BMVC 2021: three 3x3 convolutions with bias, two batch norms."""
    return 2 * (before * after * 9 + after) + (after * after * 9 + after) + 2 * 2 * after


def two_blocks(before: int, after: int) -> int:
    """Of MedIA 2022: four 3x3 convolutions and one 1x1 with bias, five batch norms."""
    threes = (before * after * 9 + after) + 3 * (after * after * 9 + after)
    return threes + (before * after + after) + 5 * 2 * after


DECODERS = {
    # 32 -> 32 maps of 7 x 7 -> 256, 128, 64, 32, 16 channels -> 1, by 3 x 3 with bias
    BMVC: (32 + 1) * 32 * 7 * 7
    + sum(up_block(*pair) for pair in pairwise([32, 256, 128, 64, 32, 16]))
    + (16 * 9 + 1),
    # 32 -> 256 maps of 14 x 14 -> 128, 64, 32, 16 channels -> 1
    **dict.fromkeys(
        (GRADCAMCONS, AMCONS),
        (32 + 1) * 256 * 14 * 14
        + sum(two_blocks(*pair) for pair in pairwise([256, 128, 64, 32, 16]))
        + (16 * 9 + 1),
    ),
}


def count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_numbers_of_parameters(name):
    vae = full_size(name)
    # A ResNet-18 has 11,689,512 parameters, of them 513,000 in its classifier, 9,536 in its stem.
    assert count(vae.encoder.stages) == 11_689_512 - 513_000 - 9_536 == 11_166_976
    assert count(vae.encoder.stem) == 7 * 7 * 64
    top = 7 if name == BMVC else 14
    assert count(vae.mean, vae.log_variance) == 2 * (512 * top**2 + 1) * 32
    assert count(vae.decoder) == DECODERS[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_features_of_a_slice_of_224(name):
    vae = full_size(name)
    with torch.no_grad():
        encoding = vae.encode(
            torch.rand(1, 1, 224, 224, generator=torch.Generator().manual_seed(0))
        )
        decoded = vae.decode(encoding.mean)
    side = 56 if name == BMVC else 112
    assert [tuple(stage.shape[1:]) for stage in encoding.stages] == [
        (64 * 2**n, side // 2**n, side // 2**n) for n in range(4)
    ]
    assert encoding.mean.shape == (1, 32)
    assert decoded.shape == (1, 1, 224, 224)


@pytest.mark.parametrize("name", PUBLISHED)
def test_stem_is_a_bare_convolution(name):
    stem = full_size(name).encoder.stem
    slices = torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    (weight,) = stem.parameters()
    expected = functional.conv2d(slices, weight, stride=2, padding=3)
    if name == BMVC:
        expected = functional.max_pool2d(expected, 3, stride=2, padding=1)
    torch.testing.assert_close(stem(slices), expected)


def in_order(block: nn.Module, kind: type) -> list:
    return [module for module in block.modules() if isinstance(module, kind)]


def norm(x: Tensor) -> Tensor:
    """Batch norm in training, with its first weights (1) and biases (0)."""
    return functional.batch_norm(x, None, None, training=True)


def conv(x: Tensor, layer: nn.Conv2d) -> Tensor:
    return functional.conv2d(x, layer.weight, layer.bias, padding=layer.weight.shape[-1] // 2)


def twice(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def some_features() -> Tensor:
    return torch.randn(3, 6, 5, 5, generator=torch.Generator().manual_seed(0))


def test_up_block_of_bmvc2021_in_its_order():
    torch.manual_seed(0)
    block = Bmvc2021UpBlock(6, 4)
    first, second, skip = in_order(block, nn.Conv2d)
    x = twice(some_features())
    straight = norm(conv(norm(conv(x, first).relu()), second).relu())
    torch.testing.assert_close(block(some_features()), straight + conv(x, skip))


def test_up_block_of_media2022_in_its_order():
    torch.manual_seed(0)
    block = Media2022UpBlock(6, 4)
    first, second, skip, third, fourth = in_order(block, nn.Conv2d)
    x = some_features()
    straight = norm(conv(norm(twice(conv(x, first))).relu(), second))
    x = (straight + norm(twice(conv(x, skip)))).relu()
    x = (norm(conv(norm(conv(x, third)).relu(), fourth)) + x).relu()
    torch.testing.assert_close(block(some_features()), x)
