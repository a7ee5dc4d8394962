//! Names in a request's path: percent-encoded UTF-8.

use percent_encoding::percent_decode_str;

use crate::problem::Problem;

/// Decodes a percent-encoded name: strict UTF-8, every `%` followed by two hexadecimal digits, no NUL.
/// `what` is what it names, for the sentence.
pub(crate) fn decode(what: &str, raw: &str) -> Result<String, Problem> {
    let bytes = raw.as_bytes();
    let complete = |at: usize| bytes.get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    if bytes.iter().enumerate().any(|(at, byte)| *byte == b'%' && !complete(at)) {
        return Err(Problem::invalid(format!(
            "the {what} has a \"%\" that is not followed by two hexadecimal digits; write a percent sign as %25"
        )));
    }
    let name = percent_decode_str(raw)
        .decode_utf8()
        .map_err(|_| Problem::invalid(format!("the {what} is not UTF-8 after percent-decoding")))?;
    if name.contains('\0') {
        return Err(Problem::invalid(format!("the {what} contains a NUL byte")));
    }
    Ok(name.into_owned())
}

/// Decodes a name that must not be empty.
pub(crate) fn decode_present(what: &str, raw: &str) -> Result<String, Problem> {
    if raw.is_empty() {
        return Err(Problem::invalid(format!("the {what} is empty")));
    }
    decode(what, raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_are_kept_and_broken_ones_refused() {
        assert_eq!(decode("key", "a%2Fb%20c%25%C3%A9+").unwrap(), "a/b c%é+");
        for raw in ["%", "%4", "%zz", "%ff", "%00", "a%C3"] {
            assert!(decode("key", raw).is_err(), "{raw}");
        }
        assert!(decode_present("key", "").is_err());
    }
}
