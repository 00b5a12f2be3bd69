//! Backups and restores against an account in memory that can fail at any write.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::*;
use crate::assert_contains;
use crate::audit::reconcile::Subject;

const TABLES: [&str; 2] = ["w-orders", "w-users"];
const MOMENT: &str = "2026-01-02T03:04:05Z";

#[derive(Default)]
struct Account {
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    tables: BTreeMap<String, Table>,
    backups: Vec<Stored>,
    /// Each function's reserved concurrency.
    functions: BTreeMap<String, Option<u64>>,
    triggers: BTreeMap<String, &'static str>,
    messages: usize,
    parameters: BTreeMap<String, String>,
    writes: usize,
    /// The write that fails, and whether it takes effect first.
    fails: Option<(usize, bool)>,
    fresh: u64,
    /// The next answer about continuous backups is that they are not ready.
    is_unready: bool,
    finding: Option<Kind>,
}

#[derive(Clone, Default, Debug, PartialEq)]
struct Table {
    id: String,
    status: &'static str,
    rows: &'static str,
    recovery: Value,
    expiry: Option<String>,
    tags: Vec<Value>,
    protected: bool,
}

struct Stored {
    name: String,
    arn: String,
    status: &'static str,
    rows: &'static str,
}

impl Account {
    /// Two tables, one function with and one without a reservation, and a disabled trigger.
    fn new() -> Self {
        let account = Self::default();
        let mut state = account.state.borrow_mut();
        for name in TABLES {
            let table = Table {
                id: format!("first {name}"),
                status: "ACTIVE",
                rows: "of then",
                recovery: json!({"PointInTimeRecoveryEnabled": true, "RecoveryPeriodInDays": 7}),
                expiry: (name == "w-users").then(|| "expires_at".to_owned()),
                tags: vec![json!({"Key": "team", "Value": "shop"})],
                protected: name == "w-orders",
            };
            state.tables.insert(name.to_owned(), table);
        }
        state.functions = [("w-get", None), ("w-sweep", Some(2))]
            .map(|(name, reserved)| (name.to_owned(), reserved))
            .into();
        state.triggers = [("on", "Enabled"), ("off", "Disabled")]
            .map(|(id, state)| (id.to_owned(), state))
            .into();
        state.messages = 3;
        drop(state);
        account
    }

    /// With a backup, and rows that have changed since.
    fn damaged() -> (Self, String) {
        let account = Self::new();
        let backup = account
            .installation()
            .back_up(at(MOMENT))
            .expect("a backup");
        for table in account.state.borrow_mut().tables.values_mut() {
            table.rows = "of now";
        }
        (account, backup)
    }

    fn installation(&self) -> Installation<'_> {
        Installation {
            prefix: "w",
            call: Box::new(|_, operation, params| self.call(operation, &params)),
            audit: Box::new(|| Ok(self.audit())),
            note: |_| {},
            parts: Parts {
                tables: TABLES.map(str::to_owned).into(),
                functions: self.state.borrow().functions.keys().cloned().collect(),
                longest: Duration::ZERO,
                triggers: self.state.borrow().triggers.keys().cloned().collect(),
                queues: vec!["queue".to_owned()],
            },
            pace: Pace {
                running: None,
                minute: Duration::ZERO,
                poll: Duration::ZERO,
            },
        }
    }

    fn restore(&self, options: &Options) -> Result<Restored> {
        self.installation()
            .restore(options, at("2026-01-03T00:00:00Z"))
    }

    fn audit(&self) -> Audit {
        let state = self.state.borrow();
        assert!(state.is_stopped());
        let finding = |kind| Finding {
            subject: Subject::Item("tea".to_owned()),
            kind,
            what: "2 are missing".to_owned(),
            next: "count".to_owned(),
            evidence: String::new(),
        };
        Audit {
            certain: state.finding.map(finding).into_iter().collect(),
            ..Audit::default()
        }
    }

    fn call(&self, operation: &str, params: &Value) -> std::result::Result<Value, AwsError> {
        let mut state = self.state.borrow_mut();
        let reads = ["Get", "Describe", "List"];
        if reads.iter().any(|verb| operation.starts_with(verb)) {
            return state.read(operation, params);
        }
        state.writes += 1;
        let killed = || AwsError::new("Killed", operation);
        match state.fails {
            Some((at, false)) if at == state.writes => Err(killed()),
            Some((at, true)) if at == state.writes => {
                let _ = state.write(operation, params);
                Err(killed())
            }
            _ => state.write(operation, params),
        }
    }
}

