//! Peers that bite, on every ZeroMQ port of the daemon, while a scan runs: none may end it, and nothing may be lost.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::feed::Feed;
use crate::listener::Listener;
use crate::raw::{self, Raw};
use crate::rig::{Rig, Setup, until};
use crate::script::Script;
use crate::table::{self, assert_same_map, folder};

/// What a peer may announce: above the limit, far above any memory, the largest there is, and one that would be allowed.
const ANNOUNCED: [u64; 5] = [257 << 20, 64 << 30, 1 << 46, i64::MAX as u64, 200 << 20];

fn errors(rig: &Rig, cause: &str) -> f64 {
    rig.metric("phasewatch_source_peer_errors_total", &[&format!("cause=\"{cause}\"")])
}

fn whole(scan: &Value) {
    assert_eq!((&scan["outcome"]["status"], &scan["gaps"]), (&json!("complete"), &json!([])), "{scan}");
    assert_eq!(scan["measured_values"], 12 * 24);
}

/// Everything that a peer may announce without sending it, at each stage of a connection.
fn giants(address: &str, kind: &str) -> Vec<Raw> {
    let mut peers = Vec::new();
    for bytes in ANNOUNCED {
        for flags in [0, 1, 4] {
            let mut early = Raw::connect(address);
            early.greet();
            early.announce(flags, bytes);
            let mut late = Raw::shaken(address, kind);
            late.announce(flags, bytes);
            let mut second = Raw::shaken(address, kind);
            second.frame(1, b"first part");
            second.announce(flags, bytes);
            peers.extend([early, late, second]);
        }
    }
    let mut beyond = Raw::shaken(address, kind);
    beyond.announce(0, u64::MAX);
    peers.push(beyond);
    peers
}

#[test]
fn giant_frames_announced_to_a_source_neither_end_it_nor_take_memory() {
    let mut rig = Setup::new().start();
    let mut feed = Feed::push(rig.source());
    let mut script = Script::new("kept");
    feed.send(&script.start());
    feed.send_all(&script.lines(0..6));
    rig.received(25);
    let before = rig.resident_bytes();
    let mut peers = giants(rig.source(), "PUSH");
    // Those above the limit, as a first part or a second, with and without more to come.
    until("messages above the limit", || {
        (rig.metric("phasewatch_source_oversize_total", &[]) == 4.0 * 2.0 * 2.0).then_some(())
    });
    // Commands that long, and frames before READY: 3 × 5 early ones, 5 × 2 commands, and the one beyond.
    until("peers that were hung up on", || {
        (errors(&rig, "handshake") >= 15.0 && errors(&rig, "protocol") >= 11.0).then_some(())
    });
    assert!(rig.resident_bytes() < before + (100 << 20), "{before} {}", rig.resident_bytes());
    feed.send_all(&script.lines(6..9));
    // Those that are left send a part of what they announced, and go.
    for peer in &mut peers {
        drop(std::io::Write::write_all(&mut peer.0, &[7; 30_000]));
    }
    drop(peers);
    feed.send_all(&script.lines(9..12));
    feed.send(&script.end());
    whole(&rig.archived("kept"));
    assert!(rig.is_alive());
    assert_eq!(rig.stop("TERM").code, Some(0));
}

#[test]
fn a_giant_frame_from_the_sender_we_connect_to_costs_that_message_only() {
    let sender = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("tcp://{}", sender.local_addr().unwrap());
    let rig = Setup::bare().source("beam", &format!("connect = {address:?}")).start();
    let mut script = Script::new("dialled");
    let mut peer = Raw(sender.accept().unwrap().0).shake("PUSH");
    for message in [vec![script.start()], script.lines(0..6)].concat() {
        peer.write(&raw::message(&message));
    }
    peer.announce(0, 64 << 30);
    until("a message above the limit", || {
        (rig.metric("phasewatch_source_oversize_total", &[]) == 1.0).then_some(())
    });
    // It would have to send all of it before the next one; it begins anew instead.
    drop(peer);
    let mut peer = Raw(sender.accept().unwrap().0).shake("PUSH");
    for message in [script.lines(6..12), vec![script.end()]].concat() {
        peer.write(&raw::message(&message));
    }
    whole(&rig.archived("dialled"));
    assert_eq!(errors(&rig, "protocol"), 1.0, "the end in the middle of a message");
    assert_eq!(rig.metric("phasewatch_source_reconnects_total", &[]), 1.0);
}

