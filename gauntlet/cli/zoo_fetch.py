"""``gauntlet zoo fetch``: published checkpoints, fetched into the cache and pinned."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmark.errors import NotFound
from gauntlet.cli.console import AsJson, print_json


def fetch_model(
    model_id: Annotated[str, typer.Argument(help="Id of a published checkpoint.")],
    dataset: Annotated[str, typer.Option(help="Data set of its board.")],
    threat_model: Annotated[str, typer.Option(help="Threat model of its board.")],
    as_json: AsJson = False,
) -> None:
    """Fetch a published checkpoint into the cache, check that it fits its network, and pin its hash.

    The variables GAUNTLET_CACHE, GAUNTLET_OFFLINE and GAUNTLET_ZOO_MIRROR say where to keep it and whom to ask.
    """
    from model_zoo.downloads.fetching import fetch_checkpoint
    from model_zoo.licences import is_permissive
    from model_zoo.registry import card, published_card

    entry = published_card(model_id, dataset, threat_model)
    if entry is None:
        own = card(model_id, dataset, threat_model)
        raise NotFound.because(
            "model", found=f"{own.id}, which comes along", expected="a published checkpoint",
            remedy="there is nothing to fetch: load it",
        )  # fmt: skip
    found = fetch_checkpoint(entry, silent=as_json)
    if as_json:
        print_json(
            {
                "id": entry.id,
                "path": str(found.path),
                "origin": found.origin,
                "licence": entry.licence,
                **found.pin.model_dump(mode="json"),
            }
        )
        return
    print(f"{found.path}, from the {found.origin}")
    print(f"Licence: {entry.licence or 'not stated'}{'' if is_permissive(entry) else '; read its terms'}")
