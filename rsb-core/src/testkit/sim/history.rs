//! What happens in a history: made from a seed, as data, so that steps can be left out.

use super::moving::Moving;
use super::rng::Rng;
use super::theme::Theme;
use super::world::Fault;
use crate::api::Depth;

/// The repository of a history.
#[derive(Clone, Debug)]
pub struct Layout {
    /// k and m of the repository.
    pub scheme: (usize, usize),
    /// Schemes that single objects are written with.
    pub others: Vec<(usize, usize)>,
    /// Backends.
    pub backends: usize,
    /// Backends of a domain: the backend `i` is in domain `i / this`.
    pub domain_size: usize,
    /// Shards beyond k that a write waits for; `None`: the default.
    pub ack_margin: Option<usize>,
    /// The slow code, or the fast one.
    pub novelpoly: bool,
    /// The backend that only stands in for others.
    pub spare: bool,
    /// The ledger is worked off all the while.
    pub heals: bool,
    /// What is stored is looked at again and again.
    pub scrubs: bool,
}

impl Layout {
    /// How many backends may be ill while every fault is on them.
    pub fn margin(&self) -> usize {
        self.schemes().map(|(_, m)| m).min().unwrap_or_default()
    }

    /// How many may be damaged while calls to any backend may fail: what an acknowledged write has beyond k.
    pub fn acknowledged_margin(&self) -> usize {
        let ack = |m: usize| self.ack_margin.unwrap_or_else(|| m.saturating_sub(1).max(1)).min(m);
        self.schemes().map(|(_, m)| ack(m)).min().unwrap_or_default()
    }

    fn schemes(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        std::iter::once(self.scheme).chain(self.others.iter().copied())
    }

    fn draw(rng: &mut Rng, theme: Theme) -> Self {
        let (k, m, backends, domain_size) = rng.pick(theme.shapes());
        let others = if rng.chance(30) && m > 1 && domain_size == 1 { vec![(k, m - 1)] } else { Vec::new() };
        let ack_margin = if rng.chance(25) { Some(m) } else { None };
        let spare = backends > k + m && domain_size == 1 && rng.chance(40);
        Self {
            scheme: (k, m),
            others,
            backends,
            domain_size,
            ack_margin,
            novelpoly: rng.chance(30),
            spare,
            heals: rng.chance(50),
            scrubs: rng.chance(15),
        }
    }
}

/// What is done to an object or to all.
#[derive(Clone, Debug)]
pub enum Op {
    /// A write.
    Put {
        /// Which key.
        key: usize,
        /// The value's length in bytes.
        len: u32,
        /// Its condition.
        condition: Condition,
        /// With the layout's other scheme.
        other_scheme: bool,
    },
    /// A write in parts of these lengths, of which some are sent twice; or one that is given up.
    Multipart {
        /// Which key.
        key: usize,
        /// Bytes of the parts.
        parts: Vec<u32>,
        /// It is aborted.
        abort: bool,
    },
    /// A copy.
    Copy {
        /// Of this key.
        from: usize,
        /// To this one.
        to: usize,
    },
    /// A delete of the newest.
    Delete {
        /// Which key.
        key: usize,
    },
    /// A delete of a version.
    DeleteVersion {
        /// Which key.
        key: usize,
        /// Which version of those that are known.
        pick: usize,
    },
    /// A read of the newest, whole or in part.
    Get {
        /// Which key.
        key: usize,
        /// Parts of a thousand where the range begins and ends.
        range: Option<(u64, u64)>,
    },
    /// A read of a version.
    GetVersion {
        /// Which key.
        key: usize,
        /// Which version of those that are known.
        pick: usize,
    },
    /// A listing.
    List,
    /// A check.
    Check(Depth),
    /// A plan and its repair.
    Repair(Depth),
    /// A sweep.
    Sweep,
    /// A drill.
    Drill,
    /// The catalog made anew while all goes on.
    Rebuild,
    /// The catalog compared with the backends.
    Verify,
    /// Moving house.
    Move(Moving),
}

