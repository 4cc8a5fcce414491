"""The SQL to run once in the dashboard of Supabase: the table, and the functions that the API calls.

Functions, since they alone do everything in one request, atomically and by the clock of the server, and since they can
tell what row-level security hides from what is not there.
"""

from typing import Final

FUNCTIONS: Final = ("check", "get", "put", "swap", "drop", "commit", "renew", "names", "purge")

_SCHEMA: Final = """\
-- Satchel sessions: run this once in the SQL editor of the dashboard.
-- Run again, it changes nothing, but that only service_role may use them: what else you granted, grant once more.

CREATE TABLE IF NOT EXISTS {table} (
    key text COLLATE "C" PRIMARY KEY,
    payload text NOT NULL,
    expires_at timestamptz
);
CREATE INDEX IF NOT EXISTS {index} ON {table} (expires_at) WHERE expires_at IS NOT NULL;
COMMENT ON TABLE {table} IS 'Satchel sessions, layout 1';
ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;

-- Row-level security hides rows without a word, and a session that is hidden would pass for one that is not there.
-- What finds no row calls this: it raises unless the role may read, insert, update and delete each of the names, which
-- it tries, and takes back. What is hidden is in the way of the insertion.
CREATE OR REPLACE FUNCTION {check}(names text[]) RETURNS boolean
LANGUAGE plpgsql SECURITY INVOKER SET search_path = '' AS $$
DECLARE
    updated bigint;
    deleted bigint;
BEGIN
    IF row_security_active('{table}') THEN
        BEGIN
            INSERT INTO {table} AS session (key, payload)
            SELECT given.name, '' FROM unnest(names) AS given (name) ORDER BY given.name COLLATE "C"
            ON CONFLICT (key) DO UPDATE SET payload = session.payload;
            UPDATE {table} SET payload = payload WHERE key = ANY (names);
            GET DIAGNOSTICS updated = ROW_COUNT;
            DELETE FROM {table} WHERE key = ANY (names);
            GET DIAGNOSTICS deleted = ROW_COUNT;
            IF updated < cardinality(names) OR deleted < cardinality(names) THEN
                RAISE insufficient_privilege USING MESSAGE = 'row-level security lets rows not be updated and deleted';
            END IF;
            RAISE EXCEPTION USING ERRCODE = 'SAT00';
        EXCEPTION WHEN SQLSTATE 'SAT00' THEN
            NULL;  -- this has taken all of it back
        END;
    END IF;
    RETURN true;
END $$;

CREATE OR REPLACE FUNCTION {get}(names text[]) RETURNS text[]
LANGUAGE plpgsql SECURITY INVOKER SET search_path = '' AS $$
DECLARE
    payloads text[];
    unseen text[];
BEGIN
    IF cardinality(names) = 1 THEN  -- as most reads: it takes a seventh of what follows
        SELECT ARRAY[CASE WHEN session.expires_at IS NULL OR session.expires_at > now() THEN session.payload END]
        INTO payloads FROM {table} AS session WHERE session.key = names[1];
        IF FOUND THEN
            RETURN payloads;
        END IF;
    END IF;
    SELECT array_agg(CASE WHEN session.expires_at IS NULL OR session.expires_at > now() THEN session.payload END
                     ORDER BY given.place),
           array_agg(given.name) FILTER (WHERE session.key IS NULL)
    INTO payloads, unseen
    FROM unnest(names) WITH ORDINALITY AS given (name, place) LEFT JOIN {table} AS session ON session.key = given.name;
    IF unseen IS NOT NULL THEN
        PERFORM {check}(unseen);
    END IF;
    RETURN payloads;
END $$;

CREATE OR REPLACE FUNCTION {purge}(prefix text, most integer) RETURNS integer
LANGUAGE plpgsql SECURITY INVOKER SET search_path = '' AS $$
DECLARE
    purged integer;
BEGIN
    IF prefix IS NOT NULL THEN
        PERFORM {check}(ARRAY[prefix]);
    END IF;
    DELETE FROM {table} WHERE key IN (
        SELECT session.key FROM {table} AS session WHERE session.expires_at <= now()
        ORDER BY session.expires_at LIMIT most FOR UPDATE SKIP LOCKED
    );
    GET DIAGNOSTICS purged = ROW_COUNT;
    RETURN purged;
END $$;

-- Each write of what will end removes up to two sessions that have ended, so that they do not pile up.
CREATE OR REPLACE FUNCTION {put}(names text[], payloads text[], lifetime_ms bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY INVOKER SET search_path = '' AS $$
BEGIN
    INSERT INTO {table} (key, payload, expires_at)
    SELECT given.name, given.payload, now() + lifetime_ms * interval '1 millisecond'
    FROM unnest(names, payloads) AS given (name, payload) ORDER BY given.name COLLATE "C"
    ON CONFLICT (key) DO UPDATE SET payload = excluded.payload, expires_at = excluded.expires_at;
    IF lifetime_ms IS NOT NULL THEN
        PERFORM {purge}(NULL, 2);
    END IF;
    RETURN true;
END $$;

-- Compare and set: "expected" is the SHA-256 of the payload to replace, or null where there must be none.
CREATE OR REPLACE FUNCTION {swap}(name text, replacement text, lifetime_ms bigint, expected text) RETURNS boolean
LANGUAGE plpgsql SECURITY INVOKER SET search_path = '' AS $$
DECLARE
    ends timestamptz := now() + lifetime_ms * interval '1 millisecond';
BEGIN
    IF expected IS NULL THEN
        INSERT INTO {table} AS session (key, payload, expires_at) VALUES (name, replacement, ends)
        ON CONFLICT (key) DO UPDATE SET payload = excluded.payload, expires_at = excluded.expires_at
        WHERE session.expires_at <= now();
    ELSE
        UPDATE {table} AS session SET payload = replacement, expires_at = ends
        WHERE session.key = name AND (session.expires_at IS NULL OR session.expires_at > now())
            AND encode(sha256(convert_to(session.payload, 'UTF8')), 'hex') = expected;
    END IF;
    IF NOT FOUND THEN
        PERFORM {check}(ARRAY[name]);
        RETURN false;
    END IF;
    IF lifetime_ms IS NOT NULL THEN
        PERFORM {purge}(NULL, 2);
    END IF;
    RETURN true;
END $$;

CREATE OR REPLACE FUNCTION {drop}(names text[], expected text) RETURNS boolean
LANGUAGE plpgsql SECURITY INVOKER SET search_path = '' AS $$
DECLARE
    name text;
    missed text[];
BEGIN
    FOR name IN SELECT given.name FROM unnest(names) AS given (name) ORDER BY given.name COLLATE "C" LOOP
        DELETE FROM {table} AS session
        WHERE session.key = name AND (expected IS NULL OR (session.expires_at IS NULL OR session.expires_at > now())
            AND encode(sha256(convert_to(session.payload, 'UTF8')), 'hex') = expected);
        IF NOT FOUND THEN
            missed := missed || name;
        END IF;
    END LOOP;
    IF missed IS NOT NULL THEN
        PERFORM {check}(missed);
    END IF;
    RETURN missed IS NULL;
END $$;

-- All or none of several changes, each as by "swap" or, where the replacement is null, "drop"; where "expected" is
-- null, too, the session must not be there. Returns the name that is not as expected, if there is one; then nothing is
-- changed.
CREATE OR REPLACE FUNCTION {commit}(names text[], replacements text[], lifetime_ms bigint, expected text[])
RETURNS text[]
LANGUAGE plpgsql SECURITY INVOKER SET search_path = '' AS $$
DECLARE
    ends timestamptz := now() + lifetime_ms * interval '1 millisecond';
    change record;
BEGIN
    BEGIN
        FOR change IN
            SELECT given.name, given.replacement, given.digest
            FROM unnest(names, replacements, expected) AS given (name, replacement, digest)
            ORDER BY given.name COLLATE "C"  -- as the others do, so that no two wait for each other
        LOOP
            IF change.digest IS NULL THEN
                INSERT INTO {table} AS session (key, payload, expires_at)
                VALUES (change.name, coalesce(change.replacement, ''), ends)
                ON CONFLICT (key) DO UPDATE SET payload = excluded.payload, expires_at = excluded.expires_at
                WHERE session.expires_at <= now();
                IF FOUND AND change.replacement IS NULL THEN
                    DELETE FROM {table} AS session WHERE session.key = change.name;
                END IF;
            ELSIF change.replacement IS NULL THEN
                DELETE FROM {table} AS session
                WHERE session.key = change.name AND (session.expires_at IS NULL OR session.expires_at > now())
                    AND encode(sha256(convert_to(session.payload, 'UTF8')), 'hex') = change.digest;
            ELSE
                UPDATE {table} AS session SET payload = change.replacement, expires_at = ends
                WHERE session.key = change.name AND (session.expires_at IS NULL OR session.expires_at > now())
                    AND encode(sha256(convert_to(session.payload, 'UTF8')), 'hex') = change.digest;
            END IF;
            IF NOT FOUND THEN
                RAISE EXCEPTION USING ERRCODE = 'SAT01';
            END IF;
        END LOOP;
    EXCEPTION WHEN SQLSTATE 'SAT01' THEN  -- this has taken all of it back
        PERFORM {check}(ARRAY[change.name]);
        RETURN ARRAY[change.name];
    END;
    IF lifetime_ms IS NOT NULL THEN
        PERFORM {purge}(NULL, 2);
    END IF;
    RETURN ARRAY[]::text[];
END $$;

CREATE OR REPLACE FUNCTION {renew}(name text, lifetime_ms bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY INVOKER SET search_path = '' AS $$
BEGIN
    UPDATE {table} AS session SET expires_at = now() + lifetime_ms * interval '1 millisecond'
    WHERE session.key = name AND (session.expires_at IS NULL OR session.expires_at > now());
    IF NOT FOUND THEN
        PERFORM {check}(ARRAY[name]);
        RETURN false;
    END IF;
    RETURN true;
END $$;

-- A page of the names that start with "prefix", and so come before "until", behind those up to "previous".
-- Keys are compared with a row, for which the server expects to find more than a page: else, without statistics, it
-- goes through all that is left of the table for each page, and sorts it.
CREATE OR REPLACE FUNCTION {names}(prefix text, until text, previous text, most integer) RETURNS json
LANGUAGE plpgsql SECURITY INVOKER SET search_path = '' AS $$
BEGIN
    IF previous IS NULL THEN
        PERFORM {check}(ARRAY[prefix]);
    END IF;
    RETURN json_build_object('names', coalesce(json_agg(page.key ORDER BY page.key), '[]')) FROM (
        SELECT session.key FROM {table} AS session
        WHERE (session.key, session.key) > (coalesce(previous, prefix), coalesce(previous, '')) AND session.key < until
            AND (session.expires_at IS NULL OR session.expires_at > now())
        ORDER BY session.key LIMIT most
    ) AS page;
END $$;

REVOKE ALL ON TABLE {table} FROM PUBLIC, anon, authenticated;
REVOKE ALL ON FUNCTION {functions} FROM PUBLIC, anon, authenticated;
GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE {table} TO service_role;
GRANT EXECUTE ON FUNCTION {functions} TO service_role;

-- Where the extension pg_cron is switched on, what has ended is removed every ten minutes.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_cron') THEN
        PERFORM cron.schedule('{job}', '*/10 * * * *', 'DELETE FROM {table} WHERE expires_at <= now()');
    END IF;
END $$;

NOTIFY pgrst, 'reload schema';
"""


def sql(schema: str, table: str) -> str:
    """Return what sets up a table. Both names are plain words, so they need no more than quotes."""
    names = {name: f'"{schema}"."{table}_{name}"' for name in FUNCTIONS}
    return _SCHEMA.format(
        table=f'"{schema}"."{table}"',
        index=f'"{table}_expires_at"',
        job=f"satchel {schema}.{table}",
        functions=", ".join(names.values()),
        **names,
    )
