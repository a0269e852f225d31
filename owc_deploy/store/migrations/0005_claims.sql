-- What this store is known by to servers, and the highest fencing token it has given to anybody.
-- The id is made when the first token is given: chance is no part of SQL.
CREATE TABLE store (
    id TEXT NOT NULL,
    fencing_token INTEGER NOT NULL
);

INSERT INTO store (id, fencing_token)
SELECT '', COALESCE(MAX(fencing_token), 0) FROM leases;

-- The highest token stands elsewhere now, so a lease that is given back leaves no row.
DELETE FROM leases WHERE owner IS NULL;

-- The token of the first taking of whoever holds it: what one owner holds has that in common.
ALTER TABLE leases ADD COLUMN first_token INTEGER;
UPDATE leases SET first_token = fencing_token;

CREATE INDEX leases_by_first_token ON leases (first_token);
