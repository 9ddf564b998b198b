use std::task::Poll;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::encoder::{Pieces, announced, command, frame, greeting, message, ready};
use crate::zmtp::{Event, Role, Session, ZmtpError, drive, message_chunks};

fn sub(prefix: &'static str) -> Role {
    Role::Sub { prefix: Bytes::from_static(prefix.as_bytes()) }
}

/// What a session makes of `bytes`: its events, its end, and what it sends.
fn session(role: Role, bytes: &[u8]) -> (Vec<Event>, Option<ZmtpError>, Vec<u8>) {
    let mut session = Session::new(role, 1000);
    let mut inlet = Pieces::new(bytes, &[3]);
    let mut events = Vec::new();
    let error = loop {
        match session.next_event() {
            Ok(Some(event)) => events.push(event),
            Ok(None) if matches!(session.fill(&mut inlet), Poll::Ready(Ok(0))) => break None,
            Ok(None) => {}
            Err(error) => break Some(error),
        }
    };
    let sent = session.output().to_vec();
    assert_eq!(sent[..64], greeting_of_ours());
    (events, error, sent[64..].to_vec())
}

fn greeting_of_ours() -> Vec<u8> {
    let mut ours = greeting(3, 1, b"NULL");
    ours[8] = 0;
    ours
}

fn shake(minor: u8, socket_type: &str, then: &[u8]) -> Vec<u8> {
    [greeting(3, minor, b"NULL"), ready(socket_type), then.to_vec()].concat()
}

fn ready_of_ours(socket_type: &str) -> Vec<u8> {
    let length = (socket_type.len() as u32).to_be_bytes();
    command("READY", &[b"\x0bSocket-Type", &length[..], socket_type.as_bytes()].concat())
}

#[test]
fn a_pull_shakes_hands_receives_and_answers_heartbeats() {
    let beat = command("PING", b"\x00\x0acontext");
    let then = [message(&[b"a".to_vec(), b"b".to_vec()], false), beat, message(&[vec![]], false)].concat();
    let (events, error, sent) = session(Role::Pull, &shake(1, "PUSH", &then));
    assert_eq!(error, None);
    let text = |text: &'static str| Bytes::from_static(text.as_bytes());
    let wanted = [Event::Open, Event::Message(vec![text("a"), text("b")]), Event::Message(vec![text("")])];
    assert_eq!(events, wanted);
    assert_eq!(sent, [ready_of_ours("PULL"), command("PONG", b"context")].concat());
}

#[test]
fn a_sub_subscribes_as_the_version_of_the_peer_wants() {
    for (minor, subscription) in [(0, frame(0, b"\x01top", false)), (1, command("SUBSCRIBE", b"top"))] {
        let (events, error, sent) = session(sub("top"), &shake(minor, "XPUB", &[]));
        assert_eq!((events, error), (vec![Event::Open], None));
        assert_eq!(sent, [ready_of_ours("SUB"), subscription].concat());
    }
}

#[test]
fn a_pub_hears_both_ways_of_subscribing_and_nothing_else() {
    let prefix = |text: &'static str| Bytes::from_static(text.as_bytes());
    let then = [
        frame(0, b"\x01old", false),
        command("SUBSCRIBE", b"new"),
        frame(0, b"\x00old", false),
        command("CANCEL", b"new"),
        message(&[b"\x01two".to_vec(), b"parts".to_vec()], false),
        frame(0, b"hello", false),
        frame(0, b"", false),
        frame(0, &[1; 9000], false),
        command("NONSENSE", b"at all"),
        frame(0, b"\x01", false),
    ];
    let (events, error, _) = session(Role::Pub, &shake(1, "SUB", &then.concat()));
    assert_eq!(error, None);
    let wanted = [
        Event::Open,
        Event::Subscribe(prefix("old")),
        Event::Subscribe(prefix("new")),
        Event::Cancel(prefix("old")),
        Event::Cancel(prefix("new")),
        Event::Oversize { bytes: 9000 },
        Event::Subscribe(prefix("")),
    ];
    assert_eq!(events, wanted);
}

