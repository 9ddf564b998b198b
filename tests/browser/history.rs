//! The archive: found, opened, compared, taken away.

use serde_json::json;

use crate::feed::Feed;
use crate::operator::Operator;
use crate::rig::Setup;
use crate::script::{Message, Script, floats};

/// The same specimen, whose lower half has moved by one column.
fn moved(message: &Message, half: u64) -> Message {
    let header = message.header();
    let Some(first) = header["first_pixel"].as_u64().filter(|first| *first >= half) else {
        return message.clone();
    };
    let mut values: Vec<f32> =
        message.parts[1].as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    assert_eq!(first % values.len() as u64, 0, "a whole line");
    // The empty column stays where it is.
    values[1..].rotate_right(1);
    message.clone().part(1, floats(&values))
}

#[test]
fn archived_scans_are_found_opened_compared_and_downloaded() {
    let Some(operator) = Operator::here() else { return };
    let rig = Setup::new().start();
    let mut feed = Feed::push(rig.source());
    let [ny, nx] = [10, 13];
    feed.send_all(&Script::new("before").grid(ny, nx).whole());
    rig.archived("before");
    let after: Vec<_> = Script::new("after").grid(ny, nx).whole();
    feed.send_all(&after.iter().map(|message| moved(message, (ny / 2 * nx) as u64)).collect::<Vec<_>>());
    rig.archived("after");
    feed.send_all(&Script::new("smaller").whole());
    rig.archived("smaller");
    let facts = json!({ "base": format!("http://{}", rig.http) });
    operator.plays("history.py", &facts, |order| panic!("{order}"));
}
