"""What Sphinx calls: pages put together from the code, docstrings, pictures, and what the finished site needs."""

from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive

from tools.site import access, docstrings, links, pages, sequence


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("mermaid", SequenceDiagram)
    app.connect("source-read", _read)
    app.connect("autodoc-process-docstring", _before_napoleon, priority=400)
    app.connect("autodoc-process-docstring", _after_napoleon, priority=600)
    app.connect("doctree-read", _without_empty_heads)
    app.connect("build-finished", _finish, priority=900)  # after the theme
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class SequenceDiagram(Directive):
    """A fence of mermaid in a page."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Draw it."""
        try:
            picture = sequence.draw(sequence.parse(list(self.content)))
        except ValueError as error:
            raise self.error(str(error)) from None
        # It may be wider than a phone, so it is scrolled, and then has to be reached by the keyboard.
        html = f'<div class="wide" tabindex="0" role="group" aria-label="Diagram">{picture}</div>'
        return [nodes.raw("", html, format="html")]


def _read(_: Any, name: str, source: list[str]) -> None:
    source[0] = pages.page(name, source[0])


_COLON = "\ue000"  # a character that means nothing to anybody


def _before_napoleon(*event: Any) -> None:
    _, what, *_, lines = event
    lines[:] = docstrings.converted(lines)
    if what in ("attribute", "data", "property"):  # where it would take what stands before a colon for the type
        lines[:1] = [line.replace(":", _COLON) for line in lines[:1]]


def _after_napoleon(*event: Any) -> None:
    lines = event[-1]
    lines[:] = [line.replace(_COLON, ":") for line in lines]


def _without_empty_heads(_: Any, doctree: nodes.document) -> None:
    """Remove the first row of each table where Markdown has one only because it must."""
    for head in list(doctree.findall(nodes.thead)):
        if head.parent is not None and not head.astext().strip():
            head.parent.remove(head)


def _finish(app: Any, failed: Exception | None) -> None:
    if failed is None and app.builder.name == "html":
        access.mend(Path(app.outdir))
        links.finish(Path(app.outdir), app.config.root_doc, app.env.get_domain("py").get_objects())
