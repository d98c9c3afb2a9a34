"""Deleting a checkpoint by REST and on the page of its submission."""

from __future__ import annotations

from store.actors import Scope
from store.sign_in import begin_session
from store.submissions import cancel, submit
from tests.api.shape import assert_error
from tests.api.test_accounts import token_of
from tests.quick_passwords import quick_passwords
from tests.running import Running
from tests.store.material import Rules, new_submission, published
from tests.store.test_accounts import jane
from tests.web.html import read_page

__all__ = ["quick_passwords"]


def test_only_the_owner_finds_it_and_only_with_the_scope(service: Running) -> None:
    db, blobs = service.services.db, service.services.blobs
    account, other = jane(db), jane(db, "other")
    made = submit(db, blobs, new_submission(blobs), Rules(), owner_id=account.id)
    address = f"/api/v1/submissions/{made.id}/checkpoint"
    mine = token_of(service, account.id)
    assert_error(service.http.delete(address), 404, "not_found", "submission")
    assert_error(service.http.delete(address, headers=token_of(service, other.id)), 404, "not_found", "submission")
    reading = token_of(service, account.id, [Scope.READ])
    assert_error(service.http.delete(address, headers=reading), 403, "forbidden", "account")
    assert_error(service.http.delete(address, headers=mine), 409, "conflict", "submission")
    cancel(db, made.id)
    assert service.http.delete(address, headers=mine).json()["checkpoint_deleted_ms"] > 0
    assert not blobs.exists(made.submission.checkpoint_sha256)
    assert_error(service.http.delete(address, headers=mine), 409, "conflict", "checkpoint")


def test_the_page_offers_it_and_tells_of_it(service: Running) -> None:
    db, blobs = service.services.db, service.services.blobs
    made = published(db, blobs)
    page = f"/submissions/{made.id}"
    service.http.cookies.set("gauntlet_session", begin_session(db, jane(db).id))
    assert read_page(service.http.get(page).text).find(
        "button", id="delete-checkpoint"
    )  # nobody's, on one's own machine
    assert service.http.post(f"{page}/delete-checkpoint").status_code == 303
    shown = read_page(service.http.get(page).text)
    assert not shown.find("button", id="delete-checkpoint")
    assert "it cannot be evaluated again" in shown.text
    assert "nothing can be evaluated again" in read_page(service.http.get("/models/digits/Linf/Method%20A").text).text
