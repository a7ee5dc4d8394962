//! The words of `plan`, `drill`, `durability`, `import` and the moves.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Check;

/// `plan`
#[derive(Debug, Subcommand)]
pub enum PlanVerb {
    /// What reading objects takes.
    Get(Place),
    /// What a month of keeping objects costs.
    Store(Place),
    /// What a check, or a scrub, takes.
    #[command(visible_alias = "scrub")]
    Check(Check),
    /// What a repair would do.
    Repair(Check),
    /// What draining a backend takes.
    Drain {
        /// Its name.
        name: String,
    },
    /// What replacing a backend takes.
    Replace {
        /// The one to be taken away.
        old: String,
        /// The one that takes its place.
        new: String,
    },
    /// What evening out the backends takes.
    Rebalance,
    /// What another k and m takes.
    Rescheme {
        /// Which objects.
        #[command(flatten)]
        of: Place,
        /// k.
        #[arg(long, value_name = "K")]
        data_shards: usize,
        /// m.
        #[arg(long, value_name = "M")]
        parity_shards: usize,
    },
}

/// Which objects.
#[derive(Debug, Args)]
pub struct Place {
    /// The bucket, and a prefix of keys; everything when absent.
    #[arg(value_name = "BUCKET[/PREFIX]")]
    pub place: Option<String>,
}

/// `drill`
#[derive(Debug, Args)]
pub struct Drill {
    /// Only this domain (`label=value`) or backend.
    #[arg(long)]
    pub domain: Option<String>,
    /// Also up to so many sets of as many backends as may be lost: all, where there are not more.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub subsets: usize,
    /// Begin of the random numbers: the same seed draws the same sets and objects.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Also read objects without what is masked, up to so many bytes of them, such as "10 GB".
    #[arg(long, value_name = "SIZE")]
    pub read: Option<String>,
    /// A report to be filed: when, of which repository, what was proven by what, and what was not; with --json one object.
    #[arg(long)]
    pub report: bool,
}

/// `durability`
#[derive(Debug, Args)]
pub struct Durability {
    /// How often a backend loses everything, a year (0.0157: disks in 2024, Backblaze Drive Stats).
    #[arg(long, value_name = "RATE")]
    pub backend_rate: Option<f64>,
    /// The same of one backend; may be given again.
    #[arg(long = "backend", value_name = "NAME=RATE")]
    pub backends: Vec<String>,
    /// How often a domain loses all its backends at once, a year (0.001: assumed).
    #[arg(long, value_name = "RATE")]
    pub domain_rate: Option<f64>,
    /// How often a shard rots unseen, a year (0.00001: assumed).
    #[arg(long, value_name = "RATE")]
    pub rot_rate: Option<f64>,
    /// Mean hours until what a lost backend had is rebuilt (24: assumed).
    #[arg(long, value_name = "HOURS")]
    pub repair_hours: Option<f64>,
    /// Days between two scrubs (30: assumed).
    #[arg(long, value_name = "DAYS")]
    pub scrub_days: Option<f64>,
    /// Cycles that are simulated: more for a narrower interval.
    #[arg(long, default_value_t = 200_000)]
    pub cycles: u64,
    /// Begin of the random numbers.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// How a move is done.
#[derive(Clone, Debug, Default, Args)]
pub struct MoveArgs {
    /// Only say what would be moved, and what it costs.
    #[arg(long)]
    pub dry_run: bool,
    /// Most bytes read and written in a second, such as "20 MB"; no bound when absent.
    #[arg(long, value_name = "SIZE")]
    pub rate: Option<String>,
    /// Shards moved at once, 1 to 64.
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub parallel: usize,
}

/// `moves`
#[derive(Debug, Subcommand)]
pub enum MovesVerb {
    /// List them.
    Ls,
    /// Let one wait.
    Pause {
        /// Its id.
        id: String,
    },
    /// Let one go on.
    Resume {
        /// Its id.
        id: String,
    },
    /// Give one up: what was moved stays, a backend that was drained takes new writes again.
    Cancel {
        /// Its id.
        id: String,
    },
}

/// `import`
#[derive(Debug, Subcommand)]
pub enum ImportVerb {
    /// The folder of RSBackup's prototype of 2020. Each file is verified by its .md and, where it is damaged, healed from its
    /// parity on the way; what is there already is passed over. The folder is only read.
    Prototype(Prototype),
}

/// `import prototype`
#[derive(Debug, Args)]
pub struct Prototype {
    /// The folder.
    pub dir: PathBuf,
    /// The bucket, and a prefix as a folder's name.
    #[arg(value_name = "BUCKET[/PREFIX]")]
    pub bucket: String,
    /// Verify and heal everything, and write nothing.
    #[arg(long)]
    pub dry_run: bool,
}
