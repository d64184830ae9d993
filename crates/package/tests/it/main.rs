//! The package crate from the outside: directories in, archives and refusals out.

// What these tests set up by shared functions either stands or the test has failed.
#![allow(clippy::unwrap_used, clippy::panic)]

mod building;
mod checksums;
mod hostile;
mod manifests;
mod memory;
mod round_trip;
mod signatures;
mod support;
