"""What the store hands to its callers: frozen values, never a database row."""

from __future__ import annotations

from datetime import date
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from benchmark.report import Accuracy, Check, Count, EvaluationReport, Evidence, Interval, Name, Sha256
from benchmark.verdicts import Verdict

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
    """A closer look, with stronger attacks, at the points that a published entry in doubt has left."""
    EXTERNAL = "external"
    """Judging examples that others have found for a published entry."""
    ANALYSIS = "analysis"
    """Looking at what a published entry is like beside its robustness; nothing of it ranks."""
    AGAIN = "again"
    """Another evaluation of a published entry; once its numbers have replaced the entry's it counts as its ranking."""


class Approval(StrEnum):
    """Whether somebody must agree to a submission's publication, and has."""

    NONE = "none"
    PENDING = "pending"
    APPROVED = "approved"
    DECLINED = "declined"


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
    RELIABILITY = "reliability"
    EXTRA_DATA = "extra_data"
    ARCHITECTURE = "architecture"
    VENUE = "venue"
    ZOO_ID = "zoo_id"
    MCE = "mce"
    CLAIMED = "claimed"
    PARAMETERS = "parameters"
    PUBLISHED = "published"


class Order(StrEnum):
    """Which way a board is sorted; unknown values come last either way."""

    ASCENDING = "asc"
    DESCENDING = "desc"


class Ties(StrEnum):
    """Whether the entries of a board that were evaluated here were compared with each other."""

    TOLD = "told"
    NOT_TOLD = "not_told"
    """Nothing is compared: nobody attacks on this board, it is shown as it stood, or there are not two to compare."""
    UNAVAILABLE = "unavailable"
    """The verdicts on single points cannot be read just now."""


class ExtraData(StrEnum):
    """Training data beyond the board's own; ``SOME`` where a publication says that there was, not which kind."""

    NONE = "none"
    REAL = "real"
    SYNTHETIC = "synthetic"
    SOME = "some"
    UNKNOWN = "unknown"


class Sent(View):
    """A frozen value that whoever sends it may get wrong: what is no number is sent as it is, to be refused."""

    # By default pydantic writes NaN as null, and a claim that is none would pass for no claim at all.
    model_config = ConfigDict(ser_json_inf_nan="strings")


class NewSubmission(Sent):
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
    private_checkpoint: StrictBool = True
    """Whether the file is never given to others."""
    zoo_consent: StrictBool = False
    """Whether its author agrees to its being listed in the zoo."""
    anonymous: StrictBool = False
    """Whether title, authors, paper, venue, licence and notes are hidden for now."""
    analyse: StrictBool = False
    """Whether it is to be analysed beside its robustness once it is published; nothing of that ranks."""
    embargo_until: date | None = None
    """The day, in UTC, with whose beginning they are revealed; None for when the author says so."""


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


class SeedView(View):
    """The secret that a run draws by: committed to before it, told after it."""

    commitment: Sha256
    """SHA-256 of the key."""
    key: str | None
    """The key, 64 hexadecimal digits; None while the run goes on."""
    seed: int | None
    """What follows from the key; None while the run goes on."""


class Transition(View):
    """One audited change of state."""

    state: State
    at_ms: int
    reason: str


class LookState(StrEnum):
    """Where a closer look stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SUSPENDED = "suspended"
    """The entry is withdrawn; where it comes back, so does the look."""


class AgainView(View):
    """Another evaluation of a published entry, as long as it has not replaced the entry's numbers."""

    protocol: str
    state: LookState
    reason: str
    """Code of the rule that the model breaks by now; empty where it breaks none."""
    progress: Progress
    created_ms: int


class SubmissionView(View):
    """A submission with its live state."""

    id: str
    submission: NewSubmission
    """Without what would tell who made it, for those who are not to know."""
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
    evidence: tuple[Evidence, ...] = ()
    """Tests for gradients that mislead, made with the check."""
    seed: SeedView | None = None
    """None for submissions that are older."""
    transitions: tuple[Transition, ...]
    checkpoint_deleted_ms: int | None = None
    """When its checkpoint was deleted; None while that is kept. It cannot be evaluated again without."""
    approval: Approval = Approval.NONE
    again: AgainView | None = None
    """The latest other evaluation that has not replaced the entry's numbers."""

    @property
    def rests(self) -> bool:
        """Whether it is evaluated and waits for a maintainer to agree."""
        return self.state is State.EVALUATED and self.approval is Approval.PENDING


