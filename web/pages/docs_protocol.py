"""The protocols of the boards: every attack and corruption in its order, with its settings."""

from __future__ import annotations

from typing import ClassVar

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from benchmark.corruption_table import CELLS, source_for
from benchmark.protocol_table import CLOSER_LOOK, CLOSER_LOOK_PROTOCOL, RANKING, DescribedAttack
from benchmark.threat_models import BOARDS, CORRUPTION_PROTOCOL, RANKING_PROTOCOL, Board
from benchmark.unannounced import FAMILIES
from web.chapters import DocsPage
from web.rendering import render

router = APIRouter()

ADDRESS = "/docs/protocol"


class Protocol(BaseModel):
    """An ensemble of attacks."""

    model_config = ConfigDict(frozen=True)

    label: str
    """As reports have it."""
    attacks: tuple[DescribedAttack, ...]


class Span(BaseModel):
    """From what an option of the unannounced attack is drawn."""

    model_config = ConfigDict(frozen=True)

    option: str
    least: int
    most: int


class Family(BaseModel):
    """A family that the unannounced attack may be of."""

    model_config = ConfigDict(frozen=True)

    name: str
    spans: tuple[Span, ...]


class Images(BaseModel):
    """The corrupted images that the models of a data set are asked about."""

    model_config = ConfigDict(frozen=True)

    board: Board
    source: str
    """What reports call them."""


class ProtocolPage(DocsPage):
    """What ranks on the boards, and what else may lower a number."""

    template: ClassVar[str] = "docs_protocol.html"

    ranking: Protocol
    closer_look: Protocol
    families: tuple[Family, ...]
    corruption_protocol: str
    corruptions: tuple[str, ...]
    severities: int
    attacked: tuple[Board, ...]
    corrupted: tuple[Images, ...]


def protocol_page() -> ProtocolPage:
    """Return what the page about the protocols shows."""
    return ProtocolPage(
        title="Protocols",
        address=ADDRESS,
        ranking=Protocol(label=RANKING_PROTOCOL, attacks=RANKING),
        closer_look=Protocol(label=CLOSER_LOOK_PROTOCOL, attacks=CLOSER_LOOK),
        families=tuple(
            Family(
                name=name,
                spans=tuple(
                    Span(option=option, least=min(values), most=max(values)) for option, values in spans.items()
                ),
            )
            for name, spans in FAMILIES.items()
        ),
        corruption_protocol=CORRUPTION_PROTOCOL,
        corruptions=tuple(dict.fromkeys(corruption for corruption, _ in CELLS)),
        severities=max(severity for _, severity in CELLS),
        attacked=tuple(board for board in BOARDS if board.attacked),
        corrupted=tuple(
            Images(board=board, source=source_for(board.dataset)) for board in BOARDS if not board.attacked
        ),
    )


@router.get(ADDRESS)
def show_protocol(request: Request) -> Response:
    """Show the protocols."""
    return render(request, protocol_page())
