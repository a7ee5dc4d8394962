//! What a history dwells on. Most are about everything; some are made of what is rare there: writes beside moves, deletions
//! that a backend has missed.

use super::history::{Condition, Damage, End, Illness, KEYS, LAST_KEYS, Layout, Op, Step};
use super::moving::Moving;
use super::rng::Rng;
use super::world::Fault;
use crate::Depth;

/// What a history dwells on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Theme {
    /// Everything.
    All,
    /// Writes while shards are moved.
    Moves,
    /// Deletions that a backend has missed, sweeps while it is away, and lost catalogs.
    Absences,
}

impl Theme {
    /// Of ten seeds in a row eight are about everything.
    pub fn of(seed: u64) -> Self {
        match seed % 10 {
            4 => Self::Moves,
            9 => Self::Absences,
            _ => Self::All,
        }
    }

    /// k, m, backends, and backends of a domain.
    pub fn shapes(self) -> &'static [(usize, usize, usize, usize)] {
        match self {
            Self::All => &[
                (2, 1, 3, 1),
                (2, 1, 5, 1),
                (4, 2, 6, 1),
                (3, 2, 7, 1),
                (1, 2, 3, 1),
                (1, 3, 4, 1),
                (2, 4, 6, 1),
                (2, 2, 4, 1),
                (3, 2, 6, 2),
                (4, 2, 8, 2),
                (4, 3, 9, 3),
            ],
            // There is room to move to.
            Self::Moves => &[(2, 1, 5, 1), (3, 2, 7, 1), (1, 2, 5, 1), (2, 2, 6, 1)],
            // What few backends show is believed, and a deletion that some have missed is acknowledged.
            Self::Absences => &[(1, 1, 4, 1), (1, 2, 5, 1), (2, 2, 7, 1), (2, 2, 4, 1), (2, 2, 4, 1)],
        }
    }

    /// Who is ill.
    pub fn illness(self, rng: &mut Rng, layout: &Layout) -> Illness {
        match self {
            Self::All => Illness::draw(rng, layout),
            Self::Moves | Self::Absences => {
                let most = layout.margin().max(1);
                let count = if rng.chance(50) { most } else { 1 + rng.index(most) };
                Illness { ill: rng.some_of(layout.backends, count), storm: false }
            }
        }
    }

    /// The steps of a phase.
    pub fn steps(self, rng: &mut Rng) -> Vec<Step> {
        let count = 6 + rng.below(14) as usize;
        let mut out = Vec::new();
        while out.len() < count {
            match self {
                Self::All => out.push(Step::draw(rng)),
                Self::Moves => out.push(moves(rng)),
                Self::Absences => absence(rng, &mut out),
            }
        }
        out
    }

    /// What happens right after all was made whole.
    pub fn after_tend(self, rng: &mut Rng) -> Vec<Step> {
        if self != Self::Absences || rng.chance(20) {
            return Vec::new();
        }
        // What was repaired is all that is left.
        let away = (0..3).map(|which| Step::Fault { which, fault: Fault::Away });
        std::iter::once(Step::Restart { end: End::PowerCut }).chain(away).collect()
    }
}

/// A backend that is there and takes nothing misses writes too, and nobody compares it with the catalog for that.
const ABSENT: [Fault; 6] = [Fault::Away, Fault::Away, Fault::Full, Fault::Full, Fault::Denied, Fault::Flaky];
const QUARTER_MS: u64 = 15 * 60_000;

fn moves(rng: &mut Rng) -> Step {
    let which = rng.index(64);
    match rng.below(100) {
        0..90 => {
            let moving = if rng.chance(60) { Moving::Rebalance } else { Moving::draw(rng) };
            let mut ops = vec![(rng.below(20), Op::Move(moving))];
            ops.extend((0..1 + rng.below(6)).map(|_| (rng.below(300), write(rng))));
            Step::Ops(ops)
        }
        90..94 => Step::Fault { which, fault: rng.pick(&[Fault::Away, Fault::Slow, Fault::Full]) },
        94..97 => Step::Mend { which },
        _ => Step::Pass { ms: rng.pick(&[1_000, QUARTER_MS]) },
    }
}

/// A backend goes away and comes back; each thing that makes it interesting happens mostly.
fn absence(rng: &mut Rng, out: &mut Vec<Step>) {
    let which = rng.index(64);
    let few = |rng: &mut Rng, of: fn(&mut Rng) -> Op| {
        let count = 1 + rng.below(3);
        Step::Ops((0..count).map(|_| (rng.below(40), of(rng))).collect())
    };
    out.push(few(rng, write));
    if rng.chance(20) {
        out.push(Step::Damage { which, damage: rng.pick(&[Damage::Lose, Damage::Empty]) });
    }
    out.push(Step::Fault { which, fault: rng.pick(&ABSENT) });
    out.push(few(rng, |rng| match rng.below(10) {
        0..5 => Op::Delete { key: rng.index(KEYS) },
        5 => Op::DeleteVersion { key: LAST_KEYS + rng.index(KEYS - LAST_KEYS), pick: rng.index(64) },
        _ => write(rng),
    }));
    if rng.chance(50) {
        out.push(few(rng, write));
    }
    if rng.chance(75) {
        let end = rng.pick(&[End::Closed, End::Killed, End::PowerCut, End::CatalogLost, End::CatalogLost]);
        out.push(Step::Restart { end });
    }
    if rng.chance(75) {
        out.push(Step::Pass { ms: QUARTER_MS });
    }
    for _ in 0..rng.below(3) {
        out.push(few(rng, |rng| match rng.below(10) {
            0..7 => Op::Sweep,
            7 => Op::Rebuild,
            8 => Op::Repair(Depth::Inventory),
            _ => write(rng),
        }));
    }
    if rng.chance(75) {
        out.push(Step::Mend { which });
        out.push(Step::Pass { ms: rng.pick(&[1_000, 30_000, QUARTER_MS]) });
    }
    out.push(few(rng, write));
}

fn write(rng: &mut Rng) -> Op {
    let key = rng.index(KEYS);
    let len = rng.pick(&[90, 90, 299, 301, 700, 2600, 5000]);
    match rng.below(10) {
        0..7 => Op::Put { key, len, condition: Condition::None, other_scheme: rng.chance(20) },
        7 => Op::Multipart { key, parts: vec![400, rng.pick(&[1, 2100])], abort: false },
        8 => Op::Copy { from: key, to: rng.index(KEYS) },
        _ => Op::Delete { key },
    }
}
