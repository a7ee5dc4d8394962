//! `durability`.

use std::collections::BTreeMap;

use rsb_core::durability::{self, Assumptions, Chance};

use crate::assemble;
use crate::cli::{Cli, Durability};
use crate::door::Door;
use crate::failure::{DONE, Failure};
use crate::out::Out;

/// From the config alone: no backend is asked, and no catalog.
pub async fn direct(cli: &Cli, out: &Out, args: &Durability) -> Result<u8, Failure> {
    let assumptions = assumptions(args)?;
    let config = assemble::load(cli, None, Vec::new())?;
    let engine = assemble::engine_config(&config)?;
    let backends = assemble::backends(&config).await?;
    let scheme = (engine.scheme.k(), engine.scheme.m());
    say(out, &durability::judge(&backends, &engine.spread, scheme, &assumptions)?)
}

pub async fn run(out: &Out, door: &dyn Door, args: &Durability) -> Result<u8, Failure> {
    say(out, &door.durability(&assumptions(args)?).await?)
}

fn assumptions(args: &Durability) -> Result<Assumptions, Failure> {
    let default = Assumptions::default();
    let mut of_backend = BTreeMap::new();
    for text in &args.backends {
        let parsed = text.split_once('=').and_then(|(name, rate)| Some((name.to_owned(), rate.parse::<f64>().ok()?)));
        let (name, rate) = parsed.ok_or_else(|| Failure::usage(format!("--backend {text:?} is not NAME=RATE")))?;
        of_backend.insert(name, rate);
    }
    Ok(Assumptions {
        backend_losses_per_year: args.backend_rate.unwrap_or(default.backend_losses_per_year),
        of_backend,
        domain_losses_per_year: args.domain_rate.unwrap_or(default.domain_losses_per_year),
        rot_per_shard_year: args.rot_rate.unwrap_or(default.rot_per_shard_year),
        repair_hours: args.repair_hours.unwrap_or(default.repair_hours),
        scrub_days: args.scrub_days.unwrap_or(default.scrub_days),
        cycles: args.cycles,
        seed: args.seed,
    })
}

fn chance_text(chance: &Chance) -> String {
    format!("{:.2e} (95 %: {:.2e} to {:.2e})", chance.per_year, chance.low, chance.high)
}

fn say(out: &Out, judged: &durability::Durability) -> Result<u8, Failure> {
    out.say(judged, || {
        let a = &judged.assumptions;
        let shards: Vec<String> = judged.shards_by_domain.iter().map(|(name, count)| format!("{name}: {count}")).collect();
        let mut text = format!(
            "the chance that an object is lost within a year: {}, {:.1} nines\n{}+{}, shards by domain: {}\nassumed: a backend loses everything {} times a year (disks in 2024: 0.0157, Backblaze Drive Stats), a domain {} (a guess), a shard rots {} (a guess); rebuilt after {} hours, scrubbed every {} days (guesses). Seed {}, {} cycles",
            chance_text(&judged.chance),
            judged.nines,
            judged.data_shards,
            judged.parity_shards,
            shards.join(", "),
            a.backend_losses_per_year,
            a.domain_losses_per_year,
            a.rot_per_shard_year,
            a.repair_hours,
            a.scrub_days,
            a.seed,
            a.cycles,
        );
        for (name, rate) in &a.of_backend {
            text += &format!("\nassumed: {name} loses everything {rate} times a year");
        }
        text += "\nwhat would help, most first:";
        for change in &judged.changes {
            text += &format!("\n  {:.1} times smaller: {}: {}", change.times_better, change.what, chance_text(&change.chance));
        }
        text
    })?;
    Ok(DONE)
}
