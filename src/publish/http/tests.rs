use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::publish::table::tests::map;
use crate::publish::{MeanSpectra, ScanSummary};

pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head[9..12].parse().unwrap();
        Self { status, head, body: bytes[end + 4..].to_vec() }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub(super) async fn ask(address: std::net::SocketAddr, request: &str, more: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let text = format!("{request} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{more}\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    Answer::parse(&bytes)
}

pub(super) struct Server {
    pub(super) address: std::net::SocketAddr,
    pub(super) board: Board,
    pub(super) state: HttpState,
    pub(super) stop: CancellationToken,
    pub(super) task: tokio::task::JoinHandle<std::io::Result<()>>,
}

pub(super) async fn server() -> Server {
    let board = Board::new(8);
    let state = HttpState::new(board.clone(), 0xabc, || "phasewatch_up 1\n".to_owned());
    serve_state(board, state).await
}

pub(super) async fn serve_state(board: Board, state: HttpState) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(listener, state.clone(), stop.clone()));
    Server { address, board, state, stop, task }
}

pub(super) fn show(board: &Board, generation: u64) {
    let mut map = map(6, 7, &[]);
    map.origin.generation = generation;
    let mut summary = ScanSummary::started(&map.plan, map.plan.started);
    summary.describe(&map);
    board.update(summary);
    board.set_map(Arc::new(map));
}

#[tokio::test]
async fn health_follows_readiness_and_stop_ends_it() {
    let server = server().await;
    assert_eq!(ask(server.address, "GET /healthz", "").await.status, 200);
    assert_eq!(ask(server.address, "GET /readyz", "").await.status, 503);
    server.state.set_ready(true);
    assert_eq!(ask(server.address, "GET /readyz", "").await.status, 200);
    server.state.health().trouble(crate::telemetry::STUCK, true, "the map thread has done nothing");
    let stuck = ask(server.address, "GET /healthz", "").await;
    assert!(stuck.status == 503 && stuck.json()["error"].as_str().unwrap().contains("map thread"));
    server.state.health().well(crate::telemetry::STUCK);
    assert_eq!(ask(server.address, "GET /healthz", "").await.status, 200);
    server.state.health().trouble("uploads", false, "a bucket does not answer");
    assert_eq!(ask(server.address, "GET /readyz", "").await.status, 200, "told, and ready all the same");
    server.state.health().trouble("journal", true, "the disk is full");
    assert_eq!(ask(server.address, "GET /readyz", "").await.status, 503);
    server.state.health().well("journal");
    assert_eq!(ask(server.address, "GET /readyz", "").await.status, 200);
    assert_eq!(ask(server.address, "GET /metrics", "").await.body, b"phasewatch_up 1\n");
    server.stop.cancel();
    server.task.await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn serves_tables_and_pictures_and_says_when_they_are_known() {
    let server = server().await;
    show(&server.board, 7);
    let list = ask(server.address, "GET /api/v1/scans", "").await.json();
    assert_eq!(list[0]["scan_id"], "NVPF_0042");
    let one = ask(server.address, "GET /api/v1/scans/NVPF_0042", "").await.json();
    assert_eq!((&one["generation"], &one["status_counts"]["ambiguous"]), (&json!(7), &json!(6)));
    let url = "GET /api/v1/scans/NVPF_0042/phase_map";
    let arrow = ask(server.address, &format!("{url}.arrow"), "").await;
    let table = arrow::ipc::reader::StreamReader::try_new(&arrow.body[..], None).unwrap();
    assert_eq!(table.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 42);
    let parquet = ask(server.address, &format!("{url}.parquet"), "").await;
    assert_eq!(
        (&parquet.body[..4], parquet.header("content-type")),
        (&b"PAR1"[..], Some("application/vnd.apache.parquet"))
    );
    let png = ask(server.address, &format!("{url}.png"), "").await;
    assert_eq!(&png.body[1..4], b"PNG");
    let inpainted = ask(server.address, &format!("{url}.png?inpainted=1"), "").await;
    assert_eq!((inpainted.status, &inpainted.body[1..4]), (200, &b"PNG"[..]));
    assert_ne!(inpainted.body, png.body);
    for bad in [".png?inpainted=yes", ".arrow?inpainted=1"] {
        assert_eq!(ask(server.address, &format!("{url}{bad}"), "").await.status, 400, "{bad}");
    }
    let tag = png.header("etag").unwrap();
    let known =
        ask(server.address, &format!("{url}.png"), &format!("If-None-Match: \"x\", W/{tag}\r\n")).await;
    assert_eq!((known.status, known.body.len()), (304, 0));
    show(&server.board, 8);
    let newer = ask(server.address, &format!("{url}.png"), &format!("If-None-Match: {tag}\r\n")).await;
    assert_eq!(newer.status, 200);
    assert_ne!(newer.header("etag"), Some(tag));
}

#[tokio::test]
async fn spectra_are_there_once_they_are() {
    let server = server().await;
    show(&server.board, 7);
    let url = "GET /api/v1/scans/NVPF_0042/spectra.arrow";
    assert_eq!(ask(server.address, url, "").await.status, 404);
    let plan = server.board.get("NVPF_0042").unwrap().map.unwrap().plan.clone();
    let spectra = MeanSpectra {
        phase: vec![0],
        energy_ev: vec![515.0],
        od_mean: vec![0.5],
        od_std: vec![f32::NAN],
        pixels: vec![1],
        ..MeanSpectra::empty(plan, 7, vec!["na3.0".into()])
    };
    assert!(server.board.set_spectra(Arc::new(spectra)));
    let answer = ask(server.address, url, "").await;
    let mut table = arrow::ipc::reader::StreamReader::try_new(&answer.body[..], None).unwrap();
    let batch = table.next().unwrap().unwrap();
    assert_eq!((batch.num_rows(), batch.column_by_name("od_std").unwrap().null_count()), (1, 1));
}

#[tokio::test]
async fn says_what_is_wrong_in_json() {
    let server = server().await;
    for (request, status) in [
        ("GET /nowhere", 404),
        ("GET /api/v1/scans/absent", 404),
        ("GET /api/v1/scans/absent/phase_map.arrow", 404),
        ("GET /api/v1/scans/absent/passwd", 404),
        ("GET /api/v1/scans/..%2f..%2fetc", 400),
        ("GET /api/v1/scans/%ff%fe", 400),
        ("POST /api/v1/scans", 405),
    ] {
        let answer = ask(server.address, request, "Content-Length: 0\r\n").await;
        assert_eq!(answer.status, status, "{request}");
        assert!(answer.json()["error"].is_string(), "{request}");
    }
}

#[tokio::test]
async fn the_page_takes_nothing_from_elsewhere() {
    let server = server().await;
    let page = ask(server.address, "GET /", "").await;
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    let html = String::from_utf8(page.body).unwrap();
    assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("<style"));
    for path in ["/static/page.css", "/static/page.js"] {
        assert!(html.contains(path));
        assert_eq!(ask(server.address, &format!("GET {path}"), "").await.status, 200);
    }
}
