//! How it looks: dark and light, narrow, with the keyboard alone.

use serde_json::json;

use crate::feed::Feed;
use crate::operator::Operator;
use crate::rig::Setup;
use crate::script::Script;

#[test]
fn it_is_dark_or_light_fits_a_narrow_window_and_needs_no_mouse() {
    let Some(operator) = Operator::here() else { return };
    let rig = Setup::new().start();
    Feed::push(rig.source()).send_all(&Script::new("looks").grid(12, 16).whole());
    rig.archived("looks");
    let facts = json!({ "base": format!("http://{}", rig.http) });
    operator.plays("looks.py", &facts, |order| panic!("{order}"));
}
