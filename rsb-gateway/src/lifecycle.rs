//! The worker that follows the lifecycle rules of buckets, at the start and then again and again.

use std::sync::Arc;

use rsb_core::{ErrorKind, LifecycleReport, Progress};

use crate::app::App;

/// Follows the rules until the gateway stops. A run that fails is made up for by the next.
pub(crate) async fn follow(app: Arc<App>) {
    if app.lifecycle_every.is_zero() {
        return;
    }
    loop {
        let progress = Progress::new();
        let run = app.engine().lifecycle(false, &progress);
        let stop = async {
            app.stopping.cancelled().await;
            progress.cancel();
            // The run ends at its next safe point.
            std::future::pending::<()>().await;
        };
        let done = tokio::select! { done = run => done, () = stop => return };
        match done {
            Ok(report) if report == LifecycleReport::default() => {}
            Ok(report) => tracing::info!(?report, "lifecycle rules were followed"),
            Err(error) if matches!(error.kind(), ErrorKind::ReadOnly | ErrorKind::Cancelled) => {
                tracing::debug!(%error, "lifecycle rules were not followed");
            }
            Err(error) => tracing::warn!(?error, "lifecycle rules could not be followed"),
        }
        tokio::select! {
            () = tokio::time::sleep(app.lifecycle_every) => {}
            () = app.stopping.cancelled() => return,
        }
    }
}
