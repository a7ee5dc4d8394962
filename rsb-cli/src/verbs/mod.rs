//! The verbs: each opens a [`Door`], does its work, and says how it went in its exit code.

mod bench;
mod config;
mod drill;
mod durability;
mod files;
mod import;
mod key;
mod key_pair;
mod many;
mod moves;
mod objects;
mod serve;
mod tally;
mod tree;
mod upkeep;

use clap::CommandFactory;
use rsb_core::Scope;

use crate::assemble::{self, Access};
use crate::cli::{BackendVerb, Check, Cli, DepthArg, ImportVerb, MovesVerb, PlanVerb, Prototype, Verb};
use crate::door::{Direct, Door};
use crate::failure::{DONE, Failure};
use crate::name::Name;
use crate::out::Out;
use crate::remote::Client;

/// Runs a verb; gives the exit code.
pub async fn run(cli: &Cli, out: &Out) -> Result<u8, Failure> {
    match &cli.verb {
        Verb::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "rsb", &mut std::io::stdout());
            return Ok(DONE);
        }
        Verb::Config(verb) => return config::run(cli, out, verb).await,
        Verb::Serve(args) => return serve::run(cli, args).await,
        Verb::Key(verb) => return key::run(cli, out, verb).await,
        Verb::Bench(verb) => return bench::run(cli, out, verb).await,
        Verb::Durability(args) if cli.server.is_none() => return durability::direct(cli, out, args).await,
        // Beside a gateway that runs, if need be: the catalog is not asked.
        Verb::Backend(BackendVerb::Add { name }) if cli.server.is_none() => return config::add(cli, out, name).await,
        _ => {}
    }
    let door: Box<dyn Door> = match &cli.server {
        Some(url) => Box::new(Client::new(url, |name| std::env::var(name).ok())?),
        None => {
            let config = assemble::load(cli, None, Vec::new())?;
            Box::new(Direct::new(assemble::open(&config, access(&cli.verb)).await?))
        }
    };
    let result = on_door(cli, out, door.as_ref()).await;
    let closed = door.close().await;
    let code = result?;
    closed?;
    Ok(code)
}

/// What a verb needs of the repository: some can be served beside a process that writes, some begin one.
fn access(verb: &Verb) -> Access {
    match verb {
        Verb::Put(_) | Verb::Mb { .. } => Access::Make,
        Verb::Get { .. }
        | Verb::Cat { .. }
        | Verb::Stat { .. }
        | Verb::Ls { .. }
        | Verb::Ledger
        | Verb::Backend(BackendVerb::Ls)
        | Verb::Import(ImportVerb::Prototype(Prototype { dry_run: true, .. }))
        | Verb::Moves { verb: None | Some(MovesVerb::Ls) } => Access::Read,
        _ => Access::Write,
    }
}

async fn on_door(cli: &Cli, out: &Out, door: &dyn Door) -> Result<u8, Failure> {
    match &cli.verb {
        Verb::Put(args) if args.recursive => many::put(out, door, args).await,
        Verb::Put(args) => objects::put(out, door, args).await,
        Verb::Get { object, file, recursive: true } => many::get(out, door, object, file.as_deref()).await,
        Verb::Get { object, file, .. } => objects::get(out, door, object, file.as_deref()).await,
        Verb::Cat { object } => objects::cat(out, door, object).await,
        Verb::Stat { object } => objects::stat(out, door, object).await,
        Verb::Ls { place } => objects::ls(out, door, place.as_deref()).await,
        Verb::Rm { object, recursive: true } => many::rm(out, door, object).await,
        Verb::Rm { object, .. } => objects::rm(out, door, object).await,
        Verb::Cp { from, to } => objects::cp(out, door, from, to).await,
        Verb::Mv { from, to } => objects::mv(out, door, from, to).await,
        Verb::Mb { bucket, keep_all } => objects::mb(out, door, bucket, *keep_all).await,
        Verb::Rb { bucket } => objects::rb(out, door, bucket).await,
        Verb::Check(args) => upkeep::check(out, door, args).await,
        Verb::Repair { check, dry_run: true } | Verb::Plan(PlanVerb::Repair(check)) => {
            upkeep::plan_repair(out, door, check).await
        }
        Verb::Repair { check, .. } => upkeep::repair(out, door, check).await,
        Verb::Import(ImportVerb::Prototype(args)) => import::prototype(out, door, args).await,
        Verb::Plan(verb) => moves::plan(out, door, verb).await,
        Verb::Drill(args) => drill::run(out, door, args).await,
        Verb::Durability(args) => durability::run(out, door, args).await,
        Verb::Backend(BackendVerb::Ls) => upkeep::backends(out, door).await,
        Verb::Backend(verb) => moves::backend(out, door, verb).await,
        Verb::Rescheme { place, data_shards, parity_shards, how } => {
            let scope = scope(place.as_deref())?;
            moves::rescheme(out, door, scope, (*data_shards, *parity_shards), how).await
        }
        Verb::Moves { verb } => moves::moves(out, door, verb.as_ref()).await,
        Verb::Catalog(verb) => upkeep::catalog(out, door, verb).await,
        Verb::Sweep { dry_run } => upkeep::sweep(out, door, *dry_run).await,
        Verb::Ledger => upkeep::ledger(out, door).await,
        Verb::Bench(_) | Verb::Completions { .. } | Verb::Config(_) | Verb::Key(_) | Verb::Serve(_) => Ok(DONE),
    }
}

/// `BUCKET[/PREFIX]` as a scope; everything when absent.
fn scope(place: Option<&str>) -> Result<Scope, Failure> {
    let Some(place) = place else { return Ok(Scope::default()) };
    let name = Name::any(place)?;
    let mut scope = Scope { bucket: Some(name.bucket), ..Scope::default() };
    scope.prefix = name.key;
    Ok(scope)
}

fn depth(check: &Check) -> rsb_core::Depth {
    match check.depth {
        DepthArg::Inventory => rsb_core::Depth::Inventory,
        DepthArg::Sample => rsb_core::Depth::Sample,
        DepthArg::Full => rsb_core::Depth::Full,
    }
}
