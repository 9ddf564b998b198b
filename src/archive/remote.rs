//! The second copy of the archive: in object storage that speaks S3, or in a folder of another file system.
//!
//! A scan lies at the remote under its [`ScanPath`], with the same files. They are sent first and the manifest last, so
//! that where a manifest is, the scan is whole; each is read back whole after it was sent, and its size and SHA-256
//! compared with the manifest, before the scan counts as copied ([`copy`]). Nothing is ever deleted at a remote, and
//! nothing overwritten but an archive of the same scan that is older, or damaged. What is at the remote already and right is not
//! sent again. Files go in parts of 8 MiB, of which a few are in memory at once ([`store`]).
//!
//! What is to be sent follows from the archive and its ledger ([`outbox`]); the queue in memory is bounded, and filled
//! again from there. A remote that does not answer is asked again, less and less often, for ever.
//!
//! Credentials are handed in and kept in memory only; where a server repeats them in an error they are cut out of it.

pub mod copy;
pub mod outbox;
pub mod store;

pub use copy::{CopyError, Delivered, check, deliver};
pub use outbox::{Outbox, Whose, is_pending, pending};
pub use store::{BucketSettings, Credentials, Remote, RemoteError};

#[cfg(test)]
mod tests;
