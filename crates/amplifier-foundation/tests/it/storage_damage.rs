//! Files that are torn, damaged, missing or changed behind the storage's back.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use amplifier_core::{Activation, Content, ContentBlock, Message, ToolCall};
use amplifier_foundation::storage::{SessionStorage, StorageError};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::storage::{Place, described, id, texts, users};

const LINE: &str = "{\"role\":\"user\",\"content\":\"one\"}\n";

/// A closed session `s` whose transcript holds `transcript`, and its folder.
async fn session(place: &Place, transcript: impl AsRef<[u8]>) -> PathBuf {
    let storage = place.storage();
    storage.create(&id("s"), &described(&id("s"))).await.unwrap();
    storage.close(&id("s")).await.unwrap();
    let folder = place.paths().session(&id("s"));
    fs::write(folder.join("transcript.jsonl"), transcript).unwrap();
    folder
}

#[tokio::test]
async fn a_torn_last_line_is_kept_beside_and_cut_off_when_the_session_is_opened() {
    let place = Place::new();
    let torn = format!("{LINE}{LINE}{{\"role\":\"user\",\"con");
    let folder = session(&place, &torn).await;
    let path = folder.join("transcript.jsonl");
    let storage = place.storage();

    let loaded = storage.load(&id("s")).await.unwrap();
    assert_eq!(texts(&loaded.transcript), ["one", "one"]);
    assert!(loaded.warnings[0].contains("is torn (19 bytes)"), "{:?}", loaded.warnings);
    assert_eq!(fs::read_to_string(&path).unwrap(), torn, "a load changes nothing");

    for round in 1..=2 {
        let opened = storage.open(&id("s"), Activation(2)).await.unwrap();
        assert_eq!(opened.warnings.len(), 1);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{LINE}{LINE}"));
        let kept = fs::read_to_string(folder.join(format!("transcript.jsonl.torn-{round}"))).unwrap();
        assert_eq!(kept, "{\"role\":\"user\",\"con");
        storage.append(&id("s"), Activation(2), &users(&["two"])).await.unwrap();
        storage.close(&id("s")).await.unwrap();
        assert_eq!(texts(&storage.load(&id("s")).await.unwrap().transcript), ["one", "one", "two"]);
        fs::write(&path, &torn).unwrap();
    }
}

#[tokio::test]
async fn a_whole_last_line_without_line_feed_is_a_message_and_gets_its_line_feed() {
    let place = Place::new();
    let folder = session(&place, LINE.trim_end()).await;
    let storage = place.storage();
    let opened = storage.open(&id("s"), Activation(2)).await.unwrap();
    assert_eq!((texts(&opened.transcript), opened.warnings), (vec!["one".to_owned()], vec![]));
    let revision = storage.append(&id("s"), Activation(2), &users(&["one"])).await.unwrap();
    assert_eq!(revision.0, 2);
    assert_eq!(fs::read_to_string(folder.join("transcript.jsonl")).unwrap(), format!("{LINE}{LINE}"));
}

#[tokio::test]
async fn a_damaged_line_is_reported_with_its_place_and_nothing_is_changed() {
    let place = Place::new();
    let damaged = format!("{LINE}{{\"role\":\"us\n{LINE}{{\"torn");
    let folder = session(&place, &damaged).await;
    fs::write(folder.join("transcript.jsonl.backup"), LINE).unwrap();
    let storage = place.storage();
    let path = folder.join("transcript.jsonl");
    for error in
        [storage.load(&id("s")).await.unwrap_err(), storage.open(&id("s"), Activation(2)).await.unwrap_err()]
    {
        assert!(matches!(&error, StorageError::Damaged { line: 2, .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("{}:2 is damaged", path.display())), "{text}");
        assert!(text.contains("mend that line or move it to another file"), "{text}");
        assert!(text.ends_with("transcript.jsonl.backup"), "{text}");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), damaged);
    assert_eq!(storage.holder(&id("s")).await.unwrap(), None, "a refused open keeps no lock");
    let refused = storage.append(&id("s"), Activation(2), &users(&["x"])).await;
    assert!(matches!(refused, Err(StorageError::NotOpen { .. })));

    fs::write(&path, format!("{LINE}{LINE}")).unwrap();
    storage.open(&id("s"), Activation(2)).await.unwrap();
}

