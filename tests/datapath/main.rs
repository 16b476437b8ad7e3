//! The data path against peers that the tests script byte by byte, and real servers where a protocol's state matters.
//!
//! Clients of the field are in `tests/e2e`; here is what they cannot be made to do: stall, reset, split at every byte, half-close
//! late, run out of descriptors.

// A failed step of a scripted peer is a failed test.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod backpressure;
mod cardinality;
mod close;
mod errors_postgres;
mod errors_redis;
mod faults_batch;
mod faults_cancel;
mod faults_capacity;
mod faults_connections;
mod faults_copy;
mod faults_cuts;
mod faults_http;
mod faults_lost;
mod faults_match;
mod faults_postgres;
mod faults_push;
mod faults_redis;
mod faults_stream;
mod faults_tcp;
mod faults_together;
mod faults_tunnel;
mod faults_twice;
mod faults_unpaired;
mod harness;
mod integrity;
mod ledger;
mod ledger_cuts;
mod lifecycle;
mod limits;
mod model;
mod numbered;
mod peers;
mod proxies;
mod recording;
mod release;
mod scripted;
mod upstream;
