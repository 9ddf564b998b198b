//! Packed frames of an area detector: what the archive has of them, pixel by pixel.

use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Float32Type;
use serde_json::json;
use tempfile::TempDir;

use crate::feed::Feed;
use crate::rig::{Rig, Setup};
use crate::script::{Message, Script};
use crate::table::{folder, manifest, read};

const HEIGHT: usize = 16;
const WIDTH: usize = 20;
/// Of the energy, row and column of this pixel the frame is broken.
const BROKEN: (usize, usize) = (5, 8);

fn start_in(dir: TempDir) -> Rig {
    let regions = "bright_field = { centre = [7.5, 9.5], outer = 6 }\n\
                   dark_field = { centre = [7.5, 9.5], inner = 6, outer = 8 }\nmoments = true\nfind_bad_pixels = false\n";
    Setup::bare()
        .source("beam", "bind = \"tcp://127.0.0.1:0\"\ngrace_s = 0.3")
        .set("detector", regions)
        .start_in(dir)
}

/// A frame, and what is to become of it.
struct Frame {
    values: Vec<u16>,
    /// Intensity, dark field, y and x of the centre.
    wanted: [f32; 4],
}

/// A spot of three by three pixels whose place goes with the pixel of the scan, some counts in the ring around it, and more beyond.
fn frame(script: &Script, energy: usize, pixel: usize) -> Frame {
    let (row, column) = (pixel / script.nx, pixel % script.nx);
    let (y, x) = (6 + row, 7 + column);
    let each = (script.counts(script.energies_ev[energy], pixel) / 9.0) as u16;
    let mut values = vec![0_u16; HEIGHT * WIDTH];
    for (dy, dx) in (0..9).map(|k| (k / 3, k % 3)) {
        values[(y + dy - 1) * WIDTH + x + dx - 1] = each;
    }
    // 6.5 rows from the centre, and 7.5 rows and half a column: both in the ring. The corner is in neither.
    let far = (pixel + 3 * energy) as u16;
    values[WIDTH + 9] = far;
    values[15 * WIDTH + 10] = 7;
    values[0] = 999;
    let intensity = 9.0 * f32::from(each);
    Frame { values, wanted: [intensity, f32::from(far + 7), y as f32, x as f32] }
}

/// The bitshuffle filter by its definition: bit planes, each block one LZ4 block that is nothing but literals.
fn bslz4(values: &[u16], per_block: usize) -> Vec<u8> {
    let mut packed = (2 * values.len() as u64).to_be_bytes().to_vec();
    packed.extend((2 * per_block as u32).to_be_bytes());
    for block in values.chunks(per_block) {
        let mut planes = vec![0_u8; 2 * block.len()];
        for bit in 0..16 {
            for (index, value) in block.iter().enumerate() {
                planes[bit * block.len() / 8 + index / 8] |= ((value >> bit & 1) as u8) << (index % 8);
            }
        }
        let mut lz4 = vec![0xf0];
        let mut left = planes.len() - 15;
        while left >= 255 {
            lz4.push(255);
            left -= 255;
        }
        lz4.push(left as u8);
        lz4.extend(planes);
        packed.extend((lz4.len() as u32).to_be_bytes());
        packed.extend(lz4);
    }
    packed
}

fn messages() -> Vec<Message> {
    let mut script = Script::new("frames");
    let detector = json!({ "kind": "area", "frame_shape": [HEIGHT, WIDTH], "counts_per_photon": 1.0 });
    let mut messages = vec![script.start().with("detector", detector)];
    for energy in 0..script.energies_ev.len() {
        for row in 0..script.ny {
            let line = script.line(energy, row);
            let line = line.with("dtype", json!("uint16")).with("encoding", json!("bslz4"));
            let first = row * script.nx;
            let packed = (first..first + script.nx).map(|pixel| {
                let mut packed = bslz4(&frame(&script, energy, pixel).values, 64);
                if (energy, pixel) == BROKEN {
                    packed.truncate(packed.len() / 2);
                }
                packed
            });
            messages.push(packed.fold(line.cut(), Message::and_part));
        }
    }
    messages.push(script.end());
    messages
}

/// Column by column the values of an archived scan, `[pixel][energy]`.
fn lists(folder: &Path, file: &str, column: &str) -> Vec<Vec<Option<f32>>> {
    let table = read(&folder.join(file));
    let column = table.column_by_name(column).unwrap().as_list::<i32>();
    let list = |row| column.value(row).as_primitive::<Float32Type>().iter().collect();
    (0..column.len()).map(list).collect()
}

