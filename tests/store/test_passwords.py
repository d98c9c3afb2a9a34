"""Passwords as they are really hashed: in equal time, and few at once."""

from __future__ import annotations

import threading
import time

import pytest

from store import passwords
from store.database import Database
from store.errors import QueueFull
from store.passwords import AT_ONCE, MOST_WAITING, hash_password, is_password
from store.sign_in import WrongPassword, sign_in
from tests.store.test_accounts import OTHER, PASSWORD, jane


def test_an_unknown_name_takes_as_long_as_a_known_one(on_sqlite: Database) -> None:
    jane(on_sqlite)

    def seconds(name: str) -> float:
        began = time.perf_counter()
        with pytest.raises(WrongPassword):
            sign_in(on_sqlite, name, OTHER)
        return time.perf_counter() - began

    known, unknown = (min(seconds(name) for _ in range(5)) for name in ("jane", "nobody"))
    # Without a comparison the answer would come more than ten times as fast.
    assert unknown > known / 3


def test_few_passwords_are_compared_at_once_and_few_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    working, most, lock, refused = 0, 0, threading.Lock(), []
    hasher = passwords._hasher

    class Counting:
        def hash(self, password: bytes) -> str:
            nonlocal working, most
            with lock:
                working += 1
                most = max(most, working)
            try:
                return hasher.hash(password)
            finally:
                with lock:
                    working -= 1

    def one() -> None:
        try:
            hash_password(PASSWORD)
        except QueueFull:
            refused.append(1)

    monkeypatch.setattr(passwords, "_hasher", Counting())
    threads = [threading.Thread(target=one) for _ in range(3 * MOST_WAITING)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == AT_ONCE
    assert refused
    assert hash_password(PASSWORD)


def test_accents_are_the_same_however_they_are_typed() -> None:
    assert is_password("la mer est e\u0301tale", hash_password("la mer est \u00e9tale"))
    assert not is_password("\ud800", hash_password(PASSWORD))
