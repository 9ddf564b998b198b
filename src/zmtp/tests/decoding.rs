use std::task::Poll;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::encoder::{Pieces, announced, command, frame, message};
use crate::zmtp::decoder::{LARGE_BYTES, STEP_BYTES};
use crate::zmtp::{Decoder, Item, Limits, ZmtpError};

const LIMITS: Limits = Limits { message_bytes: 1 << 20, parts: 6, command_bytes: 600 };
/// Of two read buffers; one may be shared with parts that are in hand.
const BUFFERS: usize = 4 << 16;

struct Decoded {
    items: Vec<Item>,
    error: Option<ZmtpError>,
    held_bytes: usize,
}

/// Decodes all of `bytes`, as it comes in pieces.
fn decode(limits: Limits, bytes: &[u8], sizes: &[usize]) -> Decoded {
    let mut inlet = Pieces::new(bytes, sizes);
    let mut decoder = Decoder::new(limits);
    let mut decoded = Decoded { items: Vec::new(), error: None, held_bytes: 0 };
    loop {
        match decoder.next_item() {
            Ok(Some(item)) => decoded.items.push(item),
            Ok(None) => match decoder.fill(&mut inlet) {
                Poll::Ready(Ok(0)) => return decoded,
                filled => assert!(matches!(filled, Poll::Ready(Ok(_)))),
            },
            Err(error) => {
                decoded.error = Some(error);
                return decoded;
            }
        }
        decoded.held_bytes = decoded.held_bytes.max(decoder.held_bytes());
    }
}

fn all(bytes: &[u8]) -> Decoded {
    decode(LIMITS, bytes, &[usize::MAX])
}

fn item(parts: &[Vec<u8>]) -> Item {
    Item::Message(parts.iter().map(|part| Bytes::copy_from_slice(part)).collect())
}

/// Lengths around every border there is.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0_usize..300,
        1 => 254_usize..258,
        1 => LARGE_BYTES - 1..LARGE_BYTES + 2,
        1 => 60_000_usize..140_000,
    ]
}

fn part() -> impl Strategy<Value = Vec<u8>> {
    (length(), any::<u8>()).prop_map(|(length, seed)| {
        (0..length).map(|index| (index as u8).wrapping_mul(31).wrapping_add(seed)).collect()
    })
}

fn pieces() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![1_usize..4, 1_usize..300, 1_usize..70_000], 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the sizes of frames and pieces: what was sent is what comes, commands in between included.
    #[test]
    fn any_split_gives_the_same_messages(
        messages in vec((vec(part(), 1..5), any::<bool>(), any::<bool>()), 0..6),
        sizes in pieces(),
    ) {
        let mut sent = Vec::new();
        let mut wanted = Vec::new();
        for (parts, long, beat) in &messages {
            let mut bytes = message(parts, *long);
            if *beat {
                // Within a message, too: libzmq may put a heartbeat between two parts.
                let first = frame(u8::from(parts.len() > 1), &parts[0], *long).len();
                bytes.splice(first..first, command("PING", b"\0\0x"));
                let ping = Item::Command(Bytes::from_static(b"\x04PING\0\0x"));
                let place = if parts.len() > 1 { 0 } else { 1 };
                wanted.extend([ping.clone(), item(parts)].into_iter().cycle().skip(place).take(2));
            } else {
                wanted.push(item(parts));
            }
            sent.extend(bytes);
        }
        let decoded = decode(LIMITS, &sent, &sizes);
        prop_assert_eq!(decoded.error, None);
        prop_assert!(decoded.items == wanted, "{} items of {}", decoded.items.len(), wanted.len());
        prop_assert!(decoded.held_bytes <= 2 * LIMITS.message_bytes + BUFFERS, "{}", decoded.held_bytes);
    }

    /// Arbitrary bytes never panic, never take more memory than the bound, and mean the same in any pieces.
    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..2000), sizes in pieces()) {
        let (one, other) = (all(&bytes), decode(LIMITS, &bytes, &sizes));
        prop_assert_eq!(one.items, other.items);
        prop_assert_eq!(one.error, other.error);
        prop_assert!(one.held_bytes.max(other.held_bytes) <= 2 * bytes.len() + BUFFERS + STEP_BYTES);
    }

    /// As before, of bytes that look like frames.
    #[test]
    fn almost_frames_do_no_harm(
        frames in vec((0_u8..8, prop_oneof![0_u64..40, any::<u64>()], 0_usize..40), 0..40),
        sizes in pieces(),
    ) {
        let mut bytes = Vec::new();
        for (flags, said, sent) in frames {
            if flags & 2 == 0 {
                bytes.extend([flags, said as u8]);
            } else {
                bytes.extend(announced(flags, said));
            }
            bytes.extend(vec![0; sent]);
        }
        let (one, other) = (all(&bytes), decode(LIMITS, &bytes, &sizes));
        prop_assert_eq!(one.items, other.items);
        prop_assert_eq!(one.error, other.error);
        prop_assert!(one.held_bytes.max(other.held_bytes) <= 2 * bytes.len() + BUFFERS + STEP_BYTES);
    }
}

