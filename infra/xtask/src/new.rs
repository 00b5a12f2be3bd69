//! `cargo xtask new`: creates the files of an endpoint or a service.
//!
//! All texts are computed before the first is written, so a refusal changes nothing. The result
//! compiles, passes the rules, deploys and answers administrators with a placeholder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::Subcommand;
use serde_yaml_ng::Value as Yaml;

use crate::error::{Context, Error, Result};
use crate::openapi::completed;
use crate::project::Project;
use crate::ui::say;

/// The longest function name that fits with the longest prefix (Lambda allows 64 characters).
const MAX_FUNCTION: usize = 31;

/// The most metrics of an alarm.
const METRICS_OF_AN_ALARM: usize = 10;

/// The part of an expression that belongs to one function.
const FAILED_PERCENT: &str = "            IF(FILL(failed_{{module}}, 0) >= 3, 100 * failed_{{module}} / calls_{{module}}, 0)";

/// The route of HEAD, which stands beside each route of GET.
const HEAD_ROUTE: &str = r#"  {{Stem}}HeadRoute: { Type: AWS::ApiGatewayV2::Route, Properties: { ApiId: !Ref ApiId, RouteKey: "HEAD {{path}}", Target: !Sub "integrations/${{{Stem}}Integration}" } }
"#;

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// Rust's keywords and crates, which cannot name a module or crate.
const RESERVED: &str = "abstract alloc as async await become box break const continue core crate do dyn else \
    enum extern false final fn for gen if impl in let loop macro main match mod move mut override priv pub ref \
    return self static std struct super test trait true try type typeof union unsafe unsized use virtual where \
    while world yield";

#[derive(Debug, PartialEq, Eq, Subcommand)]
pub enum Scaffolded {
    /// An endpoint of an existing service
    Endpoint {
        /// A folder below functions/, such as `orders`
        service: String,
        /// The function's verb, such as `update-me`
        name: String,
        /// Method and path, such as 'GET /api/v1/orders/{id}/receipt'
        route: String,
    },
    /// A service with a table and one endpoint
    Service {
        /// One word of a-z and 0-9, in the plural, such as `shipments`
        name: String,
    },
}

/// Writes the files and prints what is left to do.
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

/// The new texts of files, by their paths from the project's root.
pub struct Scaffold {
    files: BTreeMap<String, String>,
    /// Work left to do by hand: a file and a description.
    todo: Vec<(String, &'static str)>,
}

/// The values of the `{{NAME}}` placeholders.
type Words = BTreeMap<&'static str, String>;

fn fill(text: &str, words: &Words) -> String {
    words.iter().fold(text.to_owned(), |text, (name, word)| {
        text.replace(&format!("{{{{{name}}}}}"), word)
    })
}

/// An endpoint of an existing service.
pub fn endpoint(project: &Project, service: &str, name: &str, route: &str) -> Result<Scaffold> {
    let services = names_of_services(project)?;
    if !services.contains(service) {
        let there = services.into_iter().collect::<Vec<_>>().join(", ");
        return refuse(format!(
            "there is no service `{service}`; the services are: {there}"
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
                "`{name}` is taken: {folder}/{taken} exists; give another name"
            ));
        }
    }
    refuse_taken_route(project, &words)?;
    let template = format!("{folder}/template.yaml");
    refuse_uncommitted(project, &template)?;
    let mut files = Files::new(project);

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
    files.change(&template, |text| add_to_template(text, &words))?;
    let description = format!("{folder}/openapi.yaml");
    let shared = files.read(COMPONENTS)?;
    files.change(&description, |text| {
        Some(completed(&add_to_openapi(text, &words)?, &shared))
    })?;
    files.change(&format!("{folder}/Cargo.toml"), |text| {
        let bin = fill("[[bin]]\nname = \"{{binary}}\"\ntest = false\n\n", &words);
        insert_before(text, |line| line == "[[test]]", &bin)
    })?;
    let module = format!("mod {};", words["module"]);
    files.change(&format!("{folder}/src/handlers/mod.rs"), |text| {
        insert_line(text, "pub mod ", &format!("pub {module}"))
    })?;
    files.change(&format!("{folder}/tests/main.rs"), |text| {
        insert_line(text, "mod ", &module)
    })?;
    files.add_sources(&folder, &words)?;
    files.change(API_PAGE, |text| add_to_api_page(text, &words))?;
    files.change(PERMISSIONS, |text| {
        Some(insert_block(text, &granted(&words)))
    })?;
    Ok(Scaffold {
        files: files.texts,
        todo: todo(&folder, &words),
    })
}

