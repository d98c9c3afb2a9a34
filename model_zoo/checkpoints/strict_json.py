"""JSON from a stranger: every key once, and every value asked for by the type that it must have."""

from __future__ import annotations

import json
from typing import NoReturn

from model_zoo.checkpoints.header import shown


class Malformed(Exception):
    """The text is not what it should be.

    Args:
        field: where.
        found: what is there.
        expected: what should be.
    """

    def __init__(self, field: str, found: str, expected: str) -> None:
        super().__init__(f"{field}: {found}")
        self.field, self.found, self.expected = field, found, expected


class Value:
    """A value and the way to it.

    Args:
        content: as `json` gives it.
        way: for messages, such as "graph.nodes[3]".
    """

    __slots__ = ("_content", "_way")

    def __init__(self, content: object, way: str) -> None:
        self._content = content
        self._way = way

    def __getitem__(self, key: str) -> Value:
        if not isinstance(self._content, dict) or key not in self._content:
            self._fail(f"a value of the key {key}")
        return Value(self._content[key], f"{self._way}.{key}")

    def items(self) -> list[tuple[str, Value]]:
        """Return keys and values of an object."""
        if not isinstance(self._content, dict):
            self._fail("an object")
        return [(key, Value(value, f"{self._way}.{shown(key)}")) for key, value in self._content.items()]

    def keys_of_one(self) -> tuple[str]:
        """Return the only key of an object that has one, as the format writes what is one of several kinds."""
        if not isinstance(self._content, dict) or len(self._content) != 1:
            self._fail("an object of one key")
        return (next(iter(self._content)),)

    def items_of_list(self, most: int) -> list[Value]:
        """Return the items of a list."""
        if not isinstance(self._content, list) or len(self._content) > most:
            self._fail(f"a list of at most {most} items")
        return [Value(item, f"{self._way}[{place}]") for place, item in enumerate(self._content)]

    def text(self) -> str:
        """Return a text."""
        if not isinstance(self._content, str):
            self._fail("a text")
        return self._content

    def boolean(self) -> bool:
        """Return true or false."""
        if not isinstance(self._content, bool):
            self._fail("true or false")
        return self._content

    def integer(self) -> int:
        """Return an integer of 64 bits."""
        if type(self._content) is not int or not -(2**63) <= self._content < 2**63:
            self._fail("an integer of 64 bits")
        return self._content

    def number(self) -> float:
        """Return a number; the format writes those that JSON lacks as texts."""
        if isinstance(self._content, str) and self._content in {"Infinity", "-Infinity", "NaN"}:
            return float(self._content)
        return self._content if isinstance(self._content, float) else float(self.integer())

    def count(self, most: int) -> int:
        """Return a whole number from 0 to ``most``."""
        if type(self._content) is not int or not 0 <= self._content <= most:
            self._fail(f"a whole number from 0 to {most}")
        return self._content

    def _fail(self, expected: str) -> NoReturn:
        raise Malformed(self._way, shown(self._content), expected)


def parse(text: bytes, field: str) -> Value:
    """Parse JSON in UTF-8.

    Raises:
        Malformed: it is none, or has a key twice.
    """

    def without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
        content = dict(pairs)
        if len(content) != len(pairs):
            raise Malformed(field, "a key twice", "every key once")
        return content

    def refuse(constant: str) -> NoReturn:
        raise Malformed(field, constant, "JSON, which has no such number")

    try:
        content = json.loads(text.decode("utf-8"), object_pairs_hook=without_duplicates, parse_constant=refuse)
    except RecursionError:
        raise Malformed(field, "JSON nested too deeply", "one object") from None
    except ValueError:  # not UTF-8, not JSON, or an integer of thousands of digits
        raise Malformed(field, shown(text[:40]), "JSON in UTF-8") from None
    return Value(content, field)
