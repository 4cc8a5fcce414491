"""Planted bugs: storages with one fault each, and the clauses that have to catch it.

`BUGS` is all that is needed to try every bug with every clause.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, TypeVar

from conformance.tests.planted.correct import World
from conformance.tests.planted.wire import Wire, running
from satchel import Capabilities, EncodedStorage

S = TypeVar("S", bound=EncodedStorage[Any])


@dataclass(frozen=True)
class Bug:
    """A storage that is right but for one thing.

    Attributes:
        name: what is wrong, as the docstring of its class says.
        kind: its class.
        caught_by: the clauses that have to fail.
        declared: what the suite is told that it can do.
        shared: whether the suite is told that storages share their records.
    """

    name: str
    kind: type[EncodedStorage[Any]]
    caught_by: tuple[str, ...]
    declared: Capabilities
    shared: bool

    @contextmanager
    def storage(self) -> Iterator[Callable[..., EncodedStorage[Any]] | str]:
        """Give what `validate` tries: the URL of a new server, or what makes storages over one new, empty world."""
        kind: Any = self.kind
        if issubclass(kind, Wire):
            with running() as url:
                yield f"{url}?bug={kind.__name__}"
        else:
            yield partial(kind, World())

    def kill(self, storage: Any) -> Callable[[], None] | None:
        """Return what ends the backend of a storage that `storage` gave as SIGKILL does, if that can be done."""
        return None if isinstance(storage, str) else partial(storage.func.crash, *storage.args)


BUGS: list[Bug] = []


def planted(*caught_by: str, declared: Capabilities | None = None, shared: bool = True) -> Callable[[type[S]], type[S]]:
    """Register a storage as a bug that these clauses catch."""

    def register(kind: type[S]) -> type[S]:
        name = (kind.__doc__ or kind.__name__).rstrip(".")
        BUGS.append(Bug(name, kind, caught_by, declared or kind.capabilities, shared))
        return kind

    return register


def load() -> list[Bug]:
    """Return all bugs."""
    for module in iter_modules(__path__, __name__ + "."):
        import_module(module.name)
    return BUGS


def changed(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return `value` with every part of it changed, from the inside out; keys of objects are not."""
    if isinstance(value, dict):
        value = {name: changed(child, change) for name, child in value.items()}
    elif isinstance(value, list):
        value = [changed(child, change) for child in value]
    return change(value)
