//! The `rsb` command. It sees all the other crates: it reads the config, builds the stores, opens the repository, and runs
//! one verb on it. A verb is a file in `verbs`.

mod assemble;
mod cli;
mod config;
mod failure;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let level = match (cli.quiet, cli.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, _) => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("RSB_LOG").unwrap_or_else(|_| level.into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
    let json = cli.json;
    match verbs::run(cli).await {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.report(json);
            ExitCode::from(failure.code())
        }
    }
}
