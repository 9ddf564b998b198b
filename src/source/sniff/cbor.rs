//! As much of CBOR as it takes to see what a message of DECTRIS Stream V2 is: the keys of its outer map. Everything else is passed over.
//!
//! Nothing is allocated, nothing nests deeper than [`MAX_DEPTH`], and no length is believed beyond the bytes there are.

/// The tag of self-described CBOR.
const SELF_DESCRIBED: [u8; 3] = [0xd9, 0xd9, 0xf7];
/// Deepest nesting.
const MAX_DEPTH: u32 = 24;

/// What the outer map says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outer<'a> {
    /// `type`.
    pub(super) kind: &'a str,
    /// `series_id`.
    pub(super) series: Option<u64>,
    /// `image_id`.
    pub(super) image: Option<u64>,
    /// `number_of_images`.
    pub(super) images: Option<u64>,
}

/// Reads it; `None` where the bytes are no map that is whole, or say no type.
pub(super) fn outer(bytes: &[u8]) -> Option<Outer<'_>> {
    let mut reader = Reader { left: bytes.strip_prefix(&SELF_DESCRIBED).unwrap_or(bytes) };
    let (MAP, entries) = reader.head()? else { return None };
    let mut outer = Outer::default();
    let mut read = 0;
    while entries.is_none_or(|entries| read < entries) {
        if entries.is_none() && reader.left.first() == Some(&BREAK) {
            break;
        }
        let key = reader.text()?;
        match key {
            Some("type") => outer.kind = reader.text()??,
            Some("series_id") => outer.series = reader.number()?,
            Some("image_id") => outer.image = reader.number()?,
            Some("number_of_images") => outer.images = reader.number()?,
            _ => reader.pass(0)?,
        }
        read += 1;
    }
    (!outer.kind.is_empty()).then_some(outer)
}

const NUMBER: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
/// Ends what has no length.
const BREAK: u8 = 0xff;

struct Reader<'a> {
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.left.split_at_checked(bytes)?;
        self.left = left;
        Some(taken)
    }

    /// Major type and argument; without the latter where the length is not told.
    fn head(&mut self) -> Option<(u8, Option<u64>)> {
        let first = *self.take(1)?.first()?;
        let argument = match first & 0x1f {
            small @ 0..24 => Some(u64::from(small)),
            size @ 24..28 => {
                let digits = self.take(1 << (size - 24))?.iter();
                Some(digits.fold(0, |number, &digit| number << 8 | u64::from(digit)))
            }
            31 if matches!(first >> 5, BYTES..=MAP) => None,
            _ => return None,
        };
        Some((first >> 5, argument))
    }

    /// A text; the inner `None` where it is something else, which is passed over, or no UTF-8.
    fn text(&mut self) -> Option<Option<&'a str>> {
        let before = self.left;
        if let (TEXT, Some(length)) = self.head()? {
            return Some(std::str::from_utf8(self.take(usize::try_from(length).ok()?)?).ok());
        }
        self.left = before;
        self.pass(0)?;
        Some(None)
    }

    /// A number from 0 on, as [`Reader::text`].
    fn number(&mut self) -> Option<Option<u64>> {
        let before = self.left;
        if let (NUMBER, number) = self.head()? {
            return Some(number);
        }
        self.left = before;
        self.pass(0)?;
        Some(None)
    }

    /// Passes over one item.
    fn pass(&mut self, depth: u32) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        let (major, argument) = self.head()?;
        match (major, argument) {
            (BYTES | TEXT, Some(length)) => self.take(usize::try_from(length).ok()?).map(drop),
            // Each item takes a byte at least, so that a false count ends with the bytes.
            (ARRAY, Some(items)) => (0..items).try_for_each(|_| self.pass(depth + 1)),
            (MAP, Some(items)) => (0..items.checked_mul(2)?).try_for_each(|_| self.pass(depth + 1)),
            (_, None) => {
                while self.left.first() != Some(&BREAK) {
                    self.pass(depth + 1)?;
                }
                self.take(1).map(drop)
            }
            (TAG, _) => self.pass(depth + 1),
            _ => Some(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [&[0x60 | text.len() as u8], text.as_bytes()].concat()
    }

    fn image() -> Vec<u8> {
        [
            &[0xd9, 0xd9, 0xf7, 0xa4][..],
            &text("type"),
            &text("image"),
            &text("series_id"),
            &[0x19, 0x01, 0x02],
            // {"threshold_1": 40([[2, 3], 69(bytes)])}
            &text("data"),
            &[0xa1],
            &text("threshold_1"),
            &[0xd8, 40, 0x82, 0x82, 2, 3, 0xd8, 69, 0x44, 1, 2, 3, 4],
            &text("image_id"),
            &[0x18, 200],
        ]
        .concat()
    }

    #[test]
    fn a_message_tells_what_it_is_with_its_prefix_or_without() {
        let wanted = Outer { kind: "image", series: Some(258), image: Some(200), images: None };
        assert_eq!(outer(&image()), Some(wanted));
        assert_eq!(outer(&image()[3..]), Some(wanted));
        // A map without a length.
        let open = [&[0xbf][..], &text("type"), &text("end"), &[0xff]].concat();
        assert_eq!(outer(&open).map(|outer| outer.kind), Some("end"));
        for end in 0..image().len() {
            assert_eq!(outer(&image()[..end]), None, "{end}");
        }
        assert_eq!(outer(&[0xa1, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(outer(&[0x9f; 4096]), None);
    }

    proptest! {
        #[test]
        fn anything_is_read_or_not(mut bytes in prop::collection::vec(any::<u8>(), 0..64), good in any::<bool>(), at in any::<usize>(), byte: u8) {
            if good {
                bytes = image();
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            outer(&bytes);
        }
    }
}
