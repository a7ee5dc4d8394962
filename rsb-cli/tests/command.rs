//! The built command from the outside, as far as it needs no repository. What needs one is in tests/e2e.
#![allow(clippy::unwrap_used)]

use std::process::{Command, Output};

fn rsb(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rsb")).args(arguments).env_remove("RSB_CONFIG").output().unwrap()
}

#[test]
fn its_help_names_every_verb_and_the_exit_codes() {
    let help = String::from_utf8(rsb(&["--help"]).stdout).unwrap();
    for word in [
        "serve",
        "put",
        "get",
        "cat",
        "stat",
        "ls",
        "rm",
        "cp",
        "mv",
        "mb",
        "rb",
        "check",
        "repair",
        "plan",
        "drill",
        "backend",
        "catalog",
        "sweep",
        "ledger",
        "import",
        "config",
        "bench",
        "completions",
        "Exit codes",
        "--server",
        "--json",
    ] {
        assert!(help.contains(word), "{word} is not in\n{help}");
    }
}

#[test]
fn wrong_usage_is_two_and_says_what_was_meant() {
    let done = rsb(&["chek"]);
    assert_eq!(done.status.code(), Some(2));
    assert!(String::from_utf8(done.stderr).unwrap().contains("check"));
    assert!(done.stdout.is_empty());
}

#[test]
fn completions_are_made_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let done = rsb(&["completions", shell]);
        assert!(done.status.success() && String::from_utf8(done.stdout).unwrap().contains("repair"), "{shell}");
    }
}

#[test]
fn the_version_is_the_packages() {
    let said = String::from_utf8(rsb(&["--version"]).stdout).unwrap();
    assert_eq!(said.trim(), format!("rsb {}", env!("CARGO_PKG_VERSION")));
}
