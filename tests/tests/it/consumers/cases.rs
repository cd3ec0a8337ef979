//! The golden cases by name, a test each.

use super::golden;

/// A test for each file of a folder below `golden/`.
macro_rules! cases {
    ($($group:ident: $($name:ident)+;)+) => {
        $(mod $group {
            $(#[test]
            fn $name() {
                super::golden::check(concat!(stringify!($group), "/", stringify!($name)));
            })+
        })+

        const NAMES: &[&str] = &[$($(concat!(stringify!($group), "/", stringify!($name))),+),+];
    };
}

cases! {
    run:
        text json json_trace stream stream_of_a_tree prompt_from_a_pipe context_from_a_pipe no_prompt
        unknown_bundle broken_bundle no_provider refused_key permission permission_plan turns budget time
        flags flags_that_exclude session_id resume resume_unknown fork_session fork_alone name
        last_message schema schema_fits directory old_words background background_cancelled parent
        parent_of_a_tool strict model broken_settings unknown_setting active_bundle;
    go_on:
        goes_on nothing resume;
    session:
        list list_of_a_tree show show_failed unknown ambiguous wait wait_time cancel_ended fork delete
        delete_tree export reindex cleanup damaged logs attach;
    spawn:
        explain explain_json explain_agent without_explain;
    agents:
        list show;
    provider:
        list add unknown nothing_to_test;
    tool:
        list info invoke invoke_wrong invoke_denied;
    module:
        list show;
    other:
        schema completions version unknown_command help help_of_foreman init_without_a_key store mcp;
    trust:
        directory untrusted_settings;
    bundle:
        list show show_json show_default show_unknown validate validate_strict validate_yaml choose add
        update include_missing;
    event:
        emit refused wait session_end why replay_from;
    trigger:
        simulate_cron simulate_gap simulate_every simulate_wrong list list_nothing history;
    background:
        nothing list status fire pause add add_wrong broken;
    runs:
        nothing drop;
    foreman_queue:
        add add_wrong add_twice list circle close update answer comment cancel_and_retry several import
        export wait nothing;
    foreman_run:
        table json failure wrong nothing_to_do limit;
    foreman_daemon:
        init nobody wrong no_file life trusted failure token listen trigger;
}

#[test]
fn every_file_is_a_case() {
    let mut names = NAMES.to_vec();
    names.sort_unstable();
    assert_eq!(golden::files(), names);
}
