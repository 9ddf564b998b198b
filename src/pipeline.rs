//! Tasks, channels and shutdown: what joins the stages. The stages themselves know nothing of it.

pub mod archiver;
pub mod ingest;
pub mod mapper;
pub mod queue;
pub mod receive;
pub mod scans;
pub mod shelf;
pub mod workboard;
