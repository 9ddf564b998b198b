//! Requests to send messages again, and their answers: JSON in one part, on a REQ and REP pair beside the stream.
//!
//! A request names a scan and ranges of `seq`; the answer says how many messages were sent again, or why none were.
//! Either is at most [`MAX_RESEND_BYTES`] long. What breaks a rule is an error that says which; unknown fields are ignored.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use crate::scan::is_valid_id;

/// Longest request or answer, bytes.
pub const MAX_RESEND_BYTES: usize = 65_536;
/// The highest `seq` there can be: the end of an open range.
pub const LAST_SEQ: u64 = 4_294_967_294;

/// Why a request or an answer is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResendError {
    /// It is not one part.
    #[error("{0} parts, not one")]
    Parts(usize),
    /// It is too long.
    #[error("{0} bytes; at most {MAX_RESEND_BYTES} are read")]
    Size(usize),
    /// It is not the JSON it has to be.
    #[error("{0}")]
    Json(String),
    /// The identifier breaks the alphabet.
    #[error("scan_id must be 1 to 128 characters of A-Z a-z 0-9 . _ -, the first a letter or digit")]
    ScanId,
    /// A range ends before it begins, or beyond the last number.
    #[error("the range [{0}, {1}] must be [first, last] with first <= last <= {LAST_SEQ}")]
    Range(u64, u64),
    /// No range at all.
    #[error("seq must list at least one range [first, last]")]
    NoRange,
}

/// Asks for messages of one scan.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ResendRequest {
    /// The scan.
    pub scan_id: String,
    /// First and last `seq` of each range.
    pub seq: Vec<[u64; 2]>,
}

impl ResendRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn parse(parts: &[Bytes]) -> Result<Self, ResendError> {
        let request: Self = json_part(parts)?;
        if !is_valid_id(&request.scan_id) {
            return Err(ResendError::ScanId);
        }
        if request.seq.is_empty() {
            return Err(ResendError::NoRange);
        }
        match request.seq.iter().find(|[first, last]| first > last || *last > LAST_SEQ) {
            Some([first, last]) => Err(ResendError::Range(*first, *last)),
            None => Ok(request),
        }
    }

    /// The request as it is sent.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        json!({ "scan_id": self.scan_id, "seq": self.seq }).to_string().into()
    }
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResendAnswer {
    /// So many messages were sent again on the stream.
    Sent(u64),
    /// Nothing was sent, for this reason.
    Refused(String),
}

impl ResendAnswer {
    /// Reads an answer.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn parse(parts: &[Bytes]) -> Result<Self, ResendError> {
        #[derive(Deserialize)]
        struct Fields {
            sent: Option<u64>,
            error: Option<String>,
        }
        match json_part(parts)? {
            Fields { error: Some(error), .. } => Ok(Self::Refused(error.chars().take(200).collect())),
            Fields { sent: Some(sent), .. } => Ok(Self::Sent(sent)),
            Fields { .. } => Err(ResendError::Json("neither `sent` nor `error`".to_owned())),
        }
    }

    /// The answer as it is sent.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        match self {
            Self::Sent(sent) => json!({ "sent": sent }),
            Self::Refused(error) => json!({ "error": error }),
        }
        .to_string()
        .into()
    }
}

fn json_part<'a, T: Deserialize<'a>>(parts: &'a [Bytes]) -> Result<T, ResendError> {
    let [part] = parts else { return Err(ResendError::Parts(parts.len())) };
    if part.len() > MAX_RESEND_BYTES {
        return Err(ResendError::Size(part.len()));
    }
    serde_json::from_slice(part).map_err(|error| ResendError::Json(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Result<ResendRequest, ResendError> {
        ResendRequest::parse(&[Bytes::copy_from_slice(text.as_bytes())])
    }

    fn answer(text: &str) -> Result<ResendAnswer, ResendError> {
        ResendAnswer::parse(&[Bytes::copy_from_slice(text.as_bytes())])
    }

    #[test]
    fn reads_what_it_writes() {
        let asked = ResendRequest { scan_id: "a-1".into(), seq: vec![[3, 5], [9, LAST_SEQ]] };
        assert_eq!(&asked.to_bytes()[..], br#"{"scan_id":"a-1","seq":[[3,5],[9,4294967294]]}"#);
        assert_eq!(ResendRequest::parse(&[asked.to_bytes()]), Ok(asked));
        for said in [ResendAnswer::Sent(4), ResendAnswer::Refused("no such scan".into())] {
            assert_eq!(ResendAnswer::parse(&[said.to_bytes()]), Ok(said));
        }
    }

    #[test]
    fn refuses_what_breaks_a_rule_and_says_which() {
        for (text, wanted) in [
            ("", "EOF"),
            ("[]", "invalid length"),
            (r#"{"scan_id": "a"}"#, "missing field `seq`"),
            (r#"{"scan_id": "a/b", "seq": [[0, 1]]}"#, "scan_id must be"),
            (r#"{"scan_id": "a", "seq": []}"#, "at least one range"),
            (r#"{"scan_id": "a", "seq": [[5, 3]]}"#, "[5, 3]"),
            (r#"{"scan_id": "a", "seq": [[0, 4294967295]]}"#, "first <= last"),
            (r#"{"scan_id": "a", "seq": [[-1, 3]]}"#, "invalid value"),
            (r#"{"scan_id": "a", "seq": [3]}"#, "invalid type"),
        ] {
            let error = request(text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{text:?} gave {error:?}");
        }
        let part = Bytes::from_static(b"{}");
        assert_eq!(ResendRequest::parse(&[part.clone(), part]), Err(ResendError::Parts(2)));
        let long = Bytes::from(vec![b' '; MAX_RESEND_BYTES + 1]);
        assert_eq!(ResendAnswer::parse(&[long]), Err(ResendError::Size(MAX_RESEND_BYTES + 1)));
    }

    #[test]
    fn an_answer_is_a_number_or_a_reason() {
        assert_eq!(answer(r#"{"sent": 3, "more": true}"#), Ok(ResendAnswer::Sent(3)));
        assert_eq!(answer(r#"{"error": "x"}"#), Ok(ResendAnswer::Refused("x".into())));
        let long = format!(r#"{{"error": "{}"}}"#, "y".repeat(500));
        assert_eq!(answer(&long), Ok(ResendAnswer::Refused("y".repeat(200))));
        for wrong in ["", "{}", r#"{"sent": -1}"#, r#"{"sent": "many"}"#, "\u{0}"] {
            assert!(answer(wrong).is_err(), "{wrong:?}");
        }
    }
}
