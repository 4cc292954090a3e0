-- Times are milliseconds since the epoch, UTC. Authors are `admin` or `<enterprise>:<label>`. Text sorts by its bytes.
-- Every table's key begins with what it may be spread by: an identifier's with the identifier, an enterprise's affairs with the
-- enterprise or its prefix. No key refers to another table's, and no number is drawn to register an identifier.

CREATE TABLE enterprises (
    id text COLLATE "C" PRIMARY KEY,
    number bigint NOT NULL UNIQUE,
    prefix text COLLATE "C" NOT NULL UNIQUE,
    name_zh text NOT NULL,
    name_en text NOT NULL,
    visibility text NOT NULL,
    author text NOT NULL,
    since_ms bigint NOT NULL
);

CREATE TABLE tokens (
    digest bytea PRIMARY KEY,
    enterprise text COLLATE "C" NOT NULL,
    label text COLLATE "C" NOT NULL,
    role text NOT NULL,
    author text NOT NULL,
    since_ms bigint NOT NULL,
    revoked_ms bigint
);
CREATE UNIQUE INDEX tokens_by_label ON tokens (enterprise, label) WHERE revoked_ms IS NULL;

-- The version in force; the ones before it are in versions.
CREATE TABLE identifiers (
    key text COLLATE "C" PRIMARY KEY,
    since_ms bigint NOT NULL,
    version integer NOT NULL,
    state smallint NOT NULL,    -- 0 reserved, 1 active, 2 suspended, 3 retired
    owner text COLLATE "C",     -- the prefix that owns it; NULL for a handle, whose key begins with it
    author text NOT NULL,
    reason text,
    event_id text,
    content bytea NOT NULL      -- idnode.store.content
);

CREATE TABLE versions (
    key text COLLATE "C" NOT NULL,
    version integer NOT NULL,
    since_ms bigint NOT NULL,
    state smallint NOT NULL,
    author text NOT NULL,
    reason text,
    content bytea NOT NULL,
    PRIMARY KEY (key, version)
);

CREATE TABLE templates (
    owner text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    version integer NOT NULL,
    state text NOT NULL,
    since_ms bigint NOT NULL,
    author text NOT NULL,
    content bytea NOT NULL,
    PRIMARY KEY (owner, name, version)
);

CREATE TABLE jobs (
    key text COLLATE "C" PRIMARY KEY,
    owner text NOT NULL,
    author text NOT NULL,
    began_ms bigint NOT NULL,
    finished_ms bigint,
    rows bigint NOT NULL,
    created bigint NOT NULL,
    repeated bigint NOT NULL,
    different bigint NOT NULL,
    invalid bigint NOT NULL
);

-- The rows that were not taken.
CREATE TABLE job_findings (
    job text COLLATE "C" NOT NULL,
    row bigint NOT NULL,
    identifier text,
    field text NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (job, row)
);

-- The id follows from the token and its idempotency key.
CREATE TABLE leases (
    id text COLLATE "C" PRIMARY KEY,
    prefix text NOT NULL,
    holder text NOT NULL,
    token bytea NOT NULL,
    key text NOT NULL,
    suffixes text NOT NULL,
    since_ms bigint NOT NULL
);

-- The number of the next suffix that a lease may give away.
CREATE TABLE serials (
    prefix text COLLATE "C" PRIMARY KEY,
    next bigint NOT NULL
);

CREATE TABLE captures (
    id text COLLATE "C" PRIMARY KEY,
    enterprise text NOT NULL,
    author text NOT NULL,
    created_ms bigint NOT NULL,
    finished_ms bigint NOT NULL,
    behaviour text NOT NULL,
    errors text NOT NULL,
    stored bigint NOT NULL,
    repeated bigint NOT NULL
);

-- Captures take turns, so that an event with a higher sequence never becomes visible first.
CREATE SEQUENCE event_sequence;
CREATE TABLE events (
    sequence bigint PRIMARY KEY,
    digest bytea NOT NULL UNIQUE,
    id_digest bytea NOT NULL UNIQUE,    -- SHA-256 of the id, which may be longer than a row of an index
    id text NOT NULL,
    enterprise text COLLATE "C" NOT NULL,
    capture text NOT NULL,
    event_time_ms bigint NOT NULL,
    recorded_ms bigint NOT NULL,
    content bytea NOT NULL
);

-- What an event names, and as what.
CREATE TABLE links (
    epc_digest bytea NOT NULL,          -- SHA-256 of epc
    sequence bigint NOT NULL,
    role text COLLATE "C" NOT NULL,
    epc text NOT NULL,
    PRIMARY KEY (epc_digest, sequence, role)
);
