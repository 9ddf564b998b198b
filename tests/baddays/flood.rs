//! Too much of everything: messages as fast as they can be sent, a million tiny ones, garbage, and readers that do not read.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Instant;

use serde_json::json;

use crate::feed::Feed;
use crate::http;
use crate::look::{assert_same, good_day, is_whole, messages, names, place, setup};
use crate::raw::{self, Raw};
use crate::rig::{Rig, Setup, until};
use crate::script::{Script, floats};

/// 121 energies around the edge.
fn energies() -> Vec<f64> {
    (0..121).map(|index| 508.0 + 0.2 * f64::from(index)).collect()
}

fn journal_bytes(rig: &Rig, scan_id: &str) -> u64 {
    let folder = rig.dir().join("state/journal").join(scan_id);
    ["events.arrows", "ledger"].iter().map(|name| std::fs::metadata(folder.join(name)).unwrap().len()).sum()
}

#[test]
fn a_publisher_that_floods_waits_and_memory_stays_bounded() {
    const QUEUE_BYTES: u64 = 4 << 20;
    let rig = setup().set("limits", &format!("queue_bytes = {QUEUE_BYTES}")).start();
    // What one scan of that size takes anyway.
    let mut calm = Script::new("calm").grid(128, 128).energies(&energies());
    let mut feed = Feed::push(rig.source());
    feed.send_all(&calm.whole());
    rig.wait_scan("calm", "whole", is_whole);
    let calm_bytes = rig.peak_bytes();
    // 15,488 lines five times over, each with a number of its own: 47 MB of values that replace each other, in one write.
    let mut script = Script::new("flood").grid(128, 128).energies(&energies());
    let mut bytes = raw::message(&script.start());
    for _ in 0..5 {
        script.lines(0..121).iter().for_each(|line| bytes.extend(raw::message(line)));
    }
    bytes.extend(raw::message(&script.end()));
    let sent = script.seq;
    let begun = Instant::now();
    let mut peer = Raw::shaken(rig.source(), "PUSH");
    peer.write(&bytes);
    let scan = rig.wait_scan("flood", "whole", is_whole);
    assert_eq!(scan["measured_values"], 121 * 128 * 128);
    rig.received(sent + calm.seq);
    assert_eq!(rig.metric("phasewatch_messages_refused_total", &[]), 0.0);
    until("an empty queue", || (rig.metric("phasewatch_queue_bytes", &["receive"]) == 0.0).then_some(()));
    let grown = rig.peak_bytes().saturating_sub(calm_bytes);
    eprintln!(
        "flood: {sent} messages, {} MB, {:.1} s; peak memory {} MB after a calm scan, {} MB more in the flood",
        bytes.len() >> 20,
        begun.elapsed().as_secs_f64(),
        calm_bytes >> 20,
        grown >> 20
    );
    // Another stack, its snapshot and the queue twice; not what was sent beside.
    assert!(grown < (256 << 20) + 2 * QUEUE_BYTES, "{} MB", grown >> 20);
}

#[test]
fn a_million_messages_of_one_pixel_are_all_there() {
    let (ny, nx) = (83, 100);
    let mut script = Script::new("tiny").grid(ny, nx).energies(&energies());
    let rig = setup().start();
    let begun = Instant::now();
    let mut peer = Raw::shaken(rig.source(), "PUSH");
    peer.write(&raw::message(&script.start()));
    let mut sent = 1_u64;
    let mut header = String::new();
    for energy in 0..energies().len() {
        let mut bytes = Vec::new();
        for pixel in 0..ny * nx {
            header.clear();
            write!(
                header,
                "{{\"stream\":\"stxm-stream/1\",\"type\":\"samples\",\"scan_id\":\"tiny\",\"seq\":{sent},\"energy_index\":{energy},\
                 \"first_pixel\":{pixel},\"count\":1,\"dtype\":\"float32\",\"i0\":20000.0}}"
            )
            .unwrap();
            bytes.extend(raw::frame(1, header.as_bytes()));
            bytes.extend(raw::frame(0, &floats(&[script.counts(script.energies_ev[energy], pixel)])));
            sent += 1;
        }
        peer.write(&bytes);
    }
    script.seq = sent;
    peer.write(&raw::message(&script.end()));
    rig.received(sent + 1);
    let received_s = begun.elapsed().as_secs_f64();
    let scan = rig.wait_scan("tiny", "whole", is_whole);
    assert_eq!(scan["measured_values"], json!(sent - 1));
    assert!(sent > 1_000_000);
    assert_eq!(rig.metric("phasewatch_messages_refused_total", &[]), 0.0);
    eprintln!(
        "tiny: {sent} messages, all journalled after {received_s:.1} s; journal {:.1} MB, {:.0} bytes a message",
        journal_bytes(&rig, "tiny") as f64 / 1e6,
        journal_bytes(&rig, "tiny") as f64 / sent as f64
    );
}

