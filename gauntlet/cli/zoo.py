"""``gauntlet zoo``: the models that come along."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from benchmark.errors import InvalidInput
from gauntlet.cli import zoo_attack, zoo_fetch, zoo_train
from gauntlet.cli.console import EPILOG, AsJson, print_json, print_table, table_of
from gauntlet.cli.models import bundled_card

if TYPE_CHECKING:
    from model_zoo.registry import PublishedCard

app = typer.Typer(help="List, show, train and attack the models of the zoo.", epilog=EPILOG, no_args_is_help=False)
app.command("attack", epilog=EPILOG)(zoo_attack.attack_zoo)
app.command("fetch", epilog=EPILOG)(zoo_fetch.fetch_model)
app.command("train", epilog=EPILOG)(zoo_train.train_model)
app.command("retrain", epilog=EPILOG)(zoo_train.retrain_model)

ModelId = Annotated[str, typer.Argument(help="Id of a zoo model.")]
Dataset = Annotated[str, typer.Option(help="Data set of its board.")]
ThreatModel = Annotated[str | None, typer.Option(help="Threat model of its board.", show_default="any")]


@app.command("list", epilog=EPILOG)
def list_models(as_json: AsJson = False) -> None:
    """List the models, published checkpoints that can be loaded, and the architectures that checkpoints may have."""
    from model_zoo.registry import ARCHITECTURES, cards, published

    if as_json:
        architectures = [
            {
                "name": entry.name,
                "datasets": list(entry.datasets),
                "parameters": entry.parameters,
                "description": entry.description,
            }
            for entry in ARCHITECTURES.values()
        ]
        print_json(
            {
                "models": [card.model_dump(mode="json") for card in cards()],
                "published": [card.model_dump(mode="json") for card in published()],
                "architectures": architectures,
            }
        )
        return
    columns = ("Model", "Data set", "Threat models", "Architecture", "Recipe", "Licence", "Title")
    own = [
        (c.id, c.dataset, ", ".join(c.threat_models), c.architecture, c.recipe.name, c.licence, c.title)
        for c in cards()
    ]
    print_table(table_of(columns, own, title="Models"))
    others = [
        (c.id, f"{c.dataset}/{c.threat_model}", c.network, c.parameters, c.licence or "not stated", c.title)
        for c in published()
    ]
    headings = ("Model", "Board", "Network", "Parameters", "Licence", "Title")
    print_table(table_of(headings, others, title="Published checkpoints"))
    rows = [(e.name, ", ".join(e.datasets), e.parameters, e.description) for e in ARCHITECTURES.values()]
    print_table(table_of(("Architecture", "Data sets", "Parameters", "Description"), rows, title="Architectures"))


@app.command("show", epilog=EPILOG)
def show_model(
    model_id: ModelId, dataset: Dataset = "digits", threat_model: ThreatModel = None, as_json: AsJson = False
) -> None:
    """Show what is known of a model."""
    card = _published_card(model_id, dataset, threat_model) or bundled_card(model_id, dataset, threat_model)
    content = card.model_dump(mode="json")
    if as_json:
        print_json(content)
        return
    parts = {name: content.pop(name) for name in ("recipe", "arguments", "renamed") if content.get(name)}
    fields = content | {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
    rows = [(name, ", ".join(map(str, value)) if isinstance(value, list) else value) for name, value in fields.items()]
    print_table(table_of(("Field", "Value"), rows))


def _published_card(model_id: str, dataset: str, threat_model: str | None) -> PublishedCard | None:
    from model_zoo.registry import published, published_card

    if threat_model is not None:
        return published_card(model_id, dataset, threat_model)
    wanted = (model_id.casefold(), dataset.casefold())
    return next((card for card in published() if (card.id.casefold(), card.dataset) == wanted), None)


@app.command("check", epilog=EPILOG)
def check_card(
    card_file: Annotated[Path, typer.Argument(metavar="CARD", help="File with the card of a published checkpoint.")],
    as_json: AsJson = False,
) -> None:
    """Build the network of a card with random weights, ask it, and compare it with what the card says."""
    from model_zoo.registry import read_published

    try:
        card = read_published(card_file)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInput.because(
            ".".join(map(str, first["loc"])),
            found="nothing" if first["type"] == "missing" else repr(first["input"]),
            expected=first["msg"],
            remedy=f"correct it in {card_file}; docs/adding-a-model.md shows a whole card",
        ) from error
    except (OSError, ValueError) as error:
        raise InvalidInput.because(
            "card", found=str(error), expected="a file of TOML", remedy="docs/adding-a-model.md shows a whole card"
        ) from error

    from model_zoo.checking import check_published

    found = check_published(card)
    if as_json:
        print_json(asdict(found))
    else:
        sizes = f"{found.parameters:,} parameters, {found.keys} tensors, {found.classes} classes"
        print(f"{card.id} on {card.dataset}/{card.threat_model}: {found.network} with {sizes}")
