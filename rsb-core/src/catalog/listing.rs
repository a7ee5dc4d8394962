//! The walk of a listing: what an engine does with the rows of its index, so that all of them page, roll up and go on
//! alike. An engine reads rows in order of (key, version descending) from [`Pager::start`] up to [`Pager::end`], offers
//! each to [`Pager::take`], and does what the [`Step`] says; a common prefix is passed with one seek.

use super::{Entry, ListAfter, ListItem, ListPage, ListQuery};
use crate::id::VersionId;

/// A place in the order of rows. Keys are compared as bytes, and the place just behind a prefix need not be UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Keys from this one on.
    pub key: Vec<u8>,
    /// Of this very key, only versions below this one.
    pub below: Option<VersionId>,
}

impl Position {
    fn at(key: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), below: None }
    }

    /// Just behind all versions of a key: no key lies between `key` and `key` with a zero byte.
    pub fn behind(key: &[u8]) -> Self {
        let mut key = key.to_vec();
        key.push(0);
        Self::at(key)
    }
}

/// What to do after a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read the next row.
    Next,
    /// The row was rolled up: go on from here, past its common prefix.
    Seek(Position),
    /// The page is complete.
    Done,
}

/// Collects one page.
#[derive(Debug)]
pub struct Pager<'q> {
    query: &'q ListQuery,
    page: ListPage,
}

impl<'q> Pager<'q> {
    /// A page for a query.
    pub fn new(query: &'q ListQuery) -> Self {
        Self { query, page: ListPage::default() }
    }

    /// Where to begin; `None` when no key can match.
    pub fn start(&self) -> Option<Position> {
        let prefix = self.query.prefix.as_bytes();
        let after = match &self.query.after {
            None => return Some(Position::at(prefix)),
            Some(ListAfter::Prefix(passed)) => Position::at(successor(passed.as_bytes())?),
            Some(ListAfter::Version(key, version)) if self.query.versions => {
                Position { key: key.as_bytes().to_vec(), below: Some(*version) }
            }
            Some(ListAfter::Key(key) | ListAfter::Version(key, _)) => Position::behind(key.as_bytes()),
        };
        Some(if after.key.as_slice() < prefix { Position::at(prefix) } else { after })
    }

    /// The first key that is too great; `None` when there is none.
    pub fn end(&self) -> Option<Vec<u8>> {
        successor(self.query.prefix.as_bytes())
    }

    /// Items still wanted, the one that proves that there is a next page included.
    pub fn wanted(&self) -> usize {
        (self.query.limit - self.page.items.len().min(self.query.limit)).saturating_add(1)
    }

    /// Takes the next row. `entry` is asked for only when the row becomes an item: the version, and whether it is its
    /// key's newest.
    pub fn take<E>(&mut self, key: &str, entry: impl FnOnce() -> Result<(Entry, bool), E>) -> Result<Step, E> {
        if self.page.items.len() >= self.query.limit {
            self.page.next = self.page.items.last().map(|item| self.behind(item));
            return Ok(Step::Done);
        }
        let Some(prefix) = self.common_prefix(key) else {
            let (entry, is_latest) = entry()?;
            self.page.items.push(ListItem::Entry { entry: Box::new(entry), is_latest });
            return Ok(Step::Next);
        };
        let behind = successor(prefix.as_bytes()).map(Position::at);
        self.page.items.push(ListItem::Prefix(prefix.to_owned()));
        Ok(behind.map_or(Step::Done, Step::Seek))
    }

    /// The page.
    pub fn finish(self) -> ListPage {
        self.page
    }

    fn common_prefix<'k>(&self, key: &'k str) -> Option<&'k str> {
        let delimiter = self.query.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty())?;
        let begin = self.query.prefix.len();
        let at = key.get(begin..)?.find(delimiter)?;
        key.get(..begin + at + delimiter.len())
    }

    fn behind(&self, item: &ListItem) -> ListAfter {
        match item {
            ListItem::Prefix(prefix) => ListAfter::Prefix(prefix.clone()),
            ListItem::Entry { entry, .. } if self.query.versions => {
                ListAfter::Version(entry.manifest.key.clone(), entry.manifest.version)
            }
            ListItem::Entry { entry, .. } => ListAfter::Key(entry.manifest.key.clone()),
        }
    }
}

/// The least byte string greater than every one that begins with `prefix`; `None` when there is none.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let keep = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut next = prefix[..=keep].to_vec();
    next[keep] += 1;
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_lies_behind_every_key_with_the_prefix() {
        assert_eq!(successor(b""), None);
        assert_eq!(successor(b"a/"), Some(b"a0".to_vec()));
        assert_eq!(successor(&[b'a', 255, 255]), Some(b"b".to_vec()));
        assert_eq!(successor(&[255]), None);
    }

    #[test]
    fn a_scan_begins_at_the_greater_of_prefix_and_marker() {
        let start = |prefix: &str, after: Option<ListAfter>| {
            let query = ListQuery { prefix: prefix.into(), after, versions: true, ..ListQuery::default() };
            Pager::new(&query).start()
        };
        assert_eq!(start("p", None), Some(Position::at("p")));
        assert_eq!(start("p", Some(ListAfter::Key("a".into()))), Some(Position::at("p")));
        assert_eq!(start("p", Some(ListAfter::Key("p1".into()))), Some(Position::at("p1\0")));
        assert_eq!(start("p", Some(ListAfter::Prefix("p/".into()))), Some(Position::at("p0")));
        assert_eq!(start("", Some(ListAfter::Prefix(String::new()))), None);
        let version = VersionId::MIN.after();
        let below = Position { key: b"p1".to_vec(), below: Some(version) };
        assert_eq!(start("p", Some(ListAfter::Version("p1".into(), version))), Some(below));
    }
}
