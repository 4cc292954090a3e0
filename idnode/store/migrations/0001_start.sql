-- Times are milliseconds since the epoch, UTC. Authors are `admin` or `<enterprise>:<label>`.

CREATE TABLE enterprises (
    id TEXT PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE,
    prefix TEXT NOT NULL UNIQUE,
    name_zh TEXT NOT NULL,
    name_en TEXT NOT NULL,
    visibility TEXT NOT NULL,
    author TEXT NOT NULL,
    since_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE tokens (
    digest BLOB PRIMARY KEY,
    enterprise TEXT NOT NULL REFERENCES enterprises (id),
    label TEXT NOT NULL,
    role TEXT NOT NULL,
    author TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    revoked_ms INTEGER
) STRICT;
CREATE UNIQUE INDEX tokens_by_label ON tokens (enterprise, label) WHERE revoked_ms IS NULL;

-- The version in force; the ones before it are in versions.
CREATE TABLE identifiers (
    prefix TEXT NOT NULL,
    suffix TEXT NOT NULL,
    version INTEGER NOT NULL,
    content BLOB NOT NULL,
    since_ms INTEGER NOT NULL,
    author TEXT NOT NULL,
    event_id TEXT,
    PRIMARY KEY (prefix, suffix)
) STRICT, WITHOUT ROWID;

CREATE TABLE versions (
    prefix TEXT NOT NULL,
    suffix TEXT NOT NULL,
    version INTEGER NOT NULL,
    content BLOB NOT NULL,
    since_ms INTEGER NOT NULL,
    author TEXT NOT NULL,
    event_id TEXT,
    PRIMARY KEY (prefix, suffix, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE leases (
    id TEXT PRIMARY KEY,
    prefix TEXT NOT NULL,
    holder TEXT NOT NULL,
    token BLOB NOT NULL,
    key TEXT NOT NULL,
    suffixes TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    UNIQUE (token, key)
) STRICT;

-- The number of the next suffix that a lease may give away.
CREATE TABLE serials (
    prefix TEXT PRIMARY KEY,
    next INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE captures (
    id TEXT PRIMARY KEY,
    enterprise TEXT NOT NULL,
    author TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    finished_ms INTEGER NOT NULL,
    behaviour TEXT NOT NULL,
    errors TEXT NOT NULL,
    stored INTEGER NOT NULL,
    repeated INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    sequence INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    id TEXT NOT NULL UNIQUE,
    enterprise TEXT NOT NULL,
    capture TEXT NOT NULL,
    event_time_ms INTEGER NOT NULL,
    recorded_ms INTEGER NOT NULL,
    content BLOB NOT NULL
) STRICT;

-- What an event names, and as what: from an object to its events, from an event to its inputs and outputs.
CREATE TABLE links (
    epc TEXT NOT NULL,
    sequence INTEGER NOT NULL REFERENCES events (sequence),
    role TEXT NOT NULL,
    PRIMARY KEY (epc, sequence, role)
) STRICT, WITHOUT ROWID;
CREATE INDEX links_by_event ON links (sequence, role);
