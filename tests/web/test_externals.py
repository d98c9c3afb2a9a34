"""Examples of others by form: taken in without a script, refused with everything still filled in, and then judged."""

from __future__ import annotations

import io
import socket
from collections.abc import Mapping

import httpx
import numpy as np
import pytest

from benchmark.verdicts import Verdict
from store.claims import fail_attempt
from store.externals import MAX_OPEN_EACH, get_external
from store.views import ExternalView
from tests.running import MAX_CHECKPOINT_BYTES, Running, read_all
from tests.store.lowered import judge_examples, send_examples
from tests.store.material import must_claim, published
from tests.web.forms import CONTENT_TYPE, body, field, file
from tests.web.html import PageReader, read_page
from tests.web.material import questions
from web.pages.external import LIMITS, ExternalFormPage, external_form_page
from web.pages.external_evaluation import ExternalPage, external_page

NAME = "Method A"
ENTRY = "/models/digits/Linf/Method%20A"
REPORTED = "/models/cifar10/Linf/Amini2024MeanSparse_S-WRN-94-16"
SOUND: Mapping[str, str] = {
    "points": "3, 10-11",
    "attack": "MultiTargeted, 20 restarts\non the logits",
    "title": "A title",
    "authors": "Jane Doe",
    "paper_url": "https://example.org/paper",
    "claimed_robust_accuracy": "0.9",
}


def images(count: int = 3, *, pixels: int = 8) -> bytes:
    """A .npy file of so many black images."""
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((count, 1, pixels, pixels), np.float32))
    return buffer.getvalue()


@pytest.fixture
def evaluated(service: Running) -> Running:
    """A service with one entry."""
    published(service.services.db, service.services.blobs, NAME)
    return service


def send(
    service: Running, changes: Mapping[str, str] | None = None, content: bytes | None = None, entry: str = ENTRY
) -> httpx.Response:
    """Send the form as a browser without scripts does."""
    data = {**SOUND, **(changes or {})}
    return service.http.post(f"{entry}/external", data=data, files={"examples": ("x_adv.npy", content or images())})


def externals(service: Running) -> list[dict[str, object]]:
    found = service.http.get(f"/api/v1{ENTRY}/external-evaluations").json()["external_evaluations"]
    assert isinstance(found, list)
    return found


def problem_of(page: PageReader, name: str) -> bool:
    """Whether the error stands at its field, and the field says so to a screen reader."""
    described = [
        found.get("aria-describedby", "").split()
        for tag, found in page.elements
        if tag in {"input", "textarea"} and found.get("name") == name and found.get("aria-invalid") == "true"
    ]
    return any(f"problem-{name}" in ids for ids in described)


def test_takes_examples_in(evaluated: Running) -> None:
    response = send(evaluated)
    assert response.status_code == 303
    (view,) = map(ExternalView.model_validate, externals(evaluated))
    assert response.headers["location"] == f"/external-evaluations/{view.id}"
    sent = view.submitted
    assert sent.points == (3, 10, 11)
    assert sent.claimed_robust_accuracy == 0.9
    for name in ("attack", "title", "authors", "paper_url"):
        assert getattr(sent, name) == SOUND[name]
    assert evaluated.services.blobs.read(sent.examples_sha256) == images()
    page = read_page(evaluated.http.get(response.headers["location"]).text)
    for text in ("Waiting to be judged", "3: 3, 10-11", "on the logits", "Jane Doe", "90.00"):
        assert text in page.text


def test_takes_examples_for_all_points_where_none_are_named(evaluated: Running) -> None:
    response = send(evaluated, {"points": " \n"}, images(500))
    assert response.status_code == 303
    (view,) = map(ExternalView.model_validate, externals(evaluated))
    assert view.submitted.points is None


