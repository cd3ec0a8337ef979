//! `foreman.yaml`, attacked with damaged texts.

use std::path::Path;

use amplifier_bundle::bundle::yaml;
use amplifier_fuzz::fuzz;
use amplifier_trigger::TriggerRegistry;

use super::{CrewConfig, TEMPLATE};

const FILES: &[&str] = &[
    TEMPLATE,
    "worker_pools:\n  - {name: a, worker_bundle: ./b.md, max_concurrent: 2, route_types: [task, bug], worktree: true, on_lost: restart, permissions: plan, limits: {max_turns: 5, timeout_ms: 1000}}\n  - {name: b, worker_bundle: default}\n\
     routing:\n  default_pool: a\n  rules:\n    - {if_metadata_type: [bug], and_retry_count_gte: 2, then_pool: b}\n    - {if_status: blocked, then_pool: a}\nretry: {attempts: 3}\nlimits: {max_turns: 50}\npermissions: dontAsk\n\
     notify:\n  - {events: [run_dead], command: [x]}\nbackground_sessions:\n  - {name: n, bundle: d, triggers: [{type: timer, config: {cron: '0 3 * * *', timezone: UTC}}]}\nlisten: 127.0.0.1:0\n",
];
const PARTS: &[&str] = &[
    "\n",
    "  ",
    "- ",
    ": ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "name: a",
    "a",
    "-1",
    "0",
    "1e99",
    "18446744073709551616",
    "null",
    "true",
    "\"\"",
    "worker_pools:",
    "routing:",
    "rules:",
    "then_pool: ",
    "limits:",
    "é",
    "../x",
    "listen: ",
    "0.0.0.0:80",
    "#",
];

#[test]
fn crew_files() {
    fuzz!(|script| {
        let text = script.text(FILES, PARTS);
        let Ok(root) = yaml::parse(&text, Path::new("foreman.yaml")) else { return };
        match CrewConfig::parse(&root, &TriggerRegistry::new()) {
            Ok(mut config) => {
                // Who is routed to exists, and where nobody vouches nothing widens.
                for pool in &config.pools {
                    assert_eq!(
                        config.pool(&pool.name).map(|found| &found.worker_bundle),
                        Some(&pool.worker_bundle)
                    );
                }
                let _ = config.distrust();
                assert!(config.distrust().is_empty(), "what was taken away is gone");
            }
            Err(error) => assert!(!error.faults.is_empty() && !error.to_string().is_empty()),
        }
    });
}
