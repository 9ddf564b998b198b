//! The routes of the screen, over a socket: a scan that can be looked at, one that cannot, and an archive of one folder.

use std::sync::Mutex;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::tests::{Answer, Server, ask, serve_state, server, show};
use super::*;
use crate::classify::tests::recipe;
use crate::classify::{LiveMap, Optics, PhaseMap, RevisionReason};
use crate::publish::Sight;
use crate::publish::library::{
    Library, LibraryError, Listing, Opened, Shelfmark, Shelved, ShelvedFile, Wanted,
};
use crate::scan::{Channel, I0, Pixels, SampleBatch, Signal, test_plan};
use crate::simulate::nvpf;
use crate::stack::Stack;

const PATIENCE: Duration = Duration::from_secs(20);

/// 4 × 5 pixels of optical densities: the first reference, but for the last row of the third.
fn stack() -> Stack {
    let mut plan = test_plan(4, 5, 12);
    plan.scan_id = "looked-at".to_owned();
    plan.detector.signal = Signal::OpticalDensity;
    let references = nvpf::reference_set();
    let energies_ev = plan.energies_ev.clone();
    let mut stack = Stack::new(plan);
    for (energy, &energy_ev) in energies_ev.iter().enumerate() {
        let at = |phase: usize| references.references[phase].od_held_at(energy_ev).unwrap() as f32;
        let values = (0..20).map(|pixel| if pixel < 15 { at(0) } else { at(2) }).collect();
        let batch = SampleBatch {
            energy_index: energy as u32,
            pixels: Pixels::Run { first: 0, count: 20 },
            channel: Channel::Intensity,
            // At the first energies only.
            others: if energy < 4 {
                vec![(Channel::ComX, vec![0.5 + energy as f32; 20])]
            } else {
                Vec::new()
            },
            values,
            i0: I0::None,
            ring_current_ma: None,
            energy_ev: None,
            time: None,
        };
        stack.push(energy as u64, &batch).unwrap();
    }
    stack
}

/// Puts the scan on the board, with the way to its stack; that stays as long as what is returned.
fn look_at(board: &Board) -> Arc<Mutex<Stack>> {
    let stack = stack();
    let mut live = LiveMap::of(&stack, recipe(), 0);
    let (map, _) = live.generation_of(&stack, RevisionReason::Energy, None);
    let mut summary = ScanSummary::started(&map.plan, map.plan.started);
    summary.describe(&map);
    summary.measured_values = 240;
    board.update(summary);
    let shared = Arc::new(Mutex::new(stack));
    board.set_sight("looked-at", Some(Sight::new(&shared, live.optics())));
    assert!(board.set_map(Arc::new(map)));
    shared
}

