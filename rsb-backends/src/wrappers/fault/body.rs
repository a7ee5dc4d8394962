//! What a faulty store does to the bytes themselves.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{GetResult, GetResultPayload, PutPayload};

use super::script::{Action, Failure};

/// The bytes that are stored in place of `payload`.
pub(super) fn stored(payload: PutPayload, action: Option<Action>) -> PutPayload {
    match action {
        Some(action @ (Action::Truncate(_) | Action::FlipBit(_))) => damaged(Bytes::from(payload), action).into(),
        _ => payload,
    }
}

/// What is given back in place of `found`.
pub(super) fn given(found: GetResult, action: Action, path: &Path) -> GetResult {
    if !matches!(action, Action::Truncate(_) | Action::FlipBit(_) | Action::Break(_)) {
        return found;
    }
    let path = path.clone();
    let GetResult { payload, meta, range, attributes, extensions } = found;
    let whole = GetResult {
        payload,
        meta: meta.clone(),
        range: range.clone(),
        attributes: attributes.clone(),
        extensions: extensions.clone(),
    };
    let body = stream::once(async move {
        let kept = damaged(whole.bytes().await?, action);
        let failed = matches!(action, Action::Break(_)).then(|| Err(Failure::Server.error(&path)));
        Ok::<_, object_store::Error>(stream::iter([Ok(kept)]).chain(stream::iter(failed)))
    });
    let payload = GetResultPayload::Stream(body.try_flatten().boxed());
    GetResult { payload, meta, range, attributes, extensions }
}

fn damaged(bytes: Bytes, action: Action) -> Bytes {
    let keep = |count: u64| bytes.slice(..usize::try_from(count).unwrap_or(usize::MAX).min(bytes.len()));
    match action {
        Action::Truncate(count) | Action::Break(count) => keep(count),
        Action::FlipBit(bit) if !bytes.is_empty() => {
            let mut bytes = bytes.to_vec();
            let bit = bit % (bytes.len() as u64 * 8);
            if let Some(byte) = usize::try_from(bit / 8).ok().and_then(|at| bytes.get_mut(at)) {
                *byte ^= 1 << (bit % 8);
            }
            bytes.into()
        }
        _ => bytes,
    }
}