#[test]
fn a_message_above_the_configured_limit_is_passed_over_and_the_next_one_counts() {
    let rig = Setup::new().set("limits", "message_bytes = 2_097_152").start();
    let mut feed = Feed::push(rig.source());
    let mut script = Script::new("limited");
    feed.send(&script.start());
    feed.send_all(&script.lines(0..6));
    let line = script.draft(|script| script.line(6, 0));
    feed.send(&line.clone().and_part(vec![
        0;
        2_097_153
            - line.parts.iter().map(|part| part.len()).sum::<usize>()
    ]));
    feed.send_all(&script.lines(6..12));
    feed.send(&script.end());
    whole(&rig.archived("limited"));
    assert_eq!(rig.metric("phasewatch_source_oversize_total", &[]), 1.0);
    let line =
        rig.log.wait("what was dropped", |line| line["message"] == "a message above the limit was dropped");
    assert_eq!(line["bytes"], 2_097_153);
    assert_eq!(rig.metric("phasewatch_messages_received_total", &[]), 50.0);
}

#[test]
fn heartbeats_of_a_sender_are_answered() {
    let rig = Setup::new().start();
    let mut peer = Raw::shaken(rig.source(), "PUSH");
    let mut script = Script::new("beating");
    for (index, message) in script.whole().iter().enumerate() {
        // Before a message and, as libzmq may do, between two parts.
        let context = index.to_string();
        peer.command("PING", &[b"\0\0", context.as_bytes()].concat());
        let (first, second) = (&message.parts[0], message.parts.get(1));
        peer.frame(u8::from(second.is_some()), first);
        peer.command("PING", b"\0\0inside");
        if let Some(second) = second {
            peer.frame(0, second);
        }
        assert_eq!(peer.read_frame(), (4, [b"\x04PONG", context.as_bytes()].concat()));
        assert_eq!(peer.read_frame(), (4, b"\x04PONGinside".to_vec()));
    }
    whole(&rig.archived("beating"));
    assert_eq!(rig.metric("phasewatch_source_peer_errors_total", &[]), 0.0);
}

