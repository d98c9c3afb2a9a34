"""Everything that the OpenAPI document allows and forbids, sent to a real service: it must keep to the document.

The requests are made by schemathesis from the document alone, with fixed seeds, so whatever is added to the API is
tried as soon as it is described.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import schemathesis
from pydantic import ValidationError
from schemathesis.checks import load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.core.transport import Response
from schemathesis.engine import Status, events, from_schema
from schemathesis.engine.recorder import CheckNode, ScenarioRecorder

from api.schemas import ErrorResponse
from store.actors import Role, Scope
from store.sign_in import create_token
from tests.api.callers import Caller, Person, a_person
from tests.api.objects import BOARD, CARD, REPORTED, Objects
from tests.api.test_authorisation import Stage, stage
from tests.running import Running

__all__ = ["stage"]

SEED = 20_260
EXAMPLES = 25
"""Random requests for each operation, besides those at the edges of each field."""
BUSY = (503, 507)
"""What a service may answer where it has no room: those of the 500s that the document tells of."""
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "allow_header_conformance",
    "unsupported_method",
)
INTERNALS = ("Traceback", "/site-packages/", "sqlalchemy", "sqlite", "psycopg", "pydantic", "argon2", ".py", "/tmp/")
SERVER_ITSELF = b"Invalid HTTP request received."
"""What uvicorn says of a request that is none; nothing of ours sees it."""


@dataclass
class Findings:
    """What came of all requests of a caller.

    Args:
        requests: how many there were.
        statuses: how often each status was answered.
        operations: the operations that were called.
        problems: what is wrong, each once.
    """

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    operations: set[str] = field(default_factory=set)
    problems: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, recorder: ScenarioRecorder) -> None:
        """Add a series of requests to one operation."""
        self.operations.add(recorder.label)
        for case_id, interaction in recorder.interactions.items():
            self.requests += 1
            sent = recorder.cases[case_id].value.as_curl_command()
            if interaction.response is None:
                self.problems.setdefault((recorder.label, "no answer"), sent)
                continue
            self.statuses[interaction.response.status_code] += 1
            for problem in problems_of(interaction.response):
                self.problems.setdefault((recorder.label, problem), sent)
        for checks in recorder.checks.values():
            for check in checks:
                if check.status is not Status.SUCCESS and not is_excused(recorder.label, check):
                    self.problems.setdefault((recorder.label, check.name), told(check))


def problems_of(response: Response) -> Iterator[str]:
    """Say what is wrong with an answer beyond what the document says of it."""
    if response.status_code < 400 or response.content == SERVER_ITSELF:
        return
    text = response.text
    for internal in INTERNALS:
        if internal in text:
            yield f"an error tells of {internal}"
    if response.status_code >= 500 and response.status_code not in BUSY:
        yield f"status {response.status_code}"
    if not response.content:
        return  # of HEAD
    try:
        ErrorResponse.model_validate_json(response.content, strict=True, extra="forbid")
    except ValidationError:
        yield "an error of another shape"


def is_excused(operation: str, check: CheckNode) -> bool:
    """Tell whether a check is about something that the document cannot say."""
    # The document calls a stream of events a text, and the check looks at each event as an object.
    if operation.endswith("/events") and check.name == "response_schema_conformance":
        return True
    # Of a request that names another host the document speaks once, for all addresses.
    return check.name == "status_code_conformance" and "Received: 421" in told(check)


def told(check: CheckNode) -> str:
    failure = check.failure_info
    assert failure is not None
    return f"{failure.failure.title}: {failure.failure.message}\n{failure.code_sample}"


def attack(service: Running, headers: dict[str, str], known: dict[str, list[str]]) -> Findings:
    """Send what the document allows and forbids.

    Args:
        service: where to.
        headers: how the caller shows who they are.
        known: for parameters of addresses and fields of bodies, values of things that are there.
    """
    load_all_checks()
    config = SchemathesisConfig.from_dict(
        {
            "seed": SEED,
            "headers": headers,
            "request-timeout": 30,
            "max-stream-events": 1,  # of a stream that does not end the first event is enough
            "continue-on-failure": True,
            "generation": {"max-examples": EXAMPLES, "deterministic": True, "no-shrink": True, "database": "none"},
            # The engine would find the caller's own token in an answer and revoke it.
            "phases": {
                "stateful": {"enabled": False},
                **{name: {"extra-data-sources": {"responses": False}} for name in ("examples", "coverage", "fuzzing")},
            },
            "checks": {
                "enabled": False,
                **{name: {"enabled": True} for name in CHECKS},
                "not_a_server_error": {"enabled": True, "expected-statuses": ["2xx", "3xx", "4xx", *map(str, BUSY)]},
            },
            "dictionaries": {name: {"values": values} for name, values in known.items()},
            "parameters": {name: {"dictionary": name, "probability": 0.7} for name in known},
        }
    )
    findings = Findings()
    schema = schemathesis.openapi.from_url(f"{service.url}/api/v1/openapi.json", config=config)
    for event in from_schema(schema).execute():
        assert not isinstance(event, events.FatalError), event
        if isinstance(event, events.NonFatalError):
            findings.problems[event.label, "an error of the tool"] = str(event.value)
        if isinstance(event, events.ScenarioFinished):
            findings.add(event.recorder)
    return findings


def things_of(objects: Objects, owner: Person) -> dict[str, list[str]]:
    """One of everything, so that not every request ends at an address that leads nowhere."""
    published = objects.published(owner)
    return {
        "path.dataset": [BOARD["dataset"], REPORTED["dataset"]],
        "path.threat_model": [BOARD["threat_model"]],
        "path.model_id": [objects.entry["model_id"], REPORTED["model_id"], published.name, objects.unverified(owner)],
        "path.submission_id": [
            objects.waiting(owner), objects.cancelled(owner), objects.undecided(owner), published.id,
            objects.withdrawn(owner), objects.published(owner, anonymous=True).id,
        ],
        "path.external_id": [objects.external["external_id"]],
        "path.number": [objects.look["number"]],
        "path.sha256": [CARD.sha256, objects.stored()],
        "path.name": [objects.account(), objects.account(Role.MAINTAINER)],
        "path.token_id": [objects.token(owner)],
        "path.webhook_id": [objects.webhook(owner)],
        "path.claim_id": [objects.claim()],
        "body.checkpoint_sha256": [CARD.sha256],
        "body.examples_sha256": [objects.stored()],
        "body.dataset": [BOARD["dataset"]],
        "body.threat_model": [BOARD["threat_model"]],
        "body.architecture": [CARD.architecture],
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("caller", [Caller.NOBODY, Caller.OWNER, Caller.MAINTAINER, Caller.ADMIN])
def test_the_service_keeps_to_its_description(stage: Stage, caller: Caller) -> None:
    service, objects = stage.strict, stage.objects
    person = a_person(service.services.db, caller)
    headers = {}
    if person.account_id:
        who = objects.actor(person)
        scopes = set(Scope) if who.moderates else set(Scope) - {Scope.MODERATE}
        headers = {"Authorization": f"Bearer {create_token(service.services.db, who, 'all', scopes)[1]}"}
    owner = person if person.account_id else objects.somebody
    findings = attack(service, headers, things_of(objects, owner))
    print(f"{findings.requests} requests as {caller}: {dict(sorted(findings.statuses.items()))}")  # noqa: T201 (-rP)
    described = service.http.get("/api/v1/openapi.json").json()["paths"]
    assert findings.operations == {f"{method.upper()} {path}" for path, item in described.items() for method in item}
    assert findings.statuses[200] > 100
    if headers:
        assert service.http.get("/api/v1/account", headers=headers).status_code == 200, (
            "the token was used up on the way"
        )
    report = [f"{operation}: {problem}\n{what}" for (operation, problem), what in findings.problems.items()]
    assert not report, "\n\n".join(report)
