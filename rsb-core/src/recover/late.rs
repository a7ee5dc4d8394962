//! What a process that did not end well may have left on its way.

use crate::certainty::Late;
use crate::core::Core;
use crate::error::Result;

/// The catalog's named value that says until when, and before which ids.
pub(super) const LATE: &str = "lands_late";

/// From now on: the one before did not end well. Called when ids outlive its own.
pub(crate) async fn expect_late(core: &Core) -> Result<()> {
    let grace = u64::try_from(core.config.grace.as_millis()).unwrap_or(u64::MAX);
    let until_ms = core.env.now_ms().saturating_add(grace);
    let late = Late { before_ms: core.env.next_id_ms(), until_ms };
    core.catalog.set_value(LATE, Some(format!("{} {}", late.before_ms, late.until_ms))).await?;
    core.set_late(Some(late));
    Ok(())
}

/// The one before ended well: what it expected itself.
pub(crate) async fn expect_late_as_before(core: &Core) -> Result<()> {
    let value = core.catalog.value(LATE).await?;
    let numbers = value.as_deref().and_then(|value| value.split_once(' '));
    let late = numbers
        .and_then(|(before, until)| Some(Late { before_ms: before.parse().ok()?, until_ms: until.parse().ok()? }));
    core.set_late(late);
    Ok(())
}

/// A sweep that began at this time has taken in what every backend shows.
pub(crate) async fn all_has_landed(core: &Core, began_ms: u64) -> Result<()> {
    if core.late().is_some_and(|late| late.until_ms <= began_ms) {
        core.catalog.set_value(LATE, None).await?;
        core.set_late(None);
    }
    Ok(())
}
