"""The statements about one table. Each is one round trip; names in them are quoted, values are parameters."""

import hashlib
import re
from typing import Final, NamedTuple

from psycopg.sql import Identifier

from satchel import ConfigurationError

LAYOUT: Final = 1
"""The number of the layout at rest, in the comment of the table."""

_PART: Final = r'("(?:[^"]|"")+"|[^".]+)'
_NAME: Final = re.compile(rf"(?:{_PART}\.)?{_PART}")
_LONGEST_NAME: Final = 63  # bytes; PostgreSQL cuts off the rest (Documentation, "Lexical Structure", 4.1.1)
_END_OF_TIME: Final = 10**15  # milliseconds, 31 700 years; timestamps end with the year 294276 (8.5 Date/Time Types)

_SCHEMA: Final = """\
CREATE TABLE IF NOT EXISTS {table} (
    key text COLLATE "C" PRIMARY KEY,
    payload json,
    payload_bytes bytea,
    expires_at timestamptz,{jsonb}
    CHECK (num_nonnulls(payload, payload_bytes) = 1)
);
CREATE INDEX IF NOT EXISTS {index} ON {table} (expires_at) WHERE expires_at IS NOT NULL;
COMMENT ON TABLE {table} IS 'Satchel sessions, layout {layout}';
"""
JSONB: Final = "payload_jsonb jsonb GENERATED ALWAYS AS (payload::jsonb) STORED"
_GRANTS: Final = "GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {user};\n"
# Of several that find no table at once, the first creates it. (IF NOT EXISTS alone fails for some of the others.)
_CREATE_TABLE: Final = "SELECT pg_advisory_xact_lock(hashtextextended('satchel', 0));\n{schema}"
_LOOK: Final = """
SELECT pg_backend_pid()::text, current_setting('server_encoding'), current_setting('fsync'),
    current_setting('synchronous_commit'), row_security_active(to_regclass(%(table)s))::text,
    (SELECT relpersistence::text FROM pg_class WHERE oid = to_regclass(%(table)s)), (
        SELECT json_object_agg(attname, json_build_array(
            atttypid::bigint, format_type(atttypid, NULL), coalesce(collisdeterministic, true), attgenerated <> ''
        ))::text
        FROM pg_attribute LEFT JOIN pg_collation ON pg_collation.oid = attcollation
        WHERE attrelid = to_regclass(%(table)s) AND attnum > 0 AND NOT attisdropped
    )
"""
_VALUE: Final = "coalesce(old.payload_bytes, convert_to(old.payload::text, 'UTF8'))"
_DIGEST: Final = f"sha256({_VALUE})"
_ALIVE: Final = "(old.expires_at IS NULL OR old.expires_at > clock_timestamp())"
# Bytes and arrays are sent in binary (%b). In an array that is sent as text, psycopg escapes bytes as in a literal:
# with standard_conforming_strings=off, twice as much as the server takes back.
_GET: Final = f"SELECT {_VALUE} FROM {{table}} AS old WHERE key = %(key)s AND {_ALIVE}"
_GET_MANY: Final = f"SELECT key, {_VALUE} FROM {{table}} AS old WHERE key = ANY(%(keys)b::text[]) AND {_ALIVE}"
_ON_CONFLICT: Final = """
ON CONFLICT (key) DO UPDATE
SET payload = excluded.payload, payload_bytes = excluded.payload_bytes, expires_at = {end}
"""
_PUT: Final = f"""
INSERT INTO {{table}} AS old (key, payload, payload_bytes, expires_at)
VALUES (%(key)s, %(payload)s::json, %(bytes)b::bytea, {{end}}) {_ON_CONFLICT}
"""
_PUT_MANY: Final = f"""
INSERT INTO {{table}} AS old (key, payload, payload_bytes, expires_at)
SELECT new.key, new.payload::json, new.payload_bytes, {{end}}
FROM unnest(%(keys)b::text[], %(payload)b::text[], %(bytes)b::bytea[]) AS new (key, payload, payload_bytes)
{_ON_CONFLICT}
"""
_CREATE: Final = f"{_PUT} WHERE old.expires_at <= clock_timestamp() RETURNING encode({_DIGEST}, 'hex')"
_REPLACE: Final = f"""
UPDATE {{table}} AS old SET payload = %(payload)s::json, payload_bytes = %(bytes)b::bytea, expires_at = {{end}}
WHERE key = %(key)s AND {_DIGEST} = %(digest)b AND {_ALIVE} RETURNING encode({_DIGEST}, 'hex')
"""
_DROP: Final = "DELETE FROM {table} AS old WHERE key = %(key)s"
_DROP_EXPECTED: Final = f"{_DROP} AND {_DIGEST} = %(digest)b AND {_ALIVE}"
# Rows are locked in the order of keys, as _PUT_MANY does, so that no two batches wait for each other.
_DROP_MANY: Final = """
DELETE FROM {table} WHERE key = ANY(ARRAY(
    SELECT key FROM {table} WHERE key = ANY(%(keys)b::text[]) ORDER BY key FOR UPDATE
))
"""
# All or none of several changes, in one statement. What a snapshot shows to be at another version changes nothing.
# Else "inserted" is first, and has every key in its hands, in the order in which _PUT_MANY and _DROP_MANY take them: it
# creates what is to be created, and where a record is, it only locks the row, also one that is newer than the snapshot.
# So nothing after it waits for anybody. UPDATE and DELETE check versions against the newest row; a row that the
# snapshot does not show, or that has gone since, is missing from their count. Should a count be wrong, the division
# takes the whole statement back. To demand an absence is to create a record that has ended, which a purge removes.
_COMMIT: Final = f"""
WITH new AS (
    SELECT key, payload::json, payload_bytes, digest, num_nonnulls(payload, payload_bytes) = 1 AS stays
    FROM unnest(%(keys)b::text[], %(payload)b::text[], %(bytes)b::bytea[], %(digests)b::bytea[])
        AS new (key, payload, payload_bytes, digest)
), wrong AS (
    SELECT new.key FROM new LEFT JOIN {{table}} AS old ON old.key = new.key AND {_ALIVE}
    WHERE {_DIGEST} IS DISTINCT FROM new.digest
), due AS (
    SELECT * FROM new WHERE NOT EXISTS (SELECT FROM wrong)
), inserted AS (
    INSERT INTO {{table}} AS old (key, payload, payload_bytes, expires_at)
    SELECT key, CASE WHEN stays THEN payload ELSE 'null' END, payload_bytes,
        CASE WHEN stays THEN {{end}} ELSE '-infinity'::timestamptz END
    FROM due ORDER BY key COLLATE "C"
    ON CONFLICT (key) DO UPDATE
    SET payload = excluded.payload, payload_bytes = excluded.payload_bytes, expires_at = excluded.expires_at
    WHERE old.expires_at <= clock_timestamp()
    RETURNING key
), locked AS (
    SELECT * FROM due WHERE (SELECT count(*) FROM inserted) = (SELECT count(*) FROM due WHERE digest IS NULL)
), changed AS (
    UPDATE {{table}} AS old SET payload = new.payload, payload_bytes = new.payload_bytes, expires_at = {{end}}
    FROM locked AS new WHERE old.key = new.key AND {_DIGEST} = new.digest AND {_ALIVE} AND new.stays
    RETURNING old.key
), dropped AS (
    DELETE FROM {{table}} AS old USING locked AS new
    WHERE old.key = new.key AND {_DIGEST} = new.digest AND {_ALIVE} AND NOT new.stays
    RETURNING old.key
)
SELECT (SELECT min(key COLLATE "C") FROM wrong), 1 / (
    (SELECT count(*) FROM due WHERE digest IS NULL) = (SELECT count(*) FROM inserted)
    AND (SELECT count(digest) FROM due) = (SELECT count(*) FROM changed) + (SELECT count(*) FROM dropped)
)::int
"""
_RENEW: Final = f"UPDATE {{table}} AS old SET expires_at = {{end}} WHERE key = %(key)s AND {_ALIVE}"
# What others are just writing, or purging, is left to them. Without an order, a server that has no statistics, as of a
# table that was just filled, expects to find so many soon, and goes through the table.
_PURGE: Final = """
DELETE FROM {table} WHERE key = ANY(ARRAY(
    SELECT key FROM {table} WHERE expires_at <= statement_timestamp()
    ORDER BY expires_at LIMIT %(most)s FOR UPDATE SKIP LOCKED
))
"""
# Compared with a row, for which the server expects to find more than a page: else, without statistics, it goes through
# all that is left of the table for each page, and sorts it.
_PAGE: Final = f"""
SELECT key FROM {{table}} AS old
WHERE (key COLLATE "C", key) >= (%(start)s, '') AND key COLLATE "C" < %(end)s AND {_ALIVE}
ORDER BY key COLLATE "C" LIMIT %(most)s
"""


