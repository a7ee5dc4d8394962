//! The retry rule for the parts of an upload, which object_store itself repeats when told to.

use std::sync::Arc;

use object_store::client::HttpErrorKind;
use object_store::retry::{RetryContext, RetryFailure, RetryPolicy};
use tokio::time::Instant;

use super::Policy;

/// Parts come out of the same budget as everything else. A part may be sent again: it overwrites itself.
#[derive(Debug)]
pub(super) struct Parts(pub(super) Arc<Policy>);

#[async_trait::async_trait]
impl RetryPolicy for Parts {
    async fn retry(&self, context: RetryContext) -> bool {
        let temporary = match context.failure {
            RetryFailure::Transport(kind) => matches!(
                kind,
                HttpErrorKind::Connect | HttpErrorKind::Request | HttpErrorKind::Timeout | HttpErrorKind::Interrupted
            ),
            // Answers worth another try are transport failures by now (see the stores' HTTP client).
            _ => false,
        };
        let began = Instant::now().checked_sub(context.elapsed).unwrap_or_else(Instant::now);
        temporary && self.0.pause(u32::try_from(context.attempt).unwrap_or(u32::MAX), began).await
    }
}
