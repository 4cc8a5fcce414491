"""Planted bugs: storages with one fault each, and the clauses that have to catch it.

`load()` gives all that is needed to try every bug with every clause, as `python -m conformance.matrix` does.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Any, Final, TypeVar

from conformance.tests.planted.correct import Alone, Correct, Each, World
from conformance.tests.planted.wire import Wire, running
from satchel import Capabilities, EncodedStorage, open_storage
from satchel_conformance import Clause, Result
from satchel_conformance.bench import Setting
from satchel_conformance.declared import Declared
from satchel_conformance.running import run_clause

S = TypeVar("S", bound=EncodedStorage[Any])


@dataclass(frozen=True)
class Bug:
    """A storage that is right but for one thing.

    Attributes:
        kind: its class; its docstring says what is wrong.
        caught_by: the clauses that have to fail.
        others: whether other clauses fail, too. If not, each of these is all that there is against such a bug.
        declared: what the suite is told that it can do.
        shared: whether the suite is told that storages share their records.
    """

    kind: type[EncodedStorage[Any]]
    caught_by: tuple[str, ...]
    others: bool
    declared: Capabilities
    shared: bool

    @property
    def name(self) -> str:
        """The name of its class."""
        return self.kind.__name__

    @property
    def wrong(self) -> str:
        """What is wrong, in a sentence."""
        return " ".join((self.kind.__doc__ or "").split())

    @property
    def only(self) -> str:
        """The one clause that catches it, or ""."""
        return self.caught_by[0] if len(self.caught_by) == 1 and not self.others else ""

    @property
    def over_network(self) -> bool:
        """Whether it is a storage over a network, for which there are more clauses."""
        return issubclass(self.kind, Wire)

    def try_clause(self, clause: Clause) -> Result:
        """Try a clause on this bug, in a world of their own."""
        with self._storage() as storage:
            return asyncio.run(self._try(clause, storage))

    async def _try(self, clause: Clause, storage: Callable[..., Any] | str) -> Result:
        url = storage if isinstance(storage, str) else ""
        kill = None if isinstance(storage, str) else self._kill(storage)
        declared = Declared(self.declared, self.shared, bool(url), bool(url), kill is not None)
        factory = partial(open_storage, url) if url else storage
        assert callable(factory)
        return await run_clause(clause, factory, declared, Setting(url=url, kill=kill))

    @contextmanager
    def _storage(self) -> Iterator[Callable[..., Any] | str]:
        """Give the URL of a new server, or what makes storages over one new, empty world."""
        if self.over_network:
            with running() as url:
                yield f"{url}?bug={self.name}"
        else:
            kind: Any = self.kind
            yield partial(kind, World())

    @staticmethod
    def _kill(storage: Any) -> Callable[[], None]:
        """Return what ends the backend of a storage as SIGKILL does."""
        return partial(storage.func.crash, *storage.args)


BUGS: list[Bug] = []

INSEPARABLE: Final[Mapping[str, str]] = MappingProxyType({})
"""The clauses that are alone against no bug, each with the reason."""


def planted(
    *caught_by: str, others: bool = False, declared: Capabilities | None = None, shared: bool = True
) -> Callable[[type[S]], type[S]]:
    """Register a storage as a bug that these clauses catch, and no others unless it is said so."""

    def register(kind: type[S]) -> type[S]:
        BUGS.append(Bug(kind, caught_by, others, declared or kind.capabilities, shared))
        return kind

    return register


def load() -> list[Bug]:
    """Return all bugs."""
    for module in iter_modules(__path__, __name__ + "."):
        import_module(module.name)
    return BUGS


def right() -> list[Bug]:
    """Return storages with nothing wrong, of every kind that bugs derive from."""
    network = import_module(f"{__name__}.network")
    kinds: list[type[EncodedStorage[Any]]] = [Correct, Each, Alone, Wire, network.EachOverWire]
    return [Bug(kind, (), others=False, declared=kind.capabilities, shared=kind is not Alone) for kind in kinds]


def changed(value: Any, change: Callable[[Any], Any], depth: int = 150) -> Any:
    """Return `value` with every part of it changed, from the inside out, but for the keys of objects."""
    if depth and type(value) is dict:
        value = {name: changed(child, change, depth - 1) for name, child in value.items()}
    elif depth and type(value) is list:
        value = [changed(child, change, depth - 1) for child in value]
    return change(value)
