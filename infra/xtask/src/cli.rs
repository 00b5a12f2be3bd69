//! The command line: what can be asked for, parsed into one enum.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::dlq::{self, List, Redrive};
use crate::plant::Planting;
use crate::saga;
use crate::sim::{Simulation, Tier};

/// Where a command's AWS calls go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The developer's own stack on this machine.
    Local,
    /// The AWS account and region of the environment (profile, role, variables).
    Account,
}

/// What is to be done with the keys that access tokens are signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeysAction {
    List,
    Create {
        /// The KMS key that is to encrypt them, in place of one that is made.
        kms_key: Option<String>,
    },
    Rotate {
        /// To the end, through the waits.
        wait: bool,
        /// Without the waits, which ends tokens.
        retire_now: bool,
    },
}

#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Up {
        port: Option<u16>,
    },
    Down {
        wipe: bool,
    },
    Status,
    Logs {
        service: Option<String>,
        follow: bool,
    },
    Url,
    Env,
    Watch {
        arguments: Vec<String>,
    },
    Bundle {
        x86_64: bool,
    },
    Demo,
    Test {
        fast: bool,
    },
    Mutants {
        arguments: Vec<String>,
    },
    AdminGrant {
        email: String,
        target: Target,
        prefix: String,
    },
    Keys {
        action: KeysAction,
        target: Target,
        prefix: String,
    },
    Preflight {
        /// Values of the templates' parameters.
        given: Vec<(String, String)>,
        target: Target,
        prefix: String,
    },
    Sweep {
        target: Target,
        prefix: String,
    },
    Saga {
        action: saga::Action,
        target: Target,
        prefix: String,
    },
    Dlq {
        action: dlq::Action,
        target: Target,
        prefix: String,
    },
    Audit {
        target: Target,
        prefix: String,
    },
    Sim(Simulation),
    Plant(Planting),
    Help,
}

pub const HELP: &str = "\
cargo xtask: the developer's and operator's command

The local stack
  up [--port N]         build, start, deploy and seed everything that changed; print what to try
  down [--wipe]         stop it and keep its state; --wipe forgets the state too
  status                stacks, functions, queue depths and the emulator's health
  logs [SERVICE] [-f]   what the functions printed; -f goes on printing
  url                   print the base URL and nothing else
  env                   print `export X=...` lines: the tables, queues and keys of the stack
  watch [ARGUMENTS]     `cargo lambda watch` against the same tables and queues
  demo                  orders that end every way, their timelines, and the balance of stock and money
  sweep                 run the deadline sweeper once, now

For AWS
  bundle [--x86_64]     build the functions, small and for arm64, where the templates look for them

  preflight [NAME=VALUE...]
                        with --aws: whether the account, its quotas and its keys fit the templates, with
                        these values of their parameters; ends with 0: they do; 1: something does not

Operating it (here, or with --aws [--prefix NAME] in the AWS account of the environment)
  admin grant EMAIL     make a registered user an administrator
  keys list             the keys that access tokens are signed with, and what their rotation waits for
  keys create [--kms-key ARN]
                        make a KMS key, a signing key encrypted under it and its public key set, each if
                        there is none; --kms-key takes a KMS key that is there
  keys rotate [--wait]  do what is due of a rotation: publish the next key, sign with it, retire the old;
                        --wait goes on to the end; --retire-now asks, then keeps no wait: for a leaked key
  sweep                 as above
  saga ls [--stuck]     the orders that have not ended, and each one's next move; --stuck: parked or overdue
  saga ls --never-due   those that the sweeper cannot find, by a scan of the whole table
  saga retry ORDER      ask for the step an order is at now, with all its attempts before it
  saga abandon ORDER refund|release --reason TEXT
                        go on without a parked refund or release that is settled by hand
  dlq ls [--all] [--order ORDER]
                        what failed for good, by queue, type and error; --all: every id, with its order
  dlq show ID [--raw]   a message, its error, its order and its timeline; long lines are cut, control
                        characters are visible; --raw: all of the message as JSON, to a file or pipe
  dlq redrive [--queue QUEUE] [--max N] [--order ORDER | --id ID] [--unparseable] [--dry-run]
                        send messages back to where they failed
  dlq drop ID|--order ORDER
                        print a message whole and delete it, where it must never be sent back
  audit                 reconcile stock and money over all four services; ends with 0: everything balances;
                        1: something does not; 2: cannot tell; 3: it could not be carried out

