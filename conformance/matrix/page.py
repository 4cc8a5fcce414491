"""The page: which clauses catch which bugs, as Markdown, and what is wrong with that."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from conformance.tests.planted import INSEPARABLE, Bug
from satchel_conformance import Clause

PAGE: Final = Path(__file__).parents[2] / "docs" / "matrix.md"

Caught = Mapping[str, frozenset[str]]
"""For each bug, by the name of its class, the clauses that catch it."""

_FEW: Final = 8

_INTRODUCTION: Final = """\
# Matrix

What the conformance suite is worth: {clauses} clauses, tried on {bugs} storages that were made for it, each of which is
right but for one thing. For every clause there is a bug that no other clause catches. This page is written by
`nox -s matrix`, which fails where that is not so; the bugs are in `conformance/tests/planted/`.

## Clauses

Each with the bugs that it catches; **in bold** those that it alone catches.
"""


def page(clauses: Sequence[Clause], bugs: Sequence[Bug], caught: Caught) -> str:
    """Return the whole page. It has no times, so nothing changes until something changes."""
    lines = [_INTRODUCTION.format(clauses=len(clauses), bugs=len(bugs))]
    for clause in clauses:
        found = sorted(name for name, by in caught.items() if clause.id in by)
        alone = {name for name in found if len(caught[name]) == 1}
        names = [f"**{name}**" for name in found if name in alone] + [name for name in found if name not in alone]
        lines.append(f"- `{clause.id}`: {', '.join(names) or 'nothing'}")
        lines += [f"  (alone against none: {INSEPARABLE[clause.id]})"] if clause.id in INSEPARABLE else []
    lines += ["", "## Bugs", "", f"Each with what catches it; of more than {_FEW} clauses, how many of each rule.", ""]
    lines += [f"- **{bug.name}**: {bug.wrong} {_by(caught[bug.name])}" for bug in sorted(bugs, key=lambda b: b.name)]
    return "\n".join(lines) + "\n"


def recorded(text: str) -> Caught:
    """Return what a page says."""
    found: dict[str, set[str]] = {}
    for clause, names in re.findall(r"^- `(R\S+)`: (.*)$", text, re.MULTILINE):
        for name in re.findall(r"[A-Z]\w+", names):
            found.setdefault(name, set()).add(clause)
    return {name: frozenset(by) for name, by in found.items()}


def listed(text: str) -> set[str]:
    """Return the clauses that there were when a page was written."""
    return set(re.findall(r"^- `(R\S+)`:", text, re.MULTILINE))


def faults(clauses: Sequence[Clause], bugs: Sequence[Bug], caught: Caught) -> list[str]:
    """Return what is wrong with the suite, or with what is declared of the bugs."""
    wrong = [f"nothing catches {bug.name}" for bug in bugs if not caught.get(bug.name)]
    for bug in bugs:
        declared, by = set(bug.caught_by), caught.get(bug.name, frozenset())
        wrong += [f"{clause} does not catch {bug.name}" for clause in sorted(declared - by)]
        if not bug.others:
            wrong += [f"{clause} catches {bug.name}, too" for clause in sorted(by - declared)]
        elif by == declared:
            wrong.append(f"no others catch {bug.name}")
    by_any = {clause for by in caught.values() for clause in by}
    alone = {clause for by in caught.values() if len(by) == 1 for clause in by}
    ids = [clause.id for clause in clauses]
    wrong += [f"{clause} catches nothing" for clause in ids if clause not in by_any]
    wrong += [f"{clause} alone catches nothing" for clause in ids if clause not in alone | set(INSEPARABLE)]
    return [*wrong, *(f"{clause} is alone against a bug, after all" for clause in sorted(set(INSEPARABLE) & alone))]


def _by(clauses: frozenset[str]) -> str:
    ordered = sorted(clauses, key=lambda name: (_rule(name), name))
    if len(ordered) <= _FEW:
        return ", ".join(f"`{name}`" for name in ordered) or "nothing"
    return ", ".join(f"R{rule} ({count})" for rule, count in Counter(map(_rule, ordered)).items())


def _rule(name: str) -> int:
    return int(name[1:].partition("-")[0])
