//! Bars with rate and time left, on a terminal.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rsb_core::Progress;
use tokio_util::task::AbortOnDropHandle;

use crate::out::Out;

const BYTES: &str = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} left";
const BYTES_OPEN: &str = "{msg} {spinner} {bytes} {bytes_per_sec}";
const ITEMS: &str = "{msg} {wide_bar} {pos}/{len} {per_sec} {eta} left";
/// How often a long operation is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// A bar of bytes; hidden where none is to be drawn.
#[derive(Clone, Debug)]
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar for `len` bytes, or for as many as come.
    pub fn bytes(out: &Out, what: impl Into<String>, len: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(len, target(out)).with_message(what.into());
        Self(bar.with_style(style(if len.is_some() { BYTES } else { BYTES_OPEN })))
    }

    /// A bar that is not drawn.
    pub fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// Does something that writes to the terminal while the bar is out of its way.
    pub fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        self.0.suspend(work)
    }

    /// The stream, counted as it goes by.
    pub fn count<E: 'static>(
        &self,
        stream: BoxStream<'static, Result<Bytes, E>>,
    ) -> BoxStream<'static, Result<Bytes, E>> {
        let bar = self.0.clone();
        stream.inspect_ok(move |bytes| bar.inc(bytes.len() as u64)).boxed()
    }

    /// So many bytes more are done.
    pub fn add(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    /// Takes the bar away.
    pub fn done(&self) {
        self.0.finish_and_clear();
    }
}

/// Draws a long operation's progress while it lives.
pub struct Watch {
    task: Option<AbortOnDropHandle<()>>,
    bar: ProgressBar,
}

impl Watch {
    /// Watches `progress`.
    pub fn start(out: &Out, what: &'static str, progress: Arc<Progress>) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), target(out)).with_message(what).with_style(style(ITEMS));
        let task = out.draws().then(|| {
            let bar = bar.clone();
            AbortOnDropHandle::new(tokio::spawn(async move {
                loop {
                    let (done, total, bytes, bytes_total) = progress.snapshot();
                    let by_bytes = bytes_total > 0;
                    bar.set_style(style(if by_bytes { BYTES } else { ITEMS }));
                    bar.set_length(if by_bytes { bytes_total } else { total });
                    bar.set_position(if by_bytes { bytes } else { done });
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }))
        });
        Self { task, bar }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // First the one that draws.
        drop(self.task.take());
        self.bar.finish_and_clear();
    }
}

fn target(out: &Out) -> ProgressDrawTarget {
    if out.draws() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
}

fn style(template: &str) -> ProgressStyle {
    // The templates above are right; a plain bar is no harm if one were not.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