#[test]
fn strangers_and_the_mute_disturb_nobody() {
    let mut rig = Setup::new().start();
    let address = rig.source().to_owned();
    // More than may shake hands at once, and they say nothing, or stop in the middle.
    let mute: Vec<Raw> = (0..100)
        .map(|index| {
            let mut peer = Raw::connect(&address);
            match index % 3 {
                0 => {}
                1 => peer.write(&[0xff, 0, 0]),
                _ => peer.greet(),
            }
            peer
        })
        .collect();
    let mut feed = Feed::push(&address);
    let mut script = Script::new("undisturbed");
    feed.send(&script.start());
    feed.send_all(&script.lines(0..4));
    rig.received(17);
    until("the mute were sent away", || (errors(&rig, "handshake") >= 37.0).then_some(()));
    let told = |what: &'static str| {
        rig.log.wait(what, |line| {
            line["message"] == "trouble with a sender" && line["detail"].to_string().contains(what)
        })
    };
    // The log tells one trouble of a kind a second.
    let until_told = |what: &'static str, act: &dyn Fn()| {
        until(what, || {
            act();
            rig.log.text().contains(what).then_some(())
        });
        told(what);
    };
    until_told("does not speak ZeroMQ", &|| {
        drop(std::io::Write::write_all(&mut Raw::connect(&address).0, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    });
    until_told("libzmq did before 4.0", &|| {
        // ZMTP 2: it says revision 1 and waits for the other side.
        let mut old = Raw::connect(&address);
        old.write(&[0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 1, 3, 0, 0]);
        old.wait_end();
    });
    until_told("a PUB socket; PUSH is needed", &|| {
        let mut wrong = Raw::connect(&address);
        wrong.greet();
        wrong.ready("PUB");
        wrong.wait_end();
    });
    until_told("mechanism CURVE", &|| {
        let mut secret = Raw::connect(&address);
        let greeting = [&[0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 1][..], b"CURVE", &[0; 47]].concat();
        secret.write(&greeting);
        secret.wait_end();
    });
    feed.send_all(&script.lines(4..12));
    feed.send(&script.end());
    whole(&rig.archived("undisturbed"));
    drop(mute);
    assert!(rig.is_alive());
}

#[test]
fn a_sender_that_dies_in_the_middle_of_a_message_spoils_that_message_only() {
    let rig = Setup::bare()
        .source("beam", "bind = \"tcp://127.0.0.1:0\"")
        .source("good", "bind = \"tcp://127.0.0.1:0\"")
        .start();
    Feed::push(&rig.sources["good"]).send_all(&Script::new("good").whole());
    let address = &rig.sources["beam"];
    let mut script = Script::new("broken");
    let mut messages = script.whole().into_iter();
    let mut next = messages.next();
    let mut cut = 0;
    while let Some(message) = next.clone() {
        // Each connection brings four messages and dies a few bytes into the fifth, at another place each time.
        let mut peer = Raw::shaken(address, "PUSH");
        let mut sent = 0;
        while let Some(message) = next.as_ref().filter(|_| sent < 4) {
            peer.write(&raw::message(message));
            next = messages.next();
            sent += 1;
        }
        let bytes = raw::message(next.as_ref().unwrap_or(&message));
        cut += 17;
        peer.write(&bytes[..1 + cut % (bytes.len() - 1)]);
        drop(peer);
        // Its messages are read before the next sender, which would otherwise be read in turn with it.
        until("the end of it", || (errors(&rig, "protocol") * 17.0 >= cut as f64).then_some(()));
    }
    let scan = rig.archived("broken");
    whole(&scan);
    let [good, broken] = [folder(&rig.archived("good")), folder(&scan)];
    assert_eq!(table::stack_bytes(&good), table::stack_bytes(&broken));
    assert_same_map(&table::phase_map(&good), &table::phase_map(&broken), &["scan_id"]);
}

#[test]
fn several_senders_share_a_port_and_each_scan_is_whole() {
    let rig = Setup::new().set("limits", "open_scans = 32").start();
    std::thread::scope(|scope| {
        for index in 0..8 {
            let address = rig.source();
            scope.spawn(move || {
                Feed::push(address).send_all(&Script::new(&format!("share-{index}")).whole());
            });
        }
    });
    for index in 0..8 {
        whole(&rig.archived(&format!("share-{index}")));
    }
    assert_eq!(rig.metric("phasewatch_source_peer_errors_total", &[]), 0.0);
}

#[test]
fn a_million_tiny_messages_are_counted_and_the_scan_between_them_is_whole() {
    const TINY: usize = 1_000_000;
    let mut rig = Setup::new().start();
    let mut script = Script::new("needle");
    let messages = script.whole();
    let mut peer = Raw::shaken(rig.source(), "PUSH");
    let tiny = raw::frame(0, b"x").repeat(TINY / messages.len());
    for message in &messages {
        peer.write(&tiny);
        peer.write(&raw::message(message));
    }
    whole(&rig.archived("needle"));
    rig.received((TINY / messages.len() * messages.len() + messages.len()) as u64);
    assert_eq!(rig.metric("phasewatch_messages_refused_total", &["reason=\"header\""]), TINY as f64);
    assert_eq!(rig.metric("phasewatch_source_peer_errors_total", &[]), 0.0);
    assert!(rig.is_alive());
}

#[test]
fn giant_frames_announced_to_the_output_do_not_end_the_daemon() {
    let mut rig = Setup::new().start();
    let before = rig.resident_bytes();
    let peers = giants(&rig.publish, "SUB");
    let mut topics: Vec<Raw> = (0..4).map(|_| Raw::shaken(&rig.publish, "SUB")).collect();
    for peer in &mut topics {
        // More subscriptions than anybody needs; it may be cut off while it is still talking.
        for topic in 0..20_000_u32 {
            let subscription = [&[1], &topic.to_be_bytes()[..], &[b'x'; 200]].concat();
            if std::io::Write::write_all(&mut peer.0, &raw::frame(0, &subscription)).is_err() {
                break;
            }
        }
        peer.wait_end();
    }
    let mut listener = Listener::new(&rig.publish, "phase_map/");
    let mut feed = Feed::push(rig.source());
    feed.send_all(&Script::new("heard").whole());
    // The subscription may come after the first scan's maps.
    let scan_id = |index: usize| format!("heard-{index}");
    feed.send_all(&Script::new(&scan_id(0)).whole());
    rig.archived(&scan_id(0));
    feed.send_all(&Script::new(&scan_id(1)).whole());
    listener.wait("a map", |header| header["scan_id"] == scan_id(1));
    assert!(rig.resident_bytes() < before + (100 << 20), "{before} {}", rig.resident_bytes());
    drop(peers);
    assert!(rig.is_alive());
    assert_eq!(rig.stop("TERM").code, Some(0));
}

#[test]
fn a_subscriber_with_heartbeats_is_answered_and_gets_its_maps() {
    let rig = Setup::new().start();
    let mut peer = Raw::shaken(&rig.publish, "SUB");
    peer.frame(0, b"\x01scan/");
    peer.command("PING", b"\0\x05one");
    assert_eq!(
        peer.read_frame(),
        (4, b"\x04PONGone".to_vec()),
        "and the subscription before it is in effect"
    );
    Feed::push(rig.source()).send_all(&Script::new("told").whole());
    let mut pongs = 0;
    loop {
        // One more after everything that comes.
        peer.command("PING", b"\0\0more");
        let (flags, body) = peer.read_frame();
        if flags == 4 {
            assert_eq!(body, b"\x04PONGmore");
            pongs += 1;
            continue;
        }
        assert_eq!(flags, 1, "a topic");
        assert_eq!(body, b"scan/told");
        // Answers do not come between the parts of a message.
        let (flags, header) = peer.read_frame();
        assert_eq!(flags, 1);
        assert_eq!(peer.read_frame().0, 0);
        let header: Value = serde_json::from_slice(&header).unwrap();
        if header["event"] == "archived" {
            break;
        }
    }
    assert!(pongs > 0);
    whole(&rig.archived("told"));
}
