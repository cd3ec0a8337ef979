//! The gate of a command: a shell that does nothing before it is told to, and then becomes the
//! command's own.
//!
//! Guarantees: while the gate is shut the command has done nothing, nor has anything that a
//! variable has shells read. If [`Gate`] is dropped, or this process dies, the shell behind it ends.
//! The command has the process id, the variables and the closed input that it has without a gate.

use std::ffi::OsString;
use std::io::{self, PipeWriter, Write};
use std::process::{Command, Stdio};

/// The variable is no part of any environment, and not exported.
const SCRIPT: &str = r#"IFS= read -r amplifier_gate && exec "$@" </dev/null"#;
/// The same, for a program that reads on what is written behind the gate's line: `read` takes no byte of it.
const READING: &str = r#"IFS= read -r amplifier_gate && exec "$@""#;

/// Variables that make a shell run or print something by itself; the gate passes them on.
const OF_SHELLS: [&str; 3] = ["BASH_ENV", "SHELLOPTS", "BASHOPTS"];

/// A shut gate. Dropped, it never opens.
#[derive(Debug)]
#[must_use = "a gate that is dropped lets nothing through"]
pub(super) struct Gate(PipeWriter);

impl Gate {
    /// Makes `onto`, a `shell` without arguments, such that it waits and then becomes this program. With
    /// `reads` the program reads what is written behind the gate, else nothing.
    pub(super) fn shut(argv: &[OsString], reads: bool, onto: &mut Command) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let passed: Vec<OsString> = OF_SHELLS
            .iter()
            .filter_map(|name| {
                let value = std::env::var_os(name)?;
                onto.env_remove(name);
                Some([OsString::from(name), "=".into(), value].into_iter().collect())
            })
            .collect();
        onto.args(["-c", if reads { READING } else { SCRIPT }, "gate"]);
        if !passed.is_empty() {
            onto.arg("env").args(passed);
        }
        onto.args(argv).stdin(Stdio::from(reader));
        Ok(Self(writer))
    }

    /// Lets the command begin, and gives what writes to it. If its shell has ended meanwhile, that is for
    /// who waits for it.
    pub(super) fn open(mut self) -> PipeWriter {
        let _ = self.0.write_all(b"\n");
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(command: &str) -> (Command, Gate) {
        let mut shell = Command::new("/bin/sh");
        let gate = Gate::shut(&["/bin/sh", "-c", command].map(OsString::from), false, &mut shell).unwrap();
        shell.stdout(Stdio::piped()).stderr(Stdio::piped());
        (shell, gate)
    }

    #[test]
    fn an_open_gate_leads_to_the_command_with_its_id_and_no_input() {
        let (mut shell, gate) = shell("echo $$ $0 $#; cat; set | grep -c amplifier_gate");
        let child = shell.spawn().unwrap();
        let pid = child.id();
        drop(shell);
        gate.open();
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{pid} /bin/sh 0\n0\n"));
        assert!(output.stderr.is_empty());
    }

    #[test]
    fn a_program_that_reads_gets_what_is_written_behind_the_gate() {
        let mut shell = Command::new("/bin/sh");
        let gate = Gate::shut(&["cat".into()], true, &mut shell).unwrap();
        let child = shell.stdout(Stdio::piped()).spawn().unwrap();
        drop(shell);
        let mut input = gate.open();
        input.write_all(b"\n one\\n\ntwo").unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.stdout, b"\n one\\n\ntwo");
    }

    #[test]
    fn a_gate_that_is_dropped_lets_nothing_through() {
        let (mut shell, gate) = shell("echo begun");
        let child = shell.spawn().unwrap();
        drop((shell, gate));
        let output = child.wait_with_output().unwrap();
        assert!(!output.status.success() && output.stdout.is_empty() && output.stderr.is_empty());
    }
}
