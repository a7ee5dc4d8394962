//! Looking for a typed cause in an error's chain, so that no decision hangs on an error's text.

use std::error::Error;

/// The outermost cause of type `T`, the error itself included.
pub(crate) fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut at = Some(error);
    while let Some(cause) = at {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        at = cause.source();
    }
    None
}
