"""The log: one record a line whatever anybody writes into it, with the work it is about and without secrets."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from gauntlet.logs import FIELDS, LONGEST_TEXT, Format, configure
from store.claims import Claim
from store.views import NewSubmission, Purpose
from worker.context import working_on

PASSWORD = "correct horse/battery@staple"
HOSTILE = 'line\n2026-01-01T00:00:00.000Z CRITICAL root: forged\r\x1b[31m\u2028\u202e\x00"}\ud800'
logger = logging.getLogger("tests.logs")


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root, end_of_thread = logging.getLogger(), threading.excepthook
    handlers, level = list(root.handlers), root.level
    yield
    logging.captureWarnings(capture=False)
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
    for handler in set(handlers) - set(root.handlers):
        root.addHandler(handler)
    root.setLevel(level)
    threading.excepthook = end_of_thread


def written(format_: Format, level: str = "info", secrets: tuple[str, ...] = ()) -> io.StringIO:
    stream = io.StringIO()
    configure(level, format_, secrets, stream)
    return stream


def objects(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def claim(number: int) -> Claim:
    new = NewSubmission(name="a", dataset="digits", threat_model="Linf", architecture="b", checkpoint_sha256="0" * 64)
    return Claim(
        kind="shard",
        shard_id=number,
        run_id=number + 1,
        submission_id=f"s{number}",
        token="a token that no log shows",
        attempt=2,
        submission=new,
        checkpoint_sha256="0" * 64,
        norm="Linf",
        epsilon="1/5",
        protocol="standard-1",
        seed=0,
        purpose=Purpose.RANKING,
        needs_cuda=False,
        first=0,
        last=500,
        indices=tuple(range(500)),
        resume_sha256=None,
        seed_key="5e" * 32,
        sources=(),
        examples=(),
    )


def test_a_json_record_has_its_parts() -> None:
    stream = written("json")
    logger.warning("%d of %s", 3, "four", extra={FIELDS: {"ms": 1.5}})
    (record,) = objects(stream)
    time = datetime.fromisoformat(str(record.pop("time")))
    assert time.tzinfo == UTC
    assert abs(datetime.now(UTC) - time) < timedelta(seconds=10)
    assert record == {"level": "warning", "logger": "tests.logs", "message": "3 of four", "ms": 1.5}


def test_a_record_for_people_is_a_line() -> None:
    stream = written("text")
    logger.info("all is well")
    time, rest = stream.getvalue().split(" ", 1)
    assert time.endswith("Z")
    assert rest == "INFO tests.logs: all is well\n"


@pytest.mark.parametrize("format_", ["text", "json"])
def test_hostile_text_neither_ends_a_line_nor_moves_the_cursor(format_: Format) -> None:
    stream = written(format_)
    logger.info("name %s", HOSTILE)
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.rstrip("\n").isprintable()
    if format_ == "json":
        assert objects(stream)[0]["message"] == f"name {HOSTILE}"


@pytest.mark.parametrize("format_", ["text", "json"])
def test_hostile_text_in_an_exception_forges_no_record(format_: Format) -> None:
    stream = written(format_)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        logger.exception("it failed")
    lines = stream.getvalue().splitlines()
    assert all(line.isprintable() for line in lines)
    records = [line for line in lines if not line.startswith("    ")]
    assert len(records) == 1
    assert "it failed" in records[0]
    assert "forged" in stream.getvalue()


@pytest.mark.parametrize("format_", ["text", "json"])
def test_secrets_are_never_written(format_: Format) -> None:
    stream = written(format_, secrets=(PASSWORD, "correct%20horse%2Fbattery%40staple", ""))
    logger.info("cannot reach postgresql://gauntlet:s3cret@db:5432/x and redis://:hunter2@broker/0")
    logger.info("Authorization: Bearer abc.DEF-123~+/=")
    logger.info("dsn host=db password=open-sesame user=u; metrics_token=tttt&x=1")
    logger.info("found %r", PASSWORD)
    logger.info("found %s", {"url": "correct%20horse%2Fbattery%40staple"})
    try:
        raise OSError(f"postgresql://u:p@ss@host/x refused {PASSWORD}")
    except OSError:
        logger.exception("it failed")
    text = stream.getvalue()
    for secret in (
        "s3cret", "hunter2", "abc.DEF", "open-sesame", "tttt", "battery", "p@ss", "ss@host",
    ):  # fmt: skip
        assert secret not in text
    for kept in ("@db:5432/x", "@broker/0", "host=db", "user=u", "x=1", "refused"):
        assert kept in text


def test_ordinary_words_are_no_secrets() -> None:
    stream = written("json", secrets=("a", "the"))
    text = "the token was lost; see https://example.org/a@b and basic iterative methods"
    logger.info(text)
    assert objects(stream)[0]["message"] == text


def test_a_record_names_the_work_of_its_own_thread() -> None:
    stream = written("json")
    together = threading.Barrier(2)

    def work(number: int) -> None:
        with working_on(claim(number), f"worker-{number}"):
            together.wait(10)
            logger.info("inside %d", number)
            together.wait(10)
        logger.info("outside %d", number)

    threads = [threading.Thread(target=work, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {str(record["message"]): record for record in objects(stream)}
    for number in (1, 2):
        names = {"submission": f"s{number}", "run": number + 1, "shard": number, "attempt": 2}
        assert found[f"inside {number}"].items() >= (names | {"worker": f"worker-{number}"}).items()
        assert "shard" not in found[f"outside {number}"]
    assert "no log shows" not in stream.getvalue()


def test_work_is_named_to_people_too() -> None:
    stream = written("text")
    with working_on(claim(7), "embedded-1"):
        logger.info("a snapshot was not kept")
    assert "a snapshot was not kept [submission=s7 run=8 shard=7 attempt=2 worker=embedded-1]\n" in stream.getvalue()


def test_what_is_below_the_level_is_not_written() -> None:
    stream = written("text", level="error")
    logger.warning("nothing")
    assert stream.getvalue() == ""


def test_a_record_whose_arguments_do_not_fit_is_written_all_the_same() -> None:
    stream = written("json")
    logger.info("%d points", "many")
    assert "many" in str(objects(stream)[0]["message"])


def test_endless_text_is_cut() -> None:
    stream = written("json")
    logger.info("x" * (LONGEST_TEXT * 3))
    assert len(stream.getvalue()) < LONGEST_TEXT + 300


def test_warnings_and_ends_of_threads_are_records() -> None:
    stream = written("json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("this is old", stacklevel=1)
        logging.captureWarnings(capture=False)
    thread = threading.Thread(target=int, args=("noise",), name="doomed")
    thread.start()
    thread.join()
    ending = threading.Thread(target=sys.exit)
    ending.start()
    ending.join()
    warning, failure = objects(stream)
    assert "this is old" in str(warning["message"])
    assert (failure["level"], failure["message"]) == ("critical", "thread doomed ended with an error")
    assert "ValueError" in str(failure["exception"])


def test_the_last_configuration_holds() -> None:
    first, second = written("text"), written("json")
    logger.info("once")
    assert first.getvalue() == ""
    assert len(objects(second)) == 1
