"""Reads a page strictly: what a browser would quietly mend is an error here."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"})
NO_NESTING = frozenset({"a", "button", "form", "label", "p"})


class PageReader(HTMLParser):
    """A page's elements in order; `problems` lists what is wrong with them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.problems: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._open: list[str] = []
        if not text.startswith("<!doctype html>"):
            self.problems.append("no doctype")
        self.feed(text)
        self.close()
        if self._open:
            self.problems.append(f"never closed: {self._open}")
        self._check_references()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._take(tag, attrs)
        if tag not in VOID:
            if tag in NO_NESTING and tag in self._open:
                self.problems.append(f"<{tag}> inside <{tag}>")
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # Only elements of a drawing may close themselves.
        if "svg" not in self._open:
            self.problems.append(f"<{tag}/> outside a drawing")
        self._take(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1] != tag:
            self.problems.append(f"</{tag}> closes {self._open[-3:]}")
        else:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self._open):
            self.text += data
        elif data.strip():
            self.problems.append("a script or style in the page itself")

    def find(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        """Return the attributes of all elements with this tag and these attributes; ``_`` stands for ``-``."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [found for name, found in self.elements if name == tag and wanted.items() <= found.items()]

    def _take(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.problems.append(f"<{tag}> has an attribute twice")
        forbidden = [name for name in names if name == "style" or name.startswith("on")]
        if forbidden:
            self.problems.append(f"<{tag}> has {forbidden}")
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def _check_references(self) -> None:
        ids = [attributes["id"] for _, attributes in self.elements if "id" in attributes]
        doubled = sorted({name for name in ids if ids.count(name) > 1})
        if doubled:
            self.problems.append(f"ids used twice: {doubled}")
        for tag, attributes in self.elements:
            for name in ("for", "aria-labelledby", "aria-describedby"):
                missing = [one for one in attributes.get(name, "").split() if one not in ids]
                if missing:
                    self.problems.append(f"<{tag}> {name} names {missing}")
            href = attributes.get("href", "")
            if href.startswith("#") and href[1:] not in ids:
                self.problems.append(f"{href} leads nowhere")
        controls = [found for tag, found in self.elements if tag in {"input", "select", "textarea", "progress"}]
        labels = {found.get("for") for tag, found in self.elements if tag == "label"}
        for found in controls:
            if found.get("type") != "hidden" and "aria-label" not in found and found.get("id") not in labels:
                self.problems.append(f"no label for {found}")


def read_page(text: str) -> PageReader:
    """Read a page and insist that nothing is wrong with it."""
    page = PageReader(text)
    assert page.problems == []
    return page
