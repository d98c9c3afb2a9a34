"""The families of networks of published checkpoints, each in a size that takes no time."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from model_zoo.architectures import mixed_networks
from model_zoo.architectures.bit_resnet import BiTResNet
from model_zoo.architectures.card_resnet import BinaryResNet, CardDeck
from model_zoo.architectures.convnext import ConvNeXt
from model_zoo.architectures.convnext_v2 import ConvNeXtV2
from model_zoo.architectures.mean_sparse import MeanSparse
from model_zoo.architectures.ra_resnet import RaResNet
from model_zoo.architectures.robust_resnet import RobustResNet
from model_zoo.architectures.sodef import Sodef, flow
from model_zoo.architectures.swin import SwinTransformer
from model_zoo.architectures.swish_resnet import SwishNetwork, SwishWideResNet
from model_zoo.architectures.vision_transformer import VisionTransformer
from model_zoo.architectures.wide_resnet import RobustWideResNet, WideResNet
from model_zoo.architectures.xcit import XCiT

FAMILIES: dict[str, tuple[Callable[[], nn.Module], set[str]]] = {
    "VisionTransformer": (
        lambda: VisionTransformer(10, 32, 2, depth=2, size=32, patch=8),
        {"cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.1.attn.qkv.bias", "blocks.0.mlp.fc2.weight"},
    ),
    "VisionTransformer with a stem": (
        lambda: VisionTransformer(10, 32, 2, depth=1, stem=(8, 16, 16, 24), size=32),
        {"patch_embed.proj.stem.0.weight", "patch_embed.proj.stem.1.bias", "patch_embed.proj.stem.12.bias"},
    ),
    "ConvNeXt": (
        lambda: ConvNeXt(10, 8, (1, 1, 2, 1), normalization="imagenet"),
        {"stem.0.bias", "stages.2.blocks.1.conv_dw.bias", "stages.1.downsample.0.bias", "head.norm.bias"},
    ),
    "ConvNeXt with a stem, sparse": (
        lambda: ConvNeXt(10, 8, (1, 1), stem=(4, 6, 8), sparse=True),
        {"stem.stem.6.weight", "stages.0.blocks.0.mlp.act.0.threshold", "stages.1.blocks.0.drop_path.1.running_var"},
    ),
    "SwinTransformer": (
        lambda: SwinTransformer(10, 16, 2, blocks=(2, 2), window=4, size=32, sparse=True),
        {"layers.0.blocks.1.attn.relative_position_bias_table", "layers.0.downsample.reduction.weight", "head.bias"},
    ),
    "XCiT": (
        lambda: XCiT(10, 32, 2, size=32, patch=4, depth=1),
        {"patch_embed.proj.0.1.running_var", "cls_attn_blocks.1.attn.q.bias", "pos_embed.token_projection.weight"},
    ),
    "SwishNetwork": (
        lambda: SwishNetwork(10, (8, 8, 16, 24), (1, 2, 1), "cifar10", squeezed=4, sparse=True),
        {"layer.1.block.1.se.fc2.bias", "layer.0.block.0.meansparse_2.running_mean", "meansparse_end.threshold"},
    ),
    "RaResNet": (
        lambda: RaResNet(10, 8, (16, 32), (1, 2), "imagenet"),
        {
            "stem.stem.stem.0.weight",
            "stages.stage2.stage2-block1.F.se.fc1.bias",
            "stages.stage1.stage1-block0.proj.1.bias",
        },
    ),
    "RobustResNet": (
        lambda: RobustResNet(10, (8, 8, 16, 8), (1, 1, 2), "cifar10"),
        {"blocks.1.layer.0.shortcut.0.weight", "norm1.running_mean"},
    ),
    "RobustWideResNet": (
        lambda: RobustWideResNet(10, (8, 8, 16, 8), (1, 1, 2)),
        {"stem_conv.weight", "blocks.1.layer.0.convShortcut.weight", "bn1.running_mean"},
    ),
    "WideResNet with a learned activation": (
        lambda: WideResNet(10, 10, 1, activation="pssilu"),
        {"activation.alpha", "block3.layer.0.activation.beta"},
    ),
    "BiTResNet": (lambda: BiTResNet(10, 50, 1), {"root.conv.weight", "body.block2.unit01.downsample.weight"}),
    "ConvNeXtV2": (
        lambda: ConvNeXtV2(10, 8, (1, 2)),
        {"downsample_layers.1.0.weight", "stages.1.1.grn.gamma", "stages.0.0.pwconv1.bias"},
    ),
    "Sodef": (
        lambda: Sodef(10, 10, 1, "cifar10"),
        {"features.init_conv.weight", "projection.base", "projection.original", "dynamics.bias"},
    ),
    "CardDeck": (
        lambda: CardDeck(10, "binary", "cifar10", cards=2),
        {"models.1.layer2.0.shortcut.1.running_mean", "models.0.fc.weight"},
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_network_answers_each_image_by_itself(family: str) -> None:
    torch.manual_seed(0)
    make, keys = FAMILIES[family]
    model = make().eval()
    assert keys <= set(model.state_dict())
    assert list(model.state_dict())[-1].rpartition(".")[2] in {"weight", "bias"}
    x = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        together, alone = model(x), torch.cat([model(x[i : i + 1]) for i in range(3)])
    assert together.shape == (3, 10)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-5


@pytest.mark.parametrize(("images", "shape"), [(True, (2, 3, 2, 2)), (False, (2, 4, 3))], ids=["maps", "tokens"])
def test_features_near_the_mean_become_it(images: bool, shape: tuple[int, ...]) -> None:
    layer = MeanSparse(3, images=images)
    x = torch.full(shape, 0.9)
    x[0] = 1.2
    assert torch.equal(layer(x), x)  # as it is before its statistics are known
    layer.load_state_dict(
        {"running_mean": torch.ones(3), "running_var": torch.full((3,), 0.25), "threshold": torch.tensor(0.3)}
    )
    assert torch.equal(layer(x)[0], x[0])  # 0.2 away, and 0.3 deviations are 0.15
    assert torch.equal(layer(x)[1], torch.ones_like(x[1]))


def test_sparse_networks_differ_from_the_others_by_their_thresholds_alone() -> None:
    torch.manual_seed(0)
    plain, sparse = SwishWideResNet(10, 10, 1, "half").eval(), SwishWideResNet(10, 10, 1, "half", sparse=True).eval()
    left_over = sparse.load_state_dict(plain.state_dict(), strict=False)
    assert all("meansparse" in key for key in left_over.missing_keys)
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(plain(x), sparse(x))
    for name, buffer in sparse.named_buffers():
        if "meansparse" in name and not name.endswith("running_mean"):
            buffer.fill_(0.5)
    assert (plain(x) - sparse(x)).abs().max() > 1e-4


def test_windows_that_shift_let_every_place_reach_the_answer() -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 3, 32, 32, requires_grad=True)
    SwinTransformer(10, 16, 2, blocks=(2,), window=4, size=32).eval()(x)[0, 0].backward()
    assert x.grad is not None
    assert bool((x.grad.abs().amax(1) > 0).all())


def test_a_shift_brings_no_far_places_into_one_window() -> None:
    """The last rows and the first lie in one window after it, and must not see each other."""
    torch.manual_seed(0)
    model = SwinTransformer(10, 16, 2, blocks=(2,), window=4, size=32).eval()
    block = model.get_submodule("layers.0.blocks.1")
    x = torch.rand(1, 8, 8, 16, requires_grad=True)
    block(x)[0, 0, 0].sum().backward()
    assert x.grad is not None
    seen = x.grad.abs().amax(3)[0] > 1e-20  # those kept apart have a weight of exp(-100)
    assert seen[:2, :2].all()
    assert not seen[2:].any()
    assert not seen[:, 2:].any()


def test_the_learned_activation_is_one_for_all_its_places() -> None:
    model = WideResNet(10, 10, 1, activation="pssilu")
    alphas = [value for key, value in model.state_dict(keep_vars=True).items() if key.endswith("alpha")]
    assert len(alphas) == 4
    assert all(alpha is alphas[0] for alpha in alphas)


def test_a_deck_answers_with_probabilities_of_its_cards() -> None:
    torch.manual_seed(0)
    deck = CardDeck(10, "binary", "none", cards=2).eval()
    card = BinaryResNet(10).eval()
    card.load_state_dict(deck.models[1].state_dict())
    x = torch.rand(2, 3, 32, 32)

    def answers(model: nn.Module) -> Tensor:
        with torch.no_grad():
            return model(x).softmax(1)  # type: ignore[no-any-return]

    with torch.no_grad():
        torch.testing.assert_close(deck(x), (answers(deck.models[0]) + answers(card)) / 2)


def test_a_flow_reaches_what_the_equation_says() -> None:
    y = torch.tensor([[1.0, -2.0, 0.5], [40.0, 0.0, 1e-3]])
    torch.testing.assert_close(flow(lambda rows: -rows, y, 5.0, 1e-6), y * math.exp(-5), rtol=1e-4, atol=1e-6)
    turned = flow(lambda rows: torch.stack([rows[:, 1], -rows[:, 0]], 1), y[:, :2], 5.0, 1e-6)
    expected = math.cos(5) * y[:, :2] + math.sin(5) * torch.stack([y[:, 1], -y[:, 0]], 1)
    torch.testing.assert_close(turned, expected, rtol=1e-4, atol=1e-4)


def test_a_projection_is_orthogonal_whatever_was_learned() -> None:
    torch.manual_seed(0)
    projection = Sodef(10, 10, 1, "cifar10").projection
    nn.init.normal_(projection.original)
    columns = projection(torch.eye(64))
    torch.testing.assert_close(columns.T @ columns, torch.eye(64), atol=1e-4, rtol=0)


def test_mixed_probabilities_are_probabilities_with_and_without_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    pair = (WideResNet(10, 10, 1).eval(), WideResNet(10, 10, 1).eval())
    monkeypatch.setattr(mixed_networks, "_PAIRS", {"small": lambda _: pair})
    model = mixed_networks.MixedNuts(10, "small", scale=5.0, power=4.0, shift=-1.1, share=0.9).eval()
    x = torch.rand(3, 3, 32, 32)
    answers = model(x)
    with torch.no_grad():
        assert torch.equal(answers, model(x))
        accurate = pair[0](x).argmax(1)
    torch.testing.assert_close(answers.exp().sum(1), torch.ones(3))
    assert bool((answers.gather(1, accurate[:, None]).exp() >= 0.1).all())
