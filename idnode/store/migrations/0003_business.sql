-- Versioned documents of the node's business (idnode.store.business); the version in force, the ones before it are in
-- entry_versions.
CREATE TABLE entries (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    grp TEXT NOT NULL,
    version INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,
    author TEXT NOT NULL,
    content BLOB NOT NULL,      -- empty: taken away
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX entries_by_group ON entries (kind, grp, key);

CREATE TABLE entry_versions (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    grp TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    author TEXT NOT NULL,
    content BLOB NOT NULL,
    PRIMARY KEY (kind, key, version)
) STRICT, WITHOUT ROWID;

-- Identifiers that were registered under a prefix while somebody owned it.
CREATE TABLE counts (
    prefix TEXT PRIMARY KEY,
    registered INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE usage (
    day INTEGER NOT NULL,       -- since 1970-01-01, UTC
    enterprise TEXT NOT NULL,
    registrations INTEGER NOT NULL,
    resolutions INTEGER NOT NULL,
    PRIMARY KEY (day, enterprise)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_by_enterprise ON usage (enterprise, day);

-- What is to be told to subscribers. The newest row stays, so that no sequence comes twice.
CREATE TABLE announcements (
    sequence INTEGER PRIMARY KEY,
    enterprise TEXT NOT NULL,
    event TEXT NOT NULL,
    keys BLOB NOT NULL,         -- JSON, a list
    at_ms INTEGER NOT NULL,
    author TEXT NOT NULL
) STRICT;
CREATE INDEX announcements_by_enterprise ON announcements (enterprise, sequence);

-- Suffixes of leases that came back; `taken` is the lease that has them now.
CREATE TABLE returns (
    lease TEXT NOT NULL,
    suffix TEXT NOT NULL,
    prefix TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    taken TEXT,
    PRIMARY KEY (lease, suffix)
) STRICT, WITHOUT ROWID;
CREATE INDEX returns_free ON returns (prefix, suffix) WHERE taken IS NULL;
ALTER TABLE leases ADD COLUMN expires_ms INTEGER;

-- Enterprises and tokens were tables of their own.
INSERT INTO entries
    SELECT 'enterprise', id, 'active', 1, since_ms, author, CAST(json_object(
        'id', id, 'name', json_object('zh', name_zh, 'en', name_en), 'prefix', prefix, 'visibility', visibility
    ) AS BLOB) FROM enterprises;
INSERT INTO entries SELECT 'prefix', prefix, id, 1, since_ms, author, CAST('{}' AS BLOB) FROM enterprises;
INSERT INTO entries
    SELECT 'series', node, '', 1, max(since_ms), 'admin', CAST(max(number) AS BLOB)
    FROM (SELECT substr(prefix, 1, length(prefix) - length('.' || number)) AS node, number, since_ms FROM enterprises)
    GROUP BY node;
CREATE TEMP TABLE told AS
    SELECT enterprise || '/' || label AS key, enterprise, since_ms, author, digest, CAST(json_object(
            'digest', lower(hex(digest)), 'enterprise', enterprise, 'label', label, 'role', role,
            'expires_ms', NULL, 'revoked_ms', revoked_ms
        ) AS BLOB) AS content,
        row_number() OVER (PARTITION BY enterprise, label ORDER BY revoked_ms IS NULL, since_ms, revoked_ms) AS version,
        count(*) OVER (PARTITION BY enterprise, label) AS last
    FROM tokens;
INSERT INTO entries SELECT 'key', key, enterprise, version, since_ms, author, content FROM told WHERE version = last;
INSERT INTO entry_versions SELECT 'key', key, version, enterprise, since_ms, author, content FROM told WHERE version < last;
INSERT INTO entries
    SELECT 'secret', lower(hex(digest)), '', 1, since_ms, author, CAST(key AS BLOB) FROM told WHERE version = last;
DROP TABLE told;
DROP TABLE tokens;
DROP TABLE enterprises;

-- What idnode.store.carrying still has to carry over it counts by itself.
INSERT INTO counts
    SELECT key, (SELECT count(*) FROM identifiers AS i WHERE i.key > entries.key || '/' AND i.key < entries.key || '0')
    FROM entries WHERE kind = 'prefix';
