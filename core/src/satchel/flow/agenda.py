"""What to do next, and when: ids in the order of their times, each once."""

import heapq


class Agenda:
    """Ids, and when to look at each. One that is being looked at is known, too, until it is put back or forgotten."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, str]] = []
        self._known: set[str] = set()

    def add(self, at: int, what: str) -> None:
        """Look at something at a time, unless it is known."""
        if what not in self._known:
            self.put_back(at, what)

    def put_back(self, at: int, what: str) -> None:
        """Look again, at a time, at something that was taken."""
        self._known.add(what)
        heapq.heappush(self._heap, (at, what))

    def forget(self, what: str) -> None:
        """Have done with something that was taken."""
        self._known.discard(what)

    def take(self, at: int) -> str | None:
        """Take what is first, if its time has come by then."""
        return heapq.heappop(self._heap)[1] if self._heap and self._heap[0][0] <= at else None

    @property
    def next(self) -> int | None:
        """The time of what is first."""
        return self._heap[0][0] if self._heap else None
