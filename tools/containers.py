"""Ask for a container engine that has, or can pull, the images named: prints nothing, or what is wrong, in one line.

Run by nox in the tests' own environment, so that the engine is looked for just as testcontainers does.
"""

import sys

from docker.errors import DockerException, ImageNotFound
from testcontainers.core.docker_client import DockerClient


def problem(tags: list[str]) -> str:
    """Return what keeps the tests from having these images, or ""."""
    try:
        client = DockerClient().client
        client.ping()
    except DockerException:
        return "no container engine"
    for tag in tags:
        try:
            client.images.get(tag)
        except ImageNotFound:
            print(f"containers: pulling {tag}", file=sys.stderr)
            try:
                client.images.pull(tag)
            except DockerException as error:
                return f"the container engine cannot pull {tag}: {error.__class__.__name__}"
    return ""


if __name__ == "__main__":
    print(problem(sys.argv[1:]), end="")
