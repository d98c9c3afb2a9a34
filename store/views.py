"""What the store hands to its callers: frozen values, never a database row."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from benchmark.report import Accuracy, Check, Count, EvaluationReport, Interval, Name

MOST_ROWS = 1_000
"""Most rows of a leaderboard in one answer of the API."""


class View(BaseModel):
    """A frozen value that leaves the store."""

    model_config = ConfigDict(frozen=True)


class State(StrEnum):
    """Where a submission stands."""

    RECEIVED = "received"
    CHECKING = "checking"
    REJECTED = "rejected"
    QUEUED = "queued"
    RUNNING = "running"
    EVALUATED = "evaluated"
    PUBLISHED = "published"
    WITHDRAWN = "withdrawn"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Purpose(StrEnum):
    """What a run is for."""

    RANKING = "ranking"
    FOLLOW_UP = "follow_up"
    """A closer look, with a stronger ensemble, at a published entry whose number is in doubt."""


class Badge(StrEnum):
    """Whose number an entry shows."""

    EVALUATED = "evaluated_here"
    REPORTED = "reported"
    UNVERIFIED = "unverified"


class Sort(StrEnum):
    """What a board may be sorted by."""

    BEST = "best"
    STANDARD = "standard"
    ROBUST = "robust"
    NAME = "name"


class ExtraData(StrEnum):
    """Training data beyond the board's own; ``SOME`` where a publication says that there was, not which kind."""

    NONE = "none"
    REAL = "real"
    SYNTHETIC = "synthetic"
    SOME = "some"
    UNKNOWN = "unknown"


class NewSubmission(View):
    """A submission as its author sends it, its checkpoint already in the blob store."""

    name: str
    """The method's name: the entry's id on its board."""
    dataset: str
    threat_model: str
    architecture: str
    checkpoint_sha256: str
    title: str = ""
    authors: str = ""
    paper_url: str = ""
    venue: str = ""
    extra_data: ExtraData = ExtraData.UNKNOWN
    claimed_standard_accuracy: float | None = None
    claimed_robust_accuracy: float | None = None
    licence: str = ""
    notes: str = ""


class Progress(View):
    """How far a run is; every number is over all its shards."""

    points: Count = 0
    """Points of the run."""
    points_done: Count = 0
    """Points with a final verdict under the attacks done so far."""
    attack: Name | None = None
    attacks_done: Count = 0
    attacks: Count = 0
    fraction: Accuracy = 0.0
    """Share of the present attack's work that is done, in [0, 1]."""
    robust_accuracy_at_most: Accuracy | None = None
    robust_interval_at_most: Interval | None = None
    """The 95 % Wilson interval of the bound, from the points of all shards."""
    forward_passes: Count = 0
    """Images sent forward so far by all attacks."""
    backward_passes: Count = 0


class Transition(View):
    """One audited change of state."""

    state: State
    at_ms: int
    reason: str


class SubmissionView(View):
    """A submission with its live state."""

    id: str
    submission: NewSubmission
    state: State
    reason: str
    """Why it was rejected, failed or cancelled: the finding's code for a rejection; empty otherwise."""
    fault: str | None
    """"model" or "service" where it did not succeed."""
    created_ms: int
    updated_ms: int
    queue_position: int | None
    progress: Progress
    checks: tuple[Check, ...]
    transitions: tuple[Transition, ...]


class HistoryItem(View):
    """A number that an entry bore, with its source."""

    source: str
    """Such as "RobustBench paper, table 4.3" or "RobustBench, March 2025"."""
    standard_accuracy: float | None
    robust_accuracy: float | None
    recorded_ms: int


class BoardRow(View):
    """One entry of a leaderboard. Unknown is None."""

    rank: int | None
    model_id: str
    badge: Badge
    title: str
    authors: str
    venue: str
    link: str
    architecture: str
    extra_data: ExtraData
    standard_accuracy: float | None
    robust_accuracy: float | None
    """Under AutoAttack or our protocol; on corruption boards the accuracy on corrupted images."""
    best_known_robust_accuracy: float | None
    best_known_source: str
    claimed_robust_accuracy: float | None
    standard_interval: Interval | None
    robust_interval: Interval | None
    potentially_unreliable: bool | None
    forward_passes: int | None
    parameters: int | None
    zoo_id: str | None
    baseline: bool
    protocol: str | None
    mce: float | None
    """Mean corruption error in percent of the baseline's; ImageNet corruption boards only."""
    submission_id: str | None
    published_ms: int | None
    epsilon: str | None = None
    """The budget this entry was evaluated with, as its source writes it; it may differ a little from the board's."""
    footnote: str = ""
    findings: tuple[str, ...] = ()
    """Codes of the checks that were flagged."""
    corruption_accuracy_3d: float | None = None
    """Accuracy on 3D common corruptions; ImageNet corruption boards only."""
    mce_3d: float | None = None


class BoardPoint(View):
    """An entry between standard and robust accuracy: what a plot needs of it."""

    model_id: str
    extra_data: ExtraData
    standard_accuracy: float
    best_known_robust_accuracy: float
    flagged: bool
    """Whether its number is in doubt."""


class BoardView(View):
    """A leaderboard, or a page of it."""

    dataset: str
    threat_model: str
    title: str
    epsilon: str | None
    points: int
    evaluated_here: bool
    total: int
    """Entries of the board."""
    matching: int
    """Entries that pass the filters, whether they are among the rows or not."""
    rows: tuple[BoardRow, ...]


class BoardSummary(View):
    """A board in the list of all boards, with its leader."""

    dataset: str
    threat_model: str
    title: str
    epsilon: str | None
    points: int
    evaluated_here: bool
    entries: int
    evaluated_entries: int
    leader: BoardRow | None


class ModelView(View):
    """An entry with its evidence."""

    dataset: str
    threat_model: str
    row: BoardRow
    history: tuple[HistoryItem, ...]
    report: EvaluationReport | None
    """Points included; None for an entry that was not evaluated here."""
    checkpoint_sha256: str | None
    submission: SubmissionView | None
