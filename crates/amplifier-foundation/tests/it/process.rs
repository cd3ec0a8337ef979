//! Recovery of processes that an owner that is gone has left: real processes, ledgers as they lie on
//! the disk. Every process that may be ended here was started by its test.

use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use amplifier_foundation::fs::boot::Place;
use amplifier_foundation::fs::process_table::process;
use amplifier_foundation::host::SystemClock;
use amplifier_foundation::process::{MARK, Recovery, recover};
use amplifier_foundation::storage::ProjectPaths;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A project whose folder of ledgers is there.
struct Project {
    root: TempDir,
    paths: ProjectPaths,
    uuid: uuid::Uuid,
}

impl Project {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("project")).unwrap();
        let paths = ProjectPaths::resolve(&root.path().join("home"), &root.path().join("project")).unwrap();
        std::fs::create_dir_all(paths.project().join("run")).unwrap();
        Self { root, paths, uuid: uuid::Uuid::new_v4() }
    }

    fn mark(&self, number: u32) -> String {
        format!("{}.{number}", self.uuid)
    }

    fn ledger(&self) -> PathBuf {
        self.paths.project().join("run").join(format!("processes-{}.jsonl", self.uuid))
    }

    /// A ledger with an owner like this process, and nobody's lock on it.
    fn write(&self, lines: &[Value]) -> PathBuf {
        let own = process(i32::try_from(std::process::id()).unwrap()).unwrap();
        let owner = json!({"type": "owner", "version": 1, "pid": 1, "started": own.started_ticks,
            "place": Place::here(), "at": "2026-01-02T03:04:05Z"});
        let lines: Vec<String> = [&owner].into_iter().chain(lines).map(|line| format!("{line}\n")).collect();
        std::fs::write(self.ledger(), lines.concat()).unwrap();
        self.ledger()
    }

    fn started(&self, number: u32, pid: i32, started: u64) -> Value {
        json!({"type": "started", "mark": self.mark(number), "session": "s", "pid": pid, "group": pid,
            "process_session": pid, "started": started, "at": "2026-01-02T03:04:05Z"})
    }

    async fn recover(&self) -> Recovery {
        recover(&self.paths, &SystemClock::new()).await
    }

    /// `sh -c script`, in a group of its own, with these variables alone. Its output is read once.
    fn sh(&self, script: &str, variables: &[(&str, &str)]) -> Program {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).env_clear().envs(variables.iter().copied());
        command.env("PATH", std::env::var_os("PATH").unwrap()).current_dir(self.root.path());
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Program(command.spawn().unwrap())
    }

    fn sleeper(&self, variables: &[(&str, &str)]) -> Program {
        let program = self.sh("exec sleep 1000", variables);
        // While one program takes the place of another, its environment cannot be read.
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", program.pid())).ok();
        eventually("the sleeper", || {
            let runs = read("cmdline")?.starts_with("sleep") && read("environ")?.contains("PATH=");
            runs.then_some(())
        });
        program
    }
}

/// A process that a test has started. Dropped, it is killed.
struct Program(Child);

