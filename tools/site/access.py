"""What the theme's HTML lacks for those who use a keyboard or a screen reader; axe-core names each of these."""

import re
from pathlib import Path
from typing import Final

_REPAIRS: Final = (
    # What scrolls sideways has to be reached by the keyboard; an empty cell is the heading of nothing.
    (re.compile(r"<pre>"), '<pre tabindex="0">'),
    (
        re.compile('<div class="table-wrapper'),
        '<div tabindex="0" role="group" aria-label="Table" class="table-wrapper',
    ),
    (re.compile('<th class="head"><p></p></th>'), "<td></td>"),
    (re.compile('<div id="search-results">'), '<h1>Search</h1>\n<div id="search-results">'),
    # A heading has a level, and two parts of one kind have names.
    (re.compile(r'role="heading"(?! aria-level)'), 'role="heading" aria-level="2"'),
    (re.compile(r'<aside class="sidebar-drawer"'), '<aside aria-label="All pages" class="sidebar-drawer"'),
    (re.compile(r'<aside class="toc-drawer'), '<aside aria-label="This page" class="toc-drawer'),
)
_PARAMETERS: Final = re.compile(r"<dl>\n((?:<dd><em class=\"sig-param\">.*?</dd>\n?)+)</dl>", re.DOTALL)


def mend(site: Path) -> None:
    """Mend all pages of a site."""
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        for pattern, instead in _REPAIRS:
            text = pattern.sub(instead, text)
        path.write_text(_PARAMETERS.sub(_spans, text), encoding="utf-8")


def _spans(found: re.Match[str]) -> str:
    """The parameters of a signature: lines, and no list of definitions without a term."""
    lines = found[1].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")
    return f'<span class="sig-lines">\n{lines}</span>'
