//! `cargo xtask new`: everything mechanical of an endpoint or of a service.
//!
//! Every text is computed before the first is written, so a refusal changes nothing. What is written
//! compiles, passes the rules, deploys, and answers administrators with a placeholder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::Subcommand;
use serde_yaml_ng::Value as Yaml;

use crate::error::{Context, Error, Result};
use crate::project::Project;
use crate::ui::say;

/// The longest name of a function whose prefix is as long as the templates allow (Lambda: 64).
const MAX_FUNCTION: usize = 31;

/// CloudWatch takes ten metrics for an alarm, and each function needs two.
const FUNCTIONS_OF_AN_ALARM: usize = 5;

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// What names no module or crate: words of Rust, and its own crates.
const RESERVED: &str = "abstract alloc as async await become box break const continue core crate do dyn else \
    enum extern false final fn for gen if impl in let loop macro main match mod move mut override priv pub ref \
    return self static std struct super test trait true try type typeof union unsafe unsized use virtual where \
    while world yield";

#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum Scaffolded {
    /// An endpoint of a service that is there
    Endpoint {
        service: String,
        /// What its function does, as in `update-me`
        name: String,
        /// Method and path, as in 'GET /api/v1/orders/{id}/receipt'
        route: String,
    },
    /// A service with a table and one endpoint
    Service { name: String },
}

/// Writes what was asked for, and says what is left to do.
pub fn run(project: &Project, what: &Scaffolded) -> Result<()> {
    let scaffold = match what {
        Scaffolded::Endpoint {
            service,
            name,
            route,
        } => endpoint(project, service, name, route)?,
        Scaffolded::Service { name } => service(project, name)?,
    };
    scaffold.write(project)?;
    say(scaffold.report());
    Ok(())
}

