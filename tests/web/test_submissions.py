"""The pages of submissions, live without a script, and cancelling by a plain form."""

from __future__ import annotations

from benchmark.report import PREDICTED_COST, Check, CheckOutcome
from store.claims import fail_submission
from store.outcomes import finish_check
from store.resubmission import ListedSubmissions
from store.submissions import cancel, get_submission, list_submissions
from store.views import State
from tests.running import Running
from tests.store.corrupted import publish_corrupted
from tests.store.lowered import EVIDENCE, doubt
from tests.store.material import must_claim
from tests.web.html import read_page
from tests.web.material import PROGRESS, attack, reject, take_in
from web.pages.submission import Step, SubmissionPage, submission_page, time_left_s
from web.pages.submissions import SubmissionsPage, submissions_page


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
        summary="The attacks are at work. Robust accuracy is at most 75.60\u202f% "
        "(95\u202f% interval 71.6–79.2\u202f%) so far.",
        overall=0.75,
        cancellable=True,
        model_address=None,
    )
    assert view.progress == PROGRESS
    page = read_page(service.http.get(f"/submissions/{made.id}").text)
    assert page.find("meta", http_equiv="refresh", content="3")
    for text in (
        "1 of 2",
        "122 of 500",
        "square",
        "75.60",
        "71.6–79.2",
        "140\u202f331",
        "120\u202f331 forward",
        "zero gradient",
        "Being evaluated",
    ):
        assert text in page.text


def test_the_time_that_is_left_counts_down_from_what_the_check_predicted(service: Running) -> None:
    made = take_in(service.services, "Method B")
    db = service.services.db
    predicted = Check(code=PREDICTED_COST, outcome=CheckOutcome.PASSED, value=95.0, threshold=3_600, message="95 s.")
    finish_check(db, must_claim(db), [predicted], shard_points=500)
    assert submission_page(service.services, made.id).left_s is None, "nobody has begun"
    must_claim(db)
    view = get_submission(db, made.id)
    began = view.transitions[-1].at_ms
    assert [time_left_s(view, began + 1000 * passed) for passed in (0, 5, 6, 94.9, 95, 500)] == [
        100, 90, 90, 10, None, None,
    ]  # fmt: skip
    page = read_page(service.http.get(f"/submissions/{made.id}").text)
    assert "at most, as the check predicted" in page.text
    plain, _ = attack(service.services, "Method C")
    assert time_left_s(get_submission(db, plain.id), began) is None


def test_the_seed_is_committed_to_at_once_and_told_in_the_end(service: Running) -> None:
    waiting = take_in(service.services, "Waiting")
    assert waiting.seed is not None
    page = read_page(service.http.get(f"/submissions/{waiting.id}").text)
    assert waiting.seed.commitment in page.text
    assert "secret until the result is published" in page.text
    cancel(service.services.db, waiting.id)
    published = doubt(service.services, "Method A", architecture="tiny-mlp")
    told = get_submission(service.services.db, published.id)
    assert told.seed is not None
    assert told.seed.key is not None
    page = read_page(service.http.get(f"/submissions/{published.id}").text)
    for text in (told.seed.commitment, told.seed.key, str(told.seed.seed)):
        assert text in page.text
    assert "secret until" not in page.text


def test_evidence_stands_below_the_checks(service: Running) -> None:
    view = doubt(service.services, "Method A")
    page = read_page(service.http.get(f"/submissions/{view.id}").text)
    headings = [found["id"] for found in page.find("h2")]
    assert headings[headings.index("checks") :][:3] == ["checks", "evidence", "seed"]
    for test in EVIDENCE:
        assert test.message in page.text
        assert test.meaning in page.text
    plain = take_in(service.services, "Plain")
    assert not read_page(service.http.get(f"/submissions/{plain.id}").text).find("h2", id="evidence")


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
    page = submissions_page(service.services)
    nothing = ListedSubmissions(
        submissions=(), cancellable=frozenset(), repeatable=frozenset(), now_ms=page.listed.now_ms
    )
    assert page == SubmissionsPage(title="Submissions", refresh_s=None, listed=nothing, own=False, limit=100)
    assert "Nothing has been submitted yet" in read_page(service.http.get("/submissions").text).text
    first, second = take_in(service.services, "First"), take_in(service.services, "Second")
    page = submissions_page(service.services)
    assert [view.id for view in page.listed.submissions] == [second.id, first.id]
    assert page.listed.submissions == list_submissions(service.services.db)
    assert page.refresh_s == 10
    shown = read_page(service.http.get("/submissions").text)
    assert shown.find("meta", http_equiv="refresh", content="10")
    assert shown.find("a", href=f"/submissions/{first.id}")


def test_a_run_on_corrupted_images_that_is_done_says_so(service: Running) -> None:
    db = service.services.db
    publish_corrupted(db, service.services.blobs, "Method A")
    (view,) = list_submissions(db)
    for address in (f"/submissions/{view.id}", "/submissions"):
        page = read_page(service.http.get(address).text)
        assert page.find("progress", max="500", value="500")
        assert "No image was corrupted" not in page.text
    stopped = take_in(service.services, "Method B", threat_model="corruptions")
    cancel(db, stopped.id)
    assert "No image was corrupted" in read_page(service.http.get(f"/submissions/{stopped.id}").text).text
