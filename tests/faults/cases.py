"""What is evaluated: real models by real attacks, with the database cutting runs short so that each takes seconds."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from model_zoo.registry import Card, card

ATTACKS = ("apgd-ce", "apgd-t", "fab-t", "square")
QUICK = "apgd-ce(steps=130)+apgd-t(steps=16)+fab-t(steps=14)+square(queries=400)-1"
"""The standard ensemble's attacks, each for about half a second of an idle processor."""
CLOSER = "apgd-dlr(steps=20)+fab(steps=4)-1"
"""What looks closer at an entry in doubt."""
HELPED = "apgd-ce(steps=2)+square(queries=300)-1"
"""So weak that Square finds more, which is what flags an entry."""


@dataclass(frozen=True)
class Case:
    """A model and how it is evaluated.

    Args:
        model: one of those that come along.
        threat_model: of the board.
        points: of the run; None for all of the board's, by the whole protocol.
        protocol: label of the ensemble.
        follow_up: likewise, of a closer look at a flagged entry.
        blocks: shards of the run.
        needs_cuda: whether only workers with a GPU may have it.
    """

    model: str = "Digits_PGD2"
    threat_model: str = "Linf"
    points: int | None = 48
    protocol: str = QUICK
    follow_up: str = CLOSER
    blocks: int = 1
    needs_cuda: bool = False

    @property
    def card(self) -> Card:
        """What the zoo says of the model."""
        return card(self.model, "digits", self.threat_model)


USUAL = Case()
FLAGGED = Case("Digits_PGD10", points=16, protocol=HELPED)
WHOLE = Case("Digits_Standard", "L2", points=None)

# The name of a submission says how its runs are cut; whatever is not named is left as it is.
INSTALL = """
CREATE TABLE cut (name text PRIMARY KEY, points int, ranking text, follow_up text, blocks int, cuda boolean);

CREATE FUNCTION cut_run() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE how cut;
BEGIN
    SELECT cut.* INTO how FROM cut JOIN submission USING (name) WHERE submission.id = NEW.submission_id;
    IF NOT FOUND THEN
        RETURN NEW;
    END IF;
    NEW.needs_cuda := how.cuda;
    IF NEW.purpose = 'ranking' THEN
        NEW.points := how.points;
        NEW.protocol := how.ranking;
    ELSIF NEW.purpose = 'follow_up' THEN
        NEW.protocol := how.follow_up;
    END IF;
    RETURN NEW;
END $$;

CREATE FUNCTION cut_shard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE how cut; piece shard;
BEGIN
    SELECT cut.* INTO how FROM cut JOIN submission USING (name) JOIN run ON run.submission_id = submission.id
        WHERE run.id = NEW.run_id AND run.purpose = 'ranking';
    IF NOT FOUND OR NEW.first > 0 OR NEW.last < how.points THEN
        RETURN NEW;
    END IF;
    NEW.last := how.points;
    IF NEW.kind = 'shard' THEN
        piece := NEW;
        FOR i IN 1 .. how.blocks - 1 LOOP
            piece.id := nextval(pg_get_serial_sequence('shard', 'id'));
            piece.first := how.points * i / how.blocks;
            piece.last := how.points * (i + 1) / how.blocks;
            INSERT INTO shard SELECT piece.*;
        END LOOP;
        NEW.last := how.points / how.blocks;
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER cut_run BEFORE INSERT ON run FOR EACH ROW EXECUTE FUNCTION cut_run();
CREATE TRIGGER cut_shard BEFORE INSERT ON shard FOR EACH ROW EXECUTE FUNCTION cut_shard();
"""


def cut(connection: psycopg.Connection[tuple[object, ...]], name: str, case: Case) -> None:
    """Have the runs of the submission of that name cut as the case says."""
    if case.points is not None:
        connection.execute(
            "INSERT INTO cut VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (name, case.points, case.protocol, case.follow_up, case.blocks, case.needs_cuda),
        )
