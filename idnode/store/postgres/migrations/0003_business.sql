-- Versioned documents of the node's business (idnode.store.business); the version in force, the ones before it are in
-- entry_versions. No key, group or author has a NUL.
CREATE TABLE entries (
    kind text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    grp text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    since_ms bigint NOT NULL,
    author text NOT NULL,
    content bytea NOT NULL,     -- empty: taken away
    quota bigint,               -- of an enterprise: out of its content
    PRIMARY KEY (kind, key)
);
CREATE INDEX entries_by_group ON entries (kind, grp, key);

CREATE TABLE entry_versions (
    kind text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    grp text COLLATE "C" NOT NULL,
    since_ms bigint NOT NULL,
    author text NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (kind, key, version)
);

-- Identifiers that were registered under a prefix while somebody owned it. What is counted is the sum of the slots: those who
-- count at once, each in a slot of his own, don't wait for each other's commit. There is room in each page for the next version of
-- its rows, so that no index has to be told of it.
CREATE TABLE counts (
    prefix text COLLATE "C" NOT NULL,
    slot integer NOT NULL,
    registered bigint NOT NULL,
    PRIMARY KEY (prefix, slot)
) WITH (fillfactor = 50);

CREATE TABLE usage (
    day bigint NOT NULL,        -- since 1970-01-01, UTC
    enterprise text COLLATE "C" NOT NULL,
    slot integer NOT NULL,
    registrations bigint NOT NULL,
    resolutions bigint NOT NULL,
    PRIMARY KEY (day, enterprise, slot)
) WITH (fillfactor = 50);
CREATE INDEX usage_by_enterprise ON usage (enterprise, day);

-- What is to be told to subscribers. Who announces for an enterprise takes turns (idnode_turn), so that an announcement with a higher
-- sequence never becomes visible first.
CREATE SEQUENCE announcement_sequence;
CREATE TABLE announcements (
    sequence bigint PRIMARY KEY,
    enterprise text COLLATE "C" NOT NULL,
    event text NOT NULL,
    keys bytea NOT NULL,        -- JSON, a list
    at_ms bigint NOT NULL,
    author text NOT NULL
);
CREATE INDEX announcements_by_enterprise ON announcements (enterprise, sequence);

-- Suffixes of leases that came back; `taken` is the lease that has them now.
CREATE TABLE returns (
    lease text COLLATE "C" NOT NULL,
    suffix text COLLATE "C" NOT NULL,
    prefix text COLLATE "C" NOT NULL,
    at_ms bigint NOT NULL,
    taken text,
    PRIMARY KEY (lease, suffix)
);
CREATE INDEX returns_free ON returns (prefix, suffix) WHERE taken IS NULL;
ALTER TABLE leases ADD COLUMN expires_ms bigint;

