//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::verbs;

/// Splits every file into data and parity shards and spreads them over the storage you already have, so that any few of
/// them may vanish or rot and nothing is lost.
///
/// Exit codes: 0 done and fully redundant, 1 failed, 2 wrong usage or config, 3 not found, 4 done or readable but
/// redundancy is short, 5 data cannot be read, 6 refused (credentials).
#[derive(Debug, Parser)]
#[command(name = "rsb", version, max_term_width = 110, disable_help_subcommand = true)]
pub struct Args {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

/// What every verb takes.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "For every verb")]
pub struct Global {
    /// The config file; else ./rsb.toml, the platform's config folder, or the built-in default
    #[arg(long, global = true, value_name = "FILE", env = "RSB_CONFIG")]
    pub config: Option<PathBuf>,
    /// Where the built-in default config keeps its data [default: ./rsb-data]
    #[arg(long, global = true, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Work through a gateway instead of straight on the backends
    #[arg(long, global = true, value_name = "URL", env = "RSB_SERVER")]
    pub server: Option<String>,
    /// The id of the key to show to the gateway
    #[arg(long, global = true, value_name = "ID", env = "RSB_KEY_ID", hide_env_values = true)]
    pub key_id: Option<String>,
    /// The file with the key's secret; RSB_KEY_SECRET holds the secret itself
    #[arg(long, global = true, value_name = "FILE", env = "RSB_KEY_SECRET_FILE")]
    pub key_secret_file: Option<PathBuf>,
    /// A certificate (PEM) to trust besides the system's, as of a gateway with a self-signed one
    #[arg(long, global = true, value_name = "FILE", env = "RSB_CA_FILE")]
    pub ca_file: Option<PathBuf>,
    /// Results as JSON: one object, or one on each line
    #[arg(long, global = true)]
    pub json: bool,
    /// Say nothing but results and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more of what is going on; twice for details
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// No progress bars
    #[arg(long, global = true)]
    pub no_progress: bool,
}

/// The verbs; each is a file below `verbs/`.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the gateway
    Serve(verbs::serve::Args),
    /// Write a file (or, with -r, a folder's files)
    Put(verbs::put::Args),
    /// Read an object into a file (or, with -r, all below a prefix into a folder)
    Get(verbs::get::Args),
    /// Write objects to standard output
    Cat(verbs::cat::Args),
    /// The facts of an object
    Stat(verbs::stat::Args),
    /// Buckets, or the objects of one
    Ls(verbs::ls::Args),
    /// Delete an object (or, with -r, all below a prefix)
    Rm(verbs::rm::Args),
    /// Copy an object; moves no bytes
    Cp(verbs::cp::Args),
    /// Rename an object; moves no bytes
    Mv(verbs::mv::Args),
    /// Make a bucket
    Mb(verbs::bucket::Make),
    /// Remove an empty bucket
    Rb(verbs::bucket::Remove),
    /// Look whether everything is there; changes nothing but the ledger
    Check(verbs::check::Args),
    /// Rebuild what is lost
    Repair(verbs::repair::Args),
    /// Say what a verb would read, write and cost
    Plan(verbs::plan::Args),
    /// Prove that every object decodes with a domain gone
    Drill(verbs::drill::Args),
    /// Remove garbage that is older than the grace time
    Sweep(verbs::sweep::Args),
    /// What is known to be missing or bad and is not yet rebuilt
    Ledger(verbs::ledger::Args),
    /// The index of objects: rebuild it, or compare it with the backends
    Catalog(verbs::catalog::Args),
    /// The backends
    Backend(verbs::backend::Args),
    /// The config file
    Config(verbs::config::Args),
    /// Measure the codecs, or the backends
    Bench(verbs::bench::Args),
    /// A completion script for a shell
    Completions(verbs::completions::Args),
}