Tests
  test [--fast]         format, lints, tests, templates, then the whole system on a stack of its own;
                        --fast leaves the system out
  sim [--from SEED] [--seeds N] [--tier engine|pure|exhaustive] [OPTIONS]
                        the services under every fault: N worlds of the production handlers (1000), eleven
                        times as many of their decisions alone, and every order of a few events;
                        `sim --tier engine --help` has the options that replay and narrow down a failure
  plant [NAME...] [--list] [--seeds N] [--pure-seeds N]
                        bugs on purpose, one at a time, in a copy below target/: whether the simulation's
                        engine (2000 seeds) and pure (5000) tiers find them, and after how many orders
  mutants [ARGUMENTS]   `cargo mutants`: changes what decides, one place at a time; a test has to notice
  help                  this text
";

/// What is deleted is named by so much of its id at least.
const MIN_ID: usize = 8;

const DEFAULT_PREFIX: &str = "waybill";
const DEFAULT_SEEDS: u64 = 1000;
const DEFAULT_PLANT_SEEDS: u64 = 2000;
const DEFAULT_PLANT_PURE_SEEDS: u64 = 5000;

/// Parses what follows `cargo xtask`. The error is a sentence to print.
pub fn parse<I>(arguments: I) -> Result<Command, String>
where
    I: IntoIterator<Item = String>,
{
    let mut arguments = arguments.into_iter();
    let name = arguments.next().unwrap_or_else(|| "help".to_owned());
    let mut rest = Arguments(arguments.collect());
    let verb = rest
        .0
        .first()
        .filter(|verb| !verb.starts_with('-'))
        .cloned();
    let command = match name.as_str() {
        "up" => Command::Up {
            port: rest
                .value("--port")?
                .map(|port| parse_port(&port))
                .transpose()?,
        },
        "down" => Command::Down {
            wipe: rest.flag("--wipe"),
        },
        "status" => Command::Status,
        "logs" => Command::Logs {
            follow: rest.flag("-f") || rest.flag("--follow"),
            service: rest.positional(),
        },
        "url" => Command::Url,
        "env" => Command::Env,
        "watch" => Command::Watch {
            arguments: std::mem::take(&mut rest.0),
        },
        "bundle" => Command::Bundle {
            x86_64: rest.flag("--x86_64"),
        },
        "demo" => Command::Demo,
        "test" => Command::Test {
            fast: rest.flag("--fast"),
        },
        "sim" => Command::Sim(parse_sim(&mut rest)?),
        "plant" => Command::Plant(parse_plant(&mut rest)?),
        "mutants" => Command::Mutants {
            arguments: std::mem::take(&mut rest.0),
        },
        "sweep" => {
            let (target, prefix) = rest.target()?;
            Command::Sweep { target, prefix }
        }
        "preflight" => {
            let (target, prefix) = rest.target()?;
            let given = std::iter::from_fn(|| rest.positional())
                .map(|argument| match argument.split_once('=') {
                    Some(("", _)) => {
                        Err(format!("`{argument}` names no parameter; write NAME=VALUE"))
                    }
                    Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
                    None => Err(format!("`{argument}` is no parameter; write NAME=VALUE")),
                })
                .collect::<Result<Vec<_>, _>>()?;
            let mut names = BTreeSet::new();
            if let Some((name, _)) = given.iter().find(|(name, _)| !names.insert(name)) {
                return Err(format!("`{name}` is given twice; give it one value"));
            }
            Command::Preflight {
                given,
                target,
                prefix,
            }
        }
        "audit" => {
            let (target, prefix) = rest.target()?;
            Command::Audit { target, prefix }
        }
        "saga" => {
            let (target, prefix) = rest.target()?;
            let action = parse_saga(&mut rest)?;
            Command::Saga {
                action,
                target,
                prefix,
            }
        }
        "dlq" => {
            let (target, prefix) = rest.target()?;
            let action = parse_dlq(&mut rest)?;
            Command::Dlq {
                action,
                target,
                prefix,
            }
        }
        "admin" => {
            let (target, prefix) = rest.target()?;
            match (rest.positional().as_deref(), rest.positional()) {
                (Some("grant"), Some(email)) => Command::AdminGrant {
                    email,
                    target,
                    prefix,
                },
                _ => return Err("say whom: cargo xtask admin grant EMAIL".to_owned()),
            }
        }
        "keys" => {
            let (target, prefix) = rest.target()?;
            let action = match rest.positional().as_deref() {
                Some("list") => KeysAction::List,
                Some("create") => KeysAction::Create {
                    kms_key: rest.value("--kms-key")?,
                },
                Some("rotate") => KeysAction::Rotate {
                    wait: rest.flag("--wait"),
                    retire_now: rest.flag("--retire-now"),
                },
                _ => return Err("say what: cargo xtask keys list, create or rotate".to_owned()),
            };
            Command::Keys {
                action,
                target,
                prefix,
            }
        }
        "help" | "--help" | "-h" => Command::Help,
        other => {
            return Err(format!(
                "there is no command `{other}`; see cargo xtask help"
            ));
        }
    };
    match rest.0.first() {
        None => Ok(command),
        Some(unknown) => {
            let verb = verb.filter(|verb| verb != unknown);
            let asked = verb.map_or(name.clone(), |verb| format!("{name} {verb}"));
            Err(format!(
                "`{asked}` does not take `{unknown}`; see cargo xtask help"
            ))
        }
    }
}

