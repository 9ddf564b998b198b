//! Whether every relative link and picture of the built book is there, with the heading that it names.

use std::path::{Path, PathBuf};

/// How many links there are, and which lead nowhere.
pub fn check(book: &Path) -> (usize, Vec<String>) {
    let (mut links, mut broken) = (0, Vec::new());
    for page in pages(book) {
        let text = std::fs::read_to_string(&page).unwrap();
        for target in targets(&text) {
            if target.contains("://") || target.starts_with("mailto:") || target.starts_with("data:") {
                continue;
            }
            links += 1;
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = file.split('?').next().unwrap_or_default();
            let path = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let found = path.exists() && (heading.is_empty() || has(&path, heading));
            if !found {
                broken.push(format!("{}: {target}", page.strip_prefix(book).unwrap().display()));
            }
        }
    }
    (links, broken)
}

fn has(path: &Path, heading: &str) -> bool {
    path.extension().is_none_or(|extension| extension != "html")
        || std::fs::read_to_string(path).is_ok_and(|text| text.contains(&format!("id=\"{heading}\"")))
}

/// What `href` and `src` say, outside of scripts.
fn targets(text: &str) -> Vec<&str> {
    let of = |name| text.split(name).skip(1).filter_map(|rest: &str| rest.split('"').next());
    of(" href=\"").chain(of(" src=\"")).filter(|target| !target.is_empty()).collect()
}

/// All pages but the one of all pages, whose links are those of the others, and the one for what is not found, which knows
/// no place of its own.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            found.extend(pages(&path));
        } else if name.ends_with(".html") && !["print.html", "404.html", "toc.html"].contains(&name.as_str())
        {
            found.push(path);
        }
    }
    found
}
