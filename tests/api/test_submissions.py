"""Submissions over HTTP: taken in, shown, cancelled, and refused with a reason."""

from __future__ import annotations

import json

import pytest

from model_zoo.registry import bundled_checkpoint, card
from tests.api.shape import assert_error
from tests.running import Running
from tests.store.material import fill_queue

CARD = card("Digits_Standard", "digits", "Linf")
ADDRESS = "/api/v1/submissions"


def fields(service: Running, **changes: object) -> dict[str, object]:
    """A sound submission of a bundled model, its checkpoint uploaded, with some fields changed or (None) left out."""
    assert service.put(bundled_checkpoint(CARD).read_bytes()).status_code in {200, 201}
    sound: dict[str, object] = {
        "name": "My model",
        "dataset": "digits",
        "threat_model": "Linf",
        "architecture": CARD.architecture,
        "checkpoint_sha256": CARD.sha256,
    }
    return {name: value for name, value in (sound | changes).items() if value is not None}


def count(service: Running) -> int:
    return len(service.http.get(ADDRESS).json()["submissions"])


def test_takes_a_submission_in_and_says_where_it_is(service: Running) -> None:
    sent = fields(service, title="A title", paper_url="https://example.org/a", claimed_robust_accuracy=0.5)
    response = service.http.post(ADDRESS, json=sent)
    assert response.status_code == 201
    view = response.json()
    assert view["state"] == "received"
    assert view["queue_position"] == 1
    assert {name: view["submission"][name] for name in sent} == sent
    assert [step["state"] for step in view["transitions"]] == ["received"]
    assert response.headers["location"] == f"{ADDRESS}/{view['id']}"
    assert service.http.get(response.headers["location"]).json() == view
    assert service.http.get(ADDRESS).json() == {"submissions": [view]}


def test_cancels_once(service: Running) -> None:
    submission = service.http.post(ADDRESS, json=fields(service)).json()["id"]
    response = service.http.post(f"{ADDRESS}/{submission}/cancel")
    assert response.status_code == 200
    assert response.json()["state"] == "cancelled"
    assert_error(service.http.post(f"{ADDRESS}/{submission}/cancel"), 409, "conflict", "state")


@pytest.mark.parametrize(
    ("changes", "status", "code", "field"),
    [
        ({"dataset": "digits2"}, 404, "not_found", "board"),
        ({"threat_model": "L7"}, 404, "not_found", "board"),
        ({"dataset": "cifar10"}, 422, "invalid_submission", "threat_model"),
        ({"architecture": "resnet-9000"}, 422, "invalid_submission", "architecture"),
        ({"checkpoint_sha256": "0" * 64}, 422, "invalid_submission", "checkpoint_sha256"),
        ({"checkpoint_sha256": "../../etc/passwd"}, 422, "invalid_submission", "checkpoint_sha256"),
        ({"name": None}, 422, "invalid_input", "name"),
        ({"checkpoint_sha256": None}, 422, "invalid_input", "checkpoint_sha256"),
        ({"name": ""}, 422, "invalid_submission", "name"),
        ({"name": "x" * 81}, 422, "invalid_submission", "name"),
        ({"name": "<script>alert(1)</script>"}, 422, "invalid_submission", "name"),
        ({"name": 5}, 422, "invalid_input", "name"),
        ({"name": ["a"]}, 422, "invalid_input", "name"),
        ({"claimed_robust_accuracy": "high"}, 422, "invalid_input", "claimed_robust_accuracy"),
        ({"claimed_robust_accuracy": 54.2}, 422, "invalid_submission", "claimed_robust_accuracy"),
        ({"claimed_standard_accuracy": -0.1}, 422, "invalid_submission", "claimed_standard_accuracy"),
        ({"extra_data": "plenty"}, 422, "invalid_input", "extra_data"),
        ({"paper_url": "javascript:alert(1)"}, 422, "invalid_submission", "paper_url"),
        ({"paper_url": "http://example.org"}, 422, "invalid_submission", "paper_url"),
        ({"paper_url": "file:///etc/passwd"}, 422, "invalid_submission", "paper_url"),
        ({"title": "x" * 301}, 422, "invalid_submission", "title"),
        ({"licence_": "MIT"}, 422, "invalid_input", "licence_"),
        ({"epsilon": 0.0001}, 422, "invalid_input", "epsilon"),
    ],
    ids=lambda value: "-".join(f"{k}={str(v)[:12]}" for k, v in value.items()) if isinstance(value, dict) else None,
)
def test_refuses_and_names_the_field(
    service: Running, changes: dict[str, object], status: int, code: str, field: str
) -> None:
    before = service.files() or [CARD.sha256]
    assert_error(service.http.post(ADDRESS, json=fields(service, **changes)), status, code, field)
    assert count(service) == 0
    assert service.files() == before


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ("{", 400, "body"),
        ("", 422, "body"),
        ("[]", 422, "body"),
        ("null", 422, "body"),
        ('"text"', 422, "body"),
        ("[" * 30_000, 400, "request"),
    ],
    ids=["cut", "empty", "list", "null", "text", "deep"],
)
def test_refuses_a_body_that_is_no_json_object(service: Running, body: str, status: int, field: str) -> None:
    response = service.http.post(ADDRESS, content=body, headers={"Content-Type": "application/json"})
    assert_error(response, status, "invalid_input", field)
    assert count(service) == 0


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999"])
def test_refuses_claims_that_are_no_numbers(service: Running, text: str) -> None:
    body = json.dumps(fields(service, claimed_robust_accuracy=0.5)).replace("0.5", text)
    response = service.http.post(ADDRESS, content=body, headers={"Content-Type": "application/json"})
    assert_error(response, 422, "invalid_submission", "claimed_robust_accuracy")
    assert count(service) == 0


