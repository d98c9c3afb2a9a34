"""The log of every command: one record a line, for people or as JSON, and no secret in either."""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal, TextIO

from worker.context import present_work

Format = Literal["text", "json"]
FIELDS = "fields"
"""Attribute of a record with further fields, given as ``extra={FIELDS: {...}}``."""

LONGEST_TEXT = 65_536
HIDDEN = "***"
_SHORTEST_SECRET = 6  # a shorter one would be found inside ordinary words
_SECRETS = (
    re.compile(r"(?<=://)[^\s/]*(?=@)"),  # user and password of an address
    re.compile(r"(?<=\bbearer )[\w.~+/=-]+", re.IGNORECASE),
    re.compile(r"(?<=password=)[^\s&;,\"']+", re.IGNORECASE),
    re.compile(r"(?<=token=)[^\s&;,\"']+", re.IGNORECASE),
    re.compile(r"(?<=secret=)[^\s&;,\"']+", re.IGNORECASE),
)


def configure(level: str, format_: Format, secrets: Iterable[str] = (), stream: TextIO | None = None) -> None:
    """Send the log of this process to stderr; the last call holds.

    Args:
        level: "debug", "info", "warning" or "error".
        format_: "text" or "json".
        secrets: texts that must never be written.
        stream: where to write instead.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter((Json if format_ == "json" else Text)(secrets))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    threading.excepthook = _log_end_of_thread


class _Formatter(logging.Formatter):
    """What both formats have in common: the parts of a record, without secrets."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        long_enough = sorted({secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}, key=len, reverse=True)
        known = [re.compile("|".join(re.escape(secret) for secret in long_enough))] if long_enough else []
        self._secrets = (*known, *_SECRETS)

    def message_of(self, record: logging.LogRecord) -> str:
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001 - a record whose arguments do not fit must not be lost, nor stop the program
            text = f"{record.msg} {record.args}"
        return self.clean(text)

    def exception_of(self, record: logging.LogRecord) -> str:
        parts = [self.formatException(record.exc_info)] if record.exc_info and record.exc_info[0] else []
        return self.clean("\n".join([*parts, *([record.stack_info] if record.stack_info else [])]))

    def clean(self, text: str) -> str:
        text = text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"
        for pattern in self._secrets:
            text = pattern.sub(HIDDEN, text)
        return text


class Json(_Formatter):
    """One JSON object a line, in ASCII, so that no character of anybody's text ends a line or moves a cursor."""

    def format(self, record: logging.LogRecord) -> str:
        content: dict[str, object] = {
            "time": _time_of(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.message_of(record),
            **present_work(),
            **getattr(record, FIELDS, {}),
        }
        if exception := self.exception_of(record):
            content["exception"] = exception
        return json.dumps(content, default=str)


class Text(_Formatter):
    """A line for people; what follows a record, such as a traceback, is indented, so that nothing can pass for one."""

    def format(self, record: logging.LogRecord) -> str:
        names = " ".join(f"{name}={value}" for name, value in present_work().items())
        line = f"{_time_of(record)} {record.levelname} {record.name}: {_on_one_line(self.message_of(record))}"
        lines = [f"{line} [{names}]" if names else line]
        lines += [f"    {_on_one_line(part)}" for part in self.exception_of(record).split("\n") if part]
        return "\n".join(lines)


def _time_of(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _on_one_line(text: str) -> str:
    """Write control characters and marks of writing direction as escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _log_end_of_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is None or issubclass(ended.exc_type, SystemExit):
        return
    name = ended.thread.name if ended.thread else "unknown"
    exception = (ended.exc_type, ended.exc_value, ended.exc_traceback)
    logging.getLogger(__name__).critical("thread %s ended with an error", name, exc_info=exception)
