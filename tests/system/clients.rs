//! The clients of docs/api.md: generated from the served document, they run the code that the page shows.

use std::fs;
use std::path::Path;
use std::process::Command;

use test_support::template::workspace_root;
use xtask::project::Project;
use xtask::tools::{NODE, PYTHON_CLIENT, search_path};

use crate::documents::{run, script};
use crate::world::world;

const DOCUMENT: &str = "docs/api.md";

#[test]
fn generated_clients_place_and_cancel_an_order() {
    let _shared = world().shared();
    let project = Project::find().unwrap();
    let text = fs::read_to_string(workspace_root().join(DOCUMENT)).unwrap();
    let (_, section) = text.split_once("\n## Generated clients\n").unwrap();
    let folder = workspace_root().join(format!("target/clients-{}", world().stack.port));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    for (language, file) in [("ts", "journey.ts"), ("python", "journey.py")] {
        let (_, code) = section.split_once(&format!("\n```{language}\n")).unwrap();
        let (code, _) = code.split_once("```\n").unwrap();
        fs::write(folder.join(file), code).unwrap();
    }
    let tools = [PYTHON_CLIENT, NODE];
    for tool in tools {
        tool.install(&project).unwrap();
    }
    std::os::unix::fs::symlink(NODE.packages(&project), folder.join("node_modules")).unwrap();
    let mut bash = Command::new("bash");
    bash.current_dir(&folder)
        .env("PATH", search_path(&project, &tools).unwrap());
    let failure = run(
        &mut bash,
        Path::new(DOCUMENT),
        &script(&text, "sh clients").unwrap(),
    );
    assert!(failure.is_none(), "{}", failure.unwrap());
    fs::remove_dir_all(&folder).unwrap();
}
