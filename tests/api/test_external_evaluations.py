"""Evaluations by others over HTTP: taken in, listed, shown, and refused with a reason."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from benchmark.report import EvaluationReport
from store.boards import get_model
from store.externals import MAX_OPEN_EACH, get_external
from tests.api.shape import assert_error
from tests.running import Running, safetensors
from tests.store.lowered import doubt, judge_examples, look_closer, send_examples
from tests.store.material import published

ENTRY = "/api/v1/models/digits/Linf/Method%20A"
ADDRESS = f"{ENTRY}/external-evaluations"


def images(count: int) -> bytes:
    """A .npy file of so many black images."""
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((count, 1, 8, 8), np.float32))
    return buffer.getvalue()


@pytest.fixture
def evaluated(service: Running) -> Running:
    """A service with one entry."""
    published(service.services.db, service.services.blobs, "Method A")
    return service


def fields(service: Running, **changes: object) -> dict[str, object]:
    """Sound examples of three points, uploaded, with some fields changed or (None) left out."""
    sha256 = service.put(images(3)).json()["sha256"]
    sound: dict[str, object] = {"examples_sha256": sha256, "points": [3, 10, 11], "attack": "by hand"}
    return {name: value for name, value in (sound | changes).items() if value is not None}


def listed(service: Running, **query: int) -> list[dict[str, object]]:
    found = service.http.get(ADDRESS, params=query).json()["external_evaluations"]
    assert isinstance(found, list)
    return found


def test_takes_examples_in_and_says_where_they_are(evaluated: Running) -> None:
    sent = fields(evaluated, title="A title", paper_url="https://example.org/a", claimed_robust_accuracy=0.5)
    response = evaluated.http.post(ADDRESS, json=sent)
    assert response.status_code == 201
    view = response.json()
    assert (view["state"], view["counts"], view["newly_broken"]) == ("queued", {}, None)
    assert {name: view["submitted"][name] for name in sent} == sent
    assert response.headers["location"] == f"/api/v1/external-evaluations/{view['id']}"
    assert evaluated.http.get(response.headers["location"]).json() == view
    assert listed(evaluated) == [view]


def test_tells_what_came_of_them(evaluated: Running) -> None:
    first = send_examples(evaluated.services, "Method A", points=(100, 499))
    judge_examples(evaluated.services, first, (100, 499))
    second = send_examples(evaluated.services, "Method A", claimed_robust_accuracy=0.1)
    judge_examples(evaluated.services, second, (7,))
    views = [get_external(evaluated.services.db, view.id).model_dump(mode="json") for view in (second, first)]
    assert [view["state"] for view in views] == ["refused", "verified"]
    assert listed(evaluated) == views
    assert listed(evaluated, limit=1) == views[:1]
    assert evaluated.http.get(f"/api/v1/external-evaluations/{first.id}").json() == views[1]
    assert evaluated.http.get(ENTRY).json()["externals"] == views[::-1]


def test_a_body_may_name_every_point_of_the_largest_board(evaluated: Running) -> None:
    many = fields(evaluated, points=list(range(10_000)), attack="\u4e2d" * 2_000)
    assert len(json.dumps(many, indent=1)) > 64 * 1024
    response = evaluated.http.post(ADDRESS, content=json.dumps(many), headers={"Content-Type": "application/json"})
    detail = assert_error(response, 422, "invalid_submission", "points")
    assert "0 to 499" in detail["expected"]
    response = evaluated.http.post(ADDRESS, json=fields(evaluated, attack="x" * 300_000))
    assert_error(response, 413, "too_large", "body")
    everything = evaluated.put(images(500)).json()["sha256"]
    sent = {"examples_sha256": everything, "points": list(range(500)), "attack": "x"}
    assert evaluated.http.post(ADDRESS, json=sent).status_code == 201


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"examples_sha256": "0" * 64}, "invalid_submission", "examples_sha256"),
        ({"examples_sha256": "../../etc/passwd"}, "invalid_submission", "examples_sha256"),
        ({"examples_sha256": None}, "invalid_input", "examples_sha256"),
        ({"points": [3, 10]}, "invalid_examples", "count"),
        ({"points": []}, "invalid_submission", "points"),
        ({"points": [10, 3, 11]}, "invalid_submission", "points"),
        ({"points": [3, 3, 11]}, "invalid_submission", "points"),
        ({"points": [-1, 3, 11]}, "invalid_submission", "points"),
        ({"points": [3, 10, 500]}, "invalid_submission", "points"),
        ({"points": [3, 10, 10**40]}, "invalid_submission", "points"),
        ({"points": "all"}, "invalid_input", "points"),
        ({"points": [3, 10.5, 11]}, "invalid_input", "points.1"),
        ({"attack": None}, "invalid_submission", "attack"),
        ({"attack": "x" * 2_001}, "invalid_submission", "attack"),
        ({"title": "x" * 301}, "invalid_submission", "title"),
        ({"authors": ["a"]}, "invalid_input", "authors"),
        ({"paper_url": "javascript:alert(1)"}, "invalid_submission", "paper_url"),
        ({"claimed_robust_accuracy": 54.2}, "invalid_submission", "claimed_robust_accuracy"),
        ({"claimed_robust_accuracy": "high"}, "invalid_input", "claimed_robust_accuracy"),
        ({"epsilon": 0.0001}, "invalid_input", "epsilon"),
    ],
    ids=lambda value: "-".join(f"{k}={str(v)[:12]}" for k, v in value.items()) if isinstance(value, dict) else None,
)
def test_refuses_and_names_the_field(evaluated: Running, changes: dict[str, object], code: str, field: str) -> None:
    assert_error(evaluated.http.post(ADDRESS, json=fields(evaluated, **changes)), 422, code, field)
    assert listed(evaluated) == []


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "1e999", '"NaN"'])
def test_refuses_a_claim_that_is_no_number(evaluated: Running, text: str) -> None:
    body = json.dumps(fields(evaluated, claimed_robust_accuracy=0.5)).replace("0.5", text)
    response = evaluated.http.post(ADDRESS, content=body, headers={"Content-Type": "application/json"})
    assert_error(response, 422, "invalid_submission", "claimed_robust_accuracy")
    assert listed(evaluated) == []


def test_a_checkpoint_holds_no_examples(evaluated: Running) -> None:
    sha256 = evaluated.put(safetensors()).json()["sha256"]
    response = evaluated.http.post(ADDRESS, json=fields(evaluated, examples_sha256=sha256))
    assert response.status_code == 422
    assert response.json()["error"]["code"] == "invalid_examples"


@pytest.mark.parametrize(("body", "status", "field"), [("{", 400, "body"), ("", 422, "body"), ("[]", 422, "body")])
def test_refuses_a_body_that_is_no_json_object(evaluated: Running, body: str, status: int, field: str) -> None:
    response = evaluated.http.post(ADDRESS, content=body, headers={"Content-Type": "application/json"})
    assert_error(response, status, "invalid_input", field)


def test_an_entry_from_elsewhere_takes_none(service: Running) -> None:
    address = "/api/v1/models/cifar10/Linf/Amini2024MeanSparse_S-WRN-94-16/external-evaluations"
    detail = assert_error(service.http.post(address, json=fields(service)), 409, "conflict", "model")
    assert "where its checkpoint is" in detail["remedy"]
    assert service.http.get(address).json() == {"external_evaluations": []}


def test_knows_no_others(evaluated: Running) -> None:
    for place in ("digits/Linf/nobody", "digits/L9/Method%20A", "%00/%00/%00"):
        address = f"/api/v1/models/{place}/external-evaluations"
        assert_error(evaluated.http.post(address, json=fields(evaluated)), 404, "not_found", "model")
        assert_error(evaluated.http.get(address), 404, "not_found", "model")
    for external in ("0", "x" * 100, "%00", "%F0%9F%92%A9"):
        response = evaluated.http.get(f"/api/v1/external-evaluations/{external}")
        assert_error(response, 404, "not_found", "external")
    for limit in ("0", "101", "many"):
        assert_error(evaluated.http.get(ADDRESS, params={"limit": limit}), 422, "invalid_input", "limit")


def test_a_full_queue_is_the_services_trouble_not_the_requests(evaluated: Running) -> None:
    sent = fields(evaluated)
    for _ in range(MAX_OPEN_EACH):
        assert evaluated.http.post(ADDRESS, json=sent).status_code == 201
    response = evaluated.http.post(ADDRESS, json=sent)
    assert_error(response, 503, "queue_full")
    assert len(listed(evaluated)) == MAX_OPEN_EACH


def test_gives_the_report_of_a_closer_look_once_it_is_done(service: Running) -> None:
    doubt(service.services, "Method A")
    (look,) = get_model(service.services.db, service.services.blobs, "digits", "Linf", "Method A").looks
    address = f"{ENTRY}/looks/{look.number}/report"
    assert_error(service.http.get(address), 404, "not_found", "look")
    assert service.http.get(ENTRY).json()["looks"][0]["seed"]["key"] is None
    look_closer(service.services, broken=5)
    answer = service.http.get(address)
    report = EvaluationReport.model_validate_json(answer.content)
    assert answer.content == report.to_bytes()
    assert (report.protocol, report.n_points, sum(report.points.robust)) == (
        look.protocol,
        look.points,
        look.points - 5,
    )
    for number in ("0", "-1", str(2**31), str(2**80), "x"):
        assert_error(service.http.get(f"{ENTRY}/looks/{number}/report"), 422, "invalid_input", "number")
    for other in (f"{ENTRY}/looks/{look.number + 100}", f"{ENTRY[:-1]}B/looks/{look.number}", f"{ENTRY}/looks/1"):
        assert_error(service.http.get(f"{other}/report"), 404, "not_found", "look")
