//! A scan from its first line to the archive.

use serde_json::json;

use crate::feed::Feed;
use crate::operator::Operator;
use crate::rig::Setup;
use crate::script::Script;

const SHAPE: [usize; 2] = [12, 18];

#[test]
fn a_scan_is_watched_from_its_first_line_to_the_archive() {
    let Some(operator) = Operator::here() else { return };
    let rig = Setup::new().start();
    let mut feed = Feed::push(rig.source());
    let mut script = Script::new("watched").grid(SHAPE[0], SHAPE[1]);
    let energies = script.energies_ev.len();
    let mut sent = 0;
    let facts = json!({ "base": format!("http://{}", rig.http), "scan": "watched", "energies": energies });
    operator.plays("live.py", &facts, |order| {
        let messages = match order {
            "start" => {
                vec![script.start().with("sample", json!("cell 7")), script.line(0, 0), script.line(0, 1)]
            }
            "rest of the first energy" => (2..SHAPE[0]).map(|row| script.line(0, row)).collect(),
            "half" => script.lines(1..energies / 2),
            "rest" => {
                let mut rest = script.lines(energies / 2..energies);
                rest.push(script.end());
                rest
            }
            other => panic!("{other}"),
        };
        feed.send_all(&messages);
        sent += messages.len();
        rig.received(sent as u64);
        String::new()
    });
    assert!(rig.archived("watched")["archive_path"].is_string());
}
