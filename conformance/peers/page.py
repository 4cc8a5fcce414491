"""The page: what came of each storage, as Markdown. Nothing of the other projects is needed for it."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from importlib.metadata import version
from typing import Final

from satchel_conformance import Report, Result, Status
from satchel_conformance.backends import Backend
from satchel_conformance.bench import Factory

_INTRODUCTION: Final = """\
# Scoreboard

The conformance suite, tried on Satchel's own storages and on those of other projects, as they are released. This page
is written by `nox -s scoreboard`.

Each of the others is reached through a bridge of a few lines (`conformance/peers/`), which maps the three methods of a
storage, and what else there is, onto the project's public API in the way that suits it best: a value goes inside of an
object where only objects can be stored, and exceptions are taken for Satchel's own, so nobody is marked down for their
names. A bridge declares what the project promises, and only that is tried.

- **failed**: the project's documentation, its types, or what its other storages do promise it, and it does not hold.
- **not promised**: it does not hold, and the project never said that it would. Most of these are rules that Satchel
  made for itself. Each has its reason.
- **not applicable**: it needs what was not declared, such as versioned writes, which none of the others has.

Something missing, or unfair? A correction is welcome; the reasons stand next to the bridges.
"""


@dataclass(frozen=True)
class Peer:
    """A storage on the scoreboard.

    Attributes:
        name: of the project and the class.
        distribution: whose version is shown.
        bridge: makes the storage, from the server's URL if there is a server. For our own storages their URL, in which
            `{server}` stands for the server's: these are tried with faults of the network and with other processes too.
        server: what it stores in, if that is a server.
        shared: two storages see the same records; not so where each has its memory to itself.
        how: the bridge in a sentence.
        promised: where it is promised what failing clauses, named by glob, are about, and why it does not hold.
        not_promised: why clauses, named by glob, are none of the project's promises, each with the document.
    """

    name: str
    distribution: str
    bridge: Factory | str
    server: Backend | None = None
    shared: bool = True
    how: str = ""
    promised: Mapping[str, str] = field(default_factory=dict)
    not_promised: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """What came of one storage."""

    peer: Peer
    report: Report

    @property
    def row(self) -> str:
        """The line of the table."""
        counts = self.report.counts
        kinds = (Status.PASSED, Status.FAILED, Status.EXCEPTED, Status.NOT_APPLICABLE)
        numbers = " | ".join(str(counts[kind]) for kind in kinds)
        link = re.sub(r"[^a-z0-9 -]", "", self.peer.name.lower()).replace(" ", "-")
        return f"| [{self.peer.name}](#{link}) | {version(self.peer.distribution)} | {numbers} |"

    @property
    def section(self) -> str:
        """What is to say of this storage."""
        lines = [f"## {self.peer.name}", ""]
        if self.peer.how:
            lines += [f"*Bridge:* {self.peer.how}", ""]
        failed = self._of(Status.FAILED)
        lines += ["Nothing failed." if not failed else "Failed:", ""]
        lines += [*(failure(result, self.peer.promised) for result in failed), *([""] if failed else [])]
        reasons: dict[str, list[str]] = {}
        for result in self._of(Status.EXCEPTED):
            reasons.setdefault(result.reason, []).append(f"`{result.clause}`")
        if reasons:
            lines += ["Not promised:", ""]
            lines += [f"- {', '.join(clauses)}: {reason}" for reason, clauses in reasons.items()] + [""]
        if left_out := Counter(result.reason for result in self._of(Status.NOT_APPLICABLE)):
            lines += ["Not applicable: " + ", ".join(f"{why} ({n})" for why, n in sorted(left_out.items())) + ".", ""]
        return "\n".join(lines)

    def _of(self, status: Status) -> list[Result]:
        return [result for result in self.report.results if result.status is status]


def excused(report: Report, reasons: Mapping[str, str]) -> Report:
    """Tell failures that have a reason apart. What holds although nobody promised it counts as passed."""
    results = (
        replace(result, status=Status.EXCEPTED, reason=reasons[result.clause])
        if result.status is Status.FAILED and result.clause in reasons
        else result
        for result in report.results
    )
    return replace(report, results=tuple(results))


def page(scores: Sequence[Score]) -> str:
    """Return the whole page. It has no times and no dates, so nothing changes until something changes."""
    head = "| Storage | Version | passed | failed | not promised | not applicable |\n|---|---|--:|--:|--:|--:|"
    table = "\n".join([head, *(score.row for score in scores)])
    return "\n".join([_INTRODUCTION, table, "", *(score.section for score in scores)]).rstrip() + "\n"


def failure(result: Result, promised: Mapping[str, str]) -> str:
    """Return a failure as a line: the clause, what was expected, what happened, and where it was promised."""
    why = "".join(f". *Promised:* {text}" for glob, text in promised.items() if fnmatchcase(result.clause, glob))
    return f"- `{result.clause}`: expected {_plain(result.expected)}; happened: {_plain(result.happened)}{why}"


def _plain(text: str) -> str:
    """Return text for a line of Markdown: shortened, and without what differs from run to run."""
    text = " ".join(text.split())
    text = re.sub(r"t[0-9a-f]{6}z", "", text)  # the random namespaces of the suite
    text = re.sub(r"0x[0-9a-f]+", "0x…", text)
    text = re.sub(r"(\d+\.\d)\d* s\b", r"\1 s", text)
    text = text if len(text) <= 300 else f"{text[:200]} … {text[-80:]}"
    return re.sub(r"([\\`*_\[\]<>|])", r"\\\1", text)
