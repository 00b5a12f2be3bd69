//! A browser: a page of another origin calls the API, and a reader of the reference tries it.

use test_support::template::workspace_root;
use xtask::process;
use xtask::project::Project;
use xtask::samconfig::parameters;
use xtask::tools::NODE;

use crate::world::world;

fn browse(arguments: &[&str]) {
    let world = world();
    let _shared = world.shared();
    let project = Project::find().unwrap();
    NODE.install(&project).unwrap();
    let mut node = NODE.command(&project, "node").unwrap();
    node.arg(workspace_root().join("tests/clients/browser.cjs"))
        .args(arguments)
        .env("WAYBILL_URL", &world.stack.base_url)
        // A failure shows what the browser itself reported.
        .env("DEBUG", "pw:browser");
    process::capture(&mut node).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_page_of_an_allowed_origin_orders_and_cancels() {
    let dev = parameters(&Project::find().unwrap(), "dev").unwrap();
    let origin = dev["AllowedOrigins"].split(',').next_back().unwrap();
    browse(&["page", origin]);
}

#[test]
fn a_reader_of_the_reference_places_an_order() {
    browse(&["docs"]);
}
