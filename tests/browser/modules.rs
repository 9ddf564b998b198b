//! The page's own modules, one by one, in the browser.

use std::path::Path;

use serde_json::json;

use crate::operator::Operator;
use crate::rig::Setup;

#[test]
fn every_module_loads_and_the_pure_ones_reckon_right() {
    let Some(operator) = Operator::here() else { return };
    let rig = Setup::new().start();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/publish/http/page");
    let names =
        std::fs::read_dir(page).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let modules: Vec<_> = names.filter(|name| name.ends_with(".js")).collect();
    assert!(modules.len() > 20);
    let facts = json!({ "base": format!("http://{}", rig.http), "modules": modules });
    operator.plays("modules.py", &facts, |order| panic!("{order}"));
}
