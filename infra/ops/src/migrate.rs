//! `waybill migrate`: migrates the tables of the services.
//!
//! This tool writes nothing. It calls a service's function `SERVICE-migrate` for one slice of work after
//! another, so a run can be killed, and the next one continues.

use std::fs;

use clap::Args;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::account;
use crate::aws::Aws;
use crate::error::{Context, Error, Result};
use crate::project::Project;
use crate::saga::operator;
use crate::ui::{count, foreign};

/// The options of `waybill migrate`. The comments here are their `--help`.
#[derive(Debug, Clone, Default, Args)]
pub struct Migrate {
    /// The service; without it, the schemas of all services are printed
    pub service: Option<String>,
    /// Migrate to this schema only, again if it was done before
    #[arg(long, requires = "service")]
    pub to: Option<u64>,
    /// Count the rows to change, and change none
    #[arg(long, requires = "service")]
    pub dry_run: bool,
    /// Check whether the release in this checkout may be deployed now
    #[arg(long, requires = "service", conflicts_with_all = ["to", "dry_run"])]
    pub check: bool,
    /// The most write units a second
    #[arg(long, value_name = "WCU", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: u32,
    /// Print JSON. Without a service: [{service, reads, writes, migrations, done, work, lease, history}];
    /// with one: {service, migrations: [{schema, name, read, changed, write_units, repeated, seconds}]}
    #[arg(long)]
    pub json: bool,
}

/// The oldest schema, of the rows before any migration.
const FIRST: u64 = 1;

/// After this many slices without progress the run ends.
const IDLE: u32 = 6;

/// The schemas of every deployed service.
pub fn list(aws: &Aws, prefix: &str) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for function in account::functions(aws)? {
        let name = text(&function["FunctionName"]);
        let rest = name
            .strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix('-'));
        let service = rest.and_then(|rest| rest.strip_suffix("-migrate"));
        // Another installation's prefix may begin with this one.
        if let Some(service) = service.filter(|service| !service.contains('-')) {
            let mut status = account::invoke(aws, name, &json!({"action": "status"}))?;
            status["service"] = json!(service);
            all.push(status);
        }
    }
    all.sort_by_key(|status| text(&status["service"]).to_owned());
    Ok(all)
}

/// Formats the schemas of all services.
pub fn listed(all: &Vec<Value>) -> String {
    let mut lines = vec![format!(
        "{:<12}{:<8}{:<8}{:<12}{}",
        "service", "reads", "writes", "migrated to", "running"
    )];
    for status in all {
        let [first, last] = [0, 1].map(|at| number(&status["reads"][at]));
        let work = &status["work"];
        let running = match number(&work["schema"]) {
            0 => "-".to_owned(),
            schema => format!(
                "schema {schema}, {} rows read, by {}",
                grouped(&work["read"]),
                text(&work["by"])
            ),
        };
        lines.push(format!(
            "{:<12}{:<8}{:<8}{:<12}{running}",
            text(&status["service"]),
            format!("{first}-{last}"),
            number(&status["writes"]),
            done(status),
        ));
    }
    lines.join("\n")
}

/// One service's deployed functions.
struct Service<'a> {
    aws: &'a Aws,
    name: &'a str,
    migrator: String,
    functions: Vec<Value>,
}

impl<'a> Service<'a> {
    fn find(aws: &'a Aws, prefix: &str, name: &'a str) -> Result<Self> {
        let start = format!("{prefix}-{name}-");
        let mut functions = account::functions(aws)?;
        functions.retain(|function| text(&function["FunctionName"]).starts_with(&start));
        Ok(Self {
            aws,
            name,
            migrator: format!("{start}migrate"),
            functions,
        })
    }

    fn ask(&self, request: &Value) -> Result<Value> {
        let answer = account::invoke(self.aws, &self.migrator, request)?;
        let name = self.name;
        let refusal = match text(&answer["outcome"]) {
            "refused" => foreign(text(&answer["detail"])),
            "busy" => format!(
                "a run of {} migrates the table; if it was killed, run this again after {}",
                foreign(text(&answer["by"])),
                text(&answer["until"])
            ),
            _ => return Ok(answer),
        };
        Err(Error::new(format!("{name}: {refusal}")))
    }

