//! Figure 7: a detector's stream through the whole daemon. An emulator in a process of its own sends prepared messages of DECTRIS' second
//! stream over the loopback as fast as they are taken; the daemon sums them, keeps its journal and makes maps, on what cores are left.
//! The emulator costs little: frames are packed beforehand, only their numbers are written into each message.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use phasewatch::publish::board::ScanSummary;
use phasewatch::scan::{DType, Encoding};
use phasewatch::settings::{Endpoint, Settings};
use phasewatch::source::dectris::encode::{self, Announced, Packed};
use phasewatch::zmtp::message_chunks;
use serde_json::json;

use crate::daemon::Daemon;
use crate::frames::Set;

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    /// Which of the sets of frames.
    pub(crate) set: usize,
    /// Rows and columns of the scan.
    pub(crate) grid: [usize; 2],
    /// Energies.
    pub(crate) energies: usize,
}

impl Stream {
    pub(crate) fn images(&self) -> u64 {
        (self.grid[0] * self.grid[1] * self.energies) as u64
    }
}

/// What came of it.
pub(crate) struct Came {
    pub(crate) wire_bytes: u64,
    pub(crate) decoded_bytes: u64,
    /// From the first frame to the daemon's saying that all are in its journal, and in its stack.
    pub(crate) time: Duration,
    /// From the last frame's being sent to the map that has it.
    pub(crate) to_map: Duration,
}

/// The first word of the arguments of the emulator.
pub(crate) const EMULATOR: &str = "detector-emulator";

/// The emulator: sends what the arguments say to an address, waits for a line on standard input before the first and the last image.
pub(crate) fn emulate(arguments: &[String]) {
    let [address, set, ny, nx, energies] = arguments else { panic!("{arguments:?}") };
    let number = |text: &String| text.parse::<usize>().unwrap();
    let stream = Stream { set: number(set), grid: [number(ny), number(nx)], energies: number(energies) };
    let set = crate::frames::sets().nth(stream.set).unwrap();
    let series = announced(&stream, &set);
    let number_at = number_at(&series);
    let wire = |part: Bytes| message_chunks(&[part]).concat();
    let templates: Vec<Vec<u8>> = set
        .frames()
        .iter()
        .take(2048)
        .map(|frame| {
            let packed = Packed { encoding: Encoding::Bslz4, bytes: frame.clone() };
            wire(encode::image(&series, SAMPLE_NUMBER, 0, &packed).unwrap())
        })
        .collect();
    let mut socket = shaken(address.strip_prefix("tcp://").unwrap());
    socket.write_all(&wire(encode::start(&series).unwrap())).unwrap();
    println!("{}", templates.iter().map(Vec::len).sum::<usize>() / templates.len());
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let mut block = Vec::with_capacity(2 << 20);
    for image in 0..stream.images() {
        if image + 1 == stream.images() {
            socket.write_all(&block).unwrap();
            block.clear();
            std::io::stdin().read_line(&mut line).unwrap();
        }
        let from = block.len();
        block.extend_from_slice(&templates[image as usize % templates.len()]);
        // A message above 255 bytes has a head of nine.
        let at = from + 9 + number_at;
        block[at..at + 4].copy_from_slice(&(image as u32).to_be_bytes());
        if block.len() > 1 << 20 {
            socket.write_all(&block).unwrap();
            block.clear();
        }
    }
    socket.write_all(&block).unwrap();
    socket.write_all(&wire(encode::end(&series).unwrap())).unwrap();
    // Until the other side has it all.
    std::io::stdin().read_line(&mut line).unwrap();
}

/// A number of an image that takes four bytes.
const SAMPLE_NUMBER: u64 = 0x1234_5678;

/// Where in a message the number of its image stands.
fn number_at(series: &Announced) -> usize {
    let packed = Packed { encoding: Encoding::Raw, bytes: Vec::new() };
    let message = encode::image(series, SAMPLE_NUMBER, 0, &packed).unwrap();
    message.windows(4).position(|bytes| bytes[..] == SAMPLE_NUMBER.to_be_bytes()[4..]).unwrap()
}