class Column(NamedTuple):
    """What the look at the server finds of a column.

    Attributes:
        oid: its type's, as names depend on settings of the session such as quote_all_identifiers.
        kind: the name of the type, for messages.
        deterministic: whether what its collation takes for equal is the same, byte by byte.
        generated: whether the server computes it.
    """

    oid: int
    kind: str
    deterministic: bool
    generated: bool


class Statements:
    """The statements about the table of one storage.

    Args:
        table: its name as users give it: `name`, `schema.name`, `"any. name"`.
        ttl_ms: the lifetime that a write gives.
        jsonb: whether there is a column of this type, too.

    Attributes:
        name: the table's, quoted.
        columns: their types, by name.

    Raises:
        ConfigurationError: PostgreSQL has no such name.
    """

    def __init__(self, table: str, ttl_ms: int | None, *, jsonb: bool) -> None:
        parts = _parts(table)
        self.name = Identifier(*parts).as_string(None)
        index = f"{parts[-1]}_expires_at"
        if len(index.encode()) > _LONGEST_NAME:
            index = f"satchel_{hashlib.sha256(parts[-1].encode()).hexdigest()[:32]}_expires_at"
        self._index = Identifier(index).as_string(None)
        self.columns = {
            "key": "text",
            "payload": "json",
            "payload_bytes": "bytea",
            "expires_at": "timestamp with time zone",
        }
        if jsonb:
            self.columns["payload_jsonb"] = "jsonb"
        self._schema_name = Identifier(parts[0]).as_string(None) if len(parts) == 2 else ""
        self.look = _LOOK.encode()
        self.create_table = _CREATE_TABLE.format(schema=self.schema()).encode()

        # psycopg looks for parameters everywhere, also in a name.
        words = {"table": self.name.replace("%", "%%"), "end": _end(ttl_ms)}
        self.get, self.get_many, self.put, self.put_many, self.create, self.replace = (
            statement.format_map(words).encode() for statement in (_GET, _GET_MANY, _PUT, _PUT_MANY, _CREATE, _REPLACE)
        )
        self.drop, self.drop_expected, self.drop_many, self.renew, self.purge, self.page = (
            statement.format_map(words).encode()
            for statement in (_DROP, _DROP_EXPECTED, _DROP_MANY, _RENEW, _PURGE, _PAGE)
        )
        self.commit = _COMMIT.format_map(words).encode()

    def schema(self) -> str:
        """Return the DDL."""
        jsonb = f"\n    {JSONB}," if "payload_jsonb" in self.columns else ""
        return _SCHEMA.format(table=self.name, index=self._index, jsonb=jsonb, layout=LAYOUT)

    def grants(self, user: str) -> str:
        """Return the rights that a storage needs, and no more."""
        name = Identifier(user).as_string(None)
        usage = f"GRANT USAGE ON SCHEMA {self._schema_name} TO {name};\n" if self._schema_name else ""
        return usage + _GRANTS.format(table=self.name, user=name)


def _parts(table: str) -> list[str]:
    """Split a name at its dot, but not at those in double quotes."""
    found = _NAME.fullmatch(table) if isinstance(table, str) else None
    if found is None:
        raise ConfigurationError(f"table is {table!r}; it is name or schema.name, names with dots in double quotes")
    parts = [part[1:-1].replace('""', '"') if part[0] == '"' else part for part in found.groups() if part]
    for part in parts:
        if not part.isprintable() or len(part.encode()) > _LONGEST_NAME:
            raise ConfigurationError(f"table is {table!r}; a name is printable, and has up to {_LONGEST_NAME} bytes")
    return parts


def _end(ttl_ms: int | None) -> str:
    """Return the expression for when a lifetime ends that begins now, by the server's clock."""
    if ttl_ms is None:
        return "NULL"
    if ttl_ms > _END_OF_TIME:
        return "'infinity'::timestamptz"
    return f"clock_timestamp() + {ttl_ms} * interval '1 millisecond'"
