"""The form over a real connection: taken in without a script, refused with everything still filled in."""

from __future__ import annotations

import socket
from collections.abc import Mapping

import httpx
import pytest

from model_zoo.registry import bundled_checkpoint, card
from store.submissions import list_submissions
from tests.running import MAX_CHECKPOINT_BYTES, Running, read_all, safetensors
from tests.store.material import fill_queue
from tests.web.forms import BOUNDARY, CONTENT_TYPE, body, field, file
from tests.web.html import PageReader, read_page

CARD = card("Digits_Standard", "digits", "Linf")
SOUND: Mapping[str, str] = {
    "name": "My model",
    "board": "digits/Linf",
    "architecture": CARD.architecture,
    "title": "A title",
    "authors": "Jane Doe",
    "paper_url": "https://example.org/paper",
    "venue": "ICLR 2026",
    "extra_data": "synthetic",
    "claimed_standard_accuracy": "0.9",
    "claimed_robust_accuracy": "",
    "licence": "MIT",
    "notes": "first line\nsecond line",
}


def checkpoint() -> bytes:
    return bundled_checkpoint(CARD).read_bytes()


def send(service: Running, changes: Mapping[str, str] | None = None, content: bytes | None = None) -> httpx.Response:
    """Send the form as a browser without scripts does."""
    data = {**SOUND, **(changes or {})}
    return service.http.post("/submit", data=data, files={"checkpoint": ("m.safetensors", content or checkpoint())})


def problem_of(page: PageReader, name: str) -> bool:
    """Whether the error stands at its field, and the field says so to a screen reader."""
    described = [
        found.get("aria-describedby", "").split()
        for tag, found in page.elements
        if tag in {"input", "select", "textarea"} and found.get("name") == name and found.get("aria-invalid") == "true"
    ]
    return any(f"problem-{name}" in ids for ids in described)


def assert_refused(service: Running, response: httpx.Response, status: int, name: str) -> PageReader:
    assert response.status_code == status
    page = read_page(response.text)
    assert problem_of(page, name)
    assert list_submissions(service.services.db) == ()
    assert service.files() == []
    return page


def test_takes_a_submission_in(service: Running) -> None:
    response = send(service)
    assert response.status_code == 303
    (view,) = list_submissions(service.services.db)
    assert response.headers["location"] == f"/submissions/{view.id}"
    new = view.submission
    assert {name: getattr(new, name) for name in SOUND if name not in {"board", "claimed_robust_accuracy"}} == {
        **{name: value for name, value in SOUND.items() if name not in {"board", "claimed_robust_accuracy"}},
        "claimed_standard_accuracy": 0.9,
    }
    assert (new.dataset, new.threat_model, new.claimed_robust_accuracy) == ("digits", "Linf", None)
    assert new.checkpoint_sha256 == CARD.sha256
    assert service.files() == [CARD.sha256]
    assert "My model" in read_page(service.http.get(response.headers["location"]).text).text


@pytest.mark.parametrize(
    ("changes", "status", "name"),
    [
        ({"board": "digits/L7"}, 422, "board"),
        ({"board": "cifar10/Linf"}, 422, "board"),
        ({"board": ""}, 422, "board"),
        ({"architecture": "resnet-9000"}, 422, "architecture"),
        ({"architecture": ""}, 422, "architecture"),
        ({"name": ""}, 422, "name"),
        ({"name": "  "}, 422, "name"),
        ({"name": "<script>alert(1)</script>"}, 422, "name"),
        ({"name": "x" * 81}, 422, "name"),
        ({"name": "x" * 401}, 413, "name"),
        ({"paper_url": "javascript:alert(1)"}, 422, "paper_url"),
        ({"paper_url": "http://example.org"}, 422, "paper_url"),
        ({"extra_data": "plenty"}, 422, "extra_data"),
        ({"claimed_standard_accuracy": "high"}, 422, "claimed_standard_accuracy"),
        ({"claimed_standard_accuracy": "nan"}, 422, "claimed_standard_accuracy"),
        ({"claimed_robust_accuracy": "62"}, 422, "claimed_robust_accuracy"),
        ({"title": "x" * 301}, 422, "title"),
        ({"authors": "x" * 501}, 422, "authors"),
        ({"venue": "x" * 101}, 422, "venue"),
        ({"licence": "x" * 101}, 422, "licence"),
        ({"notes": "x" * 4_001}, 422, "notes"),
        ({"notes": "x" * 32_001}, 413, "notes"),
    ],
    ids=lambda value: "-".join(f"{k}={v[:12]}" for k, v in value.items()) if isinstance(value, dict) else None,
)
def test_refuses_at_the_field_and_keeps_every_word(
    service: Running, changes: dict[str, str], status: int, name: str
) -> None:
    page = assert_refused(service, send(service, changes), status, name)
    written = (found for found in page.find("input") if found.get("type") not in {"file", "checkbox"})
    kept = {found["name"]: found.get("value", "") for found in written}
    sent = {"embargo_until": "", **SOUND, **changes}
    for known, value in kept.items():
        if known != name:
            assert value == sent[known]
    if name != "board":
        assert next(found["value"] for found in page.find("option", selected="")) == sent["board"]
    if name != "notes":
        assert sent["notes"] in page.text
    assert "m.safetensors" in page.text
    if status == 422 and name in kept:
        assert kept[name] == sent[name]


def test_names_everything_that_is_missing_at_once(service: Running) -> None:
    content = body([field(name, "") for name in SOUND] + [file(b"", filename="")])
    response = service.http.post("/submit", content=content, headers={"Content-Type": CONTENT_TYPE})
    page = assert_refused(service, response, 422, "name")
    assert all(problem_of(page, name) for name in ("name", "board", "architecture", "checkpoint"))


