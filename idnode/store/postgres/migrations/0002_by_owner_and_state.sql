-- concurrently: statement by statement, each without a lock that writers would wait for, and safe to be run again.
CREATE INDEX CONCURRENTLY IF NOT EXISTS identifiers_by_owner ON identifiers (owner, key) WHERE owner IS NOT NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS identifiers_by_state ON identifiers (key) WHERE state <> 1;
