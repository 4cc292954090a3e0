-- What registering counts, in the transaction in which it happens. Whoever registers says whose he takes the prefixes to be ("told"):
-- that is checked when nobody can change it any more, and costs no question beforehand.
--
-- Plans are made once for all lengths of the arrays: to plan costs more than to count. So what is looked up in a table is a subquery
-- for each row, which stays a look-up in its index however large the table has become; arrays are joined by hashing.
-- Locks are taken in this order, each kind in ascending order: idnode_hold, rows of identifiers, counts and usage, idnode_turn.

-- A number for a name: who registers under thousands of prefixes at once holds no more locks than there are numbers.
CREATE FUNCTION idnode_bucket(name text) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT (hashtextextended(name, 2) & 127)::integer
$$;

-- Hold off, until the transaction ends, whoever changes whose these prefixes are, or their enterprise's quota; and where `alone` is
-- true, whoever registers there. For each prefix, how many more may be registered in its enterprise: NULL for any number.
-- NULL in place of all: it is otherwise than told, or an enterprise has a quota and isn't held alone.
CREATE FUNCTION idnode_hold(told_prefixes text[], told_enterprises text[], told_alone boolean[])
RETURNS bigint[] LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    name record;
BEGIN
    FOR name IN
        SELECT idnode_bucket(coalesce(told.enterprise, told.prefix)) AS bucket, bool_or(told.alone) AS alone
        FROM unnest(told_prefixes, told_enterprises, told_alone) AS told (prefix, enterprise, alone) GROUP BY 1 ORDER BY 1
    LOOP
        IF name.alone THEN
            PERFORM pg_advisory_xact_lock(1296909646, name.bucket);  -- MMEN
        ELSE
            PERFORM pg_advisory_xact_lock_shared(1296909646, name.bucket);
        END IF;
    END LOOP;
    IF EXISTS (
        SELECT FROM unnest(told_prefixes, told_enterprises, told_alone) AS told (prefix, enterprise, alone)
        WHERE told.enterprise IS DISTINCT FROM
                (SELECT grp FROM entries WHERE kind = 'prefix' AND key = told.prefix AND content <> '')
            OR (NOT told.alone AND (SELECT quota FROM entries WHERE kind = 'enterprise' AND key = told.enterprise) IS NOT NULL)
    ) THEN
        RETURN NULL;
    END IF;
    IF NOT true = ANY (told_alone) THEN
        RETURN array_fill(NULL::bigint, ARRAY[cardinality(told_alone)]);
    END IF;
    RETURN ARRAY(
        SELECT CASE WHEN quota.most IS NOT NULL THEN greatest(0, quota.most - (
                SELECT coalesce(sum((SELECT sum(registered) FROM counts WHERE prefix = owned.key)), 0) FROM entries AS owned
                WHERE owned.kind = 'prefix' AND owned.grp = told.enterprise AND owned.content <> ''
            ))::bigint END
        FROM unnest(told_prefixes, told_enterprises) WITH ORDINALITY AS told (prefix, enterprise, place)
            CROSS JOIN LATERAL (
                SELECT (SELECT quota FROM entries WHERE kind = 'enterprise' AND key = told.enterprise) AS most
            ) AS quota
        ORDER BY told.place
    );
END $$;

-- Wait for one's turn to announce for these enterprises; those to which somebody subscribes.
CREATE FUNCTION idnode_turn(enterprises text[]) RETURNS text[]
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    subscribed text[] := ARRAY(
        SELECT DISTINCT name FROM unnest(enterprises) AS name
        WHERE (SELECT true FROM entries WHERE kind = 'subscription' AND grp = name AND content <> '' LIMIT 1)
    );
BEGIN
    IF cardinality(subscribed) > 0 THEN
        PERFORM pg_advisory_xact_lock(1296908622, bucket)  -- MMAN
        FROM (SELECT DISTINCT idnode_bucket(name) AS bucket FROM unnest(subscribed) AS name ORDER BY 1) AS buckets;
    END IF;
    RETURN subscribed;
END $$;

-- Add to what is counted, of prefixes and of days of enterprises. The enterprises to which somebody subscribes: it is our turn.
CREATE FUNCTION idnode_add(prefixes text[], counted bigint[], days bigint[], enterprises text[], registered bigint[])
RETURNS text[] LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    mine CONSTANT integer := pg_backend_pid() % 8;
BEGIN
    INSERT INTO counts SELECT new.prefix, mine, new.number FROM unnest(prefixes, counted) AS new (prefix, number) ORDER BY new.prefix
    ON CONFLICT (prefix, slot) DO UPDATE SET registered = counts.registered + excluded.registered;
    INSERT INTO usage SELECT new.day, new.enterprise, mine, new.number, 0
    FROM unnest(days, enterprises, registered) AS new (day, enterprise, number) ORDER BY new.day, new.enterprise
    ON CONFLICT (day, enterprise, slot) DO UPDATE SET registrations = usage.registrations + excluded.registrations;
    RETURN idnode_turn(enterprises);
END $$;

-- The same, and the announcements, for the keys in `made` out of those that were asked for.
CREATE FUNCTION idnode_count(
    made text[], keys text[], prefixes text[], times bigint[], authors text[], places integer[],
    told_prefixes text[], told_enterprises text[]
) RETURNS void LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_nestloop = off AS $$
DECLARE
    mine CONSTANT integer := pg_backend_pid() % 8;
    subscribed text[];
