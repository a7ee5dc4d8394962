use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn the_limits_come_from_its_own_times_and_stay_within_their_bounds() {
    let health = Health::default();
    let Bounds { hedge, straggler } = Bounds::default();
    assert_eq!((health.limit(Op::Read), health.limit(Op::SmallWrite)), (hedge.1, straggler.1), "nothing is known");
    for _ in 0..FEW {
        health.succeeded(Op::Read, Some(ms(100)));
        health.succeeded(Op::SmallWrite, Some(ms(1)));
        health.succeeded(Op::LargeWrite, Some(ms(1000)));
    }
    let read = health.limit(Op::Read);
    assert!((ms(200)..ms(230)).contains(&read), "{read:?}");
    assert_eq!(health.limit(Op::SmallWrite), straggler.0);
    assert_eq!(health.limit(Op::LargeWrite), straggler.1);
    assert_eq!((Op::write(300 << 10), Op::write(0)), (Op::LargeWrite, Op::SmallWrite));
}

#[tokio::test(start_paused = true)]
async fn reading_and_writing_fall_ill_each_for_itself() {
    let health = Health::default();
    health.failed(Op::SmallWrite, ErrorClass::Full, "no room");
    assert!(health.is_suspect(Op::LargeWrite) && !health.is_suspect(Op::Read));
    assert!(health.admits(Op::SmallWrite), "one failure does not open the breaker");
    health.succeeded(Op::Read, Some(ms(1)));
    assert!(health.is_suspect(Op::SmallWrite), "that it can be read says nothing of writing");
    for _ in 1..FAILURES_THAT_OPEN {
        health.failed(Op::SmallWrite, ErrorClass::Full, "no room");
    }
    assert!(!health.admits(Op::SmallWrite));
    let seen = health.snapshot();
    assert_eq!((seen.write_breaker, seen.read_breaker), (BreakerState::Open, BreakerState::Closed));
    assert_eq!(seen.errors, BTreeMap::from([(ErrorClass::Full, 3)]));
    assert!(!health.answers() && health.is_ill());
    health.recovered();
    assert!(health.answers() && health.admits(Op::SmallWrite), "it showed its marker: a trial at once");
    assert!(!health.admits(Op::SmallWrite), "one");
    health.failed(Op::SmallWrite, ErrorClass::Full, "no room");
    tokio::time::advance(ms(1500)).await;
    assert!(!health.admits(Op::SmallWrite), "twice as long");
    tokio::time::advance(ms(1500)).await;
    assert!(health.admits(Op::SmallWrite));
    health.succeeded(Op::SmallWrite, Some(ms(3)));
    assert!(!health.is_ill());
}

#[tokio::test(start_paused = true)]
async fn one_that_was_too_slow_is_left_alone_until_a_trial_is_quick() {
    let health = Health::default();
    let told: Arc<Mutex<Vec<EventKind>>> = Arc::default();
    let tell = told.clone();
    health.listen(Arc::new(move |kind, _| lock(&tell).push(kind)));
    health.gave_up(Op::Read, ms(500), "too slow");
    assert!(health.is_suspect(Op::Read) && health.answers());
    health.recovered();
    assert!(!health.admits(Op::Read), "it never was that it did not answer");
    tokio::time::advance(ms(1000)).await;
    assert!(health.admits(Op::Read));
    health.succeeded(Op::Read, Some(ms(501)));
    assert!(!health.admits(Op::Read), "the trial was too slow as well");
    tokio::time::advance(ms(2000)).await;
    health.succeeded(Op::Read, Some(ms(5)));
    assert!(!health.is_suspect(Op::Read));
    let all = [EventKind::BreakerOpened, EventKind::BreakerTried, EventKind::BreakerOpened, EventKind::BreakerClosed];
    assert_eq!(*lock(&told), all);
}

#[tokio::test(start_paused = true)]
async fn slow_is_what_takes_longer_than_was_usual_and_what_stays_so_is_taken_as_it_is_in_the_end() {
    let health = Health::default();
    for _ in 0..100 {
        health.succeeded(Op::SmallWrite, Some(ms(10)));
    }
    let usual = health.limit(Op::SmallWrite);
    assert_eq!(usual, Bounds::default().straggler.0);
    health.gave_up(Op::SmallWrite, usual, "too slow");
    let mut trials = 0;
    for _ in 0..3600 {
        tokio::time::advance(ms(1000)).await;
        if health.takes_trial(Op::SmallWrite) {
            trials += 1;
            health.succeeded(Op::SmallWrite, Some(ms(300)));
        }
        if !health.is_suspect(Op::SmallWrite) {
            break;
        }
        assert!(health.limit(Op::SmallWrite) == usual || trials > 9, "its limit does not grow with its slowness");
    }
    assert!(!health.is_suspect(Op::SmallWrite), "after a quarter of an hour it is what it is");
    assert!((9..14).contains(&trials), "{trials}");
    assert!(health.limit(Op::SmallWrite) > usual);
}