fn check(folder: &Path) {
    let script = Script::new("frames");
    let names =
        [("stack.parquet", "counts"), ("channels.parquet", "dark_field"), ("channels.parquet", "com_y")];
    let names = names.into_iter().chain([("channels.parquet", "com_x")]);
    for (index, (file, column)) in names.enumerate() {
        let lists = lists(folder, file, column);
        for energy in 0..script.energies_ev.len() {
            for (pixel, values) in lists.iter().enumerate() {
                let wanted = frame(&script, energy, pixel).wanted[index];
                let wanted = ((energy, pixel) != BROKEN).then_some(wanted);
                assert_eq!(values[energy], wanted, "{column} of pixel {pixel} at energy {energy}");
            }
        }
    }
    assert_eq!(manifest(folder)["channels"], json!(["dark_field", "com_y", "com_x"]));
}

#[test]
fn packed_frames_end_as_the_right_channels_in_the_archive_and_on_the_way() {
    let messages = messages();
    let rig = start_in(tempfile::tempdir().unwrap());
    let mut feed = Feed::push(rig.source());
    feed.send_all(&messages[..messages.len() - 1]);
    let base = "/api/v1/scans/frames";
    let layer = |rig: &Rig, name: &str| -> Vec<f32> {
        let bytes = rig.get(&format!("{base}/layers/{name}.bin?energy=11"));
        bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    };
    rig.wait_scan("frames", "measured", |scan| scan["measured_values"] == 12 * 24 - 1);
    rig.wait_scan("frames", "mapped", |scan| scan["generation"].as_u64() > Some(0));
    let script = Script::new("frames");
    let wanted =
        |index: usize| (0..24).map(|pixel| frame(&script, 11, pixel).wanted[index]).collect::<Vec<_>>();
    assert_eq!((layer(&rig, "dark_field"), layer(&rig, "com_y")), (wanted(1), wanted(2)));
    feed.send_all(&messages[messages.len() - 1..]);
    let folder = folder(&rig.archived("frames"));
    check(&folder);
    assert_eq!(layer(&rig, "com_x"), wanted(3));
    assert_eq!(rig.metric("phasewatch_frames_reduced_total", &[]), 287.0);
    assert_eq!(rig.metric("phasewatch_frames_dropped_total", &["cause=\"cut\""]), 1.0);
    assert_eq!(rig.metric("phasewatch_frames_decoded_bytes_total", &[]), 287.0 * 640.0);
    rig.log.wait("a broken frame", |line| line["frame"] == 2 && line["scan_id"] == "frames");
    // Killed on the way, with messages out of order and twice: the same files.
    let mut dir = tempfile::tempdir().unwrap();
    let mut mixed = messages.clone();
    mixed[1..40].reverse();
    mixed.insert(30, messages[20].clone());
    for part in [&mixed[..12], &mixed[12..35]] {
        let rig = start_in(dir);
        Feed::push(rig.source()).send_all(part);
        rig.received(part.len() as u64);
        dir = rig.kill();
    }
    let rig = start_in(dir);
    Feed::push(rig.source()).send_all(&mixed[35..]);
    let again = crate::table::folder(&rig.archived("frames"));
    check(&again);
    assert_eq!(manifest(&folder)["files"], manifest(&again)["files"], "other bytes after being killed");
}

#[test]
fn a_region_that_no_frame_has_is_told_and_costs_nothing() {
    let rig = Setup::bare()
        .source("beam", "bind = \"tcp://127.0.0.1:0\"\ngrace_s = 0.3")
        .set("detector", "bright_field = { y = [100, 120], x = [0, 5] }\nfind_bad_pixels = false")
        .start();
    Feed::push(rig.source()).send_all(&messages());
    let folder = folder(&rig.archived("frames"));
    let text = manifest(&folder)["remarks"][0]["text"].as_str().unwrap().to_owned();
    assert!(text.contains("detector.bright_field has no pixel of a frame of 16 by 20"), "{text}");
    let script = Script::new("frames");
    let values = frame(&script, 3, 4).values.iter().map(|value| f32::from(*value)).sum::<f32>();
    assert_eq!(lists(&folder, "stack.parquet", "counts")[4][3], Some(values));
    assert!(!folder.join("channels.parquet").exists());
}
