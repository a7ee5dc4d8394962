//! `drill`.

use rsb_core::{DrillReport, DrillRequest, Progress};

use crate::cli::Drill;
use crate::config::units::parse_size;
use crate::door::Door;
use crate::failure::{DONE, Failure, UNREADABLE};
use crate::human::{count, rfc3339, size};
use crate::out::Out;
use crate::progress::Watch;

/// Objects that do not decode, named in a report.
const NAMED: usize = 20;

pub async fn run(out: &Out, door: &dyn Door, args: &Drill) -> Result<u8, Failure> {
    let bytes = args.read.as_deref().map(|text| {
        parse_size(text)
            .ok_or_else(|| Failure::usage(format!("--read {text:?} is no size; write one such as \"10 GB\"")))
    });
    let read_bytes = bytes.transpose()?;
    let request = DrillRequest { domain: args.domain.clone(), subsets: args.subsets, seed: args.seed, read_bytes };
    let progress = Progress::new();
    let watch = Watch::start(out, "drilling", progress.clone());
    let report = door.drill(&request, &progress).await;
    drop(watch);
    let report = report?;
    if args.report {
        out.say(&report, || report_text(&report))?;
    } else {
        for domain in &report.domains {
            out.say(domain, || {
                let decode = count(domain.readable, "object");
                format!("without {}: {decode} can be read, {} cannot", domain.domain, domain.unreadable.len())
            })?;
        }
        if let Some(reads) = &report.reads {
            out.say(reads, || reads_text(&report))?;
        }
    }
    let decodes = report.domains.iter().all(|d| d.unreadable.is_empty());
    Ok(if decodes && report.reads.as_ref().is_none_or(|r| r.failures == 0) { DONE } else { UNREADABLE })
}

fn reads_text(report: &DrillReport) -> String {
    let Some(reads) = &report.reads else { return "by reading: nothing; --read SIZE reads".into() };
    let mut text = format!(
        "by reading: {} of {} read without what is masked and verified, {} of {}; {} whole, {} did not decode",
        size(reads.bytes),
        size(reads.budget_bytes),
        reads.objects,
        count(report.objects, "object"),
        reads.whole,
        reads.failures
    );
    reads.failed.iter().for_each(|failed| text += &format!("\n  {failed}"));
    text
}

fn report_text(report: &DrillReport) -> String {
    let mut text = format!(
        "Drill of repository {:?}, {}\nbegun {}, {}; up to {} may be lost; seed {}\n",
        report.repository,
        report.repository_id,
        rfc3339(report.at_ms),
        count(report.objects, "object version"),
        count(report.may_be_lost as u64, "shard"),
        report.seed
    );
    text += "by inventory (what is listed, and of the right size, counts; no byte of it was read):";
    for domain in &report.domains {
        let verdict = match domain.unreadable.len() {
            0 => "proven".to_owned(),
            lost => format!("NOT proven: {lost} cannot be read"),
        };
        text +=
            &format!("\n  without {} ({}): {}", domain.domain, count(domain.backends.len() as u64, "backend"), verdict);
        for health in domain.unreadable.iter().take(NAMED) {
            text += &format!(
                "\n    {}/{}: {} short",
                health.bucket,
                health.key,
                count(-i64::from(health.margin) as u64, "shard")
            );
        }
    }
    text + "\n" + &reads_text(report)
}
