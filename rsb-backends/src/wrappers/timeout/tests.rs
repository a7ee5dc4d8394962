use super::*;
use crate::wrappers::{Action, ErrorClass, Fault, FaultHandle, Rule, classify};
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::{Error, ObjectStoreExt};
use tokio::time::Instant;

fn store() -> (Timeout, FaultHandle) {
    let (faulty, faults) = Fault::around(Arc::new(InMemory::new()));
    (Timeout::new(faulty, Timeouts::default()), faults)
}

fn is_timeout(error: &Error) -> bool {
    classify(error) == ErrorClass::Timeout
}

#[tokio::test(start_paused = true)]
async fn every_operation_on_a_hung_backend_ends() {
    let (store, faults) = store();
    let (x, y) = (Path::from("x"), Path::from("y"));
    store.put(&x, "1".into()).await.unwrap();
    let mut upload = store.put_multipart(&y).await.unwrap();
    faults.add(Rule::new(Action::Hang));
    let began = Instant::now();
    let errors = [
        store.put(&x, "1".into()).await.unwrap_err(),
        store.get(&x).await.unwrap_err(),
        store.head(&x).await.unwrap_err(),
        store.get_ranges(&x, std::slice::from_ref(&(0..1))).await.unwrap_err(),
        store.delete(&x).await.unwrap_err(),
        store.list(None).try_next().await.unwrap_err(),
        store.list_with_offset(None, &x).try_next().await.unwrap_err(),
        store.list_with_delimiter(None).await.unwrap_err(),
        store.put_multipart(&y).await.unwrap_err(),
        upload.put_part("1".into()).await.unwrap_err(),
        upload.abort().await.unwrap_err(),
    ];
    let limit = Timeouts::default().answer;
    assert!(began.elapsed() < limit * (errors.len() as u32 + 1), "{:?}", began.elapsed());
    assert!(errors.iter().all(is_timeout), "{errors:?}");
    for error in [
        store.copy(&x, &y).await.unwrap_err(),
        store.rename(&x, &y).await.unwrap_err(),
        upload.complete().await.unwrap_err(),
    ] {
        assert!(is_timeout(&error), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_is_an_error_and_a_slow_reader_is_not() {
    let pieces = |pause: u64| {
        stream::iter(["a", "b", "c"])
            .then(move |piece| async move {
                tokio::time::sleep(Duration::from_secs(pause)).await;
                Ok::<_, Error>(Bytes::from(piece))
            })
            .boxed()
    };
    let limit = Duration::from_secs(8);
    let items: Vec<_> = flowing(pieces(7), limit, Op::Get).collect().await;
    assert!(items.len() == 3 && items.iter().all(Result::is_ok));
    let items: Vec<_> = flowing(pieces(9), limit, Op::Get).collect().await;
    assert!(items.len() == 1 && is_timeout(items[0].as_ref().unwrap_err()), "{items:?}");

    let mut body = flowing(pieces(1), limit, Op::Get);
    while let Some(piece) = body.next().await {
        piece.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_write_has_more_time_than_a_small_one() {
    let (store, faults) = store();
    faults.add(Rule::new(Action::Delay(Duration::from_secs(20))));
    assert!(is_timeout(&store.put(&Path::from("x"), "1".into()).await.unwrap_err()));
    store.put(&Path::from("x"), vec![0; 8 << 20].into()).await.unwrap();
}