/// A service with a table and one endpoint, `GET /api/v1/NAME`.
pub fn service(project: &Project, name: &str) -> Result<Scaffold> {
    if !(name.starts_with(|first: char| first.is_ascii_lowercase()) && is_word(name)) {
        return refuse(format!(
            "`{name}` is not a service name; give one word of a-z and 0-9, such as `shipments`"
        ));
    }
    let mut files = Files::new(project);
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
        return refuse(format!("{folder} exists; give another name"));
    }
    let service = pascal(name);
    words.extend([
        ("Table", format!("{service}Table")),
        ("Store", format!("{service}Store")),
        ("Service", service),
        ("variable", String::new()),
    ]);
    let endpoint = fill(include_str!("new/endpoint.yaml"), &words);
    let migrate = migrate_part(&files.read("functions/payments/template.yaml")?, name);
    let migrate = migrate.context("functions/payments/template.yaml has no payments-migrate")?;
    let alarm = alarm("ReadErrors", &words) + &alarm("Slow", &words);
    let operation = operation(&Yaml::Null, &words);
    words.extend([
        ("endpoint", endpoint),
        ("migrate", migrate),
        ("alarm", alarm),
        ("operation", operation),
    ]);
    let module = words["module"].clone();
    let modules = format!("//! One module a function.\n\npub mod {module};\npub mod migrate;\n");
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
        (
            "src/migrations/mod.rs",
            include_str!("new/migrations.rs.txt"),
        ),
        ("src/handlers/mod.rs", &modules),
        ("tests/main.rs", &tests),
    ] {
        files
            .texts
            .insert(format!("{folder}/{path}"), fill(text, &words));
    }
    let shared = files.read(COMPONENTS)?;
    files.change(&format!("{folder}/openapi.yaml"), |text| {
        Some(completed(text, &shared))
    })?;
    let workflow = fill(include_str!("new/workflow.yaml"), &words);
    files
        .texts
        .insert(format!(".github/workflows/{name}.yaml"), workflow);
    files.add_sources(&folder, &words)?;
    for path in ["src/handlers/migrate.rs", "src/bin/SERVICE-migrate.rs"] {
        let text =
            files.read(&format!("functions/payments/{path}").replace("SERVICE", "payments"))?;
        let text = formatted(&as_in_payments(&text, name))?;
        files
            .texts
            .insert(format!("{folder}/{path}").replace("SERVICE", name), text);
    }
    files.change("Cargo.toml", |text| {
        let member = format!("    \"{folder}\",\n");
        insert_before(text, |line| line.starts_with("    \"shared-"), &member)
    })?;
    files.change("Cargo.lock", |text| {
        Some(add_to_lock(text, &fill(LOCKED, &words)))
    })?;
    files.change("template.yaml", |text| add_to_root(text, &mut words))?;
    files.change(API_PAGE, |text| add_to_api_page(text, &words))?;
    let each = ": one crate and one stack each";
    if files.read("ARCHITECTURE.md")?.contains(each) {
        files.change("ARCHITECTURE.md", |text| {
            Some(text.replacen(each, &format!(", {name}{each}"), 1))
        })?;
    }
    files.change(PERMISSIONS, |text| {
        Some(insert_block(text, &granted(&words)))
    })?;
    let permissions = files.read(PERMISSIONS)?;
    let start = permissions.find("payments-migrate\n");
    let start = start.context(format!("{PERMISSIONS} has no payments-migrate"))?;
    let of_payments = permissions[start..].lines().enumerate();
    let of_payments = of_payments.take_while(|(at, line)| *at == 0 || line.starts_with(' '));
    let of_payments: String = of_payments.map(|(_, line)| format!("{line}\n")).collect();
    files.change(PERMISSIONS, |text| {
        Some(insert_block(text, &as_in_payments(&of_payments, name)))
    })?;
    let operators = fill(
        "{{service}}\n    dynamodb:BatchGetItem {{Table}}.Arn\n    dynamodb:Scan {{Table}}.Arn\n    \
         lambda:InvokeFunction {{Service}}MigrateFunction.Alias\n",
        &words,
    );
    files.change("tests/golden/operators.txt", |text| {
        Some(insert_block(text, &operators))
    })?;
    let mut todo = todo(&folder, &words);
    todo.extend([
        (format!("{folder}/src/lib.rs"), "the purpose of the service"),
        (format!("{folder}/src/store.rs"), "its rows"),
        ("docs/pictures/services.svg".to_owned(), "the service"),
    ]);
    let pages = [
        "operate/update-and-remove.md",
        "operate/pipelines.md",
        "proof.md",
    ];
    todo.extend(pages.map(|page| {
        (
            format!("docs/{page}"),
            "its name, in the loops over all services",
        )
    }));
    Ok(Scaffold {
        files: files.texts,
        todo,
    })
}

