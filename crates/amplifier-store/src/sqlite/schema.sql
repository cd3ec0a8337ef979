-- Version 1. Times are microseconds since 1970 by the store's own clock; numbers of 64 bits without
-- a sign lie in columns with one. Ids of events are their 16 bytes.

CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    -- Random; NULL in a backup, and drawn anew when that is opened.
    log INTEGER,
    -- The scope of every event that names none.
    scope TEXT,
    -- The oldest sequence that is kept. The last row of `events` stays even when it is pruned.
    oldest INTEGER NOT NULL DEFAULT 1,
    -- The last ones that were given away.
    epoch INTEGER NOT NULL DEFAULT 0,
    command INTEGER NOT NULL DEFAULT 0,
    run INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO meta (one) VALUES (1);

-- No index but the sequence: each one would cost every append a page at random. An id is found by
-- its time.
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    source TEXT,
    hops INTEGER NOT NULL,
    causation BLOB,
    correlation BLOB,
    scope TEXT,
    payload BLOB NOT NULL,
    -- Empty for one that is the source itself.
    root TEXT
) STRICT;

CREATE TABLE sessions (
    id TEXT PRIMARY KEY,
    parent TEXT,
    root TEXT NOT NULL,
    bundle TEXT,
    activation INTEGER NOT NULL,
    owner TEXT NOT NULL,
    ended INTEGER NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_of_root ON sessions (root, id);
CREATE INDEX sessions_running ON sessions (id) WHERE ended = 0;

CREATE TABLE outcomes (
    session TEXT NOT NULL,
    activation INTEGER NOT NULL,
    event BLOB NOT NULL,
    sequence INTEGER NOT NULL,
    at INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    UNIQUE (session, activation)
) STRICT;

CREATE TABLE runs (
    place INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    queue TEXT NOT NULL,
    trigger_id TEXT,
    state TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    session TEXT,
    reason TEXT,
    ready_at INTEGER NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    payload BLOB NOT NULL
) STRICT;
CREATE INDEX runs_of_queue ON runs (state, queue, place);

CREATE TABLE leases (
    key TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE cursors (
    consumer TEXT PRIMARY KEY,
    sequence INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE grants (
    session TEXT NOT NULL,
    activation INTEGER NOT NULL,
    from_session TEXT,
    from_activation INTEGER,
    tokens INTEGER NOT NULL,
    micro_usd INTEGER NOT NULL,
    passed_tokens INTEGER NOT NULL,
    passed_micro_usd INTEGER NOT NULL,
    spent_tokens INTEGER,
    spent_micro_usd INTEGER,
    PRIMARY KEY (session, activation)
) STRICT, WITHOUT ROWID;

CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    key TEXT PRIMARY KEY,
    until INTEGER NOT NULL,
    value BLOB NOT NULL
) STRICT;
CREATE INDEX keys_by_end ON keys (until);

CREATE TABLE commands (
    place INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    sent INTEGER NOT NULL,
    payload BLOB NOT NULL
) STRICT;
CREATE INDEX commands_of_owner ON commands (owner, place);
