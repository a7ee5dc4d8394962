//! Real engines on an erasure-coded store: the same results as on a plain one, also with backends lost, and at most a quarter more
//! bytes read.

mod columns;
mod queries;
mod tables;
mod values;