    fn has_migrator(&self) -> bool {
        let mut functions = self.functions.iter();
        functions.any(|function| function["FunctionName"] == *self.migrator)
    }

    /// Runs slices until the migration has ended.
    fn run(
        &self,
        asked: &Migrate,
        schema: u64,
        by: &str,
        progress: &mut dyn FnMut(&Value),
    ) -> Result<Value> {
        let request = json!({"action": "slice", "schema": schema, "run": Uuid::now_v7(), "by": by,
                             "rate": asked.rate, "dry_run": asked.dry_run});
        let (mut idle, mut last) = (0, Vec::new());
        loop {
            let mut answer = self.ask(&request)?;
            let work = answer["work"].take();
            let now = ["read", "changed", "failed"].map(|name| number(&work[name]));
            idle = if now == *last { idle + 1 } else { 0 };
            last = now.to_vec();
            match text(&answer["outcome"]) {
                "working" if idle < IDLE => {
                    progress(&work);
                }
                "done" => return Ok(work),
                "failed" => {
                    let rows = work["failures"].as_array().into_iter().flatten();
                    let rows = rows.map(|row| format!("\n  {}", foreign(text(row))));
                    return Err(Error::new(format!(
                        "{}: {} rows cannot be changed to schema {schema}; repair them, then run this again{}",
                        self.name,
                        number(&work["failed"]),
                        rows.collect::<String>()
                    )));
                }
                _ => {
                    return Err(Error::new(format!(
                        "{}: the table throttles every call; run this again later, it continues from here",
                        self.name
                    )));
                }
            }
        }
    }
}

/// Asks Lambda about a function; none if it has no alias `live`.
type Ask<'a> = &'a dyn Fn(&str, Value) -> Result<Option<Value>>;

/// Refuses while requests reach code of an earlier release, which may write old rows.
fn refuse_older_code(functions: &[Value], ask: Ask<'_>) -> Result<()> {
    for function in functions {
        let name = text(&function["FunctionName"]);
        let Some(alias) = ask("GetAlias", json!({"FunctionName": name, "Name": "live"}))? else {
            continue;
        };
        let weights = alias["RoutingConfig"]["AdditionalVersionWeights"].as_object();
        let is_shifting = weights.is_some_and(|weights| !weights.is_empty());
        let live = json!({"FunctionName": name, "Qualifier": "live"});
        let live = ask("GetFunctionConfiguration", live)?.unwrap_or_default();
        if is_shifting || live["CodeSha256"] != function["CodeSha256"] {
            return Err(Error::new(format!(
                "{name} still runs an earlier release; wait until the deployment has ended, or deploy again, then \
                 run this again"
            )));
        }
    }
    Ok(())
}

/// Migrates one service's table, or counts the rows to change.
pub fn migrate(
    aws: &Aws,
    prefix: &str,
    name: &str,
    asked: &Migrate,
    progress: &mut dyn FnMut(String),
) -> Result<Value> {
    let service = Service::find(aws, prefix, name)?;
    if !service.has_migrator() {
        let missing = format!(
            "there is no function {}; deploy {name} first",
            service.migrator
        );
        return Err(Error::new(missing).not_run());
    }
    let status = service.ask(&json!({"action": "status"}))?;
    let schemas = pending(&status, asked.to);
    if !asked.dry_run && !schemas.is_empty() {
        let ask = |operation: &str, request| {
            let answer = aws.find("lambda", operation, request, "ResourceNotFoundException");
            answer.context(format!("reading the alias live of the functions of {name}"))
        };
        refuse_older_code(&service.functions, &ask).map_err(Error::not_run)?;
    }
    let by = operator(aws)?;
    let table = json!({"TableName": format!("{prefix}-{name}")});
    // DynamoDB counts the rows every six hours.
    let rows = match aws.call("dynamodb", "DescribeTable", table) {
        Ok(table) => number(&table["Table"]["ItemCount"]),
        Err(_) => 0,
    };
    let mut migrations = Vec::new();
    for schema in schemas {
        let mut tell =
            |work: &Value| progress(format!("{name}: schema {schema}: {}", part(work, rows)));
        let mut work = service.run(asked, schema, &by, &mut tell)?;
        let mut known = status["migrations"].as_array().into_iter().flatten();
        let migration = known.find(|migration| migration["schema"] == schema);
        work["name"] = migration.map_or(Value::Null, |migration| migration["name"].clone());
        migrations.push(work);
    }
    Ok(json!({"service": name, "dry_run": asked.dry_run, "migrations": migrations}))
}