fn at(time: &str) -> Timestamp {
    time.parse().expect("a time")
}

fn name(params: &Value, key: &str) -> String {
    params[key].as_str().unwrap_or_default().to_owned()
}

impl State {
    fn is_stopped(&self) -> bool {
        self.functions.values().all(|reserved| *reserved == Some(0))
            && self.triggers.values().all(|state| *state == "Disabled")
    }

    fn table(&mut self, params: &Value) -> std::result::Result<&mut Table, AwsError> {
        let gone = || AwsError::new("ResourceNotFoundException", params);
        self.tables
            .get_mut(&name(params, "TableName"))
            .ok_or_else(gone)
    }

    /// A table that is copied or deleted must have no writer.
    fn assert_stopped(&self, table: &str) {
        assert!(
            !TABLES.contains(&table) || self.is_stopped(),
            "{table} is in use"
        );
    }

    /// Each look at a thing that changes is the last before the change has ended.
    fn read(&mut self, operation: &str, params: &Value) -> std::result::Result<Value, AwsError> {
        Ok(match operation {
            "DescribeTable" => {
                let named = name(params, "TableName");
                let table = self.table(params)?;
                let found = json!({"Table": {
                    "TableId": table.id, "TableStatus": table.status, "TableArn": named,
                    "DeletionProtectionEnabled": table.protected}});
                match table.status {
                    "DELETING" => drop(self.tables.remove(&named)),
                    _ => table.status = "ACTIVE",
                }
                found
            }
            "DescribeContinuousBackups" => {
                let table = self.table(params)?;
                json!({"ContinuousBackupsDescription": {"PointInTimeRecoveryDescription": {
                    "PointInTimeRecoveryStatus": "ENABLED",
                    "RecoveryPeriodInDays": table.recovery["RecoveryPeriodInDays"]}}})
            }
            "DescribeTimeToLive" => match &self.table(params)?.expiry {
                None => json!({"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}),
                Some(name) => json!({"TimeToLiveDescription": {
                    "TimeToLiveStatus": "ENABLED", "AttributeName": name}}),
            },
            "DescribeBackup" => json!({"BackupDescription": {"SourceTableFeatureDetails": {
                "TimeToLiveDescription": {"AttributeName": "expires_at"}}}}),
            "ListTagsOfResource" => {
                let own = json!({"Key": "aws:cloudformation:stack-name", "Value": "w"});
                let params = json!({"TableName": params["ResourceArn"]});
                let mut tags = self.table(&params)?.tags.clone();
                tags.push(own);
                json!({"Tags": tags})
            }
            "ListBackups" => {
                // One a page.
                let start = params["ExclusiveStartBackupArn"].as_str();
                let at = self
                    .backups
                    .iter()
                    .position(|one| Some(one.arn.as_str()) == start);
                let at = at.map_or(0, |at| at + 1);
                let is_last = at + 1 >= self.backups.len();
                let Some(one) = self.backups.get_mut(at) else {
                    return Ok(json!({"BackupSummaries": []}));
                };
                let next = if is_last { Value::Null } else { json!(one.arn) };
                let status = std::mem::replace(&mut one.status, "AVAILABLE");
                json!({"BackupSummaries": [{"BackupArn": one.arn, "BackupName": one.name,
                    "BackupStatus": status, "BackupSizeBytes": 8}], "LastEvaluatedBackupArn": next})
            }
            "GetFunctionConcurrency" => match self.functions[&name(params, "FunctionName")] {
                None => json!({}),
                Some(reserved) => json!({"ReservedConcurrentExecutions": reserved}),
            },
            "GetEventSourceMapping" => {
                let state = self
                    .triggers
                    .get_mut(&name(params, "UUID"))
                    .expect("a trigger");
                let next = match *state {
                    "Enabling" => "Enabled",
                    "Disabling" => "Disabled",
                    settled => settled,
                };
                json!({"State": std::mem::replace(state, next)})
            }
            "GetParameter" => match self.parameters.get(&name(params, "Name")) {
                None => return Err(AwsError::new("ParameterNotFound", params)),
                Some(value) => json!({"Parameter": {"Value": value}}),
            },
            _ => panic!("{operation}"),
        })
    }

    fn write(&mut self, operation: &str, params: &Value) -> std::result::Result<Value, AwsError> {
        self.fresh += 1;
        let refused = |code: &str| Err(AwsError::new(code, params));
        match operation {
            "CreateBackup" => {
                let source = name(params, "TableName");
                self.assert_stopped(&source);
                let rows = self.table(params)?.rows;
                self.backups.push(Stored {
                    name: name(params, "BackupName"),
                    arn: format!("backup {}", self.fresh),
                    status: "CREATING",
                    rows,
                });
            }
            "RestoreTableFromBackup" | "RestoreTableToPointInTime" => {
                let target = name(params, "TargetTableName");
                self.assert_stopped(&target);
                if self.tables.contains_key(&target) {
                    return refused("TableAlreadyExistsException");
                }
                let arn = name(params, "BackupArn");
                let backup = self.backups.iter().find(|one| one.arn == arn);
                assert!(
                    backup.is_none_or(|one| one.status == "AVAILABLE"),
                    "{params}"
                );
                let table = Table {
                    id: format!("table {}", self.fresh),
                    status: "CREATING",
                    rows: backup.map_or("of then", |one| one.rows),
                    ..Table::default()
                };
                self.tables.insert(target, table);
            }
            "DeleteTable" => {
                let target = name(params, "TableName");
                self.assert_stopped(&target);
                let table = self.table(params)?;
                if table.status != "ACTIVE" {
                    return refused("ResourceInUseException");
                }
                assert!(!table.protected, "{target} is protected");
                table.status = "DELETING";
                let rows = table.rows;
                let mut kept = self.backups.iter().filter(|one| one.status == "AVAILABLE");
                assert!(kept.any(|one| one.rows == rows), "rows {rows} are lost");
            }
            "UpdateContinuousBackups" => {
                if std::mem::replace(&mut self.is_unready, false) {
                    return refused("ContinuousBackupsUnavailableException");
                }
                let recovery = params["PointInTimeRecoverySpecification"].clone();
                self.table(params)?.recovery = recovery;
            }
            "UpdateTimeToLive" => {
                let table = self.table(params)?;
                if table.expiry.is_some() {
                    return refused("ValidationException");
                }
                table.expiry = Some(name(&params["TimeToLiveSpecification"], "AttributeName"));
            }
            "TagResource" => {
                let tags = params["Tags"].as_array().cloned().unwrap_or_default();
                self.table(&json!({"TableName": params["ResourceArn"]}))?
                    .tags = tags;
            }
            "UpdateTable" => {
                let table = self.table(params)?;
                table.protected = params["DeletionProtectionEnabled"] == true;
                table.status = "UPDATING";
            }
            "PutFunctionConcurrency" | "DeleteFunctionConcurrency" => {
                let reserved = params["ReservedConcurrentExecutions"].as_u64();
                self.functions
                    .insert(name(params, "FunctionName"), reserved);
            }
            "UpdateEventSourceMapping" => {
                let on = params["Enabled"] == true;
                let state = if on { "Enabling" } else { "Disabling" };
                self.triggers.insert(name(params, "UUID"), state);
            }
            "PurgeQueue" => {
                assert!(self.is_stopped());
                self.messages = 0;
            }
            "PutParameter" => {
                self.parameters
                    .insert(name(params, "Name"), name(params, "Value"));
            }
            "DeleteParameter" => {
                self.parameters.remove(&name(params, "Name"));
            }
            _ => panic!("{operation}"),
        }
        Ok(json!({}))
    }

    /// The rows are those of the backup, and all else is as before it.
    fn assert_restored(&self) {
        let before = Account::new();
        let before = before.state.borrow();
        for (name, table) in &self.tables {
            let mut expected = before.tables[name].clone();
            assert_ne!(table.id, expected.id, "{name}");
            expected.id.clone_from(&table.id);
            expected.status = table.status;
            assert_eq!(*table, expected, "{name}");
        }
        assert_eq!(self.tables.len(), TABLES.len());
        self.assert_running();
        assert_eq!(self.messages, 0);
        let safe = self.backups.iter().filter(|one| one.rows == "of now");
        let safe: BTreeSet<&str> = safe.map(|one| one.name.as_str()).collect();
        assert_eq!(safe.len(), TABLES.len(), "{safe:?}");
    }

    fn assert_running(&self) {
        let before = Account::new();
        let before = before.state.borrow();
        assert_eq!(self.triggers, before.triggers);
        assert_eq!(self.functions, before.functions);
        assert!(self.parameters.is_empty(), "{:?}", self.parameters);
    }
}

fn from(backup: &str) -> Options {
    Options {
        from: Some(backup.to_owned()),
        ..Options::default()
    }
}

fn to(moment: &str) -> Options {
    Options {
        to: Some(at(moment)),
        ..Options::default()
    }
}

#[test]
fn a_backup_stops_the_functions_and_starts_them_again() {
    let account = Account::new();
    let name = account
        .installation()
        .back_up(at(MOMENT))
        .expect("a backup");
    assert_eq!(name, "20260102T030405Z");
    let listed = account.installation().backups().expect("a list");
    assert!(
        listed.iter().all(|one| one.complete && one.bytes == 16),
        "{listed:?}"
    );
    assert_eq!(listed.len(), 1);
    assert_eq!(account.state.borrow().messages, 3);
    account.state.borrow().assert_running();
}

#[test]
fn a_restore_that_is_killed_at_any_write_goes_on() {
    for (options, effective) in [
        (from("20260102T030405Z"), false),
        (from("20260102T030405Z"), true),
        (to(MOMENT), false),
        (to(MOMENT), true),
    ] {
        let mut killed = 0;
        for write in 1.. {
            let (account, _) = Account::damaged();
            {
                let mut state = account.state.borrow_mut();
                state.fails = Some((state.writes + write, effective));
                state.is_unready = true;
            }
            if account.restore(&options).is_ok() {
                break;
            }
            killed += 1;
            account.restore(&options).expect("the second run ends");
            account.state.borrow().assert_restored();
        }
        assert!(killed > 20, "{killed} writes");
    }
}

#[test]
fn a_killed_backup_leaves_no_function_stopped_after_a_repeat() {
    for write in 1.. {
        let account = Account::new();
        account.state.borrow_mut().fails = Some((write, true));
        let installation = account.installation();
        if installation.back_up(at(MOMENT)).is_ok() {
            assert!(write > 8, "{write} writes");
            return;
        }
        installation
            .back_up(at("2026-01-02T04:00:00Z"))
            .expect("a repeat");
        account.state.borrow().assert_running();
    }
}

#[test]
fn findings_keep_the_functions_stopped_unless_accepted() {
    let (account, backup) = Account::damaged();
    account.state.borrow_mut().finding = Some(Kind::HeldDiffers);
    let error = account
        .restore(&from(&backup))
        .expect_err("a finding")
        .to_string();
    assert_contains(
        &error,
        &["2 are missing", "--despite-findings", "before-restore-2026"],
    );
    assert!(account.state.borrow().is_stopped());
    let other = account.restore(&to(MOMENT)).expect_err("another restore");
    assert_eq!(other.exit_code(), 3);
    assert_contains(
        &other.to_string(),
        &[&format!("waybill restore --from {backup}")],
    );
    let accepted = Options {
        despite_findings: true,
        ..from(&backup)
    };
    account.restore(&accepted).expect("it is accepted");
    account.state.borrow().assert_restored();

    // Orders that were due or parked in the backup are so again.
    let (account, backup) = Account::damaged();
    account.state.borrow_mut().finding = Some(Kind::Overdue);
    account
        .restore(&from(&backup))
        .expect("no finding of the restore");
    account.state.borrow().assert_restored();
}

#[test]
fn a_deleted_table_is_restored_with_the_settings_in_its_backup() {
    let (account, backup) = Account::damaged();
    account.state.borrow_mut().tables.remove("w-users");
    account.restore(&from(&backup)).expect("it ends");
    let state = account.state.borrow();
    let users = &state.tables["w-users"];
    assert_eq!(
        (users.rows, users.expiry.as_deref()),
        ("of then", Some("expires_at"))
    );
    assert_eq!(users.recovery, json!({"PointInTimeRecoveryEnabled": true}));
}

#[test]
fn an_incomplete_backup_is_refused_before_anything_changes() {
    let (account, backup) = Account::damaged();
    account.state.borrow_mut().backups.pop();
    let writes = account.state.borrow().writes;
    for options in [from(&backup), from("none")] {
        let error = account.restore(&options).expect_err("it is refused");
        assert_eq!(error.exit_code(), 3, "{error}");
        assert_contains(&error.to_string(), &["of all 2 tables", "there are: none"]);
    }
    assert_eq!(account.state.borrow().writes, writes);
    let listed = listed(&account.installation().backups().expect("a list"));
    assert_contains(&listed, &["incomplete: w-orders AVAILABLE"]);
}

#[test]
fn a_plan_changes_nothing_and_names_each_step() {
    let (account, backup) = Account::damaged();
    let writes = account.state.borrow().writes;
    for options in [from(&backup), to(MOMENT)] {
        let plan = account.installation().plan(&options).expect("a plan");
        let parts = [
            "1. ",
            "stop 2 triggers and 2 other functions",
            "w-orders, w-users",
            "lost",
        ];
        assert_contains(&plan, &parts);
    }
    assert_eq!(account.state.borrow().writes, writes);
}
