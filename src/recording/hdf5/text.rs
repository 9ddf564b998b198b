//! Texts of whatever kind: one or many, of fixed or variable length, padded or ended as they like, UTF-8 or Latin-1.

use hdf5_reader::error::Error;
use hdf5_reader::{Attribute, Dataset, Datatype, StringSize, VarLenKind};

/// Most texts of an attribute.
const MOST: usize = 64;

/// How the texts of an element type are stored.
enum Kind {
    Fixed(usize),
    Variable,
}

fn kind(of: &Datatype) -> Option<Kind> {
    match of {
        Datatype::String { size: StringSize::Fixed(length), .. } => Some(Kind::Fixed(*length as usize)),
        Datatype::String { size: StringSize::Variable, .. }
        | Datatype::VarLen { kind: VarLenKind::String, .. } => Some(Kind::Variable),
        _ => None,
    }
}

/// Texts of an attribute, at most [`MOST`]; `None` where it is none. `resolve` gives the bytes of a text that is elsewhere.
pub(super) fn of_attribute(
    attribute: &Attribute,
    resolve: impl Fn(&[u8]) -> Result<Vec<u8>, Error>,
) -> Option<Vec<String>> {
    let kind = kind(&attribute.datatype)?;
    let count = usize::try_from(attribute.num_elements().ok()?).ok()?.min(MOST);
    let raw = &attribute.raw_data;
    match kind {
        Kind::Fixed(length) => Some(raw.chunks(length.max(1)).take(count).map(decode).collect()),
        Kind::Variable if count == 0 => Some(Vec::new()),
        Kind::Variable if attribute.decoded_strings.is_some() => {
            attribute.decoded_strings.as_ref().map(|texts| texts.iter().take(MOST).cloned().collect())
        }
        // Of a single text the reader has resolved the bytes already.
        Kind::Variable if count == 1 => Some(vec![decode(raw)]),
        Kind::Variable => {
            // A file may say that there are more texts than bytes.
            let size = raw.len() / attribute.num_elements().ok()?.max(1) as usize;
            let references = raw.chunks(size.max(1));
            references
                .take(count)
                .map(|reference| resolve(reference).ok().map(|text| decode(&text)))
                .collect()
        }
    }
}

/// Texts of a dataset, which are to be no more than `most`; `None` where it is none.
pub(super) fn of_dataset(dataset: &Dataset, most: usize) -> Result<Option<Vec<String>>, Error> {
    let Some(kind) = kind(dataset.dtype()) else { return Ok(None) };
    let count = dataset.num_elements()?;
    if count > most as u64 {
        return Err(Error::InvalidData(format!("{count} texts; at most {most} make sense")));
    }
    let raw = dataset.read_raw_bytes()?;
    match kind {
        Kind::Fixed(length) => Ok(Some(raw.chunks(length.max(1)).map(decode).collect())),
        Kind::Variable => raw
            .chunks(dataset.vlen_reference_size().max(1))
            .map(|reference| dataset.resolve_vlen_reference_bytes(reference, 1).map(|text| decode(&text)))
            .collect::<Result<_, _>>()
            .map(Some),
    }
}

/// A text up to its end, without the blanks it may be padded with.
fn decode(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let bytes = &bytes[..end];
    match std::str::from_utf8(bytes) {
        Ok(text) => text.trim().to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect::<String>().trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_end_where_they_end() {
        assert_eq!(decode(b"NXstxm\0\0junk"), "NXstxm");
        assert_eq!(decode(b"energy   "), "energy");
        assert_eq!(decode("µm".as_bytes()), "µm");
        assert_eq!(decode(b"\xb5m"), "µm");
        assert_eq!(decode(b""), "");
    }
}
