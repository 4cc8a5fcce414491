"""The README's tables of storages and bridges, made from what they declare: `./dev capabilities` writes them anew."""

import re
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from typing import Any, Final

from satchel import Capabilities, MemoryStorage
from tools import workspace

README: Final = workspace.ROOT / "README.md"
_PLACE: Final = re.compile(r"(<!-- (capabilities|bridges) -->\n).*?(?=<!-- end -->)", re.DOTALL)
_HEADINGS: Final = (
    "storage", "package", "URL", "no lost updates", "expiry", "listing", "batch", "durable", "largest value"
)  # fmt: skip


def table() -> str:
    """Return the table in Markdown. `[tool.satchel.table]` of a member has its name, its URL, and what needs words."""
    lines = [_row(_HEADINGS), _row(["---"] * len(_HEADINGS))]
    lines += [_row(cells) for cells in (*_adapters(), _cells("Memory", "satchel", MemoryStorage, {"url": "memory://"}))]
    return "\n".join(lines) + "\n"


def bridges() -> str:
    """Return the table of bridges. `[tool.satchel.bridge]` of a member has the framework's name and its plug points."""
    rows = [("framework", "package", "what it plugs in"), ["---"] * 3, *_bridges()]
    return "".join(_row(cells) + "\n" for cells in rows)


def _bridges() -> Iterator[list[str]]:
    for member in workspace.members():
        data = workspace.load(workspace.ROOT / member.folder)
        if words := data.get("tool", {}).get("satchel", {}).get("bridge"):
            yield [f"[{words['name']}]({member.folder})", f"`{member.name}`", words["plugs"]]


def _adapters() -> Iterator[list[str]]:
    for member in workspace.members():
        data = workspace.load(workspace.ROOT / member.folder)
        schemes = data["project"].get("entry-points", {}).get("satchel.storages")
        if member.published and schemes and "table" in data.get("tool", {}).get("satchel", {}):
            module, _, name = next(iter(schemes.values())).partition(":")
            words = data["tool"]["satchel"]["table"]
            yield _cells(
                f"[{words['name']}]({member.folder})", member.name, getattr(import_module(module), name), words
            )


def _cells(name: str, distribution: str, kind: Any, words: dict[str, str]) -> list[str]:
    can: Capabilities = kind.capabilities
    made = {
        "no lost updates": ("yes" if can.conditional_delete else "yes, but for deletes") if can.versioned else "no",
        "expiry": _duration(can.ttl_resolution) if can.ttl_resolution else "no",
        "listing": "yes" if can.listing else "no",
        "batch": _batch(can),
        "durable": "yes" if can.durable else "no",
        "largest value": _size(can.max_value_bytes),
    }
    return [name, f"`{distribution}`", f"`{words['url']}`", *(words.get(key, made[key]) for key in made)]


def _batch(can: Capabilities) -> str:
    if can.transactional:
        return "transactional"
    return "versioned" if can.versioned_batch else "atomic" if can.atomic_batch else "yes" if can.batch else "no"


def _row(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _duration(step: timedelta) -> str:
    milliseconds = step // timedelta(milliseconds=1)
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{milliseconds // 1000} s"


def _size(limit: int | None) -> str:
    if limit is None:
        return "memory, disk"
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if limit >= size:
            return f"{limit / size:.0f} {unit}"
    return f"{limit} bytes"


def made(text: str) -> str:
    """Return the README's text with the tables as they are made now."""
    return _PLACE.sub(lambda place: place[1] + (bridges() if place[2] == "bridges" else table()), text)


def main() -> None:
    """Write the tables into the README."""
    README.write_text(made(README.read_text(encoding="utf-8")), encoding="utf-8")


def is_current() -> bool:
    """Tell whether the README has the tables as they are made now."""
    text = README.read_text(encoding="utf-8")
    return len(_PLACE.findall(text)) == 2 and made(text) == text


if __name__ == "__main__":
    main()
