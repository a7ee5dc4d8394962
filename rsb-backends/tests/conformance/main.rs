//! One conformance suite for every store and every wrapper: object_store's own integration functions, and what the
//! engine needs besides.
//!
//! Real servers are used where these name them; a test without its server prints `skipped: …`:
//! `RSB_TEST_S3_ENDPOINT` with `RSB_TEST_S3_ACCESS_KEY` and `RSB_TEST_S3_SECRET_KEY`, `RSB_TEST_AZURITE_ENDPOINT`,
//! `RSB_TEST_GCS_ENDPOINT` (a server whose bucket `gcs-test` is open to everybody).

#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test by panicking, as the test itself does")]

mod dead;
mod local;
mod open;
mod servers;
mod suite;
mod web;
