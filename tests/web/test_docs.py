"""The documentation: what its pages know, where they lead, and that its examples work as they stand."""

from __future__ import annotations

import json
import re
import shlex
from datetime import UTC, date, datetime
from html import unescape
from itertools import pairwise
from string import Template
from urllib.parse import urldefrag

import httpx
import pytest

from benchmark.corruptions.names import CORRUPTIONS, SEVERITIES
from benchmark.protocol_table import CLOSER_LOOK, RANKING
from benchmark.threat_models import BOARDS, official_board
from benchmark.unannounced import FAMILIES
from gauntlet import __version__
from model_zoo.registry import bundled_checkpoint, card
from store.actors import Scope
from store.sign_in import create_token
from store.submissions import list_submissions
from tests.running import MAX_CHECKPOINT_BYTES, Running
from tests.store.people import person
from tests.web.html import PageReader, read_page
from tests.web.material import questions
from web.chapters import CHAPTERS
from web.pages.docs_cite import CitePage, cite_page
from web.pages.docs_formats import FormatsPage, formats_page
from web.pages.docs_protocol import Family, Images, Protocol, ProtocolPage, Span, protocol_page
from web.pages.submit import Family as Architectures

ADDRESSES = ("/docs", *(chapter.address for chapter in CHAPTERS))
BUNDLED = card("Digits_Standard", "digits", "Linf")


def read(service: Running, address: str) -> PageReader:
    answer = service.http.get(address)
    assert answer.status_code == 200
    return read_page(answer.text)


def examples(service: Running, address: str) -> list[str]:
    """The examples of a page, as somebody would copy them."""
    found = re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", service.http.get(address).text, flags=re.DOTALL)
    return [unescape(text) for text in found]


def test_the_protocols_are_told_with_the_settings_that_they_have(service: Running) -> None:
    page = protocol_page()
    assert page == ProtocolPage(
        title="Protocols",
        address="/docs/protocol",
        ranking=Protocol(label="standard-1", attacks=RANKING),
        closer_look=Protocol(label="follow-up-1", attacks=CLOSER_LOOK),
        families=(
            Family(
                name="mi-fgsm",
                spans=(Span(option="restarts", least=3, most=10), Span(option="steps", least=40, most=160)),
            ),
            Family(
                name="multi-targeted",
                spans=(Span(option="restarts", least=1, most=3), Span(option="steps", least=20, most=60)),
            ),
            Family(
                name="spsa", spans=(Span(option="samples", least=16, most=40), Span(option="steps", least=20, most=60))
            ),
        ),
        corruption_protocol="corruptions-1",
        corruptions=CORRUPTIONS,
        severities=len(SEVERITIES),
        attacked=tuple(board for board in BOARDS if board.epsilon is not None),
        corrupted=(
            Images(board=official_board("cifar10", "corruptions"), source="CIFAR-10-C"),
            Images(board=official_board("cifar100", "corruptions"), source="CIFAR-100-C"),
            Images(board=official_board("imagenet", "corruptions"), source="ImageNet-C"),
            Images(board=official_board("digits", "corruptions"), source="generated-1"),
        ),
    )
    shown = read(service, "/docs/protocol").text
    for attack in (*RANKING, *CLOSER_LOOK):
        assert attack.sentence in shown
        assert f"arXiv:{attack.paper}" in shown
    for text in (
        *FAMILIES,
        "iterations 100",
        "targets 9",
        "rho 0.75",
        "queries 5\u202f000",
        "restarts 30",
        "jpeg compression",
    ):
        assert text in shown, text


def test_the_formats_are_told_with_the_limits_of_this_service(service: Running) -> None:
    admission = service.services.admission
    assert formats_page(service.services) == FormatsPage(
        title="Formats",
        address="/docs/formats",
        families=tuple(
            Architectures(dataset=dataset, architectures=admission.architectures(dataset))
            for dataset in ("cifar10", "cifar100", "imagenet", "digits")
        ),
        max_bytes=MAX_CHECKPOINT_BYTES,
        bytes_a_day=20 * 1024**3,
        bytes_kept=100 * 1024**3,
    )
    shown = read(service, "/docs/formats").text
    for text in ("at most 293\u202fKiB", "20\u202fGiB", "100\u202fGiB", "digits_cnn", "none yet; export the network"):
        assert text in shown, text
    assert "exported" not in shown


