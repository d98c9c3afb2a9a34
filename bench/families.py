"""A network of each family that people submit, untrained, in its usual size and in a small one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.architectures.torchvision_models import models
from model_zoo.architectures.wide_resnet import WideResNet

Make = Callable[[], nn.Module]


@dataclass(frozen=True)
class Family:
    """A family of architectures.

    Args:
        name: of the network in its usual size.
        usual: makes it, with 10 classes.
        size: height and width of its images here; the network is the usual one, the images are small.
        small: makes one of few layers and channels with the same operations.
        small_size: height and width of the images of that.
    """

    name: str
    usual: Make
    size: int
    small: Make
    small_size: int = 32


def untrained(make: Make) -> nn.Module:
    """Make a network in eval mode whose every part has a say: no weights of zero, no statistics of a fresh layer."""
    torch.manual_seed(0)
    model = make().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    return with_statistics(model)


def with_statistics(model: nn.Module) -> nn.Module:
    """Draw the running statistics of every BatchNorm, as if the network had seen images; return the network."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None and module.running_var is not None:
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model


class _PreActBlock(nn.Module):
    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(inner), nn.BatchNorm2d(outer)
        self.conv1 = nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outer, outer, 3, padding=1, bias=False)
        same = inner == outer and stride == 1
        self.shortcut = None if same else nn.Conv2d(inner, outer, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.norm1(x))
        change: Tensor = self.conv2(F.relu(self.norm2(self.conv1(active))))
        return change + (x if self.shortcut is None else self.shortcut(active))


