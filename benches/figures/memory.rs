//! Figure 4: memory of the daemon's own process, over scans of 512×512 pixels and 100 energies in a row.

use std::time::Duration;

use bytes::Bytes;
use zeromq::{PushSocket, Socket, SocketRecv, SocketSend, SubSocket, ZmqMessage};

use crate::process::{Process, Resident};
use crate::scene::Scene;

const SIZE: usize = 512;
const ENERGIES: usize = 100;

/// Bytes of the values of one stack as `f32`, MB.
pub(crate) fn stack_mb() -> f64 {
    (SIZE * SIZE * ENERGIES * 4) as f64 / 1e6
}

/// Runs `scans` scans, each after the one before is archived, and reports the memory of each: before the first, then
/// for each at most and after it was archived.
pub(crate) fn in_a_row(scans: usize) -> Vec<Resident> {
    let process = Process::start("");
    let (source, publish) = (process.source, process.publish);
    let scene = Scene::new(SIZE, ENERGIES, 3000.0);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut push = PushSocket::new();
        push.connect(&format!("tcp://127.0.0.1:{source}")).await.unwrap();
        let mut sub = SubSocket::new();
        sub.connect(&format!("tcp://127.0.0.1:{publish}")).await.unwrap();
        sub.subscribe("scan/").await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut resident = vec![process.resident()];
        for scan in 0..scans {
            process.reset_peak();
            let scan_id = format!("memory_{scan}");
            send(&mut push, vec![scene.start(&scan_id)]).await;
            for energy in 0..ENERGIES {
                send(&mut push, scene.image(&scan_id, energy)).await;
                // A fast scan, not a flood: maps are made as it goes.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            send(&mut push, vec![scene.end(&scan_id)]).await;
            loop {
                let message = sub.recv().await.unwrap().into_vec();
                let header: serde_json::Value = serde_json::from_slice(&message[1]).unwrap();
                if header["event"] == "archived" && header["scan_id"] == scan_id.as_str() {
                    assert_eq!(header["gaps"].as_array().map(Vec::len), Some(0));
                    break;
                }
            }
            resident.push(process.resident());
        }
        resident
    })
}

async fn send(push: &mut PushSocket, messages: Vec<Vec<Bytes>>) {
    for parts in messages {
        push.send(ZmqMessage::try_from(parts).unwrap()).await.unwrap();
    }
}
