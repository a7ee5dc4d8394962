//! The verbs: each opens the repository, does its work, and says how it went in its exit code.

mod config;
mod objects;
mod serve;
mod upkeep;

use clap::CommandFactory;
use rsb_core::{Engine, Scope};
use serde::Serialize;

use crate::assemble;
use crate::cli::{Check, Cli, DepthArg, Verb};
use crate::failure::{DONE, Failure};

/// Runs a verb; gives the exit code.
pub async fn run(cli: Cli) -> Result<u8, Failure> {
    match &cli.verb {
        Verb::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "rsb", &mut std::io::stdout());
            return Ok(DONE);
        }
        Verb::Config(verb) => return config::run(&cli, verb).await,
        Verb::Serve(args) => return serve::run(&cli, args).await,
        _ => {}
    }
    let config = assemble::load(&cli, None, Vec::new())?;
    let engine = assemble::open(&config).await?;
    let result = on_engine(&cli, &engine).await;
    let closed = engine.close().await;
    let code = result?;
    closed?;
    Ok(code)
}

async fn on_engine(cli: &Cli, engine: &Engine) -> Result<u8, Failure> {
    match &cli.verb {
        Verb::Put(args) => objects::put(cli, engine, args).await,
        Verb::Get { object, file } => objects::get(engine, object, file.as_deref()).await,
        Verb::Cat { object } => objects::get(engine, object, Some("-".as_ref())).await,
        Verb::Stat { object } => objects::stat(cli, engine, object).await,
        Verb::Ls { place } => objects::ls(cli, engine, place.as_deref()).await,
        Verb::Rm { object } => objects::rm(cli, engine, object).await,
        Verb::Cp { from, to } => objects::cp(cli, engine, from, to, false).await,
        Verb::Mv { from, to } => objects::cp(cli, engine, from, to, true).await,
        Verb::Mb { bucket, keep_all } => objects::mb(engine, bucket, *keep_all).await,
        Verb::Rb { bucket } => {
            engine.delete_bucket(bucket).await?;
            Ok(DONE)
        }
        Verb::Check(args) => upkeep::check(cli, engine, args).await,
        Verb::Repair { check, dry_run } => upkeep::repair(cli, engine, check, *dry_run).await,
        Verb::Drill { domain } => upkeep::drill(cli, engine, domain.as_deref()).await,
        Verb::Backend(_) => upkeep::backends(cli, engine).await,
        Verb::Catalog(verb) => upkeep::catalog(cli, engine, verb).await,
        Verb::Sweep { dry_run } => upkeep::sweep(cli, engine, *dry_run).await,
        Verb::Ledger => upkeep::ledger(cli, engine).await,
        Verb::Completions { .. } | Verb::Config(_) | Verb::Serve(_) => Ok(DONE),
    }
}

/// Prints a reply: one line of JSON, or text.
fn say(cli: &Cli, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
    use std::io::Write;
    let line = match cli.json {
        true => serde_json::to_string(value).map_err(|e| Failure::new(crate::failure::FAILED, e.to_string()))?,
        false => text(),
    };
    if line.is_empty() {
        return Ok(());
    }
    match writeln!(std::io::stdout(), "{line}") {
        // Whoever reads has enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// `BUCKET/KEY` apart.
fn object_name(text: &str) -> Result<(&str, &str), Failure> {
    match text.split_once('/') {
        Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => Ok((bucket, key)),
        _ => Err(Failure::usage(format!("{text:?} names no object; write BUCKET/KEY"))),
    }
}

/// `BUCKET[/PREFIX]` as a scope.
fn scope(place: Option<&str>) -> Scope {
    match place {
        None => Scope::default(),
        Some(place) => {
            let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
            Scope { bucket: Some(bucket.to_owned()), prefix: prefix.to_owned(), ..Scope::default() }
        }
    }
}

fn depth(check: &Check) -> rsb_core::Depth {
    match check.depth {
        DepthArg::Inventory => rsb_core::Depth::Inventory,
        DepthArg::Sample => rsb_core::Depth::Sample,
        DepthArg::Full => rsb_core::Depth::Full,
    }
}
