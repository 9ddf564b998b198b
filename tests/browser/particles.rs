//! The particles of a scan while it grows and in the archive: outlines, list, picking one.

use serde_json::{Value, json};

use crate::feed::Feed;
use crate::http;
use crate::operator::Operator;
use crate::rig::Setup;
use crate::script::{I0, Message, Script, floats};

const SHAPE: [usize; 2] = [24, 30];
/// Lines and columns with nothing in them: what is left are pieces, of which those to the right lie at the border.
const EMPTY_ROWS: [usize; 5] = [0, 1, 11, 12, 23];
const EMPTY_COLUMNS: [usize; 7] = [0, 1, 9, 10, 18, 19, 20];

/// The same line of a specimen in pieces.
fn parted(message: &Message) -> Message {
    let Some(first) = message.header()["first_pixel"].as_u64() else { return message.clone() };
    let mut values: Vec<f32> =
        message.parts[1].as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let row = first as usize / SHAPE[1];
    let energy = message.header()["energy_index"].as_u64().unwrap() as usize;
    for (column, value) in values.iter_mut().enumerate() {
        if EMPTY_ROWS.contains(&row) || EMPTY_COLUMNS.contains(&column) {
            // A line without noise would be taken for a detector that is stuck.
            let noise = (energy * 7919 + (row * SHAPE[1] + column) * 104_729) % 1009;
            *value = (I0 + (noise as f32 / 504.5 - 1.0) * I0.sqrt()).round();
        }
    }
    message.clone().part(1, floats(&values))
}

#[test]
fn particles_are_outlined_listed_and_picked_while_a_scan_grows_and_in_the_archive() {
    let Some(operator) = Operator::here() else { return };
    let rig = Setup::new().start();
    let mut feed = Feed::push(rig.source());
    let mut script = Script::new("pieces").grid(SHAPE[0], SHAPE[1]);
    let energies = script.energies_ev.len();
    let mut sent = 0;
    let facts = json!({ "base": format!("http://{}", rig.http), "scan": "pieces" });
    operator.plays("particles.py", &facts, |order| {
        let messages = match order {
            // One portion: all that there is may well make a single map.
            "half" => [vec![script.start()], script.lines(0..energies - 2)].concat(),
            "more" => script.lines(energies - 2..energies - 1),
            "rest" => [script.lines(energies - 1..energies), vec![script.end()]].concat(),
            other => panic!("{other}"),
        };
        let told = || {
            let answer = http::get(rig.http, "/api/v1/scans/pieces/particles");
            let found: Option<Value> = serde_json::from_slice(&answer.body).ok();
            found.and_then(|found| found["generation"].as_u64()).unwrap_or(0)
        };
        let before = told();
        for message in &messages {
            let shown = rig.scan("pieces").map_or(0, |scan| scan["generation"].as_u64().unwrap());
            feed.send(&parted(message));
            sent += 1;
            // Particles are described for a tenth of the time at most: not every map has some, and the next one then has.
            if order == "more" && told() <= before {
                rig.wait_scan("pieces", "another map", |scan| scan["generation"].as_u64().unwrap() > shown);
            }
        }
        rig.received(sent as u64);
        String::new()
    });
    rig.archived("pieces");
}
