//! A simulated microscope, and the sender that publishes it or a recorded stack over ZeroMQ.

pub mod nvpf;