#[test]
fn who_cannot_be_talked_to_is_told_why() {
    let long = [&b"\x0bSocket-Type"[..], &[0xff; 4], b"PUSH"].concat();
    let cases: Vec<(Role, Vec<u8>, &str)> = vec![
        (Role::Pull, b"GET / HTTP/1.1\r\nHost: x".to_vec(), "does not speak ZeroMQ; it began with \"GET"),
        (Role::Pull, [&[0xff][..], &[0; 9]].concat(), "does not speak ZeroMQ"),
        (Role::Pull, greeting(1, 0, b"")[..12].to_vec(), "revision 1, which libzmq did before 4.0"),
        (Role::Pull, greeting(3, 1, b"CURVE"), "mechanism CURVE"),
        (Role::Pull, greeting(3, 1, b"NULLX"), "mechanism NULLX"),
        (Role::Pull, shake(1, "PUB", &[]), "a PUB socket; PUSH is needed"),
        (sub(""), shake(1, "PUSH", &[]), "PUB or XPUB is needed"),
        (Role::Pub, shake(1, "PULL", &[]), "SUB or XSUB is needed"),
        (Role::Pull, [greeting(3, 0, b"NULL"), command("ERROR", b"\x02no")].concat(), "it refuses: no"),
        (Role::Pull, [greeting(3, 0, b"NULL"), command("PING", b"\0\0")].concat(), "before READY"),
        (Role::Pull, [greeting(3, 0, b"NULL"), announced(0, 1 << 40)].concat(), "before READY"),
        (Role::Pull, [greeting(3, 0, b"NULL"), announced(4, 1 << 40)].concat(), "a command of"),
        (Role::Pull, [greeting(3, 0, b"NULL"), command("READY", b"")].concat(), "without a socket type"),
        (Role::Pull, [greeting(3, 0, b"NULL"), command("READY", b"\x0bSock")].concat(), "cut off"),
        (Role::Pull, [greeting(3, 0, b"NULL"), command("READY", &long)].concat(), "cut off"),
        (Role::Pull, shake(1, "PUSH", &command("PING", b"\0")), "time to live"),
        (Role::Pull, shake(1, "PUSH", &frame(4, b"", false)), "its name is cut off"),
        (Role::Pull, shake(1, "PUSH", &frame(4, b"\0", false)), "no name"),
        (Role::Pull, shake(1, "PUSH", &frame(4, b"\x09PING", false)), "its name is cut off"),
    ];
    for (role, bytes, why) in cases {
        let (_, error, _) = session(role, &bytes);
        let error = error.unwrap_or_else(|| panic!("no error: {why}")).to_string();
        assert!(error.contains(why), "{error}: {why}");
    }
}

#[test]
fn heartbeats_can_be_answered_before_they_are_read() {
    let mut session = Session::new(Role::Pull, 1000);
    let bytes = shake(1, "PUSH", &command("PING", b"\0\0again"));
    let mut inlet = Pieces::new(&bytes, &[usize::MAX]);
    session.pong_early();
    assert!(!session.has_heartbeats());
    while !matches!(session.fill(&mut inlet), Poll::Ready(Ok(0))) {
        while session.next_event().unwrap().is_some() {}
    }
    session.output().clear();
    session.pong_early();
    session.pong_early();
    assert_eq!(session.output()[..], command("PONG", b"again"), "one at a time");
}

proptest! {
    /// Fuzzing by other means: nothing panics, memory stays within its bound, pieces do not matter.
    #[test]
    fn anything_may_follow_a_handshake(
        role in 0_u8..3,
        pieces in 0_u8..18,
        tail in vec(prop_oneof![0_u8..8, any::<u8>()], 0..600),
        shaken in any::<bool>(),
    ) {
        let socket_type = ["PUSH", "PUB", "SUB"][usize::from(role)];
        let start = if shaken { shake(role % 2, socket_type, &[]) } else { Vec::new() };
        let rest = [start, tail].concat();
        let driven = [role, role + 3 * pieces].map(|first| drive(&[&[first], &rest[..]].concat()));
        for one in &driven {
            prop_assert!(one.held_bytes <= one.allowed_bytes, "{} {}", one.held_bytes, one.allowed_bytes);
        }
        prop_assert_eq!(&driven[0].events, &driven[1].events);
        // What a foreign protocol began with is shown as far as it had come.
        let [one, other] = driven.map(|one| match one.error {
            Some(ZmtpError::Foreign(_)) => Some(ZmtpError::Foreign(String::new())),
            other => other,
        });
        prop_assert_eq!(one, other);
    }

    /// What the publishing side writes is what a receiver reads.
    #[test]
    fn our_own_frames_come_back(parts in vec(vec(any::<u8>(), 0..400), 1..5)) {
        let sent: Vec<Bytes> = parts.iter().map(|part| Bytes::copy_from_slice(part)).collect();
        let bytes = message_chunks(&sent).concat();
        prop_assert_eq!(&bytes, &message(&parts, false));
        let size: usize = parts.iter().map(Vec::len).sum();
        let (events, error, _) = session(Role::Pull, &shake(1, "PUSH", &bytes));
        prop_assert_eq!(error, None);
        let wanted = if size <= 1000 { Event::Message(sent) } else { events[1].clone() };
        prop_assert_eq!(&events[1..], &[wanted][..]);
    }
}

#[test]
fn nothing_is_an_input_too() {
    for data in [&[][..], &[0], &[255, 255]] {
        let driven = drive(data);
        assert!(driven.events.is_empty());
    }
}
