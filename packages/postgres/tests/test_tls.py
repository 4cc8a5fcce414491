"""Who the server is gets verified, unless it is on this machine or one says otherwise."""

import ssl
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme

from satchel import ConfigurationError, StorageError
from satchel_postgres import PostgresStorage
from satchel_postgres.connections import read_url

from .conftest import AUTHORITY, NAME


@pytest.fixture
def trusted(tmp_path: Path) -> Path:
    AUTHORITY.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


async def is_encrypted(storage: PostgresStorage[Any]) -> bool:
    cursor = await storage._send(b"SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    assert cursor.pgresult is not None
    return cursor.pgresult.get_value(0, 0) == b"true"


async def test_a_server_with_a_certificate_of_a_known_authority_is_used(
    postgres_tls_url: str, namespace: str, trusted: Path
) -> None:
    async with PostgresStorage[Any](f"{postgres_tls_url}&sslrootcert={trusted}", namespace=namespace) as storage:
        await storage.write("chat:1", {"pizza": 1})
        assert await storage.read("chat:1") == {"pizza": 1}
        assert await is_encrypted(storage)
        assert storage.where.startswith(f"postgresql://{NAME}:")


async def test_a_certificate_of_an_unknown_authority_is_refused(
    postgres_tls_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # where libpq and we look for .postgresql/root.crt
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    for url in (postgres_tls_url, f"{postgres_tls_url}&sslrootcert={tmp_path / 'other.pem'}"):
        with pytest.raises(ConfigurationError, match="cannot be used like this: .*certificate verify failed") as caught:
            async with PostgresStorage[Any](url):
                pass
        assert "\n" not in str(caught.value)


async def test_a_certificate_for_another_name_is_refused_unless_names_are_not_checked(
    postgres_tls_url: str, namespace: str, trusted: Path
) -> None:
    url = f"{postgres_tls_url.replace(NAME, 'other.example')}&sslrootcert={trusted}"
    with pytest.raises(ConfigurationError, match=f'certificate for "{NAME}" does not match host name "other.example"'):
        async with PostgresStorage[Any](url):
            pass
    async with PostgresStorage[Any](f"{url}&sslmode=verify-ca", namespace=namespace) as storage:
        assert await is_encrypted(storage)


async def test_a_server_without_tls_is_refused_unless_it_is_here_or_one_says_so(
    postgres_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = postgres_url.replace("127.0.0.1", NAME).replace("localhost", NAME) + "?hostaddr=127.0.0.1"
    with pytest.raises(ConfigurationError, match="offers no TLS: if the network can be trusted, say sslmode=disable"):
        async with PostgresStorage[Any](away):
            pass
    async with PostgresStorage[Any](f"{away}&sslmode=disable", namespace=namespace) as storage:
        assert await storage.read("chat:1") is None
    monkeypatch.setenv("PGSSLMODE", "prefer")
    for url in (away, postgres_url):
        async with PostgresStorage[Any](url, namespace=namespace) as storage:
            assert not await is_encrypted(storage)


@pytest.mark.parametrize(("url", "mode"), [
    ("postgresql://db.example", "verify-full"),
    ("postgresql://bot@10.0.0.7/db", "verify-full"),
    ("postgresql://localhost,db.example", "verify-full"),
    ("postgresql://?hostaddr=10.0.0.7", "verify-full"),
    ("postgresql://db.example?sslmode=require", "require"),
    ("postgresql://db.example?sslrootcert=system", "verify-full"),
    ("postgresql://localhost/db?hostaddr=10.0.0.7", "verify-full"),
    ("postgresql://localhost,localhost?hostaddr=127.0.0.1,10.0.0.7", "verify-full"),
    ("postgresql://localhost?hostaddr=::1", None),
    ("postgresql://localhost", None),
    ("postgresql://127.0.0.1,[::1]", None),
    ("postgresql:///db?host=/run/postgresql", None),
    ("postgresql:///db", None),
])  # fmt: skip
def test_verification_is_the_default_for_what_is_not_on_this_machine(
    url: str, mode: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    _, said = read_url(url)
    assert said.get("sslmode") == mode
    if mode == "verify-full":
        ssl.create_default_context(cafile=said["sslrootcert"])  # the system's authorities, as a file
    monkeypatch.setenv("PGSSLMODE", "prefer")
    _, said = read_url(url)
    if "sslmode" not in url and "sslrootcert" not in url:
        assert "sslmode" not in said


def test_an_address_in_the_environment_is_judged_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("PGHOSTADDR", "PGHOST"):
        monkeypatch.setenv(variable, "10.0.0.7")
        _, said = read_url("postgresql:///db")
        assert said["sslmode"] == "verify-full"
        monkeypatch.delenv(variable)


SERVICES = """\
# sslmode=disable
[far]
host=db.example
  # sslmode=disable
host=localhost

[trusting]
sslmode=require
sslmode=verify-ca
host=db.example
  [address]
hostaddr=10.0.0.7
[near]
port=5433
[directory]
ldap://ldap.example/dc=example?uniqueMember?one?cn=db
[last]
host=db.example
"""


@pytest.mark.parametrize(("service", "mode"), [
    ("far", "verify-full"), ("trusting", None), ("address", "verify-full"), ("near", None), ("last", "verify-full"),
])  # fmt: skip
@pytest.mark.parametrize("place", ["PGSERVICEFILE", "HOME", "PGSYSCONFDIR"])
def test_a_service_is_judged_by_what_its_file_says(
    service: str, mode: str | None, place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "nowhere"))
    file = tmp_path / (".pg_service.conf" if place == "HOME" else "pg_service.conf")
    file.write_text(SERVICES)
    monkeypatch.setenv(place, str(file if place == "PGSERVICEFILE" else tmp_path))
    for url in (f"postgresql:///?service={service}", "postgresql:///"):
        _, said = read_url(url)
        assert said.get("sslmode") == mode
        monkeypatch.setenv("PGSERVICE", service)
    _, said = read_url("postgresql:///?sslmode=prefer")
    assert said["sslmode"] == "prefer"
    _, said = read_url("postgresql://db.example")
    assert said.get("sslmode") == (None if service == "trusting" else "verify-full")
    monkeypatch.setenv("PGSSLMODE", "prefer")
    _, said = read_url("postgresql:///")
    assert "sslmode" not in said


@pytest.mark.parametrize("service", ["missing", "directory"])
def test_where_a_service_may_say_anything_sslmode_has_to_be_said(
    service: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".pg_service.conf").write_text(SERVICES)
    for url in (f"postgresql:///?service={service}", f"postgresql://localhost?service={service}"):
        with pytest.raises(ConfigurationError, match=f"'{service}' .*: say sslmode in the URL$"):
            read_url(url)
        _, said = read_url(f"{url}&sslmode=require")
        assert said["sslmode"] == "require"


async def test_a_server_elsewhere_that_a_service_names_is_verified(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "services").write_text(f"[bots]\nhost={NAME}\nhostaddr=127.0.0.1\nport={urlsplit(postgres_url).port}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    with pytest.raises(ConfigurationError, match="offers no TLS"):
        async with PostgresStorage[Any]("postgresql://postgres@/postgres?service=bots"):
            pass
    async with PostgresStorage[Any]("postgresql://postgres@/postgres?service=bots&sslmode=prefer") as storage:
        assert await storage.read("chat:1") is None


def test_authorities_of_ones_own_are_used_where_libpq_looks_for_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trusted: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".postgresql").mkdir()
    AUTHORITY.cert_pem.write_to_path(tmp_path / ".postgresql" / "root.crt")
    _, said = read_url("postgresql://db.example")
    assert "sslrootcert" not in said
    monkeypatch.setenv("PGSSLROOTCERT", str(trusted))
    _, said = read_url("postgresql://db.example")
    assert "sslrootcert" not in said


async def test_a_wrong_password_is_said_in_one_line_without_it(postgres_tls_url: str, trusted: Path) -> None:
    right = f"{postgres_tls_url}&sslrootcert={trusted}"
    for url in (right.replace(":hunter2@", ":hunter3@"), right.replace(":hunter2@", "@")):
        with pytest.raises(ConfigurationError, match="cannot be used like this: .*password") as caught:
            async with PostgresStorage[Any](url, timeout=timedelta(seconds=10)):
                pass
        assert "hunter" not in str(caught.value)
        assert "\n" not in str(caught.value)


async def test_a_password_is_taken_from_the_environment(
    postgres_tls_url: str, namespace: str, trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    url = f"{postgres_tls_url.replace(':hunter2@', '@')}&sslrootcert={trusted}"
    async with PostgresStorage[Any](url, namespace=namespace) as storage:
        assert await storage.read("chat:1") is None


async def test_a_client_certificate_that_is_no_file_is_refused() -> None:
    with pytest.raises(StorageError, match="sslcert is '/missing.pem', which is no file"):
        PostgresStorage[Any]("postgresql://db.example?sslcert=/missing.pem")
