"""A private file cannot be had by its hash, which everybody may read: not submitted, learnt of or downloaded."""

from __future__ import annotations

from model_zoo.registry import bundled_checkpoint, card
from store.actors import Actor, Scope
from tests.api.shape import assert_error
from tests.api.test_moderation import token_of
from tests.running import Running
from tests.store.deciders import evaluate, person

ADDRESS = "/api/v1/submissions"
CARD = card("Digits_Standard", "digits", "Linf")
UPLOAD = f"/api/v1/uploads/{CARD.sha256}"
NEW = {
    "name": "Hers",
    "dataset": "digits",
    "threat_model": "Linf",
    "architecture": CARD.architecture,
    "checkpoint_sha256": CARD.sha256,
}


def program_of(service: Running, who: Actor) -> dict[str, str]:
    return token_of(service, who, Scope.READ, Scope.SUBMIT)


def test_a_private_file_is_had_by_nobody_who_only_knows_its_hash(service: Running) -> None:
    hers = program_of(service, person(service.services.db, "jane"))
    eves = program_of(service, person(service.services.db, "eve"))
    content = bundled_checkpoint(CARD).read_bytes()
    assert service.http.put(UPLOAD, content=content, headers=hers).status_code == 201
    entry = service.http.post(ADDRESS, json=NEW, headers=hers).json()["id"]
    evaluate(service.services)
    assert CARD.sha256 in service.http.get(f"{ADDRESS}/{entry}").text, "everybody may know the hash"
    stolen = NEW | {"name": "Stolen", "private_checkpoint": False}
    for headers in (eves, {}):
        refused = service.http.post(ADDRESS, json=stolen, headers=headers)
        assert_error(refused, 422, "invalid_submission", "checkpoint_sha256")
        unknown = service.http.post(ADDRESS, json=stolen | {"checkpoint_sha256": "0" * 64}, headers=headers)
        assert unknown.text.replace("0" * 64, "") == refused.text.replace(CARD.sha256, "")
        assert service.http.get(UPLOAD, headers=headers).status_code == 404
    assert service.http.get(UPLOAD, headers=hers).status_code == 200
    assert service.http.post(ADDRESS, json=NEW | {"name": "Hers again"}, headers=hers).status_code == 201
    # Whoever has the file too sends it, and is served like anybody.
    assert service.http.put(UPLOAD, content=content, headers=eves).status_code == 200
    assert service.http.get(UPLOAD, headers=eves).status_code == 200
    assert service.http.post(ADDRESS, json=stolen, headers=eves).status_code == 201
