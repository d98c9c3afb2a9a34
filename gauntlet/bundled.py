"""The zoo's own models on their boards: submitted like anybody's, and evaluated like anybody's."""

from __future__ import annotations

import logging

from benchmark.errors import GauntletError
from benchmark.threat_models import official_board
from model_zoo.registry import Card, bundled_checkpoint, cards
from store.services import Services
from store.submissions import ensure_submission
from store.views import ExtraData, NewSubmission

logger = logging.getLogger(__name__)


def submit_zoo(services: Services) -> None:
    """Submit every model that comes along to each of its boards, unless it is there already.

    The baselines come first: they fall within seconds, so a new board soon has a row.
    A model that is refused is logged and the others go on: one broken file must not keep the service from starting.
    """
    for card in sorted(cards(), key=lambda card: not card.baseline):
        try:
            _submit(services, card)
        except (GauntletError, OSError):
            logger.exception("the zoo's model %s could not be submitted", card.id)


def _submit(services: Services, card: Card) -> None:
    checkpoint_sha256 = services.blobs.put(bundled_checkpoint(card).read_bytes())
    for threat_model in card.threat_models:
        ensure_submission(
            services.db,
            services.blobs,
            NewSubmission(
                name=card.id,
                dataset=card.dataset,
                threat_model=threat_model,
                architecture=card.architecture,
                checkpoint_sha256=checkpoint_sha256,
                title=card.title,
                authors=card.authors,
                paper_url=card.link or "",
                venue=card.venue or "",
                extra_data=ExtraData.SOME if card.extra_data else ExtraData.NONE,
                licence=card.licence,
                notes=card.footnote or "",
                analyse=official_board(card.dataset, threat_model).attacked,
            ),
            services.admission,
            baseline=card.baseline,
            zoo_id=card.id,
        )
