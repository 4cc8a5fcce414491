"""The data API of Supabase: PostgREST, behind a gateway that knows the API keys, over PostgreSQL with its roles."""

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from satchel import ConfigurationError, open_storage
from satchel_conformance.backends import Backend, BackendMissing, prepared, running

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

_SECRET: Final = "a-secret-of-at-least-thirty-two-characters"
_TABLE: Final = "satchel_sessions"

# What a project of Supabase has: https://supabase.com/docs/guides/database/postgres/roles. The rights by default are
# such that a table or function which nobody has thought about is open to all.
_ROLES: Final = """
CREATE ROLE anon NOLOGIN;
CREATE ROLE authenticated NOLOGIN;
CREATE ROLE service_role NOLOGIN BYPASSRLS;
CREATE ROLE authenticator LOGIN NOINHERIT PASSWORD 'secret';
GRANT anon, authenticated, service_role TO authenticator;
CREATE SCHEMA graphql_public;
GRANT USAGE ON SCHEMA public, graphql_public TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;

CREATE FUNCTION public.administer(statements text) RETURNS boolean SECURITY DEFINER LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statements;
    RETURN true;
END $$;
REVOKE ALL ON FUNCTION public.administer FROM public, anon, authenticated;
"""
_GATEWAY: Final = """
map_hash_bucket_size 512;
map $http_apikey $known {{ default 0; "{anon}" 1; "{service_role}" 1; }}
upstream rest {{ server rest:3000; keepalive 32; }}
server {{
    listen 80;
    {more}
    access_log off;
    client_max_body_size 0;
    location /rest/v1/ {{
        default_type application/json;
        if ($known = 0) {{ return 401 '{{"message":"Invalid API key","hint":"Double check your API key."}}'; }}
        proxy_pass http://rest/;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
    }}
}}
"""


def api_key(role: str, **claims: Any) -> str:
    """Return a JSON Web Token for a role. The gateway knows those of `anon` and `service_role` without more claims."""
    parts = [{"alg": "HS256", "typ": "JWT"}, {"role": role, **claims}]
    signed = ".".join(_base64url(json.dumps(part).encode()) for part in parts)
    return f"{signed}.{_base64url(hmac.digest(_SECRET.encode(), signed.encode(), 'sha256'))}"


def administer(url: str, statements: str) -> None:
    """Run SQL as the owner of the database, through the API of a server that was started here."""
    parts = urlsplit(url)
    key = api_key("service_role")
    request = Request(
        f"http://{parts.hostname}:{parts.port}/rest/v1/rpc/administer",
        json.dumps({"statements": statements}).encode(),
        {"apikey": key, "Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urlopen(request):  # noqa: S310
        pass


@contextmanager
def supabase(*, more: str = "", files: Mapping[str, bytes] | None = None) -> "Iterator[Mapping[str, DockerContainer]]":
    """Start the containers `database`, `rest` and `gateway`, on a network of their own.

    Args:
        more: what else the gateway's server block of nginx says.
        files: what else is in the gateway's container, by path.
    """
    database = prepared("postgres:15", r"listening on IPv4[\s\S]*ready to accept connections")
    database.with_envs(POSTGRES_PASSWORD="secret")  # noqa: S106
    database.with_copy_into_container(f"{_ROLES}{_schema()}".encode(), "/docker-entrypoint-initdb.d/1.sql")
    rest = prepared("postgrest/postgrest:v12.0.2", "Schema cache loaded|Connection successful").with_envs(
        PGRST_DB_URI="postgres://authenticator:secret@database/postgres",
        PGRST_DB_SCHEMAS="public,graphql_public",
        PGRST_DB_ANON_ROLE="anon",
        PGRST_JWT_SECRET=_SECRET,
    )
    configuration = _GATEWAY.format(anon=api_key("anon"), service_role=api_key("service_role"), more=more)
    gateway = prepared("nginx:1", "start worker process").with_exposed_ports(80, 443)
    for path, content in {"/etc/nginx/conf.d/default.conf": configuration.encode(), **(files or {})}.items():
        gateway.with_copy_into_container(content, path)
    from testcontainers.core.network import Network

    containers = {"database": database, "rest": rest, "gateway": gateway}
    with ExitStack() as stack:
        network = stack.enter_context(Network())
        for name, made in containers.items():
            stack.enter_context(running(made.with_network(network).with_network_aliases(name)))
        yield containers


@contextmanager
def _supabase() -> Iterator[str]:
    with supabase() as containers:
        gateway = containers["gateway"]
        host, port = gateway.get_container_host_ip(), gateway.get_exposed_port(80)
        yield f"supabase+http://:{api_key('service_role')}@{host}:{port}/{_TABLE}"


def _schema() -> str:
    """Return what `satchel schema` prints for an administrator to run, with which the server is set up."""
    try:
        return cast("Any", open_storage(f"supabase+http://localhost/{_TABLE}")).schema()  # type: ignore[no-any-return]
    except ConfigurationError as error:
        raise BackendMissing(str(error)) from error


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


SUPABASE: Final = Backend("supabase", _supabase)
