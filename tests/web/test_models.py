"""The page of an entry: its evidence where it was evaluated here, and what is unknown where it was not."""

from __future__ import annotations

from benchmark.report import Check, CheckOutcome
from store.boards import get_model
from tests.running import Running
from tests.store.material import check
from tests.web.html import read_page
from tests.web.material import publish
from web.charts import Bar
from web.pages.model import Usage, model_page
from web.rendering import as_html

REPORTED = ("cifar10", "Linf", "Amini2024MeanSparse_S-WRN-94-16")


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
    assert [one.code for one in page.evidence.checks] == ["zero_gradient", "square_helps"]
    assert page.usage == Usage(
        load=None,
        reproduce="gauntlet evaluate FILE --architecture tiny-cnn --dataset digits --threat-model Linf\n"
        "gauntlet reproduce report.json --checkpoint FILE",
        note="The checkpoint is private: whoever has the file with the hash below can run this. "
        "The file report.json is the whole report, linked below; every setting is taken from it.",
    )
    assert page.unknown == ("authors", "venue", "paper", "kind of extra data")
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
    assert page.usage.load is None
    assert page.unknown == (
        "number of parameters",
        "kind of extra data",
        "result of each attack",
        "verdict on each image",
        "accuracy by class",
        "findings of the checks",
        "uncertainty",
        "hash of the checkpoint",
        "seed",
        "versions and hardware",
        "time and passes",
    )
    shown = read_page(service.http.get("/models/" + "/".join(REPORTED)).text)
    assert "has not run the model" in shown.text
    assert "number of parameters" in shown.text
    assert shown.find("a", href="https://arxiv.org/abs/2406.05927", rel="nofollow noopener ugc external")


def test_model_names_the_mean_corruption_error(service: Running) -> None:
    shown = read_page(service.http.get("/models/imagenet/corruptions/Tian2022Deeper_DeiT-B").text)
    for text in ("67.55", "41.7", "65.90", "of corrupted images correctly classified"):
        assert text in shown.text
    assert "under attack" not in shown.text


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