@pytest.mark.parametrize(
    ("changes", "status", "name"),
    [
        ({"points": "1, x, 3"}, 422, "points"),
        ({"points": "3, 1, 2"}, 422, "points"),
        ({"points": "1, 1, 2"}, 422, "points"),
        ({"points": "498-500"}, 422, "points"),
        ({"points": "0-999999999"}, 422, "points"),
        ({"points": ","}, 422, "points"),
        ({"points": "1 " * 60_000}, 413, "points"),
        ({"attack": "", "title": ""}, 422, "attack"),
        ({"attack": "x" * 2_001}, 422, "attack"),
        ({"attack": "x" * 16_001}, 413, "attack"),
        ({"title": "x" * 301}, 422, "title"),
        ({"authors": "x" * 501}, 422, "authors"),
        ({"paper_url": "javascript:alert(1)"}, 422, "paper_url"),
        ({"paper_url": "http://example.org"}, 422, "paper_url"),
        ({"claimed_robust_accuracy": "high"}, 422, "claimed_robust_accuracy"),
        ({"claimed_robust_accuracy": "nan"}, 422, "claimed_robust_accuracy"),
        ({"claimed_robust_accuracy": "62"}, 422, "claimed_robust_accuracy"),
    ],
    ids=lambda value: "-".join(f"{k}={v[:12]}" for k, v in value.items()) if isinstance(value, dict) else None,
)
def test_refuses_at_the_field_and_keeps_every_word(
    evaluated: Running, changes: dict[str, str], status: int, name: str
) -> None:
    before = evaluated.files()
    response = send(evaluated, changes)
    assert response.status_code == status
    page = read_page(response.text)
    assert problem_of(page, name)
    assert externals(evaluated) == []
    assert evaluated.files() == before
    sent = {**SOUND, **changes}
    kept = {found["name"]: found["value"] for found in page.find("input") if found.get("type") != "file"}
    for known, value in kept.items():
        if status == 422 or known != name:
            assert value == sent[known]
    for known in {"points", "attack"} - {name}:
        assert sent[known] in page.text
    assert "x_adv.npy" in page.text


def test_names_everything_that_is_wrong_at_once(evaluated: Running) -> None:
    before = evaluated.files()
    wrong = {
        "points": "498-500",
        "attack": "x" * 2_001,
        "title": "x" * 301,
        "authors": "x" * 501,
        "paper_url": "http://example.org",
        "claimed_robust_accuracy": "62",
    }
    response = evaluated.http.post(
        f"{ENTRY}/external",
        content=body([*(field(name, value) for name, value in wrong.items()), file(b"", filename="", name="examples")]),
        headers={"Content-Type": CONTENT_TYPE},
    )
    assert response.status_code == 422
    page = read_page(response.text)
    assert [name for name in ("examples", *LIMITS) if problem_of(page, name)] == ["examples", *LIMITS]
    assert evaluated.files() == before


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (images(2), 422),
        (images(500), 422),
        (images(pixels=9), 422),
        (images()[:-1], 422),
        (b"\0", 422),
        (b"PK\x03\x04" + bytes(100), 422),
        (bytes(MAX_CHECKPOINT_BYTES + 1), 413),
    ],
    ids=["too-few", "too-many", "size", "cut", "byte", "zip", "large"],
)
def test_refuses_a_file_that_does_not_fit_and_keeps_nothing_of_it(
    evaluated: Running, content: bytes, status: int
) -> None:
    before = evaluated.files()
    response = send(evaluated, content=content)
    assert response.status_code == status
    assert problem_of(read_page(response.text), "examples")
    assert evaluated.files() == before
    assert externals(evaluated) == []


def test_a_full_queue_gives_the_form_back_and_keeps_no_file(evaluated: Running) -> None:
    for _ in range(MAX_OPEN_EACH):
        assert send(evaluated).status_code == 303
    before = evaluated.files()
    response = send(evaluated, content=images(3)[:-4] + b"\0\0\0?")
    assert response.status_code == 503
    assert "Too many of your evaluations are waiting" in response.text
    assert SOUND["title"] in response.text
    assert evaluated.files() == before


def test_keeps_nothing_of_an_upload_that_breaks_off(evaluated: Running) -> None:
    before = evaluated.files()
    content = body([field("attack", "x"), file(images(), name="examples")])
    head = f"POST {ENTRY}/external HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {CONTENT_TYPE}\r\n"
    with socket.create_connection(("127.0.0.1", evaluated.port)) as connection:
        connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content[:-500])
        connection.shutdown(socket.SHUT_WR)
        assert b" 303 " not in read_all(connection)
    assert evaluated.files() == before
    assert externals(evaluated) == []


def test_refuses_what_another_site_sends(evaluated: Running) -> None:
    before = evaluated.files()
    content = body([field("attack", "x"), file(images(), name="examples")])
    headers = {"Content-Type": CONTENT_TYPE, "Sec-Fetch-Site": "cross-site"}
    assert evaluated.http.post(f"{ENTRY}/external", content=content, headers=headers).status_code == 403
    assert evaluated.files() == before


