"""The page of an entry: its evidence where it was evaluated here, and what is unknown where it was not."""

from __future__ import annotations

import hashlib
import re
from urllib.parse import unquote

from benchmark.report import Check, CheckOutcome, Evidence
from store.boards import get_model
from store.claims import beat
from store.views import Progress
from tests.running import Running
from tests.store.corrupted import publish_corrupted
from tests.store.deciders import evaluate, person, send
from tests.store.lowered import doubt, judge_examples, send_examples
from tests.store.material import LEASE_MS, check, finish, must_claim, shard_report
from tests.web.html import read_page
from tests.web.material import HOSTILE, publish
from web.charts import Bar
from web.formats import as_day, iso_time
from web.lowering import lowering
from web.pages.model import Usage, model_page
from web.rendering import as_html

REPORTED = ("cifar10", "Linf", "Amini2024MeanSparse_S-WRN-94-16")


def test_a_board_without_an_attacker_shows_cells_in_place_of_attacks(service: Running) -> None:
    db, blobs = service.services.db, service.services.blobs
    publish_corrupted(db, blobs, "Standard", losses=(75, 74), baseline=True)
    report = publish_corrupted(db, blobs, "Method A", losses=(5, 30))
    page = model_page(service.services, "digits", "corruptions", "Method A")
    assert page.verdict == (
        "Under 15 types of corruption at 5 severities each, 76.67\u202f% of the 500 images were classified correctly "
        "on average; without corruption it is 100.00\u202f%. Hardest was jpeg compression, with 0.00\u202f%."
    )
    assert page.evidence is not None
    rows = page.evidence.corruptions
    assert [row.label for row in rows[:2]] == ["gaussian noise", "shot noise"]
    assert [row.mean for row in rows] == [1.0] * 9 + [0.5] * 5 + [0.0]
    assert {row.accuracies for row in rows} == {(value,) * 5 for value in (1.0, 0.5, 0.0)}
    assert (page.form_address, page.usage.load) == (None, None)
    assert page.unknown == ("authors", "venue", "paper", "kind of extra data")
    shown = read_page(service.http.get("/models/digits/corruptions/Method%20A").text)
    for text in (page.verdict, "Corruption by corruption", "elastic transform", "mCE", report.results_sha256()):
        assert text in shown.text
    for text in ("Attack by attack", "gradient masking", "unannounced", "Evaluations by others", "Newly broken"):
        assert text not in shown.text
    assert shown.find("h2", id="attacks"), "where the badge links to"
    board = read_page(service.http.get("/boards/digits/corruptions").text)
    assert "mCE" in board.text
    assert "76.67" in board.text
    form = read_page(service.http.get("/models/digits/corruptions/Method%20A/external").text)
    assert "on this one nobody attacks" in form.text
    assert not form.find("form", method="post")


def test_model_shows_the_evidence_of_an_evaluation(service: Running) -> None:
    publish(service.services, "Method A", claimed_robust_accuracy=0.9)
    page = model_page(service.services, "digits", "Linf", "Method A")
    assert page.model == get_model(service.services.db, service.services.blobs, "digits", "Linf", "Method A")
    assert page.verdict == (
        "Two attacks, one after another, moving every image by at most 0.2 in \u2113\u221e, left 88.00\u202f% of the "
        "500 images correctly classified; without an attack it is 98.00\u202f%. No check found a symptom of "
        "misleading gradients."
    )
    assert page.evidence is not None
    assert page.evidence.waterfall == (
        Bar(label="no attack", kept=0.98, lost=1 - 0.98, note="10 of 500 misclassified"),
        Bar(label="apgd-ce", kept=0.88, lost=0.1, note="50 of 490 broken"),
        Bar(label="square", kept=0.88, lost=0.0, note="0 of 440 broken"),
    )
    assert [bar.note for bar in page.evidence.classes] == ["50 points"] * 10
    assert [(bar.kept, round(bar.lost, 9)) for bar in page.evidence.classes] == [(0.88, 0.1)] * 10
    assert [one.code for one in page.evidence.checks] == ["zero_gradient", "unconfirmed_examples", "square_helps"]
    assert page.evidence.tests == ()
    assert page.evidence.judged_again == page.evidence.checks[1]
    assert page.lowering == lowering(page.model)
    assert page.form_address == "/models/digits/Linf/Method%20A/external"
    assert page.usage == Usage(
        load=None,
        reproduce="gauntlet evaluate FILE --architecture tiny-cnn --dataset digits --threat-model Linf "
        f"--seed {page.evidence.report.provenance.seed}\n"
        "gauntlet reproduce report.json --checkpoint FILE",
        note="The checkpoint is private: whoever has the file with the hash below can run this. "
        "The file report.json is the whole report, linked below; every setting is taken from it.",
    )
    assert page.unknown == ("authors", "venue", "paper", "kind of extra data", "evidence of gradient masking")
    shown = read_page(service.http.get("/models/digits/Linf/Method%20A").text)
    report = page.evidence.report
    for text in (
        page.verdict,
        str(report.provenance.checkpoint_sha256),
        report.results_sha256(),
        "e" * 64,
        "1\u202f234",
        "90.00",
    ):
        assert text in shown.text
    for part in ("report", "points"):
        address = f"/api/v1/models/digits/Linf/Method%20A/{part}"
        assert shown.find("a", href=address)
        assert service.http.get(address).status_code == 200
    assert len(shown.find("rect", class_="bar-kept")) == 3 + 10


