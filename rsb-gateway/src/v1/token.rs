//! Continuation tokens: where a page ended, opaque to clients.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rsb_core::catalog::ListAfter;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// What a token begins with. No key can: `..` is not allowed as a path segment of one.
const MARK: &str = "../";

/// A position as a token.
pub(crate) fn of<T: Serialize>(position: &T) -> String {
    // A position is plain data, whose serialisation cannot fail.
    let json = serde_json::to_vec(position).unwrap_or_default();
    format!("{MARK}{}", URL_SAFE_NO_PAD.encode(json))
}

/// The position that a token stands for; `None` for a text that is not a token at all.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<Option<T>, Problem> {
    let Some(encoded) = text.strip_prefix(MARK) else {
        return Ok(None);
    };
    let json = URL_SAFE_NO_PAD.decode(encoded).ok();
    let position = json.and_then(|json| serde_json::from_slice(&json).ok());
    position.map(Some).ok_or_else(|| {
        Problem::invalid(format!(
            "after is {text:?}, which is no continuation token of this gateway; pass \"next\" unchanged"
        ))
    })
}

/// Where a listing goes on: a token, or a key.
pub(crate) fn list_after(text: &str) -> Result<ListAfter, Problem> {
    Ok(read(text)?.unwrap_or_else(|| ListAfter::Key(text.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_as_it_was_and_a_key_is_a_key() {
        for after in [ListAfter::Key("ä/b".into()), ListAfter::Prefix("a/".into())] {
            assert_eq!(list_after(&of(&after)).unwrap(), after);
        }
        assert_eq!(list_after("a/../b").unwrap(), ListAfter::Key("a/../b".into()));
        for broken in ["../", "../!", "../e30"] {
            assert!(list_after(broken).is_err(), "{broken}");
        }
    }
}
