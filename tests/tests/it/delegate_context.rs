//! `tool-delegate`: what a child is told of the conversation, and which provider answers it.

use amplifier_foundation::SpawnRequest;
use amplifier_tests::fake::{Act, FakeTool, Step};
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::{Value, json};

use crate::delegate::{LEAD, builder, call, host, lead, of, say, to, told_one};
use crate::spawn::{settled, spawn};

const HELPER: &str = "You are helper.";

/// A conversation of three turns: a tool, an agent, and the delegation with these arguments. The child's
/// messages, as it is asked.
async fn child_of(config: Value, arguments: Value) -> Vec<(String, String)> {
    let stage = Stage::with_tools([FakeTool::new("tool-probe", Act::Say("PROBED"))]);
    let asked = {
        let mut asked = json!({"agent": "helper", "instruction": "THE TASK"});
        asked.as_object_mut().unwrap().extend(arguments.as_object().unwrap().clone());
        asked
    };
    of(&stage, LEAD, [Step::Call(vec![("probe", json!({}))]), say("FIRST ANSWER")]);
    of(&stage, LEAD, [to("other", "look"), say("SECOND ANSWER"), call(asked), say("over")]);
    of(&stage, "You are other.", [say("AGENT ANSWER")]);
    let text = lead(config, &["helper", "other"]).tool("tool-probe");
    let host = builder(&stage, text).in_memory();
    let root = spawn(&host, SpawnRequest::new("lead", "FIRST").keep_open()).await;
    for prompt in ["SECOND", "THIRD"] {
        soon("a turn", root.session().execute(prompt)).await.unwrap();
    }
    stage.brain.requests_of(HELPER).remove(0)
}

#[tokio::test]
async fn depth_and_scope_say_what_a_child_is_told() {
    let all = [
        "USER: FIRST\n",
        "FIRST ANSWER",
        "USER: SECOND\n",
        "SECOND ANSWER",
        "USER: THIRD\n",
        "AGENT ANSWER",
        "PROBED",
    ];
    for (arguments, expect) in [
        (json!({"context_depth": "none"}), vec![]),
        (json!({}), all[..5].to_vec()),
        (json!({"context_turns": 1}), vec![all[4]]),
        (json!({"context_turns": 2, "context_scope": "agents"}), vec![all[2], all[3], all[4], all[5]]),
        (json!({"context_depth": "all", "context_scope": "agents"}), all[..6].to_vec()),
        (json!({"context_depth": "all", "context_scope": "full"}), all.to_vec()),
        (json!({"context_depth": "recent", "context_turns": 1, "context_scope": "full"}), vec![all[4]]),
    ] {
        let messages = child_of(json!({}), arguments.clone()).await;
        assert_eq!(messages.len(), 1, "one message, whatever is quoted");
        let text = &messages[0].1;
        for part in all {
            assert_eq!(text.contains(part), expect.contains(&part), "{arguments}: {part}: {text}");
        }
        assert!(text.ends_with("THE TASK"), "{text}");
        assert_eq!(text.contains("[END PARENT CONTEXT]\n\n[YOUR TASK]\nTHE TASK"), !expect.is_empty());
    }
}

#[tokio::test]
async fn what_is_switched_off_is_not_told_whatever_the_model_asks_for() {
    let off = json!({"features": {"context_inheritance": {"enabled": false}}});
    let messages = child_of(off, json!({"context_depth": "all", "context_scope": "full"})).await;
    assert_eq!(messages, [("user".to_owned(), "THE TASK".to_owned())]);
    let few = json!({"features": {"context_inheritance": {"max_turns": 1}}});
    let messages = child_of(few, json!({"context_turns": 9})).await;
    assert!(messages[0].1.contains("USER: THIRD") && !messages[0].1.contains("SECOND"), "{messages:?}");
}

#[tokio::test]
async fn a_fork_begins_with_the_parents_own_messages() {
    let fork = json!({"settings": {"context_form": "fork"}});
    let messages = child_of(fork, json!({"context_depth": "all", "context_scope": "full"})).await;
    let shape: Vec<(&str, &str)> =
        messages.iter().map(|(role, text)| (role.as_str(), text.as_str())).collect();
    assert_eq!(shape.len(), 10, "{shape:?}");
    assert_eq!(
        (shape[0], shape[2], shape[8], shape[9]),
        (("user", "FIRST"), ("tool", "PROBED"), ("user", "THIRD"), ("user", "THE TASK"))
    );
}

#[tokio::test]
async fn mentions_are_followed_in_the_task_and_not_in_what_is_quoted() {
    let stage = Stage::new();
    stage.project.write("task.md", "what the task needs");
    stage.project.write("secret.md", "what an answer only named");
    of(&stage, LEAD, [say("there is @secret.md"), to("helper", "read @task.md"), say("over")]);
    let host = host(&stage, json!({}), &["helper"]).await;
    let root = spawn(&host, SpawnRequest::new("lead", "hello").keep_open()).await;
    soon("a turn", root.session().execute("go")).await.unwrap();
    let text = stage.brain.requests_of(HELPER).remove(0).remove(0).1;
    assert!(text.contains("what the task needs") && text.ends_with("read @task.md"), "{text}");
    assert!(text.contains("@secret.md") && !text.contains("what an answer only named"), "{text}");
    let (quoted, task) = text.split_once("[YOUR TASK]\n").unwrap();
    assert!(quoted.contains("there is @secret.md") && task.contains("<context_file"), "{text}");
}

#[tokio::test]
async fn the_model_chooses_provider_and_model_of_a_child() {
    let model = |preferences: Value| async move {
        let stage = Stage::new();
        let arguments = json!({"agent": "helper", "instruction": "go", "provider_preferences": preferences});
        of(&stage, LEAD, [call(arguments), say("over")]);
        let host = host(&stage, json!({}), &["helper"]).await;
        let root = spawn(&host, ("lead", "go")).await;
        settled(&host, &root).await;
        let requests = stage.brain.requests();
        let own = requests.iter().find(|request| request.system.as_deref() == Some(HELPER));
        (own.map(|request| request.model.clone()), told_one(&stage, LEAD))
    };
    let (named, _) =
        model(json!([{"provider": "nobody", "model": "x"}, {"provider": "BRAIN", "model": "brain-9"}])).await;
    assert_eq!(named, Some(Some("brain-9".to_owned())));
    let (newest, told) = model(json!([{"provider": "provider-brain", "model": "Brain-*"}])).await;
    assert_eq!(
        (newest, &told["metadata"]["model"]),
        (Some(Some("brain-1".to_owned())), &json!("brain/brain-1"))
    );
    let (none, refusal) = model(json!([{"provider": "brain", "model": "other-*"}])).await;
    assert_eq!(none, None, "a glob is never sent");
    assert!(refusal.as_str().is_some_and(|text| text.contains("no model matches")), "{refusal}");
}