#[tokio::test]
async fn a_map_comes_layer_by_layer_and_not_twice() {
    let server = server().await;
    show(&server.board, 7);
    let base = "/api/v1/scans/NVPF_0042";
    let view = ask(server.address, &format!("GET {base}/view.json"), "").await;
    let told = view.json();
    assert_eq!((&told["shape"], &told["flip"]), (&json!([6, 7]), &json!([false, false])));
    assert_eq!(
        (&told["generation"], &told["live"], &told["simulated"]),
        (&json!(7), &json!(true), &json!(true))
    );
    assert_eq!(told["phases"][0]["phase"], "na3.0");
    assert_eq!(told["spectra"]["available"], false);
    let names: Vec<&str> =
        told["layers"].as_array().unwrap().iter().filter_map(|l| l["name"].as_str()).collect();
    assert!(names.contains(&"confidence") && !names.contains(&"dose") && !names.contains(&"od"), "{names:?}");
    for layer in told["layers"].as_array().unwrap() {
        let name = layer["name"].as_str().unwrap();
        let answer = ask(server.address, &format!("GET {base}/layers/{name}.bin"), "").await;
        let width = match answer.header("x-phasewatch-dtype") {
            Some("u8") => 1,
            Some("u16") => 2,
            Some("f32") => 4,
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(answer.body.len(), 42 * width, "{name}");
        let known = format!("If-None-Match: {}\r\n", answer.header("etag").unwrap());
        assert_eq!(ask(server.address, &format!("GET {base}/layers/{name}.bin"), &known).await.status, 304);
    }
    let known = format!("If-None-Match: {}\r\n", view.header("etag").unwrap());
    assert_eq!(ask(server.address, &format!("GET {base}/view.json"), &known).await.status, 304);
    show(&server.board, 8);
    let newer = ask(server.address, &format!("GET {base}/view.json"), &known).await;
    assert_eq!((newer.status, &newer.json()["generation"]), (200, &json!(8)));
    for bad in ["layers/nothing.bin", "layers/phase", "layers/dose.bin", "layers/..%2fphase.bin"] {
        assert_eq!(ask(server.address, &format!("GET {base}/{bad}"), "").await.status, 404, "{bad}");
    }
    assert_eq!(ask(server.address, &format!("GET {base}/layers/od.bin?energy=99"), "").await.status, 400);
    assert_eq!(ask(server.address, &format!("GET {base}/layers/od.bin?energy=1"), "").await.status, 404);
}

#[tokio::test]
async fn a_pixel_and_a_region_show_their_spectra_while_the_stack_is_there() {
    let server = server().await;
    let stack = look_at(&server.board);
    let base = "/api/v1/scans/looked-at";
    let pixel = ask(server.address, &format!("GET {base}/pixel.json?row=1&column=2"), "").await.json();
    let spectrum = &pixel["spectrum"];
    assert_eq!(spectrum["od"].as_array().unwrap().len(), 12, "{pixel}");
    let first = nvpf::reference_set().references[0].label.id.clone();
    assert_eq!(
        (&pixel["values"]["phase"], &spectrum["fit"]["parts"][0]["phase"]),
        (&json!(first), &json!(first))
    );
    assert!((spectrum["fit"]["parts"][0]["weight"].as_f64().unwrap() - 1.0).abs() < 1e-3);
    // The lower two rows, half of each phase.
    let url = format!("GET {base}/region.json?polygon=0,2;5,2;5,4;0,4");
    let region = ask(server.address, &url, "").await.json();
    assert_eq!((&region["pixels"], &region["spectrum"]["pixels"][0]), (&json!(10), &json!(10)));
    let parts = region["spectrum"]["fit"]["parts"].as_array().unwrap();
    assert!(
        parts.len() == 2 && parts.iter().all(|p| (p["weight"].as_f64().unwrap() - 0.5).abs() < 1e-2),
        "{parts:?}"
    );
    let csv = ask(server.address, &format!("GET {base}/region.csv?polygon=0,2;5,2;5,4;0,4"), "").await;
    let text = String::from_utf8(csv.body.clone()).unwrap();
    assert_eq!((text.lines().count(), csv.header("content-type")), (13, Some("text/csv; charset=utf-8")));
    assert!(csv.header("content-disposition").unwrap().contains("looked-at_region_of_10.csv"));
    let columns = text.lines().next().unwrap().split(',').count();
    assert!(text.lines().all(|line| line.split(',').count() == columns), "{text}");
    let means = ask(server.address, &format!("GET {base}/spectra.csv"), "").await;
    assert!(String::from_utf8(means.body).unwrap().starts_with("phase,energy_ev,od_mean"));
    let image = ask(server.address, &format!("GET {base}/layers/od.bin?energy=3"), "").await;
    let at = |pixel: usize| f32::from_le_bytes(image.body[4 * pixel..4 * pixel + 4].try_into().unwrap());
    assert!((at(7) - pixel["spectrum"]["od"][3].as_f64().unwrap() as f32).abs() < 1e-5);
    let other = |name: &str| format!("GET {base}/layers/{name}");
    let view = ask(server.address, &format!("GET {base}/view.json"), "").await.json();
    let names: Vec<&str> =
        view["layers"].as_array().unwrap().iter().filter_map(|l| l["name"].as_str()).collect();
    assert!(names.contains(&"com_x") && !names.contains(&"dark_field"), "{names:?}");
    let centre = ask(server.address, &other("com_x.bin?energy=3"), "").await;
    assert_eq!(
        (centre.header("x-phasewatch-dtype"), centre.body.clone()),
        (Some("f32"), 3.5_f32.to_le_bytes().repeat(20))
    );
    let known = format!("If-None-Match: {}\r\n", centre.header("etag").unwrap());
    assert_eq!(ask(server.address, &other("com_x.bin?energy=3"), &known).await.status, 304);
    let nothing = ask(server.address, &other("com_x.bin?energy=4"), "").await.body;
    assert!(nothing.len() == 80 && f32::from_le_bytes(nothing[..4].try_into().unwrap()).is_nan());
    for (name, status) in [("com_x.bin", 400), ("com_x.bin?energy=12", 400), ("dark_field.bin?energy=3", 404)]
    {
        assert_eq!(ask(server.address, &other(name), "").await.status, status, "{name}");
    }
    for bad in
        ["pixel.json", "pixel.json?row=9&column=0", "pixel.json?row=-1&column=0", "region.json?polygon=1,1"]
    {
        assert_eq!(ask(server.address, &format!("GET {base}/{bad}"), "").await.status, 400, "{bad}");
    }
    let trend = ask(server.address, &format!("GET {base}/trend.json"), "").await.json();
    assert_eq!(trend["points"][0]["measured_values"], 240);
    let islands = ask(server.address, &format!("GET {base}/latent.json"), "").await;
    assert_eq!((islands.status, &islands.json()["error"]), (404, &json!("no model is in use")));
    drop(stack);
    let later = ask(server.address, &format!("GET {base}/pixel.json?row=1&column=2"), "").await.json();
    assert!(later["spectrum"].is_null() && later["why_no_spectrum"].is_string(), "{later}");
    assert_eq!(later["values"]["status"], pixel["values"]["status"], "what the map says stays");
}

/// One folder.
struct Shelf {
    map: Arc<PhaseMap>,
    file: std::path::PathBuf,
}

impl Library for Shelf {
    fn list(&self, wanted: &Wanted) -> Result<Listing, LibraryError> {
        let found = wanted.search.as_ref().is_none_or(|word| self.map.plan.scan_id.contains(word.as_str()));
        let mark = Shelfmark::parse("hermes", "2026-09-21", "NVPF_0042").unwrap();
        Ok(Listing {
            total: usize::from(found),
            scans: if found { vec![self.one(&mark)?] } else { Vec::new() },
        })
    }

    fn one(&self, mark: &Shelfmark) -> Result<Shelved, LibraryError> {
        self.digest(mark)?;
        let plan = &self.map.plan;
        Ok(Shelved {
            base: Some(mark.base()),
            scan_id: plan.scan_id.clone(),
            name: mark.name.clone(),
            beamline: mark.beamline.clone(),
            date: mark.date,
            sample: plan.sample.clone(),
            region: plan.region.clone(),
            started: plan.started,
            shape: plan.grid.shape,
            energies: plan.energies_ev.len(),
            outcome: "complete".to_owned(),
            provisional: false,
            simulated: true,
            quarantined: false,
            pruned: true,
            coverage: Some(1.0),
            fractions: Vec::new(),
            dose_mgy: None,
            bytes: 3,
            files: vec![ShelvedFile { name: "spectra.parquet".to_owned(), bytes: 3 }],
        })
    }

    fn digest(&self, mark: &Shelfmark) -> Result<String, LibraryError> {
        if mark.name == "NVPF_0042" { Ok("ab".repeat(32)) } else { Err(LibraryError::Missing("scan")) }
    }

    fn open(&self, mark: &Shelfmark) -> Result<Opened, LibraryError> {
        let why_no_spectra = Some("it was removed".to_owned());
        Ok(Opened {
            map: Arc::clone(&self.map),
            digest: self.digest(mark)?,
            energies: Vec::new(),
            why_no_spectra,
            has_findings: true,
        })
    }

    fn sight(&self, _: &Shelfmark) -> Result<(Arc<Stack>, Arc<Optics>), LibraryError> {
        Err(LibraryError::Gone("it was removed".to_owned()))
    }

    fn channel(&self, _: &Shelfmark, channel: Channel, energy: usize) -> Result<Vec<f32>, LibraryError> {
        if channel == Channel::DarkField {
            Ok(vec![energy as f32; 42])
        } else {
            Err(LibraryError::Missing("layer"))
        }
    }

    fn findings(&self, mark: &Shelfmark) -> Result<Vec<u8>, LibraryError> {
        self.digest(mark)?;
        Ok(br#"{"particles":[]}"#.to_vec())
    }

    fn file(&self, mark: &Shelfmark, name: &str) -> Result<std::path::PathBuf, LibraryError> {
        self.digest(mark)?;
        if name == "spectra.parquet" { Ok(self.file.clone()) } else { Err(LibraryError::Missing("file")) }
    }

    fn shelfmark(&self, folder: &str) -> Option<Shelfmark> {
        folder.ends_with("NVPF_0042").then(|| Shelfmark::parse("hermes", "2026-09-21", "NVPF_0042"))?
    }

    fn grew(&self) {}
}

async fn with_archive(guard: Guard) -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spectra.parquet");
    std::fs::write(&file, b"abc").unwrap();
    let mut map = crate::publish::table::tests::map(6, 7, &[]);
    map.origin.channels = vec![Channel::DarkField];
    let map = Arc::new(map);
    let screen = Screen { library: Some(Arc::new(Shelf { map, file })), ..Screen::default() };
    let alerting = Alerting { guard, ..Alerting::default() };
    let board = Board::new(8);
    let state = HttpState::with_screen(board.clone(), 0xabc, String::new, alerting, screen);
    (serve_state(board, state).await, folder)
}

#[tokio::test]
async fn the_archive_is_shown_like_the_board() {
    let (server, _folder) = with_archive(Guard::default()).await;
    let list = ask(server.address, "GET /api/v1/archive?search=NVPF&limit=5", "").await.json();
    let base = list["scans"][0]["base"].as_str().unwrap().to_owned();
    assert_eq!((base.as_str(), &list["total"]), ("/api/v1/archive/hermes/2026-09-21/NVPF_0042", &json!(1)));
    assert_eq!(ask(server.address, "GET /api/v1/archive?search=other", "").await.json()["total"], 0);
    assert_eq!(ask(server.address, "GET /api/v1/archive?from=yesterday", "").await.status, 400);
    let view = ask(server.address, &format!("GET {base}/view.json"), "").await.json();
    assert_eq!((&view["live"], &view["spectra"]["why_not"]), (&json!(false), &json!("it was removed")));
    assert_eq!(ask(server.address, &format!("GET {base}/layers/phase.bin"), "").await.body.len(), 42);
    let dark = ask(server.address, &format!("GET {base}/layers/dark_field.bin?energy=1"), "").await;
    assert_eq!(dark.body, 1.0_f32.to_le_bytes().repeat(42));
    assert_eq!(ask(server.address, &format!("GET {base}/layers/com_y.bin?energy=1"), "").await.status, 404);
    let pixel = ask(server.address, &format!("GET {base}/pixel.json?row=0&column=3"), "").await.json();
    assert_eq!(
        (&pixel["values"]["status"], &pixel["why_no_spectrum"]),
        (&json!("classified"), &json!("it was removed"))
    );
    assert_eq!(ask(server.address, &format!("GET {base}/spectra.csv"), "").await.status, 410);
    let small = ask(server.address, &format!("GET {base}/thumbnail.png"), "").await;
    assert_eq!(&small.body[1..4], b"PNG");
    let known = format!("If-None-Match: {}\r\n", small.header("etag").unwrap());
    assert_eq!(ask(server.address, &format!("GET {base}/thumbnail.png"), &known).await.status, 304);
    let file = ask(server.address, &format!("GET {base}/files/spectra.parquet"), "").await;
    assert_eq!((&file.body[..], file.header("content-length")), (&b"abc"[..], Some("3")));
    assert!(file.header("content-disposition").unwrap().contains("NVPF_0042_spectra.parquet"));
    for (bad, status) in [
        ("/api/v1/archive/hermes/2026-09-21/absent/view.json".to_owned(), 404),
        (format!("{base}/files/passwd"), 404),
        (format!("{base}/files/..%2f..%2fetc%2fpasswd"), 404),
        ("/api/v1/archive/..%2f..%2fetc/2026-09-21/x/view.json".to_owned(), 400),
        ("/api/v1/archive/hermes/2026-09-99/x/view.json".to_owned(), 400),
    ] {
        assert_eq!(ask(server.address, &format!("GET {bad}"), "").await.status, status, "{bad}");
    }
}

#[tokio::test]
async fn where_reading_wants_the_token_nothing_is_shown_without() {
    let (server, _folder) = with_archive(Guard::default().with_token(Some("t0k3n")).with_reading(true)).await;
    look_at(&server.board);
    for (path, status) in [
        ("/", 200),
        ("/static/page.js", 200),
        ("/healthz", 200),
        ("/readyz", 503),
        ("/metrics", 401),
        ("/api/v1/scans", 401),
        ("/api/v1/scans/looked-at/view.json", 401),
        ("/api/v1/archive", 401),
        ("/api/v1/events", 401),
        ("/api/v1/system", 401),
        ("/api/v1/alerts", 401),
    ] {
        let open = ask(server.address, &format!("GET {path}"), "").await;
        assert_eq!(open.status, status, "{path}");
        if status == 401 {
            let wrong = ask(server.address, &format!("GET {path}"), "Authorization: Bearer t0k3\r\n").await;
            assert_eq!(wrong.status, 403, "{path}");
        }
    }
    let known = ask(server.address, "GET /api/v1/scans", "Authorization: Bearer t0k3n\r\n").await;
    assert_eq!(known.status, 200);
}

#[tokio::test]
async fn what_changes_something_wants_the_token() {
    let (server, _folder) = with_archive(Guard::default().with_token(Some("t0k3n"))).await;
    let post = "Host: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n";
    for path in ["/api/v1/model", "/api/v1/scans/looked-at/archive"] {
        let ask = |more: String| post_to(server.address, path, more);
        assert_eq!(ask(post.to_owned()).await.status, 401, "{path}");
        // With it the request is heard; there is nobody here to grant it.
        assert_eq!(ask(format!("{post}Authorization: Bearer t0k3n\r\n")).await.status, 404, "{path}");
        let elsewhere = format!("{post}Authorization: Bearer t0k3n\r\nOrigin: http://evil.example\r\n");
        assert_eq!(ask(elsewhere).await.status, 403, "{path}");
    }
}

async fn post_to(address: std::net::SocketAddr, path: &str, more: String) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let text = format!("POST {path} HTTP/1.1\r\nConnection: close\r\n{more}\r\n{{}}");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    Answer::parse(&bytes)
}