/// New texts of files, by their paths from the project's root.
pub struct Scaffold {
    files: BTreeMap<String, String>,
    /// What is still to be done by hand: a file, and what about it.
    todo: Vec<(String, &'static str)>,
}

/// The words that are filled in, by their names between `{{` and `}}`.
type Words = BTreeMap<&'static str, String>;

fn fill(text: &str, words: &Words) -> String {
    words.iter().fold(text.to_owned(), |text, (name, word)| {
        text.replace(&format!("{{{{{name}}}}}"), word)
    })
}

/// An endpoint for a service that is there.
pub fn endpoint(project: &Project, service: &str, name: &str, route: &str) -> Result<Scaffold> {
    let services = names_of_services(project)?;
    if !services.contains(service) {
        let there = services.into_iter().collect::<Vec<_>>().join(", ");
        return refuse(format!(
            "there is no service `{service}`; there are: {there}"
        ));
    }
    let folder = format!("functions/{service}");
    let mut words = words_of(service, name, route)?;
    let module = &words["module"];
    for taken in [
        format!("src/handlers/{module}.rs"),
        format!("tests/{module}.rs"),
    ] {
        if project.root().join(&folder).join(&taken).exists() {
            return refuse(format!(
                "`{name}` is taken: {folder}/{taken} is there already; give another name"
            ));
        }
    }
    refuse_taken_route(project, &words)?;
    let template = format!("{folder}/template.yaml");
    refuse_uncommitted(project, &template)?;
    let mut files = Files {
        project,
        texts: BTreeMap::new(),
    };

    let text = files.read(&template)?;
    let document: Yaml = serde_yaml_ng::from_str(&text).context(&template)?;
    let table = table_in(&document).context(format!("{template} has no table"))?;
    let store = store_of(&mut files, &folder)?;
    let is_global = |name: &str| {
        let globals = document
            .get("Globals")
            .and_then(|globals| globals.get("Function"));
        let variables = globals.and_then(|function| function.get("Environment")?.get("Variables"));
        variables.is_some_and(|variables| variables.get(name).is_some())
    };
    let variable = match is_global(&words["TABLE"]) {
        true => String::new(),
        false => format!("          {}: !Ref {table}\n", words["TABLE"]),
    };
    words.extend([("Table", table), ("Store", store), ("variable", variable)]);
    files.change(&template, |text| in_template(text, &words))?;
    let description = format!("{folder}/openapi.yaml");
    files.change(&description, |text| in_description(text, &words))?;
    files.change(&format!("{folder}/Cargo.toml"), |text| {
        let bin = fill("[[bin]]\nname = \"{{binary}}\"\ntest = false\n\n", &words);
        before_line(text, |line| line == "[[test]]", &bin)
    })?;
    let module = format!("mod {};", words["module"]);
    files.change(&format!("{folder}/src/handlers/mod.rs"), |text| {
        among(text, "pub mod ", &format!("pub {module}"))
    })?;
    files.change(&format!("{folder}/tests/main.rs"), |text| {
        among(text, "mod ", &module)
    })?;
    files.add_sources(&folder, &words)?;
    files.change(PERMISSIONS, |text| {
        Some(among_blocks(text, &granted(&words)))
    })?;
    Ok(Scaffold {
        files: files.texts,
        todo: todo(&folder, &words),
    })
}

/// A service with a table and one endpoint, `GET /api/v1/NAME`.
pub fn service(project: &Project, name: &str) -> Result<Scaffold> {
    let well_formed = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .chars()
            .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit());
    if !well_formed {
        return refuse(format!(
            "`{name}` is no name for a service; give one word of a-z and 0-9, as in `shipments`"
        ));
    }
    let mut files = Files {
        project,
        texts: BTreeMap::new(),
    };
    let workspace = files.read("Cargo.toml")?;
    let is_crate = [" ", "."]
        .iter()
        .any(|end| workspace.contains(&format!("\n{name}{end}")));
    if is_crate || names_of_services(project)?.contains(name) {
        return refuse(format!(
            "`{name}` is a crate of this workspace already; give another name"
        ));
    }
    let mut words = words_of(name, "list", &format!("GET /api/v1/{name}"))?;
    refuse_taken_route(project, &words)?;
    refuse_uncommitted(project, "template.yaml")?;
    let folder = format!("functions/{name}");
    if project.root().join(&folder).exists() {
        return refuse(format!("{folder} is there already; give another name"));
    }
    let service = pascal(name);
    words.extend([
        ("Table", format!("{service}Table")),
        ("Store", format!("{service}Store")),
        ("Service", service),
        ("variable", String::new()),
    ]);
    let endpoint = fill(include_str!("new/endpoint.yaml"), &words);
    let alarm = alarm("Read", &words);
    let operation = operation(&Yaml::Null, &words);
    words.extend([
        ("endpoint", endpoint),
        ("alarm", alarm),
        ("operation", operation),
    ]);
    let module = words["module"].clone();
    let modules = format!("//! One module a function.\n\npub mod {module};\n");
    let tests = format!(
        "//! Every test of this service.\n\
         #![allow(clippy::unwrap_used, reason = \"a test may panic\")]\n\nmod {module};\n"
    );
    for (path, text) in [
        ("Cargo.toml", include_str!("new/Cargo.toml.txt")),
        ("template.yaml", include_str!("new/service.yaml")),
        ("openapi.yaml", include_str!("new/openapi.yaml")),
        ("src/lib.rs", include_str!("new/lib.rs.txt")),
        ("src/store.rs", include_str!("new/store.rs.txt")),
        ("src/handlers/mod.rs", &modules),
        ("tests/main.rs", &tests),
    ] {
        files
            .texts
            .insert(format!("{folder}/{path}"), fill(text, &words));
    }
    files.add_sources(&folder, &words)?;
    files.change("Cargo.toml", |text| {
        let member = format!("    \"{folder}\",\n");
        before_line(text, |line| line.starts_with("    \"shared-"), &member)
    })?;
    files.change("Cargo.lock", |text| {
        Some(in_lock(text, &fill(LOCKED, &words)))
    })?;
    files.change("template.yaml", |text| in_root(text, &mut words))?;
    files.change("ARCHITECTURE.md", |text| {
        let (services, rest) = text.split_once(": one crate and one stack each")?;
        Some(format!(
            "{services}, {name}: one crate and one stack each{rest}"
        ))
    })?;
    files.change(PERMISSIONS, |text| {
        Some(among_blocks(text, &granted(&words)))
    })?;
    let operators = fill(
        "{{service}}\n    dynamodb:BatchGetItem {{Table}}.Arn\n    dynamodb:Scan {{Table}}.Arn\n",
        &words,
    );
    files.change("tests/golden/operators.txt", |text| {
        Some(among_blocks(text, &operators))
    })?;
    let mut todo = todo(&folder, &words);
    todo.extend([
        (format!("{folder}/src/lib.rs"), "what the service is for"),
        (format!("{folder}/src/store.rs"), "its rows"),
        (
            "README.md".to_owned(),
            "the picture, if the service belongs there",
        ),
        (
            "docs/deploy.md".to_owned(),
            "its table, where tables are restored",
        ),
    ]);
    Ok(Scaffold {
        files: files.texts,
        todo,
    })
}

