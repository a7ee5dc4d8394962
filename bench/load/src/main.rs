//! Puts, gets or lists objects over S3, several at once, and prints what it took as one JSON object. A thread and a
//! connection each, blocking sockets, a body that is never copied: on a small machine it takes as little as it can from
//! the server that is measured. Bodies are not signed (`UNSIGNED-PAYLOAD`); what comes back is compared with what was sent.
//!
//!     load put|get|list --address HOST:PORT --bucket B [--prefix P] [--size BYTES] [--count N] [--at-once N] [--delimiter D]
//!
//! The key pair is in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.

mod connection;
mod pattern;
mod sign;

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use connection::Connection;
use pattern::Pattern;
use sign::Signer;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What to do, and on what.
struct Job {
    verb: String,
    address: String,
    bucket: String,
    prefix: String,
    delimiter: String,
    size: u64,
    count: u64,
    /// The number of the first object.
    from: u64,
    at_once: u64,
    signer: Signer,
    pattern: Pattern,
    next: AtomicU64,
}

fn main() -> Outcome<()> {
    let job = Arc::new(Job::of_arguments()?);
    let start = Instant::now();
    let threads: Vec<_> = (0..job.at_once)
        .map(|_| {
            let job = job.clone();
            std::thread::spawn(move || job.work())
        })
        .collect();
    let (mut micros, mut found) = (Vec::new(), 0);
    for thread in threads {
        let (times, items) = thread.join().map_err(|_| "a thread panicked")??;
        micros.extend(times);
        found += items;
    }
    let seconds = start.elapsed().as_secs_f64();
    micros.sort_unstable();
    let at = |share: f64| micros.get((micros.len() as f64 * share) as usize).copied().unwrap_or(0) as f64 / 1e3;
    println!(
        "{{\"requests\": {}, \"items\": {found}, \"seconds\": {seconds:.6}, \"median_ms\": {:.3}, \"p99_ms\": {:.3}}}",
        micros.len(),
        at(0.5),
        at(0.99)
    );
    Ok(())
}

impl Job {
    fn of_arguments() -> Outcome<Self> {
        let mut arguments = std::env::args().skip(1);
        let verb = arguments.next().ok_or("put, get or list?")?;
        let mut given = HashMap::new();
        while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
            given.insert(name, value);
        }
        let mut text = |name: &str| given.remove(name).unwrap_or_default();
        let number = |value: String, default: u64| if value.is_empty() { Ok(default) } else { value.parse() };
        let address = text("--address");
        let job = Self {
            verb,
            signer: Signer::new(&address, &std::env::var("AWS_ACCESS_KEY_ID")?, &std::env::var("AWS_SECRET_ACCESS_KEY")?),
            address,
            bucket: text("--bucket"),
            prefix: text("--prefix"),
            delimiter: text("--delimiter"),
            size: number(text("--size"), 0)?,
            count: number(text("--count"), 1)?,
            from: number(text("--from"), 0)?,
            at_once: number(text("--at-once"), 1)?,
            pattern: Pattern::new(),
            next: AtomicU64::new(0),
        };
        match given.keys().next() {
            Some(unknown) => Err(format!("{unknown} is not known").into()),
            None => Ok(job),
        }
    }

    /// One thread's share: how long each request took, in microseconds, and how many items it found.
    fn work(&self) -> Outcome<(Vec<u64>, u64)> {
        let mut connection = Connection::open(&self.address)?;
        let (mut micros, mut found) = (Vec::new(), 0);
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.count {
                return Ok((micros, found));
            }
            let number = self.from + number;
            let start = Instant::now();
            match self.verb.as_str() {
                "put" => self.put(&mut connection, number)?,
                "get" => self.get(&mut connection, number)?,
                "list" => found += self.list(&mut connection, &mut micros)?,
                other => return Err(format!("{other} is not known").into()),
            }
            if self.verb != "list" {
                micros.push(start.elapsed().as_micros() as u64);
                found += 1;
            }
        }
    }

    /// Keys lie in folders of a hundred.
    fn path(&self, number: u64) -> String {
        format!("/{}/{}{:06}/{:02}", self.bucket, self.prefix, number / 100, number % 100)
    }

    fn put(&self, connection: &mut Connection, number: u64) -> Outcome<()> {
        let path = self.path(number);
        let head = self.signer.head("PUT", &path, "", &format!("content-length: {}\r\n", self.size));
        connection.send(head.as_bytes())?;
        self.pattern.pieces(number, self.size, |piece| connection.send(piece))?;
        let reply = connection.reply()?;
        let text = connection.text(&reply)?;
        if reply.status == 200 { Ok(()) } else { Err(format!("PUT {path}: {} {text}", reply.status).into()) }
    }

    fn get(&self, connection: &mut Connection, number: u64) -> Outcome<()> {
        let path = self.path(number);
        connection.send(self.signer.head("GET", &path, "", "").as_bytes())?;
        let reply = connection.reply()?;
        if reply.status != 200 {
            return Err(format!("GET {path}: {} {}", reply.status, connection.text(&reply)?).into());
        }
        let mut at = 0;
        connection.body(&reply, |bytes| {
            let right = self.pattern.is_at(number, at, bytes);
            at += bytes.len() as u64;
            if right { Ok(()) } else { Err(format!("GET {path}: other bytes than were put before {at}").into()) }
        })?;
        if at == self.size { Ok(()) } else { Err(format!("GET {path}: {at} bytes, not {}", self.size).into()) }
    }

    /// Lists everything under the prefix; the number of keys and common prefixes.
    fn list(&self, connection: &mut Connection, micros: &mut Vec<u64>) -> Outcome<u64> {
        let (mut found, mut token) = (0, String::new());
        loop {
            let mut query = String::new();
            if !token.is_empty() {
                query = format!("continuation-token={}&", sign::escaped(&token));
            }
            if !self.delimiter.is_empty() {
                query += &format!("delimiter={}&", sign::escaped(&self.delimiter));
            }
            query += &format!("list-type=2&prefix={}", sign::escaped(&self.prefix));
            let start = Instant::now();
            let head = self.signer.head("GET", &format!("/{}", self.bucket), &query, "");
            connection.send(head.as_bytes())?;
            let reply = connection.reply()?;
            let text = connection.text(&reply)?;
            micros.push(start.elapsed().as_micros() as u64);
            if reply.status != 200 {
                return Err(format!("LIST {}: {} {text}", self.bucket, reply.status).into());
            }
            found += (text.matches("<Contents>").count() + text.matches("<CommonPrefixes>").count()) as u64;
            match between(&text, "<NextContinuationToken>", "</NextContinuationToken>") {
                Some(next) => token = next.replace("&amp;", "&").replace("&#43;", "+"),
                None => return Ok(found),
            }
        }
    }
}

fn between<'t>(text: &'t str, begin: &str, end: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(begin)?;
    rest.split_once(end).map(|(found, _)| found)
}