def test_model_says_plainly_what_a_report_leaves_open(service: Running) -> None:
    page = model_page(service.services, *REPORTED)
    assert page.verdict == (
        "RobustBench, March 2025 reports 75.28\u202f% robust accuracy under attack, and 93.60\u202f% on clean images. "
        "An external evaluation lowered the best known value to 73.10\u202f%. This service has not run the model."
    )
    assert page.evidence is None
    assert page.form_address is None
    assert page.usage.load is None
    assert page.unknown == (
        "number of parameters",
        "kind of extra data",
        "result of each attack",
        "verdict on each image",
        "accuracy by class",
        "findings of the checks",
        "evidence of gradient masking",
        "uncertainty",
        "hash of the checkpoint",
        "seed",
        "versions and hardware",
        "time and passes",
    )
    shown = read_page(service.http.get("/models/" + "/".join(REPORTED)).text)
    assert "has not run the model" in shown.text
    assert "number of parameters" in shown.text
    assert "Examples can only be judged where the model is" in shown.text
    assert not [found for found in shown.find("a") if found["href"].endswith("/external")]
    assert shown.find("a", href="https://arxiv.org/abs/2406.05927", rel="nofollow noopener ugc external")


def test_model_names_the_mean_corruption_error(service: Running) -> None:
    shown = read_page(service.http.get("/models/imagenet/corruptions/Tian2022Deeper_DeiT-B").text)
    for text in ("67.55", "41.7", "65.90", "of corrupted images correctly classified"):
        assert text in shown.text
    assert "under attack" not in shown.text
    assert "Evaluations by others" not in shown.text


def test_model_shows_what_speaks_against_its_number(service: Running) -> None:
    doubt(service.services, "Method A")
    external = send_examples(service.services, "Method A", points=(100, 101, 499), authors="Jane Doe", title="A paper")
    judge_examples(service.services, external, (100, 101, 499))
    page = model_page(service.services, "digits", "Linf", "Method A")
    assert page.verdict.endswith(
        " The unannounced attack and an evaluation by others lowered the best known value to 87.20\u202f%. "
        "A closer look is still under way. The entry is flagged: an adaptive attack will probably find a lower number."
    )
    assert page.evidence is not None
    assert [one.outcome.value for one in page.evidence.tests] == ["flagged", "not_assessed", "passed"]
    assert page.evidence.seed == (page.model.submission and page.model.submission.seed)
    shown = read_page(service.http.get("/models/digits/Linf/Method%20A").text)
    assert shown.find("a", class_="badge badge-flagged", href="#finding-noise_helps")
    (look,) = page.model.looks
    for text in (
        "zero gradient (in the graph)",
        "stateful (in the graph)",
        "broken by noise alone 8, points 64",
        "The robust accuracy is probably too high.",
        "spsa(samples=16,steps=20)-1",
        "1 of 8 points",
        look.protocol,
        "Waiting",
        "Jane Doe",
        "by hand",
        "3 hold",
        "97.40",
        "version 2",
        "judged 0 of 500 points otherwise",
    ):
        assert text in shown.text, text
    assert page.evidence.seed is not None
    key = bytes.fromhex(page.evidence.seed.key or "")
    assert hashlib.sha256(key).hexdigest() == page.evidence.seed.commitment
    for told in (page.evidence.seed.commitment, key.hex(), str(page.evidence.seed.seed)):
        assert told in shown.text
    for address in (f"/external-evaluations/{external.id}", "/models/digits/Linf/Method%20A/external"):
        assert shown.find("a", href=address)
        assert service.http.get(address).status_code == 200
    assert not shown.find("a", href=f"/api/v1/models/digits/Linf/Method%20A/looks/{look.number}/report")


def test_model_tells_how_far_a_closer_look_is_and_what_it_found(service: Running) -> None:
    doubt(service.services, "Method A", unannounced=0)
    work = must_claim(service.services.db)
    standing = Progress(points=16, points_done=3, attack="multi-targeted", attacks_done=1, attacks=3, fraction=0.5)
    beat(service.services.db, work, LEASE_MS, standing)
    shown = read_page(service.http.get("/models/digits/Linf/Method%20A").text)
    assert "multi-targeted, 3 of 16 points decided" in shown.text
    assert shown.find("progress", max="3", value="1.500")
    report = shard_report(work, misclassified=0, broken=5)
    finish(service.services.db, service.services.blobs, work, report.to_bytes())
    page = model_page(service.services, "digits", "Linf", "Method A")
    assert "A closer look lowered the best known value to 87.00\u202f%. The entry is flagged" in page.verdict
    (line,) = page.lowering.looks
    assert (line.view.broken, line.newly_broken) == (5, 5)
    shown = read_page(service.http.get("/models/digits/Linf/Method%20A").text)
    assert shown.find("a", href=line.report_address)
    assert service.http.get(line.report_address).json()["protocol"] == "follow-up-1"


