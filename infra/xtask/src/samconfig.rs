//! The stages of samconfig.toml.

use std::collections::BTreeMap;
use std::fs;

use crate::error::{Context, Result};
use crate::project::Project;

/// The parameters of a table of samconfig.toml. Each list there is JSON as well as TOML.
pub fn parameters(project: &Project, table: &str) -> Result<BTreeMap<String, String>> {
    const FILE: &str = "samconfig.toml";
    let text = fs::read_to_string(project.root().join(FILE)).context(FILE)?;
    let missing = || format!("{FILE} has no parameter_overrides for {table}");
    let table = text.split(&format!("[{table}.deploy.parameters]")).nth(1);
    let list = table.and_then(|table| table.split("parameter_overrides =").nth(1));
    let list = list.context(missing())?;
    let mut values = serde_json::Deserializer::from_str(list).into_iter::<Vec<String>>();
    let pair = |entry: String| {
        let (name, value) = entry.split_once('=').context(format!("{FILE}: {entry}"))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    let values = values.next().context(missing())?.context(FILE)?;
    values.into_iter().map(pair).collect()
}
