use super::*;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use std::time::Duration;

fn store() -> (Arc<dyn ObjectStore>, FaultHandle) {
    Fault::around(Arc::new(InMemory::new()))
}

async fn read(store: &dyn ObjectStore, key: &str) -> Result<Bytes> {
    store.get(&Path::from(key)).await?.bytes().await
}

#[tokio::test]
async fn a_failure_before_has_no_effect_and_one_after_has_it() {
    let (store, faults) = store();
    let (a, b) = (Path::from("a"), Path::from("b"));
    faults.add(Rule::new(Action::FailBefore(Failure::Server)).times(1));
    store.put(&a, "1".into()).await.unwrap_err();
    store.head(&a).await.unwrap_err();
    faults.add(Rule::new(Action::FailAfter(Failure::Server)).on([Op::Put, Op::Delete]).times(2));
    store.put(&b, "1".into()).await.unwrap_err();
    assert_eq!(read(&*store, "b").await.unwrap(), "1");
    store.delete(&b).await.unwrap_err();
    store.head(&b).await.unwrap_err();
}

#[tokio::test]
async fn rules_choose_by_operation_path_and_count() {
    let (store, faults) = store();
    let rule = Rule::new(Action::FailBefore(Failure::Full)).on([Op::Put]).below("s").after(1).times(1);
    let id = faults.add(rule);
    store.put(&Path::from("m/1"), "1".into()).await.unwrap();
    store.put(&Path::from("s/1"), "1".into()).await.unwrap();
    store.put(&Path::from("s/2"), "1".into()).await.unwrap_err();
    store.put(&Path::from("s/3"), "1".into()).await.unwrap();
    faults.remove(id);
    assert_eq!(faults.count(Op::Put), 4);
    assert_eq!(faults.seen()[2], (Op::Put, Path::from("s/2")));
}

#[tokio::test]
async fn bits_flip_and_bodies_end_early_at_rest_and_on_the_way() {
    let (store, faults) = store();
    let key = Path::from("x");
    store.put(&key, vec![0; 4].into()).await.unwrap();
    faults.add(Rule::new(Action::FlipBit(9)).on([Op::Get]).times(1));
    assert_eq!(read(&*store, "x").await.unwrap(), vec![0, 2, 0, 0]);
    faults.add(Rule::new(Action::Truncate(3)).on([Op::Get]).times(1));
    assert_eq!(read(&*store, "x").await.unwrap().len(), 3);
    faults.add(Rule::new(Action::Break(3)).on([Op::Get]).times(1));
    read(&*store, "x").await.unwrap_err();
    assert_eq!(read(&*store, "x").await.unwrap(), vec![0; 4]);

    faults.add(Rule::new(Action::FlipBit(0)).on([Op::Put]).times(1));
    store.put(&key, vec![0; 2].into()).await.unwrap();
    assert_eq!(read(&*store, "x").await.unwrap(), vec![1, 0]);
    faults.add(Rule::new(Action::Truncate(1)).on([Op::PutPart]).times(1));
    let mut upload = store.put_multipart(&key).await.unwrap();
    upload.put_part(vec![7; 5].into()).await.unwrap();
    upload.put_part(vec![8; 2].into()).await.unwrap();
    upload.complete().await.unwrap();
    assert_eq!(read(&*store, "x").await.unwrap(), vec![7, 8, 8]);
}

#[tokio::test(start_paused = true)]
async fn delays_and_hangs() {
    let (store, faults) = store();
    let began = tokio::time::Instant::now();
    faults.add(Rule::new(Action::Delay(Duration::from_secs(3))).times(1));
    store.put(&Path::from("x"), "1".into()).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    faults.add(Rule::new(Action::Hang));
    let listing = async { store.list(None).next().await };
    tokio::time::timeout(Duration::from_secs(999), listing).await.unwrap_err();
    faults.clear();
    assert_eq!(store.list(None).count().await, 1);
}
