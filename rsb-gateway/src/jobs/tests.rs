use super::*;
use std::time::Duration;

fn order(work: Work) -> Order {
    Order { kind: "test", request: Value::Null, right: Right::Read, bucket: None, work, moves: None }
}

fn at_once() -> Order {
    order(Box::new(|_| Box::pin(async { Ok(Value::from(7)) })))
}

fn until_cancelled() -> Order {
    order(Box::new(|progress| {
        Box::pin(async move {
            loop {
                progress.check()?;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
    }))
}

#[tokio::test]
async fn a_job_ends_with_its_result() {
    let jobs = Jobs::new(2, 2);
    let job = jobs.start(&Env::system(), at_once()).unwrap();
    job.ended().await;
    let view = job.view();
    assert_eq!((view.state, view.result), (State::Done, Some(Value::from(7))));
    assert!(view.ended.is_some());
}

#[tokio::test]
async fn too_many_are_refused_and_a_cancelled_one_makes_room() {
    let jobs = Jobs::new(1, 2);
    let first = jobs.start(&Env::system(), until_cancelled()).unwrap();
    assert!(jobs.start(&Env::system(), at_once()).is_err());
    first.cancel();
    first.ended().await;
    assert_eq!(first.view().state, State::Cancelled);
    jobs.start(&Env::system(), at_once()).unwrap();
}

#[tokio::test]
async fn only_so_many_ended_ones_are_remembered() {
    let jobs = Jobs::new(1, 2);
    for _ in 0..5 {
        jobs.start(&Env::system(), at_once()).unwrap().ended().await;
    }
    assert!(jobs.all().len() <= 3);
    let ids: Vec<String> = jobs.all().iter().map(|job| job.view().id).collect();
    assert!(ids.is_sorted_by(|a, b| a > b), "newest first");
}

#[tokio::test]
async fn a_panic_in_the_work_fails_the_job() {
    let jobs = Jobs::new(1, 2);
    let job = jobs.start(&Env::system(), order(Box::new(|_| Box::pin(async { panic!("a fault") })))).unwrap();
    job.ended().await;
    assert_eq!(job.view().state, State::Failed);
}
