//! See `parse::batch`.
#![no_main]

#[path = "../parse.rs"]
#[allow(dead_code, reason = "each target uses one of the parsers")]
mod parse;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| parse::batch(bytes));