@pytest.mark.parametrize(
    ("field", "status", "named"),
    [("dataset", 404, "board"), ("architecture", 422, "architecture"), ("extra_data", 422, "extra_data")],
)
def test_says_so_where_it_finds_half_a_character(service: Running, field: str, status: int, named: str) -> None:
    body = json.dumps(fields(service, **{field: "HERE"})).replace("HERE", "\\ud800")
    response = service.http.post(ADDRESS, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == status
    assert response.json()["error"]["detail"]["field"] == named
    assert "ud800" in ascii(response.json()["error"]["detail"]["found"])


def test_refuses_a_form_where_json_is_due(service: Running) -> None:
    response = service.http.post(ADDRESS, data={"name": "x"})
    assert_error(response, 422, "invalid_input", "body")


def test_refuses_a_body_above_64_kib(service: Running) -> None:
    response = service.http.post(ADDRESS, json=fields(service, notes="x" * 70_000))
    assert_error(response, 413, "too_large", "body")
    body = json.dumps(fields(service, notes="x" * 70_000)).encode()
    pieces = (body[i : i + 1000] for i in range(0, len(body), 1000))
    response = service.http.post(ADDRESS, content=pieces, headers={"Content-Type": "application/json"})
    assert_error(response, 413, "too_large", "body")
    assert count(service) == 0


def test_refuses_a_name_that_is_taken(service: Running) -> None:
    assert service.http.post(ADDRESS, json=fields(service)).status_code == 201
    assert_error(service.http.post(ADDRESS, json=fields(service)), 409, "conflict", "name")
    assert count(service) == 1
    assert service.http.post(ADDRESS, json=fields(service, threat_model="L2")).status_code == 201


def test_knows_no_submission_of_another_id(service: Running) -> None:
    for submission in ("0", "x" * 100, "%00", "..", "%F0%9F%92%A9"):
        response = service.http.get(f"{ADDRESS}/{submission}")
        assert response.status_code == 404, submission
        assert response.json()["error"]["code"] == "not_found"
    assert_error(service.http.post(f"{ADDRESS}/0/cancel"), 404, "not_found", "submission")


@pytest.mark.parametrize("limit", ["0", "-1", "501", "many"])
def test_refuses_an_impossible_limit(service: Running, limit: str) -> None:
    assert_error(service.http.get(ADDRESS, params={"limit": limit}), 422, "invalid_input", "limit")


def test_a_full_queue_is_the_services_trouble_not_the_requests(service: Running) -> None:
    fill_queue(service.services.db)
    response = service.http.post(ADDRESS, json=fields(service))
    assert_error(response, 503, "queue_full")
    assert "Try again later" in response.json()["error"]["message"]
