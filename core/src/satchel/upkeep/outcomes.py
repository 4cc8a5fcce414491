"""What became of each record, and of all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class Result(Enum):
    """What became of one record.

    Attributes:
        DONE: it was copied, imported, exported or migrated, and found to be right.
        SAME: there was nothing to do.
        DIFFERING: another value is there, and was left as it is.
        FAILED: it could not be read, or not be written; it is as it was.
        GONE: somebody deleted it before it was its turn, or just after.
        PRUNED: it was deleted, as only the target had it.
    """

    DONE = "done"
    SAME = "same"
    DIFFERING = "differing"
    FAILED = "failed"
    GONE = "gone"
    PRUNED = "pruned"


class Outcome(NamedTuple):
    """What became of the record under a key.

    Attributes:
        key: in the storage that it comes from.
        result: what became of it.
        why: the reason of a failure, without any value.
    """

    key: str
    result: Result
    why: str = ""


Progress = Callable[[Outcome], None]
"""Is told what became of each record, as soon as it is known."""


@dataclass
class Summary:
    """How many records came to what; the attributes are those of `Result`."""

    done: int = 0
    same: int = 0
    differing: int = 0
    failed: int = 0
    gone: int = 0
    pruned: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count one record."""
        name = outcome.result.value
        setattr(self, name, getattr(self, name) + 1)

    @property
    def is_complete(self) -> bool:
        """Whether no record differs and none failed."""
        return not self.differing and not self.failed


def counting(summary: Summary, progress: Progress | None) -> Progress:
    """Return what counts an outcome, and passes it on."""

    def tell(outcome: Outcome) -> None:
        summary.add(outcome)
        if progress is not None:
            progress(outcome)

    return tell