/// Formats the end of a run.
pub fn migrated(report: &Value) -> String {
    let name = text(&report["service"]);
    let changed = match report["dry_run"] == true {
        true => "to change",
        false => "changed",
    };
    let lines = report["migrations"].as_array().into_iter().flatten();
    let lines: Vec<String> = lines
        .map(|work| {
            format!(
                "{name}: schema {}, {}: {} rows read, {} {changed}, {} write units, {} s",
                number(&work["schema"]),
                text(&work["name"]),
                grouped(&work["read"]),
                grouped(&work["changed"]),
                grouped(&work["write_units"]),
                number(&work["seconds"])
            )
        })
        .collect();
    match lines.is_empty() {
        true => format!("{name}: nothing to migrate"),
        false => lines.join("\n"),
    }
}

/// The schemas to migrate to, in order. The function refuses one that it does not know.
fn pending(status: &Value, to: Option<u64>) -> Vec<u64> {
    let migrations = status["migrations"].as_array().into_iter().flatten();
    let known: Vec<u64> = migrations.map(|one| number(&one["schema"])).collect();
    let last = to.unwrap_or(number(&status["writes"]));
    let is_open = |schema: &u64| done(status) < *schema && *schema <= last;
    let open: Vec<u64> = known.iter().copied().filter(is_open).collect();
    match to {
        Some(to) if open.last() != Some(&to) => vec![to],
        Some(_) | None => open,
    }
}

/// Checks before a deployment whether the release of a checkout may run beside the deployed one.
pub fn check(aws: &Aws, prefix: &str, project: &Project, name: &str) -> Result<String> {
    let ((first, last), writes) = declared(project, name).map_err(Error::not_run)?;
    let service = Service::find(aws, prefix, name)?;
    let of_the_new = format!("the new release reads schemas {first} to {last} and writes {writes}");
    if service.functions.is_empty() {
        return Ok(format!(
            "{name} may be deployed: it is not deployed yet, and {of_the_new}"
        ));
    }
    if !service.has_migrator() {
        // A release before the first migration.
        return match (first, writes) {
            (FIRST, FIRST) => Ok(format!("{name} may be deployed: {of_the_new}")),
            _ => Err(Error::new(format!(
                "{name}: {of_the_new}, and the deployed one knows schema {FIRST} alone; first deploy a release \
                 that reads {writes} and writes {FIRST}"
            ))),
        };
    }
    let status = service.ask(&json!({"action": "status"}))?;
    for migration in status["migrations"].as_array().into_iter().flatten() {
        let schema = number(&migration["schema"]);
        if number(&status["reads"][0]) < schema && schema <= first {
            let asked = Migrate {
                dry_run: true,
                rate: 1,
                ..Migrate::default()
            };
            let work = service.run(&asked, schema, "", &mut |_| {})?;
            if number(&work["changed"]) > 0 {
                return Err(Error::new(format!(
                    "{name}: {of_the_new}, and {} rows are older than {schema}; run waybill migrate {name} --to \
                     {schema} before this deployment",
                    grouped(&work["changed"])
                )));
            }
        }
    }
    service.ask(&json!({"action": "admit", "reads": [first, last], "writes": writes}))?;
    Ok(format!("{name} may be deployed: {of_the_new}"))
}

