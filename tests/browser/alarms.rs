//! An alarm, seen across the room and attended to by somebody who has to look up the token first.

use serde_json::json;

use crate::http;
use crate::operator::Operator;
use crate::rig::Setup;

#[test]
fn an_alarm_is_seen_and_acknowledged_with_the_token() {
    let Some(operator) = Operator::here() else { return };
    let rig = Setup::new().start();
    let facts = json!({ "base": format!("http://{}", rig.http), "token": rig.token() });
    operator.plays("alarms.py", &facts, |level| {
        let body = json!({ "level": level, "name": format!("test-{level}") }).to_string();
        let answer = http::post(rig.http, "/api/v1/alerts/test", &[&rig.bearer()], &body);
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        String::new()
    });
}
