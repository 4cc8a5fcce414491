"""The clauses: what one is, how one is written, and how they are found by id."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Final

from satchel_conformance.bench import Bench
from satchel_conformance.declared import REQUIREMENTS

Check = Callable[[Bench], Awaitable[None]]

RULES: Final[Mapping[int, str]] = MappingProxyType(
    {
        0: "The protocol. A storage does what its protocols say, and declares what it can do: no more, and no less.",
        1: "Missing is not error. Absence reads as None, and only absence does. Nothing that raised has half-written.",
        2: "Values. Any JSON value but None is returned exactly as written; anything else is refused with its path.",
        3: "Isolation. Changing a value after it was written, or one that was read, changes nothing stored.",
        4: "Keys. Any non-empty string of up to 512 UTF-8 bytes; different keys and namespaces never meet.",
        5: "Sizes. A value over the limit is refused with both sizes, and the old value stays.",
        6: "Time. A lifetime runs from the last write or touch, and ends when it should: never early, and everywhere.",
        7: "Versions. Of concurrent writes with one expected version one wins; no version stands for two values.",
        8: "Round trips. One for each call, on a warm connection.",
        9: "Cancellation and concurrency. A record is old or new, never torn, never another key's.",
        10: "Event loop. No call blocks it.",
        11: "Ownership. What a storage made it closes, once, and leaks nothing.",
        12: "Errors. One tree, with the driver's exception as the cause; no secret or value in a message.",
        13: "At rest. Readable JSON in a documented layout that stays.",
        14: "Schema. setup() creates what is needed, again and again, and from many places at once.",
        15: "Bounded. Every call ends within the timeout.",
        16: "Quiet. Nothing is printed.",
    }
)

_ID: Final = re.compile(r"R(\d+)(-[a-z0-9]+)+")


@dataclass(frozen=True)
class Clause:
    """One thing that a storage must do.

    Attributes:
        id: the rule, and a name: `R4-injective-case`.
        statement: what must hold, in a sentence.
        needs: what has to be declared for it to apply; see `REQUIREMENTS`.
        theme: the module that it is in.
        check: tries it.
        opened: whether the storage is set up before; not so for clauses about setting up.
    """

    id: str
    statement: str
    needs: tuple[str, ...]
    theme: str
    check: Check
    opened: bool = True

    @property
    def number(self) -> int:
        """The number of the rule."""
        return int(self.id[1:].partition("-")[0])

    @property
    def rule(self) -> str:
        """The rule in words."""
        return f"R{self.number} {RULES[self.number]}"


_CLAUSES: dict[str, Clause] = {}


def clause(name: str, *needs: str, opened: bool = True) -> Callable[[Check], Check]:
    """Register an async function as a clause. Its docstring is the statement.

    @clause("R1-absent-is-none")
    async def absent(bench: Bench) -> None:
        \"\"\"A key that was never written reads as None.\"\"\"
        expect_same(await bench.storage.read("nobody"), None, "read of a key that was never written")
    """

    def register(check: Check) -> Check:
        match = _ID.fullmatch(name)
        statement = " ".join((check.__doc__ or "").split())
        if match is None or int(match[1]) not in RULES or name in _CLAUSES:
            raise ValueError(f"{name!r} is no new clause id such as R4-injective-case")
        if not statement:
            raise ValueError(f"{name} has no docstring")
        if unknown := set(needs) - set(REQUIREMENTS):
            raise ValueError(f"{name} needs unknown {unknown}")
        _CLAUSES[name] = Clause(name, statement, needs, check.__module__.rpartition(".")[2], check, opened)
        return check

    return register


def all_clauses() -> tuple[Clause, ...]:
    """Return every clause, in the order of rules and names."""
    _import_all()
    return tuple(sorted(_CLAUSES.values(), key=lambda clause: (clause.number, clause.id)))


def modules() -> list[str]:
    """Return the names of the modules that clauses are in; it takes them long to be imported."""
    package = import_module("satchel_conformance.clauses")
    return [module.name for module in iter_modules(package.__path__, package.__name__ + ".")]


@cache
def _import_all() -> None:
    for module in modules():
        import_module(module)


def select(patterns: Iterable[str] = ()) -> tuple[Clause, ...]:
    """Return the clauses that any pattern means: an id, a rule (`R4`), or a glob (`*-listing-*`); all without patterns.

    Raises:
        ValueError: a pattern means none.
    """
    known, wanted = all_clauses(), list(patterns)
    for pattern in wanted:
        if not any(_means(pattern, clause) for clause in known):
            raise ValueError(f"no clause is called {pattern!r}")
    return tuple(c for c in known if not wanted or any(_means(pattern, c) for pattern in wanted))


def _means(pattern: str, clause: Clause) -> bool:
    return pattern == f"R{clause.number}" or fnmatchcase(clause.id, pattern)
