//! What lies over the file: `RSB_*` environment variables with `__` between levels, and flags.
//!
//! In a list an entry is meant by its number from 0, or by its name with `_` for what a variable's name cannot hold:
//! `RSB_BACKEND__MINIO_1__OPTIONS__ENDPOINT` and `RSB_GATEWAY__KEYS__0__SECRET`.

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};

use super::load::Request;
use super::origin::{Override, Place};
use super::problem::Problem;
use super::reader::nearest;

/// The values from outside the file, as a layer for figment.
pub struct Overrides {
    /// The file's tables with the values put in, as figment replaces a list as a whole.
    layer: Dict,
    origins: Vec<Override>,
}

impl Provider for &Overrides {
    fn metadata(&self) -> Metadata {
        Metadata::named("environment and flags")
    }
    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.layer.clone())]))
    }
}

impl Overrides {
    /// Everything from outside that goes over `file`, and problems with what fits nowhere.
    pub fn collect(file: &Dict, request: &Request) -> (Self, Vec<Problem>) {
        let mut above = Self { layer: file.clone(), origins: Vec::new() };
        let mut strays = Vec::new();
        for (name, value) in &request.environment {
            let Some(key) = name.strip_prefix("RSB_").filter(|key| key.contains("__")) else { continue };
            let path = key.split("__").map(str::to_lowercase).collect();
            let place = Place::Environment { variable: name.clone() };
            above.set(path, place, value).unwrap_or_else(|problem| strays.push(problem));
        }
        for flag in &request.flags {
            let path = flag.key.split('.').map(str::to_owned).collect();
            let place = Place::Flag { flag: flag.flag.to_owned() };
            above.set(path, place, &flag.value).unwrap_or_else(|problem| strays.push(problem));
        }
        (above, strays)
    }

    /// What set which key.
    pub fn into_origins(self) -> Vec<Override> {
        self.origins
    }

    fn set(&mut self, path: Vec<String>, place: Place, raw: &str) -> Result<(), Problem> {
        let dotted = path.join(".");
        // An empty or odd text is a text; numbers, lists and tables are read as TOML would.
        let value = raw.parse::<Value>().unwrap_or_else(|_| Value::from(raw));
        let stray = |message| Problem { place: place.clone(), key: dotted.clone(), message };
        let mut resolved = Vec::new();
        put(&mut self.layer, &path, value, &mut resolved).map_err(stray)?;
        // A later one wins over an earlier one.
        self.origins.retain(|set| set.path != resolved);
        self.origins.push(Override { path: resolved, place, raw: raw.to_owned() });
        Ok(())
    }
}

/// Puts `value` at `path`, making tables on the way; `resolved` becomes the path with numbers for names in lists.
fn put(dict: &mut Dict, path: &[String], value: Value, resolved: &mut Vec<String>) -> Result<(), String> {
    let Some((key, rest)) = path.split_first() else { return Ok(()) };
    if key.is_empty() {
        return Err("two pairs of underscores follow each other; write one between two levels".into());
    }
    resolved.push(key.clone());
    if rest.is_empty() {
        dict.insert(key.clone(), value);
        return Ok(());
    }
    let slot = dict.entry(key.clone()).or_insert_with(|| Value::from(Dict::new()));
    if let Value::Array(_, items) = slot {
        let index = entry_of(items, &rest[0])?;
        resolved.push(index.to_string());
        if index == items.len() {
            items.push(Value::from(Dict::new()));
        }
        return match &mut items[index] {
            Value::Dict(_, dict) if rest.len() > 1 => put(dict, &rest[1..], value, resolved),
            other => {
                *other = value;
                Ok(())
            }
        };
    }
    if !matches!(slot, Value::Dict(..)) {
        *slot = Value::from(Dict::new());
    }
    match slot {
        Value::Dict(_, dict) => put(dict, rest, value, resolved),
        _ => Ok(()),
    }
}

/// Which entry of a list is meant: one by its number or by its name, or a new one after the last.
fn entry_of(items: &[Value], word: &str) -> Result<usize, String> {
    let names: Vec<String> =
        items.iter().map(|item| name_of(item).map(|name| as_variable(&name)).unwrap_or_default()).collect();
    if let Some(index) = names.iter().position(|name| name == word) {
        return Ok(index);
    }
    match word.parse::<usize>() {
        Ok(index) if index <= items.len() => Ok(index),
        Ok(index) => Err(format!(
            "there are {} entries, so {index} is too great; write a number from 0 to {}",
            items.len(),
            items.len()
        )),
        Err(_) => {
            let known: Vec<&str> = names.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
            let hint = nearest(word, &known).map(|name| format!("; the nearest is {:?}", name.to_uppercase()));
            Err(format!("no entry is named {:?}{}", word.to_uppercase(), hint.unwrap_or_default()))
        }
    }
}

fn name_of(item: &Value) -> Option<String> {
    let dict = item.as_dict()?;
    dict.get("name").or_else(|| dict.get("id"))?.as_str().map(str::to_owned)
}

/// A name as it can stand in a variable's name, in lower case.
fn as_variable(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect()
}
