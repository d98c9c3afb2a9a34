"""What pages of other sites cannot do, on any route; and the headers that every answer bears, whatever it says."""

from __future__ import annotations

import json

import httpx
import pytest

from api.events import Streams
from gauntlet.guards import CONTENT_SECURITY_POLICY
from tests.api.access import API, MODEL, TABLE, Line
from tests.api.callers import COOKIE, Caller, a_person
from tests.api.objects import Request
from tests.api.test_authorisation import Stage, stage

__all__ = ["stage"]

ELSEWHERE = "https://elsewhere.example"
FOREIGN = (
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
    {"Sec-Fetch-Site": "", "Origin": ELSEWHERE},
    {"Sec-Fetch-Site": "same-origin, cross-site"},
    {"Origin": ELSEWHERE},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": f"{ELSEWHERE}, http://127.0.0.1"},
)
CHANGING = sorted({(line.method, line.template) for line in TABLE} - {
    (line.method, line.template) for line in TABLE if line.method in {"GET", "HEAD"}
})  # fmt: skip
BEARERS = ("content-security-policy", "x-content-type-options", "referrer-policy", "cross-origin-opener-policy")


def assert_headers(answer: httpx.Response) -> None:
    """Check what every answer bears, each once."""
    for name in BEARERS:
        assert len(answer.headers.get_list(name)) == 1, (name, str(answer.request.url), answer.status_code)
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] in {"same-origin", "strict-origin"}
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert not any(name.startswith("access-control-") for name in answer.headers)


def filled(template: str) -> str:
    """An address of a route, where nothing is."""
    return Request(dict.fromkeys(PLACES, "0" * 64)).address(template)


PLACES = frozenset(part.split("}")[0] for line in TABLE for part in line.template.split("{")[1:])


def test_no_page_of_another_site_changes_anything(stage: Stage) -> None:
    service = stage.strict
    person = a_person(service.services.db, Caller.ADMIN)
    before = stage.everything()
    for method, template in CHANGING:
        for headers in FOREIGN:
            answer = service.http.request(
                method, filled(template), headers=person.headers | headers, data={"name": "x"}
            )
            assert answer.status_code == 403, (method, template, headers)
            if template.startswith(API):
                assert answer.json()["error"]["code"] == "cross_site_request"
            assert_headers(answer)
            assert "set-cookie" not in answer.headers
    assert stage.everything() == before
    print(f"{len(CHANGING)} routes that change something, {len(CHANGING) * len(FOREIGN)} requests")  # noqa: T201 (-rP)


def test_no_form_of_another_site_passes_for_json(stage: Stage) -> None:
    """Browsers send these three kinds without asking first; even if they did not say from where, none would be read."""
    service = stage.strict
    person = a_person(service.services.db, Caller.ADMIN)
    described = service.http.get(f"{API}/openapi.json").json()["paths"]
    lines = [line for line in TABLE if "requestBody" in described.get(line.template, {}).get(line.method.lower(), {})]
    for line in lines:
        request = line.make(stage.objects, stage.objects.somebody)
        if request.json is None:
            continue
        before = stage.everything()
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
            answer = service.http.request(
                line.method,
                request.address(line.template),
                content=json.dumps(request.json),
                headers=person.headers | {"Content-Type": kind},
            )
            assert answer.status_code in {400, 415, 422}, (str(line), kind, answer.status_code)
        assert stage.everything() == before, str(line)


@pytest.mark.slow
def test_reading_changes_nothing(stage: Stage) -> None:
    for line in [line for line in TABLE if line.method == "GET"]:
        person = stage.person(Caller.ADMIN)
        request = line.make(stage.objects, person)
        before = stage.everything()
        assert_headers(stage.send(Caller.ADMIN, person, line, request))
        assert stage.everything() == before, str(line)


@pytest.mark.parametrize("caller", [Caller.NOBODY, Caller.OWNER])
def test_every_answer_bears_the_headers(stage: Stage, caller: Caller) -> None:
    person = a_person(stage.strict.services.db, caller)
    for line in TABLE:
        method = line.method if line.template != "/account/sign-out-everywhere" else "GET"
        for place in ("0" * 64, "%00%E2%80%AE", "x" * 2_000):
            address = Request(dict.fromkeys(PLACES, "y")).address(line.template).replace("y", place)
            answer = stage.strict.http.request(method, address, headers=person.headers, content=b"\xff{")
            assert_headers(answer)
            assert "traceback" not in answer.text.lower()


