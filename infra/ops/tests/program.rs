//! The program as it is copied to another machine. The documents' commands run it too.

use std::process::Command;

#[test]
fn it_prints_its_version_without_a_stack_or_an_account() {
    let output = Command::new(env!("CARGO_BIN_EXE_waybill"))
        .arg("--version")
        .current_dir(std::env::temp_dir())
        .output()
        .expect("it runs");
    let version = concat!("waybill ", env!("CARGO_PKG_VERSION"));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with(version));
}
