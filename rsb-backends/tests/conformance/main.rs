//! The conformance suite of backends (`rsb_core::testkit::backend`) on every store and every wrapper, and what each of them
//! needs besides.
//!
//! Real servers are used where these name them; a test without its server prints one line, `skipped: …, because …`:
//!
//! | variable | names |
//! | --- | --- |
//! | `RSB_TEST_S3_ENDPOINT` | a MinIO; with `RSB_TEST_S3_ACCESS_KEY` and `RSB_TEST_S3_SECRET_KEY` |
//! | `RSB_TEST_AZURITE_ENDPOINT` | an Azurite with its published account |
//! | `RSB_TEST_GCS_ENDPOINT` | a MinIO whose bucket `gcs-test` is open to everybody, and whose `gcs-closed` is to nobody |
//! | `RSB_TEST_TOXIPROXY` | toxiproxy's own interface; it is put in front of the MinIO of S3 |
//!
//! `tests/run.py` starts them all.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking, and so do its helpers")]

mod aws;
mod dead;
mod door;
mod erasure;
mod forwarding;
mod local;
mod open;
mod proxy;
mod servers;
mod toxic;
mod web;