#[test]
fn a_flood_of_scans_that_never_start_is_held_within_bounds_and_a_good_scan_gets_through() {
    const HELD_BYTES: f64 = 1_000_000.0;
    let messages = messages();
    let rig = setup().set("limits", &format!("held_bytes = {HELD_BYTES}")).start();
    let begun = Instant::now();
    let mut peer = Raw::shaken(rig.source(), "PUSH");
    let mut most_held = 0;
    for (round, message) in messages.iter().enumerate() {
        let mut bytes = Vec::new();
        for index in 0..200 {
            let mut stranger = Script::new(&format!("never-{round}-{index}"));
            stranger.seq = 1;
            bytes.extend(raw::message(&stranger.line(0, 0)));
            // And what is no message at all.
            bytes.extend(raw::frame(0, &[(index * 31 + round) as u8; 40]));
        }
        bytes.extend(raw::message(message));
        peer.write(&bytes);
        most_held = most_held.max(names(&rig.dir().join("state/held")).len());
        assert!(rig.metric("phasewatch_held_bytes", &[]) <= HELD_BYTES);
    }
    rig.wait_scan("same", "whole", is_whole);
    rig.received(messages.len() as u64 * 401);
    most_held = most_held.max(names(&rig.dir().join("state/held")).len());
    eprintln!(
        "never started: {} scans in {:.1} s, at most {most_held} journals of what is held",
        200 * messages.len(),
        begun.elapsed().as_secs_f64()
    );
    assert!(most_held <= 256, "{most_held} folders");
    assert!(
        rig.metric("phasewatch_messages_refused_total", &["held_too_long"]) > 0.0,
        "those that gave way are counted"
    );
    assert_eq!(
        rig.metric("phasewatch_messages_refused_total", &["\"header\""]),
        200.0 * messages.len() as f64
    );
    assert_same(&good_day(&messages, "same"), &place(&rig.dir().join("archive"), "same"));
}

#[test]
fn those_who_do_not_read_hold_nobody_up() {
    const CLIENTS: usize = 100;
    let mut script = Script::new("large").grid(200, 200);
    let mut rig = Setup::new().set("publish", "queue_bytes = 1_048_576").start();
    // Subscribers to everything, who never read.
    let mut subscribers: Vec<Raw> = (0..20).map(|_| Raw::shaken(&rig.publish, "SUB")).collect();
    subscribers.iter_mut().for_each(|peer| peer.frame(0, b"\x01"));
    let mut feed = Feed::push(rig.source());
    feed.send(&script.start());
    feed.send_all(&script.lines(0..6));
    rig.wait_scan("large", "mapped", |scan| scan["generation"].as_u64() > Some(0));
    // Clients who ask for the largest things there are, again and again, and never read; and some who say nothing.
    let asks = "GET /api/v1/scans/large/phase_map.arrow HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20);
    let mut clients = Vec::new();
    for index in 0..CLIENTS {
        let mut client = TcpStream::connect(rig.http).unwrap();
        if index % 4 != 0 {
            client.write_all(asks.as_bytes()).unwrap();
        }
        clients.push(client);
    }
    let before = rig.resident_bytes();
    feed.send_all(&script.lines(6..12));
    feed.send(&script.end());
    rig.wait_scan("large", "whole", is_whole);
    assert_eq!(http::get(rig.http, "/healthz").status, 200);
    assert_eq!(http::get(rig.http, "/readyz").status, 200);
    let grown = rig.resident_bytes().saturating_sub(before);
    assert!(grown < 300 << 20, "{} MB", grown >> 20);
    assert!(rig.is_alive());
    // Nor do they keep it from ending.
    assert_eq!(rig.stop("TERM").code, Some(0));
    drop((clients, subscribers));
}
