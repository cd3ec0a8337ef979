//! What a shell needs to complete the commands and flags of a program.

use clap::Command;
pub use clap_complete::Shell;

use crate::exit::Failure;
use crate::terminal::{Code, print};

/// How it is switched on.
pub fn help(program: &str) -> String {
    "Switch it on:\n  \
     bash        source <(PROGRAM completions bash)    in ~/.bashrc\n  \
     zsh         PROGRAM completions zsh > ~/.zfunc/_PROGRAM    with ~/.zfunc in fpath, before compinit\n  \
     fish        PROGRAM completions fish > ~/.config/fish/completions/PROGRAM.fish\n  \
     elvish      eval (PROGRAM completions elvish | slurp)    in rc.elv\n  \
     powershell  PROGRAM completions powershell | Out-String | Invoke-Expression    in $PROFILE"
        .replace("PROGRAM", program)
}

/// Prints the script of a shell for a program.
pub fn completions(shell: Shell, mut command: Command) -> Result<Code, Failure> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    let script = String::from_utf8(script).map_err(|error| Failure::work(&error))?;
    Ok(print(&script))
}