/// The condition of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// None.
    None,
    /// There must be no object.
    Absent,
    /// The object must still be what it is when the step begins.
    Unchanged,
}

/// Damage of what lies on a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A bit of a file.
    Flip,
    /// A bit of a file's first bytes: its header, its first checksum.
    FlipHead,
    /// A file's end is lost.
    Truncate,
    /// A file is lost.
    Lose,
    /// Two files change places.
    Swap,
    /// All is as it was some time ago.
    RollBack,
    /// All is lost, the marker too.
    Empty,
    /// All is another repository's.
    Foreign,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is closed.
    Closed,
    /// It is killed.
    Killed,
    /// The power goes: of the catalog only what was synced is sure.
    PowerCut,
    /// It is killed, and the catalog is lost.
    CatalogLost,
}

/// One step of a history.
#[derive(Clone, Debug)]
pub enum Step {
    /// Some things at once; each begins after so many milliseconds.
    Ops(Vec<(u64, Op)>),
    /// A fault begins on one of the ill backends, or, where the phase allows, on any.
    Fault {
        /// Which of them.
        which: usize,
        /// What.
        fault: Fault,
    },
    /// A backend's fault ends.
    Mend {
        /// Which of the ones that have a fault.
        which: usize,
    },
    /// What lies on one of the ill backends is damaged.
    Damage {
        /// Which of them.
        which: usize,
        /// How.
        damage: Damage,
    },
    /// An ill backend remembers how it is now.
    Remember {
        /// Which of them.
        which: usize,
    },
    /// The process's clock is turned.
    Jump {
        /// Milliseconds.
        ms: i64,
    },
    /// Time goes by.
    Pass {
        /// Milliseconds.
        ms: u64,
    },
    /// In the next step the process dies after so many calls.
    Fuse {
        /// Calls of backends.
        calls: u64,
        /// How.
        end: End,
    },
    /// The process ends between steps, and begins again.
    Restart {
        /// How.
        end: End,
    },
    /// Faults stop, a person sees to the ill backends, and all is repaired; then others may fall ill.
    Tend {
        /// Those that fall ill then.
        next: Illness,
    },
}

/// Who may be ill, and how.
#[derive(Clone, Debug, Default)]
pub struct Illness {
    /// Backends that may be damaged and lie.
    pub ill: Vec<usize>,
    /// Calls of every backend may fail, not only of those.
    pub storm: bool,
}

/// A whole history.
#[derive(Clone, Debug)]
pub struct History {
    /// What it was made from.
    pub seed: u64,
    /// The repository.
    pub layout: Layout,
    /// Who may be ill at first.
    pub illness: Illness,
    /// What happens.
    pub steps: Vec<Step>,
}

/// Keys of the bucket that keeps the last version.
pub(super) const LAST_KEYS: usize = 4;
/// All keys; the rest are of the bucket that keeps all versions.
pub(super) const KEYS: usize = 6;

impl History {
    /// The history of a seed.
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x51a7_0f00_d5ee_d000);
        let theme = Theme::of(seed);
        let layout = Layout::draw(&mut rng, theme);
        let illness = theme.illness(&mut rng, &layout);
        let mut steps = Vec::new();
        let phases = 1 + rng.below(3);
        for phase in 0..phases {
            if phase > 0 {
                steps.push(Step::Tend { next: theme.illness(&mut rng, &layout) });
                steps.extend(theme.after_tend(&mut rng));
            }
            steps.extend(theme.steps(&mut rng));
        }
        Self { seed, layout, illness, steps }
    }
}

