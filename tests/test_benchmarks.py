"""The benchmarks run: what they say of this machine is for a person to look at."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_blocking_facade_is_measured_beside_the_driver_and_the_asynchronous_names() -> None:
    program = ("-W", "error", "-m", "benchmarks.blocking", "sqlite")
    quick = ("--rounds", "2", "--seconds", "0.05", "--workers", "1", "2")
    done = subprocess.run([sys.executable, *program, *quick], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    rows = re.findall(
        r"^\| (.*?) \| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", done.stdout, re.MULTILINE
    )
    assert [(name, workers) for name, workers, *_ in rows] == [
        (name, workers)
        for workers in ("1", "2")
        for name in (
            "sqlite3",
            "read and write, asynchronous",
            "read and write, blocking",
            "a session, asynchronous",
            "a session, blocking",
            "a state of a flow, asynchronous",
            "a state of a flow, blocking",
        )
    ]
    short = re.findall(r"^sqlite, \d at once, .*: blocking against (\w+): [\d.]+ of the", done.stdout, re.MULTILINE)
    assert short == ["asynchronous", "sqlite3"] * 6
    for name, _, rate_ratio, p50_ratio, rate, p50, p99 in rows:
        if name == "sqlite3":
            assert (rate_ratio, p50_ratio) == ("1.00", "1.00")
        assert int(rate.replace(",", "")) > 0
        assert 0 < int(p50.replace(",", "")) <= int(p99.replace(",", ""))


def test_what_is_no_backend_is_said() -> None:
    program = [sys.executable, "-m", "benchmarks.blocking", "nonsense"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "nonsense" in done.stderr
