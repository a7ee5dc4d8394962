//! The S3 door: buckets, objects, versions and listings for clients that speak S3, on a port of its own. s3s reads
//! requests, checks signatures and writes XML; every rule of meaning is the engine's or stands here.
//!
//! Read in this order: [`door`] (one request), [`access`] (who may do what, and what is served at all), [`refused`] (what a
//! request must not ask for), [`errors`]; [`body`], [`checksums`] and [`sums`] (what a request brings), [`facts`] (metadata),
//! [`versions`] (which version is meant); then the operations, collected in [`operations`]. docs/s3.md describes the door
//! from the outside.

mod access;
mod acl;
mod attributes;
mod body;
mod buckets;
mod checksums;
mod complete;
mod copy;
mod delete;
mod door;
mod errors;
mod facts;
mod get;
mod lifecycle;
mod listing;
mod lock;
mod operations;
mod parts;
mod put;
mod refused;
mod sums;
mod tags;
mod unset;
mod uploads;
mod version_listing;
mod versions;

pub(crate) use self::door::Door;
