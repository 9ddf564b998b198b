//! Tasks, channels and shutdown: what joins the stages. The stages themselves know nothing of it.

pub mod queue;
pub mod receive;
