//! Looking at what a pickle holds.

use serde_json::{Map, Value};

use super::{Id, Node, Pickle};

/// Deepest nesting, and most values, that are turned into JSON.
const MAX_DEPTH: usize = 32;
const MAX_VALUES: usize = 200_000;

/// One value of a pickle.
#[derive(Clone, Copy, Debug)]
pub struct View<'p, 'a> {
    pickle: &'p Pickle<'a>,
    id: Id,
}

impl<'p, 'a> View<'p, 'a> {
    pub(super) fn new(pickle: &'p Pickle<'a>, id: Id) -> Self {
        Self { pickle, id }
    }

    /// The value itself.
    #[must_use]
    pub fn node(self) -> &'p Node<'a> {
        self.pickle.node(self.id)
    }

    #[cfg(test)]
    pub(super) fn pickle(self) -> &'p Pickle<'a> {
        self.pickle
    }

    /// A text.
    #[must_use]
    pub fn text(self) -> Option<&'p str> {
        match self.node() {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number, whole or not; also an array of one.
    #[must_use]
    pub fn number(self) -> Option<f64> {
        match self.node() {
            Node::Int(value) => Some(*value as f64),
            Node::Float(value) => Some(*value),
            Node::Array(array) if array.shape.iter().all(|n| *n == 1) => {
                self.numbers()?.first().map(|value| f64::from(*value))
            }
            _ => None,
        }
    }

    /// A whole number, 0 or above.
    #[must_use]
    pub fn index(self) -> Option<usize> {
        match self.node() {
            Node::Int(value) => usize::try_from(*value).ok(),
            Node::Float(value) if value.fract() == 0.0 && (0.0..9e15).contains(value) => {
                Some(*value as usize)
            }
            _ => None,
        }
    }

    /// Whether it is `True`.
    #[must_use]
    pub fn is_true(self) -> bool {
        matches!(self.node(), Node::Bool(true))
    }

    /// What a dictionary has under a key; where the key was set twice, the last.
    #[must_use]
    pub fn get(self, key: &str) -> Option<Self> {
        self.entries().filter(|(name, _)| *name == key).last().map(|(_, value)| value)
    }

    /// What a dictionary has under texts.
    pub fn entries(self) -> impl Iterator<Item = (&'p str, Self)> {
        let pairs = match self.node() {
            Node::Dict(pairs) => pairs.as_slice(),
            _ => &[],
        };
        let view = move |id: Id| Self::new(self.pickle, id);
        pairs.iter().filter_map(move |(key, value)| Some((view(*key).text()?, view(*value))))
    }

    /// The shape of an array that holds numbers, or of a list of them.
    #[must_use]
    pub fn shape(self) -> Option<Vec<usize>> {
        match self.node() {
            Node::Array(array) => array.data.map(|_| array.shape.clone()),
            Node::List(list) | Node::Tuple(list) => Some(vec![list.len()]),
            _ => None,
        }
    }

    /// The numbers of an array, last index fastest, or of a list.
    #[must_use]
    pub fn numbers(self) -> Option<Vec<f32>> {
        match self.node() {
            Node::Array(array) => match self.pickle.node(array.data?) {
                Node::Bytes(bytes) => array.numbers(bytes),
                _ => None,
            },
            Node::List(list) | Node::Tuple(list) => {
                let number = |id: &Id| match self.pickle.node(*id) {
                    Node::Int(value) => Some(*value as f32),
                    Node::Float(value) => Some(*value as f32),
                    _ => None,
                };
                list.iter().map(number).collect()
            }
            _ => None,
        }
    }

    /// As JSON: what is no plain value becomes null, and so do numbers that are not finite. `None` where it is nested too
    /// deeply, or is too large.
    #[must_use]
    pub fn to_json(self) -> Option<Value> {
        let mut left = MAX_VALUES;
        self.json(MAX_DEPTH, &mut left)
    }

    fn json(self, depth: usize, left: &mut usize) -> Option<Value> {
        *left = left.checked_sub(1)?;
        let depth = depth.checked_sub(1)?;
        let mut list = |ids: &[Id]| -> Option<Value> {
            ids.iter()
                .map(|id| Self::new(self.pickle, *id).json(depth, left))
                .collect::<Option<Vec<_>>>()
                .map(Value::from)
        };
        Some(match self.node() {
            Node::None | Node::Global(..) | Node::DType(_) | Node::Opaque(_) | Node::Bytes(_) => Value::Null,
            Node::Bool(value) => Value::from(*value),
            Node::Int(value) => Value::from(*value),
            Node::Float(value) => Value::from(*value),
            Node::Text(text) => Value::from(&**text),
            Node::List(ids) | Node::Tuple(ids) | Node::Set(ids) => list(ids)?,
            Node::Dict(_) => {
                let mut object = Map::new();
                for (key, value) in self.entries() {
                    object.insert(key.to_owned(), value.json(depth, left)?);
                }
                Value::Object(object)
            }
            Node::Array(array) => {
                let Some(numbers) = self.numbers() else { return Some(Value::Null) };
                *left = left.checked_sub(numbers.len())?;
                nested(&array.shape, &numbers)
            }
        })
    }
}

/// Numbers of an array as lists of lists.
pub(in crate::source) fn nested(shape: &[usize], numbers: &[f32]) -> Value {
    let value = |number: &f32| Value::from(f64::from(*number));
    match shape {
        [] => numbers.first().map_or(Value::Null, value),
        [_] => numbers.iter().map(value).collect(),
        [n, rest @ ..] if *n > 0 && numbers.len() >= *n => {
            numbers.chunks(numbers.len() / n).map(|part| nested(rest, part)).collect()
        }
        _ => Value::Array(Vec::new()),
    }
}