#[tokio::test]
async fn oversized_requests_are_refused() {
    let server = server().await;
    let long = format!("GET /api/v1/archive?search={}", "a".repeat(20_000));
    assert_eq!(ask(server.address, &long, "").await.status, 414);
    let many: String = (0..2000).map(|i| format!("X-{i}: {}\r\n", "b".repeat(100))).collect();
    assert!(matches!(ask(server.address, "GET /healthz", &many).await.status, 400 | 431));
}

/// What a stream of events has said, event by event.
struct Listener {
    stream: TcpStream,
    text: String,
}

impl Listener {
    async fn new(server: &Server) -> Self {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
        Self { stream, text: String::new() }
    }

    /// Reads on until `wanted` was said, or the end; returns whether it was.
    async fn until(&mut self, wanted: &str) -> bool {
        let read = async {
            let mut piece = [0; 4096];
            while !self.text.contains(wanted) {
                let n = self.stream.read(&mut piece).await.unwrap();
                if n == 0 {
                    return false;
                }
                self.text += &String::from_utf8_lossy(&piece[..n]);
            }
            true
        };
        tokio::time::timeout(PATIENCE, read).await.expect("nothing comes any more")
    }
}

#[tokio::test]
async fn news_come_as_they_happen_and_end_with_the_daemon() {
    let server = server().await;
    show(&server.board, 7);
    let mut listener = Listener::new(&server).await;
    assert!(listener.until("event: health").await);
    assert!(listener.until("\"scan_id\":\"NVPF_0042\"").await);
    assert!(listener.until("\"generation\":7").await);
    show(&server.board, 8);
    assert!(listener.until("event: map\ndata: {\"generation\":8").await, "{}", listener.text);
    let view = ask(server.address, "GET /api/v1/scans/NVPF_0042/view.json", "").await.json();
    assert_eq!(view["findings"], json!({ "available": false, "revision": null }));
    assert!(server.board.set_findings("NVPF_0042", bytes::Bytes::from_static(b"{}")));
    assert!(listener.until("event: findings\ndata: {\"revision\":").await, "{}", listener.text);
    let view = ask(server.address, "GET /api/v1/scans/NVPF_0042/view.json", "").await.json();
    let revision = view["findings"]["revision"].as_str().unwrap();
    assert!(listener.until(&format!("{{\"revision\":{revision},\"scan_id\":\"NVPF_0042\"}}")).await);
    server.state.health().trouble("journal", true, "the disk is full");
    assert!(listener.until("\"troubles\":1").await);
    server.stop.cancel();
    assert!(listener.until("event: bye").await);
    assert!(!listener.until("this is not said").await, "the stream is over");
    server.task.await.unwrap().unwrap();
}

