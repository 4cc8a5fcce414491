"""Sessions of grammY's in PostgreSQL, read where @grammyjs/storage-psql left them."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, ClassVar, Final

from psycopg.sql import Identifier

from satchel import ConfigurationError, Payload
from satchel.foreign.grammy import Grammy
from satchel_postgres.running import rows
from satchel_postgres.storage import PostgresStorage

_PAGE: Final = 500  # names in one round trip of a listing
_GET_MANY: Final = "SELECT key, value::text FROM {table} WHERE key = ANY(%(keys)b::text[])"
_LIST: Final = """
SELECT key FROM {table}
WHERE starts_with(key, %(prefix)s::text) AND (%(last)s::text IS NULL OR key > %(last)s::text)
ORDER BY key LIMIT %(most)s
"""


class GrammyPostgresStorage(Grammy, PostgresStorage[Any]):
    """A row of `key` and `value`, JSON as text, in the table "sessions" or the one that the adapter was told.

    Takes what `Grammy` and `PostgresStorage` take. Its user needs to SELECT.
    """

    default_table = "sessions"
    not_here: ClassVar = (*Grammy.not_here, "jsonb")

    def __init__(self, source: Any, **options: Any) -> None:
        super().__init__(source, **options)
        table = self._sql.name.replace("%", "%%")  # psycopg looks for parameters everywhere
        self._get_many, self._list = (statement.format(table=table).encode() for statement in (_GET_MANY, _LIST))

    async def open(self) -> None:
        """Look at the server and the table."""
        columns = await self._look()
        if columns is None:
            raise ConfigurationError(f"{self.where} has no table {self._sql.name}")
        if missing := {"key", "value"} - columns.keys():
            raise ConfigurationError(
                f"{self.where} has a table {self._sql.name} without {' and '.join(sorted(missing))}: it is not grammY's"
            )

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        """SELECT the rows. No row's key has a NUL, which PostgreSQL cannot even be asked for."""
        answer = await self._send(self._get_many, keys=[name for name in names if "\0" not in name])
        return {name.decode(): b"null" if payload is None else payload for name, payload in rows(answer)}

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        """SELECT 500 names at a time, in the order of their unique index."""
        last: str | None = None
        while found := rows(await self._send(self._list, prefix=prefix, last=last, most=_PAGE)):
            yield [name.decode() for (name,) in found]
            last = found[-1][0].decode()

    def schema(self) -> str:
        """Return the one right that is needed."""
        user = Identifier(self._connections.user or "satchel").as_string(None)
        return f"GRANT SELECT ON {self._sql.name} TO {user};\n"