fn parse_sim(rest: &mut Arguments) -> Result<Simulation, String> {
    let tier = match rest.value("--tier")?.as_deref() {
        None | Some("all") => None,
        Some("engine") => Some(Tier::Engine),
        Some("pure") => Some(Tier::Pure),
        Some("exhaustive") => Some(Tier::Exhaustive),
        Some(other) => {
            return Err(format!(
                "there is no tier `{other}`; there are engine, pure and exhaustive"
            ));
        }
    };
    let from = rest.number("--from", 0)?;
    let seeds = rest.seeds("--seeds", DEFAULT_SEEDS)?;
    let options = std::mem::take(&mut rest.0);
    if tier.is_none() && !options.is_empty() {
        return Err(format!(
            "`{}` belongs to one tier; say which with --tier engine, pure or exhaustive",
            options[0]
        ));
    }
    Ok(Simulation {
        tier,
        from,
        seeds,
        options,
    })
}

fn parse_plant(rest: &mut Arguments) -> Result<Planting, String> {
    let list = rest.flag("--list");
    let seeds = rest.seeds("--seeds", DEFAULT_PLANT_SEEDS)?;
    let pure_seeds = rest.seeds("--pure-seeds", DEFAULT_PLANT_PURE_SEEDS)?;
    let names = std::iter::from_fn(|| rest.positional()).collect();
    Ok(Planting {
        names,
        list,
        seeds,
        pure_seeds,
    })
}

fn parse_saga(rest: &mut Arguments) -> Result<saga::Action, String> {
    // Before the positional ones, so that the reason's words are not taken for one.
    let reason = rest.value("--reason")?;
    let verb = rest.positional();
    let order = |rest: &mut Arguments| match rest.positional() {
        None => Err("say which order".to_owned()),
        Some(text) => Uuid::try_parse(&text).map_err(|_| format!("`{text}` is not an order's id")),
    };
    match (verb.as_deref(), reason) {
        (Some("ls"), None) => match (rest.flag("--stuck"), rest.flag("--never-due")) {
            (true, true) => Err(
                "`--stuck` and `--never-due` cannot be given together: the first reads the \
                 sweeper's index, the second finds what is not in it"
                    .to_owned(),
            ),
            (false, true) => Ok(saga::Action::NeverDue),
            (stuck, false) => Ok(saga::Action::List { stuck }),
        },
        (Some("retry"), None) => Ok(saga::Action::Retry {
            order: order(rest)?,
        }),
        (Some("abandon"), Some(reason)) => Ok(saga::Action::Abandon {
            order: order(rest)?,
            step: rest
                .positional()
                .and_then(|step| saga::Step::parse(&step))
                .ok_or("say which step: cargo xtask saga abandon ORDER refund|release")?,
            reason,
        }),
        (Some("abandon"), None) => Err(
            "say why: cargo xtask saga abandon ORDER refund|release --reason TEXT; the order's \
             timeline keeps it"
                .to_owned(),
        ),
        _ => Err(
            "say what: cargo xtask saga ls [--stuck|--never-due], retry ORDER or abandon ORDER \
             refund|release --reason TEXT"
                .to_owned(),
        ),
    }
}

