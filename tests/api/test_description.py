"""The OpenAPI document says of every operation what it does, what it takes and what it answers, with examples."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import jsonschema_rs
import pytest

from api.description import summary_of
from api.error_examples import ERRORS
from api.errors import status_of
from api.examples import EXAMPLES, named
from tests.running import quiet_settings, running

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None


def objects(value: Json) -> dict[str, dict[str, Json]]:
    """The members of an object that are objects themselves."""
    assert isinstance(value, dict)
    return {name: member for name, member in value.items() if isinstance(member, dict)}


@pytest.fixture(scope="module")
def document(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Json]:
    """The document as the service gives it."""
    var_dir = tmp_path_factory.mktemp("described") / "var"
    shutil.copytree(prepared, var_dir)
    with running(quiet_settings(var_dir)) as service:
        first, second = (service.http.get("/api/v1/openapi.json") for _ in range(2))
    assert first.content == second.content
    found: dict[str, Json] = first.json()
    return found


def operations(document: dict[str, Json]) -> Iterator[tuple[str, dict[str, Json]]]:
    for path, methods in objects(document["paths"]).items():
        for method, operation in objects(methods).items():
            yield f"{method.upper()} {path}", operation


def contents(operation: dict[str, Json]) -> Iterator[tuple[str, dict[str, dict[str, Json]]]]:
    """What is sent and what is answered, each by its media type."""
    if "requestBody" in operation:
        yield "request", objects(objects(operation)["requestBody"]["content"])
    for status, answer in objects(operation["responses"]).items():
        yield status, objects(answer.get("content", {}))


def examples_of(document: dict[str, Json], shown: dict[str, Json]) -> list[Json]:
    """The examples of a content: its own, or those of its schema."""
    schema = objects(shown)["schema"]
    named_schema = str(schema.get("$ref", "")).rpartition("/")[2]
    if named_schema:
        schema = objects(objects(document["components"])["schemas"])[named_schema]
    found = schema.get("examples", [])
    assert isinstance(found, list)
    return [shown["example"]] if "example" in shown else found


def is_binary(shown: dict[str, Json]) -> bool:
    return objects(shown)["schema"].get("format") == "binary"


def test_every_operation_says_what_it_does_takes_and_answers(document: dict[str, Json]) -> None:
    lacking = list[str]()
    for name, operation in operations(document):
        if not operation.get("description"):
            lacking.append(f"{name}: write a docstring for its function; it becomes description and summary")
        if not 5 <= len(str(operation.get("summary", ""))) <= 120:
            lacking.append(f"{name}: begin its docstring with at most 120 characters up to the first full stop")
        for place, content in contents(operation):
            if not content and place != str(HTTPStatus.NO_CONTENT.value):
                lacking.append(f"{name}, {place}: name a response model, or the content in the route's responses")
            for media, shown in content.items():
                if not is_binary(shown) and not examples_of(document, shown):
                    lacking.append(
                        f"{name}, {place}, {media}: add an example: of an answer to EXAMPLES in api/examples.py, of a "
                        "request to json_schema_extra of its model, of another format to the route's responses"
                    )
    assert not lacking, "\n".join(lacking)


def test_every_operation_may_answer_with_the_errors_that_any_may(document: dict[str, Json]) -> None:
    for name, operation in operations(document):
        answers = objects(operation["responses"])
        assert {"413", "422", "500", "503"} <= set(answers), f"{name}: give its route responses=api.errors.responses()"
        assert any(status < "300" for status in answers), name
        needs, body = operation.get("security"), operation.get("requestBody")
        if needs is not None and {} not in (needs if isinstance(needs, list) else []):
            assert "401" in answers, f"{name}: add 401 to its responses"
        if body is not None and "application/json" in objects(objects(operation)["requestBody"]["content"]):
            assert "400" in answers, f"{name}: add 400 to its responses, for what is not JSON"
        if "{" in name and not name.endswith(("/part", "{sha256}")):
            assert "404" in answers, f"{name}: add 404 to its responses"


def test_operations_are_named_after_their_functions_and_each_name_is_given_once(document: dict[str, Json]) -> None:
    names = [str(operation["operationId"]) for _, operation in operations(document)]
    assert len(set(names)) == len(names), "two routes have functions of one name: rename one of them"
    assert {"read_leaderboard", "post_submission", "healthz"} <= set(names)


def test_every_example_is_what_its_schema_says(document: dict[str, Json]) -> None:
    checked = 0
    for name, operation in operations(document):
        for place, content in contents(operation):
            for media, shown in content.items():
                schema = {**objects(shown)["schema"], "components": document["components"]}
                for example in examples_of(document, shown):
                    errors = jsonschema_rs.validator_for(schema).iter_errors(example)
                    assert [error.message for error in errors] == [], (name, place, media)
                    checked += 1
    assert checked > 300


def test_every_example_is_shown_and_stands_for_one_kind(document: dict[str, Json]) -> None:
    schemas = objects(objects(document["components"])["schemas"])
    assert len(named()) == len(EXAMPLES) + 1
    assert set(named()) <= set(schemas)
    assert all(schemas[name]["examples"] == [json.loads(json.dumps(example))] for name, example in named().items())


@pytest.mark.parametrize("status", sorted(ERRORS))
def test_every_example_of_an_error_has_its_status(status: int) -> None:
    # What cannot be read at all is the same error as what is read and wrong, under a status of its own.
    assert status_of(ERRORS[status]) == (422 if status == 400 else status)


def test_the_description_tells_of_parts_packing_repetition_and_errors(document: dict[str, Json]) -> None:
    text = str(objects(document)["info"]["description"])
    for word in ("limit", "offset", "Link", "X-Total-Count", "gzip", "ETag", "304", "message", "Retry-After", "421"):
        assert word in text, word


@pytest.mark.parametrize(
    ("description", "summary"),
    [
        ("Revoke a token at once.", "Revoke a token at once"),
        ("Tell what happened: as JSON.\n\nMore.", "Tell what happened"),
        ("Store a `.pt2` file; 201\nwhen it is new.", "Store a `.pt2` file"),
        ("", ""),
    ],
)
def test_a_summary_is_the_beginning_of_a_description(description: str, summary: str) -> None:
    assert summary_of(description) == summary
