"""Figures of a fault, from what happened before, while and after it was felt."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from conformance.chaos.load import Event


@dataclass(frozen=True)
class Figures:
    """What one fault meant to the bot.

    Attributes:
        fault: what was done to the server.
        outage: the longest time, in seconds, in which a session took no update.
        recovered: after how many seconds the last outage was over that took at least half as long.
        before: acknowledged updates per second.
        during: the same, until it had recovered.
        after: the same.
        errors: the names of what updates raised, and how often.
    """

    fault: str
    outage: float
    recovered: float
    before: float
    during: float
    after: float
    errors: dict[str, int]


@dataclass
class Outcome:
    """What came of one scenario.

    Attributes:
        scenario: its name.
        faults: the figures of each fault.
        acknowledged: how many updates were.
        lost: how many of them were not there later.
        slowest: the longest that an update took, in seconds.
        wrong: what must not be, in words.
    """

    scenario: str
    faults: list[Figures] = field(default_factory=list)
    acknowledged: int = 0
    lost: int = 0
    slowest: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return it all for `json.dumps`."""
        return asdict(self)


def figures(fault: str, events: Sequence[Event], began: float, struck: float, ended: float) -> Figures:
    """Return the figures of a fault that struck at one time, of the events between two others.

    Args:
        fault: what it is called.
        events: in order of time; each session has some.
        began: the start of what was before.
        struck: when the server was hit.
        ended: the end of what was after.
    """
    gaps = [gap for each in _by_session(events) for gap in _gaps([event.at for event in each], struck, ended)]
    outage = max(length for length, _ in gaps)
    felt = max(end for length, end in gaps if length >= outage / 2)
    return Figures(
        fault=fault,
        outage=outage,
        recovered=felt - struck,
        before=_rate(events, began, struck),
        during=_rate(events, struck, felt),
        after=_rate(events, felt, ended),
        errors=dict(Counter(event.error for event in events if event.error and struck <= event.at <= ended)),
    )


def all_updated_since(events: Iterable[Event], sessions: int, moment: float) -> bool:
    """Tell whether every session took an update after a moment."""
    return len({event.key for event in events if not event.error and event.at > moment}) == sessions


def _by_session(events: Sequence[Event]) -> list[list[Event]]:
    """Return the events of acknowledged updates, session by session."""
    keys = {event.key for event in events}
    return [[event for event in events if event.key == key and not event.error] for key in keys]


def _gaps(times: Sequence[float], struck: float, ended: float) -> list[tuple[float, float]]:
    """Return how long each time without an update was that reached beyond the strike, and when it was over."""
    ends = [time for time in times if struck < time <= ended] + [ended]
    starts = [max((time for time in times if time <= struck), default=struck), *ends[:-1]]
    return [(end - start, end) for start, end in zip(starts, ends, strict=True)]


def _rate(events: Iterable[Event], start: float, end: float) -> float:
    done = sum(not event.error and start < event.at <= end for event in events)
    return done / (end - start) if end > start else 0.0
