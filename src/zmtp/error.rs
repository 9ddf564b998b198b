//! What a peer can do wrong.

/// Why a connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZmtpError {
    /// The first bytes are no greeting.
    #[error("it does not speak ZeroMQ; it began with {0}")]
    Foreign(String),
    /// The greeting is that of an older protocol.
    #[error("it speaks ZMTP of revision {0}, which libzmq did before 4.0; ZMTP 3 is needed")]
    Version(u8),
    /// The peer wants to authenticate or encrypt.
    #[error(
        "it wants the security mechanism {0}; only NULL is spoken here: protect the network instead, or tunnel"
    )]
    Mechanism(String),
    /// The two kinds of socket do not belong together.
    #[error("it is a {found} socket; {wanted} is needed")]
    SocketType {
        /// What it says it is.
        found: String,
        /// What would do.
        wanted: &'static str,
    },
    /// The peer ended the handshake, with its reason.
    #[error("it refuses: {0}")]
    Refused(String),
    /// Something else came where READY has to.
    #[error("it sent something else before READY")]
    NotReady,
    /// A command that cannot be read.
    #[error("a malformed command: {0}")]
    Command(&'static str),
    /// Flags of a frame that ZMTP 3 does not have.
    #[error("no frame of ZMTP 3 begins with {0:#04x}")]
    Flags(u8),
    /// A command longer than any that there is.
    #[error("a command of {0} bytes")]
    CommandBytes(u64),
    /// A frame longer than ZMTP can say.
    #[error("a frame of {0} bytes")]
    FrameBytes(u64),
    /// A message of too many parts.
    #[error("a message of more than {0} parts")]
    Parts(usize),
    /// A subscriber wants too much.
    #[error("subscriptions of more than {0} bytes or prefixes")]
    Subscriptions(usize),
}
