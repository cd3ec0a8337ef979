//! Asking a person, through a session.

use std::sync::Arc;

use amplifier_core::Permissions;
use amplifier_core::approval::ApprovalAnswer;
use amplifier_core::permission::{Layer, Mode};
use amplifier_foundation::Host;
use amplifier_tests::fake::{Act, FakeTool};
use amplifier_tests::stage::Stage;
use amplifier_tests::watch::RecordingApprover;

use crate::spawn::{settled, spawn};

/// Two calls of a tool that runs a command, under the default mode and this answer.
async fn asked(answer: Option<ApprovalAnswer>) -> (Host, FakeTool, Vec<String>, bool) {
    let probe = FakeTool::new("tool-probe", Act::Say("done it")).needs_shell();
    let stage = Stage::with_tools([probe.clone()]);
    stage.brain.call("probe").call("probe").say("over");
    let layer = Layer::of_mode("mode default (test)", Mode::Default, Vec::new());
    let mut builder = stage.builder().permissions(Permissions::unrestricted().with(layer));
    let approver = answer.map(RecordingApprover::new);
    if let Some(approver) = &approver {
        builder = builder.approver(Arc::new(approver.clone()));
    }
    let host = builder.in_memory();
    let result = spawn(&host, ("plain", "go")).await;
    let outcome = settled(&host, &result).await;
    assert!(outcome.is_completed(), "{outcome:?}");
    let prompts = approver.map(|approver| approver.asked()).unwrap_or_default();
    (host, probe, prompts, outcome.denied_unasked)
}

#[tokio::test]
async fn each_call_is_asked_for_and_allowed_once() {
    let (_, probe, prompts, unasked) = asked(Some(ApprovalAnswer::Allow)).await;
    assert_eq!((probe.calls().len(), prompts.len(), unasked), (2, 2, false));
    assert!(prompts[0].contains("rm -r x"), "{prompts:?}");
}

#[tokio::test]
async fn what_is_allowed_for_the_session_is_asked_once() {
    let (_, probe, prompts, _) = asked(Some(ApprovalAnswer::AllowForSession)).await;
    assert_eq!((probe.calls().len(), prompts.len()), (2, 1));
}

#[tokio::test]
async fn what_a_person_denies_is_not_done_and_is_no_lack_of_somebody_to_ask() {
    let deny = ApprovalAnswer::Deny { reason: "not on my machine".into() };
    let (_, probe, prompts, unasked) = asked(Some(deny)).await;
    assert_eq!((probe.calls().len(), prompts.len(), unasked), (0, 2, false));
}

#[tokio::test]
async fn with_nobody_to_ask_a_command_runs_in_the_sandbox_alone() {
    let (_, probe, prompts, _) = asked(None).await;
    assert!(prompts.is_empty());
    assert_eq!(probe.sandboxed(), [true, true]);
}
