"""The tool that runs real servers where no container registry is reachable: an engine reaches its own containers."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

TOOL = Path(__file__).parents[1] / "tools/offline"
STATE = Path(os.environ.get("OFFLINE_HOME") or Path.home() / ".cache/offline-engine")

pytestmark = pytest.mark.skipif(
    os.environ.get("DOCKER_HOST") != f"unix://{STATE}/docker.sock", reason="the containers are another engine's"
)


def run(*command: str | Path, state: Path) -> str:
    environment = os.environ | {"OFFLINE_HOME": str(state)}
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True, timeout=300).stdout


@pytest.fixture
def engines() -> Iterator[list[Path]]:
    """Run two engines beside the one of the tests, each with a state of its own, in a path that a socket's may have."""
    with tempfile.TemporaryDirectory(prefix="satchel-engines-") as folder, ExitStack() as stack:
        states = [Path(folder, name) for name in ("one", "other")]
        for state in states:
            stack.callback(run, TOOL / "down", state=state)
            run(TOOL / "up", "redis", state=state)
        yield states


def test_containers_of_engines_beside_each_other_have_addresses_of_their_own(engines: list[Path]) -> None:
    servers = []
    for state in engines:
        docker = ["/usr/bin/docker", "--host", f"unix://{state}/docker.sock"]
        name = run(*docker, "run", "--detach", "redis:7", state=state).strip()
        run(*docker, "exec", name, "sh", "-c", "until redis-cli ping; do sleep 0.1; done", state=state)
        where = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        host = run(*docker, "inspect", "--format", where, name, state=state).strip()
        run(*docker, "exec", name, "redis-cli", "set", "engine", state.name, state=state)
        servers.append((state.name, host))
    for _ in range(20):  # each time on a connection of its own
        for name, host in servers:
            with redis.Redis(host=host, decode_responses=True, socket_timeout=10) as client:
                assert client.get("engine") == name
