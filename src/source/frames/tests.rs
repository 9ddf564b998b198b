//! Through real sockets on the loopback, on free ports.

mod peer;
mod zmq;
