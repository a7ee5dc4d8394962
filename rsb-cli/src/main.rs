//! The `rsb` command. It sees all the other crates: it reads the config, builds the stores, opens the repository, and runs
//! one verb on it.
//!
//! Order to read: [`cli`] (what a person types), [`verbs`] (a verb is a file), [`door`] (what the verbs work on: backends,
//! or by [`remote`] a gateway), [`prototype`] (the folder that `import` reads), [`mod@config`] and [`assemble`] (from a file to an engine), [`key_store`], [`out`] and [`failure`] (how it ends).

mod assemble;
mod cli;
mod config;
mod door;
mod failure;
mod human;
mod key_store;
mod name;
mod out;
mod progress;
mod prototype;
mod remote;
mod verbs;

use std::io::IsTerminal;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::out::Out;

#[tokio::main]
async fn main() {
    let cli = cli::Cli::parse();
    let level = match (cli.quiet, cli.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, _) => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("RSB_LOG").unwrap_or_else(|_| level.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Colours are for eyes: in a log file they are noise.
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    let out = Out::of(&cli);
    // The gateway ends in its own time; any other verb is dropped where it is, which takes its unfinished files away.
    let stops_itself = matches!(cli.verb, cli::Verb::Serve(_));
    let result = tokio::select! {
        result = verbs::run(&cli, &out) => result,
        code = interrupted(), if !stops_itself => Ok(code),
    };
    let code = result.unwrap_or_else(|failure| {
        out.failure(&failure);
        failure.code()
    });
    // Not by returning, which would wait for a standard input that somebody still reads from.
    std::process::exit(i32::from(code));
}

/// Ready when somebody asks the process to end; gives the code that shells expect then.
async fn interrupted() -> u8 {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! { _ = interrupt.recv() => 130, _ = terminate.recv() => 143 }
}