#[tokio::test]
async fn damaged_metadata_is_reported_and_the_transcript_stays_reachable() {
    let place = Place::new();
    let folder = session(&place, LINE).await;
    let storage = place.storage();
    let path = folder.join("metadata.json");
    for (content, line) in
        [("{\n \"bundle\": }", 2), ("", 1), ("[]", 1), ("{\n\n\"turn_count\": \"sk-many\"}", 3)]
    {
        fs::write(&path, content).unwrap();
        let error = storage.open(&id("s"), Activation(2)).await.unwrap_err();
        assert!(
            matches!(&error, StorageError::DamagedMetadata { line: at, column, .. } if *at == line || (*at == 1 && *column == 0)),
            "{content}: {error:?}"
        );
        assert!(!error.to_string().contains("sk-many"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
    fs::rename(&path, folder.join("metadata.bad")).unwrap();
    let opened = storage.open(&id("s"), Activation(2)).await.unwrap();
    assert_eq!(texts(&opened.transcript), ["one"]);
    assert_eq!(opened.metadata.session_id, Some(id("s")));
    assert!(opened.warnings[0].contains("metadata.json is missing"));
    storage.describe(&id("s"), Activation(2), &Arc::new(opened.metadata)).await.unwrap();
    assert!(path.is_file());
}

#[tokio::test]
async fn a_backup_stands_in_for_what_is_missing_and_says_so() {
    let place = Place::new();
    let folder = session(&place, LINE).await;
    for file in ["transcript.jsonl", "metadata.json"] {
        fs::rename(folder.join(file), folder.join(format!("{file}.backup"))).unwrap();
    }
    let storage = place.storage();
    let loaded = storage.load(&id("s")).await.unwrap();
    assert_eq!(loaded.warnings.len(), 2, "{:?}", loaded.warnings);
    assert!(!folder.join("transcript.jsonl").exists());
    storage.open(&id("s"), Activation(2)).await.unwrap();
    storage.append(&id("s"), Activation(2), &users(&["two"])).await.unwrap();
    assert_eq!(texts(&storage.load(&id("s")).await.unwrap().transcript), ["one", "two"]);
    assert_eq!(fs::read_to_string(folder.join("transcript.jsonl.backup")).unwrap(), LINE);

    for file in fs::read_dir(&folder).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    assert!(matches!(storage.load(&id("s")).await, Err(StorageError::NotFound { .. })));
}

#[tokio::test]
async fn an_append_to_a_file_that_another_program_changed_is_refused() {
    for replace in [true, false] {
        let place = Place::new();
        let folder = session(&place, LINE).await;
        let storage = place.storage();
        storage.open(&id("s"), Activation(2)).await.unwrap();
        let path = folder.join("transcript.jsonl");
        let theirs = format!("{LINE}{LINE}");
        if replace {
            fs::write(folder.join("new"), &theirs).unwrap();
            fs::rename(folder.join("new"), &path).unwrap();
        } else {
            fs::write(&path, &theirs).unwrap();
        }
        let refused = storage.append(&id("s"), Activation(2), &users(&["mine"])).await;
        assert!(matches!(refused, Err(StorageError::Changed { .. })), "{refused:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), theirs);
    }
}

#[tokio::test]
async fn what_a_crash_left_is_swept_when_the_session_is_opened_or_made_again() {
    let place = Place::new();
    let folder = session(&place, LINE).await;
    fs::write(folder.join(".metadata.json.1-0.tmp"), "{").unwrap();
    let storage = place.storage();
    storage.load(&id("s")).await.unwrap();
    storage.open(&id("s"), Activation(2)).await.unwrap();
    assert!(!folder.join(".metadata.json.1-0.tmp").exists());

    let unfinished = place.paths().session(&id("t"));
    fs::create_dir(&unfinished).unwrap();
    fs::write(unfinished.join(".lock"), "1").unwrap();
    assert!(!storage.exists(&id("t")).await.unwrap());
    storage.create(&id("t"), &described(&id("t"))).await.unwrap();
}

#[tokio::test]
async fn half_a_deletion_is_finished_by_the_next_one() {
    let place = Place::new();
    session(&place, LINE).await;
    let half = place.paths().sessions().join(".old.1-0.tmp");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("events.jsonl"), "{}").unwrap();
    place.storage().delete(&id("s")).await.unwrap();
    assert_eq!(fs::read_dir(place.paths().sessions()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_home_that_is_a_file_is_an_error_and_no_panic() {
    let place = Place::new();
    fs::write(place.root.path().join("home"), "a file").unwrap();
    let error = place.storage().create(&id("s"), &described(&id("s"))).await.unwrap_err();
    assert!(matches!(error, StorageError::Io { .. }), "{error:?}");
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has finite numbers", |n| n.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn message() -> impl Strategy<Value = Message> {
    let user = any::<String>().prop_map(Message::user);
    let blocks =
        (any::<String>(), any::<String>(), any::<Option<String>>()).prop_map(|(text, thought, signature)| {
            let mut message = Message::assistant("");
            message.content =
                Content::Blocks(vec![ContentBlock::thinking(thought, signature), ContentBlock::text(text)]);
            message
        });
    let calls = prop::collection::vec((any::<String>(), json_value()), 1..3).prop_map(|calls| {
        let mut message = Message::assistant("calling");
        message.tool_calls =
            calls.into_iter().map(|(id, arguments)| ToolCall::new(id, "bash", arguments)).collect();
        message
    });
    let extra = json_value().prop_map(|value| {
        let mut message = Message::tool_result(&ToolCall::new("c", "bash", json!({})), "ok", true);
        message.metadata.insert("more".into(), value.clone());
        message.extra.insert("thinking_text".into(), value);
        message
    });
    prop_oneof![user, blocks, calls, extra]
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_survive_an_append_and_a_load(
        batches in prop::collection::vec(prop::collection::vec(message(), 0..4), 1..4),
    ) {
        run(async {
            let place = Place::new();
            let storage = place.storage();
            storage.create(&id("s"), &described(&id("s"))).await.unwrap();
            let mut all = Vec::new();
            for batch in batches {
                let batch: Vec<_> = batch.into_iter().map(Arc::new).collect();
                let revision = storage.append(&id("s"), Activation::FIRST, &batch).await.unwrap();
                all.extend(batch);
                assert_eq!(revision.0, all.len() as u64);
            }
            assert_eq!(storage.load(&id("s")).await.unwrap().transcript, all);
        });
    }

    #[test]
    fn a_cut_anywhere_loses_no_whole_line(messages in prop::collection::vec(message(), 1..4)) {
        run(async {
            let place = Place::new();
            let storage = place.storage();
            storage.create(&id("s"), &described(&id("s"))).await.unwrap();
            let messages: Vec<_> = messages.into_iter().map(Arc::new).collect();
            storage.append(&id("s"), Activation::FIRST, &messages).await.unwrap();
            storage.close(&id("s")).await.unwrap();
            let path = place.paths().session(&id("s")).join("transcript.jsonl");
            let whole = fs::read(&path).unwrap();
            for cut in 0..=whole.len() {
                fs::write(&path, &whole[..cut]).unwrap();
                let lines = whole[..cut].iter().filter(|byte| **byte == b'\n').count();
                let loaded = storage.load(&id("s")).await.unwrap();
                let count = loaded.transcript.len();
                assert!(count == lines || (count == lines + 1 && whole.get(cut) == Some(&b'\n')), "cut at {cut}");
                assert_eq!(loaded.transcript, messages[..count]);
            }
        });
    }

    #[test]
    fn a_flipped_byte_is_never_a_panic_and_never_overwritten(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..6),
        in_metadata in any::<bool>(),
    ) {
        run(async {
            let place = Place::new();
            let folder = session(&place, LINE.repeat(5)).await;
            let path = folder.join(if in_metadata { "metadata.json" } else { "transcript.jsonl" });
            let mut content = fs::read(&path).unwrap();
            for (at, flip) in flips {
                let at = at.index(content.len());
                content[at] ^= flip;
            }
            fs::write(&path, &content).unwrap();
            let storage = place.storage();
            let (loaded, opened) = (storage.load(&id("s")).await, storage.open(&id("s"), Activation(9)).await);
            assert_eq!(loaded.is_ok(), opened.is_ok() || matches!(opened, Err(StorageError::Fenced { .. })));
            let now = fs::read(&path).unwrap();
            assert!(content.starts_with(&now));
            if opened.is_err() {
                assert_eq!(now, content);
            }
        });
    }
}
