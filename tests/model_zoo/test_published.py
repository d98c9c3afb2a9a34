"""Published checkpoints and their networks; `python -m bench.zoo` compares answers with another implementation's."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import model_zoo
import store
from benchmark.errors import InvalidCheckpoint, NotFound
from benchmark.preprocessing import PREPROCESSINGS
from model_zoo.architectures.normalization import NORMALIZATIONS, normalization
from model_zoo.architectures.resnet import PreActResNet, ResNet, ResNetEnsemble
from model_zoo.architectures.swish_resnet import SwishPreActResNet, SwishWideResNet
from model_zoo.architectures.wide_resnet import WideResNet
from model_zoo.building import build_published
from model_zoo.checking import check_published
from model_zoo.checkpoints.header import read_header
from model_zoo.checkpoints.published import network_key, network_keys
from model_zoo.checkpoints.safetensors import write_checkpoint
from model_zoo.registry import PublishedCard, published, published_card

REFERENCE = Path(store.__file__).parent / "reference_data"
DISTINCT = {(card.module, card.network, *sorted(card.arguments.items()), card.classes): card for card in published()}
SMALL = [card for card in DISTINCT.values() if card.parameters < 12_000_000 and card.dataset != "imagenet"]


def place(card: PublishedCard) -> str:
    return f"{card.dataset}/{card.threat_model}/{card.id}"


def test_every_model_that_the_paper_names_has_a_card() -> None:
    with (REFERENCE / "paper_leaderboards.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["model_zoo_id"]]
    named = [f"{row['dataset']}/{row['threat_model']}/{row['model_zoo_id']}" for row in rows]
    assert len(named) == 98
    assert set(named) <= {place(card) for card in published()}


def test_cards_say_what_the_boards_say() -> None:
    lines = (REFERENCE / "robustbench_entries.jsonl").read_text(encoding="utf-8").splitlines()
    entries = {(entry["dataset"], entry["threat_model"], entry["id"]): entry for entry in map(json.loads, lines)}
    on_boards = [card for card in published() if (card.dataset, card.threat_model, card.id) in entries]
    assert len(on_boards) >= 212
    for card in on_boards:
        entry = entries[card.dataset, card.threat_model, card.id]
        for field in ("title", "authors", "venue", "link", "extra_data"):
            assert getattr(card, field) == (None if entry[field] == "" else entry[field]), (place(card), field)


@pytest.mark.parametrize("card", DISTINCT.values(), ids=place)
def test_a_network_has_as_many_parameters_as_its_card_says(card: PublishedCard) -> None:
    with torch.device("meta"):
        model = build_published(card)
    assert sum(parameter.numel() for parameter in model.parameters()) == card.parameters
    assert all(network_key(key, card) == key for key in model.state_dict() if not key.startswith(tuple(card.renamed)))


def test_cards_of_one_network_agree() -> None:
    for card in published():
        twin = DISTINCT[card.module, card.network, *sorted(card.arguments.items()), card.classes]
        assert card.parameters == twin.parameters, place(card)


@pytest.mark.parametrize("card", SMALL, ids=place)
def test_a_network_answers_each_image_by_itself(card: PublishedCard) -> None:
    model = build_published(card)
    x = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together, alone = model(x), torch.cat([model(x[i : i + 1]) for i in range(3)])
    assert together.shape == (3, card.classes)
    assert torch.isfinite(together).all()
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("card", [card for card in DISTINCT.values() if card.parameters < 110_000_000], ids=place)
def test_a_card_is_right_about_its_network(card: PublishedCard) -> None:
    assert check_published(card).parameters == card.parameters


def fresh(model_id: str = "wong2020fast") -> nn.Module:
    return model_zoo.load_model(model_id, dataset="CIFAR10", threat_model="linf", pretrained=False)


def test_without_pretrained_weights_a_network_is_random_but_repeatable() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, other = fresh(), fresh()
    assert torch.equal(before, torch.random.get_rng_state())
    assert not one.training
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())


def wrapped(state: Mapping[str, Tensor], folder: Path) -> Path:
    """Write weights as their authors did: behind two wrappers, with the constants of the normalisation."""
    content = {f"module.model.{key}": value for key, value in state.items()} | {
        "mu": torch.zeros(3),
        "sigma": torch.ones(3),
    }
    write_checkpoint(content, folder / "Wong2020Fast.safetensors")
    return folder


def load(folder: Path | None) -> nn.Module:
    return model_zoo.load_model("Wong2020Fast", dataset="cifar10", threat_model="Linf", model_dir=folder)


def test_a_published_checkpoint_is_loaded_without_its_wrappers(tmp_path: Path) -> None:
    state = {key: value + 1 for key, value in fresh().state_dict().items()}
    loaded = load(wrapped(state, tmp_path))
    assert not loaded.training
    assert all(torch.equal(value, state[key]) for key, value in loaded.state_dict().items())


@pytest.mark.parametrize(
    ("change", "field", "found"),
    [
        ({"bn.weight": torch.ones(512)}, "keys", "1 unexpected ('bn.weight')"),
        ({"linear.bias": None}, "keys", "1 missing ('linear.bias')"),
        (
            {"linear.weight": torch.ones(9, 512), "linear.bias": torch.ones(9)},
            "tensor 'linear.weight'",
            "shape [9, 512]",
        ),
        ({"linear.bias": torch.full((10,), float("nan"))}, "values", "linear.bias"),
    ],
    ids=["a key more", "a key less", "other classes", "not finite"],
)
def test_anything_else_that_does_not_fit_is_named(
    change: dict[str, Tensor | None], field: str, found: str, tmp_path: Path
) -> None:
    state = {key: value for key, value in (fresh().state_dict() | change).items() if value is not None}
    with pytest.raises(InvalidCheckpoint) as caught:
        load(wrapped(state, tmp_path))
    assert caught.value.detail is not None
    assert caught.value.detail.field == field
    assert found in caught.value.detail.found


def test_what_a_card_declares_unused_is_left_out(tmp_path: Path) -> None:
    """As the blocks are that some wide networks were saved with."""
    card = published_card("Carmon2019Unlabeled", "cifar10", "Linf")
    assert card is not None
    write_checkpoint(
        {"block1.layer.0.bn1.weight": torch.ones(16), "sub_block1.layer.0.bn1.weight": torch.ones(16)}, tmp_path / "w"
    )
    assert set(network_keys(read_header(tmp_path / "w"), card).tensors) == {"block1.layer.0.bn1.weight"}


def test_what_a_file_calls_otherwise_is_renamed_and_what_it_keeps_for_training_is_left_out() -> None:
    card = published_card("Amini2024MeanSparse_Swin-L", "imagenet", "Linf")
    assert card is not None
    assert network_key("model.layers.1.downsample.norm.bias", card) == "layers.0.downsample.norm.bias"
    assert network_key("model.head.fc.bias", card) == "head.bias"
    assert network_key("layers.0.blocks.0.meansparse1.running_mean", card) is not None
    assert network_key("layers.0.blocks.0.meansparse1.batch_num", card) is None
    card = published_card("Bai2023Improving_edm", "cifar10", "Linf")
    assert card is not None
    assert card.entries == ("model", "bn")
    assert network_key("models.2.model.linear.weight", card) == "policy_net.linear.weight"
    assert network_key("models.2.bn.running_var", card) == "bn.running_var"


@pytest.mark.parametrize("names", [("fc.bias", "module.fc.bias"), ("module.model.fc.bias", "model.fc.bias")])
def test_no_tensor_takes_the_place_of_another(names: tuple[str, str], tmp_path: Path) -> None:
    card = published_card("Carmon2019Unlabeled", "cifar10", "Linf")
    assert card is not None
    write_checkpoint({name: torch.ones(10) for name in names}, tmp_path / "w")
    with pytest.raises(InvalidCheckpoint, match=r"'fc\.bias' too"):
        network_keys(read_header(tmp_path / "w"), card)


@pytest.mark.parametrize("folder", [None, Path("/nowhere")])
def test_a_checkpoint_that_is_not_here_and_may_not_be_fetched_says_so(folder: Path | None) -> None:
    with pytest.raises(NotFound, match=r"cifar10/Linf/Wong2020Fast .* GAUNTLET_OFFLINE") as caught:
        load(folder)
    assert caught.value.detail is not None
    assert "Wong2020Fast.safetensors as model_dir" in caught.value.detail.remedy


def test_the_nearest_published_id_is_suggested() -> None:
    with pytest.raises(NotFound, match=r"expected one of Addepalli2021Towards_RN18, .* and [0-9]+ more") as caught:
        model_zoo.load_model("Carmon2019Unlabelled", dataset="cifar10", threat_model="Linf")
    assert caught.value.detail is not None
    assert caught.value.detail.remedy == "did you mean Carmon2019Unlabeled?"


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_normalisation_is_no_part_of_a_state_dict(name: str) -> None:
    assert normalization(name).state_dict() == {}


def test_statistics_are_applied_channel_by_channel() -> None:
    x = torch.tensor([0.4914, 0.4822, 0.4465]).view(1, 3, 1, 1) + torch.tensor([0.2471, 0, -0.2616]).view(1, 3, 1, 1)
    found = normalization("cifar10")(x).flatten()
    torch.testing.assert_close(found, torch.tensor([1.0, 0.0, -1.0]))


def test_images_are_standardised_one_by_one_and_uniform_ones_stay_finite() -> None:
    x = torch.rand(4, 3, 32, 32)
    x[3] = 0.5
    found = normalization("image")(x).flatten(1)
    torch.testing.assert_close(found[:3].mean(1), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(found[:3].std(1), torch.ones(3))
    assert torch.equal(found[3], torch.zeros(3 * 32 * 32))


def test_an_unknown_normalisation_is_refused() -> None:
    with pytest.raises(KeyError):
        normalization("nonsense")


def test_unit_norms_bound_the_logits() -> None:
    torch.manual_seed(0)
    model = WideResNet(10, depth=10, width=1, unit_norm=True).eval()
    assert "fc.bias" not in model.state_dict()
    logits = model(torch.rand(8, 3, 32, 32))
    assert logits.abs().max() <= 1
    model.fc.weight.data *= 7  # only directions count
    torch.testing.assert_close(model(torch.rand(8, 3, 32, 32)).abs().max().clamp_min(1), torch.tensor(1.0))


def test_swish_networks_lose_no_row_at_the_far_edge() -> None:
    """Where every second place is left out, the windows reach the last row and column, not the first."""
    torch.manual_seed(0)
    model = SwishWideResNet(10, depth=10, width=1, normalization="half").eval()
    x = torch.rand(1, 3, 32, 32, requires_grad=True)
    model(x)[0, 0].backward()
    assert x.grad is not None
    edges = (x.grad[0, :, 0], x.grad[0, :, -1], x.grad[0, :, :, 0], x.grad[0, :, :, -1])
    assert all(edge.abs().max() > 0 for edge in edges)


def test_a_late_shortcut_changes_the_answer_and_no_key() -> None:
    early, late = PreActResNet(10), PreActResNet(10, late_shortcut=True)
    late.load_state_dict(early.state_dict())
    x = torch.rand(2, 3, 32, 32)
    assert (early.eval()(x) - late.eval()(x)).abs().max() > 1e-4


def test_an_ensemble_answers_with_probabilities() -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        answers = ResNetEnsemble(10, "imagenet").eval()(torch.rand(2, 3, 32, 32))
    torch.testing.assert_close(answers.sum(1), torch.ones(2))


@pytest.mark.parametrize(
    ("make", "keys"),
    [
        (lambda: ResNet(10, 18), {"bn1.bias", "layer2.0.shortcut.0.weight", "layer2.0.shortcut.1.bias", "linear.bias"}),
        (lambda: PreActResNet(10), {"conv1.weight", "layer2.0.shortcut.0.weight", "linear.bias"}),
        (lambda: SwishPreActResNet(10, "half"), {"conv_2d.weight", "layer_1.0.shortcut.weight", "logits.bias"}),
        (lambda: WideResNet(10, 10, 1), {"conv1.weight", "block2.layer.0.convShortcut.weight", "bn1.bias", "fc.bias"}),
        (lambda: SwishWideResNet(10, 10, 1, "half"), {"init_conv.weight", "layer.1.block.0.shortcut.weight"}),
    ],
    ids=["ResNet", "PreActResNet", "SwishPreActResNet", "WideResNet", "SwishWideResNet"],
)
def test_keys_are_those_of_published_checkpoints(make: Callable[[], nn.Module], keys: set[str]) -> None:
    assert keys <= set(make().state_dict())


def test_what_is_done_to_images_first_is_known_under_its_name() -> None:
    assert {card.preprocessing for card in published() if card.preprocessing} <= PREPROCESSINGS.keys()
