-- What has happened under a prefix while somebody owned it, besides registrations (counts), and how it was asked for. It only grows.
CREATE TABLE sums (
    prefix TEXT NOT NULL,
    what TEXT NOT NULL,         -- idnode.store.business.Sums
    number INTEGER NOT NULL,
    PRIMARY KEY (prefix, what)
) STRICT, WITHOUT ROWID;
