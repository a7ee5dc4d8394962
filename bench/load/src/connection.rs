//! As much of HTTP/1.1 as two servers speak: replies with a length, or in chunks.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::Outcome;

const BUFFER: usize = 256 << 10;

/// A connection that is used again and again.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What was read and not used yet.
    from: usize,
    to: usize,
}

/// The head of a reply.
pub struct Reply {
    pub status: u16,
    /// `None`: in chunks.
    len: Option<u64>,
}

impl Connection {
    pub fn open(address: &str) -> Outcome<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; BUFFER], from: 0, to: 0 })
    }

    pub fn send(&mut self, bytes: &[u8]) -> Outcome<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    fn fill(&mut self) -> Outcome<()> {
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        } else if self.to == self.buffer.len() {
            self.buffer.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        match self.stream.read(&mut self.buffer[self.to..])? {
            0 => Err("the server closed the connection".into()),
            read => {
                self.to += read;
                Ok(())
            }
        }
    }

    /// Up to and without `end`.
    fn until(&mut self, end: &[u8]) -> Outcome<String> {
        loop {
            let seen = &self.buffer[self.from..self.to];
            if let Some(at) = seen.windows(end.len()).position(|window| window == end) {
                let text = String::from_utf8_lossy(&seen[..at]).into_owned();
                self.from += at + end.len();
                return Ok(text);
            }
            self.fill()?;
        }
    }

    /// The head of the next reply.
    pub fn reply(&mut self) -> Outcome<Reply> {
        let head = self.until(b"\r\n\r\n")?.to_ascii_lowercase();
        let status = head.get(9..12).ok_or("no status")?.parse()?;
        let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let chunked = value("transfer-encoding:").is_some_and(|value| value == "chunked");
        let len = if chunked { None } else { Some(value("content-length:").unwrap_or("0").parse()?) };
        Ok(Reply { status, len })
    }

    /// Gives the body piece by piece.
    pub fn body(&mut self, reply: &Reply, mut give: impl FnMut(&[u8]) -> Outcome<()>) -> Outcome<()> {
        let Some(len) = reply.len else {
            loop {
                let len = u64::from_str_radix(self.until(b"\r\n")?.split(';').next().unwrap_or_default().trim(), 16)?;
                self.run(len, &mut give)?;
                self.until(b"\r\n")?;
                if len == 0 {
                    return Ok(());
                }
            }
        };
        self.run(len, &mut give)
    }

    fn run(&mut self, mut left: u64, give: &mut impl FnMut(&[u8]) -> Outcome<()>) -> Outcome<()> {
        while left > 0 {
            if self.from == self.to {
                self.fill()?;
            }
            let take = left.min((self.to - self.from) as u64) as usize;
            give(&self.buffer[self.from..self.from + take])?;
            self.from += take;
            left -= take as u64;
        }
        Ok(())
    }

    /// The body as text.
    pub fn text(&mut self, reply: &Reply) -> Outcome<String> {
        let mut all = Vec::new();
        self.body(reply, |bytes| {
            all.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(String::from_utf8_lossy(&all).into_owned())
    }
}
