//! How a run over many objects goes: one that fails is named, and the others go on; the exit code is the worst of all.

use crate::failure::{FAILED, Failure, worse};
use crate::human::{count, size};
use crate::out::Out;

/// So many failures in a row mean that the next one would fail too.
const GIVE_UP_AFTER: usize = 10;

/// How a run over many objects went.
#[derive(Default)]
pub struct Tally {
    done: u64,
    bytes: u64,
    failed: u64,
    in_row: usize,
    code: u8,
}

impl Tally {
    /// One more is done, with this code.
    pub fn good(&mut self, code: u8, bytes: u64) {
        self.done += 1;
        self.bytes += bytes;
        self.in_row = 0;
        self.code = worse(self.code, code);
    }

    /// Says what failed. Gives whether it is worth going on.
    pub fn bad(&mut self, out: &Out, failure: &Failure, hopeless: &[u8]) -> bool {
        out.failure(failure);
        self.failed += 1;
        self.code = worse(self.code, failure.code());
        // An object that cannot be read says nothing of the next one; a gateway that is gone does.
        self.in_row = if failure.code() == FAILED { self.in_row + 1 } else { 0 };
        let go_on = !hopeless.contains(&failure.code()) && self.in_row < GIVE_UP_AFTER;
        if !go_on {
            out.note("the rest was not tried: it would fail in the same way");
        }
        go_on
    }

    /// The exit code so far.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// Says how it went, and gives the exit code.
    pub fn end(self, out: &Out, what: &str) -> u8 {
        let failed = if self.failed > 0 { format!(", {} failed", self.failed) } else { String::new() };
        out.note(format!("{} {what}, {}{failed}", count(self.done, "object"), size(self.bytes)));
        self.code
    }
}
