"""One shape for every error, whoever finds it."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy.exc import OperationalError

from benchmark.errors import GauntletError
from tests.api.shape import assert_error
from tests.running import Running


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v2/submissions", "/api/", "/api/v1/uploads"])
def test_unknown_addresses(service: Running, path: str) -> None:
    detail = assert_error(service.http.get(path), 404, "not_found", "address")
    assert path in detail["found"]


def test_unknown_methods(service: Running) -> None:
    response = service.http.delete("/api/v1/leaderboards")
    assert_error(response, 405, "method_not_allowed", "method")
    assert response.headers["allow"] == "GET"


def test_unexpected_failures_show_nothing_of_the_inside(
    service: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(*_arguments: object) -> None:
        raise RuntimeError("secret path /var/lib")

    monkeypatch.setattr("api.routes.leaderboards.list_boards", explode)
    with caplog.at_level(logging.ERROR):
        response = service.http.get("/api/v1/leaderboards")
    assert_error(response, 500, "internal_error")
    assert "secret" not in response.text
    assert "secret path /var/lib" in caplog.text
    assert response.headers["x-content-type-options"] == "nosniff"


def test_failures_of_the_service_itself_are_not_the_callers_fault(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise GauntletError("Something of ours failed.")

    monkeypatch.setattr("api.routes.leaderboards.list_boards", fail)
    assert_error(service.http.get("/api/v1/leaderboards"), 500, "gauntlet_error")


def test_a_database_that_does_not_answer_is_no_failure_of_the_program(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        raise OperationalError("SELECT secret", {}, Exception("connection refused at /var/run/secret"))

    monkeypatch.setattr("api.routes.leaderboards.list_boards", refuse)
    response = service.http.get("/api/v1/leaderboards")
    assert_error(response, 503, "database_unavailable")
    assert "secret" not in response.text


def test_the_openapi_document_describes_every_route_with_examples(service: Running) -> None:
    document = service.http.get("/api/v1/openapi.json").json()
    operations = {(method, path) for path, item in document["paths"].items() for method in item}
    assert operations == {
        ("get", "/healthz"),
        ("get", "/readyz"),
        ("get", "/api/v1/account"),
        ("patch", "/api/v1/account"),
        ("delete", "/api/v1/account"),
        ("post", "/api/v1/account/password"),
        ("get", "/api/v1/account/tokens"),
        ("post", "/api/v1/account/tokens"),
        ("delete", "/api/v1/account/tokens/{token_id}"),
        ("post", "/api/v1/accounts"),
        ("get", "/api/v1/accounts"),
        ("patch", "/api/v1/accounts/{name}"),
        ("post", "/api/v1/accounts/{name}/link"),
        ("delete", "/api/v1/submissions/{submission_id}/checkpoint"),
        ("get", "/api/v1/submissions/{submission_id}/events"),
        ("get", "/api/v1/submissions/{submission_id}/log"),
        ("get", "/api/v1/uploads/{sha256}/part"),
        ("put", "/api/v1/uploads/{sha256}"),
        ("get", "/api/v1/uploads/{sha256}"),
        ("get", "/api/v1/uploads/{sha256}/part"),
        ("post", "/api/v1/submissions"),
        ("get", "/api/v1/submissions"),
        ("get", "/api/v1/submissions/{submission_id}"),
        ("get", "/api/v1/submissions/{submission_id}/report"),
        ("post", "/api/v1/submissions/{submission_id}/cancel"),
        ("get", "/api/v1/submissions/{submission_id}/events"),
        ("get", "/api/v1/submissions/{submission_id}/log"),
        ("post", "/api/v1/submissions/{submission_id}/approve"),
        ("post", "/api/v1/submissions/{submission_id}/decline"),
        ("post", "/api/v1/submissions/{submission_id}/withdraw"),
        ("post", "/api/v1/submissions/{submission_id}/restore"),
        ("post", "/api/v1/submissions/{submission_id}/reveal"),
        ("post", "/api/v1/submissions/{submission_id}/re-evaluate"),
        ("post", "/api/v1/submissions/{submission_id}/analyse"),
        ("post", "/api/v1/submissions/{submission_id}/priority"),
        ("post", "/api/v1/submissions/{submission_id}/fail"),
        ("post", "/api/v1/submissions/{submission_id}/send-again"),
        ("get", "/api/v1/queue"),
        ("post", "/api/v1/queue/pieces/{piece}/requeue"),
        ("post", "/api/v1/queue/workers/{name}/drain"),
        ("post", "/api/v1/queue/workers/{name}/resume"),
        ("get", "/api/v1/audit"),
        ("get", "/api/v1/leaderboards"),
        ("get", "/api/v1/leaderboards/{dataset}/{threat_model}"),
        ("get", "/api/v1/leaderboards/{dataset}/{threat_model}/compare"),
        ("get", "/api/v1/leaderboards/{dataset}/{threat_model}/progress"),
        ("post", "/api/v1/leaderboards/{dataset}/{threat_model}/unverified"),
        ("delete", "/api/v1/leaderboards/{dataset}/{threat_model}/unverified/{model_id}"),
        ("get", "/api/v1/models/{dataset}/{threat_model}/{model_id}"),
        ("patch", "/api/v1/models/{dataset}/{threat_model}/{model_id}"),
        ("post", "/api/v1/models/{dataset}/{threat_model}/{model_id}/claims"),
        ("get", "/api/v1/claims"),
        ("post", "/api/v1/claims/{claim_id}/accept"),
        ("post", "/api/v1/claims/{claim_id}/decline"),
        ("get", "/api/v1/account/webhooks"),
        ("post", "/api/v1/account/webhooks"),
        ("delete", "/api/v1/account/webhooks/{webhook_id}"),
        ("post", "/api/v1/account/webhooks/{webhook_id}/ping"),
        ("get", "/api/v1/account/notices"),
        ("get", "/api/v1/models/{dataset}/{threat_model}/{model_id}/report"),
        ("get", "/api/v1/models/{dataset}/{threat_model}/{model_id}/points"),
        ("get", "/api/v1/models/{dataset}/{threat_model}/{model_id}/analyses"),
        ("get", "/api/v1/models/{dataset}/{threat_model}/{model_id}/model-info"),
        ("get", "/api/v1/models/{dataset}/{threat_model}/{model_id}/checkpoint"),
        ("get", "/api/v1/models/{dataset}/{threat_model}/{model_id}/looks/{number}/report"),
        ("post", "/api/v1/models/{dataset}/{threat_model}/{model_id}/external-evaluations"),
        ("get", "/api/v1/models/{dataset}/{threat_model}/{model_id}/external-evaluations"),
        ("get", "/api/v1/external-evaluations/{external_id}"),
        ("get", "/api/v1/dump"),
        ("get", "/api/v1/zoo/checkpoints"),
        ("get", "/api/v1/zoo/checkpoints/{sha256}"),
    }
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert operation["description"], (method, path)
            assert "HTTPValidationError" not in str(operation), (method, path)
            errors = [answer for status, answer in operation["responses"].items() if status >= "400"]
            assert errors, (method, path)
            assert all("ErrorResponse" in str(answer) for answer in errors), (method, path)
    entries = ("UnverifiedRequest", "EntryEdit", "ClaimRequest", "AcceptRequest", "DeclineRequest", "WebhookRequest")
    for request in ("SubmissionRequest", "ExternalRequest", "Reason", *entries):
        assert document["components"]["schemas"][request]["examples"]
    body = document["paths"]["/api/v1/uploads/{sha256}"]["put"]["requestBody"]
    assert list(body["content"]) == ["application/octet-stream"]


def test_there_is_no_page_that_loads_scripts_from_elsewhere(service: Running) -> None:
    assert '<script src="http' not in service.http.get("/docs").text
    assert service.http.get("/redoc").status_code == 404