def test_a_measured_entry_can_be_held_against_others(service: Running) -> None:
    publish(service.services, "Method + A")
    shown = read_page(service.http.get("/models/digits/Linf/Method%20%2B%20A").text)
    (link,) = [found["href"] for found in shown.find("a") if found["href"].startswith("/compare/")]
    assert link == "/compare/digits/Linf?model=Method+%2B+A"
    assert service.http.get(link).status_code == 200
    reported = read_page(service.http.get("/models/" + "/".join(REPORTED)).text)
    assert not [found for found in reported.find("a") if found["href"].startswith("/compare/")]


def test_whoever_cites_a_model_gets_its_paper_or_its_entry_here(service: Running) -> None:
    cited = model_page(service.services, *REPORTED).citation
    assert cited.startswith("@misc{amini2024meansparse-")
    assert "eprint = {2406.05927}" in cited
    publish(service.services, "Method A")
    address = f"{service.url}/models/digits/Linf/Method%20A"
    page = model_page(service.services, "digits", "Linf", "Method A", site=service.url)
    assert page.model.row.published_ms is not None
    year = iso_time(page.model.row.published_ms)[:4]
    key, *fields = page.citation.split("\n")
    assert re.fullmatch(rf"@misc\{{anonymous{year}method-[0-9a-f]{{8}},", key)
    assert fields == [
        "  title = {{Method A}},",
        f"  year = {{{year}}},",
        f"  howpublished = {{Entry of the leaderboard UCI digits, Linf 0.2 of Gauntlet, {year}}},",
        f"  url = {{{address}}},",
        "  note = {Models: Method A}",
        "}",
    ]
    shown = read_page(service.http.get("/models/digits/Linf/Method%20A").text)
    assert page.citation in shown.text
    assert shown.find("a", href="/docs/cite")


def test_an_anonymous_entry_is_cited_without_names(service: Running) -> None:
    title, authors, paper = "My title", "Jane Doe", "https://a.example/x"
    jane = person(service.services.db, "jane")
    send(service.services, jane, anonymous=True, title=title, authors=authors, paper_url=paper)
    evaluate(service.services)
    citation = model_page(service.services, "digits", "Linf", "Method A").citation
    assert citation.startswith("@misc{anonymous")
    assert not [text for text in (title, authors, paper) if text in citation]


def test_every_number_has_its_day(service: Running) -> None:
    publish(service.services, "Method A")
    for address in ("/models/digits/Linf/Method%20A", "/models/" + "/".join(REPORTED)):
        history = get_model(service.services.db, service.services.blobs, *unquote(address).split("/")[2:]).history
        assert history
        shown = read_page(service.http.get(address).text)
        for item in history:
            assert shown.find("time", datetime=iso_time(item.recorded_ms))
            assert as_day(item.recorded_ms) in shown.text


def test_a_check_cannot_bring_markup_either(service: Running) -> None:
    publish(service.services, "A")
    page = model_page(service.services, "digits", "Linf", "A")
    assert page.evidence is not None
    hostile = Check(code="<b>", outcome=CheckOutcome.FLAGGED, message="<img src=x>", remedy="<i>")
    assert check("zero_gradient") in page.evidence.checks
    evidence = page.evidence.model_copy(update={"checks": (hostile,)})
    shown = read_page(as_html(page.model_copy(update={"evidence": evidence})))
    assert not shown.find("img")
    assert "<img src=x>" in shown.text
    assert "finding-<b>" not in [found.get("id") for found in shown.find("tr")]


def test_neither_can_a_test_for_gradients_that_mislead(service: Running) -> None:
    doubt(service.services, "A")
    page = model_page(service.services, "digits", "Linf", "A")
    assert page.evidence is not None
    hostile = Evidence(
        code="<b>",
        outcome=CheckOutcome.FLAGGED,
        message=HOSTILE,
        remedy=HOSTILE,
        meaning=HOSTILE,
        numbers={"<img src=x>": 1.5, '" onload="': 2.0},
    )
    row = page.model.row.model_copy(update={"findings": (hostile.code,)})
    changes = {
        "evidence": page.evidence.model_copy(update={"tests": (hostile,)}),
        "model": page.model.model_copy(update={"row": row}),
    }
    shown = read_page(as_html(page.model_copy(update=changes)))
    assert not shown.find("img")
    assert "<img src=x>" in shown.text
    assert shown.find("a", class_="badge badge-flagged", href="#checks")
