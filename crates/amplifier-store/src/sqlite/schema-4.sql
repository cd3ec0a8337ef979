-- Version 4: issues, what they need, and notes on them. Each index ends with the place by itself, which is the
-- key of its table.

CREATE TABLE issues (
    place INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    revision INTEGER NOT NULL,
    status TEXT NOT NULL,
    type TEXT NOT NULL,
    priority INTEGER NOT NULL,
    -- Ids, a line each.
    needs TEXT NOT NULL,
    unmet INTEGER NOT NULL,
    run TEXT,
    session TEXT,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX issues_of_status ON issues (status);
CREATE INDEX issues_by_urgency ON issues (status, priority);
CREATE INDEX issues_ready ON issues (priority) WHERE status = 'open' AND unmet = 0 AND run IS NULL;
CREATE INDEX issues_claimed ON issues (priority) WHERE run IS NOT NULL;

-- The same as `needs`, the other way round.
CREATE TABLE issue_needs (
    needed TEXT NOT NULL,
    place INTEGER NOT NULL,
    PRIMARY KEY (needed, place)
) STRICT, WITHOUT ROWID;

-- How many stand so; `ready` and `claimed` are no statuses.
CREATE TABLE issue_counts (
    what TEXT PRIMARY KEY,
    count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE issue_notes (
    place INTEGER PRIMARY KEY,
    -- The place of the issue.
    issue INTEGER NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    session TEXT,
    at INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX notes_of_issue ON issue_notes (issue);

-- The last places that were given away.
ALTER TABLE meta ADD COLUMN issue INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meta ADD COLUMN note INTEGER NOT NULL DEFAULT 0;
