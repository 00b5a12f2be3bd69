//! Schemathesis: generated requests, valid and not, get the answers that the document describes.

use xtask::api;
use xtask::process;
use xtask::project::Project;

use crate::world::world;

/// For each operation.
const EXAMPLES: u32 = 5;

/// The phase `coverage` has about 500 requests more. `cargo xtask api` runs it too.
const PHASES: &str = "examples,fuzzing,stateful";

#[test]
fn generated_requests_get_the_described_answers() {
    let world = world();
    let _alone = world.alone();
    let project = Project::find().unwrap();
    let mut run = api::schemathesis(&project, &world.stack, EXAMPLES).unwrap();
    process::capture(run.args(["--phases", PHASES])).unwrap_or_else(|error| panic!("{error}"));
}
