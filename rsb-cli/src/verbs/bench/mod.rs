//! `bench codec`, `bench backends`: numbers of this machine, each from the same run as what it is compared with.

mod backends;
mod codec;

use crate::assemble;
use crate::cli::{BenchVerb, Cli};
use crate::failure::{DONE, Failure};
use crate::out::Out;

pub async fn run(cli: &Cli, out: &Out, verb: &BenchVerb) -> Result<u8, Failure> {
    let config = assemble::load(cli, None, Vec::new())?;
    match verb {
        BenchVerb::Codec => codec::run(out, &config).await.map(|()| DONE),
        BenchVerb::Backends => backends::run(out, &config).await,
    }
}
