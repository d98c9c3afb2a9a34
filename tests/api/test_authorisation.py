"""Every route for everybody: who may call it, and that whoever may not has changed and learnt nothing."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from fastapi.routing import iter_route_contexts
from pydantic import SecretStr
from starlette.routing import Mount

from store.tables import Base
from tests.api.access import TABLE, Line
from tests.api.callers import BAD_TOKENS, Caller, Person, a_person, hashed_quickly
from tests.api.objects import Objects, Request
from tests.running import Running, quiet_settings, running
from tests.store.opening import TOKEN

FORGOTTEN = frozenset({"token.used_ms"})
"""What even a request that is refused may leave behind."""


@dataclass(frozen=True)
class Stage:
    """Two services over the same data, one of which takes work from people without an account.

    Args:
        strict: the one that does not.
        open_house: the one that does.
        objects: what is asked for.
        known: those who have asked before.
    """

    strict: Running
    open_house: Running
    objects: Objects
    known: dict[Caller, Person]

    def person(self, caller: Caller) -> Person:
        """Somebody of this kind."""
        if caller not in self.known:
            self.known[caller] = a_person(self.strict.services.db, caller)
        return self.known[caller]

    def owner(self, caller: Caller) -> Person:
        """Whose the object is that somebody of this kind asks for."""
        return self.person(caller) if caller.is_owner else self.objects.somebody

    def send(self, caller: Caller, person: Person, line: Line, request: Request) -> httpx.Response:
        """Send a request as somebody."""
        service = self.open_house if caller is Caller.GUEST else self.strict
        service.http.cookies.clear()
        return service.http.request(
            line.method,
            request.address(line.template),
            params=request.query,
            json=request.json,
            data=request.form,
            content=request.content,
            headers={**person.headers, **request.headers},
        )

    def everything(self) -> str:
        """A hash of all that is kept."""
        digest = hashlib.sha256(repr(self.strict.files()).encode())
        with self.strict.services.db.snapshot() as session:
            for table in Base.metadata.sorted_tables:
                columns = ", ".join(f'"{column.name}"' for column in table.columns if str(column) not in FORGOTTEN)
                rows = session.connection().exec_driver_sql(f'SELECT {columns} FROM "{table.name}"')  # noqa: S608
                digest.update(repr(rows.fetchall()).encode())
        return digest.hexdigest()


@pytest.fixture(scope="module")
def stage(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Both services, with limits too high to be met: that there are limits, others test."""
    var_dir = tmp_path_factory.mktemp("authorisation") / "var"
    shutil.copytree(prepared, var_dir)
    changes = {"rate_limits": "off", "worker_token": SecretStr(TOKEN), "webhooks": "on"}
    common = quiet_settings(var_dir).model_copy(update=changes)
    with ExitStack() as stack:
        stack.enter_context(hashed_quickly())
        strict, open_house = (
            stack.enter_context(running(common.model_copy(update={"accounts": accounts})))
            for accounts in ("needed", "optional")
        )
        yield Stage(strict, open_house, Objects(strict.services), {})


def test_the_table_has_every_route(stage: Stage) -> None:
    there = set()
    for context in iter_route_contexts(stage.strict.app.routes):
        if isinstance(context.original_route, Mount):
            there.add(("GET", f"{context.path}/{{path}}"))
            continue
        methods = set(context.methods or ())
        there |= {(method, context.path or "") for method in (methods - {"HEAD"} or methods)}
    written = {(line.method, line.template) for line in TABLE}
    assert there - written == set(), "say in tests/api/access.py who may call these"
    assert written - there == set(), "there are no such routes"
    assert all(set(line.expected) == set(Caller) for line in TABLE)
    print(f"{len(there)} routes, {len(TABLE)} lines, {len(TABLE) * len(Caller)} calls")  # noqa: T201 (for -rP)


@pytest.mark.slow
@pytest.mark.parametrize("line", TABLE, ids=str)
def test_everybody_gets_what_the_table_says(stage: Stage, line: Line) -> None:
    safe = line.method in {"GET", "HEAD"}
    found, expected = {}, dict(line.expected)
    if line.asks_without_identity:
        expected |= dict.fromkeys(BAD_TOKENS, expected[Caller.NOBODY])
    made: dict[str, Request] = {}
    for caller in Caller:
        person, owner = stage.person(caller), stage.owner(caller)
        request = made.get(owner.account_id) or line.make(stage.objects, owner)
        made[owner.account_id] = request
        before = "" if safe or expected[caller] < 400 else stage.everything()
        response = stage.send(caller, person, line, request)
        found[caller] = response.status_code
        if before and response.status_code >= 400:
            assert stage.everything() == before, f"{caller} was refused and has changed something"
        if not safe and response.status_code < 400:  # what was asked for is used up, and perhaps who has asked
            del made[owner.account_id]
            stage.known.pop(caller, None)
    assert found == expected


@pytest.mark.parametrize("line", [line for line in TABLE if line.expected[Caller.OTHER] == 404], ids=str)
def test_what_is_somebody_elses_reads_like_what_never_was(stage: Stage, line: Line) -> None:
    request = line.make(stage.objects, stage.objects.somebody)
    ((place, of_somebody),) = request.places.items()
    of_nobody = of_somebody[:-4] + of_somebody[-4:].translate(str.maketrans("0123456789abcdef", "fedcba9876543210"))
    there, not_there = (
        stage.send(Caller.OTHER, stage.person(Caller.OTHER), line, replace(request, places={place: value}))
        for value in (of_somebody, of_nobody)
    )
    assert (there.status_code, not_there.status_code) == (404, 404)
    assert there.text.replace(of_somebody, "") == not_there.text.replace(of_nobody, "")
    assert told(there) == told(not_there)


def told(response: httpx.Response) -> list[tuple[str, str]]:
    """The headers of an answer, but for those that change with the time and the text."""
    return [(name, value) for name, value in response.headers.items() if name not in {"date", "content-length", "etag"}]