def test_an_entry_from_elsewhere_has_no_form_and_says_why(service: Running) -> None:
    place = ("cifar10", "Linf", "Amini2024MeanSparse_S-WRN-94-16")
    page = external_form_page(service.services, place, {})
    assert page.points is None
    assert page.reason == "submit the model first: examples can only be judged where its checkpoint is"
    shown = read_page(service.http.get(f"{REPORTED}/external").text)
    assert page.reason in shown.text
    assert not shown.find("form")
    response = send(service, entry=REPORTED)
    assert response.status_code == 409
    assert "examples can only be judged where its checkpoint is" in read_page(response.text).text
    assert service.files() == []


def test_the_empty_form_says_what_is_wanted(evaluated: Running) -> None:
    assert external_form_page(evaluated.services, ("digits", "Linf", NAME), {"title": "x"}) == ExternalFormPage(
        title="Examples for Method A",
        model_id=NAME,
        board_title="UCI digits, Linf 0.2",
        epsilon="1/5",
        address=ENTRY,
        points=500,
        reason="",
        longest={"attack": 2_000, "title": 300, "authors": 500, "paper_url": 500},
        max_bytes=MAX_CHECKPOINT_BYTES,
        values={**dict.fromkeys(LIMITS, ""), "title": "x"},
        problems={},
        filename="",
    )
    page = read_page(evaluated.http.get(f"{ENTRY}/external").text)
    assert page.find("form", method="post", action=f"{ENTRY}/external", enctype="multipart/form-data")
    assert page.find("input", name="examples", accept=".npy,.safetensors")
    assert "500 points" in page.text


def test_its_page_waits_and_then_tells_what_was_found(evaluated: Running) -> None:
    sent = send_examples(evaluated.services, NAME, points=(100, 101, 499), title="A title", authors="Jane Doe")
    address = f"/external-evaluations/{sent.id}"
    assert external_page(evaluated.services, sent.id) == ExternalPage(
        title="Examples for Method A",
        refresh_s=3,
        view=sent,
        summary="The examples are still to be judged. You may close this page and come back.",
        points="100-101, 499",
        model_address=ENTRY,
    )
    page = read_page(evaluated.http.get(address).text)
    assert page.find("meta", http_equiv="refresh", content="3")
    assert page.find("div", data_live=f"/api/v1{address}", data_state="running")
    view = judge_examples(evaluated.services, sent, (100, 101, 499))
    page = read_page(evaluated.http.get(address).text)
    assert not page.find("meta", http_equiv="refresh")
    assert page.find("div", data_live=f"/api/v1{address}", data_state="ended")
    assert view.reason in page.text
    for text in ("Verified", "97.40", "Newly broken", "100-101, 499", "Jane Doe"):
        assert text in page.text
    assert page.find("a", href=f"{ENTRY}#externals")
    assert view.id in evaluated.http.get(ENTRY).text


def test_a_claim_that_does_not_hold_is_refused_with_its_counts(evaluated: Running) -> None:
    sent = send_examples(evaluated.services, NAME, claimed_robust_accuracy=0.5)
    view = judge_examples(evaluated.services, sent, (100, 101))
    assert view.counts[Verdict.CLASSIFIED_CORRECTLY] == 498
    page = read_page(evaluated.http.get(f"/external-evaluations/{sent.id}").text)
    for text in ("Refused", view.reason, "498", "97.60", "claimed: 50.00"):
        assert text in page.text
    assert "2 hold, 498 classified correctly" in read_page(evaluated.http.get(ENTRY).text).text


def test_pages_ask_the_database_as_often_about_many_evaluations_as_about_one(evaluated: Running) -> None:
    asked: dict[str, set[int]] = {}
    for number in range(3):
        sent = send_examples(evaluated.services, NAME, points=(100 + number,))
        pages = {"entry": ENTRY, "form": f"{ENTRY}/external", "evaluation": f"/external-evaluations/{sent.id}"}
        for name, address in pages.items():
            with questions(evaluated.services) as found:
                assert evaluated.http.get(address).status_code == 200
            asked.setdefault(name, set()).add(len(found))
        judge_examples(evaluated.services, sent, (100 + number,))
    assert {name: len(counts) for name, counts in asked.items()} == {"entry": 1, "form": 1, "evaluation": 1}
    assert all(max(counts) <= 18 for counts in asked.values()), asked


def test_a_failure_of_the_service_is_not_blamed_on_the_examples(evaluated: Running) -> None:
    sent = send_examples(evaluated.services, NAME)
    fail_attempt(evaluated.services.db, must_claim(evaluated.services.db), "three workers were lost", "model")
    assert get_external(evaluated.services.db, sent.id).state.value == "failed"
    page = read_page(evaluated.http.get(f"/external-evaluations/{sent.id}").text)
    assert "The service failed, not your examples. Three workers were lost. Send them again" in page.text