fn announced(stream: &Stream, set: &Set) -> Announced {
    let axis = json!({"start": 0.0, "step": 0.05});
    let energies: Vec<f64> = (0..stream.energies).map(|energy| 512.0 + 2.0 * energy as f64).collect();
    Announced {
        series: 1,
        unique: "bench".to_owned(),
        images: stream.images(),
        shape: set.shape(),
        dtype: match set.element_size() {
            2 => DType::Uint16,
            _ => DType::Uint32,
        },
        saturation: 60_000,
        masked: vec![7, 8, 9, 5000],
        count_time_s: 1e-4,
        energy_ev: 512.0,
        armed: "2026-05-04T03:02:01Z".to_owned(),
        note: Some(json!({"stxm": {
            "scan_id": "stream", "shape": stream.grid, "x": axis, "y": axis, "energies_ev": energies,
        }})),
    }
}

/// A PUSH socket that has shaken hands.
fn shaken(address: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    let greeting = [&[0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0][..], b"NULL", &[0; 48]].concat();
    socket.write_all(&greeting).unwrap();
    socket.write_all(b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04PUSH").unwrap();
    let mut theirs = [0; 64 + 28];
    socket.read_exact(&mut theirs).unwrap();
    socket
}

struct Emulator(Child);

impl Emulator {
    fn start(address: &str, stream: &Stream) -> Self {
        let numbers =
            [stream.set, stream.grid[0], stream.grid[1], stream.energies].map(|number| number.to_string());
        let child = Command::new(std::env::current_exe().unwrap())
            .args([EMULATOR, address])
            .args(numbers)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Bytes of a message, on average: as soon as it is ready.
    fn message_bytes(&mut self) -> u64 {
        let (mut text, mut byte) = (String::new(), [0]);
        let out = self.0.stdout.as_mut().unwrap();
        while out.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            text.push(char::from(byte[0]));
        }
        text.parse().unwrap()
    }

    fn go_on(&mut self) {
        let to = self.0.stdin.as_mut().unwrap();
        to.write_all(b"\n").unwrap();
        to.flush().unwrap();
    }
}

/// Runs a stream through a daemon of its own.
pub(crate) fn run(metrics: &phasewatch::telemetry::MetricsHandle, stream: Stream, regions: &str) -> Came {
    let file =
        format!("[[source]]\nkind = \"dectris\"\nbind = \"tcp://127.0.0.1:1\"\n[detector]\n{regions}\n");
    let settings = Settings::from_layers(&[("bench.toml".into(), file)], []).unwrap();
    let daemon = Daemon::start_without_sender(metrics, |wanted| {
        wanted.sources = settings.sources.clone();
        wanted.sources[0].endpoint = Endpoint::Bind("tcp://127.0.0.1:0".to_owned());
        wanted.detector = settings.detector.clone();
    });
    let before = daemon.received();
    let mut emulator = Emulator::start(daemon.address(), &stream);
    let message_bytes = emulator.message_bytes();
    daemon.wait_received(before + 1);
    let clock = Instant::now();
    emulator.go_on();
    let all = stream.images();
    daemon.wait("stream", |summary| summary.measured_values as u64 >= all - 1);
    daemon.wait_received(before + all);
    let time = clock.elapsed();
    let before_last = daemon.wait("stream", |_| true).generation;
    let last = Instant::now();
    emulator.go_on();
    let is_new =
        |summary: &ScanSummary| summary.measured_values as u64 == all && summary.generation > before_last;
    daemon.wait("stream", is_new);
    let to_map = last.elapsed();
    let summary = daemon.wait_for_end("stream");
    assert_eq!(summary.measured_values as u64, all, "nothing is lost");
    emulator.go_on();
    emulator.0.wait().unwrap();
    daemon.stop();
    let set = crate::frames::sets().nth(stream.set).unwrap();
    Came { wire_bytes: message_bytes * all, decoded_bytes: set.bytes() as u64 * all, time, to_map }
}
