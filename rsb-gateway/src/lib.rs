//! The doors of RSBackup over HTTP: the prototype's protocol, the native API `/v1`, health, metrics and the web page on
//! one port; S3 on another.
//! It gets an opened [`rsb_core::Engine`] and knows nothing of stores.
//!
//! Read in this order: [`GatewayConfig`]; `server` and `stall` (connections) with `tls`; `call` (one request), `body`
//! and `form` (what it brings), `auth`, `names` and `query` (what it asks for), `http` (ranges, conditions, replies), `problem`
//! (errors); then `routes` and behind it the doors: `prototype`, `v1`, `health`, `metrics`, `page`; `jobs` holds what runs
//! longer than a request, `lifecycle` what runs all the time; `s3` is the S3 door, with its storage `classes`. docs/api.md and docs/s3.md describe all of it from the outside.

mod app;
mod auth;
mod body;
mod call;
mod classes;
mod config;
mod error;
mod form;
mod health;
mod http;
mod jobs;
mod lifecycle;
mod metrics;
mod names;
mod page;
mod problem;
mod prototype;
mod query;
mod routes;
mod s3;
mod server;
mod stall;
mod tls;
mod v1;

pub use classes::why_no_class;
pub use config::{
    AccessKey, Auth, GatewayConfig, KeySource, Limits, MetricsRender, PrototypeMode, Right, Secret, ShardCounts, Tls,
};
pub use error::GatewayError;
pub use server::{Gateway, bind, serve};
