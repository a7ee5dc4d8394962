//! The command line, as clap sees it. The names are fixed: scripts rely on them.

mod upkeep;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::upkeep::*;

/// Keeps files alive when the places that hold them fail: each is cut into k data and m parity shards, spread over disks and
/// buckets you already have.
#[derive(Debug, Parser)]
#[command(name = "rsb", version, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done and fully redundant, 1 failed, 2 wrong usage or config, 3 not found, 4 done or readable but redundancy is short, 5 data cannot be read, 6 refused."
)]
pub struct Cli {
    /// The config file; else ./rsb.toml, the platform's config folder, or the built-in default (thirteen folders in ./rsb-data).
    #[arg(long, global = true, env = "RSB_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Work through the gateway at this address; a key for it stands before the host (http://ID:SECRET@HOST), or in
    /// RSB_KEY_ID and RSB_KEY_SECRET.
    #[arg(long, global = true, env = "RSB_SERVER", value_name = "URL", hide_env_values = true)]
    pub server: Option<String>,
    /// One JSON object, or one a line, on stdout and nothing else.
    #[arg(long, global = true)]
    pub json: bool,
    /// Only errors.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// More of what happens; twice for even more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// No progress bars, on a terminal too.
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the gateway.
    Serve(Serve),
    /// Store a file, or standard input; with -r all files of a folder.
    Put(Put),
    /// Fetch an object into a file, or to standard output; with -r all below a prefix into a folder.
    Get {
        /// The object; with -r a bucket, and a prefix as a folder's name.
        #[arg(value_name = "BUCKET/KEY")]
        object: String,
        /// The file or folder (`-`: standard output); else the key's last part in the current folder.
        file: Option<PathBuf>,
        /// Everything below the prefix.
        #[arg(short, long)]
        recursive: bool,
    },
    /// Write an object to standard output.
    Cat {
        /// The object.
        #[arg(value_name = "BUCKET/KEY")]
        object: String,
    },
    /// Say what is known of an object.
    Stat {
        /// The object.
        #[arg(value_name = "BUCKET/KEY")]
        object: String,
    },
    /// List buckets, or the objects of one.
    Ls {
        /// The bucket, and a prefix of keys.
        #[arg(value_name = "BUCKET[/PREFIX]")]
        place: Option<String>,
    },
    /// Delete an object; with -r all below a prefix.
    Rm {
        /// The object; with -r a bucket, and a prefix as a folder's name.
        #[arg(value_name = "BUCKET/KEY")]
        object: String,
        /// Everything below the prefix.
        #[arg(short, long)]
        recursive: bool,
    },
    /// Copy an object; moves no bytes.
    Cp {
        /// The object.
        from: String,
        /// The copy.
        to: String,
    },
    /// Rename an object; moves no bytes.
    Mv {
        /// The object.
        from: String,
        /// Its new name.
        to: String,
    },
    /// Make a bucket.
    Mb {
        /// Its name.
        bucket: String,
        /// Keep every version of its objects.
        #[arg(long)]
        keep_all: bool,
    },
    /// Delete an empty bucket.
    Rb {
        /// Its name.
        bucket: String,
    },
    /// Say how redundant objects are. Changes nothing but the ledger.
    Check(Check),
    /// Rebuild what is missing or damaged.
    Repair {
        /// What to repair.
        #[command(flatten)]
        check: Check,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Say what a verb would read, write and cost.
    #[command(subcommand)]
    Plan(PlanVerb),
    /// Prove that every object decodes with a domain gone.
    Drill(Drill),
    /// Say how likely an object is to be lost within a year, and which change helps most.
    Durability(Durability),
    /// The backends.
    #[command(subcommand)]
    Backend(BackendVerb),
    /// Give stored objects another k and m.
    Rescheme {
        /// The bucket, and a prefix of keys; everything when absent.
        #[arg(value_name = "BUCKET[/PREFIX]")]
        place: Option<String>,
        /// k.
        #[arg(long, value_name = "K")]
        data_shards: usize,
        /// m.
        #[arg(long, value_name = "M")]
        parity_shards: usize,
        /// How it is done.
        #[command(flatten)]
        how: MoveArgs,
    },
    /// The drains, rebalances and reschemes that go on; all when no verb is said.
    Moves {
        /// What to do with one.
        #[command(subcommand)]
        verb: Option<MovesVerb>,
    },
    /// The catalog.
    #[command(subcommand)]
    Catalog(CatalogVerb),
    /// Follow the lifecycle rules of buckets, and remove garbage that is older than the grace time.
    Sweep {
        /// Only say what would be removed.
        #[arg(long)]
        dry_run: bool,
    },
    /// List what is known to be missing or damaged and not yet rebuilt.
    Ledger,
    /// Bring in what another program has stored.
    #[command(subcommand)]
    Import(ImportVerb),
    /// The key pairs that a gateway lets in. A gateway that runs sees what is added and removed at once.
    #[command(subcommand)]
    Key(KeyVerb),
    /// The config.
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Measure the codecs, or the backends.
    #[command(subcommand)]
    Bench(BenchVerb),
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// `serve`
#[derive(Debug, Args)]
pub struct Serve {
    /// Where HTTP is served.
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// Where S3 is served: 127.0.0.1:44988; where the config or --listen says that HTTP is elsewhere, only if this is said.
    #[arg(long, value_name = "ADDR:PORT")]
    pub s3_listen: Option<SocketAddr>,
    /// Where the built-in default keeps its data.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Serve TLS with a certificate made at this start.
    #[arg(long)]
    pub tls_self_signed: bool,
    /// Serve plain HTTP to other machines: something before the gateway ends TLS, or nobody listens on the way.
    #[arg(long, conflicts_with = "tls_self_signed")]
    pub no_tls: bool,
    /// Let everybody in who reaches the address.
    #[arg(long)]
    pub no_auth: bool,
}

/// `put`
#[derive(Debug, Args)]
pub struct Put {
    /// The file; `-` for standard input; with -r a folder.
    pub file: PathBuf,
    /// Where it goes; with -r a bucket, and a prefix as a folder's name.
    #[arg(value_name = "BUCKET/KEY")]
    pub object: String,
    /// All files of the folder.
    #[arg(short, long)]
    pub recursive: bool,
    /// k for this object.
    #[arg(long, value_name = "K")]
    pub data_shards: Option<usize>,
    /// m for this object.
    #[arg(long, value_name = "M")]
    pub parity_shards: Option<usize>,
}

/// `check`, and what `repair` looks at first.
#[derive(Debug, Args)]
pub struct Check {
    /// The bucket, and a prefix of keys; everything when absent.
    #[arg(value_name = "BUCKET[/PREFIX]")]
    pub place: Option<String>,
    /// How deep to look.
    #[arg(long, value_enum, default_value_t = DepthArg::Inventory)]
    pub depth: DepthArg,
}

/// How deep to look.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum DepthArg {
    /// Presence and size, by listings.
    Inventory,
    /// Also some random blocks of each shard.
    Sample,
    /// Every byte.
    Full,
}

/// `bench`
#[derive(Debug, Subcommand)]
pub enum BenchVerb {
    /// How fast each codec encodes and decodes on one core of this machine.
    Codec,
    /// How fast each backend of the config answers, reads and writes. Its objects lie under bench/ and are deleted again.
    Backends,
}

/// `config init`
#[derive(Debug, Default, Args)]
pub struct Init {
    /// A backend of the first config: its address, a name before it where it should have one of its own.
    #[arg(long = "backend", value_name = "[NAME=]URL")]
    pub backends: Vec<String>,
    /// k; chosen from the number of backends when absent.
    #[arg(long, value_name = "K")]
    pub data_shards: Option<usize>,
    /// m; chosen from the number of backends when absent.
    #[arg(long, value_name = "M")]
    pub parity_shards: Option<usize>,
    /// The codec: novelpoly or cauchy.
    #[arg(long)]
    pub codec: Option<String>,
    /// The repository's name.
    #[arg(long)]
    pub name: Option<String>,
}

/// `backend`
#[derive(Debug, Subcommand)]
pub enum BackendVerb {
    /// List the backends and how they are.
    Ls,
    /// Move everything off a backend, a dead one too. Nothing new is written to it from then on.
    Drain {
        /// Its name.
        name: String,
        /// It is destroyed and will never come back: what it may still hold is not waited for.
        #[arg(long)]
        lost: bool,
        /// How it is done.
        #[command(flatten)]
        how: MoveArgs,
    },
    /// Move everything from one backend to another, as far as the domain rule lets it.
    Replace {
        /// The one to be taken away.
        old: String,
        /// The one that takes its place.
        new: String,
        /// The old one is destroyed and will never come back.
        #[arg(long)]
        lost: bool,
        /// How it is done.
        #[command(flatten)]
        how: MoveArgs,
    },
    /// Set up a backend that was written into the config: its folder, bucket or container, and its marker.
    Add {
        /// Its name in the config.
        name: String,
    },
    /// Even out the bytes on the active backends.
    Rebalance {
        /// How it is done.
        #[command(flatten)]
        how: MoveArgs,
    },
}

/// `key`
#[derive(Debug, Subcommand)]
pub enum KeyVerb {
    /// Make a key pair. Its secret is told this once.
    Add {
        /// Its id; a random one when absent.
        id: Option<String>,
        /// What it may do; several with commas.
        #[arg(long = "rights", value_enum, value_delimiter = ',', default_value = "read", value_name = "RIGHTS")]
        rights: Vec<RightArg>,
        /// In which buckets: a name, or a pattern with *; may be given again.
        #[arg(long = "bucket", default_value = "*", value_name = "PATTERN")]
        buckets: Vec<String>,
    },
    /// List the key pairs of the config and those that were added, without secrets.
    Ls,
    /// Remove a key pair that was added.
    Rm {
        /// Its id.
        id: String,
    },
}

/// What a key may do.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum RightArg {
    /// Get and list.
    Read,
    /// Put and copy.
    Write,
    /// Delete objects.
    Delete,
    /// Buckets and upkeep.
    Admin,
}

impl RightArg {
    /// The right.
    pub fn right(self) -> rsb_gateway::Right {
        match self {
            Self::Read => rsb_gateway::Right::Read,
            Self::Write => rsb_gateway::Right::Write,
            Self::Delete => rsb_gateway::Right::Delete,
            Self::Admin => rsb_gateway::Right::Admin,
        }
    }
}

/// `catalog`
#[derive(Debug, Subcommand)]
pub enum CatalogVerb {
    /// Empty the catalog and make it anew from the backends alone.
    Rebuild,
    /// Compare the catalog with the backends.
    Verify,
}

/// `config`
#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Write a first config where there is none, and set up its backends: folders, buckets, markers.
    Init(Init),
    /// Say everything that is wrong with a config, and prove its backends.
    Check,
    /// Print the merged config, without secrets.
    Show,
}
