"""The service, Redis and PostgreSQL are killed at every attack boundary and started again: nothing is lost."""

from __future__ import annotations

import pytest

from tests.faults.boundaries import BOUNDARIES, reached, started
from tests.faults.cases import USUAL
from tests.faults.programs import Program
from tests.faults.stack import Stack
from tests.servers import Server

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("server", ["service", "redis", "postgres"])
def test_a_killed_server_costs_nothing(stack: Stack, server: str, boundary: str) -> None:
    submission_id = started(stack, boundary)
    parts: dict[str, Program | Server] = {"service": stack.service, "redis": stack.redis, "postgres": stack.postgres}
    with reached(stack, submission_id, boundary):
        parts[server].kill()
    stack.mend()
    stack.check(submission_id, USUAL)