const PERMISSIONS: &str = "tests/golden/permissions.txt";

fn todo(folder: &str, words: &Words) -> Vec<(String, &'static str)> {
    let module = &words["module"];
    vec![
        (
            format!("{folder}/src/handlers/{module}.rs"),
            "what it answers, and whom",
        ),
        (
            format!("{folder}/openapi.yaml"),
            "summary, security, parameters, answers",
        ),
        (
            format!("{folder}/template.yaml"),
            "what its role may do beyond logs, if anything",
        ),
        (
            PERMISSIONS.to_owned(),
            "the same, by UPDATE_EXPECT=1 cargo test -p system-tests --test rules",
        ),
        (format!("{folder}/tests/{module}.rs"), "what it promises"),
        (
            "tests/system/matrix.rs".to_owned(),
            "its body, or the id it asks for, if it takes one",
        ),
    ]
}

/// What a refusal is: nothing was carried out.
fn refuse<T>(message: String) -> Result<T> {
    Err(Error::new(message).not_carried_out())
}

fn names_of_services(project: &Project) -> Result<BTreeSet<String>> {
    Ok(project
        .services()?
        .into_iter()
        .map(|service| service.name)
        .collect())
}

/// The words of an endpoint, from what was asked for.
fn words_of(service: &str, name: &str, route: &str) -> Result<Words> {
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .chars()
                .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit())
    };
    if !name.starts_with(|first: char| first.is_ascii_lowercase()) || !name.split('-').all(is_word)
    {
        return refuse(format!(
            "`{name}` is no name for an endpoint; give words of a-z and 0-9 joined by `-`, as in `update-me`"
        ));
    }
    for word in [service, name] {
        if RESERVED.split_whitespace().any(|reserved| reserved == word) {
            return refuse(format!(
                "`{word}` names something else in Rust; give another name"
            ));
        }
    }
    let binary = format!("{service}-{name}");
    if binary.len() > MAX_FUNCTION {
        let (length, most) = (binary.len(), MAX_FUNCTION);
        return refuse(format!(
            "the function `{binary}` has {length} letters, and Lambda leaves {most}; give a shorter name"
        ));
    }
    let example = "as in 'GET /api/v1/orders/{id}/receipt'";
    let Some((method, path)) = route.split_once(' ') else {
        return refuse(format!(
            "`{route}` is no route; give a method and a path, {example}"
        ));
    };
    if !METHODS.contains(&method) {
        let known = METHODS.join(", ");
        return refuse(format!(
            "`{method}` is no method of an endpoint; give one of {known}"
        ));
    }
    let mut parameters = BTreeSet::new();
    let is_part = |part: &str| match part
        .strip_prefix('{')
        .and_then(|part| part.strip_suffix('}'))
    {
        Some(parameter) => {
            parameters.insert(parameter.to_owned()) && parameter.split('_').all(is_word)
        }
        None => part.split('-').all(is_word),
    };
    let parts = path.strip_prefix("/api/v1/").unwrap_or_default();
    if !parts.split('/').all(is_part) {
        return refuse(format!(
            "`{path}` is no path of an endpoint; give /api/v1/ and parts of a-z, 0-9 and `-`, or parameters \
             each named once, {example}"
        ));
    }
    let operation = pascal(&binary);
    Ok(BTreeMap::from([
        ("service", service.to_owned()),
        ("binary", binary),
        ("module", name.replace('-', "_")),
        ("Name", pascal(name)),
        ("Stem", operation.clone()),
        ("operation", operation[..1].to_lowercase() + &operation[1..]),
        ("TABLE", format!("{}_TABLE", service.to_uppercase())),
        ("route", route.to_owned()),
        ("METHOD", method.to_owned()),
        ("method", method.to_lowercase()),
        ("path", path.to_owned()),
    ]))
}

