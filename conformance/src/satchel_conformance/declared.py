"""What is declared of a storage, and what a clause may require of that."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from satchel import Capabilities

MIB: Final = 1024 * 1024
LARGEST_TRIED: Final = 64 * MIB
"""Values up to this size are tried; larger limits are believed."""


NOTHING: Final = Capabilities()


@dataclass(frozen=True)
class Declared:
    """What is declared of a storage.

    Attributes:
        capabilities: the storage's own record.
        shared: two storages of one backend see the same records; not so where each has its memory to itself.
        url: other processes can open it by a URL.
        network: the URL is of one server, which a proxy can stand in front of.
        kill: there is something that kills the server.
    """

    capabilities: Capabilities = NOTHING
    shared: bool = True
    url: bool = False
    network: bool = False
    kill: bool = False

    def missing(self, needs: tuple[str, ...]) -> str | None:
        """Return why a clause that needs this does not apply, or None if it does."""
        return next((REQUIREMENTS[need].why_not for need in needs if not REQUIREMENTS[need].holds(self)), None)


@dataclass(frozen=True)
class Requirement:
    """Something that a clause needs, or the opposite of it."""

    holds: Callable[[Declared], bool]
    why_not: str


def _limit_is_tried(declared: Declared) -> bool:
    limit = declared.capabilities.max_value_bytes
    return limit is not None and limit <= LARGEST_TRIED


REQUIREMENTS: Final[Mapping[str, Requirement]] = MappingProxyType(
    {
        "versioned": Requirement(lambda d: d.capabilities.versioned, "versioned is not declared"),
        "conditional_delete": Requirement(
            lambda d: d.capabilities.conditional_delete, "conditional_delete is not declared"
        ),
        "no conditional_delete": Requirement(
            lambda d: not d.capabilities.conditional_delete, "conditional_delete is declared"
        ),
        "expiring": Requirement(lambda d: d.capabilities.expiring, "expiring is not declared"),
        "no expiring": Requirement(lambda d: not d.capabilities.expiring, "expiring is declared"),
        "listing": Requirement(lambda d: d.capabilities.listing, "listing is not declared"),
        "batch": Requirement(lambda d: d.capabilities.batch, "batch is not declared"),
        "atomic_batch": Requirement(lambda d: d.capabilities.atomic_batch, "atomic_batch is not declared"),
        "transactional": Requirement(lambda d: d.capabilities.transactional, "transactional is not declared"),
        "versioned_batch": Requirement(lambda d: d.capabilities.versioned_batch, "versioned_batch is not declared"),
        "durable": Requirement(lambda d: d.capabilities.durable, "durable is not declared"),
        "read_your_writes": Requirement(lambda d: d.capabilities.read_your_writes, "read_your_writes is not declared"),
        "shared": Requirement(lambda d: d.shared, "each storage keeps its records to itself"),
        "url": Requirement(lambda d: d.url, "no URL is given that other processes can open"),
        "network": Requirement(lambda d: d.network, "no URL is given of a server that a proxy can stand before"),
        "kill": Requirement(lambda d: d.kill, "nothing is given that kills the server"),
        "private": Requirement(lambda d: not d.shared, "storages share their records"),
        "limit": Requirement(_limit_is_tried, f"no value limit of up to {LARGEST_TRIED // MIB} MiB is declared"),
    }
)
