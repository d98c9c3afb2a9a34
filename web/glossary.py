"""What every badge and flag means: said once, shown on the page about the rules and in every tooltip."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """A badge or flag.

    Args:
        key: its anchor on the page about the rules.
        shape: a sign beside the text, so that colour is never alone.
        name: what the badge says.
        meaning: what it means, in a sentence or two.
    """

    key: str
    shape: str
    name: str
    meaning: str


TERMS = (
    Term(
        "evaluated_here",
        "●",
        "Evaluated here",
        "This service loaded the checkpoint, ran everything itself and judged every example. All evidence is on the "
        "model's page.",
    ),
    Term(
        "reported",
        "○",
        "Reported",
        "Taken from a publication, which is named. The service has not run this model; what the publication leaves out "
        "is shown as a dash.",
    ),
    Term(
        "unverified",
        "◌",
        "Unverified",
        "The authors' own run of the protocol, without a checkpoint. Shown for a while, and replaced by an evaluation.",
    ),
    Term(
        "flagged",
        "▲",
        "Flagged",
        "A check or a test found a symptom: of gradients that mislead the attacks, of a model made for them, or that "
        "Square or the unannounced attack broke what the others had left. The number is still an upper bound, but an "
        "adaptive attack will probably lower it.",
    ),
    Term(
        "not_assessed",
        "–",
        "Not assessed",
        "The check could not be made here, or was never made. It is not the same as passed.",
    ),
    Term(
        "withdrawn",
        "✕",
        "Withdrawn",
        "Taken off its board by its owner or a maintainer, who said why. It never ranks; its numbers stay readable.",
    ),
    Term(
        "old_protocol",
        "◔",
        "Old protocol",
        "Evaluated here by a protocol that its board no longer ranks by. Its number cannot be compared with those of "
        "the present one until it is evaluated again.",
    ),
    Term(
        "anonymous",
        "◇",
        "Anonymous",
        "Title, authors, paper and venue are hidden until its authors reveal them, as double-blind review demands.",
    ),
    Term(
        "baseline",
        "◆",
        "Baseline",
        "Trained without any defence, for comparison. Every defence should beat it under attack.",
    ),
    Term(
        "extra_data",
        "+",
        "Extra data",
        "Training saw more than the data set's own training split: real images, or synthetic ones made by a generative "
        "model. “Yes” means that the publication says so without telling which.",
    ),
    Term(
        "best_known",
        "▽",
        "Best known",
        "What is left in the worst case, point by point, over all evaluations whose examples were judged here. Boards "
        "rank by it, and its source stands beside it. Another attack can only lower it.",
    ),
    Term(
        "interval",
        "±",
        "Interval",
        "Half of a 95 % Wilson interval: how far the number might move if other images were drawn from the same "
        "source. Attacks that nobody has tried yet are not in it. Only entries evaluated here have one.",
    ),
    Term(
        "tie",
        "≈",
        "Tied",
        "Cannot be told apart from a better ranked entry. The best entry evaluated here begins a group; each one after "
        "it is tested against it on the same images, by McNemar's exact test at 5 %, with Holm's correction for the "
        "number of tests. Those that are not told apart are tied with it, and the best of the others begins the next "
        "group. Ranks still go by the numbers.",
    ),
    Term(
        "mce",
        "∅",
        "mCE",
        "Mean corruption error, on boards of common corruptions: the errors on each type of corruption in percent of "
        "the baseline's, averaged over the types; on ImageNet of AlexNet's. 100 is the baseline's own, and lower is "
        "better.",
    ),
)
BADGES = {term.key: term for term in TERMS}
