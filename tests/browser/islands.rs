//! The islands of the built-in model, with the built-in references.

use std::path::Path;

use serde_json::json;

use crate::feed::Feed;
use crate::operator::Operator;
use crate::rig::Setup;
use crate::script::Script;

#[test]
fn brushing_the_islands_lights_up_the_map_and_the_other_way_round() {
    let Some(operator) = Operator::here() else { return };
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/models/nvpf.onnx");
    let rig = Setup::new().set("model", &format!("path = {model:?}")).start();
    let mut feed = Feed::push(rig.source());
    feed.send_all(&Script::new("islands").grid(12, 16).whole());
    rig.archived("islands");
    let facts = json!({ "base": format!("http://{}", rig.http) });
    operator.plays("islands.py", &facts, |order| panic!("{order}"));
}