class PreActResNet(nn.Module):
    """PreAct-ResNet for small images.

    Args:
        width: channels of the first of four stages; each has twice those of the one before.
        blocks: in each stage; 2 give the ResNet-18.
    Source:
        He et al. 2016, arXiv:1603.05027.
    """

    def __init__(self, width: int = 64, blocks: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        stages: list[nn.Module] = []
        for stage in range(4):
            outer = width << stage
            for number in range(blocks):
                first = number == 0 and stage > 0
                stages.append(_PreActBlock(outer // 2 if first else outer, outer, 2 if first else 1))
        self.stages = nn.Sequential(*stages)
        self.norm = nn.BatchNorm2d(8 * width)
        self.head = nn.Linear(8 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        features = F.relu(self.norm(self.stages(self.stem(x))))
        logits: Tensor = self.head(F.adaptive_avg_pool2d(features, 1).flatten(1))
        return logits


class _Normalised(nn.Module):
    """A network behind the normalisation of its images."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1))
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network((x - self.mean) / self.deviation)
        return logits


class _Attention(nn.Module):
    """Attention among tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.into, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        q, k, v = self.into(x).reshape(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.out(mixed.transpose(1, 2).reshape(n, tokens, width))
        return out


class _CrossCovariance(nn.Module):
    """Attention among channels.

    Source:
        El-Nouby et al. 2021, arXiv:2106.09681, section 3.2.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.into, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        q, k, v = self.into(x).reshape(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 4, 1).unbind(0)
        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        weights = (q @ k.transpose(-2, -1) * self.temperature).softmax(-1)
        out: Tensor = self.out((weights @ v).permute(0, 3, 1, 2).reshape(n, tokens, width))
        return out


class _LocalPatches(nn.Module):
    """Two depthwise convolutions over the tokens as an image, as the cross-covariance transformer has them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        side = int(tokens**0.5)
        image = x.transpose(1, 2).reshape(n, width, side, side)
        mixed: Tensor = self.conv2(self.norm(F.gelu(self.conv1(image))))
        return mixed.flatten(2).transpose(1, 2)


class _Residual(nn.Module):
    """A layer behind a normalisation, scaled and added to what came in."""

    def __init__(self, width: int, layer: nn.Module, scale: float = 1.0) -> None:
        super().__init__()
        self.norm, self.layer = nn.LayerNorm(width), layer
        self.scale = nn.Parameter(torch.full((width,), scale))

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.layer(self.norm(x))
        return x + self.scale * change


def _perceptron(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))


class Deit(nn.Module):
    """A transformer with a token for the class and one for distillation, whose two heads are averaged.

    Source:
        Touvron et al. 2021, arXiv:2012.12877, section 4.
    """

    def __init__(self, size: int, patch: int, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.tokens = nn.Parameter(torch.zeros(1, 2, width))
        self.positions = nn.Parameter(torch.zeros(1, (size // patch) ** 2 + 2, width))
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(_Residual(width, _Attention(width, heads)), _Residual(width, _perceptron(width)))
                for _ in range(depth)
            )
        )
        self.norm = nn.LayerNorm(width)
        self.of_class, self.of_distillation = nn.Linear(width, 10), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.tokens.expand(x.shape[0], -1, -1), patches), 1) + self.positions
        tokens = self.norm(self.blocks(tokens))
        logits: Tensor = (self.of_class(tokens[:, 0]) + self.of_distillation(tokens[:, 1])) / 2
        return logits


class Xcit(nn.Module):
    """A transformer whose attention is among channels, with positions of sines and cosines.

    Source:
        El-Nouby et al. 2021, arXiv:2106.09681. Differs: the mean of the tokens is classified, without class attention.
    """

    def __init__(self, patch: int, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.patches = nn.Sequential(
            nn.Conv2d(3, width // 2, 3, stride=patch // 2, padding=1, bias=False),
            nn.BatchNorm2d(width // 2),
            nn.GELU(),
            nn.Conv2d(width // 2, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    _Residual(width, _CrossCovariance(width, heads)),
                    _Residual(width, _LocalPatches(width)),
                    _Residual(width, _perceptron(width)),
                )
                for _ in range(depth)
            )
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2)
        # Made in each call in the images' own type, as the positions of many published networks are.
        place = torch.arange(patches.shape[1], dtype=x.dtype, device=x.device)[:, None]
        channel = torch.arange(patches.shape[2] // 2, dtype=x.dtype, device=x.device)
        frequency = 100 ** (-channel / len(channel))
        tokens = patches + torch.cat(((place * frequency).sin(), (place * frequency).cos()), 1)
        logits: Tensor = self.head(self.norm(self.blocks(tokens)).mean(1))
        return logits


def _resnet(name: str) -> Make:
    return lambda: getattr(models("resnet"), name)(num_classes=10)


def _small_resnet(block: str, **arguments: int) -> Make:
    def make() -> nn.Module:
        resnet = models("resnet")
        network: nn.Module = resnet.ResNet(getattr(resnet, block), [1, 1, 1, 1], num_classes=10, **arguments)
        return network

    return make


def _classifier(module: str, name: str) -> Make:
    return lambda: getattr(models(module), name)(num_classes=10)


def _small_densenet() -> nn.Module:
    network: nn.Module = models("densenet").DenseNet(8, (2, 2, 2), 16, num_classes=10)
    return network


def _small_convnext() -> nn.Module:
    convnext = models("convnext")
    stages = [convnext.CNBlockConfig(16, 32, 1), convnext.CNBlockConfig(32, None, 2)]
    network: nn.Module = convnext.ConvNeXt(stages, layer_scale=0.5, num_classes=10)
    return network


def _vit(size: int, patch: int, depth: int, heads: int, width: int) -> Make:
    def make() -> nn.Module:
        network: nn.Module = models("vision_transformer").VisionTransformer(
            size, patch, depth, heads, width, 4 * width, num_classes=10
        )
        return network

    return make


def _small_swin() -> nn.Module:
    swin = models("swin_transformer").SwinTransformer
    network: nn.Module = swin([4, 4], 24, [2, 2], [2, 4], [3, 3], stochastic_depth_prob=0.0, num_classes=10)
    return network


FAMILIES = (
    Family("WideResNet-28-10", lambda: WideResNet(10, 28, 10), 32, lambda: WideResNet(10, 10, 1)),
    Family("ResNet-18", _resnet("resnet18"), 64, _small_resnet("BasicBlock")),
    Family("PreAct-ResNet-18", PreActResNet, 32, lambda: PreActResNet(8, 1)),
    Family(
        "ResNeXt-50 32×4d", _resnet("resnext50_32x4d"), 64, _small_resnet("Bottleneck", groups=8, width_per_group=4)
    ),
    Family("DenseNet-121", _classifier("densenet", "densenet121"), 64, _small_densenet),
    Family(
        "MobileNetV3-Small",
        _classifier("mobilenetv3", "mobilenet_v3_small"),
        64,
        _classifier("mobilenetv3", "mobilenet_v3_small"),
    ),
    Family(
        "EfficientNet-B0",
        _classifier("efficientnet", "efficientnet_b0"),
        64,
        _classifier("efficientnet", "efficientnet_b0"),
    ),
    Family("RegNetY-400MF", _classifier("regnet", "regnet_y_400mf"), 64, _classifier("regnet", "regnet_y_400mf")),
    Family("ConvNeXt-Tiny", _classifier("convnext", "convnext_tiny"), 64, _small_convnext),
    Family("ViT-B/16", _vit(64, 16, 12, 12, 768), 64, _vit(32, 8, 2, 4, 32)),
    Family("DeiT-Small, distilled", lambda: Deit(64, 16, 384, 6, 12), 64, lambda: Deit(32, 8, 32, 4, 2)),
    Family("Swin-T", _classifier("swin_transformer", "swin_t"), 64, _small_swin),
    Family("XCiT, 12 layers", lambda: Xcit(8, 192, 4, 12), 64, lambda: Xcit(8, 32, 4, 2)),
    Family(
        "ResNet-18 behind normalisation",
        lambda: _Normalised(_resnet("resnet18")()),
        64,
        lambda: _Normalised(_small_resnet("BasicBlock")()),
    ),
)
"""The largest files are of a few hundred megabytes."""
