"""Every page shows exactly its typed context, and a browser without scripts can use it."""

from __future__ import annotations

import pytest

from benchmark.report import Check, CheckOutcome
from benchmark.threat_models import BOARDS
from store.boards import get_board, get_model, list_boards
from store.claims import fail_submission
from store.outcomes import finish_shard
from store.submissions import get_submission, list_submissions
from store.views import Badge, ExtraData, State
from tests.running import Running
from tests.store.material import check, shard_report
from tests.web.html import read_page
from tests.web.material import HOSTILE, PROGRESS, attack, publish, reject, take_in
from web.charts import Bar
from web.glossary import TERMS
from web.pages.about import AboutPage, about_page
from web.pages.board import BoardPage, BoardQuery, Sort, board_page
from web.pages.home import Card, Group, HomePage, home_page
from web.pages.model import Usage, model_page
from web.pages.submission import Step, SubmissionPage, submission_page
from web.pages.submissions import SubmissionsPage, submissions_page
from web.pages.submit import Family, submit_page
from web.rendering import as_html

REPORTED = ("cifar10", "Linf", "Amini2024MeanSparse_S-WRN-94-16")


def test_home_shows_all_boards_and_first_those_with_evaluations(service: Running) -> None:
    publish(service.services, "Method A")
    take_in(service.services, "Method B")
    boards = {(board.dataset, board.threat_model): board for board in list_boards(service.services.db)}
    in_order = {"digits": ("Linf", "L2"), "cifar10": ("Linf", "L2", "corruptions")}
    in_order |= {"cifar100": ("Linf", "corruptions"), "imagenet": ("Linf", "corruptions")}
    names = {"digits": "UCI digits", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet": "ImageNet"}
    assert home_page(service.services) == HomePage(
        title="Leaderboards",
        refresh_s=10,
        entries=237,
        evaluated_entries=1,
        groups=tuple(
            Group(
                dataset=dataset,
                name=names[dataset],
                points={"digits": 500, "imagenet": 5_000}.get(dataset, 10_000),
                evaluated_here=dataset == "digits",
                cards=tuple(
                    Card(board=boards[dataset, name], under_way=int((dataset, name) == ("digits", "Linf")))
                    for name in threat_models
                ),
            )
            for dataset, threat_models in in_order.items()
        ),
    )
    page = read_page(service.http.get("/").text)
    for board in BOARDS:
        assert page.find("a", href=f"/boards/{board.dataset}/{board.threat_model}")
    assert page.find("meta", http_equiv="refresh", content="10")
    assert "1 under way" in page.text
    assert "no guarantee of safety in deployment" in page.text
    assert "Evaluated here" in page.text
    assert "Reported" in page.text
    assert page.find("a", href="/submit")


def test_board_shows_its_rows_and_what_is_under_way(service: Running) -> None:
    publish(service.services, "Method A", extra_data="synthetic")
    view, _ = attack(service.services, "Method B")
    take_in(service.services, "Elsewhere", threat_model="L2")
    whole = get_board(service.services.db, "digits", "Linf")
    assert board_page(service.services, "digits", "Linf", BoardQuery()) == BoardPage(
        title="UCI digits, Linf 0.2",
        refresh_s=5,
        board=whole,
        query=BoardQuery(),
        total=1,
        hidden=0,
        running=(get_submission(service.services.db, view.id),),
        plot=None,
        json_address="/api/v1/leaderboards/digits/Linf",
        all_json_address="/api/v1/leaderboards/digits/Linf",
    )
    page = read_page(service.http.get("/boards/digits/Linf").text)
    assert page.find("meta", http_equiv="refresh", content="5")
    assert page.find("a", href=f"/submissions/{view.id}")
    assert not page.find("a", href="/submissions/Elsewhere")
    assert page.find("progress", max="2", value="1.500")
    assert "robust at most 75.60\u202f%" in page.text
    for text in ("98.00", "88.00", "±", "Synthetic", "Evaluated here, standard-1", "no flag", "tiny-cnn"):
        assert text in page.text


def test_board_stops_refreshing_when_nothing_is_under_way(service: Running) -> None:
    view, work = attack(service.services, "Method B")
    finish_shard(service.services.db, service.services.blobs, work, shard_report(work).to_bytes())
    page = read_page(service.http.get("/boards/digits/Linf").text)
    assert not page.find("meta", http_equiv="refresh")
    assert page.find("a", href="/models/digits/Linf/Method%20B")
    live = read_page(service.http.get(f"/submissions/{view.id}").text)
    assert not live.find("meta", http_equiv="refresh")
    assert live.find("a", href="/models/digits/Linf/Method%20B")


@pytest.mark.parametrize(("dataset", "threat_model"), [(board.dataset, board.threat_model) for board in BOARDS])
def test_every_board_reads_well_and_leads_to_all_its_entries(service: Running, dataset: str, threat_model: str) -> None:
    publish(service.services, "Method A")
    page = read_page(service.http.get(f"/boards/{dataset}/{threat_model}").text)
    rows = get_board(service.services.db, dataset, threat_model).rows
    assert len(page.find("th", scope="row", class_="model")) == len(rows)
    for row in rows:
        assert page.find("a", href=f"/models/{dataset}/{threat_model}/{row.model_id.replace(' ', '%20')}")
    assert page.find("a", href=f"/api/v1/leaderboards/{dataset}/{threat_model}")


def test_board_hides_by_filter_and_says_how_much(service: Running) -> None:
    query = BoardQuery.read("wang", "reported", "standard")
    page = board_page(service.services, "cifar10", "Linf", query)
    assert 0 < len(page.board.rows) < page.total == 99
    assert page.hidden == 99 - len(page.board.rows)
    assert all("wang" in f"{row.model_id} {row.authors} {row.title}".lower() for row in page.board.rows)
    standard = [row.standard_accuracy or 0 for row in page.board.rows]
    assert standard == sorted(standard, reverse=True)
    assert page.json_address == "/api/v1/leaderboards/cifar10/Linf?search=wang&badge=reported"
    assert service.http.get(page.json_address).json()["rows"]
    shown = read_page(service.http.get("/boards/cifar10/Linf?search=wang&badge=reported&sort=standard").text)
    assert f"{page.hidden} hidden by filters" in shown.text
    assert shown.find("a", href="/boards/cifar10/Linf?sort=standard", id="show-hidden")
    assert shown.find("input", name="search", value="wang")
    assert shown.find("option", value="reported", selected="")
    assert shown.find("th", aria_sort="descending")
    nothing = read_page(service.http.get("/boards/cifar10/Linf?badge=unverified").text)
    assert "99 hidden by filters" in nothing.text
    assert "No entry fits these filters" in nothing.text


@pytest.mark.parametrize("sort", list(Sort))
def test_board_sorts_and_keeps_everybody_s_rank(service: Running, sort: Sort) -> None:
    page = board_page(service.services, "cifar10", "Linf", BoardQuery(sort=sort))
    ranks = {row.model_id: row.rank for row in get_board(service.services.db, "cifar10", "Linf").rows}
    assert {row.model_id: row.rank for row in page.board.rows} == ranks
    rows = page.board.rows
    if sort is Sort.NAME:
        assert [row.title.casefold() for row in rows] == sorted(row.title.casefold() for row in rows)
    else:
        columns = {Sort.BEST: "best_known_robust_accuracy", Sort.STANDARD: "standard_accuracy"}
        numbers = [getattr(row, columns.get(sort, "robust_accuracy")) for row in rows]
        assert numbers == sorted(numbers, reverse=True)


@pytest.mark.parametrize(
    ("query", "field"), [("badge=gold", "badge"), ("sort=luck", "sort"), (f"search={'x' * 201}", "search")]
)
def test_board_refuses_unknown_choices(service: Running, query: str, field: str) -> None:
    response = service.http.get(f"/boards/cifar10/Linf?{query}")
    assert response.status_code == 422
    assert field in read_page(response.text).text


def test_model_shows_the_evidence_of_an_evaluation(service: Running) -> None:
    publish(service.services, "Method A", claimed_robust_accuracy=0.9)
    page = model_page(service.services, "digits", "Linf", "Method A")
    assert page.model == get_model(service.services.db, service.services.blobs, "digits", "Linf", "Method A")
    assert page.verdict == (
        "Two attacks, one after another, moving every image by at most 0.2 in \u2113\u221e, left 88.00\u202f% of the "
        "500 images correctly classified; without an attack it is 98.00\u202f%. No check found a symptom of "
        "misleading gradients."
    )
    assert page.evidence is not None
    assert page.evidence.waterfall == (
        Bar(label="no attack", kept=0.98, lost=1 - 0.98, note="10 of 500 misclassified"),
        Bar(label="apgd-ce", kept=0.88, lost=0.1, note="50 of 490 broken"),
        Bar(label="square", kept=0.88, lost=0.0, note="0 of 440 broken"),
    )
    assert [bar.note for bar in page.evidence.classes] == ["50 points"] * 10
    assert [(bar.kept, round(bar.lost, 9)) for bar in page.evidence.classes] == [(0.88, 0.1)] * 10
    assert [one.code for one in page.evidence.checks] == ["zero_gradient", "square_helps"]
    assert page.usage == Usage(
        load=None,
        reproduce="gauntlet evaluate model.safetensors --architecture tiny-cnn --dataset digits --threat-model Linf",
        note="The checkpoint is private: whoever has the file with the hash below can run this.",
    )
    assert page.unknown == ("authors", "venue", "paper", "kind of extra data")
    shown = read_page(service.http.get("/models/digits/Linf/Method%20A").text)
    report = page.evidence.report
    for text in (
        page.verdict,
        str(report.provenance.checkpoint_sha256),
        report.results_sha256(),
        "1\u202f234",
        "90.00",
    ):
        assert text in shown.text
    for part in ("report", "points"):
        address = f"/api/v1/models/digits/Linf/Method%20A/{part}"
        assert shown.find("a", href=address)
        assert service.http.get(address).status_code == 200
    assert len(shown.find("rect", class_="bar-kept")) == 3 + 10


def test_model_says_plainly_what_a_report_leaves_open(service: Running) -> None:
    page = model_page(service.services, *REPORTED)
    assert page.verdict == (
        "RobustBench, March 2025 reports 75.28\u202f% robust accuracy under attack, and 93.60\u202f% on clean images. "
        "An external evaluation lowered the best known value to 73.10\u202f%. This service has not run the model."
    )
    assert page.evidence is None
    assert page.usage.load is None
    assert page.unknown == (
        "number of parameters",
        "kind of extra data",
        "result of each attack",
        "verdict on each image",
        "accuracy by class",
        "findings of the checks",
        "uncertainty",
        "hash of the checkpoint",
        "seed",
        "versions and hardware",
        "time and passes",
    )
    shown = read_page(service.http.get("/models/" + "/".join(REPORTED)).text)
    assert "has not run the model" in shown.text
    assert "number of parameters" in shown.text
    assert shown.find("a", href="https://arxiv.org/abs/2406.05927", rel="nofollow noopener ugc external")


def test_model_names_the_mean_corruption_error(service: Running) -> None:
    shown = read_page(service.http.get("/models/imagenet/corruptions/Tian2022Deeper_DeiT-B").text)
    for text in ("67.55", "41.7", "65.90", "of corrupted images correctly classified"):
        assert text in shown.text
    assert "under attack" not in shown.text


def test_submission_under_attack(service: Running) -> None:
    made, _ = attack(service.services, "Method B", title="A title")
    view = get_submission(service.services.db, made.id)
    at = {step.state: step.at_ms for step in view.transitions}
    done = [Step(state=state, place="done", at_ms=at[state], reason="") for state in list(at)[:-1]]
    assert submission_page(service.services, made.id) == SubmissionPage(
        title="Method B · Submission",
        refresh_s=3,
        view=view,
        steps=(
            *done,
            Step(state=State.RUNNING, place="current", at_ms=at[State.RUNNING], reason=""),
            Step(state=State.EVALUATED, place="ahead", at_ms=None, reason=""),
            Step(state=State.PUBLISHED, place="ahead", at_ms=None, reason=""),
        ),
        summary="The attacks are at work. Robust accuracy is at most 75.60\u202f% so far.",
        overall=0.75,
        cancellable=True,
        model_address=None,
    )
    assert view.progress == PROGRESS
    page = read_page(service.http.get(f"/submissions/{made.id}").text)
    assert page.find("meta", http_equiv="refresh", content="3")
    for text in ("1 of 2", "122 of 500", "square", "75.60", "zero gradient", "Under attack"):
        assert text in page.text


def test_submission_waiting_tells_its_place(service: Running) -> None:
    take_in(service.services, "First")
    second = take_in(service.services, "Second")
    page = submission_page(service.services, second.id)
    assert page.summary == "Number 2 in the queue. Waiting for its check. You may close this page and come back."
    assert page.overall is None
    assert [step.place for step in page.steps] == ["current", *["ahead"] * 5]


def test_submission_is_cancelled_by_a_plain_form(service: Running) -> None:
    view = take_in(service.services, "Method C")
    page = read_page(service.http.get(f"/submissions/{view.id}").text)
    address = f"/submissions/{view.id}/cancel"
    assert page.find("form", method="post", action=address)
    response = service.http.post(address)
    assert (response.status_code, response.headers["location"]) == (303, f"/submissions/{view.id}")
    after = read_page(service.http.get(f"/submissions/{view.id}").text)
    assert "was cancelled" in after.text
    assert not after.find("form", action=address)
    assert not after.find("meta", http_equiv="refresh")
    again = service.http.post(address)
    assert again.status_code == 409
    assert "cancelled allows no further change" in read_page(again.text).text


def test_submission_says_whether_model_or_service_failed(service: Running) -> None:
    bad = reject(service.services, "Masked")
    page = read_page(service.http.get(f"/submissions/{bad.id}").text)
    assert "The model breaks a rule of the benchmark: zero gradient." in page.text
    assert "Cause: the model" in page.text
    unlucky = take_in(service.services, "Unlucky")
    with service.services.db.transaction() as session:
        fail_submission(session, unlucky.id, "three workers were lost", "service")
    page = read_page(service.http.get(f"/submissions/{unlucky.id}").text)
    assert "The service failed, not your model. Three workers were lost. Submit it again" in page.text
    assert "Cause: the service" in page.text


def test_list_of_submissions(service: Running) -> None:
    assert submissions_page(service.services) == SubmissionsPage(
        title="Submissions", refresh_s=None, submissions=(), limit=100
    )
    assert "Nothing has been submitted yet" in read_page(service.http.get("/submissions").text).text
    first, second = take_in(service.services, "First"), take_in(service.services, "Second")
    page = submissions_page(service.services)
    assert [view.id for view in page.submissions] == [second.id, first.id]
    assert page.submissions == list_submissions(service.services.db)
    assert page.refresh_s == 10
    shown = read_page(service.http.get("/submissions").text)
    assert shown.find("meta", http_equiv="refresh", content="10")
    assert shown.find("a", href=f"/submissions/{first.id}")


def test_form(service: Running) -> None:
    page = submit_page(service.services, {"name": "x"})
    assert [board.name for board in page.boards] == ["digits/Linf", "digits/L2"]
    known = service.services.admission.architectures("digits")
    assert page.families == (Family(dataset="digits", architectures=known),)
    assert page.kinds == tuple(ExtraData)
    assert page.values["name"] == "x"
    assert page.values["notes"] == ""
    assert page.problems == {}


def test_rules_explain_every_badge_and_flag(service: Running) -> None:
    assert about_page() == AboutPage(title="Rules", terms=TERMS, boards=BOARDS)
    page = read_page(service.http.get("/about").text)
    for key in (*Badge, "flagged", "not_assessed", "baseline", "extra_data"):
        assert page.find("div", id=str(key))
    for name in ("apgd-ce", "apgd-t", "fab-t", "square"):
        assert name in page.text


def test_hostile_names_stay_text_on_every_page(service: Running) -> None:
    fields: dict[str, object] = dict.fromkeys(("title", "authors", "venue", "notes", "licence"), HOSTILE)
    for name in ("A", "B", "C"):
        publish(service.services, name, **fields)
    view, _ = attack(service.services, "D", **fields)
    for address in (
        "/",
        "/boards/digits/Linf",
        "/boards/digits/Linf?search=%3Cscript%3Ealert(1)%3C/script%3E%E2%80%AE%22%27",
        "/models/digits/Linf/A",
        f"/submissions/{view.id}",
        "/submissions",
        "/models/digits/Linf/%3Cscript%3E%E2%80%AE",
        "/%3Cscript%3E%E2%80%AE",
        "/boards/%3Cscript%3E/%E2%80%AE",
        "/submissions/%3Cscript%3E%E2%80%AE",
        "/boards/digits/Linf?badge=%3Cscript%3E%E2%80%AE",
    ):
        text = service.http.get(address).text
        page = read_page(text)
        assert "\u202e" not in text, address
        assert all(found.get("src", "").startswith("/static/") for found in page.find("script")), address
    assert "<script>alert(1)</script><b>" in read_page(service.http.get("/models/digits/Linf/A").text).text


def test_a_check_cannot_bring_markup_either(service: Running) -> None:
    publish(service.services, "A")
    page = model_page(service.services, "digits", "Linf", "A")
    assert page.evidence is not None
    hostile = Check(code="<b>", outcome=CheckOutcome.FLAGGED, message="<img src=x>", remedy="<i>")
    assert check("zero_gradient") in page.evidence.checks
    evidence = page.evidence.model_copy(update={"checks": (hostile,)})
    shown = read_page(as_html(page.model_copy(update={"evidence": evidence})))
    assert not shown.find("img")
    assert "<img src=x>" in shown.text


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