fn parse_dlq(rest: &mut Arguments) -> Result<dlq::Action, String> {
    let queue = rest.value("--queue")?;
    let id = rest.value("--id")?;
    let max = rest.value("--max")?;
    let order = rest
        .value("--order")?
        .map(|text| Uuid::try_parse(&text).map_err(|_| format!("`{text}` is not an order's id")))
        .transpose()?;
    let verb = rest.positional();
    if verb.as_deref() != Some("redrive") && (queue.is_some() || id.is_some() || max.is_some()) {
        return Err("`--queue`, `--id` and `--max` go with `dlq redrive`".to_owned());
    }
    match (verb.as_deref(), order) {
        (Some("redrive"), Some(_)) if id.is_some() => {
            Err("`--id` names one message; leave out `--order`".to_owned())
        }
        (Some("redrive"), order) => Ok(dlq::Action::Redrive(Redrive {
            queue,
            max: max
                .map(|text| match text.parse() {
                    Ok(max) if max > 0 => Ok(max),
                    _ => Err(format!("`{text}` is not a number of messages")),
                })
                .transpose()?,
            dry_run: rest.flag("--dry-run"),
            id,
            order,
            unparseable: rest.flag("--unparseable"),
        })),
        (Some("ls"), order) => Ok(dlq::Action::List(List {
            all: rest.flag("--all"),
            order,
        })),
        (Some("drop"), Some(order)) => Ok(dlq::Action::DropOrder { order }),
        (Some("drop"), None) => match rest.positional() {
            Some(id) if id.len() < MIN_ID => Err(format!(
                "`{id}` is too short to delete a message by; give {MIN_ID} characters of its id or \
                 more; cargo xtask dlq ls has ids"
            )),
            Some(id) => Ok(dlq::Action::Drop { id }),
            None => {
                Err("say which: cargo xtask dlq drop ID; cargo xtask dlq ls has ids".to_owned())
            }
        },
        (Some("show"), None) => match rest.positional() {
            Some(id) => Ok(dlq::Action::Show {
                id,
                raw: rest.flag("--raw"),
            }),
            None => {
                Err("say which: cargo xtask dlq show ID; cargo xtask dlq ls has ids".to_owned())
            }
        },
        (Some("show"), Some(_)) => {
            Err("`dlq show` shows one message; cargo xtask dlq ls --order ORDER has ids".to_owned())
        }
        _ => Err("say what: cargo xtask dlq ls, show ID, redrive or drop ID".to_owned()),
    }
}

fn parse_port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(port) if port >= 1024 => Ok(port),
        _ => Err(format!("`{text}` is not a port from 1024 to 65535")),
    }
}

/// What has not been understood yet.
struct Arguments(Vec<String>);

