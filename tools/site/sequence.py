"""Pictures of who says what to whom: mermaid's sequence diagrams, as far as we use them, drawn as SVG.

A host of source code draws the same text by itself. Whatever is not understood is an error, and never left out.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

LANE: Final = 210  # pixels between two participants
ROW: Final = 44
HEAD: Final = 56


@dataclass
class Diagram:
    """What is to be drawn.

    Attributes:
        title: what it shows, for those who cannot see it.
        names: who takes part: a short name, and the one that is shown.
        steps: arrows and notes, from top to bottom.
    """

    title: str = ""
    names: dict[str, str] = field(default_factory=dict)
    steps: list[re.Match[str]] = field(default_factory=list)


_PARTICIPANT: Final = re.compile(r"participant (\w+) as (.+)")
_ARROW: Final = re.compile(r"(?P<from>\w+)(?P<line>-{1,2})(?P<head>>>|x)(?P<to>\w+): (?P<text>.+)")
_NOTE: Final = re.compile(r"Note over (?P<from>\w+)(?:,\s*(?P<to>\w+))?: (?P<text>.+)")


def parse(lines: Sequence[str]) -> Diagram:
    """Read a diagram.

    Raises:
        ValueError: a line is not understood, or names somebody unknown, or there is no title (`accTitle: …`).
    """
    diagram, rest = Diagram(), [line.strip() for line in lines if line.strip()]
    if not rest or rest[0] != "sequenceDiagram":
        raise ValueError("only a sequenceDiagram is drawn")
    for line in rest[1:]:
        if line.startswith("accTitle: "):
            diagram.title = line.removeprefix("accTitle: ")
        elif found := _PARTICIPANT.fullmatch(line):
            diagram.names[found[1]] = found[2]
        elif (found := _ARROW.fullmatch(line) or _NOTE.fullmatch(line)) and _known(found, diagram):
            diagram.steps.append(found)
        else:
            raise ValueError(f"not understood: {line}")
    if not diagram.title:
        raise ValueError("it needs an accTitle, for those who cannot see it")
    return diagram


def _known(found: re.Match[str], diagram: Diagram) -> bool:
    return {found["from"], found["to"] or found["from"]} <= set(diagram.names)


def draw(diagram: Diagram) -> str:
    """Return the SVG, in the colours of the page around it."""
    places = {name: LANE // 2 + LANE * number for number, name in enumerate(diagram.names)}
    width, height = LANE * len(places), HEAD + ROW * len(diagram.steps) + 16
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" class="sequence" role="img" {size}>']
    parts.append(f"<title>{escape(diagram.title)}</title>")
    for name, x in places.items():
        parts.append(f'<path class="life" d="M{x} 40V{height}"/>')
        parts.append(f'<rect x="{x - 70}" y="4" width="140" height="36" rx="6"/>{_text(x, 27, diagram.names[name])}')
    for number, step in enumerate(diagram.steps):
        y = HEAD + ROW * number + 24
        start, end = places[step["from"]], places[step["to"] or step["from"]]
        parts.append(_arrow(step, start, end, y) if "head" in step.groupdict() else _note(step, start, end, y))
    return "".join([*parts, "</svg>"])


def _arrow(step: re.Match[str], start: int, end: int, y: int) -> str:
    back = -1 if end > start else 1
    dashed = ' class="back"' if step["line"] == "--" else ""
    head = f"M{end + back * 9} {y - 5}L{end} {y}L{end + back * 9} {y + 5}"
    if step["head"] == "x":
        head = f"M{end + back * 12 - 5} {y - 5}l10 10m0 -10l-10 10"
    return f'<path{dashed} d="M{start} {y}H{end}"/><path d="{head}"/>{_text((start + end) // 2, y - 8, step["text"])}'


def _note(step: re.Match[str], start: int, end: int, y: int) -> str:
    left, right = min(start, end) - 95, max(start, end) + 95
    box = f'<rect class="note" x="{left}" y="{y - 17}" width="{right - left}" height="28" rx="3"/>'
    return box + _text((left + right) // 2, y + 2, step["text"])


def _text(x: int, y: int, text: str) -> str:
    return f'<text x="{x}" y="{y}">{escape(text)}</text>'
