-- What has happened under a prefix while somebody owned it, besides registrations (counts), and how it was asked for. It only grows;
-- the sum is that of the slots, as of counts.
CREATE TABLE sums (
    prefix text COLLATE "C" NOT NULL,
    what text COLLATE "C" NOT NULL,     -- idnode.store.business.Sums
    slot integer NOT NULL,
    number bigint NOT NULL,
    PRIMARY KEY (prefix, what, slot)
) WITH (fillfactor = 50);

-- The same as before, and it counts: nodes of the version before call it too, so that their changes are counted.
CREATE OR REPLACE FUNCTION idnode_announce(owners text[], event text, key text, at_ms bigint, author text)
RETURNS void LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    mine record;
BEGIN
    SELECT owner.prefix, owned.grp INTO mine
    FROM unnest(owners) WITH ORDINALITY AS owner (prefix, place)
        CROSS JOIN LATERAL (
            SELECT (
                SELECT entries.grp FROM entries
                WHERE entries.kind = 'prefix' AND entries.key = owner.prefix AND entries.content <> ''
            ) AS grp
        ) AS owned
    WHERE owned.grp IS NOT NULL ORDER BY owner.place LIMIT 1;
    IF mine.grp IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO sums VALUES (mine.prefix, event, pg_backend_pid() % 8, 1)
    ON CONFLICT (prefix, what, slot) DO UPDATE SET number = sums.number + excluded.number;
    IF cardinality(idnode_turn(ARRAY[mine.grp])) > 0 THEN
        INSERT INTO announcements
        VALUES (nextval('announcement_sequence'), mine.grp, event, convert_to(json_build_array(key)::text, 'UTF8'), at_ms, author);
    END IF;
END $$;
