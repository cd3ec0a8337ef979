//! The commented `foreman.yaml` that `foreman init` writes.

/// A file that works as it stands, with every other key in a comment.
pub const TEMPLATE: &str = r#"# Worker pools for the issues of this project: see docs/foreman.md.
# `foreman start` reads this file; `foreman doctor` says what is wrong with it.

worker_pools:
  # Each pool is a background session: it runs at most `max_concurrent` workers at once, one an issue.
  - name: workers
    worker_bundle: default        # a name, a path relative to this file, or an address
    max_concurrent: 2
    # route_types: [task, bug]    # issues of these types come here; none: whatever no other pool asks for
    # worktree: true              # each worker has a git worktree and a branch of its own
    # on_lost: resume             # after a crash its session goes on; `restart` begins anew
    # permissions: dontAsk        # plan: its workers only read
    # limits: {max_turns: 50, timeout_ms: 900000}

# routing:
#   default_pool: workers         # for types that no pool asks for
#   rules:                        # the first that fits counts, before `route_types`
#     - if_metadata_type: [bug]
#       and_retry_count_gte: 2    # after two attempts that failed
#       then_pool: workers
#     - if_status: blocked        # where the last attempt left it
#       then_pool: workers

# retry: {attempts: 3}            # attempts in one pool, before an issue has failed

# Beside the pools, as in .amplifier/background.yaml:
# background_sessions:
#   - name: nightly
#     bundle: default
#     triggers: [{type: timer, config: {cron: "0 3 * * *", timezone: UTC}}]
#     instruction_template: Look for what is out of date, and add an issue for each thing.

# Bounds of every worker, where its pool sets no other.
# limits: {max_turns: 50}
# permissions: dontAsk

# notify:
#   - events: [issue_question, issue_failed]
#     command: [notify-send, "{summary}"]

# listen: 127.0.0.1:8733          # HTTP and the dashboard; nothing listens without it
# allowed_hosts: [foreman.example.com]
# retention: {events: 30d, runs: 30d}

# For `foreman chat`:
# max_iterations: 20
# extended_thinking: false
"#;
