use super::*;

fn grades(found: &[Finding], what: &str) -> Vec<Grade> {
    found.iter().filter(|own| own.what == what).map(|own| own.grade).collect()
}

fn config(dir: &Path, more: &str) -> std::path::PathBuf {
    let references = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/references/nvpf");
    let file = dir.join("phasewatch.toml");
    let text = format!(
        "[daemon]\nstate_dir = {:?}\n[archive]\nroot = {:?}\n[references]\ndir = {references:?}\n[http]\nlisten = \"127.0.0.1:0\"\n\
         [publish]\nbind = \"tcp://127.0.0.1:0\"\n[[source]]\nkind = \"stxm-stream\"\n{more}\n",
        dir.join("state"),
        dir.join("archive"),
    );
    std::fs::write(&file, text).unwrap();
    file
}

#[test]
fn a_machine_that_is_ready_has_nothing_bad() {
    let dir = tempfile::tempdir().unwrap();
    let found = examine(&config(dir.path(), "bind = \"tcp://127.0.0.1:0\""));
    assert!(found.iter().all(|own| own.grade < Grade::Bad), "{found:#?}");
    for what in ["configuration", "ports", "references", "model", "disk", "clock"] {
        assert!(!grades(&found, what).is_empty(), "{what} was not looked at: {found:#?}");
    }
    assert_eq!(grades(&found, "ports"), [Grade::Good; 3]);
    assert!(found.iter().all(|own| own.advice.is_some() == (own.grade != Grade::Good)), "{found:#?}");
}

#[test]
fn a_folder_that_the_archive_is_copied_to_is_looked_at_as_the_archive_is() {
    let dir = tempfile::tempdir().unwrap();
    let remote = |folder: &Path| {
        let file = config(dir.path(), "bind = \"tcp://127.0.0.1:0\"");
        let text = std::fs::read_to_string(&file).unwrap();
        let with = format!("[archive]\nremote = \"file://{}\"", folder.display());
        std::fs::write(&file, text.replace("[archive]", &with)).unwrap();
        let of_remote = |own: &Finding| own.what == "disk" && own.seen.contains("archive.remote");
        let found: Vec<Finding> = examine(&file).into_iter().filter(of_remote).collect();
        assert_eq!(found.len(), 1, "{found:#?}");
        found[0].grade
    };
    assert_ne!(remote(&dir.path().join("copy")), Grade::Bad);
    // Nobody can make a folder in this one, not root either.
    assert_eq!(remote(Path::new("/proc/copy")), Grade::Bad);
}

#[test]
fn what_is_wrong_is_named_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let file =
        config(dir.path(), &format!("bind = \"tcp://127.0.0.1:{port}\"\n[model]\npath = \"absent.onnx\""));
    let found = examine(&file);
    assert!(grades(&found, "ports").contains(&Grade::Bad), "{found:#?}");
    assert_eq!(grades(&found, "model"), [Grade::Bad]);
    // A host that does not answer is waited for: the daemon runs.
    drop(taken);
    let found = examine(&config(dir.path(), &format!("connect = \"tcp://127.0.0.1:{port}\"")));
    assert_eq!(grades(&found, "sources"), [Grade::Doubtful]);
    std::fs::write(dir.path().join("phasewatch.toml"), "[http]\nlisten = 7\n").unwrap();
    let found = examine(&dir.path().join("phasewatch.toml"));
    assert_eq!((found.len(), found[0].grade), (1, Grade::Bad));
    assert!(found[0].seen.contains("http.listen"), "{found:?}");
}

#[test]
fn ports_that_the_daemon_itself_has_are_good() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let file = config(dir.path(), &format!("bind = \"tcp://127.0.0.1:{port}\""));
    let store = crate::journal::Store::open(&dir.path().join("state")).unwrap();
    let found = examine(&file);
    assert_eq!(grades(&found, "ports"), [Grade::Good; 3], "{found:#?}");
    drop(store);
    assert!(grades(&examine(&file), "ports").contains(&Grade::Bad));
}

#[test]
fn a_token_that_others_can_read_is_bad() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let file = config(dir.path(), "bind = \"tcp://127.0.0.1:0\"");
    std::fs::create_dir_all(dir.path().join("state")).unwrap();
    let token = dir.path().join("state/http-token");
    std::fs::write(&token, "secret").unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    let found = examine(&file);
    assert!(grades(&found, "permissions").contains(&Grade::Bad), "{found:#?}");
    assert!(!format!("{found:?}").contains("secret"));
}
