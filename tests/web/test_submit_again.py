"""Submitting again by the form, without a new upload: for whoever has sent the file, whoever else knows its hash."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from store.actors import Actor
from store.checkpoint_deletion import delete_checkpoint
from store.intervention import fail_by_service
from store.moderation_views import rights_on_submission
from store.submissions import cancel, get_submission
from tests.running import Running
from tests.store.people import person
from tests.web.html import PageReader, read_page
from tests.web.signed_in import browser
from tests.web.test_submit import CARD, SOUND, checkpoint

NO_FILE = {"checkpoint": ("", b"")}


@pytest.fixture
def jane(service: Running) -> Actor:
    return person(service.services.db, "jane")


@pytest.fixture
def hers(service: Running, jane: Actor) -> Iterator[httpx.Client]:
    with browser(service, jane) as client:
        yield client


def sent(client: httpx.Client, **changes: str) -> str:
    """Submit with a file; return the submission's id."""
    files = {"checkpoint": ("m.safetensors", checkpoint())}
    answer = client.post("/submit", data={**SOUND, **changes}, files=files)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"].rpartition("/")[2]


def without_file(client: httpx.Client, **changes: str) -> httpx.Response:
    return client.post("/submit", data={**SOUND, "checkpoint_sha256": CARD.sha256, **changes}, files=NO_FILE)


def filled_in(page: PageReader) -> dict[str, str]:
    """What the form would send, as it stands."""
    found = {
        one["name"]: one.get("value", "") for one in page.find("input") if one.get("type") not in {"file", "checkbox"}
    }
    chosen = [one["value"] for one in page.find("option", selected="")]
    return found | {"chosen": " ".join(chosen)}


def test_what_failed_is_sent_again_without_its_file(service: Running, hers: httpx.Client) -> None:
    first = sent(hers, private_checkpoint="no", zoo_consent="yes")
    assert not read_page(hers.get(f"/submissions/{first}").text).find("a", id="submit-again")
    fail_by_service(service.services.db, first, "No disk.")
    for place in ("/submissions", "/submissions?own=yes", f"/submissions/{first}"):
        assert read_page(hers.get(place).text).find("a", href=f"/submit?again={first}"), place
    form = read_page(hers.get(f"/submit?again={first}").text)
    fields = filled_in(form)
    assert fields["checkpoint_sha256"] == CARD.sha256
    assert not form.find("input", type="file", required="")
    for name in ("name", "title", "authors", "paper_url", "venue", "licence", "claimed_standard_accuracy"):
        assert fields[name] == SOUND[name]
    assert fields["chosen"] == f"{SOUND['board']} {SOUND['architecture']} synthetic no"
    assert form.find("input", type="checkbox", name="zoo_consent", checked="")
    assert SOUND["notes"] in form.text
    before = service.files()
    again = without_file(hers)
    assert again.status_code == 303, again.text
    view = get_submission(service.services.db, again.headers["location"].rpartition("/")[2])
    assert (view.submission.checkpoint_sha256, view.state.value) == (CARD.sha256, "received")
    assert service.files() == before


def test_a_hash_gives_nobody_another_s_file(service: Running, hers: httpx.Client) -> None:
    first = sent(hers)
    cancel(service.services.db, first)
    service.services.blobs.put(b"seen by nobody")
    with browser(service, person(service.services.db, "eve")) as eves:
        for client in (eves, service.http):
            refused = without_file(client, private_checkpoint="no")
            assert refused.status_code == 422
            page = read_page(refused.text)
            assert "upload the checkpoint first" in page.text.lower()
            assert filled_in(page)["title"] == SOUND["title"]
            unknown = without_file(client, checkpoint_sha256="0" * 64, private_checkpoint="no")
            assert unknown.text.replace("0" * 64, "") == refused.text.replace(CARD.sha256, "")
            missing = client.get(f"/submit?again={first}")
            assert missing.status_code == 404
            never = client.get("/submit?again=0123")
            assert never.text.replace("0123", "") == missing.text.replace(first, "")
            assert "Submit again" not in client.get("/submissions").text
        assert sent(eves)  # whoever has the file sends it


def test_a_hash_that_is_none_is_refused(service: Running, hers: httpx.Client) -> None:
    sent(hers)
    for hostile in ("", " ", "../../etc/passwd", "<script>", "x" * 401, CARD.sha256.upper(), "a\0b"):
        answer = without_file(hers, name="Another", checkpoint_sha256=hostile)
        assert answer.status_code in {413, 422}, hostile
        read_page(answer.text)


def test_a_new_file_comes_before_the_old_one(service: Running, hers: httpx.Client) -> None:
    cancel(service.services.db, sent(hers))
    files = {"checkpoint": ("m.safetensors", checkpoint())}
    answer = hers.post("/submit", data={**SOUND, "checkpoint_sha256": "0" * 64}, files=files)
    assert answer.status_code == 303


def test_a_deleted_file_must_come_again(service: Running, hers: httpx.Client) -> None:
    first = sent(hers)
    cancel(service.services.db, first)
    delete_checkpoint(service.services.db, service.services.blobs, first)
    form = read_page(hers.get(f"/submit?again={first}").text)
    assert "checkpoint_sha256" not in filled_in(form)
    assert form.find("input", type="file", required="")
    assert without_file(hers).status_code == 422


def test_whoever_has_no_account_sends_again_from_the_same_address(service: Running) -> None:
    first = sent(service.http)
    cancel(service.services.db, first)
    assert read_page(service.http.get("/submissions").text).find("a", href=f"/submit?again={first}")
    assert filled_in(read_page(service.http.get(f"/submit?again={first}").text))["checkpoint_sha256"] == CARD.sha256
    assert without_file(service.http).status_code == 303


def test_one_s_own_list_is_cancelled_from(service: Running, jane: Actor, hers: httpx.Client) -> None:
    mine = sent(hers)
    theirs = sent(service.http, name="Of somebody else")
    listed = read_page(hers.get("/submissions?own=yes").text)
    assert listed.find("a", id=f"submission-{mine}")
    assert not listed.find("a", id=f"submission-{theirs}")
    assert "number 1 in the queue" in listed.text
    assert "on its way for" in listed.text
    everything = read_page(hers.get("/submissions").text)
    assert everything.find("a", id=f"submission-{theirs}")
    assert everything.find("form", action=f"/submissions/{mine}/cancel")
    answer = hers.post(f"/submissions/{mine}/cancel", data={"back": "submissions"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/submissions")
    assert service.http.get("/submissions?own=yes").headers["location"].startswith("/sign-in?")
    assert rights_on_submission(service.services.db, mine, jane, jane.submitter).repeat


def test_the_list_says_who_is_to_blame(service: Running, hers: httpx.Client) -> None:
    fail_by_service(service.services.db, sent(hers), "No disk.")
    assert "cause: the service" in read_page(hers.get("/submissions?own=yes").text).text