def test_answers_of_every_kind_bear_the_headers(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    service, http = stage.strict, stage.strict.http
    board = f"{API}/leaderboards/digits/Linf"
    weights = Request(stage.objects.entry).address(f"{API}{MODEL}/checkpoint")
    waiting, cancelled = (make(stage.objects.somebody) for make in (stage.objects.waiting, stage.objects.cancelled))
    admin = stage.person(Caller.ADMIN).headers
    asked: list[tuple[int, httpx.Response]] = [
        (304, http.get(board, headers={"If-None-Match": http.get(board).headers["etag"]})),
        (304, http.get("/about", headers={"If-None-Match": http.get("/about").headers["etag"]})),
        (304, http.get("/static/style.css", headers={"If-None-Match": http.get("/static/style.css").headers["etag"]})),
        (404, http.get("/static/../gauntlet.sqlite")),
        (200, http.get(board, headers={"Accept-Encoding": "gzip"})),
        (200, http.head(board)),
        (206, http.get(weights, headers={"Range": "bytes=0-1"})),
        (416, http.get(weights, headers={"Range": "bytes=999-"})),
        (200, http.get(f"{API}/dump")),
        (200, http.get(f"{API}/submissions/{cancelled}/events", headers=admin)),
        (404, http.get(f"{API}/submissions/{waiting}/events")),
        (303, http.get("/account")),
        (401, http.get("/", headers={"Authorization": "Bearer gnt_none"})),
        (421, http.get("/", headers={"Host": "elsewhere.example"})),
        (413, http.post("/sign-in", content=b"x" * 100_000)),
        (405, http.delete("/")),
        (400, http.post(f"{API}/accounts", content=b"{", headers={"Content-Type": "application/json"})),
    ]  # fmt: skip
    monkeypatch.setattr(service.app.state, "streams", Streams(most=0))
    asked.append((503, http.get(f"{API}/submissions/{waiting}/events", headers=admin)))
    monkeypatch.setattr("api.routes.leaderboards.list_boards", lambda *_: 1 / 0)
    asked.append((500, http.get(f"{API}/leaderboards")))
    assert [(status, answer.status_code) for status, answer in asked] == [(status, status) for status, _ in asked]
    for _, answer in asked:
        assert_headers(answer)


def test_cookies_have_every_attribute_whatever_sets_and_ends_them(stage: Stage) -> None:
    http = stage.strict.http
    for https in (False, True):
        name = f"__Host-{COOKIE}" if https else COOKIE
        scheme = {"X-Forwarded-Proto": "https"} if https else {}
        begun = [
            send(stage, line, scheme)
            for line in TABLE
            if (line.method, line.template) in {("POST", "/sign-in"), ("POST", "/register"), ("POST", "/welcome")}
        ]
        ended = [http.post("/sign-out", headers=scheme), http.get("/", headers=scheme | {"Cookie": f"{name}=none"})]
        for answer in (*begun, *ended):
            (cookie,) = answer.headers.get_list("set-cookie")
            value, *attributes = cookie.split("; ")
            age = 0 if answer in ended else 30 * 24 * 3600
            assert value.startswith(f"{name}="), cookie
            expected = {"Path=/", f"Max-Age={age}", "HttpOnly", "SameSite=Lax"} | ({"Secure"} if https else set())
            assert set(attributes) == expected, cookie
            assert ("strict-transport-security" in answer.headers) is https
            assert "no-store" in answer.headers["cache-control"]
        assert len({answer.headers["set-cookie"] for answer in begun}) == 3
        http.cookies.clear()


def send(stage: Stage, line: Line, headers: dict[str, str]) -> httpx.Response:
    request = line.make(stage.objects, stage.objects.somebody)
    person = stage.person(Caller.NOBODY)
    return stage.send(Caller.NOBODY, person, line, Request(form=request.form, headers=headers))
