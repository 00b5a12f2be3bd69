//! Makes the table of the pages: each file below `pages/` becomes a page, compressed once.
//!
//! `docs.html` is `/docs`, and other files keep their names.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;

const FOLDER: &str = "pages";

/// The media types by the ends of names.
const TYPES: [(&str, &str); 6] = [
    ("css", "text/css; charset=utf-8"),
    ("html", "text/html; charset=utf-8"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("svg", "image/svg+xml"),
    ("txt", "text/plain; charset=utf-8"),
];

fn main() {
    println!("cargo:rerun-if-changed={FOLDER}");
    let mut table = String::new();
    for file in files(Path::new(FOLDER)) {
        let text = fs::read_to_string(&file).expect("a page is text");
        let name = file.strip_prefix(FOLDER).expect("it is below the folder");
        let (name, end) = name
            .to_str()
            .and_then(|name| name.rsplit_once('.'))
            .expect("a name has an end");
        let (_, content_type) = TYPES
            .into_iter()
            .find(|(known, _)| *known == end)
            .unwrap_or_else(|| panic!("{}: add the type to TYPES", file.display()));
        let path = match end {
            "html" => format!("/{name}"),
            _ => format!("/{name}.{end}"),
        };
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(text.as_bytes()).expect("memory takes all");
        let gzip = STANDARD.encode(gzip.finish().expect("memory takes all"));
        writeln!(
            table,
            "Page {{ path: {path:?}, content_type: {content_type:?}, plain: {text:?}, gzip: {gzip:?} }},"
        )
        .expect("a string takes all");
    }
    let folder = env::var_os("OUT_DIR").expect("cargo sets it");
    fs::write(Path::new(&folder).join("pages.rs"), format!("&[{table}]")).expect("cargo's folder");
}

/// Every file below a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let below = |path: PathBuf| match path.is_dir() {
        true => files(&path),
        false => vec![path],
    };
    paths.into_iter().flat_map(below).collect()
}