/// `update-me` as `UpdateMe`.
fn pascal(name: &str) -> String {
    let words = name
        .split('-')
        .map(|word| word[..1].to_uppercase() + &word[1..]);
    words.collect()
}

/// A path without its parameters' names, of which API Gateway and OpenAPI make no difference.
fn shape(path: &str) -> String {
    let parts = path
        .split('/')
        .map(|part| if part.starts_with('{') { "{}" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

fn refuse_taken_route(project: &Project, words: &Words) -> Result<()> {
    let (method, path) = (&words["METHOD"], &words["path"]);
    for service in project.services()? {
        let text = fs::read_to_string(&service.template).context(service.template.display())?;
        let template: Yaml = serde_yaml_ng::from_str(&text).context(service.template.display())?;
        for route in routes_in(&template) {
            let Some((its_method, its_path)) = route.split_once(' ') else {
                continue;
            };
            if shape(its_path) != shape(path) {
                continue;
            }
            if its_method == method {
                return refuse(format!(
                    "`{method} {path}` is taken: {} answers {route}; give another route",
                    service.name
                ));
            }
            if its_path != path {
                return refuse(format!(
                    "`{path}` is {its_path} of {}, whose parameters have other names; give it as it is there",
                    service.name
                ));
            }
        }
    }
    Ok(())
}

fn resources(template: &Yaml) -> impl Iterator<Item = (&str, &Yaml)> {
    let resources = template.get("Resources").and_then(Yaml::as_mapping);
    resources
        .into_iter()
        .flatten()
        .filter_map(|(id, resource)| Some((id.as_str()?, resource)))
}

fn routes_in(template: &Yaml) -> impl Iterator<Item = &str> {
    resources(template)
        .filter_map(|(_, resource)| resource.get("Properties")?.get("RouteKey")?.as_str())
}

fn table_in(template: &Yaml) -> Option<String> {
    let is_table = |resource: &Yaml| {
        resource.get("Type").and_then(Yaml::as_str) == Some("AWS::DynamoDB::Table")
    };
    let mut resources = resources(template);
    resources
        .find(|(_, resource)| is_table(resource))
        .map(|(id, _)| id.to_owned())
}

/// So that `git diff` shows what was written, and nothing else.
fn refuse_uncommitted(project: &Project, path: &str) -> Result<()> {
    let mut git = Command::new("git");
    git.current_dir(project.root())
        .args(["status", "--porcelain", "--", path]);
    let changed = git.output().is_ok_and(|output| !output.stdout.is_empty());
    if changed {
        return refuse(format!(
            "{path} has changes that are not committed; commit or stash them first"
        ));
    }
    Ok(())
}

/// The files as they will be: those changed so far, and the rest as they are.
struct Files<'a> {
    project: &'a Project,
    texts: BTreeMap<String, String>,
}

impl Files<'_> {
    fn read(&mut self, path: &str) -> Result<String> {
        match self.texts.get(path) {
            Some(text) => Ok(text.clone()),
            None => fs::read_to_string(self.project.root().join(path)).context(path),
        }
    }

    fn change(&mut self, path: &str, change: impl FnOnce(&str) -> Option<String>) -> Result<()> {
        let text = self.read(path)?;
        let changed = change(&text);
        let changed = changed.context(format!(
            "{path} has no place for this; it was written otherwise"
        ))?;
        if path.ends_with(".yaml") {
            let _: Yaml = serde_yaml_ng::from_str(&changed).context(path)?;
        }
        self.texts.insert(path.to_owned(), changed);
        Ok(())
    }

    /// The handler, the function's program, and its test.
    fn add_sources(&mut self, folder: &str, words: &Words) -> Result<()> {
        let (module, binary) = (&words["module"], &words["binary"]);
        for (path, text) in [
            (
                format!("src/handlers/{module}.rs"),
                include_str!("new/handler.rs.txt"),
            ),
            (
                format!("src/bin/{binary}.rs"),
                include_str!("new/bin.rs.txt"),
            ),
            (
                format!("tests/{module}.rs"),
                include_str!("new/test.rs.txt"),
            ),
        ] {
            let text = formatted(&fill(text, words))?;
            self.texts.insert(format!("{folder}/{path}"), text);
        }
        Ok(())
    }
}

/// As `cargo fmt` would have it: where a line breaks depends on the names in it.
fn formatted(text: &str) -> Result<String> {
    let mut rustfmt = Command::new("rustfmt");
    rustfmt
        .args(["--edition", "2024"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut rustfmt = rustfmt.spawn().context("rustfmt")?;
    let mut input = rustfmt.stdin.take().context("rustfmt takes no input")?;
    input.write_all(text.as_bytes()).context("rustfmt")?;
    drop(input);
    let output = rustfmt.wait_with_output().context("rustfmt")?;
    String::from_utf8(output.stdout).context("rustfmt")
}

/// The type that a service's handlers are wired with.
fn store_of(files: &mut Files, folder: &str) -> Result<String> {
    let sources = ["src/store.rs", "src/store/mod.rs"].map(|path| format!("{folder}/{path}"));
    let source = files
        .read(&sources[0])
        .or_else(|_| files.read(&sources[1]))?;
    let names = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub struct "));
    let mut names = names.map(|name| name.split([' ', '(', '<', ';']).next().unwrap_or_default());
    let store = names.find(|name| name.ends_with("Store"));
    Ok(store
        .context(format!("{folder}/src/store has no `pub struct ...Store`"))?
        .to_owned())
}

/// The text with lines before the first that fits.
fn before_line(text: &str, fits: impl Fn(&str) -> bool, lines: &str) -> Option<String> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if fits(line.trim_end()) {
            return Some(format!("{}{lines}{}", &text[..at], &text[at..]));
        }
        at += line.len();
    }
    None
}

/// The text with a line in its place among those that begin alike.
fn among(text: &str, start: &str, line: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let alike = |at: &usize| lines[*at].starts_with(start) && lines[*at].ends_with(';');
    let last = (0..lines.len()).rfind(alike)?;
    let mut later = (0..lines.len())
        .filter(alike)
        .filter(|at| lines[*at] > line);
    let mut at = later.next().unwrap_or(last + 1);
    while at > 0 && lines[at - 1].starts_with("#[") {
        at -= 1;
    }
    Some([&lines[..at], &[line], &lines[at..]].concat().join("\n") + "\n")
}

/// The text with a block in its place among those whose first lines are not indented.
fn among_blocks(text: &str, block: &str) -> String {
    let head = block.lines().next().unwrap_or_default();
    before_line(text, |line| !line.starts_with(' ') && line > head, block)
        .unwrap_or_else(|| format!("{text}{block}"))
}

/// What `cargo` would write of `new/Cargo.toml.txt`.
const LOCKED: &str = r#"[[package]]
name = "{{service}}"
version = "0.1.0"
dependencies = [
 "aws-sdk-dynamodb",
 "serde",
 "shared-auth",
 "shared-lambda",
 "test-support",
 "tokio",
 "uuid",
]"#;

fn in_lock(text: &str, package: &str) -> String {
    let mut packages: Vec<&str> = text.split("\n\n").collect();
    let later = |other: &&str| other.starts_with("[[package]]") && *other > package;
    let at = packages.iter().position(later).unwrap_or(packages.len());
    packages.insert(at, package);
    packages.join("\n\n")
}

fn granted(words: &Words) -> String {
    let granted = "{{binary}}\n    logs:CreateLogStream {{Stem}}LogGroup.Arn\n    logs:PutLogEvents {{Stem}}LogGroup.Arn\n";
    fill(granted, words)
}

fn alarm(kind: &str, words: &Words) -> String {
    let metrics = fill(include_str!("new/metrics.yaml"), words);
    let mut words = words.clone();
    let (name, calls) = match kind {
        "Read" => ("read", "Of the calls that read"),
        "Write" => ("write", "Of the calls that write"),
        _ => (
            &words["binary"][words["service"].len() + 1..],
            "Of the calls of one endpoint",
        ),
    };
    let (name, calls) = (format!("{name}-errors"), calls.to_owned());
    words.extend([
        ("Alarm", format!("{kind}Errors")),
        ("alarm", name),
        ("calls", calls),
        ("metrics", metrics),
    ]);
    fill(include_str!("new/alarm.yaml"), &words)
}

/// The template with the endpoint's part after the last endpoint's, and in an alarm with room for it.
fn in_template(text: &str, words: &Words) -> Option<String> {
    let part = fill(include_str!("new/endpoint.yaml"), words);
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let is_permission = |line: &&str| {
        line.starts_with("  ") && line.contains("Permission: { Type: AWS::Lambda::Permission")
    };
    let last = lines.iter().rposition(is_permission)?;
    let end = lines[last..]
        .iter()
        .position(|line| line.trim().is_empty())?
        + last
        + 1;
    let text = [&lines[..end], &[part.as_str()], &lines[end..]]
        .concat()
        .concat();

    let kind = if words["METHOD"] == "GET" {
        "Read"
    } else {
        "Write"
    };
    let of_kind = format!("\n  {kind}ErrorsAlarm:");
    let Some((before, of_kind_on)) = text.split_once(&of_kind) else {
        return before_line(
            &text,
            |line| line == "Outputs:",
            &(alarm(kind, words) + "\n"),
        );
    };
    let alarm_lines = of_kind_on.split_inclusive('\n');
    let own = alarm_lines
        .enumerate()
        .take_while(|(at, line)| *at == 0 || line.starts_with("   "));
    let counted: Vec<usize> = own
        .filter(|(_, line)| line.contains("{ Id: calls_"))
        .map(|(at, _)| at)
        .collect();
    let last = *counted.last()?;
    if counted.len() >= FUNCTIONS_OF_AN_ALARM {
        return before_line(
            &text,
            |line| line == "Outputs:",
            &(alarm(&words["Stem"], words) + "\n"),
        );
    }
    let metrics = fill(include_str!("new/metrics.yaml"), words);
    let lines: Vec<&str> = of_kind_on.split_inclusive('\n').collect();
    let (first, rest) = lines.split_at(last + 1);
    Some(format!(
        "{before}{of_kind}{}{metrics}{}",
        first.concat(),
        rest.concat()
    ))
}

/// The root template with the service as the last application, and its policy's name.
fn in_root(text: &str, words: &mut Words) -> Option<String> {
    let template: Yaml = serde_yaml_ng::from_str(text).ok()?;
    let (last, _) = resources(&template).last()?;
    words.insert("last", last.to_owned());
    let root = fill(include_str!("new/root.yaml"), words);
    let text = before_line(text, |line| line == "Outputs:", &root)?;
    let output = "  {{Service}}OperatorPolicyArn:\n    Description: As above, for {{service}}.\n    \
                  Value: !GetAtt {{Service}}.Outputs.OperatorPolicyArn\n";
    Some(text + &fill(output, words))
}

/// The answers that are no success: status, slug, and the words of a document that has no others.
const PROBLEMS: [(&str, &str, &str); 5] = [
    ("400", "invalid-request", "The request is not valid."),
    (
        "401",
        "unauthorized",
        "The access token is missing or not valid.",
    ),
    ("403", "admin-only", "The caller is no administrator."),
    ("500", "internal", "A bug."),
    (
        "503",
        "unavailable",
        "Something needed does not answer; calling again helps.",
    ),
];

fn operation(document: &Yaml, words: &Words) -> String {
    let mut words = words.clone();
    let schemes = document
        .get("components")
        .and_then(|all| all.get("securitySchemes")?.as_mapping());
    let scheme = schemes
        .and_then(|schemes| schemes.keys().next()?.as_str())
        .unwrap_or("accessToken");
    let problems = PROBLEMS.map(|(status, slug, description)| {
        if let Some(reference) = reference(document, status) {
            return format!("        \"{status}\": {{ $ref: \"{reference}\" }}\n");
        }
        let problem = BTreeMap::from([
            ("status", status.to_owned()),
            ("slug", slug.to_owned()),
            ("description", description.to_owned()),
        ]);
        fill(include_str!("new/problem.yaml"), &problem)
    });
    let described = document
        .get("paths")
        .and_then(|paths| paths.get(words["path"].as_str()));
    let of_path = described.is_some_and(|path| path.get("parameters").is_some());
    let named = words["path"]
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let named = named.filter(|_| !of_path).map(|name| {
        format!(
            "        - {{ name: {name}, in: path, required: true, schema: {{ type: string }} }}\n"
        )
    });
    let named: String = named.collect();
    let parameters = match named.is_empty() {
        true => String::new(),
        false => format!("      parameters:\n{named}"),
    };
    words.extend([
        ("scheme", scheme.to_owned()),
        ("problems", problems.concat().trim_end().to_owned()),
        ("parameters", parameters),
    ]);
    fill(include_str!("new/operation.yaml"), &words)
}

/// What most operations of a document refer to for a status.
fn reference(document: &Yaml, status: &str) -> Option<String> {
    let paths = document.get("paths")?.as_mapping()?.values();
    let operations = paths
        .filter_map(Yaml::as_mapping)
        .flat_map(|path| path.values());
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for operation in operations {
        let security = operation
            .get("security")
            .and_then(|all| serde_json::to_string(all).ok());
        // Elsewhere a 403 may have another reason.
        if status == "403" && !security.is_some_and(|security| security.contains("admin")) {
            continue;
        }
        let answer = operation
            .get("responses")
            .and_then(|responses| responses.get(status));
        if let Some(reference) = answer.and_then(|answer| answer.get("$ref")?.as_str()) {
            *counts.entry(reference).or_default() += 1;
        }
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    most.map(|(reference, _)| reference.to_owned())
}

/// The API's description with the operation, below its path if that is there.
fn in_description(text: &str, words: &Words) -> Option<String> {
    let document: Yaml = serde_yaml_ng::from_str(text).ok()?;
    let operation = operation(&document, words);
    let path = format!("  {}:", words["path"]);
    let Some((before, after)) = text.split_once(&format!("\n{path}\n")) else {
        let added = format!("{path}\n{operation}");
        return before_line(text, |line| line == "components:", &added);
    };
    let ends = |line: &str| !line.is_empty() && !line.starts_with("   ");
    let after = before_line(after, ends, &operation)?;
    Some(format!("{before}\n{path}\n{after}"))
}

impl Scaffold {
    /// Writes all files; should one fail, those before it are as they were.
    pub fn write(&self, project: &Project) -> Result<()> {
        let mut undo: Vec<(&String, Option<String>)> = Vec::new();
        for (path, text) in &self.files {
            let file = project.root().join(path);
            undo.push((path, fs::read_to_string(&file).ok()));
            let folder = file.parent().unwrap_or(Path::new("."));
            let written = fs::create_dir_all(folder).and_then(|()| fs::write(&file, text));
            if let Err(error) = written {
                for (path, before) in undo {
                    let file = project.root().join(path);
                    // The first failure is the one to report.
                    let _ = match before {
                        Some(text) => fs::write(file, text),
                        None => fs::remove_file(file),
                    };
                }
                return Err(error).context(format!("nothing was changed: {path}"));
            }
        }
        Ok(())
    }

    /// The files, and what is to be filled in.
    pub fn report(&self) -> String {
        let mut lines = vec![format!("wrote or changed {} files:", self.files.len())];
        lines.extend(self.files.keys().map(|path| format!("  {path}")));
        lines.push("fill in:".to_owned());
        let todo = self
            .todo
            .iter()
            .map(|(path, what)| format!("  {path}: {what}"));
        lines.extend(todo);
        lines.push("then: cargo xtask check, and cargo xtask up to call it".to_owned());
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests;
