//! Texts: JSON with bare NaN in it, and numbers one after the other.

use bytes::Bytes;
use serde_json::Value;

use crate::source::adapter::AdapterRefusal;

/// JSON, in which bare `NaN` and `Infinity` are null.
pub(in crate::source) fn json(text: &Bytes, limit: usize) -> Result<Value, AdapterRefusal> {
    if text.len() > limit {
        return Err(AdapterRefusal::new(
            "header_size",
            format_args!("JSON of {} bytes; the limit is {limit}", text.len()),
        ));
    }
    let read = |text: &[u8]| serde_json::from_slice(text);
    read(text)
        .or_else(|error| match without_nan(text) {
            Some(text) => read(&text),
            None => Err(error),
        })
        .map_err(|error| AdapterRefusal::new("header", error))
}

/// The text with null for each number that is none, outside of strings; `None` where there is none.
fn without_nan(text: &[u8]) -> Option<Vec<u8>> {
    const WORDS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];
    let (mut out, mut at, mut in_string, mut found) = (Vec::with_capacity(text.len()), 0, false, false);
    while let Some(&byte) = text.get(at) {
        let rest = &text[at..];
        let word = WORDS.iter().find(|word| !in_string && rest.starts_with(word));
        if let Some(word) = word {
            out.extend(b"null");
            at += word.len();
            found = true;
            continue;
        }
        let taken = if in_string && byte == b'\\' { rest.len().min(2) } else { 1 };
        in_string ^= byte == b'"';
        out.extend(&rest[..taken]);
        at += taken;
    }
    found.then_some(out)
}

/// `N` whole numbers with blanks between and behind them.
pub(in crate::source) fn integers<const N: usize>(
    what: &str,
    text: &Bytes,
) -> Result<[usize; N], AdapterRefusal> {
    let wrong = || {
        let shown = String::from_utf8_lossy(&text[..text.len().min(64)]).into_owned();
        AdapterRefusal::new("header", format_args!("{what}: {N} whole numbers belong where {shown:?} came"))
    };
    let numbers = std::str::from_utf8(text).map_err(|_| wrong())?.split_ascii_whitespace();
    let numbers: Vec<usize> =
        numbers.take(N + 1).map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
    numbers.try_into().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_outside_of_strings_is_null() {
        let text = Bytes::from_static(br#"{"a": NaN, "b": [-Infinity, Infinity, 1.5], "NaN\"": "NaN \\"}"#);
        let value = json(&text, 1000).unwrap();
        assert_eq!(value.to_string(), r#"{"NaN\"":"NaN \\","a":null,"b":[null,null,1.5]}"#);
        assert_eq!(json(&text, 10).unwrap_err().reason(), "header_size");
        assert!(json(&Bytes::from_static(b"{\"a\": NaN"), 1000).is_err());
    }

    #[test]
    fn integers_are_as_many_as_belong() {
        let read = |text: &'static str| integers::<2>("h w", &Bytes::from_static(text.as_bytes())).ok();
        assert_eq!(read("1 250 "), Some([1, 250]));
        for bad in ["1", "1 2 3", "1 -2", "1 x", "", "1.0 2"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
