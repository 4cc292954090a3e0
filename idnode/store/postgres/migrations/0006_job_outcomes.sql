ALTER TABLE jobs ADD COLUMN total bigint, ADD COLUMN cancelled bigint NOT NULL DEFAULT 0;

-- What became of each row of a job: idnode.job.RowOutcome, one letter a row.
CREATE TABLE job_outcomes (
    job text COLLATE "C" NOT NULL,
    row bigint NOT NULL,        -- the first of them
    outcomes text NOT NULL,
    PRIMARY KEY (job, row)
);