impl Illness {
    pub(super) fn draw(rng: &mut Rng, layout: &Layout) -> Self {
        let storm = rng.chance(40);
        let most = if storm { layout.acknowledged_margin() } else { layout.margin() };
        if layout.domain_size > 1 && !storm && layout.domain_size <= layout.margin() && rng.chance(50) {
            let domain = rng.index(layout.backends / layout.domain_size);
            let ill = (0..layout.domain_size).map(|i| domain * layout.domain_size + i).collect();
            return Self { ill, storm };
        }
        let count = 1 + rng.index(most.max(1));
        Self { ill: rng.some_of(layout.backends, count.min(most)), storm }
    }
}

const MINUTE_MS: u64 = 60_000;

impl Step {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let which = rng.index(64);
        match rng.below(100) {
            0..62 => {
                let count = if rng.chance(55) { 1 } else { 2 + rng.below(4) };
                Self::Ops((0..count).map(|_| (rng.below(40), Op::draw(rng))).collect())
            }
            62..72 => {
                let faults: &[Fault] = if rng.chance(60) { &Fault::HONEST } else { &Fault::LYING };
                Self::Fault { which, fault: rng.pick(faults) }
            }
            72..77 => Self::Mend { which },
            77..84 => {
                use Damage::*;
                let damage =
                    rng.pick(&[Flip, Flip, FlipHead, Truncate, Lose, Lose, Swap, RollBack, RollBack, Empty, Foreign]);
                Self::Damage { which, damage }
            }
            84..86 => Self::Remember { which },
            86..88 => {
                let ms = rng.pick(&[-7_200_000, -60_000, 1_000, 120_000, 1_200_000, 7_200_000]);
                Self::Jump { ms }
            }
            88..92 => Self::Pass { ms: rng.pick(&[1_000, 30_000, 5 * MINUTE_MS, 15 * MINUTE_MS]) },
            92..96 => Self::Fuse { calls: 1 + rng.below(60), end: End::draw(rng) },
            _ => Self::Restart { end: if rng.chance(40) { End::Closed } else { End::draw(rng) } },
        }
    }
}

impl End {
    fn draw(rng: &mut Rng) -> Self {
        rng.pick(&[Self::Killed, Self::PowerCut, Self::PowerCut, Self::CatalogLost])
    }
}

impl Op {
    fn draw(rng: &mut Rng) -> Self {
        // Few keys, so that things meet.
        let key = rng.index(KEYS);
        let len = rng.pick(&[0, 1, 90, 299, 301, 700, 1500, 2600, 5000]);
        match rng.below(100) {
            0..32 => {
                let condition = match rng.below(10) {
                    0..6 => Condition::None,
                    6..8 => Condition::Absent,
                    _ => Condition::Unchanged,
                };
                Self::Put { key, len, condition, other_scheme: rng.chance(20) }
            }
            32..38 => {
                let parts = (0..1 + rng.below(3)).map(|_| rng.pick(&[1, 400, 2100])).collect();
                Self::Multipart { key, parts, abort: rng.chance(20) }
            }
            38..46 => Self::Copy { from: key, to: rng.index(KEYS) },
            46..60 => Self::Delete { key },
            60..63 => Self::DeleteVersion { key: LAST_KEYS + rng.index(KEYS - LAST_KEYS), pick: rng.index(64) },
            63..66 => Self::Move(Moving::draw(rng)),
            66..77 => {
                let range = rng.chance(40).then(|| (rng.below(1000), rng.below(1000)));
                Self::Get { key, range: range.map(|(a, b)| (a.min(b), a.max(b))) }
            }
            77..80 => Self::GetVersion { key: LAST_KEYS + rng.index(KEYS - LAST_KEYS), pick: rng.index(64) },
            80..83 => Self::List,
            83..86 => Self::Check(rng.pick(&[Depth::Inventory, Depth::Sample, Depth::Full])),
            86..90 => Self::Repair(rng.pick(&[Depth::Inventory, Depth::Full])),
            90..95 => Self::Sweep,
            95..96 => Self::Drill,
            96..98 => Self::Rebuild,
            _ => Self::Verify,
        }
    }
}
