"""The workspace as tools/ reads it, and what the matrix makes of a change."""

import re

import pytest

from tools import matrix, pythons, workspace

MEMBERS = workspace.members()
NAMES = [member.name for member in MEMBERS]


def touched(*files: str) -> list[str]:
    return [member.name for member in matrix.touched(files, MEMBERS)]


def test_every_distribution_is_a_member() -> None:
    assert NAMES[:2] == ["satchel", "satchel-conformance"]
    assert {"satchel-redis", "satchel-sqlite"} < set(NAMES)


def test_every_member_supports_every_released_python() -> None:
    for member in MEMBERS:
        assert member.pythons in (pythons.SUPPORTED, tuple(matrix.STABLE)), member.folder


def test_every_image_is_one_that_can_be_built_here() -> None:
    for member in MEMBERS:
        for image in member.images:
            assert re.fullmatch(r"[\w./-]+:[\w.-]+", workspace.tag_of(image))


def test_a_tag_releases_the_distribution_that_it_names() -> None:
    redis = next(member for member in MEMBERS if member.name == "satchel-redis")
    assert workspace.released_by(f"satchel-redis/v{redis.version}") == redis
    assert workspace.released_by("satchel-redis") == redis


@pytest.mark.parametrize("tag", ["satchel-redis/v99.0", "satchel-nothing/v1.0", "v1.0", "satchel-memcached/v0.1.0", ""])
def test_a_tag_that_fits_no_distribution_releases_nothing(tag: str) -> None:
    with pytest.raises(ValueError, match="says|no distribution"):
        workspace.released_by(tag)


def test_a_changed_adapter_is_tested_alone() -> None:
    assert touched("packages/redis/src/satchel_redis/storage.py") == ["satchel-redis"]


def test_a_changed_package_is_tested_with_all_that_depend_on_it() -> None:
    assert "satchel" in touched("packages/sqlite/pyproject.toml")  # which its command line needs
    assert touched("core/src/satchel/keys.py") == NAMES


@pytest.mark.parametrize(
    "file", ["conformance/src/x.py", "noxfile.py", "requirements/test.txt", ".github/workflows/ci.yml"]
)
def test_what_every_package_is_tested_with_tests_every_package(file: str) -> None:
    assert touched(file) == NAMES


def test_prose_tests_nothing() -> None:
    assert touched("README.md", "docs/index.md") == []


def test_each_package_meets_each_python_and_both_ends_of_its_bounds() -> None:
    jobs = list(matrix.jobs(MEMBERS[:1]))
    assert [job["python"] for job in jobs if job["resolution"] == "pinned"] == list(pythons.SUPPORTED)
    assert {job["resolution"] for job in jobs} == {"pinned", "lowest", "newest"}


def test_a_commit_that_is_not_there_tests_everything() -> None:
    assert matrix.changed_since("0" * 40) is None
