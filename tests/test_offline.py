"""The tool that runs real servers where no container registry is reachable: an engine reaches its own containers."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
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
def states() -> Iterator[list[Path]]:
    """The states of two engines beside the one of the tests, each in a path that a socket's may have."""
    with tempfile.TemporaryDirectory(prefix="satchel-engines-") as folder, ExitStack() as stack:
        states = [Path(folder, name) for name in ("one", "other")]
        for state in states:
            state.mkdir()
            stack.callback(down, state)
        yield states


def up(state: Path) -> None:
    run(TOOL / "up", "redis", state=state)


def down(state: Path) -> None:
    run(TOOL / "down", state=state)


def docker(state: Path, *arguments: str) -> str:
    return run("/usr/bin/docker", "--host", f"unix://{state}/docker.sock", *arguments, state=state).strip()


def answer_for_themselves(engines: list[Path]) -> None:
    servers = []
    for state in engines:
        name = docker(state, "run", "--detach", "redis:7")
        docker(state, "exec", name, "sh", "-c", "until redis-cli ping; do sleep 0.1; done")
        host = docker(state, "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name)
        docker(state, "exec", name, "redis-cli", "set", "engine", state.name)
        servers.append((state.name, host))
    for _ in range(20):  # each time on a connection of its own
        for name, host in servers:
            with redis.Redis(host=host, decode_responses=True, socket_timeout=10) as client:
                assert client.get("engine") == name


def test_containers_of_engines_beside_each_other_have_addresses_of_their_own(states: list[Path]) -> None:
    for state in states:
        up(state)
    answer_for_themselves(states)


def test_an_engine_that_is_started_again_leaves_another_what_were_its_addresses(states: list[Path]) -> None:
    one, other = states
    up(one)
    down(one)
    up(other)
    up(one)
    answer_for_themselves(states)


@pytest.mark.parametrize("with_containers", [False, True])
def test_what_a_killed_engine_left_is_removed(states: list[Path], with_containers: bool) -> None:
    state = states[0]
    up(state)
    bridge = Path("/sys/class/net", f"br-{docker(state, 'network', 'create', 'own')[:12]}")
    assert bridge.exists()
    name = docker(state, "run", "--detach", "--network", "own", "redis:7")
    killed = [(state / file).read_text() for file in ("dockerd.pid", "exec/containerd/containerd.pid")]
    if with_containers:
        server = docker(state, "inspect", "--format", "{{.State.Pid}}", name)
        shim = Path("/proc", server, "stat").read_text().split()[3]
        killed += [shim, server]
    for process in killed:
        with suppress(ProcessLookupError):  # some end with the first
            os.kill(int(process), signal.SIGKILL)
    down(state)
    assert not bridge.exists()
    assert str(state) not in Path("/proc/mounts").read_text()
    up(state)
    assert docker(state, "ps", "--all", "--quiet") == ""
    assert docker(state, "network", "ls", "--quiet", "--filter", "name=own") == ""
