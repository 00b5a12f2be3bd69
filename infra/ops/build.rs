//! Writes down the queues in the templates, each with its consumer, because the program also runs
//! without a checkout.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    // The root template changes when a service is added.
    println!("cargo:rerun-if-changed=../../template.yaml");
    let folders = fs::read_dir("../../functions").expect("the services are beside the tools");
    let mut templates: Vec<PathBuf> = folders
        .map(|folder| folder.expect("a folder").path().join("template.yaml"))
        .filter(|template| template.is_file())
        .collect();
    templates.sort();
    let mut queues = String::new();
    for template in templates {
        println!("cargo:rerun-if-changed={}", template.display());
        let text = fs::read_to_string(&template).expect("a template is text");
        for mapping in text.split("Type: AWS::Lambda::EventSourceMapping").skip(1) {
            let queue = name_of(&text, after(mapping, "EventSourceArn: !GetAtt "));
            let consumer = name_of(&text, after(mapping, "FunctionName: !Ref "));
            queues += &format!("Queue {{ name: {queue:?}, consumer: {consumer:?} }},");
        }
    }
    let file = Path::new(&env::var_os("OUT_DIR").expect("cargo sets it")).join("queues.rs");
    fs::write(file, format!("&[{queues}]")).expect("cargo's folder can be written to");
}

/// The word after a label.
fn after<'t>(text: &'t str, label: &str) -> &'t str {
    let (_, rest) = text.split_once(label).expect(label);
    rest.split(['.', '\n'])
        .next()
        .expect("a split has a first part")
}

/// A resource's name, without the installation's prefix.
fn name_of<'t>(template: &'t str, resource: &str) -> &'t str {
    let (_, rest) = template
        .split_once(&format!("\n  {resource}:\n"))
        .expect(resource);
    after(rest, "Name: !Sub ${Prefix}-")
}
