-- What was kept so far is carried over by idnode.store.carrying, which drops these two when they are empty.
ALTER TABLE identifiers RENAME TO identifiers_1;
ALTER TABLE versions RENAME TO versions_1;

-- The version in force; the ones before it are in versions. A row of a kilobyte in a WITHOUT ROWID table would spill into
-- overflow pages and spread the keys over as many pages as the content needs.
CREATE TABLE identifiers (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    owner TEXT,         -- the prefix that owns it; NULL for a handle, whose key begins with it
    version INTEGER NOT NULL,
    state INTEGER NOT NULL,     -- 0 reserved, 1 active, 2 suspended, 3 retired
    since_ms INTEGER NOT NULL,
    author TEXT NOT NULL,
    reason TEXT,
    event_id TEXT,
    content BLOB NOT NULL       -- idnode.store.content
) STRICT;
CREATE INDEX identifiers_by_owner ON identifiers (owner, key) WHERE owner IS NOT NULL;
CREATE INDEX identifiers_by_state ON identifiers (key) WHERE state <> 1;

CREATE TABLE versions (
    id INTEGER NOT NULL REFERENCES identifiers (id),
    version INTEGER NOT NULL,
    state INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,
    author TEXT NOT NULL,
    reason TEXT,
    content BLOB NOT NULL,
    PRIMARY KEY (id, version)
) STRICT;

-- What the last commits changed, for the answers that other connections keep. Sequences have no gaps, and the newest row stays.
CREATE TABLE changes (
    sequence INTEGER PRIMARY KEY,
    total INTEGER NOT NULL,     -- bytes of keys up to here, from the first row there ever was
    keys BLOB                   -- MessagePack, a list; NULL: anything
) STRICT;

CREATE TABLE jobs (
    key TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    author TEXT NOT NULL,
    began_ms INTEGER NOT NULL,
    finished_ms INTEGER,
    rows INTEGER NOT NULL,
    created INTEGER NOT NULL,
    repeated INTEGER NOT NULL,
    different INTEGER NOT NULL,
    invalid INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The rows that were not taken.
CREATE TABLE job_findings (
    job TEXT NOT NULL REFERENCES jobs (key),
    row INTEGER NOT NULL,
    identifier TEXT,
    field TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (job, row)
) STRICT, WITHOUT ROWID;

CREATE TABLE templates (
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    state TEXT NOT NULL,        -- as in content
    since_ms INTEGER NOT NULL,  -- when it came into that state, or a draft was last written
    author TEXT NOT NULL,
    content BLOB NOT NULL,      -- JSON, idnode.template.Template
    PRIMARY KEY (owner, name, version)
) STRICT;
