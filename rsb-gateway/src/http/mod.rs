//! What HTTP says of ranges, conditions and replies with an object's bytes (RFC 9110), for both doors.

pub(crate) mod conditions;
pub(crate) mod dates;
pub(crate) mod ranges;
pub(crate) mod reply;