/// The parts that migrate a table are the same in every service.
fn as_in_payments(text: &str, service: &str) -> String {
    text.replace("payments", service)
        .replace("Payments", &pascal(service))
        .replace("PAYMENTS", &service.to_uppercase())
}

/// The part of the template with the function that migrates the table.
fn migrate_part(template: &str, service: &str) -> Option<String> {
    let start = template.find("  # ---- payments-migrate")?;
    let end = start + template[start..].find("\n\n")? + 2;
    Some(as_in_payments(&template[start..end], service))
}

const COMPONENTS: &str = "contracts/openapi.yaml";

const PERMISSIONS: &str = "tests/golden/permissions.txt";

const API_PAGE: &str = "docs/api.md";

fn todo(folder: &str, words: &Words) -> Vec<(String, &'static str)> {
    let module = &words["module"];
    vec![
        (
            format!("{folder}/src/handlers/{module}.rs"),
            "its answer and its permitted callers",
        ),
        (
            format!("{folder}/openapi.yaml"),
            "summary, security, parameters, answers",
        ),
        (
            format!("{folder}/template.yaml"),
            "permissions of its role beyond logs",
        ),
        (
            PERMISSIONS.to_owned(),
            "the same, with UPDATE_EXPECT=1 cargo test -p system-tests --test rules",
        ),
        (
            "functions/site/pages".to_owned(),
            "the served documents, with the same command",
        ),
        (
            API_PAGE.to_owned(),
            "its callers and purpose, in the table of endpoints",
        ),
        (format!("{folder}/tests/{module}.rs"), "its tests"),
        (
            "tests/system/matrix.rs".to_owned(),
            "its body or id, if it takes one",
        ),
    ]
}

fn refuse<T>(message: String) -> Result<T> {
    Err(Error::new(message).not_run())
}

fn names_of_services(project: &Project) -> Result<BTreeSet<String>> {
    Ok(project
        .services()?
        .into_iter()
        .map(|service| service.name)
        .collect())
}

