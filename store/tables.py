"""The tables. Times are the database's milliseconds; JSON is canonical text; unknown is NULL."""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    Text,
    TypeDecorator,
    UniqueConstraint,
    literal_column,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Characters(TypeDecorator[str]):
    """Text without the character NUL, which PostgreSQL cannot hold: it becomes the one for what cannot be shown.

    So whoever asks for such a name finds nothing, and what a model's process says can be kept.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else value.replace("\0", "\ufffd")


class Base(DeclarativeBase):
    """Base of all tables; constraints are named, so that migrations can speak of them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[object, object]] = {str: Characters()}


_OPEN = "state IN ('received', 'checking', 'queued', 'running', 'evaluated')"


class SubmissionRow(Base):
    """What an author sent, and where it stands."""

    __tablename__ = "submission"
    __table_args__ = (
        Index(None, "dataset", "threat_model", "name"),
        Index(None, "state"),
        Index(None, "checkpoint_sha256"),
        # Two submissions of one name at the same moment: the database lets only one of them in.
        Index(
            "uq_submission_open_name",
            "dataset",
            "threat_model",
            "name",
            unique=True,
            sqlite_where=text(_OPEN),
            postgresql_where=text(_OPEN),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    """Begins with the time of creation in hexadecimal, so ids sort in the order of arrival."""
    name: Mapped[str]
    dataset: Mapped[str]
    threat_model: Mapped[str]
    architecture: Mapped[str]
    checkpoint_sha256: Mapped[str]
    title: Mapped[str]
    authors: Mapped[str]
    paper_url: Mapped[str]
    venue: Mapped[str]
    extra_data: Mapped[str]
    claimed_standard_accuracy: Mapped[float | None]
    claimed_robust_accuracy: Mapped[float | None]
    licence: Mapped[str]
    notes: Mapped[str]
    baseline: Mapped[bool]
    zoo_id: Mapped[str | None]
    submitter: Mapped[str] = mapped_column(index=True)
    """For whom it counts where submitters share the workers; never shown."""
    owner_id: Mapped[str | None] = mapped_column(ForeignKey("account.id"), index=True)
    """Who sent it; NULL where nobody was signed in, and for the models that come along."""
    private_checkpoint: Mapped[bool] = mapped_column(default=True)
    """Whether the file is never given to others."""
    zoo_consent: Mapped[bool] = mapped_column(default=False)
    """Whether its author agrees to its being listed in the zoo."""
    analyse: Mapped[bool] = mapped_column(default=False)
    """Whether it is to be analysed beside its robustness once it is published."""
    anonymous: Mapped[bool] = mapped_column(default=False)
    """Whether title, authors, paper and venue are hidden, as double-blind review demands."""
    embargo_until_ms: Mapped[int | None] = mapped_column(BigInteger)
    """When they are revealed; NULL for when the owner says so."""
    approval: Mapped[str] = mapped_column(default="none")
    """"none" where nobody need agree to its publication, else "pending", "approved" or "declined"."""
    state: Mapped[str]
    reason: Mapped[str]
    fault: Mapped[str | None]
    created_ms: Mapped[int] = mapped_column(BigInteger)
    updated_ms: Mapped[int] = mapped_column(BigInteger)
    checkpoint_deleted_ms: Mapped[int | None] = mapped_column(BigInteger)
    """When the checkpoint was deleted; NULL while it is kept."""


class TransitionRow(Base):
    """One audited change of a submission's state; never updated."""

    __tablename__ = "transition"

    id: Mapped[int] = mapped_column(primary_key=True)
    submission_id: Mapped[str] = mapped_column(ForeignKey("submission.id"), index=True)
    state: Mapped[str]
    reason: Mapped[str]
    at_ms: Mapped[int] = mapped_column(BigInteger)


class RunRow(Base):
    """One evaluation of a submission: everything its shards have in common."""

    __tablename__ = "run"
    __table_args__ = (
        Index(
            "ix_run_open_look",
            "submission_id",
            sqlite_where=text("purpose <> 'ranking' AND concluded = 0"),
            postgresql_where=text("purpose <> 'ranking' AND NOT concluded"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    submission_id: Mapped[str] = mapped_column(ForeignKey("submission.id"), index=True)
    protocol: Mapped[str]
    seed: Mapped[int] = mapped_column(BigInteger)
    seed_key: Mapped[str]
    """Key that the seed and all that is secret of the run comes from, in hexadecimal; empty in rows that are older.
    Nobody sees it before the run has ended."""
    norm: Mapped[str]
    epsilon: Mapped[str]
    points: Mapped[int]
    indices: Mapped[str | None]
    """Positions of its points in the data set, a JSON array; NULL for the first so many. Shards count in this list."""
    sources: Mapped[str]
    """Models whose examples are tried on this one: a JSON array of their names, files and architectures."""
    parameters: Mapped[int | None] = mapped_column(BigInteger)
    """Parameters of the model, as the check run counted them."""
    checks: Mapped[str]
    """The check run's findings, a JSON array."""
    policy: Mapped[int | None]
    """Version of the restrictions by which it was checked."""
    evidence: Mapped[str]
    """The tests for gradients that mislead, a JSON array."""
    gallery_sha256: Mapped[str | None]
    """Blob of a few of its examples, to look at; NULL where there are none."""
    purpose: Mapped[str]
    """"ranking"; "follow_up" for a closer look at a published entry; "external" for examples that others have found;
    "analysis" for what an entry is like beside its robustness."""
    concluded: Mapped[bool]
    """Of all but ranking runs: whether nothing more comes of it."""
    priority: Mapped[int]
    """The greater is claimed first."""
    needs_cuda: Mapped[bool]
    """Whether only a worker with a CUDA device can run it in reasonable time."""
    created_ms: Mapped[int] = mapped_column(BigInteger)


class ShardRow(Base):
    """A piece of work that one worker claims at a time: a run's check, or a block of its points."""

    __tablename__ = "shard"
    __table_args__ = (UniqueConstraint("run_id", "kind", "first", "last"), Index(None, "state"))

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"))
    kind: Mapped[str]
    """"check", "shard", "judge" for examples that are judged again by a process that has nothing else, or "analysis",
    of which the first number says which one it is."""
    first: Mapped[int]
    last: Mapped[int]
    """One past the last point."""
    state: Mapped[str]
    """"queued", "running", "done", "failed" or "cancelled"."""
    queued_ms: Mapped[int] = mapped_column(BigInteger)
    """When it was queued last."""
    attempt: Mapped[int]
    lease_token: Mapped[str | None]
    lease_until: Mapped[int | None] = mapped_column(BigInteger)
    worker: Mapped[str | None]
    beat_at: Mapped[int | None] = mapped_column(BigInteger)
    progress_at: Mapped[int | None] = mapped_column(BigInteger)
    progress: Mapped[str | None]
    checkpoint: Mapped[str | None]
    """Blob from which the next attempt continues."""
    cancel_requested: Mapped[bool]
    report_sha256: Mapped[str | None]
    """Blob of its report; of a judge, of its verdicts; of an analysis, of what it found."""
    x_adv_sha256: Mapped[str | None]
    second_sha256: Mapped[str | None]
    """Blob of the second attack's examples."""


class ReportRow(Base):
    """The merged report of a run: the summary here, its points in a blob that no list ever loads."""

    __tablename__ = "report"

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), unique=True)
    summary: Mapped[bytes] = mapped_column(LargeBinary, deferred=True)
    summary_sha256: Mapped[str]
    points_sha256: Mapped[str]
    created_ms: Mapped[int] = mapped_column(BigInteger)


class EntryRow(Base):
    """One row of a leaderboard, with the scalar numbers that boards show and sort by."""

    __tablename__ = "entry"
    __table_args__ = (
        UniqueConstraint("dataset", "threat_model", "model_id"),
        Index(None, "dataset", "threat_model", "badge"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    dataset: Mapped[str]
    threat_model: Mapped[str]
    model_id: Mapped[str]
    badge: Mapped[str]
    title: Mapped[str]
    authors: Mapped[str]
    venue: Mapped[str]
    link: Mapped[str]
    architecture: Mapped[str]
    extra_data: Mapped[str]
    epsilon: Mapped[str | None]
    footnote: Mapped[str]
    standard_accuracy: Mapped[float | None]
    robust_accuracy: Mapped[float | None]
    best_known_robust_accuracy: Mapped[float | None]
    best_known_source: Mapped[str]
    best_known_sha256: Mapped[str | None]
    """Blob of the worst case over all evaluations, point by point; NULL where it is the report's own, or none."""
    claimed_robust_accuracy: Mapped[float | None]
    standard_low: Mapped[float | None]
    standard_high: Mapped[float | None]
    robust_low: Mapped[float | None]
    robust_high: Mapped[float | None]
    potentially_unreliable: Mapped[bool | None]
    findings: Mapped[str]
    """Codes of the flagged checks, a JSON array."""
    forward_passes: Mapped[int | None]
    parameters: Mapped[int | None] = mapped_column(BigInteger)
    zoo_id: Mapped[str | None]
    baseline: Mapped[bool]
    protocol: Mapped[str | None]
    mce: Mapped[float | None]
    corruption_accuracy_3d: Mapped[float | None]
    mce_3d: Mapped[float | None]
    submission_id: Mapped[str | None] = mapped_column(ForeignKey("submission.id"))
    report_id: Mapped[int | None] = mapped_column(ForeignKey("report.id"))
    published_ms: Mapped[int | None] = mapped_column(BigInteger)
    owner_id: Mapped[str | None] = mapped_column(ForeignKey("account.id"), index=True)
    """Who may edit venue and links: whoever submitted it, or has claimed it."""
    anonymous: Mapped[bool] = mapped_column(default=False)
    """Whether the names are hidden for now."""
    expires_ms: Mapped[int | None] = mapped_column(BigInteger)
    """When an unverified entry ends; NULL for all others."""
    withdrawn_ms: Mapped[int | None] = mapped_column(BigInteger)
    """When it was withdrawn; such an entry never ranks, and its page says why."""
    withdrawn_reason: Mapped[str] = mapped_column(default="")
    revision: Mapped[int] = mapped_column(default=0, onupdate=literal_column("revision + 1"))
    """How often the row was changed. The database counts, so that of two who change it at once none is lost."""


# What tells whether a board has changed, without looking at its rows.
Index("ix_entry_revision", EntryRow.dataset, EntryRow.threat_model, EntryRow.revision, EntryRow.id)
# Boards in the order of their ranking; SQLite does with less, see the migration.
Index(
    "ix_entry_ranking",
    EntryRow.dataset,
    EntryRow.threat_model,
    EntryRow.best_known_robust_accuracy.desc().nulls_last(),
    EntryRow.standard_accuracy.desc().nulls_last(),
    EntryRow.published_ms,
    EntryRow.model_id,
)


class EntryHistoryRow(Base):
    """A number that an entry bore, with its source."""

    __tablename__ = "entry_history"
    __table_args__ = (UniqueConstraint("entry_id", "source"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    entry_id: Mapped[int] = mapped_column(ForeignKey("entry.id"))
    source: Mapped[str]
    standard_accuracy: Mapped[float | None]
    robust_accuracy: Mapped[float | None]
    newly_broken: Mapped[int | None]
    """Points that this evaluation broke and none before it; NULL where nothing is known of single points."""
    recorded_ms: Mapped[int] = mapped_column(BigInteger)


class ExternalRow(Base):
    """Adversarial examples that others have found for an entry, and what came of judging them."""

    __tablename__ = "external"
    __table_args__ = (Index(None, "submitter", "state"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    """Begins with the time of creation in hexadecimal, so ids sort in the order of arrival."""
    entry_id: Mapped[int] = mapped_column(ForeignKey("entry.id"), index=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id"), unique=True)
    """Its own run, whose points are those that there are examples for."""
    title: Mapped[str]
    authors: Mapped[str]
    paper_url: Mapped[str]
    attack: Mapped[str]
    """How the examples were found, in its authors' words."""
    examples_sha256: Mapped[str]
    claimed_robust_accuracy: Mapped[float | None]
    submitter: Mapped[str]
    state: Mapped[str]
    """"queued", "verified", "refused" or "failed"."""
    reason: Mapped[str]
    counts: Mapped[str]
    """How many examples got each verdict, a JSON object."""
    robust_accuracy: Mapped[float | None]
    """What these examples alone leave."""
    newly_broken: Mapped[int | None]
    created_ms: Mapped[int] = mapped_column(BigInteger)
    concluded_ms: Mapped[int | None] = mapped_column(BigInteger)


class AccountRow(Base):
    """A person, or a program that acts for one."""

    __tablename__ = "account"

    id: Mapped[str] = mapped_column(primary_key=True)
    """Begins with the time of creation in hexadecimal, so ids sort in the order of arrival."""
    name: Mapped[str] = mapped_column(unique=True)
    """What they sign in with, in lower case; that of a deleted account is made of its id."""
    email: Mapped[str | None] = mapped_column(unique=True)
    """In lower case; never shown to others."""
    team: Mapped[str]
    """Whom they submit for; shown with their entries."""
    password_hash: Mapped[str | None]
    """By argon2id; NULL while only a link lets them in."""
    role: Mapped[str]
    """"submitter", "maintainer" or "admin"."""
    disabled: Mapped[bool]
    created_ms: Mapped[int] = mapped_column(BigInteger)
    deleted_ms: Mapped[int | None] = mapped_column(BigInteger)


class SessionRow(Base):
    """A browser that somebody is signed in with. Of what it shows only the hash is kept."""

    __tablename__ = "session"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), index=True)
    created_ms: Mapped[int] = mapped_column(BigInteger)
    expires_ms: Mapped[int] = mapped_column(BigInteger)


class TokenRow(Base):
    """What a program shows to act for an account. Only the hash is kept."""

    __tablename__ = "token"

    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), index=True)
    name: Mapped[str]
    """What its owner calls it."""
    sha256: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[str]
    """What it may do, a JSON array of "read", "submit", "moderate" and "account"."""
    created_ms: Mapped[int] = mapped_column(BigInteger)
    expires_ms: Mapped[int | None] = mapped_column(BigInteger)
    used_ms: Mapped[int | None] = mapped_column(BigInteger)
    revoked_ms: Mapped[int | None] = mapped_column(BigInteger)


class UploadRow(Base):
    """A file that somebody has uploaded, counted towards what they may keep here and send in a day."""

    __tablename__ = "upload"

    submitter: Mapped[str] = mapped_column(primary_key=True)
    """Their account, or a keyed hash of their network address, see `store.submitters`."""
    sha256: Mapped[str] = mapped_column(primary_key=True, index=True)
    bytes: Mapped[int] = mapped_column(BigInteger)
    sent_ms: Mapped[int] = mapped_column(BigInteger)
    """When it was sent last."""


class LinkRow(Base):
    """A link that lets somebody in once, to choose a password."""

    __tablename__ = "link"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), index=True)
    expires_ms: Mapped[int] = mapped_column(BigInteger)


class AuditRow(Base):
    """Something that somebody with an account did; never updated."""

    __tablename__ = "audit"
    __table_args__ = (Index(None, "subject"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    at_ms: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str]
    """The account's id; empty where the service itself acted."""
    action: Mapped[str]
    """Such as "approve" or "sign_in"."""
    subject: Mapped[str]
    """What it was done to, such as "submission 0194…"."""
    detail: Mapped[str]
    """More of it, a JSON object."""


class ClaimRow(Base):
    """Somebody says that a reported entry is theirs, or that it is wrong."""

    __tablename__ = "claim"

    id: Mapped[str] = mapped_column(primary_key=True)
    entry_id: Mapped[int] = mapped_column(ForeignKey("entry.id"), index=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), index=True)
    kind: Mapped[str]
    """"claim" or "dispute"."""
    message: Mapped[str]
    state: Mapped[str]
    """"open", "accepted" or "declined"."""
    reply: Mapped[str]
    created_ms: Mapped[int] = mapped_column(BigInteger)
    concluded_ms: Mapped[int | None] = mapped_column(BigInteger)


class WebhookRow(Base):
    """An address that is told of what happens to an account's submissions."""

    __tablename__ = "webhook"

    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), index=True)
    url: Mapped[str]
    secret: Mapped[str]
    """Key of the signature that each message bears."""
    created_ms: Mapped[int] = mapped_column(BigInteger)


class NoticeRow(Base):
    """A message on its way to somebody: written with what it tells of, sent afterwards."""

    __tablename__ = "notice"
    __table_args__ = (Index(None, "state", "due_ms"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), index=True)
    channel: Mapped[str]
    """"email" or "webhook"."""
    target: Mapped[str]
    """Id of the webhook; empty for e-mail, which goes to the account's address."""
    event: Mapped[str]
    """Such as "submission.published"."""
    content: Mapped[str]
    """A JSON object."""
    state: Mapped[str]
    """"due", "sent" or "failed"."""
    attempts: Mapped[int]
    due_ms: Mapped[int] = mapped_column(BigInteger)
    error: Mapped[str]


class LeaseRow(Base):
    """A named role that one process holds at a time, such as the dispatcher's."""

    __tablename__ = "lease"

    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    until_ms: Mapped[int] = mapped_column(BigInteger)


class WorkerRow(Base):
    """A process that claims work, as it has announced itself."""

    __tablename__ = "worker"

    name: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str]
    devices: Mapped[str]
    """A JSON array, such as ["cpu"] or ["cuda:0"]."""
    datasets: Mapped[str]
    """A JSON array of the data sets that it has."""
    sandbox: Mapped[str | None]
    """Level of what it puts around evaluations; NULL where it has not said."""
    draining: Mapped[bool]
    """Whether it finishes what it has and claims nothing more."""
    started_ms: Mapped[int] = mapped_column(BigInteger)
    seen_ms: Mapped[int] = mapped_column(BigInteger)


class ShareRow(Base):
    """When a submitter's work was claimed last, so that submitters take turns."""

    __tablename__ = "share"

    submitter: Mapped[str] = mapped_column(primary_key=True)
    served_ms: Mapped[int] = mapped_column(BigInteger)


SUBMITTER_SALT = "submitter_salt"
"""Key of the random text, made with the database, that keeps hashes of addresses from being undone."""


SEED_SECRET = "seed_secret"  # noqa: S105 - its name, not itself
"""Key of the random text, made with the database, that the keys of runs are made from."""


class MetaRow(Base):
    """A fact about the database itself."""

    __tablename__ = "meta"

    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]
