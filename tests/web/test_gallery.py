"""The gallery on the page of a model: what it says, and images that have the right pixels."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from benchmark.gallery import SHOWN, Gallery
from benchmark.threat_models import official_board
from store.actors import Role
from store.galleries import StoredGallery, find_gallery
from store.moderation import withdraw
from tests.running import Running
from tests.store.corrupted import publish_corrupted
from tests.store.deciders import person
from tests.store.pictures import clean_values, gallery_of, perturbed_values, pixels, publish_with_gallery
from tests.web.html import read_page
from tests.web.material import asked_by, publish
from web.gallery import Kind, Panel, Picture, Pictures, as_png, pictures, strength
from web.pages.model import model_page

PAGE = "/models/digits/Linf/Method%20A"


def panels(stored: StoredGallery, index: int, label: str) -> tuple[Panel, ...]:
    folder = f"{PAGE}/gallery/{stored.sha256}/{index}"
    return (
        Panel(kind=Kind.ORIGINAL, address=f"{folder}/original.png", alt=f"Point {index} as it is, class {label}"),
        Panel(
            kind=Kind.PERTURBED,
            address=f"{folder}/perturbed.png",
            alt=f"Point {index} as apgd-ce changed it, misclassified",
        ),
        Panel(kind=Kind.DIFFERENCE, address=f"{folder}/difference.png", alt=f"What apgd-ce changed in point {index}"),
    )


def stored_gallery(service: Running) -> StoredGallery:
    services = service.services
    found = find_gallery(services.db, services.blobs, official_board("digits", "Linf"), "Method A")
    assert found is not None
    return found


def test_shows_what_broke_points_and_nothing_else(service: Running) -> None:
    """Point 5 is misclassified without an attack: whatever a judge leaves of it is no example."""
    publish_with_gallery(service.services, index=(5, 23, 58))
    page, stored = model_page(service.services, "digits", "Linf", "Method A"), stored_gallery(service)
    assert page.gallery == Pictures(
        pictures=(
            Picture(index=23, label="3", attack="apgd-ce", step=3, distance=0.2, panels=panels(stored, 23, "3")),
            Picture(index=58, label="8", attack="apgd-ce", step=3, distance=0.2, panels=panels(stored, 58, "8")),
        ),
        width=112,
        height=112,
        strength=4.0,
        credit="UCI digits, CC BY 4.0",
    )
    shown = read_page(service.http.get(PAGE).text)
    images = shown.find("img")
    addresses = [panel.address for one in page.gallery.pictures for panel in one.panels]
    assert [image["src"] for image in images] == addresses
    assert all((image["width"], image["height"]) == ("112", "112") and image["alt"] for image in images)
    for text in ("apgd-ce broke point 23", "class 8 \u00b7 step 3 \u00b7 distance 0.2", "change \u00d74", "CC BY 4.0"):
        assert text in shown.text, text


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    assert image.format == "PNG"
    return image


def test_images_have_the_right_pixels_and_never_change(service: Running) -> None:
    publish_with_gallery(service.services, index=(23, 58))
    levels = {
        Kind.ORIGINAL: clean_values(58, 64),
        Kind.PERTURBED: perturbed_values(58, 64),
        Kind.DIFFERENCE: [0.5 + 4 * 0.125 * (place % 2) for place in range(64)],
    }
    for panel in panels(stored_gallery(service), 58, "8"):
        answer = service.http.get(panel.address)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert "img-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        image = opened(answer.content)
        assert (image.mode, image.size) == ("L", (8, 8))
        assert list(image.tobytes()) == [round(255 * value) for value in levels[panel.kind]]


def coloured() -> tuple[Gallery, np.ndarray]:
    values = np.linspace(0, 0.9, 3 * 32 * 32, dtype=np.float32).reshape(3, 32, 32)
    moved = values + np.float32(0.03) * np.array([1, 0, -1], np.float32).reshape(3, 1, 1)
    moved = moved.clip(0, 1)
    clean, perturbed = pixels(values.ravel().tolist()), pixels(moved.ravel().tolist())
    return gallery_of([7], dataset="cifar10", epsilon="8/255", clean=[clean], perturbed=[perturbed]), values


def test_colours_lie_pixel_by_pixel_in_the_image() -> None:
    gallery, values = coloured()
    image = opened(as_png(gallery, 7, Kind.ORIGINAL))
    assert (image.mode, image.size) == ("RGB", (32, 32))
    found = np.frombuffer(image.tobytes(), np.uint8).reshape(32, 32, 3)
    assert (found == np.rint(255 * values.astype(np.float64)).astype(np.uint8).transpose(1, 2, 0)).all()
    difference = np.frombuffer(opened(as_png(gallery, 7, Kind.DIFFERENCE)).tobytes(), np.uint8).reshape(32, 32, 3)
    assert strength(gallery) == 10, "where it fits, ten times"
    assert (difference[31, 31] == [round(255 * 0.8), 128, round(255 * 0.2)]).all()


@pytest.mark.parametrize(("moved", "times"), [(0.01, 10), (0.05, 10), (0.125, 4), (0.2, 2.5)])
def test_a_difference_is_as_strong_as_fits_between_black_and_white(moved: float, times: float) -> None:
    gallery = gallery_of([3], epsilon="1/5", perturbed=[pixels(perturbed_values(3, 64, moved))])
    assert strength(gallery) == times
    levels = set(opened(as_png(gallery, 3, Kind.DIFFERENCE)).tobytes())
    assert levels == {128, min(255, round(255 * (0.5 + moved * times)))}


def test_one_great_change_does_not_make_all_others_faint() -> None:
    clean = clean_values(3, 64)
    moved = [clean[0] + 0.5, *(value + 1 / 64 for value in clean[1:])]
    gallery = gallery_of([3], norm="L2", epsilon="1", perturbed=[pixels(moved)])
    assert strength(gallery) == 10
    levels = opened(as_png(gallery, 3, Kind.DIFFERENCE)).tobytes()
    assert (levels[0], set(levels[1:])) == (255, {round(255 * (0.5 + 10 / 64))})


def wrong_addresses(address: str) -> Sequence[str]:
    folder, _, _ = address.rpartition("/23/")
    elsewhere = folder.rpartition("/")[0]
    return (
        f"{folder}/24/original.png",
        f"{folder}/-1/original.png",
        f"{folder}/023/original.png",
        f"{folder}/23/original",
        f"{folder}/23/original.svg",
        f"{folder}/23/..%2Foriginal.png",
        f"{elsewhere}/{'0' * 64}/23/original.png",
        f"{elsewhere}/%3Cscript%3E/23/original.png",
        address.replace("Method%20A", "Method%20B"),
        address.replace("Method%20A", "nobody"),
        address.replace("digits/Linf", "digits/L7"),
    )


def test_there_are_no_other_images(service: Running) -> None:
    publish_with_gallery(service.services, index=(23,))
    publish(service.services, "Method B")
    first = panels(stored_gallery(service), 23, "3")[0].address
    assert service.http.get(first).status_code == 200
    for address in wrong_addresses(first):
        answer = service.http.get(address)
        assert answer.status_code == 404, address
        assert "cache-control" not in answer.headers or "immutable" not in answer.headers["cache-control"]


def test_a_page_says_why_it_has_no_gallery(service: Running) -> None:
    services = service.services
    publish(services, "Method A")
    publish_corrupted(services.db, services.blobs, "Standard", losses=(75, 74), baseline=True)
    reasons = {
        ("digits", "Linf", "Method A"): "older than the gallery",
        ("cifar10", "Linf", "Amini2024MeanSparse_S-WRN-94-16"): "has not run the model, so it has no examples",
    }
    for name, reason in reasons.items():
        page = model_page(services, *name)
        assert page.gallery is not None
        assert reason in page.gallery.missing
        shown = read_page(service.http.get("/models/" + "/".join(name)).text)
        assert page.gallery.missing in shown.text
        assert not shown.find("img")
    assert model_page(services, "digits", "corruptions", "Standard").gallery is None


def test_images_whose_terms_forbid_it_are_not_shown(service: Running) -> None:
    publish(service.services, "Method A")
    model = model_page(service.services, "digits", "Linf", "Method A").model
    assert "imagenet" not in SHOWN
    assert "terms of this data set" in pictures(model.model_copy(update={"dataset": "imagenet"}), None).missing
    assert model.report is not None
    unbroken = [attack.model_copy(update={"broken": 0}) for attack in model.report.attacks]
    report = model.report.model_copy(update={"attacks": tuple(unbroken)})
    assert "nothing to show" in pictures(model.model_copy(update={"report": report}), None).missing


def test_a_withdrawn_entry_keeps_its_evidence(service: Running) -> None:
    work = publish_with_gallery(service.services, index=(23,))
    keeper = person(service.services.db, "keeper", Role.MAINTAINER)
    withdraw(service.services.db, work.submission_id, keeper, "A mistake.")
    shown = read_page(service.http.get(PAGE).text)
    assert "Withdrawn on" in shown.text
    assert len(shown.find("img")) == 3


def test_a_page_and_an_image_ask_a_fixed_number_of_questions(service: Running) -> None:
    publish_with_gallery(service.services, "Method A", index=(23,))
    publish_with_gallery(service.services, "Method B", index=range(20, 32))
    asked = [asked_by(service, f"/models/digits/Linf/{name}") for name in ("Method%20A", "Method%20B")]
    assert asked[0] == asked[1]
    assert asked[0][1] == 1
