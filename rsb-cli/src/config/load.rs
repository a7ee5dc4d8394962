//! Finds the config, lays environment and flags over it, and reads it.

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Format, Toml};
use figment::value::Dict;

use super::origin::Origins;
use super::overrides::Overrides;
use super::problem::{Problem, Problems};
use super::{Config, Source, rules, sections};

/// The default that is part of the program.
pub const EMBEDDED: &str = include_str!("../../../config/embedded.toml");
/// The folder the default keeps its data in, below the current one.
pub const DATA: &str = "rsb-data";

/// What was asked for on the command line and in the environment.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// `--config`, or `RSB_CONFIG`.
    pub file: Option<PathBuf>,
    /// `--data`: where the built-in default keeps its data.
    pub data: Option<PathBuf>,
    /// The environment.
    pub environment: Vec<(String, String)>,
    /// Values set by flags.
    pub flags: Vec<Flag>,
}

/// A flag that overrides a key of the config.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The flag, with its dashes.
    pub flag: &'static str,
    /// The key's path, dotted.
    pub key: &'static str,
    /// What was given.
    pub value: String,
}

/// Why there is no config.
#[derive(Debug)]
pub enum LoadError {
    /// The file cannot be read, or two flags contradict each other: a sentence.
    Unreadable(String),
    /// What it says is wrong.
    Wrong(Vec<Problem>),
}

/// Which config it is: `--config` or `RSB_CONFIG`, `./rsb.toml`, the platform's config folder, else the built-in one.
pub fn find(request: &Request) -> Result<Source, LoadError> {
    let looked_for = request.file.clone().or_else(|| {
        let standard = std::iter::once(PathBuf::from("rsb.toml")).chain(platform_file(&request.environment));
        standard.into_iter().find(|path| path.is_file())
    });
    match (looked_for, &request.data) {
        (Some(file), None) => Ok(Source::File(file)),
        (Some(file), Some(_)) => Err(LoadError::Unreadable(format!(
            "--data is for the built-in default config, but the config file {} is in use and says itself where the data lies; leave out one of them",
            file.display()
        ))),
        (None, data) => Ok(Source::Embedded(data.clone().unwrap_or_else(|| PathBuf::from(DATA)))),
    }
}

/// `rsb/rsb.toml` in the platform's folder for configs.
fn platform_file(environment: &[(String, String)]) -> Option<PathBuf> {
    let get = |name: &str| environment.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, v)| PathBuf::from(v));
    let folder = if cfg!(windows) {
        get("APPDATA")?
    } else if cfg!(target_os = "macos") {
        get("HOME")?.join("Library/Application Support")
    } else {
        // A relative XDG_CONFIG_HOME is to be ignored, says its specification.
        get("XDG_CONFIG_HOME").filter(|path| path.is_absolute()).or_else(|| Some(get("HOME")?.join(".config")))?
    };
    Some(folder.join("rsb").join("rsb.toml"))
}

/// Loads the config that `request` asks for.
pub fn load(request: &Request) -> Result<Config, LoadError> {
    let source = find(request)?;
    match &source {
        Source::Embedded(data) => {
            let base = data.clone();
            parse(EMBEDDED, Path::new("built-in config"), source.clone(), base, request)
        }
        Source::File(file) => {
            let text = std::fs::read_to_string(file).map_err(|error| {
                LoadError::Unreadable(format!("the config file {} cannot be read: {error}", file.display()))
            })?;
            let base = file.parent().map(Path::to_path_buf).unwrap_or_default();
            parse(&text, file, source.clone(), base, request)
        }
    }
}

/// Reads a config's text with what lies over it.
pub fn parse(text: &str, file: &Path, source: Source, base: PathBuf, request: &Request) -> Result<Config, LoadError> {
    let written = Figment::from(Toml::string(text)).extract::<Dict>();
    let written = written.map_err(|error| LoadError::Wrong(vec![syntax_problem(text, file, &error)]))?;
    let (above, strays) = Overrides::collect(&written, request);
    // What was extracted just now is a table, and so is what lies over it: merging them cannot fail.
    let merged = Figment::from(Toml::string(text)).merge(&above).extract::<Dict>().unwrap_or(written);
    let origins = Origins::new(file.to_owned(), text, above.into_origins());
    let problems = Problems::new(&origins);
    for stray in strays {
        problems.add_stray(stray);
    }
    let config = sections::read(&merged, &problems, source, base);
    rules::check(&config, &problems);
    if problems.is_empty() { Ok(config) } else { Err(LoadError::Wrong(problems.into_vec())) }
}

/// The one problem of a text that is not TOML at all.
fn syntax_problem(text: &str, file: &Path, error: &figment::Error) -> Problem {
    let origins = Origins::new(file.to_owned(), text, Vec::new());
    let (offset, message) = match toml_edit::ImDocument::parse(text) {
        Err(error) => (error.span().map_or(0, |span| span.start), error.message().replace('\n', ", ")),
        Ok(_) => (0, error.to_string()),
    };
    Problem { place: origins.place_at(offset), key: String::new(), message: format!("this is not TOML: {message}") }
}
