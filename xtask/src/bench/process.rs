//! Costs of a whole process: wall time, CPU, peak memory.
//!
//! Guarantees: each measured process is the only child of a helper (this program
//! again), because the kernel keeps one peak for all children of a process. The
//! peak is at least the helper's own, about 3 MiB, as a child starts as its copy.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};

use crate::error::Error;
use crate::run;

/// The hidden task that runs one command and prints its costs.
pub(crate) const MEASURE: &str = "__measure";

/// What one run of a process cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// From the start to the end, in milliseconds.
    pub(crate) wall_ms: f64,
    /// User and system time of the process and its children, in milliseconds.
    pub(crate) cpu_ms: f64,
    /// Largest resident set, in MiB.
    pub(crate) peak_mib: f64,
}

/// Runs a command in a helper and returns what it cost. Folder and environment are
/// those of `command`; standard input is empty.
pub(crate) fn measure(command: &Command) -> Result<Cost, Error> {
    let this = std::env::current_exe().map_err(Error::file("this program"))?;
    let mut helper = Command::new(this);
    helper.arg(MEASURE).arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        helper.current_dir(folder);
    }
    helper.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let line = run::read(&mut helper)?;
    parse(line.trim(), command)
}

fn parse(line: &str, command: &Command) -> Result<Cost, Error> {
    let value: Value = serde_json::from_str(line).unwrap_or_default();
    let number = |name: &str| value.get(name).and_then(Value::as_f64);
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    match (number("wall_ms"), number("cpu_ms"), number("peak_mib"), text("failed").as_str()) {
        (Some(wall_ms), Some(cpu_ms), Some(peak_mib), "") => Ok(Cost { wall_ms, cpu_ms, peak_mib }),
        (.., status) => {
            let status = if status.is_empty() { "no answer from the helper" } else { status };
            Err(Error::Failed {
                command: run::line(command),
                status: status.to_owned(),
                stderr: text("stderr"),
            })
        }
    }
}

/// The helper's part: runs the command in `args`, prints one line of JSON.
pub(crate) fn measure_here(args: &[String]) -> Result<(), Error> {
    let (program, rest) =
        args.split_first().ok_or_else(|| Error::Usage(format!("{MEASURE} wants a command")))?;
    let mut command = Command::new(program);
    command.args(rest).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let began = Instant::now();
    let output = command.spawn().and_then(std::process::Child::wait_with_output);
    let wall = began.elapsed();
    let output = output.map_err(|source| Error::Start { command: run::line(&command), source })?;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)
        .map_err(|errno| Error::Start { command: "getrusage".into(), source: errno.into() })?;
    let ms = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1_000.0 + time.tv_usec() as f64 / 1_000.0;
    let failed = if output.status.success() { String::new() } else { output.status.to_string() };
    let cost = json!({
        "wall_ms": wall.as_secs_f64() * 1_000.0,
        "cpu_ms": ms(usage.user_time()) + ms(usage.system_time()),
        "peak_mib": usage.max_rss() as f64 / 1_024.0,
        "failed": failed,
        "stderr": tail(&String::from_utf8_lossy(&output.stderr)),
    });
    println!("{cost}");
    Ok(())
}

/// The last three lines.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.trim().lines().collect();
    lines.get(lines.len().saturating_sub(3)..).unwrap_or_default().join(" / ")
}

/// Builds a package for release and returns its program of that name.
pub(crate) fn release(package: &str, program: &str) -> Result<PathBuf, Error> {
    let args = ["build", "--release", "-p", package, "--bin", program, "--message-format=json"];
    let built = run::built(&mut run::cargo(args))?;
    let found = built.into_iter().find(|built| built.target == program).map(|built| built.path);
    found.ok_or_else(|| Error::Format {
        what: format!("cargo build -p {package}"),
        message: format!("built no program `{program}`"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_the_helper_is_read() {
        let command = Command::new("/bin/amplifier");
        let cost = parse(r#"{"wall_ms":4.5,"cpu_ms":3,"peak_mib":9.25,"failed":""}"#, &command).unwrap();
        assert_eq!((cost.wall_ms, cost.cpu_ms, cost.peak_mib), (4.5, 3.0, 9.25));
    }

    #[test]
    fn a_command_that_fails_says_how_and_why() {
        let mut command = Command::new("/bin/amplifier");
        command.arg("run");
        let line =
            r#"{"wall_ms":4,"cpu_ms":3,"peak_mib":9,"failed":"exit status: 2","stderr":"error: no bundle"}"#;
        let error = parse(line, &command).unwrap_err().to_string();
        assert_eq!(error, "`amplifier run` failed (exit status: 2): error: no bundle");
        assert!(parse("", &command).unwrap_err().to_string().contains("no answer from the helper"));
    }

    #[test]
    fn only_the_last_lines_of_an_error_are_kept() {
        assert_eq!(tail("a\nb\nc\nd\n"), "b / c / d");
        assert_eq!(tail(""), "");
    }
}
