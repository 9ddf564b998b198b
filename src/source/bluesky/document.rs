//! A document as JSON, whatever it came as.

use std::io::Cursor;

use bytes::Bytes;
use rmpv::Value as Packed;
use serde_json::{Map, Value};

use crate::source::adapter::AdapterRefusal;
use crate::source::pickle::{self, Array, DType};
use crate::source::text::json;

/// Deepest nesting.
const MAX_DEPTH: usize = 32;
/// Longest document, bytes.
const MAX_BYTES: usize = 64 << 20;

/// Reads a document: JSON, a pickle or MessagePack.
pub(super) fn read(bytes: &Bytes) -> Result<Value, AdapterRefusal> {
    if bytes.len() > MAX_BYTES {
        return Err(AdapterRefusal::new("header_size", format_args!("a document of {} bytes", bytes.len())));
    }
    let body = match bytes[..] {
        [b'{' | b' ' | b'\n', ..] => json(bytes, MAX_BYTES)?,
        // An empty map of MessagePack begins alike, and ends there.
        [0x80, 2..=5, ..] => {
            let pickle = pickle::load(bytes).map_err(|error| AdapterRefusal::new("pickle", error))?;
            pickle.root().to_json().ok_or_else(|| AdapterRefusal::new("pickle", "too large or too deep"))?
        }
        _ => {
            let mut cursor = Cursor::new(&bytes[..]);
            let packed = rmpv::decode::read_value_with_max_depth(&mut cursor, MAX_DEPTH);
            let packed = packed.map_err(|error| AdapterRefusal::new("msgpack", error))?;
            if cursor.position() != bytes.len() as u64 {
                return Err(AdapterRefusal::new("msgpack", "bytes follow the document"));
            }
            unpacked(&packed)
        }
    };
    if body.is_object() { Ok(body) } else { Err(AdapterRefusal::new("header", "the document is no object")) }
}

/// As JSON; bytes and extensions become null, but for arrays as msgpack-numpy writes them.
fn unpacked(packed: &Packed) -> Value {
    match packed {
        Packed::Nil | Packed::Binary(_) | Packed::Ext(..) => Value::Null,
        Packed::Boolean(value) => Value::from(*value),
        Packed::Integer(value) => value.as_i64().map_or_else(|| Value::from(value.as_f64()), Value::from),
        Packed::F32(value) => Value::from(f64::from(*value)),
        Packed::F64(value) => Value::from(*value),
        Packed::String(text) => Value::from(text.as_str().unwrap_or_default()),
        Packed::Array(items) => items.iter().map(unpacked).collect(),
        Packed::Map(entries) => array(entries).unwrap_or_else(|| {
            let text = |(key, value): &(Packed, Packed)| Some((key.as_str()?.to_owned(), unpacked(value)));
            Value::Object(entries.iter().filter_map(text).collect::<Map<_, _>>())
        }),
    }
}

/// An array, or a number, of numpy: `{nd, type, kind, shape, data}`.
fn array(entries: &[(Packed, Packed)]) -> Option<Value> {
    let get = |name: &str| {
        let is_it = |key: &Packed| key.as_slice() == Some(name.as_bytes()) || key.as_str() == Some(name);
        entries.iter().find(|(key, _)| is_it(key)).map(|(_, value)| value)
    };
    let is_array = get("nd")?.as_bool()?;
    let (kind, data) = (get("type")?.as_str()?, get("data")?.as_slice()?);
    let dtype = DType::named(kind);
    if !is_array {
        return Some(Value::from(dtype.number(data)?));
    }
    let shape = get("shape")?.as_array()?.iter();
    let shape = shape.map(|n| usize::try_from(n.as_u64()?).ok()).collect::<Option<Vec<_>>>()?;
    let numbers = Array::of(dtype, shape.clone()).read(data)?;
    Some(pickle::nested(&shape, &numbers))
}
