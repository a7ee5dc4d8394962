//! Which shards of a piece are read first.

use std::collections::BTreeSet;
use std::time::Duration;

use super::piece::Piece;
use crate::core::Core;
use crate::files::Fault;
use crate::health::Op;

/// A backend is slow when it takes so many times as long as is usual, and more than [`NOTICED`] longer.
const SLOW_FACTOR: u32 = 4;
const NOTICED: Duration = Duration::from_millis(20);

/// What went wrong with a shard on the way.
#[derive(Clone, Debug)]
pub(crate) struct ShardFault {
    pub index: usize,
    pub backend: String,
    pub fault: Fault,
}

/// The shards of a piece in the order in which they are asked.
pub(super) struct Ranking {
    /// Best first.
    pub candidates: Vec<usize>,
    /// Those on backends that nothing is known against.
    pub well: BTreeSet<usize>,
    /// Those whose backends are away.
    pub faults: Vec<ShardFault>,
}

/// How good a shard is to read: the least is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    suspect: bool,
    slow: bool,
    parity: bool,
    price: u64,
    latency: Duration,
    index: usize,
}

/// Orders the shards: well ones before ill and slow ones, data before parity (no decode), then by price and latency.
/// `avoid` names backends to leave out.
pub(super) fn rank(core: &Core, piece: &Piece, avoid: &[String]) -> Ranking {
    let (mut ranks, mut faults) = (Vec::new(), Vec::new());
    for (index, at) in piece.shards.iter().enumerate() {
        let Some(at) = at else { continue };
        match core.admitted(&at.backend).filter(|b| !avoid.iter().any(|a| a == b.name())) {
            Some(backend) => ranks.push(Rank {
                suspect: backend.health().is_suspect(Op::Read),
                slow: false,
                parity: index >= piece.scheme.k(),
                price: (backend.cost().egress_per_gb * 1e6) as u64,
                latency: backend.health().latency(),
                index,
            }),
            None => faults.push(ShardFault {
                index,
                backend: at.backend.clone(),
                fault: Fault::unreachable("its backend is not reachable, or not in the config"),
            }),
        }
    }
    tell_slow_ones(&mut ranks);
    ranks.sort();
    Ranking {
        well: ranks.iter().filter(|r| !r.suspect && !r.slow).map(|r| r.index).collect(),
        candidates: ranks.into_iter().map(|r| r.index).collect(),
        faults,
    }
}

/// A decode costs less than the wait for a slow backend; but one that is cheaper than others was chosen for that.
fn tell_slow_ones(ranks: &mut [Rank]) {
    let well = ranks.iter().filter(|r| !r.suspect);
    let dearest = well.clone().map(|r| r.price).max().unwrap_or_default();
    let mut latencies: Vec<Duration> = well.map(|r| r.latency).collect();
    latencies.sort();
    let usual = latencies.get(latencies.len() / 2).copied().unwrap_or_default();
    for rank in ranks {
        rank.slow = rank.price >= dearest && rank.latency > usual * SLOW_FACTOR + NOTICED;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_backend_is_asked_last_unless_it_is_the_cheaper_one() {
        let ms = Duration::from_millis;
        let ranks = |slow_price: u64| {
            let one = |index: usize, latency, price| Rank {
                suspect: false,
                slow: false,
                parity: index >= 2,
                price,
                latency,
                index,
            };
            let mut ranks = vec![one(0, ms(300), slow_price), one(1, ms(10), 9), one(2, ms(12), 9), one(3, ms(8), 9)];
            tell_slow_ones(&mut ranks);
            ranks.sort();
            ranks.iter().map(|r| r.index).collect::<Vec<_>>()
        };
        assert_eq!(ranks(9), [1, 3, 2, 0]);
        assert_eq!(ranks(1), [0, 1, 3, 2]);
    }
}
