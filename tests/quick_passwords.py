"""Passwords hashed in a thousandth of the time, for tests that are about something else."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher

from store import passwords


@pytest.fixture(autouse=True)
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "_hasher", hasher)
    monkeypatch.setattr(passwords, "_NOBODYS", hasher.hash("the password of nobody"))
