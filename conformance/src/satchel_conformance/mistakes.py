"""The mistakes that session storages are known for, and the clauses that catch each."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Mistake:
    """A mistake that was seen in released storages.

    Attributes:
        what: the mistake.
        clauses: those that catch it, as ids or globs.
        elsewhere: why none does, if none can.
    """

    what: str
    clauses: tuple[str, ...] = ()
    elsewhere: str = ""


MISTAKES: Final = (
    Mistake("An error, or a damaged record, reads as missing.", ("R1-cut-answer", "R15-*", "R1-corrupt-*")),
    Mistake("An option of the client makes a full database look empty.", elsewhere="each adapter tries its own"),
    Mistake("Updates are lost.", ("R7-no-lost-increments", "R7-one-winner*", "R7-increments-of-processes")),
    Mistake("State is read before the lock is taken.", elsewhere="the session layer's own tests"),
    Mistake("Timestamps are versions.", ("R7-one-value-per-version", "R7-opaque", "R7-stale-*")),
    Mistake("A conflict cannot be recovered from.", ("R7-create-after-delete", "R7-replaces-at-version")),
    Mistake("One lock is around a whole pool.", elsewhere="the benchmarks measure throughput"),
    Mistake("Prepared statements break behind a pooler.", elsewhere="PostgreSQL's own tests"),
    Mistake("A synchronous driver blocks the event loop.", ("R10-loop-runs-on",)),
    Mistake("A cancelled call leaves its answer to another.", ("R9-cancelled", "R15-too-late", "R9-own-answers")),
    Mistake("A client is used from another event loop.", ("R10-second-loop",)),
    Mistake("Tables are created by whoever comes first, or by all at once.", ("R14-*",)),
    Mistake("A key has several records, as without a unique index.", ("R9-first-writes*",)),
    Mistake("Limits of size, or stale reads, are left to the user.", ("R5-*", "R0-read-your-writes")),
    Mistake("Different keys are one record.", ("R4-injective-*", "R4-namespaces-*", "R4-any-keys")),
    Mistake("Strings and orders that a column changes or refuses.", ("R2-nul", "R2-refuses-lone-*", "R2-key-order")),
    Mistake("Lifetimes are cut, forgotten, or never enforced.", ("R6-*",)),
    Mistake("A batch fails across the slots of a cluster.", ("R0-batch-*",)),
    Mistake("A listing ends with the first page.", ("R0-listing-complete", "R0-listing-during-writes")),
    Mistake("Data that others can write is unpickled.", elsewhere="the base class decodes JSON only"),
)
