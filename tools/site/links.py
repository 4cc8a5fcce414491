"""What must hold for the finished site: every link leads somewhere, and nothing is fetched from anywhere else."""

from collections.abc import Iterable, Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import satchel

_FETCHED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
_NOT_FETCHED = {"canonical", "next", "prev", "search", "index", "genindex"}


class Page(HTMLParser):
    """The links, the anchors and the files of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = {"", "top"}
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take what the tag has of them."""
        found = {name: value for name, value in attrs if value is not None}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if (name := _FETCHED.get(tag)) in found and found.get("rel", "") not in _NOT_FETCHED:
            self.fetched.append(found[name])


def problems(site: Path) -> Iterator[str]:
    """Say which links of a site lead nowhere, and what it fetches from elsewhere, one line each."""
    pages = {path.relative_to(site).as_posix(): path for path in sorted(site.rglob("*.html"))}

    @cache
    def read(path: Path) -> Page:
        return Page(path.read_text(encoding="utf-8"))

    for name, path in pages.items():
        page = read(path)
        for address in page.fetched:
            if urlsplit(address).scheme not in ("", "data") or address.startswith("//"):
                yield f"{name}: fetches {address}"
        for address in [*page.links, *page.fetched]:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                yield f"{name}: {address} leads nowhere"
            elif target.suffix == ".html" and unquote(parts.fragment) not in read(target).anchors:
                yield f"{name}: {address} leads to no place in {target.name}"


def undocumented(objects: Iterable[Any]) -> Iterator[str]:
    """Name what `satchel` has for everybody and no page of the reference has."""
    known = {entry[0] for entry in objects}
    yield from (f"the reference lacks satchel.{name}" for name in satchel.__all__ if f"satchel.{name}" not in known)


def finish(site: Path, first: str, objects: Iterable[Any]) -> None:
    """Write the page that leads to the first one, and look at all of them.

    Raises:
        SystemExit: something does not hold.
    """
    start = '<!doctype html><html lang="en"><title>Satchel</title><meta http-equiv="refresh" content="0; url={0}">'
    start += '<a href="{0}">Satchel</a></html>\n'
    (site / "index.html").write_text(start.format(f"{first}.html"), encoding="utf-8")
    if found := [*undocumented(objects), *problems(site)]:
        raise SystemExit("\n".join(found))
