//! The gateway from the outside: real sockets, a real engine on memory backends.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something unexpected happens")]

mod auth;
mod connection;
mod degraded;
mod jobs;
mod objects;
mod openapi;
mod prototype;
mod refusals;
mod s3;
mod status;
mod support;
