-- What was registered before anything was counted. Since 0003 nobody writes who doesn't count, and nobody who counts has begun.
INSERT INTO counts
    SELECT key, 0, (SELECT count(*) FROM identifiers AS i WHERE i.key > entries.key || '/' AND i.key < entries.key || '0')
    FROM entries WHERE kind = 'prefix';
