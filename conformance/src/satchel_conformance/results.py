"""What came of a run: one result for each clause, and the report of all, as text, JSON, JUnit, Markdown or a badge."""

import json
import re
from collections import Counter
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final
from xml.etree import ElementTree as ET

_NOT_IN_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


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
        rule: the rule that it is a part of, in words.
        status: what came of it.
        expected: what should have happened; only of a failure, like `happened`, `where` and `trace`.
        happened: what happened instead.
        where: the line of the clause, as `values.py:42`; its module alone if it is not known.
        trace: the traceback of an error that the clause did not expect.
        reason: why it is excepted, does not apply, or was tried more than once.
        seconds: how long it took.
    """

    clause: str
    statement: str
    rule: str
    status: Status
    expected: str = ""
    happened: str = ""
    where: str = ""
    trace: str = ""
    reason: str = ""
    seconds: float = 0.0

    @property
    def number(self) -> int:
        """The number of the rule."""
        return int(self.clause[1:].partition("-")[0])

    @property
    def took_several(self) -> bool:
        """Whether it passed, but only when it was tried again."""
        return self.status is Status.PASSED and bool(self.reason)

    def explain(self, target: str = "URL|MODULE:FACTORY") -> str:
        """Return a failure for people: the clause, its rule, what was expected, what happened, and how to see it again.

        `target` is what `satchel-conformance run` is to be called with.
        """
        lines = [
            f"{self.clause}: {self.statement}",
            f"  expected  {self.expected}",
            f"  happened  {self.happened}",
            f"  rule      {self.rule}",
            f"  clause    satchel_conformance/clauses/{self.where}",
            f"  again     pytest -k {self.clause}  or  satchel-conformance run {target} --clause {self.clause}",
        ]
        return "\n".join([*lines, *(["", self.trace.rstrip()] if self.trace else [])])


@dataclass(frozen=True)
class Report:
    """What came of all clauses.

    Attributes:
        storage: what was tried.
        results: one for each clause, in the order of rules.
        target: what `satchel-conformance run` is called with to try it again.
        seconds: how long all of it took.
    """

    storage: str
    results: tuple[Result, ...]
    target: str = "URL|MODULE:FACTORY"
    seconds: float = 0.0

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

    def to_junit(self) -> str:
        """Return the report as JUnit's XML, a test case for each clause, for what shows the results of CI."""
        counts = self.counts
        skipped = counts[Status.NOT_APPLICABLE] + counts[Status.EXCEPTED]
        suite = ET.Element("testsuite", name=self.storage, tests=str(len(self.results)), errors="0")
        suite.attrib |= {"failures": str(len(self.failed)), "skipped": str(skipped), "time": f"{self.seconds:.3f}"}
        for result in self.results:
            case = ET.SubElement(suite, "testcase", classname=f"{self.storage}.R{result.number}", name=result.clause)
            case.set("time", f"{result.seconds:.3f}")
            if result.status is Status.FAILED:
                failure = ET.SubElement(case, "failure", message=_in_xml(result.happened))
                failure.text = _in_xml(result.explain(self.target))
            elif result.status is not Status.PASSED:
                ET.SubElement(case, "skipped", message=_in_xml(f"{result.status}: {result.reason}"))
        whole = ET.Element("testsuites")
        whole.append(suite)
        ET.indent(whole)
        return ET.tostring(whole, encoding="unicode", xml_declaration=True) + "\n"

    def to_markdown(self) -> str:
        """Return the report as a page: a table with a line for each rule, failures, exceptions, what was not tried."""
        lines = [f"# {self.storage}", "", f"{self._counted()} in {self.seconds:.1f} s", ""]
        lines += ["| rule | passed | failed | excepted | not applicable |", "| --- | --- | --- | --- | --- |"]
        for rule in dict.fromkeys(result.rule for result in self.results):
            counted = Counter(result.status for result in self.results if result.rule == rule)
            lines.append(f"| {rule} | " + " | ".join(str(counted[status] or "") for status in Status) + " |")
        for result in self.failed:
            lines += ["", f"## {result.clause}", "", "```text", result.explain(self.target), "```"]
        for status in (Status.PASSED, Status.EXCEPTED, Status.NOT_APPLICABLE):
            if found := [result for result in self.results if result.status is status and result.reason]:
                lines += ["", f"## {status.capitalize()}", ""]
                lines += [f"- `{result.clause}`: {result.reason}" for result in found]
        return "\n".join(lines) + "\n"

    def to_badge(self) -> str:
        """Return what an endpoint badge of https://shields.io/badges/endpoint-badge is drawn from, as JSON."""
        tried = len(self.results) - self.counts[Status.NOT_APPLICABLE]
        message = f"{self.counts[Status.PASSED]} of {tried} clauses"
        color = "red" if self.failed else "yellow" if self.counts[Status.EXCEPTED] else "brightgreen"
        return json.dumps({"schemaVersion": 1, "label": "satchel conformance", "message": message, "color": color})

    def table(self) -> str:
        """Return a line of text for each result, and the summary."""
        return "\n".join([*map(line, self.results), "", self.summary()])

    def summary(self) -> str:
        """Return each failure with what was expected, what happened, its rule, and how to see it again; then totals.

        Before those come the clauses that passed after several attempts.
        """
        explained = "".join(result.explain(self.target) + "\n\n" for result in self.failed)
        again = "".join(f"{line(result)}\n\n" for result in self.results if result.took_several)
        return f"{explained}{again}{self.storage}: {self._counted()} in {self.seconds:.1f} s"

    def _counted(self) -> str:
        return ", ".join(f"{count} {status}" for status, count in self.counts.items() if count)


def line(result: Result) -> str:
    """Return one result as a line."""
    end = f"  {result.reason}" if result.reason else f"  {result.seconds:.2f} s"
    return f"{result.status:<14}  {result.clause}{end}"


def _in_xml(text: str) -> str:
    """Return the text without what XML cannot hold: most control characters, and lone surrogates."""
    return _NOT_IN_XML.sub("\ufffd", text)
