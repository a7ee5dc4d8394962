//! Conditional requests (RFC 9110, section 13).

use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE};
use http::{HeaderMap, HeaderName};
use rsb_core::catalog::Precondition;

use super::dates::parse_http_date;
use crate::problem::Problem;

/// What the conditions of a GET or HEAD say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer as if there were none.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// A list of entity tags, or `*`.
enum Tags {
    Any,
    /// (weak, tag without quotes)
    List(Vec<(bool, String)>),
}

impl Tags {
    /// `strong`: a weak tag never matches.
    fn contain(&self, etag: &str, strong: bool) -> bool {
        match self {
            Self::Any => true,
            Self::List(list) => list.iter().any(|(weak, tag)| tag == etag && !(strong && *weak)),
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The tags of all lines of a header; `None` when there is no such header. What cannot be read matches nothing.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Option<Tags> {
    let mut list = Vec::new();
    let mut present = false;
    for line in headers.get_all(name) {
        present = true;
        let line = line.to_str().unwrap_or_default();
        if line.trim() == "*" {
            return Some(Tags::Any);
        }
        list.extend(parse_tags(line));
    }
    present.then_some(Tags::List(list))
}

/// `"a", W/"b"`; a bare word is taken for a tag too, as many clients send it.
fn parse_tags(line: &str) -> Vec<(bool, String)> {
    let mut list = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return list;
        }
        let (weak, tagged) = rest.strip_prefix("W/").map_or((false, rest), |rest| (true, rest));
        let (tag, after) = match tagged.strip_prefix('"') {
            // A quoted tag may hold commas; without its closing quote it is none.
            Some(quoted) => match quoted.split_once('"') {
                Some(pair) => pair,
                None => return list,
            },
            None => tagged.split_once(',').unwrap_or((tagged, "")),
        };
        list.push((weak, tag.trim().to_owned()));
        rest = after;
    }
}

/// Evaluates the conditions of a GET or HEAD in the RFC's order of precedence.
pub(crate) fn of_read(headers: &HeaderMap, etag: &str, modified_ms: u64) -> Verdict {
    let modified = modified_ms / 1000;
    let date = |name: &HeaderName| text(headers, name).and_then(parse_http_date);
    match tags(headers, &IF_MATCH) {
        Some(tags) if !tags.contain(etag, true) => return Verdict::Failed,
        Some(_) => {}
        None if date(&IF_UNMODIFIED_SINCE).is_some_and(|limit| modified > limit) => return Verdict::Failed,
        None => {}
    }
    let unchanged = match tags(headers, &IF_NONE_MATCH) {
        Some(tags) => tags.contain(etag, false),
        None => date(&IF_MODIFIED_SINCE).is_some_and(|limit| modified <= limit),
    };
    if unchanged { Verdict::NotModified } else { Verdict::Proceed }
}

/// Whether a `Range` header counts, by `If-Range`: a strong tag, or the very date that was sent as `Last-Modified`.
pub(crate) fn range_applies(headers: &HeaderMap, etag: &str, modified_ms: u64) -> bool {
    let Some(value) = headers.get(IF_RANGE) else {
        return true;
    };
    let value = value.to_str().unwrap_or_default().trim();
    match parse_http_date(value) {
        Some(date) => date == modified_ms / 1000,
        None => value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) == Some(etag),
    }
}

/// The condition of a write or delete: `If-None-Match: *` (create only), `If-Match: *`, `If-Match: "tag", …`.
pub(crate) fn of_write(headers: &HeaderMap) -> Result<Precondition, Problem> {
    match (tags(headers, &IF_MATCH), tags(headers, &IF_NONE_MATCH)) {
        (None, None) => Ok(Precondition::None),
        (None, Some(Tags::Any)) => Ok(Precondition::Absent),
        (None, Some(Tags::List(_))) => {
            Err(Problem::invalid("If-None-Match on a write takes only \"*\" (there must be no object yet)"))
        }
        (Some(_), Some(_)) => Err(Problem::invalid("If-Match and If-None-Match together can never both hold")),
        (Some(Tags::Any), None) => Ok(Precondition::Present),
        (Some(Tags::List(list)), None) => {
            // Only strong comparison is allowed here, so a weak tag matches nothing.
            Ok(Precondition::EtagIn(list.into_iter().filter(|(weak, _)| !weak).map(|(_, tag)| tag).collect()))
        }
    }
}

#[cfg(test)]
mod tests;
