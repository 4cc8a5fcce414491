"""Docstrings here are Markdown with Google's sections, Sphinx reads reStructuredText: what differs is put over."""

import re
from collections.abc import Iterator

_SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields|Note|Notes|Example|Examples):")
_CODE = re.compile(r"(`+)(.+?)\1")
_MARKUP = re.compile(r"[*_|\\]")


def converted(lines: list[str]) -> list[str]:
    """Return a docstring's lines: what is indented after an empty line is code, and only backticks are markup."""
    return list(_converted(lines))


def _converted(lines: list[str]) -> Iterator[str]:
    code = section = False
    for number, line in enumerate(lines):
        indented = line.startswith("    ")
        if line.strip() and not indented:
            code, section = False, bool(_SECTION.fullmatch(line.strip()))
        elif indented and not section and not code and not (number and lines[number - 1].strip()):
            code = True
            yield ".. code-block:: python"
            yield ""
        yield line if code else _escaped(line)


def _escaped(line: str) -> str:
    parts, end = [], 0
    for found in _CODE.finditer(line):
        parts += [_MARKUP.sub(r"\\\g<0>", line[end : found.start()]), _code(found[2])]
        end = found.end()
    return "".join(parts) + _MARKUP.sub(r"\\\g<0>", line[end:])


def _code(text: str) -> str:
    """A name may be a link; anything else is said as it stands."""
    return f"`{text}`" if re.fullmatch(r"[A-Za-z_][\w.]*(\(\))?", text) else f"``{text}``"