BEGIN
    WITH counted AS MATERIALIZED (
        SELECT told.prefix, told.enterprise, asked.at_ms / 86400000 AS day
        FROM unnest(made) AS done (key) JOIN unnest(keys, prefixes, times) AS asked (key, prefix, at_ms) ON asked.key = done.key
            JOIN unnest(told_prefixes, told_enterprises) AS told (prefix, enterprise) ON told.prefix = asked.prefix
        WHERE told.enterprise IS NOT NULL
    ), of_prefixes AS (
        INSERT INTO counts SELECT prefix, mine, count(*) FROM counted GROUP BY prefix ORDER BY prefix
        ON CONFLICT (prefix, slot) DO UPDATE SET registered = counts.registered + excluded.registered
    )
    INSERT INTO usage SELECT day, enterprise, mine, count(*), 0 FROM counted GROUP BY day, enterprise ORDER BY day, enterprise
    ON CONFLICT (day, enterprise, slot) DO UPDATE SET registrations = usage.registrations + excluded.registrations;
    subscribed := idnode_turn(told_enterprises);
    IF cardinality(subscribed) > 0 THEN
        INSERT INTO announcements
            SELECT nextval('announcement_sequence'), enterprise, 'registered', convert_to(listed::text, 'UTF8'), at_ms, author
            FROM (
                SELECT told.enterprise, asked.at_ms, asked.author, json_agg(asked.key ORDER BY asked.place) AS listed
                FROM unnest(made) AS done (key)
                    JOIN unnest(keys, prefixes, times, authors, places) AS asked (key, prefix, at_ms, author, place)
                        ON asked.key = done.key
                    JOIN unnest(told_prefixes, told_enterprises) AS told (prefix, enterprise) ON told.prefix = asked.prefix
                WHERE told.enterprise = ANY (subscribed)
                GROUP BY told.enterprise, asked.at_ms, asked.author
                ORDER BY min(asked.place)
            ) AS told;
    END IF;
END $$;

-- Register what isn't there, in the order of `places` as far as there is room. Its keys; NULL: see idnode_hold.
CREATE FUNCTION idnode_register(
    keys text[], times bigint[], states smallint[], prefixes text[], authors text[], contents bytea[], places integer[],
    told_prefixes text[], told_enterprises text[], told_alone boolean[], channel text, payloads text[]
) RETURNS text[] LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_nestloop = off AS $$
DECLARE
    rooms bigint[] := idnode_hold(told_prefixes, told_enterprises, told_alone);
    made text[];
BEGIN
    IF rooms IS NULL THEN
        RETURN NULL;
    END IF;
    IF num_nonnulls(VARIADIC rooms) = 0 THEN
        WITH inserted AS (
            INSERT INTO identifiers (key, since_ms, version, state, owner, author, content)
            SELECT asked.key, asked.at_ms, 1, asked.state, CASE WHEN strpos(asked.prefix, ':') > 0 THEN asked.prefix END,
                asked.author, asked.content
            FROM unnest(keys, times, states, prefixes, authors, contents) AS asked (key, at_ms, state, prefix, author, content)
            ON CONFLICT DO NOTHING RETURNING identifiers.key
        )
        SELECT coalesce(array_agg(inserted.key), '{}') INTO made FROM inserted;
    ELSE
        WITH new AS (
            SELECT asked.*, told.room, row_number() OVER (PARTITION BY told.enterprise ORDER BY asked.place) AS number
            FROM unnest(keys, times, states, prefixes, authors, contents, places)
                    AS asked (key, at_ms, state, prefix, author, content, place)
                JOIN unnest(told_prefixes, told_enterprises, rooms) AS told (prefix, enterprise, room) ON told.prefix = asked.prefix
            WHERE (SELECT true FROM identifiers WHERE identifiers.key = asked.key) IS NULL
        ), inserted AS (
            INSERT INTO identifiers (key, since_ms, version, state, owner, author, content)
            SELECT key, at_ms, 1, state, CASE WHEN strpos(prefix, ':') > 0 THEN prefix END, author, content
            FROM new WHERE room IS NULL OR number <= room ORDER BY key
            ON CONFLICT DO NOTHING RETURNING identifiers.key
        )
        SELECT coalesce(array_agg(inserted.key), '{}') INTO made FROM inserted;
    END IF;
    IF num_nonnulls(VARIADIC told_enterprises) > 0 AND cardinality(made) > 0 THEN
        PERFORM idnode_count(made, keys, prefixes, times, authors, places, told_prefixes, told_enterprises);
    END IF;
    PERFORM pg_notify(channel, payload) FROM unnest(payloads) AS payload;
    RETURN made;
END $$;

-- Keep what happened to an identifier for those who subscribe to it. `owners`: the prefixes under which it may be, the longest first.
CREATE FUNCTION idnode_announce(owners text[], event text, key text, at_ms bigint, author text)
RETURNS void LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    enterprise text := (
        SELECT owned.grp FROM unnest(owners) WITH ORDINALITY AS owner (prefix, place)
            CROSS JOIN LATERAL (
                SELECT (
                    SELECT entries.grp FROM entries
                    WHERE entries.kind = 'prefix' AND entries.key = owner.prefix AND entries.content <> ''
                ) AS grp
            ) AS owned
        WHERE owned.grp IS NOT NULL ORDER BY owner.place LIMIT 1
    );
BEGIN
    IF enterprise IS NOT NULL AND cardinality(idnode_turn(ARRAY[enterprise])) > 0 THEN
        INSERT INTO announcements
        VALUES (nextval('announcement_sequence'), enterprise, event, convert_to(json_build_array(key)::text, 'UTF8'), at_ms, author);
    END IF;
END $$;
