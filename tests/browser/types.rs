//! The types in the comments of the page's modules, checked by TypeScript, which writes nothing. It comes by npm; where that is not
//! installed the test skips itself and says so.

use std::path::{Path, PathBuf};
use std::process::Command;

const TYPESCRIPT: &str = "typescript@5.9.3";

/// The compiler, below the target directory; `None` where there is no npm.
fn compiler() -> Option<PathBuf> {
    if Command::new("npm").arg("--version").output().is_err() {
        eprintln!("\nSKIPPED, types of the page are not checked: npm is not here\n");
        return None;
    }
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("typescript");
    let (compiler, marker) = (root.join("node_modules/.bin/tsc"), root.join("packages.txt"));
    if !std::fs::read_to_string(&marker).is_ok_and(|found| found == TYPESCRIPT) {
        std::fs::create_dir_all(&root).unwrap();
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(&root).arg(TYPESCRIPT);
        let output = npm.output().unwrap();
        assert!(output.status.success(), "{npm:?}: {}", String::from_utf8_lossy(&output.stderr));
        std::fs::write(&marker, TYPESCRIPT).unwrap();
    }
    Some(compiler)
}

#[test]
fn the_types_in_the_comments_hold() {
    let Some(compiler) = compiler() else { return };
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/publish/http/page");
    let modules = std::fs::read_dir(page).unwrap().map(|entry| entry.unwrap().path());
    let modules: Vec<_> = modules.filter(|path| path.extension().is_some_and(|kind| kind == "js")).collect();
    let mut command = Command::new(compiler);
    command.args(["--noEmit", "--allowJs", "--checkJs", "--strict", "--target", "es2022"]);
    command.args(["--module", "esnext", "--moduleResolution", "bundler", "--lib", "es2023,dom,dom.iterable"]);
    let output = command.args(modules).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
