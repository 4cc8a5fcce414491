"""What the questions have in common: how much is to be measured, what a session is, and the tables they answer with."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Setting:
    """How much is measured.

    Attributes:
        quick: everything is done, but less of it.
        rounds: how often the contenders take turns.
        seconds: how long each of them works in a round.
        sizes: of a session, in bytes of JSON.
        workers: how many are at work at once.
        backends: by name; nothing else is measured. Empty: all.
    """

    quick: bool
    rounds: int
    seconds: float
    sizes: tuple[int, ...]
    workers: tuple[int, ...]
    backends: frozenset[str] = frozenset()

    def wants(self, backend: str) -> bool:
        """Tell whether a backend is to be measured."""
        return not self.backends or backend in self.backends


FULL: Final = Setting(False, 5, 0.1, (400, 8_000, 64_000), (1, 16, 64, 256))
QUICK: Final = Setting(True, 5, 0.05, (400,), (1, 64))


@dataclass(frozen=True)
class Table:
    """One answer.

    Attributes:
        question: the module that asked.
        title: what is measured.
        rows: each with the same columns, by their names.
        note: what has to be known to read it.
    """

    question: str
    title: str
    rows: list[dict[str, Any]]
    note: str = ""

    def markdown(self) -> str:
        """Return the table for people."""
        columns = list(self.rows[0])
        lines = [columns, ["---"] * len(columns), *([_cell(row[name]) for name in columns] for row in self.rows)]
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return "\n\n".join(part for part in (f"### {self.title}", self.note, text) if part)

    def plain(self) -> dict[str, Any]:
        """Return the table for JSON."""
        return asdict(self)


def session_of(size: int) -> dict[str, Any]:
    """Return a session whose JSON has about so many bytes: some fields, and for the rest messages."""
    session: dict[str, Any] = {
        "n": 0,
        "name": "Ada Lovelace",
        "language": "en",
        "admin": False,
        "score": 12.5,
        "cart": [{"pizza": "Margherita", "size": "L", "extras": ["basil", "olives"]}] * 2,
        "messages": [],
    }
    left = size - 220
    session["messages"] = [dict(message) for message in _messages(left)]
    return session


def _messages(left: int) -> Iterator[dict[str, Any]]:
    number = 0
    while left > 0:
        message = {"id": number, "from": "user", "at": 1_700_000_000 + number, "text": "One more with olives, please."}
        yield message
        left -= 90
        number += 1


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
