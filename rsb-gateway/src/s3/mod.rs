//! The S3 door: buckets, objects, versions and listings for clients that speak S3, on a port of its own. s3s reads
//! requests, checks signatures and writes XML; every rule of meaning is the engine's or stands here.
//!
//! Read in this order: [`door`] (one request), [`place`] (where it points), [`mod@signed`] (what its signature says) and
//! [`signed_v2`] (what an old one says), [`access`]
//! (who may do what, and what is served at all) with [`policy`] (what everybody may), [`lenient`] and [`refused`] (what is
//! passed over, and what a request must not ask for), [`cors`], [`errors`] and [`sentences`]; [`body`], [`checksums`] and [`sums`] (what a
//! request brings), [`form`] with [`form_policy`] (the same from a browser's form), [`facts`] (metadata), [`versions`] (which version
//! is meant), [`tags`], [`lock`]; then the operations, collected in [`operations`]. docs/s3.md describes the door
//! from the outside.

mod access;
mod acl;
mod attributes;
mod body;
mod buckets;
mod checksums;
mod complete;
mod copy;
mod cors;
mod delete;
mod door;
mod errors;
mod facts;
mod form;
mod form_policy;
mod get;
mod lenient;
mod lifecycle;
mod listing;
mod lock;
mod operations;
mod parts;
mod place;
mod policy;
mod put;
mod refused;
mod sentences;
mod signed;
mod signed_v2;
mod sums;
mod tags;
mod unset;
mod uploads;
mod version_listing;
mod versions;

pub(crate) use self::door::Door;
