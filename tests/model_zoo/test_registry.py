from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import model_zoo
from benchmark.datasets import CLASSES, SHAPES
from benchmark.errors import InvalidCheckpoint, NotFound
from benchmark.threat_models import official_board
from model_zoo.recipes.perturbations import SCHEMES
from model_zoo.registry import ARCHITECTURES, Card, bundled_checkpoint, card, cards, published
from tests.house.layout import ROOT

CARDS = pytest.mark.parametrize("entry", cards(), ids=lambda entry: f"{entry.dataset}/{entry.id}")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_is_what_its_entry_says(name: str) -> None:
    entry = ARCHITECTURES[name]
    for position, dataset in enumerate(entry.datasets):
        model = model_zoo.build(name, dataset).eval()
        if position == 0:
            assert sum(weights.numel() for weights in model.parameters()) == entry.parameters
        logits = model(torch.rand(3, *SHAPES[dataset]))
        assert logits.shape == (3, CLASSES[dataset])
        assert logits.dtype == torch.float32


def test_building_repeats_and_leaves_the_global_random_numbers_alone() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (model_zoo.build("digits_cnn", "digits", seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first["conv1.weight"], again["conv1.weight"])
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


@CARDS
def test_a_card_agrees_with_its_surroundings(entry: Card) -> None:
    assert hashlib.sha256(bundled_checkpoint(entry).read_bytes()).hexdigest() == entry.sha256
    assert entry.dataset in ARCHITECTURES[entry.architecture].datasets
    assert entry.recipe.name in SCHEMES
    assert (entry.recipe.norm is None) == (entry.recipe.epsilon is None) == (SCHEMES[entry.recipe.name].steps == 0)
    assert entry.baseline == (entry.recipe.name == "standard")
    for threat_model in entry.threat_models:
        board = official_board(entry.dataset, threat_model)
        assert entry.recipe.norm in {None, board.threat_model} or not board.attacked


def test_every_bundled_file_has_its_card() -> None:
    folder = bundled_checkpoint(cards()[0]).parent
    assert sorted(folder.iterdir()) == sorted(bundled_checkpoint(entry) for entry in cards())
    assert len({entry.id.casefold() for entry in cards()}) == len(cards())


@CARDS
def test_every_entry_loads(entry: Card) -> None:
    for threat_model in entry.threat_models:
        model = model_zoo.load_model(entry.id.upper(), dataset=entry.dataset, threat_model=threat_model)
        assert not model.training


def test_models_are_listed_by_board() -> None:
    assert model_zoo.list_models("digits") == tuple(entry.id for entry in cards())
    assert set(model_zoo.list_models()) == {entry.id for entry in cards()} | {entry.id for entry in published()}
    assert "Digits_Standard" in model_zoo.list_models("digits", "L2")
    assert "Digits_PGD10" not in model_zoo.list_models("digits", "L2")
    assert "Wong2020Fast" in model_zoo.list_models("CIFAR10", "linf")
    assert model_zoo.list_models("mnist") == ()


@pytest.mark.parametrize(
    ("model_id", "threat_model", "remedy"),
    [
        ("digits_pgd_10", "Linf", "did you mean Digits_PGD10?"),
        ("Digits_PGD10", "L2", "use the board digits/Linf or digits/corruptions"),
        ("Carmon2019Unlabeled", "Linf", "use the board cifar10/Linf"),
        ("x", "Linf", "list the zoo's models and choose one of them"),
    ],
)
def test_an_unknown_model_is_answered_with_the_nearest(model_id: str, threat_model: str, remedy: str) -> None:
    with pytest.raises(NotFound, match="Digits_Standard") as caught:
        card(model_id, "digits", threat_model)
    assert caught.value.detail is not None
    assert caught.value.detail.remedy == remedy


def test_without_pretrained_weights_the_model_is_random_but_repeatable() -> None:
    def fresh() -> torch.nn.Module:
        return model_zoo.load_model("Digits_PGD10", dataset="digits", threat_model="Linf", pretrained=False)

    x = torch.rand(4, 1, 8, 8)
    trained = model_zoo.load_model("Digits_PGD10", dataset="digits", threat_model="Linf")
    assert not fresh().training
    assert torch.equal(fresh()(x), fresh()(x))
    assert not torch.allclose(fresh()(x), trained(x))


def test_a_file_of_another_hash_is_refused(tmp_path: Path) -> None:
    content = bytearray(bundled_checkpoint(card("Digits_PGD10", "digits", "Linf")).read_bytes())
    content[-1] ^= 1
    (tmp_path / "Digits_PGD10.safetensors").write_bytes(content)
    with pytest.raises(InvalidCheckpoint, match="sha256"):
        model_zoo.load_model("Digits_PGD10", dataset="digits", threat_model="Linf", model_dir=tmp_path)
    # Without a file of that name the bundled one serves.
    model_zoo.load_model("Digits_Standard", dataset="digits", threat_model="Linf", model_dir=tmp_path)


def test_the_registry_is_free_of_torch() -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import model_zoo; from model_zoo import registry; "
        "registry.cards(); model_zoo.list_models(); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_public_names_are_there_and_nothing_else() -> None:
    assert {name for name in dir(model_zoo) if not name.startswith("_")} == set(model_zoo.__all__)
    with pytest.raises(AttributeError, match="no attribute 'train_all'"):
        _ = model_zoo.train_all
