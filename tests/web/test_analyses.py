"""What the pages say of an entry beside its robustness, and the files of its plots."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ET
from threading import BoundedSemaphore

import pytest

from benchmark.analysis.plots import as_svg
from benchmark.analysis.results import TITLES, Analysis, Study, Transferability
from benchmark.analysis.words import in_words
from benchmark.threat_models import official_board
from gauntlet.rates import LIMITS
from store.actors import Actor
from store.analyses import find_study
from store.claims import claim
from store.rates import Counted
from store.services import Services
from tests.benchmark.analysis.studies import a_study
from tests.running import Running
from tests.store.analysed import LEFT_OUT, publish_analysed
from tests.store.corrupted import publish_corrupted
from tests.store.deciders import person
from tests.store.material import LEASE_MS, a_worker
from tests.web.html import read_page
from tests.web.material import asked_by, publish
from web.analyses import MOST_LINES, Analyses, LeftOut, Section, make_file, section, version
from web.formats import DASH
from web.pages import analyses as route
from web.pages.compare import compare_page
from web.pages.model import model_page
from web.rendering import _environment

PAGE = "/models/digits/Linf/Method%20A"
COMPARE = "/compare/digits/Linf"
BOARD = official_board("digits", "Linf")
HOSTILE = "<script>alert(1)</script>$x^2$&amp; \u202egnp"


@pytest.fixture
def owner(service: Running) -> Actor:
    return person(service.services.db, "owner")


def study_of(services: Services, name: str = "Method A") -> Study:
    stored = find_study(services.db, services.blobs, BOARD, name)
    assert stored is not None
    assert stored.study is not None
    return stored.study


def sections_of(services: Services, name: str = "Method A") -> dict[str, Section]:
    found = model_page(services, "digits", "Linf", name).analyses
    assert found is not None
    return {one.title: one for one in found.sections}


def test_a_page_shows_every_analysis_with_its_words_plot_numbers_and_files(service: Running, owner: Actor) -> None:
    publish_analysed(service.services, owner, "Method A", without=[Analysis.OOD])
    study = study_of(service.services)
    page = model_page(service.services, "digits", "Linf", "Method A")
    made = [one for one in Analysis if one is not Analysis.OOD]
    folder = f"{PAGE}/analyses"
    assert page.analyses == Analyses(
        points=500,
        sections=tuple(section(one, {"Method A": study}, folder, "digits") for one in made),
        left_out=(LeftOut(title="Out-of-distribution detection", reason=LEFT_OUT),),
    )
    html = service.http.get(PAGE).text
    shown = read_page(html)
    assert shown.text.count("None of these numbers ranks.") == 1
    assert LEFT_OUT in shown.text
    for one in page.analyses.sections:
        assert shown.find("h3", id=one.anchor)
        assert one.said[0].text in shown.text
        light, dark = shown.find("img", alt=one.alt)
        assert (light["src"], light["class"]) == (one.light, "for-light")
        assert (dark["src"], dark["class"]) == (one.dark, "for-dark")
        for image in (light, dark):
            assert (image["width"], image["height"]) == (str(one.width), str(one.height))
            assert image["loading"] == "lazy"
        for download in one.downloads:
            assert shown.find("a", href=download.address, download=download.file)
        assert all(cell in html for table in one.tables for line in table.lines for cell in line.cells)


@pytest.mark.slow
def test_files_are_what_they_say_and_may_be_kept_for_ever(service: Running, owner: Actor) -> None:
    publish_analysed(service.services, owner, "Method A")
    study = study_of(service.services)
    for title, one in sections_of(service.services).items():
        (analysis,) = [each for each in Analysis if TITLES[each] == title]
        files = {download.name: service.http.get(download.address) for download in one.downloads}
        kinds = {
            "CSV": "text/csv; charset=utf-8",
            "JSON": "application/json",
            "SVG": "image/svg+xml",
            "PNG": "image/png",
        }
        for name, answer in files.items():
            assert answer.status_code == 200
            assert answer.headers["content-type"] == kinds[name]
            assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert files["SVG"].text == as_svg(analysis, {"Method A": study})
        assert service.http.get(one.dark).text == as_svg(analysis, {"Method A": study}, dark=True)
        assert files["PNG"].content.startswith(b"\x89PNG")
        read = list(csv.DictReader(io.StringIO(files["CSV"].text, newline="")))
        assert {row["model"] for row in read} == {"Method A"}
        alone = Study.from_bytes(files["JSON"].content)
        assert alone.made == (analysis,)
        assert getattr(alone, analysis) == getattr(study, analysis)


def test_what_is_still_to_come_and_what_came_to_nothing_is_said(service: Running, owner: Actor) -> None:
    publish_analysed(service.services, owner, "Method A", most=2)
    found = model_page(service.services, "digits", "Linf", "Method A").analyses
    assert found is not None
    assert [one.title for one in found.sections] == ["Calibration", "Out-of-distribution detection"]
    assert found.pending == tuple(TITLES[one] for one in list(Analysis)[2:])
    shown = read_page(service.http.get(PAGE).text)
    assert "Still to come: Fairness over the classes, Membership inference" in shown.text
    assert "Came to nothing" not in shown.text


def test_an_analysis_that_another_joins_keeps_its_address(service: Running, owner: Actor) -> None:
    """Or a page that is open while analyses go on would lose its plots."""
    publish_analysed(service.services, owner, "Method A", most=1)
    address = sections_of(service.services)["Calibration"].light
    study = study_of(service.services)
    assert version(Analysis.CALIBRATION, {"Method A": a_study()}) == version(
        Analysis.CALIBRATION, {"Method A": a_study(curve=None)}
    )
    assert version(Analysis.CALIBRATION, {"Method A": study}) in address
    assert version(Analysis.CALIBRATION, {"B": study}) not in address, "the name is in the drawing"


def wrong_addresses(address: str) -> list[str]:
    folder, _, _ = address.rpartition("/")
    return [
        f"{folder}/calibration.gif",
        f"{folder}/calibration",
        f"{folder}/calibration-dark.png",
        f"{folder}/curve.svg",
        f"{folder}/..%2Fcalibration.svg",
        f"{folder}/%3Cscript%3E.svg",
        f"{folder.rpartition('/')[0]}/{'0' * 32}/calibration.svg",
        address.replace("Method%20A", "Method%20B"),
        address.replace("Method%20A", "nobody"),
        address.replace("digits/Linf", "digits/L7"),
        address.replace("digits/Linf", "digits/L2"),
    ]


def test_there_are_no_other_files(service: Running, owner: Actor) -> None:
    publish(service.services, "Method B")
    publish_analysed(service.services, owner, "Method A", most=1)
    address = sections_of(service.services)["Calibration"].light
    assert service.http.get(address).status_code == 200
    for wrong in wrong_addresses(address):
        answer = service.http.get(wrong)
        assert answer.status_code == 404, wrong
        assert "immutable" not in answer.headers.get("cache-control", "")
    told = service.http.get(address.replace(".svg", ".gif")).text
    assert "load that page again" in told.lower()


def test_a_page_says_why_nothing_was_analysed(service: Running) -> None:
    publish(service.services, "Method A")
    publish_corrupted(service.services.db, service.services.blobs, "Standard", losses=(75, 74), baseline=True)
    reasons = {
        ("digits", "Linf", "Method A"): "may ask for it on the page of its submission",
        ("cifar10", "Linf", "Amini2024MeanSparse_S-WRN-94-16"): "has not run the model, so it was not analysed",
    }
    for name, reason in reasons.items():
        page = model_page(service.services, *name)
        assert page.analyses is not None
        assert reason in page.analyses.missing
        shown = read_page(service.http.get("/models/" + "/".join(name)).text)
        assert page.analyses.missing in shown.text
        assert "None of these numbers ranks" not in shown.text
    assert model_page(service.services, "digits", "corruptions", "Standard").analyses is None
    assert "Analyses" not in read_page(service.http.get("/models/digits/corruptions/Standard").text).text


def test_names_are_nothing_but_names() -> None:
    named = Transferability(method=HOSTILE, points=9, names=(HOSTILE, "=1+1"), robust=((0.5, 0.25), (0.125, 1)))
    studies = {HOSTILE: a_study(transfer=named), "B": a_study(transfer=named)}
    svg = make_file("transfer.svg", studies, (0, 1)).plain.decode()
    assert ET.fromstring(svg).get("role") == "img"  # noqa: S314 - our own
    assert "<script" not in svg
    assert "\u202e" not in svg
    found = section(Analysis.TRANSFER, {HOSTILE: studies[HOSTILE]}, "/models/x", "digits")
    assert found.tables[1].lines[1].name == f"{HOSTILE} → =1+1"
    several = section(Analysis.TRANSFER, studies, "/compare/x", "digits", places=(0, 1), query="?model=B&model=C")
    assert several.light.endswith("/transfer.svg?model=B&model=C")
    environment = _environment()
    html = str(environment.get_template("analysis.html").module.cards([found, several]))  # type: ignore[attr-defined]
    assert "<script" not in html
    assert "\u202e" not in html


def test_a_long_table_is_cut_and_says_so() -> None:
    (whole, each) = section(Analysis.FAIRNESS, {"A": a_study(classes=100)}, "/x", "cifar100").tables
    assert len(each.lines) == MOST_LINES
    assert each.left_out == 100 - MOST_LINES
    assert each.lines[0].name == "class 0 apple"
    assert whole.heads == ("Number", "Value")
    (numbers,) = section(Analysis.DISTANCES, {"A": a_study()}, "/x", "digits").tables
    assert [line.name for line in numbers.lines][:2] == ["points", "points with an example"]


def test_numbers_are_written_as_people_read_them() -> None:
    whole, each = section(Analysis.CALIBRATION, {"A": a_study()}, "/x", "digits").tables
    assert [(line.name, line.cells) for line in whole.lines] == [
        ("points", ("200",)),
        ("expected calibration error", ("2.2\u202f%",)),
        ("best temperature", ("0.56",)),
        ("error at that temperature", ("1.1\u202f%",)),
    ]
    assert each.heads == ("Part", "points", "mean confidence", "accuracy")
    assert each.lines[0].name == "bin 1"
    assert each.lines[0].cells == ("0", DASH, DASH)


def test_entries_side_by_side_show_what_at_least_two_have(service: Running, owner: Actor) -> None:
    publish_analysed(service.services, owner, "Method A", most=3)
    take_all(service.services)
    for work in ("Method B", "Method C"):
        publish_analysed(
            service.services, owner, work, seed=len(work), without=[Analysis.OOD] if work[-1] == "B" else []
        )
    page = compare_page(service.services, "digits", "Linf", ["Method C", "Method A", "Method B"])
    assert page.compared is not None
    by_title = {one.title: one for one in page.compared.analyses}
    assert list(by_title) == [TITLES[one] for one in Analysis]
    assert [said.letter for said in by_title["Calibration"].said] == ["A", "B", "C"]
    assert [said.letter for said in by_title["Out-of-distribution detection"].said] == ["A", "B"]
    assert [said.letter for said in by_title["Robust accuracy by budget"].said] == ["A", "C"]
    one = by_title["Robust accuracy by budget"]
    assert one.said[1].text == in_words(Analysis.CURVE, study_of(service.services, "Method B"))
    assert [table.heads for table in one.tables] == [("Number", "A", "C")]
    query = "?model=Method+C&model=Method+A&model=Method+B"
    shown = read_page(service.http.get(f"{COMPARE}{query}").text)
    assert shown.text.count("None of these numbers ranks.") == 1
    assert one.light in [image["src"] for image in shown.find("img")]
    for download in (*one.downloads, *by_title["Calibration"].downloads):
        assert service.http.get(download.address).status_code == 200
    found = service.http.get(by_title["Calibration"].downloads[1].address).json()
    assert list(found) == sorted(["Method C", "Method A", "Method B"])
    assert "A  Method C" in service.http.get(by_title["Calibration"].light).text
    # Whoever is left out of a drawing leaves a gap in its letters.
    drawn = service.http.get(one.light).text
    assert "A  Method C" in drawn
    assert "C  Method B" in drawn
    assert "Method A" not in drawn


def take_all(services: Services) -> None:
    """Let a worker begin whatever waits, or it would be taken for what is made next."""
    while claim(services.db, a_worker(), LEASE_MS) is not None:
        pass


@pytest.mark.slow
def test_addresses_of_several_hold_what_they_are_of(service: Running, owner: Actor) -> None:
    publish_analysed(service.services, owner, "Method A")
    publish_analysed(service.services, owner, "Method B", seed=1)
    page = compare_page(service.services, "digits", "Linf", ["Method A", "Method B"])
    assert page.compared is not None
    address = page.compared.analyses[0].light
    assert service.http.get(address).status_code == 200
    path = address.partition("?")[0]
    for query in ("", "?model=Method+A", "?model=Method+B&model=Method+A", "?model=Method+A&model=nobody",
                  "?" + "&".join(f"model={n}" for n in range(6))):  # fmt: skip
        assert service.http.get(path + query).status_code == 404, query


def test_entries_that_were_not_analysed_have_no_such_part(service: Running, owner: Actor) -> None:
    publish_analysed(service.services, owner, "Method A")
    publish(service.services, "Method B")
    page = compare_page(service.services, "digits", "Linf", ["Method A", "Method B"])
    assert page.compared is not None
    assert page.compared.analyses == ()
    shown = read_page(service.http.get(f"{COMPARE}?model=Method+A&model=Method+B").text)
    assert not shown.find("h2", id="analyses")


def test_a_drawing_is_made_once_and_counted_for_whoever_asked(
    service: Running, owner: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_analysed(service.services, owner, "Method A", most=1)
    address = sections_of(service.services)["Calibration"].light
    counted: list[Counted] = []
    monkeypatch.setattr(
        type(service.services.rates), "spend", lambda _self, what, *_whose: counted.append(what), raising=True
    )
    for _ in range(3):
        assert service.http.get(address).status_code == 200
    assert counted == [Counted.DRAWING]
    assert Counted.DRAWING in LIMITS


def test_drawings_do_not_take_all_threads(service: Running, owner: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_analysed(service.services, owner, "Method A", most=1)
    address = sections_of(service.services)["Calibration"].light
    monkeypatch.setattr(route, "_places", BoundedSemaphore(1))
    assert route._places.acquire(blocking=False)
    answer = service.http.get(address)
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "5"
    assert "immutable" not in answer.headers.get("cache-control", "")
    route._places.release()
    assert service.http.get(address).status_code == 200


def test_a_page_and_a_plot_ask_a_fixed_number_of_questions(service: Running, owner: Actor) -> None:
    publish_analysed(service.services, owner, "Method A", most=11)
    publish_analysed(service.services, owner, "Method B", most=2)
    asked = [asked_by(service, f"/models/digits/Linf/{name}") for name in ("Method%20A", "Method%20B")]
    assert asked[0] == asked[1]
    assert asked[0][1] == 3
