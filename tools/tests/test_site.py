"""What the site is made of, and what is found wrong with it."""

from pathlib import Path
from textwrap import dedent

import pytest

import satchel
from satchel_conformance import registry
from tools import workspace
from tools.site import access, docstrings, links, pages, sequence

PICTURE = """\
sequenceDiagram
    accTitle: A bot reads
    participant A as Bot
    participant S as Storage <here>
    A->>S: read
    S-->>A: nothing
    Note over A,S: they wait
"""


def test_a_rule_stands_on_the_page_as_the_suite_has_it() -> None:
    text = pages.page("docs/contract", "<!-- site: rule R7 -->\n\nWhy.\n\n<!-- site: clauses R7 -->\n")
    assert "## R7 Versions\n" in text
    assert registry.RULES[7].removeprefix("Versions. ") in text
    assert all(f"`{clause.id}`" in text for clause in registry.select(["R7"]))


def test_the_contract_has_every_rule_with_a_reason() -> None:
    text = (workspace.ROOT / "docs/contract.md").read_text(encoding="utf-8")
    for number in registry.RULES:
        _, _, rest = text.partition(f"<!-- site: rule R{number} -->")
        reason, _, _ = rest.partition(f"<!-- site: clauses R{number} -->")
        assert len(reason.split()) > 10, f"R{number}"


def test_a_mark_that_stands_for_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="stands for nothing"):
        pages.page("docs/contract", "<!-- site: weather -->")


@pytest.mark.parametrize(
    ("name", "link", "there"),
    [
        ("docs/choose", "[x](../packages/redis)", "[x](../packages/redis/README.md)"),
        ("docs/choose", "[x](../packages/redis/README.md#at-rest)", "[x](../packages/redis/README.md#at-rest)"),
        ("docs/flow", "[x](../README.md)", "[x](../docs/index.md)"),
        ("docs/flow", "```text\n[x](../packages/redis)\n```", "```text\n[x](../packages/redis)\n```"),
    ],
)
def test_a_link_to_a_folder_leads_to_its_page(name: str, link: str, there: str) -> None:
    assert pages.page(name, link) == there


def test_every_package_is_an_adapter_or_a_bridge_and_has_its_reference() -> None:
    listed = pages.page("docs/x", "<!-- site: packages adapters -->\n<!-- site: packages bridges -->\n")
    for member in workspace.members():
        assert (f"/{member.folder}/README\n" in listed) == member.folder.startswith("packages/")
    assert ".. automodule:: satchel_redis" in pages.page("packages/redis/README", "# satchel-redis")


def test_what_is_indented_in_a_docstring_is_code_and_stars_are_stars() -> None:
    lines = dedent("""\
        Takes `**options`, and *no* emphasis: see `Sessions`.

            async with x:
                y = 2 * 3

        Args:
            a_b: what `a` is.
    """).splitlines()
    assert docstrings.converted(lines) == [
        "Takes ``**options``, and \\*no\\* emphasis: see `Sessions`.",
        "",
        ".. code-block:: python",
        "",
        "    async with x:",
        "        y = 2 * 3",
        "",
        "Args:",
        "    a\\_b: what `a` is.",
    ]


def test_a_picture_has_all_that_its_text_says() -> None:
    drawn = sequence.draw(sequence.parse(PICTURE.splitlines()))
    assert "<title>A bot reads</title>" in drawn
    assert all(f">{text}</text>" in drawn for text in ("Bot", "Storage &lt;here&gt;", "read", "nothing", "they wait"))
    assert drawn.count('class="back"') == 1


@pytest.mark.parametrize(
    "line", ["A->>B: to nobody", "loop every minute", "A=>S: no arrow of ours", "Note over B: nobody", "A->>S:"]
)
def test_a_line_that_cannot_be_drawn_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match="not understood"):
        sequence.parse([*PICTURE.splitlines(), line])


def test_a_picture_without_words_for_the_blind_is_an_error() -> None:
    with pytest.raises(ValueError, match="accTitle"):
        sequence.parse([line for line in PICTURE.splitlines() if "accTitle" not in line])


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site of two pages, and nothing wrong."""
    (tmp_path / "a.html").write_text(
        '<a href="b.html#there">b</a> <a href="https://elsewhere.example/x">x</a><pre>1</pre>'
    )
    (tmp_path / "b.html").write_text('<h1 id="there">b</h1><script src="s.js"></script>')
    (tmp_path / "s.js").touch()
    return tmp_path


def test_a_site_with_nothing_wrong(site: Path) -> None:
    assert list(links.problems(site)) == []


@pytest.mark.parametrize(
    ("html", "problem"),
    [
        ('<a href="c.html">', "c.html leads nowhere"),
        ('<a href="b.html#nowhere">', "b.html#nowhere leads to no place"),
        ('<a href="#nowhere">', "#nowhere leads to no place"),
        ('<img src="c.png">', "c.png leads nowhere"),
        ('<script src="https://cdn.example/x.js"></script>', "fetches https://cdn.example/x.js"),
        ('<link rel="stylesheet" href="//cdn.example/x.css">', "fetches //cdn.example/x.css"),
    ],
)
def test_a_dead_link_and_a_fetch_are_found(site: Path, html: str, problem: str) -> None:
    (site / "a.html").write_text(html)
    assert any(f"a.html: {problem}" in found for found in links.problems(site))


def test_a_public_name_without_a_reference_is_found() -> None:
    everything = [(f"satchel.{name}",) for name in satchel.__all__]
    assert list(links.undocumented(everything)) == []
    assert list(links.undocumented(everything[1:])) == [f"the reference lacks satchel.{satchel.__all__[0]}"]


def test_code_that_scrolls_is_reached_by_the_keyboard(site: Path) -> None:
    access.mend(site)
    assert '<pre tabindex="0">1</pre>' in (site / "a.html").read_text()
