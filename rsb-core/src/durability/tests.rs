use std::sync::Arc;

use object_store::memory::InMemory;

use super::*;

/// The mean years to loss of n shards that fail and are rebuilt each by itself: the closed form of the birth-death chain
/// with its end at m + 1 lost (Karlin and Taylor, A First Course in Stochastic Processes, chapter 4).
fn years_to_loss(n: usize, m: usize, fail: f64, repair: f64) -> f64 {
    let birth = |i: usize| (n - i) as f64 * fail;
    let death = |i: usize| i as f64 * repair;
    (0..=m)
        .map(|i| (0..=i).map(|j| (j + 1..=i).map(|l| death(l) / birth(l)).product::<f64>() / birth(j)).sum::<f64>())
        .sum()
}

fn independent(n: usize, m: usize, fail: f64, repair: f64) -> Model {
    let spots = (0..n).map(|domain| Spot { rate: fail, domain }).collect();
    Model { spots, domains: n, m, domain_rate: 0.0, rot_rate: 0.0, repair_rate: repair, rot_repair_rate: repair }
}

#[test]
fn it_agrees_with_the_closed_form_down_to_the_rarest() {
    // From what happens every few years to what no plain simulation would ever see.
    for (n, m, fail, hours) in
        [(1, 0, 0.5, 24.0), (3, 1, 0.5, 700.0), (6, 2, 0.0157, 24.0), (13, 3, 0.0157, 24.0), (14, 4, 0.01, 12.0)]
    {
        let repair = HOURS_A_YEAR / hours;
        let expected = 1.0 / years_to_loss(n, m, fail, repair);
        let chance = independent(n, m, fail, repair).chance(&Assumptions { cycles: 50_000, ..Assumptions::default() });
        let expected = -(-expected).exp_m1();
        let off = (chance.per_year / expected - 1.0).abs();
        assert!(off < 0.05, "{n} shards, {m} may be lost: {chance:?}, and {expected:e} by the closed form");
        assert!((chance.high - chance.low) / chance.per_year < 0.3, "{chance:?}");
    }
}

#[test]
fn it_reaches_eleven_nines() {
    let chance = independent(13, 4, 0.0157, HOURS_A_YEAR / 12.0).chance(&Assumptions::default());
    assert!(chance.per_year < 1e-10 && chance.low > 0.0, "{chance:?}");
}

#[test]
fn a_domain_of_one_shard_is_one_more_rate_and_one_of_more_than_m_is_the_end() {
    let mut single = independent(6, 2, 0.01, 365.0);
    single.domain_rate = 0.005;
    let a = Assumptions::default();
    let expected = 1.0 / years_to_loss(6, 2, 0.015, 365.0);
    let off = single.chance(&a).per_year / expected - 1.0;
    assert!(off.abs() < 0.05, "{off}");
    let mut crowded = single.clone();
    crowded.spots[..3].iter_mut().for_each(|spot| spot.domain = 0);
    let chance = crowded.chance(&a).per_year;
    assert!((chance / 0.005 - 1.0).abs() < 0.1, "the loss of one domain is the loss of all: {chance}");
}

#[test]
fn rot_is_a_rate_of_its_own_with_a_repair_of_its_own() {
    let mut rotting = independent(4, 1, 0.0, 365.0);
    (rotting.rot_rate, rotting.rot_repair_rate) = (0.02, 24.0);
    let expected = 1.0 / years_to_loss(4, 1, 0.02, 24.0);
    let off = rotting.chance(&Assumptions::default()).per_year / expected - 1.0;
    assert!(off.abs() < 0.05, "{off}");
}

fn backends(domains: &[usize]) -> Vec<Backend> {
    let one = |domain: usize, i: usize| {
        let labels = BTreeMap::from([("provider".to_owned(), format!("p{domain}"))]);
        Backend::with(format!("p{domain}-{i}"), Arc::new(InMemory::new()), labels, Role::Active, Default::default())
    };
    domains.iter().enumerate().flat_map(|(domain, count)| (0..*count).map(move |i| one(domain, i))).collect()
}

#[test]
fn it_says_which_change_helps_most_and_the_same_seed_says_the_same() {
    let spread = Spread::Label("provider".into());
    let a = Assumptions { cycles: 50_000, ..Assumptions::default() };
    let judged = judge(&backends(&[2, 2, 2]), &spread, (4, 2), &a).unwrap();
    assert_eq!(judged.shards_by_domain.values().copied().collect::<Vec<_>>(), [2, 2, 2]);
    assert_eq!(judged.changes.len(), 4);
    assert!(judged.changes.is_sorted_by(|a, b| a.times_better >= b.times_better));
    assert!(judged.changes[0].times_better > 1.5, "{:?}", judged.changes);
    assert_eq!(judged, judge(&backends(&[2, 2, 2]), &spread, (4, 2), &a).unwrap());
    assert!(judge(&backends(&[2, 2]), &spread, (4, 2), &a).is_err());
    for wrong in [
        Assumptions { repair_hours: 0.0, ..a.clone() },
        Assumptions { backend_losses_per_year: f64::NAN, ..a.clone() },
        Assumptions { domain_losses_per_year: -1.0, ..a.clone() },
    ] {
        assert_eq!(
            judge(&backends(&[2, 2, 2]), &spread, (4, 2), &wrong).unwrap_err().kind(),
            crate::ErrorKind::Invalid
        );
    }
}