impl Program {
    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }

    fn started(&self) -> u64 {
        process(self.pid()).unwrap().started_ticks
    }

    fn is_alive(&self) -> bool {
        is_alive(self.pid())
    }

    /// Waits until it has ended; the signal that ended it.
    fn ended_by(&mut self) -> Option<i32> {
        let child = &mut self.0;
        eventually("it ends", || child.try_wait().unwrap()).signal()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_alive(pid: i32) -> bool {
    process(pid).is_some_and(|process| !process.ended)
}

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[tokio::test]
async fn what_is_left_is_ended_by_mark_and_by_id_with_start_time() {
    let project = Project::new();
    let (mark, other) = (project.mark(0), format!("{} {}", project.mark(5), project.mark(1)));
    let mut marked = project.sleeper(&[(MARK, &mark)]);
    let mut marked_among_others = project.sleeper(&[(MARK, &other)]);
    let mut known = project.sleeper(&[]);
    let mut left = project.sleeper(&[]);
    let ledger = project.write(&[
        project.started(0, known.pid(), known.started()),
        project.started(1, 999_999, 7),
        json!({"type": "left", "mark": project.mark(1), "processes": [{"pid": left.pid(), "started": left.started()}]}),
    ]);
    let recovery = project.recover().await;
    for program in [&mut marked, &mut marked_among_others, &mut known, &mut left] {
        assert!(!program.is_alive());
        assert_eq!(program.ended_by(), Some(15), "it was asked first");
    }
    assert_eq!((recovery.ledgers, recovery.found, recovery.left), (1, 4, 0));
    assert!(!ledger.exists());
}

#[tokio::test]
async fn strangers_survive_a_recovery() {
    let project = Project::new();
    let (mark, name) = (project.mark(0), format!("{MARK}S"));
    let (inside, longer) = (format!("{MARK}={mark}"), format!("{mark}0"));
    let another = format!("{}.0", uuid::Uuid::new_v4());
    let strangers = [
        project.sleeper(&[]),
        project.sleeper(&[(MARK, &another)]),
        project.sleeper(&[(MARK, &longer)]),
        project.sleeper(&[(MARK, "")]),
        project.sleeper(&[(&name, &mark), ("NOTE", &inside)]),
    ];
    let mut ours = project.sleeper(&[(MARK, &mark)]);
    // The ids of strangers, as they were given to somebody else before.
    let mut lines: Vec<Value> =
        strangers.iter().map(|stranger| project.started(0, stranger.pid(), stranger.started() - 1)).collect();
    lines.push(json!({"type": "left", "mark": mark, "processes":
        strangers.iter().map(|stranger| json!({"pid": stranger.pid(), "started": stranger.started() + 1})).collect::<Vec<_>>()}));
    project.write(&lines);
    assert_eq!(project.recover().await.found, 1);
    assert_eq!(ours.ended_by(), Some(15));
    assert!(strangers.iter().all(Program::is_alive));
}

/// The owner is younger than what carries a mark of its: it cannot have started it.
#[tokio::test]
async fn what_is_older_than_the_owner_is_not_the_owner_s() {
    let project = Project::new();
    let mark = project.mark(0);
    let older = project.sleeper(&[(MARK, &mark)]);
    let own = process(i32::try_from(std::process::id()).unwrap()).unwrap().started_ticks;
    let ledger = project.write(&[project.started(0, 999_999, 7)]);
    let later = std::fs::read_to_string(&ledger).unwrap().replacen(
        &format!("\"started\":{own}"),
        &format!("\"started\":{}", older.started() + 1),
        1,
    );
    std::fs::write(&ledger, later).unwrap();
    assert_eq!(project.recover().await.found, 0);
    assert!(older.is_alive() && !ledger.exists());
}

/// `setsid`, twice forked, without the mark: found through the process session of one that is known.
#[tokio::test]
async fn descendants_and_members_of_a_process_session_are_ended_too() {
    let project = Project::new();
    let mark = project.mark(0);
    let script = "setsid sh -c 'env -i sleep 1000 & echo $! > orphan; exec sleep 1000' & \
        env -i sh -c 'sleep 1000 & echo $! > child; wait' & echo up > up; wait";
    let mut shell = project.sh(script, &[(MARK, &mark)]);
    let pid = |file: &str| {
        eventually(file, || std::fs::read_to_string(project.root.path().join(file)).ok()?.trim().parse().ok())
    };
    let (orphan, child): (i32, i32) = (pid("orphan"), pid("child"));
    assert!(is_alive(orphan) && is_alive(child));
    project.write(&[project.started(0, shell.pid(), shell.started())]);
    let recovery = project.recover().await;
    assert!(!is_alive(orphan) && !is_alive(child) && !shell.is_alive(), "{recovery:?}");
    assert!(recovery.found >= 5 && recovery.left == 0, "{recovery:?}");
    shell.ended_by();
}

#[tokio::test]
async fn what_does_not_end_when_asked_is_killed() {
    let project = Project::new();
    let mark = project.mark(0);
    let mut stubborn = project.sh("trap '' TERM; echo up > up; while :; do sleep 1; done", &[(MARK, &mark)]);
    let mut stopped = project.sh("kill -STOP $$; exec sleep 1000", &[(MARK, &mark)]);
    eventually("it ignores the request", || project.root.path().join("up").exists().then_some(()));
    project.write(&[project.started(0, 999_999, 7)]);
    assert_eq!(project.recover().await.left, 0);
    assert_eq!(stubborn.ended_by(), Some(9));
    assert_eq!(stopped.ended_by(), Some(15), "one that was stopped goes on, and ends");
}

/// The parent that led to it ends at the first request, and it does not.
#[tokio::test]
async fn a_stubborn_descendant_is_not_lost_with_its_parent() {
    let project = Project::new();
    let mark = project.mark(0);
    let script = "env -i setsid sh -c 'trap \"\" TERM; echo $$ > child; while :; do sleep 1; done' & wait";
    let mut parent = project.sh(script, &[(MARK, &mark)]);
    let child: i32 = eventually("the child", || {
        std::fs::read_to_string(project.root.path().join("child")).ok()?.trim().parse().ok()
    });
    project.write(&[project.started(0, 999_999, 7)]);
    assert_eq!(project.recover().await.left, 0);
    assert!(!is_alive(child));
    assert_eq!(parent.ended_by(), Some(15));
}

#[tokio::test]
async fn a_torn_or_damaged_ledger_is_used_as_far_as_it_can_be_read() {
    for garbage in ["{\"type\":\"started\",\"mark\":\"", "\u{0}\u{0}\u{0}\n{\"type\":\"later\"}\n"] {
        let project = Project::new();
        let (first, second) = (project.mark(0), project.mark(1));
        let mut programs = [project.sleeper(&[(MARK, &first)]), project.sleeper(&[(MARK, &second)])];
        let ledger = project.write(&[project.started(0, 999_999, 7), project.started(1, 999_999, 7)]);
        let mut file = std::fs::OpenOptions::new().append(true).open(&ledger).unwrap();
        file.write_all(garbage.as_bytes()).unwrap();
        assert_eq!(project.recover().await.found, 2, "{garbage:?}");
        programs.iter_mut().for_each(|program| assert_eq!(program.ended_by(), Some(15)));
        assert!(!ledger.exists());
    }
}

/// Of an owner that is not known, marks count and ids do not.
#[tokio::test]
async fn without_its_first_line_a_ledger_still_has_its_marks() {
    let project = Project::new();
    let mark = project.mark(0);
    let mut marked = project.sleeper(&[(MARK, &mark)]);
    let known = project.sleeper(&[]);
    std::fs::write(
        project.ledger(),
        format!("{{torn\n{}\n", project.started(0, known.pid(), known.started())),
    )
    .unwrap();
    assert_eq!(project.recover().await.found, 1);
    assert_eq!(marked.ended_by(), Some(15));
    assert!(known.is_alive() && !project.ledger().exists());
}

#[tokio::test]
async fn the_ledger_of_an_owner_that_lives_is_not_touched() {
    let project = Project::new();
    let mark = project.mark(0);
    let marked = project.sleeper(&[(MARK, &mark)]);
    let ledger = project.write(&[project.started(0, marked.pid(), marked.started())]);
    let owner = std::fs::File::open(&ledger).unwrap();
    owner.lock().unwrap();
    assert_eq!(project.recover().await, Recovery::default());
    assert!(marked.is_alive() && ledger.exists());
    drop(owner);
    assert_eq!(project.recover().await.found, 1);
    assert!(!marked.is_alive() && !ledger.exists());
}

/// The one that recovers was itself started by a command whose owner is gone.
#[tokio::test]
async fn whoever_recovers_spares_itself() {
    let test = "process::whoever_recovers_spares_itself";
    let project = Project::new();
    let mark = project.mark(0);
    if std::env::var_os("AMPLIFIER_TEST_RECOVERS").is_none() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test])
            .envs([("AMPLIFIER_TEST_RECOVERS", "1"), (MARK, &mark)])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let mark = std::env::var(MARK).unwrap();
    let own_child = project.sleeper(&[(MARK, &mark)]);
    // The child's child carries the mark and has lost its parent.
    let script = "setsid sh -c 'sh -c \"echo \\$\\$ > orphan; exec sleep 1000\" & exit' & exit";
    project.sh(script, &[(MARK, &mark)]).ended_by();
    let orphan: i32 = eventually("the orphan", || {
        std::fs::read_to_string(project.root.path().join("orphan")).ok()?.trim().parse().ok()
    });
    eventually("it lost its parent", || (!is_alive(process(orphan)?.session)).then_some(()));
    let line = project.started(0, 999_999, 7).to_string().replace(&project.mark(0), &mark);
    project.write(&[serde_json::from_str(&line).unwrap()]);
    project.recover().await;
    assert!(own_child.is_alive() && !is_alive(orphan));
}

