ALTER TABLE jobs ADD COLUMN total INTEGER;                      -- rows that were announced
ALTER TABLE jobs ADD COLUMN cancelled INTEGER NOT NULL DEFAULT 0;

-- What became of each row of a job: idnode.job.RowOutcome, one letter a row.
CREATE TABLE job_outcomes (
    job TEXT NOT NULL REFERENCES jobs (key),
    row INTEGER NOT NULL,       -- the first of them
    outcomes TEXT NOT NULL,
    PRIMARY KEY (job, row)
) STRICT;
