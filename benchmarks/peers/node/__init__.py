"""grammY's own storages, on Node: a process that is told when to take turns, and answers how long each took."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.peers.rivals import first

FOLDER: Final = Path(__file__).parent
BACKENDS: Final = ("redis", "postgres")


class Grammy:
    """One process of Node."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def measure(self, workers: int, seconds: float) -> list[float]:
        """Let so many workers take turns for so long, and return what each took; see `Measure`."""
        taken: list[float] = self._ask(workers=workers, seconds=seconds, first=first())
        return taken

    def contend(self, turns: int, at_once: int) -> dict[str, Any]:
        """Let turns of one session meet."""
        found: dict[str, Any] = self._ask(contended=turns, atOnce=at_once, first=first())
        return found

    def _ask(self, **task: Any) -> Any:
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@contextmanager
def grammy(backend: str, url: str, namespace: str) -> Iterator[Grammy | None]:
    """Start Node, or give None where it, or what package.json lists, is not there."""
    node = shutil.which("node")
    if node is None or backend not in BACKENDS or not (FOLDER / "node_modules").is_dir():
        yield None
        return
    command = [node, str(FOLDER / "turns.mjs"), backend, url, f"{namespace}:"]
    quiet = os.environ | {"NODE_NO_WARNINGS": "1"}
    with subprocess.Popen(command, env=quiet, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Grammy(process)
        finally:
            process.terminate()
