//! Python pickles, read without executing anything.
//!
//! A pickle is a program for a stack machine, and what makes it dangerous are the calls in it. Here nothing is called: the opcodes that
//! build plain values build them, a class or function is a name, and a call is the name of what would have been called
//! ([`Node::Opaque`]), but for the few whose result is plain data: numpy's arrays, scalars and dtypes (of numpy 1 and 2), bytes as
//! protocol 2 writes them, and dictionaries of `collections`. Protocols 2 to 5; values that lie outside the pickle, extension codes and
//! persistent ids are refused by name.
//!
//! Values lie in one arena and are referred to by number, so that what is memoised is shared, a structure may contain itself, and nothing
//! recurses. Everything is bounded: values, items, memo, and what is made of them; texts and bytes are slices of the message. Bad input is
//! refused with the offset and the reason, and nothing is allocated for what it only announces.

mod array;
mod machine;
mod opcode;
mod view;
pub mod write;

use std::borrow::Cow;

pub use array::{Array, DType};
pub use machine::load;
pub use view::View;
pub(super) use view::nested;

/// Most values of one pickle.
pub const MAX_NODES: usize = 1 << 20;
/// Most items of all lists, tuples and dictionaries together, of the stack and of the memo.
pub const MAX_ITEMS: usize = 1 << 22;

/// Why a pickle was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pickle: {what} (at byte {offset})")]
pub struct PickleError {
    /// Where.
    pub offset: usize,
    /// What is wrong.
    pub what: String,
}

/// Number of a value in its pickle.
pub type Id = u32;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Node<'a> {
    /// `None`.
    None,
    /// `True`, `False`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number that is not whole, or too large for 64 bits.
    Float(f64),
    /// A text; what is no UTF-8 in it is replaced.
    Text(Cow<'a, str>),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
    /// A list.
    List(Vec<Id>),
    /// A tuple.
    Tuple(Vec<Id>),
    /// A set.
    Set(Vec<Id>),
    /// A dictionary, in the order in which it was filled.
    Dict(Vec<(Id, Id)>),
    /// A class or a function, by module and name.
    Global(Cow<'a, str>, Cow<'a, str>),
    /// numpy's description of a number.
    DType(DType),
    /// numpy's array.
    Array(Array),
    /// What only Python could make: the name of what would have been called.
    Opaque(String),
}

/// A pickle that was read.
#[derive(Clone, Debug)]
pub struct Pickle<'a> {
    nodes: Vec<Node<'a>>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// What it holds.
    #[must_use]
    pub fn root(&self) -> View<'_, 'a> {
        View::new(self, self.root)
    }

    fn node(&self, id: Id) -> &Node<'a> {
        // Ids are made by the machine, of nodes that are there.
        self.nodes.get(id as usize).unwrap_or(&Node::None)
    }
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
