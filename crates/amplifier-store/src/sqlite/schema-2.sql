-- Version 2: runs have a priority, and what waits in a queue is found without reading the queue.

ALTER TABLE runs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
-- How often a run was queued, again too: tells other processes that there may be something to do.
ALTER TABLE meta ADD COLUMN queued INTEGER NOT NULL DEFAULT 0;

-- In the order in which they are begun; the times are there so that those that are not ready are passed
-- over without a look at their rows.
CREATE INDEX runs_in_order ON runs (queue, priority DESC, place, ready_at, updated) WHERE state = 'queued';
CREATE INDEX runs_by_time ON runs (queue, ready_at, updated) WHERE state = 'queued';
