"""An example of everything that the API answers with, made of the values themselves: they refuse what cannot be."""

from __future__ import annotations

import json

from pydantic import BaseModel

from api.account_schemas import AccountList, NewAccountAnswer, NewToken, TokenList
from api.entry_schemas import ClaimList, NewWebhook, NoticeList, WebhookList
from api.schemas import (
    AuditList,
    BoardList,
    ExternalList,
    LogLines,
    SubmissionList,
    ZooFile,
    ZooFileList,
)
from benchmark.analysis.results import Analysis, Smoothness, Study
from benchmark.report import AttackOutcome, Check, CheckOutcome, EvaluationReport, Points, Provenance, SandboxLevel
from benchmark.side_by_side import AfterAttack, InClass, Pair, SideBySide
from benchmark.summing_up import build_report, wilson_interval
from benchmark.threat_models import official_board
from benchmark.verdicts import Verdict
from store.account_rows import AccountView
from store.actors import Role, Scope
from store.again import OWN_SOURCE
from store.analyses import StoredStudy
from store.audit import AuditView
from store.comparison import ComparisonView
from store.deliveries import NoticeView
from store.entry_claims import ClaimKind, ClaimState, ClaimView
from store.model_info import ModelInfo, write_info
from store.notices import Channel, Event
from store.progress import (
    BestKnown,
    BoardProgress,
    ClaimedEntry,
    DatedEntry,
    Overestimation,
    VenueCount,
    Venues,
)
from store.queue import Piece
from store.queue_views import QueueView, Standing
from store.sign_in import TokenView
from store.submission_log import LogLine
from store.venues import VenueKind
from store.views import (
    Badge,
    BoardRow,
    BoardSummary,
    BoardView,
    ExternalState,
    ExternalView,
    ExtraData,
    HistoryItem,
    ModelView,
    NewExternal,
    NewSubmission,
    Progress,
    Purpose,
    State,
    SubmissionView,
    Transition,
)
from store.webhooks import WebhookView
from store.workers import WorkerView

_ID = "0194f0a1b2c3d4e5f607"
_SHA256 = "9f" * 32
_SENT_MS = 1_767_225_600_000
_PUBLISHED_MS = _SENT_MS + 3_600_000
_NAME = "Doe2026Careful"
_BOARD = official_board("digits", "Linf")
_TITLE, _AUTHORS = "Careful training of small networks", "Jane Doe"
_POINTS, _CORRECT, _ROBUST = 500, 490, 310

