"""Try every planted bug with every clause, and write docs/matrix.md."""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from conformance.matrix.page import PAGE, Caught, faults, listed, page, recorded
from conformance.matrix.tries import happens, try_bugs
from conformance.tests.planted import Bug, load
from conformance.tests.planted.wire import installed
from satchel_conformance import all_clauses


def main(arguments: Sequence[str] | None = None) -> int:
    """Try all bugs, and write the page or compare it."""
    parser = argparse.ArgumentParser(prog="python -m conformance.matrix", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail if the page is out of date")
    parser.add_argument("--new", action="store_true", help="try only bugs and clauses that are not on the page yet")
    parser.add_argument("--only", metavar="GLOB", help="print what catches the bugs of that name, and write nothing")
    options = parser.parse_args(arguments)
    clauses, start = all_clauses(), time.monotonic()
    bugs = [bug for bug in load() if options.only is None or fnmatchcase(bug.name, options.only)]
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    caught: dict[str, frozenset[str]] = {}
    if options.new:
        ids = {clause.id for clause in clauses}
        caught = {bug.name: by & ids for bug in bugs if (by := recorded(text).get(bug.name)) is not None}
        unknown = sorted(ids - listed(text))
        for name, by in _tried(list(caught), *unknown) if unknown else ():
            caught[name] |= by
    caught |= dict(_tried([bug.name for bug in bugs if bug.name not in caught]))
    if options.only is not None:
        sys.stdout.writelines(f"{name}: {', '.join(sorted(by))}\n" for name, by in sorted(caught.items()))
        return 0
    caught = _settled(bugs, caught, text)
    written = page(clauses, bugs, caught)
    wrong = faults(clauses, bugs, caught)
    if not options.check:
        PAGE.write_text(written, encoding="utf-8")
    elif text != written:
        wrong.append("docs/matrix.md is out of date; to write it: nox -s matrix")
    for line in wrong:
        _say(f"matrix: {line}")
    _say(f"matrix: {len(bugs)} bugs, {len(clauses)} clauses, {time.monotonic() - start:.0f} s")
    return 1 if wrong else 0


def _tried(names: Sequence[str], *clauses: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Give each bug with what caught it, and say so."""
    for number, (name, by, seconds) in enumerate(try_bugs(names, *clauses), 1):
        few = ", ".join(sorted(by)) if len(by) <= 4 else f"{len(by)} clauses"
        _say(f"{number:4}/{len(names)}  {seconds:5.1f} s  {name}: {few or 'nothing'}")
        yield name, by


def _settled(bugs: Sequence[Bug], caught: Caught, text: str) -> dict[str, frozenset[str]]:
    """Try again what is not as declared, or not as the page says: a race, or a lifetime, may be lost by chance."""
    settled, before = dict(caught), recorded(text)
    known = {clause.id for clause in all_clauses()} & listed(text)
    with installed():
        for bug in sorted(bugs, key=lambda bug: bug.name):
            by, declared = caught[bug.name], frozenset(bug.caught_by)
            wanted = (before.get(bug.name, by) & known) | (by - known) | declared if bug.others else declared
            for clause in sorted(by ^ wanted):
                if happens(bug.name, clause, caught=clause in wanted):
                    _say(f"{clause} catches {bug.name}, or does not, by chance")
                    settled[bug.name] ^= {clause}
    return settled


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
