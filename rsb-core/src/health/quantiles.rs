//! Quantiles of recent times in fixed memory: a histogram whose buckets grow by an eighth of an octave (a reading is off by
//! at most 9 %), and which halves all its counts when it is full, so that the old fades.

use std::time::Duration;

/// Buckets to an octave.
const PER_OCTAVE: u32 = 8;
/// 16 µs to 134 s.
const FIRST_OCTAVE: u32 = 4;
const OCTAVES: u32 = 23;
const BUCKETS: usize = (OCTAVES * PER_OCTAVE) as usize;
/// So many observations are remembered in full.
const FULL: u32 = 512;

/// A histogram of recent times.
#[derive(Clone, Debug)]
pub(super) struct Quantiles {
    counts: [u16; BUCKETS],
    total: u32,
}

impl Default for Quantiles {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], total: 0 }
    }
}

impl Quantiles {
    pub fn add(&mut self, time: Duration) {
        self.counts[bucket_of(time)] += 1;
        self.total += 1;
        if self.total >= FULL {
            self.total = 0;
            for count in &mut self.counts {
                *count /= 2;
                self.total += u32::from(*count);
            }
        }
    }

    /// Observations that count now.
    pub fn samples(&self) -> u32 {
        self.total
    }

    /// The least time that `share` (0 to 1) of the observations do not exceed; `None` without any.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = ((f64::from(self.total) * share).ceil() as u32).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += u32::from(*count);
            if seen >= wanted {
                return Some(top_of(bucket));
            }
        }
        None
    }
}

fn bucket_of(time: Duration) -> usize {
    let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1 << FIRST_OCTAVE);
    let octave = us.ilog2();
    let step = ((us - (1 << octave)) * u64::from(PER_OCTAVE)) >> octave;
    let bucket = u64::from((octave - FIRST_OCTAVE) * PER_OCTAVE) + step;
    usize::try_from(bucket).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The upper end of a bucket.
fn top_of(bucket: usize) -> Duration {
    let (octave, step) = (bucket as u32 / PER_OCTAVE + FIRST_OCTAVE, bucket as u64 % u64::from(PER_OCTAVE));
    Duration::from_micros((1u64 << octave) + (((step + 1) << octave) / u64::from(PER_OCTAVE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_never_below_the_truth_and_at_most_an_eighth_above() {
        for us in [16u64, 17, 100, 999, 12_345, 1_000_000, 99_999_999] {
            let mut one = Quantiles::default();
            one.add(Duration::from_micros(us));
            let read = one.quantile(0.5).unwrap().as_micros() as u64;
            assert!(read >= us && read <= us + us / 8 + 1, "{us} µs is read as {read} µs");
        }
    }

    #[test]
    fn the_quantiles_of_many_are_where_they_should_be_and_the_old_fades() {
        let mut times = Quantiles::default();
        assert_eq!(times.quantile(0.95), None);
        for ms in 1..=100 {
            times.add(Duration::from_millis(ms));
        }
        let p95 = times.quantile(0.95).unwrap();
        assert!((95..=107).contains(&p95.as_millis()), "{p95:?}");
        for _ in 0..2000 {
            times.add(Duration::from_millis(1000));
        }
        assert!(times.quantile(0.05).unwrap() >= Duration::from_millis(1000));
        assert!(times.samples() < FULL);
        times.add(Duration::from_secs(100_000));
        times.add(Duration::ZERO);
    }
}
