//! A request's query: strict, so that a mistyped parameter is an error and not silently without effect.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::names;
use crate::problem::Problem;

/// The parameters of a query, by name.
#[derive(Debug, Default)]
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    /// Parses a query (without its `?`) in which only `known` parameters may stand, each once.
    pub(crate) fn parse(raw: &str, known: &[&str]) -> Result<Self, Problem> {
        let mut values = BTreeMap::new();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = names::decode("query", &name.replace('+', " "))?;
            let value = names::decode(&format!("query parameter {name:?}"), &value.replace('+', " "))?;
            if !known.contains(&name.as_str()) {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(Problem::invalid(format!("there is no query parameter {name:?} here; known: {known}")));
            }
            if values.insert(name.clone(), value).is_some() {
                return Err(Problem::invalid(format!("the query parameter {name:?} is given twice")));
            }
        }
        Ok(Self(values))
    }

    /// A parameter as text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A parameter of another type; `expected` says in words what it should be.
    pub(crate) fn value<T: FromStr>(&self, name: &str, expected: &str) -> Result<Option<T>, Problem> {
        self.text(name)
            .map(|text| text.parse().map_err(|_| Problem::invalid(format!("{name} is {text:?}; expected {expected}"))))
            .transpose()
    }

    /// `true`, `false`, or (for `?name`) true.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true" | "") => Ok(true),
            Some(other) => Err(Problem::invalid(format!("{name} is {other:?}; expected true or false"))),
        }
    }

    /// A page's size between 1 and `max`.
    pub(crate) fn limit(&self, default: usize, max: usize) -> Result<usize, Problem> {
        let expected = format!("a number from 1 to {max}");
        let limit = self.value("limit", &expected)?.unwrap_or(default);
        if (1..=max).contains(&limit) {
            Ok(limit)
        } else {
            Err(Problem::invalid(format!("limit is {limit}; expected {expected}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_mistakes_refused() {
        let query = Query::parse("prefix=a+b%2B&limit=7&versions", &["prefix", "limit", "versions"]).unwrap();
        assert_eq!(query.text("prefix"), Some("a b+"));
        assert_eq!(query.limit(1000, 10_000).unwrap(), 7);
        assert!(query.flag("versions").unwrap());
        for raw in ["prefx=a", "prefix=1&prefix=2", "prefix=%ff", "prefix=%00"] {
            assert!(Query::parse(raw, &["prefix"]).is_err(), "{raw}");
        }
        for raw in ["limit=0", "limit=10001", "limit=x", "limit=-1"] {
            assert!(Query::parse(raw, &["limit"]).unwrap().limit(1, 10_000).is_err(), "{raw}");
        }
    }
}
