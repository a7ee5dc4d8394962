//! `config init`: writes a first config where there is none, then makes folders, buckets, containers and markers.

use std::io::Write;
use std::path::{Path, PathBuf};

use rsb_backends::stores;
use rsb_core::{Engine, Env};
use serde_json::json;

use super::survey::Survey;
use crate::assemble;
use crate::cli::{Cli, Init};
use crate::config::load::{self, LoadError, Request};
use crate::config::template::{self, Wishes};
use crate::config::{Config, Source};
use crate::failure::{DONE, FAILED, Failure};
use crate::human::count;
use crate::out::Out;

/// Where a first config is written unless another file is named.
const FIRST: &str = "rsb.toml";

pub async fn run(cli: &Cli, out: &Out, args: &Init) -> Result<u8, Failure> {
    let written = write_first(cli, args)?;
    if let Some(file) = &written {
        out.note(format!("{} written", file.display()));
    }
    let config = assemble::load(cli, None, Vec::new())?;
    let (made, marked) = set_up(&config).await?;
    let value = json!({ "config_written": written, "containers_made": made, "markers_written": marked });
    out.say(&value, || {
        let places = match made.len() {
            0 => String::new(),
            _ => format!("folders or buckets made for {}\n", made.join(", ")),
        };
        match marked.len() {
            0 => places + "every backend has its marker already",
            _ => format!("{places}{} written: {}", count(marked.len() as u64, "marker"), marked.join(", ")),
        }
    })?;
    Ok(DONE)
}

/// Makes what is missing: (places made, markers written). Where anything is wrong with any backend nothing is made at all.
async fn set_up(config: &Config) -> Result<(Vec<String>, Vec<String>), Failure> {
    let engine_config = assemble::engine_config(config)?;
    let survey = Survey::of(config).await;
    survey.may_be_set_up()?;
    let (mut made, mut failed) = (Vec::new(), Vec::new());
    for backend in survey.missing() {
        match stores::ensure_container(&assemble::spec(config, backend)).await {
            Ok(true) => made.push(backend.name.clone()),
            Ok(false) => {}
            Err(error) => failed.push(Failure::from(error)),
        }
    }
    if let Some(first) = failed.first() {
        return Err(Failure::problems(first.code(), failed.iter().map(ToString::to_string).collect()));
    }
    let backends = assemble::backends(config).await?;
    let marked = Engine::init_markers(&engine_config, &backends, &Env::system()).await?;
    Ok((made, marked))
}

/// Writes a first config, unless there is one. Gives the file where it did.
fn write_first(cli: &Cli, args: &Init) -> Result<Option<PathBuf>, Failure> {
    let file = cli.config.clone().unwrap_or_else(|| PathBuf::from(FIRST));
    let asked = !args.backends.is_empty()
        || args.data_shards.or(args.parity_shards).is_some()
        || args.codec.as_ref().or(args.name.as_ref()).is_some();
    let request = Request { file: cli.config.clone(), environment: std::env::vars().collect(), ..Request::default() };
    let exists = file.symlink_metadata().is_ok();
    if exists && asked {
        return Err(Failure::usage(format!(
            "{} is there already and is not overwritten; change it by hand, or name another file with --config",
            file.display()
        )));
    }
    let elsewhere = cli.config.is_none() && matches!(load::find(&request), Ok(Source::File(_)));
    if exists || (elsewhere && !asked) {
        return Ok(None);
    }
    let text = first_text(args, &file, &request)?;
    let cannot = |e: std::io::Error| Failure::local(format!("{} cannot be written", file.display()), &e);
    let mut new = std::fs::File::options().write(true).create_new(true).open(&file).map_err(cannot)?;
    new.write_all(text.as_bytes()).and_then(|()| new.sync_all()).map_err(cannot)?;
    Ok(Some(file))
}

/// The text of a first config: what the flags ask for, found good before it is written.
fn first_text(args: &Init, file: &Path, request: &Request) -> Result<String, Failure> {
    let wishes = Wishes {
        name: args.name.clone().unwrap_or_else(|| "rsbackup".into()),
        data_shards: args.data_shards,
        parity_shards: args.parity_shards,
        codec: args.codec.clone().unwrap_or_else(|| "novelpoly".into()),
        backends: args.backends.iter().map(|text| named(text)).collect(),
    };
    let text = template::render(&wishes);
    let base = file.parent().map(Path::to_path_buf).unwrap_or_default();
    match load::parse(&text, file, Source::File(file.to_owned()), base, request) {
        Ok(_) => Ok(text),
        Err(LoadError::Unreadable(sentence)) => Err(Failure::new(FAILED, sentence)),
        Err(LoadError::Wrong(problems)) => {
            // The lines are those of a file that will not be written, so they are left out.
            let sentence =
                |p: &crate::config::problem::Problem| format!("{}: {}; nothing was written", p.key, p.message);
            Err(Failure::problems(crate::failure::USAGE, problems.iter().map(sentence).collect()))
        }
    }
}

/// `name=URL`, or an address alone. An address has other characters before its first `=`.
fn named(text: &str) -> (Option<String>, String) {
    let plain = |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    match text.split_once('=') {
        Some((name, url)) if plain(name) => (Some(name.to_owned()), url.to_owned()),
        _ => (None, text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_may_have_a_name_before_its_address() {
        assert_eq!(named("nas=/mnt/nas"), (Some("nas".into()), "/mnt/nas".into()));
        assert_eq!(named("s3://bucket/a=b"), (None, "s3://bucket/a=b".into()));
        assert_eq!(named("/mnt/a=b"), (None, "/mnt/a=b".into()));
    }

    #[test]
    fn what_is_written_first_is_good() {
        let file = Path::new("rsb.toml");
        let text = |args: &Init| first_text(args, file, &Request::default());
        assert!(text(&Init::default()).is_ok(), "thirteen folders");
        let backends = ["a=/mnt/a", "s3://bucket", "az://container/x", "gs://bucket"].map(String::from).to_vec();
        let four =
            text(&Init { backends: backends.clone(), name: Some("pho\"tos".into()), ..Init::default() }).unwrap();
        assert!(four.contains("data_shards = 3") && four.contains("parity_shards = 1"), "{four}");
        let wrong = Init { backends, data_shards: Some(9), codec: Some("x".into()), ..Init::default() };
        let problems = text(&wrong).unwrap_err().to_string();
        assert!(problems.contains("codec") && problems.contains("nothing was written"), "{problems}");
    }
}