def test_citations_name_the_board_the_protocol_the_service_and_the_day(service: Running) -> None:
    page = cite_page("https://gauntlet.example/", "1.2.3", date(2026, 11, 28))
    assert page == CitePage(
        title="Citing",
        address="/docs/cite",
        service="https://gauntlet.example/",
        version="1.2.3",
        day=date(2026, 11, 28),
        board=official_board("digits", "Linf"),
    )
    today = datetime.now(UTC).date()
    entry, board, whole, foundations = examples(service, "/docs/cite")
    for text in (entry, board, whole, foundations):
        assert text.count("{") == text.count("}")
    for address in re.findall(r"\\url\{([^}]+)\}", board + whole):
        assert service.http.get(address).status_code == 200
    assert f"\\url{{{service.url}/models/digits/Linf/NAME}}" in entry
    assert f"boards/digits/Linf?as_of={today}" in board
    assert __version__ in board
    assert __version__ in whole
    assert re.findall(r"^@(\w+)\{", foundations, flags=re.MULTILINE) == ["inproceedings"] * 2


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_chapter_lists_all_and_leads_to_what_there_is(service: Running, address: str) -> None:
    page = read(service, address)
    listed = [link["href"] for link in page.find("a") if link["href"] in ADDRESSES]
    assert set(listed) == set(ADDRESSES)
    assert [link["href"] for link in page.find("a", aria_current="page")] == [address]
    leading = {link["href"] for link in page.find("a")}
    assert {link for link in leading if not link.startswith(("/", "#", "https://arxiv.org/abs/"))} == set()
    for target in sorted(link for link in leading if link.startswith("/")):
        path, anchor = urldefrag(target)
        answer = service.http.get(path)
        assert answer.status_code in {200, 303}, target
        assert not anchor or f'id="{anchor}"' in answer.text, target


def test_pages_of_the_documentation_ask_the_database_nothing(service: Running) -> None:
    for address in ADDRESSES:
        with questions(service.services) as asked:
            assert service.http.get(address).status_code == 200
        assert asked == [], address


def commands(text: str, values: dict[str, str]) -> list[httpx.Request]:
    """What the commands of an example ask for, with the shell's variables filled in."""
    asked = []
    for command in Template(text.replace("\\\n", " ")).substitute(values).split("curl ")[1:]:
        words = shlex.split(command)
        options = dict(pairwise(words))
        headers = {"Authorization": options["--header"].partition(": ")[2]} if "--header" in options else {}
        (address,) = [word for word in words if word.startswith("http")]
        if "--upload-file" in options:
            content = bundled_checkpoint(BUNDLED).read_bytes()
            asked.append(httpx.Request("PUT", address, headers=headers, content=content))
        elif "--json" in options:
            asked.append(httpx.Request("POST", address, headers=headers, json=json.loads(options["--json"])))
        else:
            asked.append(httpx.Request("GET", address, headers=headers))
    return asked


def test_the_examples_for_programs_work_as_they_stand(service: Running) -> None:
    reading, submitting, watching, error = examples(service, "/docs/api")
    jane = person(service.services.db, "jane")
    _, token = create_token(service.services.db, jane, "laptop", [Scope.READ, Scope.SUBMIT])
    values = {"GAUNTLET_TOKEN": token, "sha256": BUNDLED.sha256}
    (board,) = (service.http.send(asked) for asked in commands(reading, values))
    assert len(board.json()["rows"]) == 5
    hashing, _, rest = submitting.partition("\n")
    assert hashing.startswith("sha256=$(sha256sum model.safetensors")
    assert [service.http.send(asked).status_code for asked in commands(rest, values)] == [201, 201]
    (view,) = list_submissions(service.services.db, 10, jane)
    assert (view.submission.name, view.submission.checkpoint_sha256) == ("Doe2026Careful", BUNDLED.sha256)
    (asked,) = commands(watching, values | {"id": view.id})
    stream = service.http.send(asked, stream=True)
    assert stream.headers["Content-Type"].startswith("text/event-stream")
    assert "received" in next(line for line in stream.iter_lines() if line.startswith("data:"))
    stream.close()
    missing = service.http.get("/api/v1/leaderboards/digits/L7").json()
    assert (set(missing), set(missing["error"])) == (set(json.loads(error)), set(json.loads(error)["error"]))