/// The declaration in the source of a service's migrations: the first and last schema it reads, and the one
/// that it writes.
pub fn declared(project: &Project, service: &str) -> Result<((u64, u64), u64)> {
    let path = project
        .root()
        .join(format!("functions/{service}/src/migrations/mod.rs"));
    let source = fs::read_to_string(&path).context(path.display())?;
    let value = |name: &str| {
        let (_, rest) = source.split_once(&format!("\n    {name}: "))?;
        Some(rest.split_once(',')?.0)
    };
    let parse = || {
        let (first, last) = value("reads")?.split_once("..=")?;
        let writes = value("writes")?.parse().ok()?;
        Some(((first.parse().ok()?, last.parse().ok()?), writes))
    };
    parse().context(format!(
        "{} declares no `reads: 1..=2,` and `writes: 2,`",
        path.display()
    ))
}

/// The progress of a run, with an estimate while more rows are known.
fn part(work: &Value, rows: u64) -> String {
    let [read, seconds] = ["read", "seconds"].map(|name| number(&work[name]));
    let left = match rows.checked_sub(read) {
        Some(left @ 1..) if read > 0 => {
            let minutes = (left * seconds).div_ceil(read).div_ceil(60) as usize;
            format!(
                " of about {}, about {} left",
                grouped(&json!(rows)),
                count(minutes, "minute")
            )
        }
        _ => String::new(),
    };
    let repeated = match number(&work["repeated"]) {
        0 => String::new(),
        repeated => format!(", {repeated} calls repeated"),
    };
    format!(
        "{} rows read{left}; {} changed{repeated}",
        grouped(&work["read"]),
        grouped(&work["changed"])
    )
}

fn done(status: &Value) -> u64 {
    number(&status["done"]).max(FIRST)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// `12,345`
fn grouped(value: &Value) -> String {
    let digits = number(value).to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(done: Value) -> Value {
        let migrations: Vec<Value> = (2..=4).map(|schema| json!({"schema": schema})).collect();
        json!({"writes": 3, "migrations": migrations, "done": done})
    }

    #[test]
    fn open_migrations_run_up_to_the_wanted_one() {
        for (done, to, expected) in [
            (Value::Null, None, vec![2, 3]),
            (json!(2), None, vec![3]),
            (json!(3), None, vec![]),
            (Value::Null, Some(2), vec![2]),
            (json!(3), Some(2), vec![2]),
            (Value::Null, Some(9), vec![9]),
        ] {
            assert_eq!(
                pending(&status(done.clone()), to),
                expected,
                "{done} {to:?}"
            );
        }
    }

    #[test]
    fn progress_has_an_estimate_while_rows_are_left() {
        let work = json!({"read": 12_000, "changed": 11_000, "seconds": 60, "repeated": 2});
        let with = "12,000 rows read of about 100,000, about 8 minutes left; 11,000 changed, 2 calls repeated";
        assert_eq!(part(&work, 100_000), with);
        let without = "12,000 rows read; 11,000 changed, 2 calls repeated";
        assert_eq!(part(&work, 9), without);
    }

    #[test]
    fn a_migration_waits_until_all_code_is_of_one_release() {
        let functions = [json!({"FunctionName": "w-orders-get", "CodeSha256": "new"})];
        for (weights, code, is_refused) in [
            (json!(null), "new", false),
            (json!({}), "new", false),
            (json!({"3": 0.1}), "new", true),
            (json!(null), "old", true),
        ] {
            let ask = |operation: &str, request: Value| {
                assert_eq!(request["FunctionName"], "w-orders-get");
                Ok(Some(match operation {
                    "GetAlias" => json!({"RoutingConfig": {"AdditionalVersionWeights": weights}}),
                    _ => json!({"CodeSha256": code}),
                }))
            };
            let refused = refuse_older_code(&functions, &ask).is_err();
            assert_eq!(refused, is_refused, "{weights} {code}");
        }
        let without_alias = refuse_older_code(&functions, &|_, _| Ok(None));
        assert!(without_alias.is_ok());
    }

    #[test]
    fn every_service_declares_its_schemas() {
        let project = Project::find().expect("tests run inside the project");
        let services = project.services().expect("there are services");
        // The site stores nothing.
        for service in services.iter().filter(|service| service.name != "site") {
            let ((first, last), writes) = declared(&project, &service.name).expect("declared");
            assert!(first <= writes && writes <= last, "{}", service.name);
        }
    }
}