fn is_word(word: &str) -> bool {
    !word.is_empty()
        && word
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// The placeholders of an endpoint.
fn words_of(service: &str, name: &str, route: &str) -> Result<Words> {
    if !name.starts_with(|first: char| first.is_ascii_lowercase()) || !name.split('-').all(is_word)
    {
        return refuse(format!(
            "`{name}` is not an endpoint name; give words of a-z and 0-9 joined by `-`, such as \
             `update-me`"
        ));
    }
    for word in [service, name] {
        if RESERVED.split_whitespace().any(|reserved| reserved == word) {
            return refuse(format!("`{word}` is reserved in Rust; give another name"));
        }
    }
    let binary = format!("{service}-{name}");
    if binary.len() > MAX_FUNCTION {
        let (length, most) = (binary.len(), MAX_FUNCTION);
        return refuse(format!(
            "the function name `{binary}` has {length} letters, but Lambda allows {most}; give a \
             shorter name"
        ));
    }
    let example = "such as 'GET /api/v1/orders/{id}/receipt'";
    let Some((method, path)) = route.split_once(' ') else {
        return refuse(format!(
            "`{route}` is not a route; give a method and a path, {example}"
        ));
    };
    if !METHODS.contains(&method) {
        let known = METHODS.join(", ");
        return refuse(format!("`{method}` is not a method; give one of {known}"));
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
            "`{path}` is not a path of the API; give /api/v1/ and parts of a-z, 0-9 and `-` or \
             distinct parameters, {example}"
        ));
    }
    let operation = pascal(&binary);
    let mut words = BTreeMap::from([
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
    ]);
    let (head, methods) = match method {
        "GET" => (fill(HEAD_ROUTE, &words), "*"),
        _ => (String::new(), method),
    };
    words.extend([("head", head), ("methods", methods.to_owned())]);
    Ok(words)
}

/// Converts `update-me` to `UpdateMe`.
fn pascal(name: &str) -> String {
    let words = name
        .split('-')
        .map(|word| word[..1].to_uppercase() + &word[1..]);
    words.collect()
}

/// A path without the names of its parameters, which API Gateway and OpenAPI ignore.
fn shape(path: &str) -> String {
    let part = |part| match str::starts_with(part, '{') {
        true => "{}",
        false => part,
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
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
                    "`{path}` exists as {its_path} in {}; use the same parameter names",
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

/// Keeps `git diff` limited to the scaffold.
fn refuse_uncommitted(project: &Project, path: &str) -> Result<()> {
    let mut git = Command::new("git");
    git.current_dir(project.root())
        .args(["status", "--porcelain", "--", path]);
    if git.output().is_ok_and(|output| !output.stdout.is_empty()) {
        return refuse(format!("{path} has uncommitted changes; commit them first"));
    }
    Ok(())
}

/// The changed texts, over the files on disk.
struct Files<'a> {
    project: &'a Project,
    texts: BTreeMap<String, String>,
}

impl<'a> Files<'a> {
    fn new(project: &'a Project) -> Self {
        Self {
            project,
            texts: BTreeMap::new(),
        }
    }

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
            "{path} has no place for this; its layout has changed"
        ))?;
        if path.ends_with(".yaml") {
            let _: Yaml = serde_yaml_ng::from_str(&changed).context(path)?;
        }
        self.texts.insert(path.to_owned(), changed);
        Ok(())
    }

    /// Adds the handler, the function's program and its test.
    fn add_sources(&mut self, folder: &str, words: &Words) -> Result<()> {
        let (module, binary) = (&words["module"], &words["binary"]);
        let [handler, bin, test] = [
            include_str!("new/handler.rs.txt"),
            include_str!("new/bin.rs.txt"),
            include_str!("new/test.rs.txt"),
        ];
        for (path, text) in [
            (format!("src/handlers/{module}.rs"), handler),
            (format!("src/bin/{binary}.rs"), bin),
            (format!("tests/{module}.rs"), test),
        ] {
            let text = formatted(&fill(text, words))?;
            self.texts.insert(format!("{folder}/{path}"), text);
        }
        Ok(())
    }
}

/// Formats with rustfmt: line breaks depend on the names.
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

/// The store type that a service's handlers use.
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

