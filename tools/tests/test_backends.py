"""Which engine the tests get, and how what was not run is told."""

import os
from pathlib import Path

import pytest

from tools import backends, pythons


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("SATCHEL_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(backends, "_may_install", lambda: False)


def test_the_engine_that_is_there_is_asked_for_the_official_images() -> None:
    asked: list[str] = []

    def probe(tags: list[str]) -> str:
        asked.extend(tags)
        return ""

    assert backends.provide(["redis", "valkey"], probe) == ""
    assert asked == ["redis:7", "valkey/valkey:9"]


def test_a_named_server_needs_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SATCHEL_TEST_REDIS_URL", "redis://elsewhere")
    assert backends.provide(["redis"], lambda _tags: pytest.fail("asked")) == ""


def test_without_an_engine_the_reason_is_told() -> None:
    assert backends.provide(["redis"], lambda _tags: "no container engine") == "no container engine"


def test_what_was_not_run_is_grouped_by_reason() -> None:
    missing = {"valkey": "no engine", "redis": "no engine", "s3": "no credentials"}
    assert backends.by_reason(missing) == ["s3 (no credentials)", "redis, valkey (no engine)"]


def test_the_report_names_backends_and_pythons(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("atexit.register", lambda _function: None)
    monkeypatch.setenv("SATCHEL_NOT_RUN_FILE", "")
    report = backends.NotRun(pythons.SUPPORTED[:-1], pythons.SUPPORTED[:1])
    report.tested(pythons.SUPPORTED[0])
    Path(os.environ["SATCHEL_NOT_RUN_FILE"]).write_text('{"backend": "redis", "why": "no engine"}\n' * 2)
    report.report()
    assert capsys.readouterr().out.splitlines() == [
        "not run: redis (no engine)",
        "not run: Python 3.15 (not installed)",
        "not run: Python 3.12, 3.13, 3.14 (only the oldest and the newest here are tested)",
    ]