_ACCOUNT = AccountView(
    id=_ID,
    name="jane",
    email="jane@example.org",
    team="Careful Learning Group",
    role=Role.SUBMITTER,
    disabled=False,
    has_password=True,
    created_ms=_SENT_MS,
)
_TOKEN = TokenView(
    id=_ID,
    name="laptop",
    scopes=(Scope.READ, Scope.SUBMIT),
    created_ms=_SENT_MS,
    expires_ms=_SENT_MS + 90 * 24 * 3_600_000,
    used_ms=None,
    revoked=False,
)
_ROW = BoardRow(
    rank=1,
    model_id=_NAME,
    badge=Badge.EVALUATED,
    title=_TITLE,
    authors=_AUTHORS,
    venue="ICLR 2026",
    link="https://example.org/paper",
    architecture="digits_cnn",
    extra_data=ExtraData.NONE,
    standard_accuracy=_CORRECT / _POINTS,
    robust_accuracy=_ROBUST / _POINTS,
    best_known_robust_accuracy=_ROBUST / _POINTS,
    best_known_source=f"{OWN_SOURCE}, {_BOARD.protocol}",
    claimed_robust_accuracy=0.62,
    standard_interval=wilson_interval(_CORRECT, _POINTS),
    robust_interval=wilson_interval(_ROBUST, _POINTS),
    potentially_unreliable=None,
    forward_passes=1,
    parameters=25_098,
    zoo_id=None,
    baseline=False,
    protocol=_BOARD.protocol,
    mce=None,
    submission_id=_ID,
    published_ms=_PUBLISHED_MS,
    epsilon=str(_BOARD.epsilon),
)
BOARD = BoardView(
    dataset=_BOARD.dataset,
    threat_model=_BOARD.threat_model,
    title=_BOARD.title,
    epsilon=str(_BOARD.epsilon),
    points=_BOARD.points,
    evaluated_here=_BOARD.evaluated_here,
    total=1,
    matching=1,
    rows=(_ROW,),
)
"""A board of one entry."""
PROGRESS = BoardProgress(
    dataset=_BOARD.dataset,
    threat_model=_BOARD.threat_model,
    title=_BOARD.title,
    epsilon=str(_BOARD.epsilon),
    entries=1,
    best_known=BestKnown(
        entries=(
            DatedEntry(
                model_id=_NAME,
                badge=Badge.EVALUATED,
                flagged=False,
                venue="ICLR 2026",
                year=2026,
                day=None,
                best_known_robust_accuracy=_ROBUST / _POINTS,
                best_so_far=_ROBUST / _POINTS,
                raised=True,
            ),
        ),
        undated=0,
        unmeasured=0,
    ),
    venues=Venues(counts=(VenueCount(year=2026, venue=VenueKind.ICLR, entries=1),), left_out=0),
    overestimation=Overestimation(
        entries=(
            ClaimedEntry(
                model_id=_NAME,
                badge=Badge.EVALUATED,
                flagged=False,
                claimed_robust_accuracy=0.62,
                robust_accuracy=_ROBUST / _POINTS,
                overestimation=0.0,
            ),
        ),
        median=0.0,
        without_claim=0,
    ),
)
"""Its progress."""
SUBMISSION = SubmissionView(
    id=_ID,
    submission=NewSubmission(
        name=_NAME,
        dataset=_BOARD.dataset,
        threat_model=_BOARD.threat_model,
        architecture="digits_cnn",
        checkpoint_sha256=_SHA256,
        title=_TITLE,
        authors=_AUTHORS,
        paper_url="https://example.org/paper",
        extra_data=ExtraData.NONE,
        claimed_robust_accuracy=0.62,
    ),
    state=State.RUNNING,
    reason="",
    fault=None,
    created_ms=_SENT_MS,
    updated_ms=_SENT_MS + 60_000,
    queue_position=None,
    progress=Progress(
        points=_POINTS,
        points_done=122,
        attack="apgd-t",
        attacks_done=1,
        attacks=4,
        fraction=0.5,
        robust_accuracy_at_most=0.756,
        robust_interval_at_most=wilson_interval(378, _POINTS),
        forward_passes=120_331,
        backward_passes=20_000,
    ),
    checks=(Check(code="randomized", outcome=CheckOutcome.PASSED, message="Two passes gave equal logits."),),
    transitions=(
        Transition(state=State.RECEIVED, at_ms=_SENT_MS, reason=""),
        Transition(state=State.CHECKING, at_ms=_SENT_MS + 1_000, reason=""),
        Transition(state=State.QUEUED, at_ms=_SENT_MS + 30_000, reason=""),
        Transition(state=State.RUNNING, at_ms=_SENT_MS + 31_000, reason=""),
    ),
)
"""A submission under attack."""
LOG = LogLines(
    lines=(
        LogLine(at_ms=_SENT_MS, text="received"),
        LogLine(at_ms=_SENT_MS + 1_000, text="checking"),
        LogLine(at_ms=None, text="points 0 to 499 runs, attempt 1, apgd-t: 122 of 500 points done"),
    )
)
"""What happened to it."""


def _report() -> EvaluationReport:
    """Return a report of three points: one misclassified, one broken, one robust."""
    points = Points(
        index=(0, 1, 2),
        label=(7, 2, 1),
        robust=(False, False, True),
        broken_by=("clean", "apgd-ce", None),
        step=(None, 4, None),
        distance=(0.0, 0.3, None),
    )
    attack = AttackOutcome(
        name="apgd-ce",
        parameters={"iterations": 100, "rho": 0.75},
        seed=0,
        attacked=2,
        broken=1,
        over_budget=0,
        robust_accuracy_after=1 / 3,
        forward_passes=106,
        backward_passes=104,
        seconds=0.2,
    )
    return build_report(
        norm="Linf",
        epsilon=str(_BOARD.epsilon),
        dataset=_BOARD.dataset,
        protocol=_BOARD.protocol,
        attacks=[attack],
        checks=SUBMISSION.checks,
        provenance=Provenance(
            checkpoint_sha256=_SHA256,
            architecture="digits_cnn",
            seed=0,
            slot_width=64,
            threads=1,
            layout="contiguous",
            precision="float32",
            device="cpu",
            hardware="x86_64 CPU",
            versions={"torch": "2.13.0"},
            seconds=0.4,
        ),
        points=points,
    )


