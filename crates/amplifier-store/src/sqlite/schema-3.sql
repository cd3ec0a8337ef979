-- Version 3: of which run a session is an attempt. The row of the run names the last one alone.

CREATE TABLE run_sessions (
    session TEXT PRIMARY KEY,
    place INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX run_sessions_of_run ON run_sessions (place);
INSERT OR REPLACE INTO run_sessions SELECT session, place FROM runs WHERE session IS NOT NULL ORDER BY place;
