"""What Sphinx is told to make the site of: pages put together from the code, docstrings, pictures, and checks."""

from pathlib import Path
from typing import Any

from tools.site import access, docstrings, links, pages, sequence


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("mermaid", sequence.SequenceDiagram)
    app.connect("source-read", _read)
    app.connect("autodoc-process-docstring", _docstring, priority=400)  # before napoleon
    app.connect("doctree-read", lambda _, doctree: access.without_empty_heads(doctree))
    app.connect("build-finished", _finish, priority=900)  # after the theme
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _read(_: Any, name: str, source: list[str]) -> None:
    source[0] = pages.page(name, source[0])


def _docstring(*event: Any) -> None:
    lines = event[-1]
    lines[:] = docstrings.converted(lines)


def _finish(app: Any, failed: Exception | None) -> None:
    if failed is None and app.builder.name == "html":
        access.mend(Path(app.outdir))
        links.finish(Path(app.outdir), app.config.root_doc, app.env.get_domain("py").get_objects())