/// Inserts lines before the first line that fits.
fn insert_before(text: &str, fits: impl Fn(&str) -> bool, lines: &str) -> Option<String> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if fits(line.trim_end()) {
            return Some(format!("{}{lines}{}", &text[..at], &text[at..]));
        }
        at += line.len();
    }
    None
}

/// Adds the last row of the table of endpoints.
fn add_to_api_page(text: &str, words: &Words) -> Option<String> {
    let start = text.find("\n| endpoint |")?;
    let end = start + text[start..].find("\n\n")? + 1;
    let row = fill(
        "| `{{METHOD}} {{path}}` | administrators | a placeholder |\n",
        words,
    );
    Some(format!("{}{row}{}", &text[..end], &text[end..]))
}

/// Inserts a line in order among lines with the same start.
fn insert_line(text: &str, start: &str, line: &str) -> Option<String> {
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

/// Inserts a block in order among blocks whose first lines are not indented.
fn insert_block(text: &str, block: &str) -> String {
    let head = block.lines().next().unwrap_or_default();
    insert_before(text, |line| !line.starts_with(' ') && line > head, block)
        .unwrap_or_else(|| format!("{text}{block}"))
}

/// The entry that cargo writes for `new/Cargo.toml.txt`.
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

fn add_to_lock(text: &str, package: &str) -> String {
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

/// An alarm on failed or slow calls, with the endpoint as its only one.
fn alarm(id: &str, words: &Words) -> String {
    let own = &words["binary"][words["service"].len() + 1..];
    let slow = id.ends_with("Slow");
    let name = match id {
        "ReadErrors" => "read-errors".to_owned(),
        "WriteErrors" => "write-errors".to_owned(),
        "Slow" => "slow".to_owned(),
        _ if slow => format!("{own}-slow"),
        _ => format!("{own}-errors"),
    };
    let head = "        - { Id: ";
    let (trouble, metrics, periods, threshold) = match slow {
        true => (
            "One in a hundred calls of a function takes more than three seconds",
            format!(
                "{head}slowest, ReturnData: true, Expression: MAX(METRICS()) }}\n{}",
                include_str!("new/slow.yaml")
            ),
            "5\n      DatapointsToAlarm: 3",
            "3000",
        ),
        false => (
            "More than 1 % of the calls of one function fail",
            format!(
                "{head}percent, ReturnData: true, Expression: \"MAX([\n{FAILED_PERCENT}])\" }}\n{}",
                include_str!("new/metrics.yaml")
            ),
            "1",
            "1",
        ),
    };
    let mut words = words.clone();
    let metrics = fill(&metrics, &words);
    words.extend([
        ("Alarm", id.to_owned()),
        ("alarm", name),
        ("trouble", trouble.to_owned()),
        ("metrics", metrics),
        ("periods", periods.to_owned()),
        ("threshold", threshold.to_owned()),
    ]);
    fill(include_str!("new/alarm.yaml"), &words)
}

/// Adds the endpoint to an alarm. Without that alarm, or if it is full, the endpoint gets its own.
fn add_to_alarm(text: &str, id: &str, metrics: &str, words: &Words) -> Option<String> {
    let metrics = fill(metrics, words);
    let part = fill(FAILED_PERCENT, words) + ",\n";
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let head = format!("  {id}Alarm:\n");
    let at = lines.iter().position(|line| *line == head);
    let of_it = lines
        .iter()
        .enumerate()
        .skip(at.map_or(lines.len(), |at| at + 1));
    let of_it = of_it.take_while(|(_, line)| line.starts_with("   "));
    let known = of_it.filter(|(_, line)| line.contains("MetricStat:"));
    let known: Vec<usize> = known.map(|(at, _)| at).collect();
    if let Some(last) = known.last()
        && known.len() + metrics.lines().count() <= METRICS_OF_AN_ALARM
    {
        lines.insert(last + 1, &metrics);
        let open = lines[..*last]
            .iter()
            .rposition(|line| line.ends_with("MAX([\n"));
        if let Some(open) = open.filter(|open| Some(*open) > at) {
            lines.insert(open + 1, &part);
        }
        return Some(lines.concat());
    }
    let id = match at {
        None => id.to_owned(),
        Some(_) if id == "Slow" => format!("{}Slow", words["Stem"]),
        Some(_) => format!("{}Errors", words["Stem"]),
    };
    // A deployment watches every alarm of its service.
    let text = text.replacen(
        "AlarmsAreSent, [",
        &format!("AlarmsAreSent, [!Ref {id}Alarm, "),
        1,
    );
    let alarm = alarm(&id, words) + "\n";
    insert_before(&text, |line| line == "Outputs:", &alarm)
}

/// Adds the endpoint to the template and its alarms.
fn add_to_template(text: &str, words: &Words) -> Option<String> {
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

    let errors = match &*words["METHOD"] {
        "GET" => "ReadErrors",
        _ => "WriteErrors",
    };
    let text = add_to_alarm(&text, errors, include_str!("new/metrics.yaml"), words)?;
    add_to_alarm(&text, "Slow", include_str!("new/slow.yaml"), words)
}

/// Adds the service to the root template, as the last application.
fn add_to_root(text: &str, words: &mut Words) -> Option<String> {
    let template: Yaml = serde_yaml_ng::from_str(text).ok()?;
    let (last, _) = resources(&template).last()?;
    words.insert("last", last.to_owned());
    let root = fill(include_str!("new/root.yaml"), words);
    let text = insert_before(text, |line| line == "Outputs:", &root)?;
    let output = "  {{Service}}OperatorPolicyArn:\n    Description: As above, for {{service}}.\n    \
                  Value: !GetAtt {{Service}}.Outputs.OperatorPolicyArn\n";
    Some(text + &fill(output, words))
}

fn operation(document: &Yaml, words: &Words) -> String {
    let mut words = words.clone();
    let described = document
        .get("paths")
        .and_then(|paths| paths.get(words["path"].as_str()));
    let of_path = described.is_some_and(|path| path.get("parameters").is_some());
    let named = words["path"]
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let named = named.filter(|_| !of_path).map(|name| {
        let (format, example) = match name == "id" || name.ends_with("_id") {
            true => (", format: uuid", "01980000-0000-7000-8000-000000000001"),
            false => ("", name),
        };
        format!(
            "        - {{ name: {name}, in: path, required: true, schema: {{ type: string{format} }}, example: {example} }}\n"
        )
    });
    let named: String = named.collect();
    let parameters = match named.is_empty() {
        true => String::new(),
        false => format!("      parameters:\n{named}"),
    };
    words.insert("parameters", parameters);
    fill(include_str!("new/operation.yaml"), &words)
}

/// Adds the operation to the API's description.
fn add_to_openapi(text: &str, words: &Words) -> Option<String> {
    let document: Yaml = serde_yaml_ng::from_str(text).ok()?;
    let operation = operation(&document, words);
    let path = format!("  {}:", words["path"]);
    let Some((before, after)) = text.split_once(&format!("\n{path}\n")) else {
        let added = format!("{path}\n{operation}");
        return insert_before(text, |line| line == "components:", &added);
    };
    let ends = |line: &str| !line.is_empty() && !line.starts_with("   ");
    let after = insert_before(after, ends, &operation)?;
    Some(format!("{before}\n{path}\n{after}"))
}

impl Scaffold {
    /// Writes all files. If one fails, the earlier ones are restored.
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

    /// Lists the files and the work left to do.
    pub fn report(&self) -> String {
        let mut lines = vec![format!("wrote {} files:", self.files.len())];
        lines.extend(self.files.keys().map(|path| format!("  {path}")));
        lines.push("write by hand:".to_owned());
        let todo = self
            .todo
            .iter()
            .map(|(path, what)| format!("  {path}: {what}"));
        lines.extend(todo);
        lines.push("then: cargo xtask check, and cargo xtask up to try it".to_owned());
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests;
