//! Deleting several objects: those that failed are asked for again, by themselves.

use futures::{StreamExt, stream};
use object_store::path::Path;
use object_store::{Error, ObjectStore, Result};
use tokio::time::Instant;

use super::Retry;
use crate::wrappers::class::classify;
use crate::wrappers::trouble::Trouble;

/// Deletes the paths of one chunk. One answer for each, in their order.
pub(super) async fn chunk(retry: Retry, chunk: Vec<Result<Path>>) -> Vec<Result<Path>> {
    let mut answers: Vec<Option<Result<Path>>> = Vec::with_capacity(chunk.len());
    let mut left: Vec<(usize, Path)> = Vec::new();
    for (at, location) in chunk.into_iter().enumerate() {
        match location {
            Ok(path) => {
                left.push((at, path));
                answers.push(None);
            }
            Err(error) => answers.push(Some(Err(error))),
        }
    }
    let (began, mut tries) = (Instant::now(), 1);
    while !left.is_empty() {
        for ((at, path), answer) in left.iter().zip(answers_of(&retry, &left).await) {
            answers[*at] = Some(match answer {
                // The try before this one may have deleted it.
                Err(Error::NotFound { .. }) if tries > 1 => Ok(path.clone()),
                answer => answer,
            });
        }
        let temporary = |error: &Error| classify(error).is_temporary();
        left.retain(|(at, _)| matches!(&answers[*at], Some(Err(error)) if temporary(error)));
        if left.is_empty() {
            retry.policy.budget.success();
        } else if !retry.policy.pause(tries, began).await {
            break;
        }
        tries += 1;
    }
    answers.into_iter().flatten().collect()
}

/// One answer for each of `left`, in order: stores answer in the order they are asked, but a request that fails as a whole
/// ends their answers early, and then the paths it leaves out share its fate.
async fn answers_of(retry: &Retry, left: &[(usize, Path)]) -> Vec<Result<Path>> {
    let locations: Vec<Result<Path>> = left.iter().map(|(_, path)| Ok(path.clone())).collect();
    let mut answers: Vec<Result<Path>> = retry.inner.delete_stream(stream::iter(locations).boxed()).collect().await;
    let ended_by_temporary = matches!(answers.last(), Some(Err(error)) if classify(error).is_temporary());
    while answers.len() < left.len() {
        answers.push(Err(match ended_by_temporary {
            true => Trouble::Unanswered.into(),
            false => Error::Generic { store: "backend", source: "the delete request failed as a whole".into() },
        }));
    }
    answers
}