impl Arguments {
    fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|argument| argument != name);
        self.0.len() < before
    }

    /// `--name value` or `--name=value`.
    fn value(&mut self, name: &str) -> Result<Option<String>, String> {
        let assigned = format!("{name}=");
        let Some(at) = self
            .0
            .iter()
            .position(|argument| argument == name || argument.starts_with(&assigned))
        else {
            return Ok(None);
        };
        let argument = self.0.remove(at);
        match argument.strip_prefix(&assigned) {
            Some(value) => Ok(Some(value.to_owned())),
            None if at < self.0.len() => Ok(Some(self.0.remove(at))),
            None => Err(format!("`{name}` needs a value")),
        }
    }

    fn number(&mut self, name: &str, default: u64) -> Result<u64, String> {
        match self.value(name)? {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| format!("`{name}` takes a whole number, not `{text}`")),
        }
    }

    /// How many worlds to look at.
    fn seeds(&mut self, name: &str, default: u64) -> Result<u64, String> {
        match self.number(name, default)? {
            0 => Err(format!("`{name} 0` would prove nothing; ask for 1 or more")),
            seeds => Ok(seeds),
        }
    }

    fn positional(&mut self) -> Option<String> {
        let at = self
            .0
            .iter()
            .position(|argument| !argument.starts_with('-'))?;
        Some(self.0.remove(at))
    }

    fn target(&mut self) -> Result<(Target, String), String> {
        let target = if self.flag("--aws") {
            Target::Account
        } else {
            Target::Local
        };
        match self.value("--prefix")? {
            None => Ok((target, DEFAULT_PREFIX.to_owned())),
            Some(_) if target == Target::Local => Err("`--prefix` goes with `--aws`".to_owned()),
            Some(prefix) => Ok((target, prefix)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn no_arguments_ask_for_help() {
        assert_eq!(parsed(""), Ok(Command::Help));
    }

    #[test]
    fn a_simulation_of_nothing_is_refused() {
        let refused = parsed("sim --seeds 0").expect_err("0 seeds pass whatever is broken");
        assert!(refused.contains("ask for 1 or more"), "{refused}");
        for line in ["sim", "sim --seeds 1 --from 0", "sim --tier pure --seeds 1"] {
            assert!(matches!(parsed(line), Ok(Command::Sim(_))), "{line}");
        }
    }

    #[test]
    fn bugs_are_planted_by_name_or_all_of_them() {
        let plant = |names: &[&str], list, seeds, pure_seeds| {
            Ok(Command::Plant(Planting {
                names: names.iter().map(|name| (*name).to_owned()).collect(),
                list,
                seeds,
                pure_seeds,
            }))
        };
        assert_eq!(parsed("plant"), plant(&[], false, 2000, 5000));
        assert_eq!(parsed("plant --list"), plant(&[], true, 2000, 5000));
        assert_eq!(
            parsed("plant a-bug --seeds 7 another --pure-seeds=9"),
            plant(&["a-bug", "another"], false, 7, 9)
        );
        for line in ["plant --seeds 0", "plant --pure-seeds 0", "plant --all"] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_port_is_taken_with_a_space_or_an_equals_sign() {
        assert_eq!(
            parsed("up --port 5000"),
            Ok(Command::Up { port: Some(5000) })
        );
        assert_eq!(
            parsed("up --port=5000"),
            Ok(Command::Up { port: Some(5000) })
        );
        assert_eq!(parsed("up"), Ok(Command::Up { port: None }));
    }

    #[test]
    fn a_port_that_is_missing_privileged_or_no_number_is_refused() {
        for line in [
            "up --port",
            "up --port 80",
            "up --port many",
            "up --port 70000",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }

    #[test]
    fn what_a_command_does_not_know_is_refused_by_name() {
        assert_eq!(
            parsed("down --whipe"),
            Err("`down` does not take `--whipe`; see cargo xtask help".to_owned())
        );
        assert!(parsed("fly").is_err());
    }

    #[test]
    fn logs_take_the_service_before_or_after_the_flag() {
        let expected = Ok(Command::Logs {
            service: Some("orders".to_owned()),
            follow: true,
        });
        assert_eq!(parsed("logs orders -f"), expected);
        assert_eq!(parsed("logs -f orders"), expected);
    }

    #[test]
    fn watch_passes_everything_on() {
        assert_eq!(
            parsed("watch --port 9001 -p users"),
            Ok(Command::Watch {
                arguments: ["--port", "9001", "-p", "users"]
                    .map(str::to_owned)
                    .to_vec()
            })
        );
    }

    #[test]
    fn mutants_pass_everything_on() {
        let arguments = ["-p", "orders"].map(str::to_owned).to_vec();
        assert_eq!(
            parsed("mutants -p orders"),
            Ok(Command::Mutants { arguments })
        );
    }

    #[test]
    fn keys_are_listed_created_and_rotated() {
        let keys = |action, target, prefix: &str| {
            Ok(Command::Keys {
                action,
                target,
                prefix: prefix.to_owned(),
            })
        };
        assert_eq!(
            parsed("keys list"),
            keys(KeysAction::List, Target::Local, "waybill")
        );
        let create = |kms_key: Option<&str>| KeysAction::Create {
            kms_key: kms_key.map(str::to_owned),
        };
        assert_eq!(
            parsed("keys create --aws"),
            keys(create(None), Target::Account, "waybill")
        );
        assert_eq!(
            parsed("keys create --kms-key arn:key/a --aws --prefix shop"),
            keys(create(Some("arn:key/a")), Target::Account, "shop")
        );
        let rotate = |wait, retire_now| KeysAction::Rotate { wait, retire_now };
        assert_eq!(
            parsed("keys rotate --wait --aws --prefix shop"),
            keys(rotate(true, false), Target::Account, "shop")
        );
        assert_eq!(
            parsed("keys rotate --retire-now"),
            keys(rotate(false, true), Target::Local, "waybill")
        );
        assert!(parsed("keys").is_err());
        assert!(parsed("keys list --wait").is_err());
        assert!(parsed("keys rotate --kms-key arn:key/a").is_err());
    }

    const ORDER: &str = "00000000-0000-0000-0000-000000000007";

    #[test]
    fn orders_in_flight_are_listed_retried_and_abandoned_for_a_reason() {
        let order = Uuid::from_u128(7);
        let saga = |action| {
            Ok(Command::Saga {
                action,
                target: Target::Account,
                prefix: "shop".to_owned(),
            })
        };
        let parsed_there = |line: &str| parsed(&format!("saga {line} --aws --prefix shop"));
        assert_eq!(
            parsed_there("ls --stuck"),
            saga(saga::Action::List { stuck: true })
        );
        assert_eq!(parsed_there("ls --never-due"), saga(saga::Action::NeverDue));
        assert_eq!(
            parsed_there(&format!("retry {ORDER}")),
            saga(saga::Action::Retry { order })
        );
        assert_eq!(
            parsed_there(&format!("abandon {ORDER} release --reason refunded")),
            saga(saga::Action::Abandon {
                order,
                step: saga::Step::Release,
                reason: "refunded".to_owned()
            })
        );
        let words = [
            "saga",
            "abandon",
            ORDER,
            "refund",
            "--reason",
            "paid back by hand",
        ];
        assert_eq!(
            parse(words.map(str::to_owned)),
            Ok(Command::Saga {
                action: saga::Action::Abandon {
                    order,
                    step: saga::Step::Refund,
                    reason: "paid back by hand".to_owned()
                },
                target: Target::Local,
                prefix: "waybill".to_owned()
            })
        );
        for line in [
            "saga",
            "saga abandon 00000000-0000-0000-0000-000000000007 --reason refunded",
            "saga abandon 00000000-0000-0000-0000-000000000007 charge --reason refunded",
            "saga retry",
            "saga retry seven",
            &format!("saga abandon {ORDER}"),
            &format!("saga retry {ORDER} --reason x"),
            "saga ls --all",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }

    #[test]
    fn dead_letters_are_listed_shown_and_sent_back() {
        let dlq = |action| {
            Ok(Command::Dlq {
                action,
                target: Target::Local,
                prefix: "waybill".to_owned(),
            })
        };
        let order = Some(Uuid::from_u128(7));
        assert_eq!(parsed("dlq ls"), dlq(dlq::Action::List(List::default())));
        assert_eq!(
            parsed(&format!("dlq ls --all --order {ORDER}")),
            dlq(dlq::Action::List(List { all: true, order }))
        );
        assert_eq!(
            parsed(&format!("dlq redrive --order {ORDER}")),
            dlq(dlq::Action::Redrive(Redrive {
                order,
                ..Redrive::default()
            }))
        );
        assert_eq!(
            parsed(&format!("dlq drop --order {ORDER}")),
            dlq(dlq::Action::DropOrder {
                order: Uuid::from_u128(7)
            })
        );
        assert_eq!(
            parsed("dlq show abc"),
            dlq(dlq::Action::Show {
                id: "abc".to_owned(),
                raw: false
            })
        );
        assert_eq!(
            parsed("dlq show --raw abc"),
            dlq(dlq::Action::Show {
                id: "abc".to_owned(),
                raw: true
            })
        );
        assert_eq!(
            parsed("dlq redrive --queue orders-replies --max 3 --dry-run"),
            dlq(dlq::Action::Redrive(Redrive {
                queue: Some("orders-replies".to_owned()),
                max: Some(3),
                dry_run: true,
                ..Redrive::default()
            }))
        );
        assert_eq!(
            parsed("dlq redrive --id abc --unparseable"),
            dlq(dlq::Action::Redrive(Redrive {
                id: Some("abc".to_owned()),
                unparseable: true,
                ..Redrive::default()
            }))
        );
        assert_eq!(
            parsed("dlq drop 0a1b2c3d"),
            dlq(dlq::Action::Drop {
                id: "0a1b2c3d".to_owned()
            })
        );
        let short = parsed("dlq drop 0a1b2c3").expect_err("it is too short to delete by");
        assert!(
            short.contains("`0a1b2c3`") && short.contains("8 characters"),
            "{short}"
        );
        for line in [
            "dlq",
            "dlq show",
            "dlq ls --raw",
            "dlq drop",
            "dlq drop a b",
            "dlq drop --order seven",
            &format!("dlq drop a --order {ORDER}"),
            &format!("dlq show --order {ORDER}"),
            &format!("dlq redrive --id a --order {ORDER}"),
            "dlq redrive --max 0",
            "dlq redrive --max many",
            "dlq ls --max 3",
            "dlq purge",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_preflight_looks_at_an_account() {
        let expected = Command::Preflight {
            given: vec![("Most".to_owned(), "2".to_owned())],
            target: Target::Account,
            prefix: "shop".to_owned(),
        };
        assert_eq!(parsed("preflight --aws --prefix shop Most=2"), Ok(expected));
        assert!(parsed("preflight --fix").is_err());
        for (line, says) in [
            ("preflight Most", "`Most` is no parameter"),
            ("preflight =2", "`=2` names no parameter"),
            ("preflight Most=2 Least=1 Most=3", "`Most` is given twice"),
        ] {
            let error = parsed(line).expect_err(line);
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn arguments_that_do_not_go_together_are_named() {
        let both = parsed("saga ls --stuck --never-due").expect_err("it is one or the other");
        assert!(both.contains("cannot be given together"), "{both}");
        let extra = parsed(&format!("saga retry {ORDER} {ORDER}8")).expect_err("one order");
        assert!(
            extra.contains(&format!("does not take `{ORDER}8`")),
            "{extra}"
        );
        assert!(extra.contains("`saga retry`"), "{extra}");
    }

    #[test]
    fn an_audit_is_taken_here_or_in_an_account() {
        let audit = |target, prefix: &str| {
            Ok(Command::Audit {
                target,
                prefix: prefix.to_owned(),
            })
        };
        assert_eq!(parsed("audit"), audit(Target::Local, "waybill"));
        assert_eq!(
            parsed("audit --aws --prefix shop"),
            audit(Target::Account, "shop")
        );
        assert!(parsed("audit --fix").is_err());
    }

    #[test]
    fn an_admin_is_granted_here_or_in_an_account() {
        assert_eq!(
            parsed("admin grant a@b.example"),
            Ok(Command::AdminGrant {
                email: "a@b.example".to_owned(),
                target: Target::Local,
                prefix: "waybill".to_owned()
            })
        );
        assert_eq!(
            parsed("admin grant a@b.example --aws --prefix shop"),
            Ok(Command::AdminGrant {
                email: "a@b.example".to_owned(),
                target: Target::Account,
                prefix: "shop".to_owned()
            })
        );
        assert!(parsed("admin grant").is_err());
        assert!(parsed("admin grant a@b.example --prefix shop").is_err());
    }
}
