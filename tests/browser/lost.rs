//! A daemon that is killed while its screen is looked at, and is there again later.

use serde_json::json;

use crate::feed::Feed;
use crate::operator::Operator;
use crate::rig::Setup;
use crate::script::Script;

#[test]
fn a_daemon_that_is_gone_is_missed_and_taken_up_again() {
    let Some(operator) = Operator::here() else { return };
    let rig = Setup::new().start();
    let address = rig.http;
    let mut script = Script::new("kept").grid(8, 12);
    let mut first = vec![script.start()];
    first.extend(script.lines(0..6));
    let mut feed = Feed::push(rig.source());
    feed.send_all(&first);
    rig.received(first.len() as u64);
    let mut rest = script.lines(6..script.energies_ev.len());
    rest.push(script.end());
    let (mut running, mut left) = (Some(rig), None);
    let facts = json!({ "base": format!("http://{address}") });
    operator.plays("lost.py", &facts, |order| {
        match order {
            "stop" => {
                let ended = running.take().unwrap().stop("TERM");
                assert_eq!(ended.code, Some(0));
                left = Some(ended.dir);
            }
            "kill" => left = running.take().map(crate::rig::Rig::kill),
            "start" => {
                // The browser knows the address.
                let setup = Setup::new().instead("http", &format!("listen = \"{address}\""));
                running = Some(setup.start_in(left.take().unwrap()));
            }
            "rest" => {
                let rig = running.as_ref().unwrap();
                Feed::push(rig.source()).send_all(&rest);
                rig.archived("kept");
            }
            other => panic!("{other}"),
        }
        String::new()
    });
}
