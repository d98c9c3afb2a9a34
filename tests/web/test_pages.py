"""What holds for all pages: text stays text, errors are pages, and the rules explain every sign."""

from __future__ import annotations

import pytest

from benchmark.protocol_table import RANKING
from benchmark.rules import RULES, VERSION
from benchmark.threat_models import BOARDS
from store.views import Badge, ExtraData
from tests.running import Running
from tests.store.lowered import judge_examples, send_examples
from tests.web.html import read_page
from tests.web.material import HOSTILE, attack, publish
from web.glossary import TERMS
from web.pages.about import AboutPage, about_page
from web.pages.submit import Family, submit_page


def test_form(service: Running) -> None:
    page = submit_page(service.services, {"name": "x"})
    assert [board.name for board in page.boards] == ["digits/Linf", "digits/L2", "digits/corruptions"]
    known = service.services.admission.architectures("digits")
    assert page.families == (Family(dataset="digits", architectures=known),)
    assert page.kinds == tuple(ExtraData)
    assert page.values["name"] == "x"
    assert page.values["notes"] == ""
    assert page.problems == {}


def test_rules_explain_every_badge_and_flag(service: Running) -> None:
    assert about_page() == AboutPage(
        title="Rules",
        address="/about",
        version=VERSION,
        rules=RULES[VERSION],
        attacks=RANKING,
        terms=TERMS,
        boards=BOARDS,
    )
    page = read_page(service.http.get("/about").text)
    for key in (*Badge, "flagged", "not_assessed", "baseline", "extra_data"):
        assert page.find("div", id=str(key))
    for name in ("apgd-ce", "apgd-t", "fab-t", "square"):
        assert name in page.text
    for rule in RULES[VERSION]:
        assert rule.sentence in page.text
    for section in ("restrictions", "evidence", "seeds", "looks", "externals"):
        assert page.find("h2", id=section)


def test_hostile_names_stay_text_on_every_page(service: Running) -> None:
    fields: dict[str, object] = dict.fromkeys(("title", "authors", "venue", "notes", "licence"), HOSTILE)
    for name in ("A", "B", "C"):
        publish(service.services, name, **fields)
    texts = dict.fromkeys(("title", "authors", "attack"), HOSTILE)
    external = send_examples(service.services, "A", points=(499,), **texts)
    judge_examples(service.services, external, (499,))
    view, _ = attack(service.services, "D", **fields)
    for address in (
        "/",
        "/boards/digits/Linf",
        "/boards/digits/Linf?search=%3Cscript%3Ealert(1)%3C/script%3E%E2%80%AE%22%27",
        "/models/digits/Linf/A",
        "/models/digits/Linf/A/external",
        f"/external-evaluations/{external.id}",
        f"/submissions/{view.id}",
        "/submissions",
        "/models/digits/Linf/%3Cscript%3E%E2%80%AE",
        "/%3Cscript%3E%E2%80%AE",
        "/boards/%3Cscript%3E/%E2%80%AE",
        "/submissions/%3Cscript%3E%E2%80%AE",
        "/external-evaluations/%3Cscript%3E%E2%80%AE",
        "/models/digits/Linf/%3Cscript%3E%E2%80%AE/external",
        "/boards/digits/Linf?badge=%3Cscript%3E%E2%80%AE",
    ):
        text = service.http.get(address).text
        page = read_page(text)
        assert "\u202e" not in text, address
        assert all(found.get("src", "").startswith("/static/") for found in page.find("script")), address
    assert "<script>alert(1)</script><b>" in read_page(service.http.get("/models/digits/Linf/A").text).text


def test_static_files_change_their_address_with_their_content(service: Running) -> None:
    page = read_page(service.http.get("/").text)
    (sheet,) = [found["href"] for found in page.find("link", rel="stylesheet")]
    assert sheet.startswith("/static/style.css?v=")
    for found in (*page.find("link", rel="stylesheet"), *page.find("link", rel="icon")):
        assert service.http.get(found["href"]).status_code == 200


def test_a_reader_who_has_the_page_gets_no_second_copy(service: Running) -> None:
    first = service.http.get("/about")
    again = service.http.get("/about", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert service.http.get("/about", headers={"If-None-Match": 'W/"other"'}).status_code == 200


@pytest.mark.parametrize(
    ("method", "address", "status", "texts"),
    [
        ("GET", "/nothing", 404, ["There is nothing here", "/nothing", "check the address"]),
        ("GET", "/boards/digits/L7", 404, ["digits/L7", "choose one of the boards listed"]),
        ("GET", "/models/digits/Linf/nobody", 404, ["nobody", "choose one from the leaderboard"]),
        ("GET", "/submissions/0", 404, ["the id of a submission"]),
        ("GET", "/external-evaluations/0", 404, ["the id of an evaluation by others"]),
        ("GET", "/models/digits/Linf/nobody/external", 404, ["nobody", "choose one from the leaderboard"]),
        ("GET", "/models/digits/L7/nobody/external", 404, ["digits/L7", "choose one of the boards listed"]),
        ("POST", "/models/digits/Linf/nobody/external", 404, ["nobody", "choose one from the leaderboard"]),
        ("POST", "/submissions/0/cancel", 404, ["the id of a submission"]),
        ("DELETE", "/submit", 405, ["DELETE"]),
        ("GET", "/static/none.css", 404, ["There is nothing here"]),
    ],
)
def test_errors_are_pages(service: Running, method: str, address: str, status: int, texts: list[str]) -> None:
    response = service.http.request(method, address)
    assert response.status_code == status
    page = read_page(response.text)
    for text in texts:
        assert text in page.text
    assert page.find("a", href="/")


def test_a_failure_of_the_service_is_a_page_without_internals(
    service: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret /etc/path")

    monkeypatch.setattr("web.pages.home.list_boards", broken)
    response = service.http.get("/")
    assert response.status_code == 500
    page = read_page(response.text)
    assert "The service failed" in page.text
    assert "secret" not in response.text
