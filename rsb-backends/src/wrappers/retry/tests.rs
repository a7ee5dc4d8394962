use super::*;
use crate::wrappers::{Action, Failure, Fault, FaultHandle, Op, Rule};
use object_store::Error;
use object_store::memory::InMemory;
use object_store::{ObjectStoreExt, PutMode};

fn store() -> (Retry, FaultHandle) {
    let (faulty, faults) = Fault::around(Arc::new(InMemory::new()));
    (Retry::new(faulty, RetryOptions::default(), Env::system()), faults)
}

fn fails(times: u64) -> Rule {
    Rule::new(Action::FailBefore(Failure::Server)).times(times)
}

#[tokio::test(start_paused = true)]
async fn temporary_failures_are_tried_again_and_others_are_not() {
    let (store, faults) = store();
    let key = Path::from("s/x");
    faults.add(fails(2).on([Op::Put]));
    store.put(&key, "1".into()).await.unwrap();
    assert_eq!(faults.count(Op::Put), 3);

    faults.add(fails(2).on([Op::Get]));
    assert_eq!(store.get(&key).await.unwrap().bytes().await.unwrap(), "1");

    faults.forget();
    for failure in [Failure::Full, Failure::Denied, Failure::NotFound] {
        faults.clear();
        faults.add(Rule::new(Action::FailBefore(failure)));
        store.put(&key, "1".into()).await.unwrap_err();
    }
    assert_eq!(faults.count(Op::Put), 3, "one try each");
}

#[tokio::test(start_paused = true)]
async fn it_gives_up_after_its_tries_and_soon() {
    let (store, faults) = store();
    faults.add(Rule::new(Action::FailBefore(Failure::Server)));
    let began = Instant::now();
    store.put(&Path::from("x"), "1".into()).await.unwrap_err();
    assert_eq!(faults.count(Op::Put), 3);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());

    let options = RetryOptions { window: Duration::from_millis(10), ..RetryOptions::default() };
    let hasty = Retry::new(store.inner.clone(), options, Env::system());
    faults.forget();
    hasty.put(&Path::from("x"), "1".into()).await.unwrap_err();
    assert_eq!(faults.count(Op::Put), 1, "no try begins after the window");
}

#[tokio::test(start_paused = true)]
async fn what_must_not_run_twice_is_not_repeated() {
    let (store, faults) = store();
    let key = Path::from("x");
    // It had its effect and was said to have failed: a second try would say "exists already" of our own write.
    faults.add(Rule::new(Action::FailAfter(Failure::Server)).times(1));
    let error = store.put_opts(&key, "1".into(), PutMode::Create.into()).await.unwrap_err();
    assert!(!matches!(error, Error::AlreadyExists { .. }), "{error}");
    assert_eq!(faults.count(Op::Put), 1);
    faults.add(fails(1).on([Op::Rename]));
    store.rename(&key, &Path::from("y")).await.unwrap_err();
    assert_eq!(faults.count(Op::Rename), 1);
}

#[tokio::test(start_paused = true)]
async fn an_outage_drains_the_budget_and_a_recovery_fills_it() {
    let (store, faults) = store();
    let key = Path::from("x");
    let outage = faults.add(Rule::new(Action::FailBefore(Failure::Server)));
    for _ in 0..100 {
        store.put(&key, "1".into()).await.unwrap_err();
    }
    assert_eq!(faults.count(Op::Put), 120, "100 operations and the budget's 20 retries");
    faults.remove(outage);
    for _ in 0..10 {
        store.put(&key, "1".into()).await.unwrap();
    }
    faults.add(fails(1));
    store.put(&key, "1".into()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_broken_body_goes_on_where_it_broke() {
    let (store, faults) = store();
    let (key, data) = (Path::from("x"), Bytes::from((0..=255).collect::<Vec<u8>>()));
    store.put(&key, data.clone().into()).await.unwrap();
    faults.add(Rule::new(Action::Break(100)).on([Op::Get]).times(1));
    faults.add(Rule::new(Action::Break(30)).on([Op::Get]).times(1));
    assert_eq!(store.get(&key).await.unwrap().bytes().await.unwrap(), data);
    assert_eq!(faults.count(Op::Get), 3);
    assert_eq!(store.get_range(&key, 10..20).await.unwrap(), data.slice(10..20));
}

#[tokio::test(start_paused = true)]
async fn a_broken_body_is_asked_for_again_while_there_are_tries() {
    let (store, faults) = store();
    let (key, data) = (Path::from("x"), Bytes::from(vec![7; 200]));
    store.put(&key, data.clone().into()).await.unwrap();
    faults.add(Rule::new(Action::Break(100)).on([Op::Get]).times(1));
    faults.add(fails(1).on([Op::Get]));
    assert_eq!(store.get(&key).await.unwrap().bytes().await.unwrap(), data);
    assert_eq!(faults.count(Op::Get), 3);
    faults.add(Rule::new(Action::Break(100)).on([Op::Get]).times(1));
    faults.add(fails(2).on([Op::Get]));
    store.get(&key).await.unwrap().bytes().await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_body_does_not_go_on_with_another_object() {
    let (store, faults) = store();
    let key = Path::from("x");
    store.put(&key, vec![1; 200].into()).await.unwrap();
    faults.add(Rule::new(Action::Break(100)).on([Op::Get]).times(1));
    let found = store.get(&key).await.unwrap();
    store.put(&key, vec![2; 200].into()).await.unwrap();
    found.bytes().await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn listings_begin_anew_while_they_have_given_nothing() {
    let (store, faults) = store();
    store.put(&Path::from("a/x"), "1".into()).await.unwrap();
    faults.add(fails(2).on([Op::List]));
    assert_eq!(store.list(None).count().await, 1);
    faults.add(Rule::new(Action::FailAfter(Failure::Server)).on([Op::List]).times(1));
    let items: Vec<_> = store.list_with_offset(None, &Path::from("a")).collect().await;
    assert!(items.len() == 2 && items[0].is_ok() && items[1].is_err(), "{items:?}");
    faults.add(fails(2).on([Op::ListWithDelimiter]));
    assert_eq!(store.list_with_delimiter(None).await.unwrap().common_prefixes.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn deletes_are_repeated_for_what_is_left() {
    let (store, faults) = store();
    let keys: Vec<Path> = (0..5).map(|i| Path::from(format!("k{i}"))).collect();
    for key in &keys {
        store.put(key, "1".into()).await.unwrap();
    }
    faults.add(fails(1).on([Op::Delete]).path(|path| path.as_ref() == "k2"));
    let locations = stream::iter(keys.clone()).map(Ok).boxed();
    let mut answers: Vec<Path> = store.delete_stream(locations).try_collect().await.unwrap();
    answers.sort();
    assert_eq!(answers, keys);
    assert_eq!(faults.count(Op::Delete), 6, "only k2 was asked again");
    assert_eq!(store.list(None).count().await, 0);
}
