"""The package as a whole: what it exports, and what importing it brings in."""

import subprocess
import sys

import satchel


def test_every_public_name_is_there() -> None:
    for name in satchel.__all__:
        assert getattr(satchel, name) is not None
    assert set(satchel.__all__) <= set(dir(satchel))


def test_importing_satchel_brings_in_nothing_heavy() -> None:
    """The time itself is measured in benchmarks: asyncio and dataclasses are what it would be made of."""
    script = "import sys, satchel; print(*{'asyncio', 'dataclasses', 'inspect', 'msgspec', 'typer'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