#[tokio::test]
async fn many_recoveries_at_once_do_not_disturb_each_other() {
    let project = Project::new();
    let mark = project.mark(0);
    let mut programs: Vec<Program> = (0..8).map(|_| project.sleeper(&[(MARK, &mark)])).collect();
    project.write(&[project.started(0, 999_999, 7)]);
    let clock = SystemClock::new();
    let recoveries: Vec<_> = (0..8)
        .map(|_| {
            let (paths, clock) = (project.paths.clone(), clock);
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(recover(&paths, &clock))
            })
        })
        .collect();
    let recoveries: Vec<Recovery> = recoveries.into_iter().map(|one| one.join().unwrap()).collect();
    assert_eq!(recoveries.iter().map(|one| one.ledgers).sum::<usize>(), 1, "one of them had it");
    assert_eq!(recoveries.iter().map(|one| one.found).sum::<usize>(), 8);
    programs.iter_mut().for_each(|program| assert_eq!(program.ended_by(), Some(15)));
    assert!(!project.ledger().exists());
}

#[tokio::test]
async fn without_a_ledger_nothing_is_looked_for_and_nothing_written() {
    let project = Project::new();
    let mark = project.mark(0);
    let marked = project.sleeper(&[(MARK, &mark)]);
    std::fs::write(project.paths.project().join("run/something-else"), "").unwrap();
    assert_eq!(project.recover().await, Recovery::default());
    assert!(marked.is_alive());
    let fresh = tempfile::tempdir().unwrap();
    let paths = ProjectPaths::resolve(&fresh.path().join("home"), fresh.path()).unwrap();
    assert_eq!(recover(&paths, &SystemClock::new()).await, Recovery::default());
    assert!(!fresh.path().join("home").exists());
}
