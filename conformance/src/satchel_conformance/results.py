"""What came of a run: one result for each clause, and the report of all."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from enum import StrEnum

from satchel_conformance.registry import Clause


class Status(StrEnum):
    """What came of one clause."""

    PASSED = "passed"
    FAILED = "failed"
    EXCEPTED = "excepted"
    """It failed, and was declared to, with a reason."""
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True)
class Result:
    """What came of one clause.

    Attributes:
        clause: its id.
        statement: what must hold.
        status: what came of it.
        expected: what should have happened; only of a failure, like `happened`, `where` and `trace`.
        happened: what happened instead.
        where: the line of the clause, as `values.py:42`.
        trace: the traceback of an error that the clause did not expect.
        reason: why it is excepted or does not apply.
        seconds: how long it took.
    """

    clause: str
    statement: str
    status: Status
    expected: str = ""
    happened: str = ""
    where: str = ""
    trace: str = ""
    reason: str = ""
    seconds: float = 0.0

    def explain(self, clause: Clause) -> str:
        """Return a failure for people: the clause, its rule, what was expected, what happened, and where to read on."""
        lines = [
            f"{self.clause}: {self.statement}",
            f"  expected  {self.expected}",
            f"  happened  {self.happened}",
            f"  rule      {clause.rule}",
            f"  clause    satchel_conformance/clauses/{self.where or clause.theme + '.py'}",
            f"  again     pytest -k {self.clause}  or  satchel-conformance run MODULE:FACTORY --clause {self.clause}",
        ]
        return "\n".join([*lines, *(["", self.trace.rstrip()] if self.trace else [])])


@dataclass(frozen=True)
class Report:
    """What came of all clauses.

    Attributes:
        storage: what was tried.
        results: one for each clause, in the order of rules.
    """

    storage: str
    results: tuple[Result, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed but what is excepted."""
        return not self.failed

    @property
    def failed(self) -> tuple[Result, ...]:
        """The results of clauses that failed."""
        return tuple(result for result in self.results if result.status is Status.FAILED)

    @property
    def counts(self) -> dict[Status, int]:
        """How many results have each status."""
        counted = Counter(result.status for result in self.results)
        return {status: counted[status] for status in Status}

    def to_json(self) -> str:
        """Return the whole report as JSON."""
        return json.dumps({"ok": self.ok, **asdict(self)}, indent=2)

    def table(self) -> str:
        """Return a line of text for each result, and the summary."""
        return "\n".join([*map(line, self.results), "", self.summary()])

    def summary(self) -> str:
        """Return the failures, each with what was expected and what happened, and how many results there are."""
        lines: list[str] = []
        for result in self.failed:
            lines += [f"{result.clause}: {result.statement}"]
            lines += [f"  expected  {result.expected}", f"  happened  {result.happened}", ""]
        counted = ", ".join(f"{count} {status}" for status, count in self.counts.items() if count)
        seconds = sum(result.seconds for result in self.results)
        return "\n".join([*lines, f"{self.storage}: {counted} in {seconds:.1f} s"])


def line(result: Result) -> str:
    """Return one result as a line."""
    end = f"  {result.reason}" if result.reason else f"  {result.seconds:.2f} s"
    return f"{result.status:<14}  {result.clause}{end}"
