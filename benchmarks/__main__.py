"""Every question, or those that are named: `python -m benchmarks drivers peers --quick --json out.json`."""

import argparse
import importlib
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from benchmarks.measuring import machine, processor
from benchmarks.report import FULL, QUICK, Table
from satchel_conformance.backends import BackendMissing

QUESTIONS: Final = ("drivers", "trips", "peers", "stalls", "startup", "scale")
VERSIONS: Final = ("satchel", "redis", "psycopg", "psycopg-pool", "pymongo", "boto3")


def main() -> int:
    """Measure, print tables, and write what was asked for. The exit code is 1 if something could not be measured."""
    parser = argparse.ArgumentParser(prog="nox -s bench --", description=__doc__)
    parser.add_argument("questions", nargs="*", metavar="question", help=f"of {', '.join(QUESTIONS)}; by default all")
    parser.add_argument("--quick", action="store_true", help="a few minutes less, and rougher")
    parser.add_argument("--rounds", type=int, help="how often contenders take turns")
    parser.add_argument("--workers", type=int, nargs="+", help="how many are at work at once")
    parser.add_argument("--backends", nargs="+", default=[], help="measure only these")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the tables there, too")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the ratios: SVG or PNG, by the name")
    options = parser.parse_args()
    if unknown := set(options.questions) - set(QUESTIONS):
        parser.error(f"{', '.join(unknown)}: the questions are {', '.join(QUESTIONS)}")
    setting = replace(QUICK if options.quick else FULL, backends=frozenset(options.backends))
    if options.workers:
        setting = replace(setting, workers=tuple(options.workers))
    if options.rounds:
        setting = replace(setting, rounds=options.rounds)

    began = time.monotonic()
    here = {"machine": machine(*VERSIONS), "processor": processor()}
    print(*here.values(), sep=", ", flush=True)
    tables: list[Table] = []
    missing = []
    for question in options.questions or QUESTIONS:
        try:
            for table in importlib.import_module(f"benchmarks.{question}").answer(setting):
                tables.append(table)
                print("", table.markdown(), sep="\n", flush=True)
        except BackendMissing as error:
            missing.append(f"{question} ends early: {error}")
    load = f"load {os.getloadavg()[0]:.1f} at the end" if hasattr(os, "getloadavg") else ""
    print(f"\n{time.monotonic() - began:.0f} s, {load}", *missing, sep="\n", file=sys.stderr)
    if options.json:
        found: dict[str, Any] = {**here} | {"end": load, "tables": [table.plain() for table in tables]}
        options.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if options.plot:
        from benchmarks.plot import draw

        draw(tables, ", ".join(here.values()), options.plot)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
