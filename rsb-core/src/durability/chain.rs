//! The chain of losses and rebuilds, watched in biased cycles.

use super::{Assumptions, Chance};

/// So many of a cycle's steps are failures, once something has failed.
const BIAS: f64 = 0.5;
/// Cycles watched without bias for how long one is.
const PLAIN_CYCLES: u64 = 2_000;

/// Where each shard lies: its own loss rate (a year), and its domain.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub rate: f64,
    pub domain: usize,
}

/// What can fail, and what is lost at most.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub spots: Vec<Spot>,
    pub domains: usize,
    pub m: usize,
    pub domain_rate: f64,
    pub rot_rate: f64,
    /// Rebuilds of a shard, and findings and rebuilds of rot, a year.
    pub repair_rate: f64,
    pub rot_repair_rate: f64,
}

/// What happens next in a chain.
#[derive(Clone, Copy)]
enum Event {
    Lose(usize),
    Rot(usize),
    LoseDomain(usize),
    Rebuild(usize),
}

/// A shard's state.
#[derive(Clone, Copy, PartialEq)]
enum Shard {
    Whole,
    Lost,
    Rotten,
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): enough for a simulation, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Model {
    /// All that can happen in a state, with its rate: failures first, and how many of them there are.
    fn events(&self, shards: &[Shard], out: &mut Vec<(Event, f64)>) -> usize {
        out.clear();
        for (i, spot) in self.spots.iter().enumerate().filter(|(i, _)| shards[*i] == Shard::Whole) {
            out.extend((spot.rate > 0.0).then_some((Event::Lose(i), spot.rate)));
            out.extend((self.rot_rate > 0.0).then_some((Event::Rot(i), self.rot_rate)));
        }
        for domain in 0..self.domains {
            let alive = self.spots.iter().zip(shards).any(|(spot, s)| spot.domain == domain && *s == Shard::Whole);
            out.extend((alive && self.domain_rate > 0.0).then_some((Event::LoseDomain(domain), self.domain_rate)));
        }
        let failures = out.len();
        for (i, shard) in shards.iter().enumerate() {
            match shard {
                Shard::Whole => {}
                Shard::Lost => out.push((Event::Rebuild(i), self.repair_rate)),
                Shard::Rotten => out.push((Event::Rebuild(i), self.rot_repair_rate)),
            }
        }
        failures
    }

    fn apply(&self, shards: &mut [Shard], event: Event) {
        match event {
            Event::Lose(i) => shards[i] = Shard::Lost,
            Event::Rot(i) => shards[i] = Shard::Rotten,
            Event::Rebuild(i) => shards[i] = Shard::Whole,
            Event::LoseDomain(domain) => {
                let hit = self.spots.iter().enumerate().filter(|(_, spot)| spot.domain == domain);
                hit.for_each(|(i, _)| shards[i] = Shard::Lost);
            }
        }
    }

    fn is_lost(&self, shards: &[Shard]) -> bool {
        shards.iter().filter(|s| **s != Shard::Whole).count() > self.m
    }

    /// The weight of one biased cycle if it ends in loss, else 0.
    fn weigh(&self, random: &mut Random, events: &mut Vec<(Event, f64)>) -> f64 {
        let mut shards = vec![Shard::Whole; self.spots.len()];
        let mut weight = 1.0;
        loop {
            let failures = self.events(&shards, events);
            let total: f64 = events.iter().map(|(_, rate)| rate).sum();
            let repairs: f64 = events[failures..].iter().map(|(_, rate)| rate).sum();
            let bias = if failures == events.len() { 1.0 } else { BIAS };
            let (event, rate, drawn) = if failures > 0 && random.next() < bias {
                let (event, rate) = events[(random.next() * failures as f64) as usize];
                (event, rate, bias / failures as f64)
            } else {
                let (event, rate) = pick(&events[failures..], random.next() * repairs);
                (event, rate, (1.0 - bias) * rate / repairs)
            };
            weight *= rate / total / drawn;
            self.apply(&mut shards, event);
            if self.is_lost(&shards) {
                return weight;
            }
            if shards.iter().all(|s| *s == Shard::Whole) {
                return 0.0;
            }
        }
    }

    /// Years of one cycle as it is, up to its loss if it comes to that: means of the times between events.
    fn cycle_years(&self, random: &mut Random, events: &mut Vec<(Event, f64)>) -> f64 {
        let mut shards = vec![Shard::Whole; self.spots.len()];
        let mut years = 0.0;
        loop {
            self.events(&shards, events);
            let total: f64 = events.iter().map(|(_, rate)| rate).sum();
            years += 1.0 / total;
            let (event, _) = pick(events, random.next() * total);
            self.apply(&mut shards, event);
            if self.is_lost(&shards) || shards.iter().all(|s| *s == Shard::Whole) {
                return years;
            }
        }
    }

    /// The chance of a loss within a year.
    pub fn chance(&self, a: &Assumptions) -> Chance {
        let (mut random, mut events) = (Random(a.seed), Vec::new());
        let plain: f64 = (0..PLAIN_CYCLES).map(|_| self.cycle_years(&mut random, &mut events)).sum();
        let cycle = plain / PLAIN_CYCLES as f64;
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..a.cycles {
            let weight = self.weigh(&mut random, &mut events);
            sum += weight;
            squares += weight * weight;
        }
        let count = a.cycles as f64;
        let mean = sum / count;
        let error = 1.96 * ((squares / count - mean * mean).max(0.0) / count).sqrt();
        let per_year = |loss: f64| -(-loss.max(0.0) / cycle).exp_m1();
        Chance { per_year: per_year(mean), low: per_year(mean - error), high: per_year(mean + error) }
    }
}

fn pick(events: &[(Event, f64)], mut at: f64) -> (Event, f64) {
    for (event, rate) in events {
        if at < *rate {
            return (*event, *rate);
        }
        at -= rate;
    }
    // Rounding may lead a hair past the last one.
    events[events.len() - 1]
}
