//! Takes values out of a merged table. What is wrong is noted and the default taken instead, so that one pass finds
//! every problem; keys nobody asked for are unknown ones.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use figment::value::{Dict, Value};

use super::problem::Problems;
use super::units;

/// A table being read. [`Reader::finish`] ends it.
pub struct Reader<'a> {
    table: &'a Dict,
    path: Vec<String>,
    problems: &'a Problems<'a>,
    asked: RefCell<Vec<&'static str>>,
}

/// The empty table, read where none was given.
static NOTHING: Dict = Dict::new();

impl<'a> Reader<'a> {
    /// Reads `table`, the whole config.
    pub fn root(table: &'a Dict, problems: &'a Problems<'a>) -> Self {
        Self { table, path: Vec::new(), problems, asked: RefCell::default() }
    }

    /// The key's path from the root.
    pub fn path_of<'b>(&'b self, key: &'b str) -> Vec<&'b str> {
        self.path.iter().map(String::as_str).chain((!key.is_empty()).then_some(key)).collect()
    }

    /// Notes a problem with a key of this table; with the table itself when `key` is empty.
    pub fn problem(&self, key: &str, message: impl Into<String>) {
        self.problems.add(&self.path_of(key), message);
    }

    /// Whether the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    fn value(&self, key: &'static str) -> Option<&'a Value> {
        self.asked.borrow_mut().push(key);
        self.table.get(key)
    }

    /// A text.
    pub fn string(&self, key: &'static str) -> Option<String> {
        let value = self.value(key)?;
        match value {
            Value::String(_, text) => Some(text.clone()),
            Value::Char(_, c) => Some(c.to_string()),
            Value::Num(..) | Value::Bool(..) => {
                // The environment knows only text: a name that looks like a number is still a name.
                if let Some(set) = self.problems.origins().override_of(&self.path_of(key)) {
                    return Some(set.raw.clone());
                }
                self.problem(key, format!("it is {}; write a text in quotes", kind(value)));
                None
            }
            _ => {
                self.problem(key, format!("it is {}; write a text in quotes", kind(value)));
                None
            }
        }
    }

    /// A text that is one of a few words.
    pub fn choice<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.string(key)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let list: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            self.problem(key, format!("{text:?} is not a choice; write {}", one_of(&list)));
        }
        found
    }

    /// A text that `parse` understands; `expected` says what to write.
    pub fn parsed<T>(&self, key: &'static str, expected: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.string(key)?;
        let found = parse(&text);
        if found.is_none() {
            self.problem(key, format!("{text:?} cannot be understood; write {expected}"));
        }
        found
    }

    /// Yes or no.
    pub fn boolean(&self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        let found = value.to_bool();
        if found.is_none() {
            self.problem(key, format!("it is {}; write true or false", kind(value)));
        }
        found
    }

    /// A number of something within bounds.
    pub fn count(&self, key: &'static str, least: usize, most: usize) -> Option<usize> {
        let value = self.value(key)?;
        let number = value.to_i128().and_then(|number| usize::try_from(number).ok());
        match number.filter(|number| (least..=most).contains(number)) {
            Some(number) => Some(number),
            None => {
                self.problem(key, format!("it is {}; write a whole number from {least} to {most}", kind(value)));
                None
            }
        }
    }

    /// A number that is not negative.
    pub fn amount(&self, key: &'static str) -> Option<f64> {
        let value = self.value(key)?;
        let number = value.to_num().and_then(|number| {
            number
                .to_f64()
                .or_else(|| number.to_i128().map(|n| n as f64))
                .or_else(|| number.to_u128().map(|n| n as f64))
        });
        match number.filter(|number| number.is_finite() && *number >= 0.0) {
            Some(number) => Some(number),
            None => {
                self.problem(key, format!("it is {}; write a number that is not negative, such as 0.09", kind(value)));
                None
            }
        }
    }

    /// A size in bytes, within bounds.
    pub fn size(&self, key: &'static str, least: u64, most: u64) -> Option<u64> {
        let bytes = match self.value(key)? {
            Value::Num(_, number) => {
                let unsigned = number.to_u128().and_then(|n| u64::try_from(n).ok());
                unsigned.or_else(|| number.to_i128().and_then(|n| u64::try_from(n).ok()))
            }
            Value::String(_, text) => units::parse_size(text),
            _ => None,
        };
        let fits = bytes.filter(|bytes| (least..=most).contains(bytes));
        if fits.is_none() {
            let value = self.table.get(key).map(kind).unwrap_or_default();
            let (least, most) = (units::format_size(least), units::format_size(most));
            self.problem(key, format!("it is {value}; write a size from {least} to {most}, such as \"64 KiB\""));
        }
        fits
    }

    /// A duration.
    pub fn duration(&self, key: &'static str) -> Option<Duration> {
        let value = self.value(key)?;
        let found = value.as_str().and_then(units::parse_duration);
        if found.is_none() {
            self.problem(key, format!("it is {}; write a duration in quotes, such as \"2s\" or \"1day\"", kind(value)));
        }
        found
    }

    /// A list of texts, or one text alone.
    pub fn strings(&self, key: &'static str) -> Option<Vec<String>> {
        let value = self.value(key)?;
        let list = match value {
            Value::String(_, text) => Some(vec![text.clone()]),
            Value::Array(_, items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        if list.is_none() {
            self.problem(key, format!("it is {}; write a list of texts, such as [\"read\", \"write\"]", kind(value)));
        }
        list
    }

    /// A table of keys that are free, with single values.
    pub fn map(&self, key: &'static str) -> BTreeMap<String, String> {
        let Some(value) = self.value(key) else { return BTreeMap::new() };
        let Some(dict) = value.as_dict() else {
            self.problem(key, format!("it is {}; write a table, such as {{ name = \"value\" }}", kind(value)));
            return BTreeMap::new();
        };
        let mut out = BTreeMap::new();
        for (name, value) in dict {
            match scalar(value) {
                Some(text) => {
                    out.insert(name.clone(), text);
                }
                None => {
                    let mut path = self.path_of(key);
                    path.push(name);
                    self.problems.add(&path, format!("it is {}; write a text, a number, true or false", kind(value)));
                }
            }
        }
        out
    }

    /// A table with keys of its own; an empty one where it is not given.
    pub fn table(&self, key: &'static str) -> Reader<'a> {
        let table = match self.value(key) {
            None => &NOTHING,
            Some(Value::Dict(_, dict)) => dict,
            Some(value) => {
                self.problem(key, format!("it is {}; write a table, [{key}]", kind(value)));
                &NOTHING
            }
        };
        self.below(vec![key.to_owned()], table)
    }

    /// A table of tables whose names are free.
    pub fn named(&self, key: &'static str) -> Vec<(String, Reader<'a>)> {
        let names = self.table(key);
        let mut out = Vec::new();
        for (name, value) in names.table {
            match value.as_dict() {
                Some(table) => out.push((name.clone(), names.below(vec![name.clone()], table))),
                None => names.problem(name, format!("it is {}; write a table", kind(value))),
            }
        }
        out
    }

    /// A list of tables.
    pub fn tables(&self, key: &'static str) -> Vec<Reader<'a>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let tables: Option<Vec<&Dict>> =
            value.as_array().map(|items| items.iter().map(Value::as_dict).collect()).unwrap_or_default();
        let Some(tables) = tables else {
            let name = self.path_of(key).join(".");
            self.problem(key, format!("it is {}; write a list of tables, each begun by [[{name}]]", kind(value)));
            return Vec::new();
        };
        tables.iter().enumerate().map(|(i, table)| self.below(vec![key.to_owned(), i.to_string()], table)).collect()
    }

    fn below(&self, path: Vec<String>, table: &'a Dict) -> Reader<'a> {
        let path = self.path.iter().cloned().chain(path).collect();
        Reader { table, path, problems: self.problems, asked: RefCell::default() }
    }

    /// Notes every key that nobody asked for.
    pub fn finish(self) {
        let known = self.asked.take();
        for key in self.table.keys().filter(|key| !known.contains(&key.as_str())) {
            self.problem(key, unknown(key, &known));
        }
    }
}

/// The sentence about a key that is not known.
pub fn unknown(key: &str, known: &[&str]) -> String {
    match nearest(key, known) {
        Some(near) => format!("the key {key:?} is not known; the nearest known key is {near:?}"),
        None => format!("the key {key:?} is not known here"),
    }
}

/// The known word that is most like `word`.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // A word cut short means the key it begins, however many letters are missing.
    if let Some(whole) = known.iter().find(|key| word.len() >= 3 && key.starts_with(word)) {
        return Some(whole);
    }
    let word = word.to_lowercase();
    known.iter().copied().min_by_key(|other| strsim::damerau_levenshtein(&word, other))
}

/// `"a", "b" or "c"`.
pub fn one_of(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Char(_, c) => Some(c.to_string()),
        Value::Bool(_, flag) => Some(flag.to_string()),
        Value::Num(_, number) => number
            .to_i128()
            .map(|n| n.to_string())
            .or_else(|| number.to_u128().map(|n| n.to_string()))
            .or_else(|| number.to_f64().map(|n| n.to_string())),
        _ => None,
    }
}

/// What a value is, for a sentence. Long ones are cut: they may be anything.
fn kind(value: &Value) -> String {
    match value {
        Value::Dict(..) => "a table".into(),
        Value::Array(..) => "a list".into(),
        Value::Empty(..) => "empty".into(),
        Value::String(_, text) if text.chars().count() > 60 => "a long text".into(),
        Value::String(_, text) => format!("{text:?}"),
        other => scalar(other).unwrap_or_else(|| "something else".into()),
    }
}