class HistoryItem(View):
    """A number that an entry bore, with its source."""

    source: str
    """Such as "RobustBench paper, table 4.3" or "RobustBench, March 2025"."""
    standard_accuracy: float | None
    robust_accuracy: float | None
    recorded_ms: int
    newly_broken: int | None = None
    """Points that this evaluation broke and none before it; None where nothing is known of single points."""


class Source(View):
    """A model whose examples are tried on another."""

    name: str
    checkpoint_sha256: str
    architecture: str


class LookView(View):
    """A closer look at an entry in doubt: stronger attacks on points that its evaluation had left."""

    number: int
    """Its number, by which its report can be asked for."""
    protocol: str
    state: LookState
    points: int
    """Points that it is run on."""
    sources: tuple[str, ...]
    """Models of the same board whose examples are tried on this one."""
    progress: Progress
    broken: int | None
    """Points of these that it broke; None before it is done."""
    seed: SeedView | None
    created_ms: int


class ExternalState(StrEnum):
    """Where an evaluation by others stands."""

    QUEUED = "queued"
    """Its examples are still to be judged."""
    VERIFIED = "verified"
    REFUSED = "refused"
    """Its claim does not hold."""
    FAILED = "failed"
    """The service failed, not the examples."""


class NewExternal(Sent):
    """Adversarial examples for an entry, as whoever found them sends them; the file is in the blob store already."""

    examples_sha256: str
    points: tuple[StrictInt, ...] | None = None
    """Positions in the data set of the points that there are examples for, increasing; None for all of the board's."""
    title: str = ""
    authors: str = ""
    paper_url: str = ""
    attack: str = ""
    """How they were found."""
    claimed_robust_accuracy: float | None = None
    """What they leave, in [0, 1]; where it is not given, each example of named points is a claim, or, for all points,
    that at least one is broken which nobody had broken before."""


class ExternalView(View):
    """Adversarial examples for an entry, and what came of judging them."""

    id: str
    dataset: str
    threat_model: str
    model_id: str
    submitted: NewExternal
    state: ExternalState
    reason: str
    """What was found, in a sentence or two; empty before it is judged."""
    counts: dict[Verdict, int]
    """How many examples got each verdict; empty before they are judged."""
    robust_accuracy: float | None
    """What these examples alone leave of all points of the board."""
    newly_broken: int | None
    """Points that these examples broke and no evaluation before."""
    created_ms: int
    concluded_ms: int | None


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
    """Mean corruption error in percent of the baseline's, on corruption boards; on those of ImageNet of AlexNet's."""
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
    anonymous: StrictBool = False
    """Whether title, authors, venue and paper are hidden for now; the title is then the name."""
    withdrawn_ms: int | None = None
    """When it was withdrawn; such an entry never ranks."""
    withdrawn_reason: str = ""
    old_protocol: bool = False
    """Whether it was evaluated here by a protocol that its board no longer ranks by."""
    expires_ms: int | None = None
    """When an unverified entry ends; None for all others."""
    tied_with: str | None = Field(
        None,
        description="On a leaderboard: name of a better ranked entry, the best of its group, from which this one "
        "cannot be told apart by the verdicts on the same points (McNemar's exact test at 5 %, with Holm's correction "
        "over all entries that are tested against the same one). Null where this entry is itself the best of a group, "
        "and where nothing is compared: only entries that were evaluated here and rank are.",
    )


class TeamWork(View):
    """How much an entry's team has sent to its board: who tries often enough is lucky once."""

    team: str
    """Empty where the account has none, and its own submissions are counted."""
    submissions: int
    published: int


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
    """Entries of the board; withdrawn ones and those of an old protocol count where they are asked for."""
    matching: int
    """Entries that pass the filters, whether they are among the rows or not."""
    as_of_ms: int | None = None
    """The moment that is shown; None for the present."""
    set_aside: int = Field(
        0, description="Entries that are withdrawn or of an old protocol and, since nobody asked for them, do not count"
    )
    ties: Ties = Field(
        Ties.NOT_TOLD,
        description="Whether the rows tell ties: `told`; `not_told` where nothing is compared, on boards without an "
        "attacker, in the past, and where there are not two entries to compare; `unavailable` where the verdicts on "
        "single points cannot be read just now",
    )
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
    looks: tuple[LookView, ...] = ()
    """Closer looks, the oldest first."""
    externals: tuple[ExternalView, ...] = ()
    """Evaluations by others, the oldest first."""
    team: TeamWork | None = None
    """None where nobody is known to have sent it, and where its authors are hidden."""
