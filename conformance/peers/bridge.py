"""What the bridges have in common: opening, closing, and errors by our names."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from redis import exceptions as redis_py

from satchel import Capabilities, SatchelError, StorageError, StorageUnavailableError, UnsupportedValueError


class Bridge:
    """The start of a bridge: a storage that has nothing to open and nothing to close."""

    capabilities = Capabilities()

    async def setup(self) -> None:
        """Open what has to be opened."""

    async def aclose(self) -> None:
        """Close it."""

    async def __aenter__(self) -> Self:
        await self.setup()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


@contextmanager
def ours(*refusing: type[Exception]) -> Iterator[None]:
    """Raise what is raised as our own error, so that nobody is marked down for the names of exceptions.

    Args:
        refusing: what says that a value cannot be stored; TypeError and ValueError always do.
    """
    unsupported: tuple[type[Exception], ...] = (TypeError, ValueError, RecursionError, *refusing)
    try:
        yield
    except SatchelError:
        raise
    except (OSError, redis_py.ConnectionError, redis_py.TimeoutError) as error:
        raise StorageUnavailableError(f"{type(error).__name__}: {error}") from error
    except unsupported as error:
        raise UnsupportedValueError(f"{type(error).__name__}: {error}") from error
    except Exception as error:
        raise StorageError(f"{type(error).__name__}: {error}") from error


def wrap(value: Any) -> dict[str, Any]:
    """Return the value inside of an object, for storages of objects: so they are tried with all other values too."""
    return {"value": value}


def rules_of_our_own(*, values: str, keys: str, closing: str, lifetimes: str = "no lifetimes") -> dict[str, str]:
    """Return the reasons for the rules that Satchel made for itself, with what a project says on each, and where.

    Nobody else promises to refuse what Satchel refuses. Where somebody does so all the same, the clause has passed.
    """
    of_our_own = "is a rule of Satchel's own"
    refusals = f"refusing what JSON cannot hold, with the path to it, {of_our_own}; {values}"
    keeping_out = f"refusing keys {of_our_own}; {keys}"
    shutting = f"refusing calls after closing {of_our_own}; {closing}"
    return {
        "R2-refuses-*": refusals,
        "R2-names-odd-paths": refusals,
        "R0-batch-refuses-wholly": f"refusing a whole batch for one bad value or key {of_our_own}; {values}",
        "R4-refuses-*": keeping_out,
        "R4-namespace-refused": keeping_out,
        "R6-refuses-lifetimes": f"refusing a lifetime when the storage is made {of_our_own}; {lifetimes}",
        "R11-context": shutting,
        "R11-closed-refuses": shutting,
        "R12-*": "these want the refusals above, and what their messages say",
        "R16-quiet": "it wants a set to be refused, as above; nothing is printed",
    }
