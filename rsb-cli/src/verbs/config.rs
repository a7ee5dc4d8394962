//! `config init`, `config check`, `config show`.

use rsb_core::{Engine, Env};

use super::say;
use crate::assemble;
use crate::cli::{Cli, ConfigVerb};
use crate::config::show::Shown;
use crate::failure::{DONE, FAILED, Failure, SHORT};

pub async fn run(cli: &Cli, verb: &ConfigVerb) -> Result<u8, Failure> {
    let config = assemble::load(cli, None, Vec::new())?;
    match verb {
        ConfigVerb::Show => {
            let shown = Shown::of(&config);
            let text = toml::to_string(&shown).map_err(|e| Failure::new(FAILED, e.to_string()))?;
            say(cli, &shown, || text.trim_end().to_owned())?;
            Ok(DONE)
        }
        ConfigVerb::Init => {
            let backends = assemble::backends(&config, true).await?;
            let created = Engine::init_markers(&assemble::engine_config(&config)?, &backends, &Env::system()).await?;
            say(cli, &serde_json::json!({ "markers_written": created }), || match created.len() {
                0 => "every backend has its marker already".into(),
                count => format!("{count} markers written: {}", created.join(", ")),
            })?;
            Ok(DONE)
        }
        ConfigVerb::Check => {
            let engine = assemble::open(&config).await?;
            let status = engine.status().await?;
            engine.close().await?;
            say(cli, &status, || {
                let mut out = format!(
                    "{} is good: {} on {} backends",
                    config.source.describe(),
                    status.scheme,
                    status.backends.len()
                );
                if let Some(warning) = &status.domain_warning {
                    out += &format!("\nwarning: {warning}");
                }
                for backend in status.backends.iter().filter(|b| !b.reachable) {
                    let why = backend.error.as_deref().unwrap_or("it cannot be reached");
                    out += &format!("\nbackend {:?} is not used: {why}", backend.name);
                }
                out
            })?;
            Ok(if status.backends.iter().all(|b| b.reachable) { DONE } else { SHORT })
        }
    }
}