_REPORT = _report()
_EXTERNAL = ExternalView(
    id=_ID,
    dataset=_BOARD.dataset,
    threat_model=_BOARD.threat_model,
    model_id=_NAME,
    submitted=NewExternal(
        examples_sha256=_SHA256,
        points=(3, 17, 20),
        title="A closer walk to the boundary",
        authors="Jane Doe",
        paper_url="https://example.org/paper",
        attack="MultiTargeted, 20 restarts",
    ),
    state=ExternalState.VERIFIED,
    reason="All of 3 examples hold; 2 of these points were robust before.",
    counts={Verdict.HOLDS: 3},
    robust_accuracy=0.616,
    newly_broken=2,
    created_ms=_PUBLISHED_MS,
    concluded_ms=_PUBLISHED_MS + 20_000,
)
_MODEL = ModelView(
    dataset=_BOARD.dataset,
    threat_model=_BOARD.threat_model,
    row=_ROW,
    history=(
        HistoryItem(
            source=f"{OWN_SOURCE}, {_BOARD.protocol}",
            standard_accuracy=_ROW.standard_accuracy,
            robust_accuracy=_ROW.robust_accuracy,
            recorded_ms=_PUBLISHED_MS,
        ),
    ),
    report=None,
    checkpoint_sha256=_SHA256,
    submission=None,
)
_COMPARISON = ComparisonView(
    dataset=_BOARD.dataset,
    threat_model=_BOARD.threat_model,
    entries=(_ROW, _ROW.model_copy(update={"model_id": "Roe2026Hasty", "rank": 2})),
    comparison=SideBySide(
        n_points=3,
        names=(_NAME, "Roe2026Hasty"),
        stages=(
            AfterAttack(after="clean", accuracies=(2 / 3, 1.0)),
            AfterAttack(after="apgd-ce", accuracies=(1 / 3, 0.0)),
        ),
        classes=(InClass(label=1, points=3, standard=(2 / 3, 1.0), robust=(1 / 3, 0.0)),),
        corruptions=(),
        pairs=(
            Pair(
                a=_NAME,
                b="Roe2026Hasty",
                both=0,
                only_a=1,
                only_b=0,
                neither=2,
                p_value=1.0,
                corrected_p_value=1.0,
                only_a_points=(2,),
                only_b_points=(),
            ),
        ),
        all_keep=0,
        none_keeps=2,
    ),
)
_STUDY = Study(
    dataset=_BOARD.dataset,
    norm=_BOARD.norm,
    epsilon=_BOARD.epsilon_text,
    points=_POINTS,
    seed=7,
    checkpoint_sha256=_SHA256,
    standard_accuracy=_CORRECT / _POINTS,
    smoothness=Smoothness(points=256, epsilon=8 / 255, lipschitz=85.0, angular_lipschitz=5.4),
    left_out={Analysis.SHIFT: "the test split of mnist is not here"},
    seconds={Analysis.SMOOTHNESS: 1.2},
)
_CLAIM = ClaimView(
    id=_ID,
    dataset="cifar10",
    threat_model="Linf",
    model_id="Carmon2019Unlabeled",
    account="jane",
    kind=ClaimKind.CLAIM,
    message="The README of the paper's repository names this account.",
    state=ClaimState.OPEN,
    reply="",
    created_ms=_SENT_MS,
    concluded_ms=None,
)
_WEBHOOK = WebhookView(id=_ID, url="https://hooks.example.org/gauntlet", created_ms=_SENT_MS)
_SUMMARY = BoardSummary(
    dataset=_BOARD.dataset,
    threat_model=_BOARD.threat_model,
    title=_BOARD.title,
    epsilon=str(_BOARD.epsilon),
    points=_BOARD.points,
    evaluated_here=_BOARD.evaluated_here,
    entries=1,
    evaluated_entries=1,
    leader=_ROW,
)
_NOTICE = NoticeView(
    id=12,
    channel=Channel.WEBHOOK,
    webhook=_ID,
    event=Event.SUBMISSION_PUBLISHED,
    message=f"{_NAME} is published.",
    state="sent",
    attempts=1,
    error="",
)
_RECORD = AuditView(
    id=120,
    at_ms=_PUBLISHED_MS,
    actor=_ID,
    name="john",
    action="withdraw",
    subject=f"submission {_ID}",
    detail={"reason": "The paper was retracted by its authors."},
)
_QUEUE = QueueView(
    standing=Standing.FINE,
    oldest_waiting_ms=12_000,
    running=1,
    queued=1,
    pieces=tuple(
        Piece(
            shard_id=number,
            submission_id=_ID,
            name=_NAME,
            dataset=_BOARD.dataset,
            threat_model=_BOARD.threat_model,
            kind="shard",
            purpose=Purpose.RANKING,
            first=first,
            last=first + 250,
            state="queued" if worker is None else "running",
            priority=0,
            attempt=0 if worker is None else 1,
            waiting_ms=12_000,
            worker=worker,
            needs_cuda=False,
            silent_ms=None if worker is None else 4_000,
            standing_ms=None if worker is None else 9_000,
            lease_ms=None if worker is None else 86_000,
        )
        for number, first, worker in ((17, 0, "gpu-1-cuda:0-9f2c1a"), (18, 250, None))
    ),
    unfit=(),
    workers=(
        WorkerView(
            name="gpu-1-cuda:0-9f2c1a",
            host="gpu-1",
            devices=("cuda:0",),
            datasets=("digits", "cifar10"),
            sandbox=SandboxLevel.NAMESPACES,
            draining=False,
            running=1,
            started_ms=_SENT_MS,
            seen_ms=_PUBLISHED_MS,
            silent_ms=4_000,
        ),
    ),
    submissions=dict.fromkeys(State, 0) | {State.RUNNING: 1},
    failed_submissions=(),
    failed_runs=(),
    free_bytes=81_604_378_624,
)
_ZOO_FILE = ZooFile(
    model_id="Digits_PGD10",
    dataset="digits",
    threat_models=("Linf",),
    sha256=_SHA256,
    bytes=145_832,
    licence="Apache-2.0",
)
EXAMPLES: tuple[BaseModel, ...] = (
    _ACCOUNT,
    NewAccountAnswer(account=_ACCOUNT, link=None),
    AccountList(accounts=(_ACCOUNT,)),
    _TOKEN,
    NewToken(token=_TOKEN, secret="gnt_9f…"),  # noqa: S106 (an example)
    TokenList(tokens=(_TOKEN,)),
    SUBMISSION,
    SubmissionList(submissions=(SUBMISSION,)),
    LOG,
    BOARD,
    PROGRESS,
    BoardList(boards=(_SUMMARY,)),
    _COMPARISON,
    _MODEL,
    _REPORT,
    _REPORT.points,
    StoredStudy(sha256=_SHA256, study=_STUDY, pending=(Analysis.CURVE,), failed=()),
    _EXTERNAL,
    ExternalList(external_evaluations=(_EXTERNAL,)),
    ZooFileList(checkpoints=(_ZOO_FILE,)),
    _CLAIM,
    ClaimList(claims=(_CLAIM,)),
    _WEBHOOK,
    WebhookList(webhooks=(_WEBHOOK,)),
    NewWebhook(**_WEBHOOK.model_dump(), secret="9f2c…"),  # noqa: S106 (an example)
    NoticeList(notices=(_NOTICE,)),
    AuditList(records=(_RECORD,)),
    _QUEUE,
)
"""One of each kind; the description of the API shows it where the kind does not say one itself."""


def named() -> dict[str, object]:
    """Return the examples as JSON has them, by the names of their kinds."""
    examples: dict[str, object] = {type(example).__name__: example.model_dump(mode="json") for example in EXAMPLES}
    # Files of model information hold their numbers as texts, unlike the values that are read from them.
    return examples | {ModelInfo.__name__: json.loads(write_info(_ROW, _BOARD))}