-- Writes of entries of the last hour: what was under way when its connection broke is looked up here before it is done again.
CREATE TABLE requests (
    id bytea PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX requests_by_age ON requests (at);

-- Enterprises and tokens were tables of their own. A node of the version before reads them on, by the same names, and writes no
-- more: it wouldn't count. It is told that this is no primary, tries for a while and gives up.
LOCK TABLE enterprises, tokens IN ACCESS EXCLUSIVE MODE;

-- Free text had \\ for a backslash and \0 for NUL, which JSON has as \\ and \u0000.
CREATE FUNCTION idnode_as_json(kept text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT replace(replace(replace(to_json(kept)::text, '\\\\', chr(1)), '\\0', '\u0000'), chr(1), '\\')
$$;
INSERT INTO entries
    SELECT 'enterprise', id, 'active', 1, since_ms, author, convert_to(format(
        '{"id":%s,"name":{"zh":%s,"en":%s},"prefix":%s,"visibility":%s}',
        to_json(id), idnode_as_json(name_zh), idnode_as_json(name_en), to_json(prefix), to_json(visibility)
    ), 'UTF8') FROM enterprises;
INSERT INTO entries SELECT 'prefix', prefix, id, 1, since_ms, author, '{}' FROM enterprises;
INSERT INTO entries
    SELECT 'series', node, '', 1, max(since_ms), 'admin', convert_to(max(number)::text, 'UTF8')
    FROM (SELECT left(prefix, -length('.' || number)) AS node, number, since_ms FROM enterprises) AS numbered
    GROUP BY node;
CREATE TEMPORARY TABLE told ON COMMIT DROP AS
    SELECT enterprise || '/' || label AS key, enterprise, since_ms, author, digest, convert_to(format(
            '{"digest":%s,"enterprise":%s,"label":%s,"role":%s,"expires_ms":null,"revoked_ms":%s}',
            to_json(encode(digest, 'hex')), to_json(enterprise), to_json(label), to_json(role), coalesce(revoked_ms::text, 'null')
        ), 'UTF8') AS content,
        row_number() OVER (PARTITION BY enterprise, label ORDER BY revoked_ms IS NULL, since_ms, revoked_ms) AS version,
        count(*) OVER (PARTITION BY enterprise, label) AS last
    FROM tokens;
INSERT INTO entries SELECT 'key', key, enterprise, version, since_ms, author, content FROM told WHERE version = last;
INSERT INTO entry_versions SELECT 'key', key, version, enterprise, since_ms, author, content FROM told WHERE version < last;
INSERT INTO entries
    SELECT 'secret', encode(digest, 'hex'), '', 1, since_ms, author, convert_to(key, 'UTF8') FROM told WHERE version = last;
DROP FUNCTION idnode_as_json;
DROP TABLE enterprises, tokens;

-- As text was kept before: the other way round.
CREATE FUNCTION idnode_earlier(content bytea) RETURNS json LANGUAGE sql IMMUTABLE AS $$
    SELECT replace(replace(replace(convert_from(content, 'UTF8'), '\\', chr(1)), '\u0000', '\\0'), chr(1), '\\\\')::json
$$;
CREATE VIEW enterprises AS
    SELECT enterprise.key AS id, enterprise.since_ms AS number, owned.key AS prefix,
        told.content -> 'name' ->> 'zh' AS name_zh, told.content -> 'name' ->> 'en' AS name_en,
        -- Of one that is suspended strangers see nothing.
        CASE enterprise.grp WHEN 'suspended' THEN 'restricted' ELSE told.content ->> 'visibility' END AS visibility,
        enterprise.author, enterprise.since_ms
    FROM entries AS enterprise
        JOIN entries AS owned ON owned.kind = 'prefix' AND owned.grp = enterprise.key AND owned.content <> ''
        CROSS JOIN LATERAL (SELECT idnode_earlier(enterprise.content) AS content) AS told
    WHERE enterprise.kind = 'enterprise' AND enterprise.content <> '';
CREATE VIEW tokens AS
    SELECT decode(secret.key, 'hex') AS digest, told.content ->> 'enterprise' AS enterprise, told.content ->> 'label' AS label,
        told.content ->> 'role' AS role, found.author, found.since_ms, (told.content ->> 'revoked_ms')::bigint AS revoked_ms
    FROM entries AS secret
        JOIN entries AS found ON found.kind = 'key' AND found.key = convert_from(secret.content, 'UTF8') AND found.content <> ''
        CROSS JOIN LATERAL (SELECT idnode_earlier(found.content) AS content) AS told
    WHERE secret.kind = 'secret' AND secret.content <> '' AND secret.key = told.content ->> 'digest'
        AND told.content ->> 'role' IN ('gateway', 'registrar', 'reader') AND told.content ->> 'expires_ms' IS NULL;

CREATE FUNCTION idnode_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the database is of a newer version than whoever writes' USING ERRCODE = 'read_only_sql_transaction';
END $$;
CREATE TRIGGER refuse_earlier INSTEAD OF INSERT ON enterprises FOR EACH ROW EXECUTE FUNCTION idnode_refuse();
CREATE TRIGGER refuse_earlier INSTEAD OF INSERT OR UPDATE ON tokens FOR EACH ROW EXECUTE FUNCTION idnode_refuse();
CREATE TRIGGER refuse_earlier BEFORE INSERT ON leases FOR EACH STATEMENT
    WHEN (coalesce(current_setting('mumian.writes', true), '') = '') EXECUTE FUNCTION idnode_refuse();
CREATE TRIGGER refuse_earlier BEFORE INSERT OR UPDATE ON identifiers FOR EACH STATEMENT
    WHEN (coalesce(current_setting('mumian.writes', true), '') = '') EXECUTE FUNCTION idnode_refuse();