/// A browser that does not read costs the pipeline nothing: every change of the board takes as long as before, nothing piles up for it, and what it reads at last
/// is the latest.
#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_browser_keeps_nobody_waiting_and_finds_the_latest() {
    let server = server().await;
    show(&server.board, 1);
    let mut stalled = Listener::new(&server).await;
    assert!(stalled.until("event: health").await);
    // Summaries with notes of a hundred kilobytes: far more in all than the sockets hold.
    let board = server.board.clone();
    let changes = tokio::task::spawn_blocking(move || {
        let entry = board.get("NVPF_0042").unwrap();
        for change in 0..2000 {
            let mut summary = ScanSummary::clone(&entry.summary);
            summary.notes = vec![format!("change {change} of many {}", "x".repeat(100_000))];
            board.update(summary);
        }
    });
    // It ends though nobody reads: were the board to wait, it would not.
    tokio::time::timeout(PATIENCE, changes).await.expect("the board waits for a browser").unwrap();
    // Another one is served meanwhile.
    let mut other = Listener::new(&server).await;
    assert!(other.until("change 1999 of many").await);
    assert!(stalled.until("change 1999 of many").await, "the latest comes");
    let told = stalled.text.matches("of many").count();
    assert!(told < 1000, "{told} of 2000 were kept for it");
}

#[tokio::test]
async fn the_number_of_listeners_is_bounded_and_seats_are_given_back() {
    let server = server().await;
    let mut all = Vec::new();
    for _ in 0..64 {
        let mut listener = Listener::new(&server).await;
        assert!(listener.until("event: health").await);
        all.push(listener);
    }
    assert_eq!(ask(server.address, "GET /api/v1/events", "").await.status, 503);
    drop(all);
    // The seats are free when the server has noticed.
    let freed = async {
        loop {
            let mut listener = Listener::new(&server).await;
            if listener.until("\r\n").await && listener.text.starts_with("HTTP/1.1 200") {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, freed).await.expect("no seat is given back");
}
