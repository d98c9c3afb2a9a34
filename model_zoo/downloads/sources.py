"""Where a published checkpoint lies: Google Drive, the Hugging Face hub, or any address."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode, urljoin

from benchmark.errors import NotFound
from model_zoo.downloads.places import check_address
from model_zoo.downloads.transfer import HtmlInstead, Patience, Progress, fetch
from model_zoo.registry import PublishedCard

_HUB_FILE = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)@(?P<revision>[\w.-]+)/(?P<file>[\w./-]+)")


@dataclass(frozen=True)
class Hosts:
    """The hosts that files are asked for, so that tests can name others.

    Args:
        drive: Google Drive's host of downloads.
        hub: the Hugging Face hub.
    """

    drive: str = "https://drive.usercontent.google.com"
    hub: str = "https://huggingface.co"


@dataclass(frozen=True)
class Source:
    """Where one file lies.

    Args:
        url: its address.
        confirms: whether large files have to be confirmed on a page first, as on Google Drive.
    """

    url: str
    confirms: bool = False


def sources_of(card: PublishedCard, hosts: Hosts = Hosts()) -> tuple[Source, ...]:
    """Return where a card's files lie: one, or one for each member of an ensemble.

    Raises:
        NotFound: its card names no place.
    """
    if card.google_drive:
        return tuple(drive_source(file, hosts) for file in card.google_drive)
    if card.hugging_face is not None:
        return (hub_source(card.hugging_face, hosts),)
    if card.url is not None:
        return (Source(card.url),)
    raise NotFound.because(
        "source",
        found=f"no place for the checkpoint of {card.id}",
        expected="a card that says where it lies",
        remedy="ask its authors for the file, and name its folder as model_dir",
    )


def drive_source(file: str, hosts: Hosts = Hosts()) -> Source:
    """Return where a file of Google Drive lies, by its id."""
    query = urlencode({"id": file, "export": "download", "confirm": "t"})
    return Source(f"{hosts.drive}/download?{query}", confirms=True)


def hub_source(name: str, hosts: Hosts = Hosts()) -> Source:
    """Return where a file of the Hugging Face hub lies.

    Args:
        name: as "owner/repository@revision/path".
        hosts: whose hub.
    Raises:
        NotFound: it is not written like that.
    """
    found = _HUB_FILE.fullmatch(name)
    if found is None or ".." in name:
        raise NotFound.because(
            "hugging_face", found=repr(name[:200]), expected='"owner/repository@revision/path"', remedy="mend the card"
        )
    return Source(f"{hosts.hub}/{found['repository']}/resolve/{found['revision']}/{found['file']}")


def fetch_from(source: Source, target: Path, *, patience: Patience, progress: Progress | None = None) -> None:
    """Fetch a file from where it lies; a page that asks whether it may be so large is answered once.

    Raises:
        DownloadFailed: it cannot be had.
        HtmlInstead: a page came instead, and it was none that could be answered.
    """
    try:
        fetch(source.url, target, patience=patience, progress=progress)
    except HtmlInstead as error:
        confirmed = _confirmed(error.page, source.url) if source.confirms else None
        if confirmed is None:
            raise
        fetch(confirmed, target, patience=patience, progress=progress)


def _confirmed(page: bytes, url: str) -> str | None:
    """Return what the page's form would ask for; None where it has none."""
    form = _Form()
    form.feed(page.decode("utf-8", errors="replace"))
    if form.action is None or "id" not in form.fields:
        return None
    try:
        asked = f"{urljoin(url, form.action)}?{urlencode(form.fields)}"
    except ValueError:  # no address
        return None
    check_address(asked, "form", after=url)
    return asked


class _Form(HTMLParser):
    """Finds the form for downloading, and its hidden fields."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form" and self.action is None and given.get("id") in ("download-form", "downloadForm"):
            self.action = given.get("action", "").partition("?")[0]
        elif tag == "input" and self.action is not None and given.get("name"):
            self.fields.setdefault(given["name"], given.get("value", ""))
