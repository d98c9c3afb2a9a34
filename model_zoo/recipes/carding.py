"""The card of a network that was just trained: whose idea, which network, how trained, what was measured meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from model_zoo.recipe import Measured, Recipe, unusable
from model_zoo.recipes.progress import Trained
from model_zoo.registry import Card

_FOOTNOTE = "Trained with the paper's recipe; not a checkpoint of the authors."


@dataclass(frozen=True)
class Source:
    """Whose recipe it is.

    Args:
        title: of the paper.
        authors: of the paper.
        venue: where it appeared.
        link: to it.
    """

    title: str
    authors: str
    venue: str
    link: str


_FGSM = Source(
    "Explaining and Harnessing Adversarial Examples",
    "Ian J. Goodfellow, Jonathon Shlens, Christian Szegedy",
    "ICLR 2015",
    "https://arxiv.org/abs/1412.6572",
)
_FGSM_RS = Source(
    "Fast is better than free: Revisiting adversarial training",
    "Eric Wong, Leslie Rice, J. Zico Kolter",
    "ICLR 2020",
    "https://arxiv.org/abs/2001.03994",
)
_PGD = Source(
    "Towards Deep Learning Models Resistant to Adversarial Attacks",
    "Aleksander Madry, Aleksandar Makelov, Ludwig Schmidt, Dimitris Tsipras, Adrian Vladu",
    "ICLR 2018",
    "https://arxiv.org/abs/1706.06083",
)
_FREE = Source(
    "Adversarial Training for Free!",
    "Ali Shafahi, Mahyar Najibi, Amin Ghiasi, Zheng Xu, John Dickerson, Christoph Studer, Larry S. Davis, "
    "Gavin Taylor, Tom Goldstein",
    "NeurIPS 2019",
    "https://arxiv.org/abs/1904.12843",
)
_GRAD_ALIGN = Source(
    "Understanding and Improving Fast Adversarial Training",
    "Maksym Andriushchenko, Nicolas Flammarion",
    "NeurIPS 2020",
    "https://arxiv.org/abs/2007.02617",
)
_TRADES = Source(
    "Theoretically Principled Trade-off between Robustness and Accuracy",
    "Hongyang Zhang, Yaodong Yu, Jiantao Jiao, Eric P. Xing, Laurent El Ghaoui, Michael I. Jordan",
    "ICML 2019",
    "https://arxiv.org/abs/1901.08573",
)


_SOURCES: Mapping[str, Source] = {
    "fgsm": _FGSM,
    "fgsm-rs": _FGSM_RS,
    "pgd": _PGD,
    "pgd-2": _GRAD_ALIGN,  # who compare with two steps
    "free": _FREE,
    "grad-align": _GRAD_ALIGN,
    "trades": _TRADES,
}
"""By name, or by its beginning where a number follows."""


def source_of(recipe: Recipe) -> Source | None:
    """Return the paper that a recipe is from; None for standard training."""
    return _SOURCES.get(recipe.name) or _SOURCES.get(recipe.name.partition("-")[0])


def card_for(recipe: Recipe, *, model_id: str, dataset: str, architecture: str, licence: str) -> Card:
    """Return the card of a network that is to be trained; what is known only afterwards `completed` fills in.

    Args:
        recipe: how it will be trained.
        model_id: what to call it.
        dataset: whose images it will be trained upon.
        architecture: name of the registered network.
        licence: under which it may be used.
    Raises:
        InvalidInput: a name is not one that a card can have.
    """
    source = source_of(recipe)
    try:
        return Card(
            id=model_id,
            dataset=dataset,
            threat_models=(recipe.norm or "Linf",),
            title=source.title if source else "Standard training",
            authors=source.authors if source else "not stated",
            venue=source.venue if source else None,
            link=source.link if source else None,
            architecture=architecture,
            recipe=recipe,
            sha256="0" * 64,
            licence=licence,
            extra_data=False,
            footnote=_FOOTNOTE if source else "Trained without any defence.",
            baseline=source is None,
        )
    except ValidationError as error:
        raise unusable(error) from error


def completed(card: Card, trained: Trained, sha256: str) -> Card:
    """Return the card with the hash of the checkpoint file and what was measured of its weights."""
    measured = trained.measured
    found = measured and Measured(
        epoch=trained.epoch,
        validation_points=card.recipe.validation,
        validation_standard_accuracy=measured.standard_accuracy,
        validation_one_step_accuracy=measured.one_step_accuracy,
        validation_robust_accuracy=measured.robust_accuracy,
        overfitted_in=trained.overfitted_in,
    )
    return card.model_copy(update={"measured": found, "sha256": sha256})