def test_names_everything_that_is_wrong_at_once(service: Running) -> None:
    wrong = {
        "name": "<b>",
        "board": "digits/L7",
        "architecture": "resnet-9000",
        "paper_url": "http://example.org",
        "claimed_standard_accuracy": "high",
        "claimed_robust_accuracy": "62",
        "title": "x" * 301,
        "notes": "x" * 32_001,
    }
    page = assert_refused(service, send(service, wrong), 422, "name")
    assert [name for name in SOUND if problem_of(page, name)] == [name for name in SOUND if name in wrong]


@pytest.mark.parametrize(
    "content",
    [b"\0", checkpoint()[:-1], checkpoint()[:100], b"PK\x03\x04" + bytes(100), safetensors({"a": 1})],
    ids=["byte", "cut", "header-cut", "zip", "no-tensors"],
)
def test_refuses_a_checkpoint_that_is_none(service: Running, content: bytes) -> None:
    assert_refused(service, send(service, content=content), 422, "checkpoint")


def test_refuses_a_form_without_a_file(service: Running) -> None:
    response = service.http.post(
        "/submit",
        content=body([field(name, value) for name, value in SOUND.items()]),
        headers={"Content-Type": CONTENT_TYPE},
    )
    assert_refused(service, response, 422, "checkpoint")


def test_refuses_a_checkpoint_above_the_limit(service: Running) -> None:
    response = send(service, content=bytes(MAX_CHECKPOINT_BYTES + 1))
    page = assert_refused(service, response, 413, "checkpoint")
    assert page.find("input", name="name", value="My model")


def test_refuses_two_checkpoints(service: Running) -> None:
    parts = [*(field(name, value) for name, value in SOUND.items()), file(checkpoint()), file(checkpoint())]
    response = service.http.post("/submit", content=body(parts), headers={"Content-Type": CONTENT_TYPE})
    assert_refused(service, response, 422, "checkpoint")


def test_refuses_a_name_that_is_taken_and_keeps_no_second_file(service: Running) -> None:
    assert send(service).status_code == 303
    response = send(service, content=safetensors())
    assert response.status_code == 409
    assert problem_of(read_page(response.text), "name")
    assert len(list_submissions(service.services.db)) == 1
    assert service.files() == [CARD.sha256]


def test_a_refusal_leaves_a_file_alone_that_was_there_before(service: Running) -> None:
    service.services.blobs.put(checkpoint())
    assert send(service, {"name": ""}).status_code == 422
    assert service.files() == [CARD.sha256]


def test_refuses_a_form_that_ends_early(service: Running) -> None:
    content = body([field("name", "My model"), file(checkpoint())], closed=False)
    response = service.http.post("/submit", content=content, headers={"Content-Type": CONTENT_TYPE})
    assert response.status_code == 422
    page = read_page(response.text)
    assert "before its last boundary" in page.text
    assert page.find("input", name="name", value="My model")
    assert service.files() == []


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "multipart/form-data", f"multipart/form-data; boundary={'x' * 71}"]
)
def test_refuses_other_kinds_of_bodies(service: Running, kind: str) -> None:
    response = service.http.post("/submit", content=b"name=x", headers={"Content-Type": kind})
    assert response.status_code == 422
    assert "Content-Type" in read_page(response.text).text
    assert service.files() == []


def test_keeps_nothing_of_an_upload_that_breaks_off(service: Running) -> None:
    content = body([field("name", "My model"), file(checkpoint())])
    head = f"POST /submit HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {CONTENT_TYPE}\r\n"
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content[:-500])
        connection.shutdown(socket.SHUT_WR)
        assert b" 303 " not in read_all(connection)
    assert service.files() == []
    assert list_submissions(service.services.db) == ()


def test_refuses_what_another_site_sends(service: Running) -> None:
    content = body([field(name, value) for name, value in SOUND.items()] + [file(checkpoint())])
    headers = {"Content-Type": CONTENT_TYPE, "Sec-Fetch-Site": "cross-site"}
    response = service.http.post("/submit", content=content, headers=headers)
    assert response.status_code == 403
    read_page(response.text)
    assert service.files() == []


def test_the_empty_form_offers_the_boards_and_chooses_the_one_asked_for(service: Running) -> None:
    page = read_page(service.http.get("/submit", params={"board": "digits/L2"}).text)
    (chosen,) = [found["value"] for found in page.find("option", selected="") if "/" in found["value"]]
    assert chosen == "digits/L2"
    offered = {found["value"] for found in page.find("option") if "/" in found["value"]}
    assert offered == {"digits/Linf", "digits/L2", "digits/corruptions"}
    assert page.find("form", method="post", action="/submit", enctype="multipart/form-data")
    assert BOUNDARY not in page.text
    hostile = read_page(service.http.get("/submit", params={"board": '"><script>'}).text)
    assert not [found for found in hostile.find("option", selected="") if "/" in found["value"]]


def test_a_full_queue_gives_the_form_back_and_keeps_no_file(service: Running) -> None:
    fill_queue(service.services.db)
    response = send(service)
    assert response.status_code == 503
    assert "Try again later" in response.text
    assert SOUND["title"] in response.text
    assert service.files() == []


def test_whoever_presses_the_button_twice_learns_where_the_first_submission_is(service: Running) -> None:
    first, second = send(service), send(service)
    assert first.status_code == 303
    assert second.status_code == 409
    assert first.headers["location"].rpartition("/")[2] in second.text