#[test]
fn what_is_announced_takes_no_memory_before_it_comes() {
    let limits = Limits { message_bytes: 256 << 20, ..LIMITS };
    let head = announced(0, 200 << 20);
    let decoded = decode(limits, &head, &[usize::MAX]);
    assert!(decoded.items.is_empty() && decoded.error.is_none());
    assert!(decoded.held_bytes <= STEP_BYTES + BUFFERS, "{}", decoded.held_bytes);
    // With some of it there: less than twice that, and a step.
    let decoded = decode(limits, &[head, vec![7; 5 << 20]].concat(), &[usize::MAX]);
    assert!(decoded.items.is_empty() && decoded.error.is_none());
    assert!(decoded.held_bytes >= 5 << 20, "it is kept");
    assert!(decoded.held_bytes <= (10 << 20) + STEP_BYTES + BUFFERS, "{}", decoded.held_bytes);
}

#[test]
fn a_large_frame_comes_whole_and_takes_no_more_than_its_size() {
    let body: Vec<u8> = (0..3_500_001_u32).map(|index| (index % 251) as u8).collect();
    let limits = Limits { message_bytes: body.len(), ..LIMITS };
    let decoded = decode(limits, &frame(0, &body, true), &[9, 100_000]);
    assert!(decoded.items == [item(std::slice::from_ref(&body))]);
    assert!(decoded.held_bytes <= body.len() + BUFFERS, "{}", decoded.held_bytes);
}

#[test]
fn a_message_above_the_limit_is_told_once_and_passed_over() {
    let limits = Limits { message_bytes: 10, ..LIMITS };
    let parts = |sizes: &[usize]| sizes.iter().map(|size| vec![b'x'; *size]).collect::<Vec<_>>();
    let next = item(&parts(&[10]));
    for (sizes, told) in
        [(&[11][..], 11), (&[5, 6], 11), (&[300], 300), (&[4, 6, 1, 50], 11), (&[70_000, 3], 70_000)]
    {
        let sent = [message(&parts(sizes), false), message(&parts(&[10]), false)].concat();
        for pieces in [1, 7, usize::MAX] {
            let decoded = decode(limits, &sent, &[pieces]);
            assert_eq!(decoded.items, [Item::Oversize { bytes: told }, next.clone()], "{sizes:?}");
            assert!(decoded.held_bytes <= BUFFERS);
        }
    }
    // 64 GiB and more: told at once, and nothing is taken.
    for bytes in [64 << 30, i64::MAX as u64] {
        let decoded = decode(limits, &announced(0, bytes), &[usize::MAX]);
        assert_eq!(decoded.items, [Item::Oversize { bytes }]);
        assert!(decoded.held_bytes <= BUFFERS);
    }
}

#[test]
fn what_zmtp_does_not_have_is_an_error() {
    let ends: [(Vec<u8>, ZmtpError); 6] = [
        (vec![8, 0], ZmtpError::Flags(8)),
        (vec![0x47, 0x45], ZmtpError::Flags(0x47)),
        (vec![5, 0], ZmtpError::Flags(5)),
        (announced(0, 1 << 63), ZmtpError::FrameBytes(1 << 63)),
        (announced(4, 601), ZmtpError::CommandBytes(601)),
        (message(&vec![vec![]; 7], false), ZmtpError::Parts(6)),
    ];
    for (bytes, error) in ends {
        let decoded = all(&bytes);
        assert_eq!((decoded.items, decoded.error), (vec![], Some(error)));
    }
    assert_eq!(all(&message(&vec![vec![]; 6], false)).items.len(), 1, "as many parts as there may be");
}

#[test]
fn an_end_within_a_message_is_told_from_one_between() {
    let whole = message(&[vec![1; 20], vec![2; 300]], false);
    for end in 0..=whole.len() {
        let mut decoder = Decoder::new(LIMITS);
        let mut inlet = Pieces::new(&whole[..end], &[usize::MAX]);
        while !matches!(decoder.fill(&mut inlet), Poll::Ready(Ok(0))) {
            while decoder.next_item().unwrap().is_some() {}
        }
        assert_eq!(decoder.is_within(), end != 0 && end != whole.len(), "{end}");
    }
}
