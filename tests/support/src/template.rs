//! CloudFormation templates, as the tests read them.

use serde_json::{Map, Value, json};
use serde_yaml_ng::Value as Yaml;
use std::path::{Path, PathBuf};

/// The workspace's root: the nearest parent folder with a `Cargo.lock`.
pub fn workspace_root() -> PathBuf {
    let start = std::env::var("CARGO_MANIFEST_DIR")
        .unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    Path::new(&start)
        .ancestors()
        .find(|folder| folder.join("Cargo.lock").is_file())
        .unwrap_or_else(|| panic!("no Cargo.lock above {start}"))
        .to_owned()
}

/// The services, by name: the folders of `functions/` that hold a template.
pub fn services() -> Vec<String> {
    let folder = workspace_root().join("functions");
    let entries = std::fs::read_dir(&folder).expect("the workspace has functions");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("a folder that opened can be listed").path())
        .filter(|path| path.join("template.yaml").is_file())
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

/// A template with its short tags (`!Sub`) written out (`{"Fn::Sub": ...}`).
#[derive(Clone, Debug)]
pub struct Template {
    name: String,
    document: Value,
}

impl Template {
    /// `functions/<service>/template.yaml`.
    pub fn of_service(service: &str) -> Template {
        let name = format!("functions/{service}/template.yaml");
        let path = workspace_root().join(&name);
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{name} cannot be read: {error}"));
        Template::parse(&name, &text)
    }

    /// Parses a template; `name` appears in errors.
    pub fn parse(name: &str, text: &str) -> Template {
        let yaml: Yaml = serde_yaml_ng::from_str(text)
            .unwrap_or_else(|error| panic!("{name} is not YAML: {error}"));
        Template {
            name: name.to_owned(),
            document: to_json(&yaml),
        }
    }

    /// The whole document.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// The resources of a type, by logical id.
    pub fn logical_ids(&self, resource_type: &str) -> Vec<String> {
        let resources = self.document["Resources"].as_object();
        let resources = resources.into_iter().flatten();
        resources
            .filter(|(_, resource)| resource["Type"] == resource_type)
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// A resource's properties, with references resolved to parameter defaults and pseudo
    /// parameters.
    pub fn properties(&self, logical_id: &str, resource_type: &str) -> Value {
        let resource = &self.document["Resources"][logical_id];
        assert!(
            !resource.is_null(),
            "{} has no resource {logical_id}",
            self.name
        );
        assert_eq!(
            resource["Type"], resource_type,
            "{} has another type for {logical_id}",
            self.name
        );
        self.resolve(&resource["Properties"])
    }

    /// Replaces `Ref`, `Fn::Sub`, `Fn::Join` and `Fn::GetAtt` by text.
    pub fn resolve(&self, value: &Value) -> Value {
        match value {
            Value::Array(values) => values.iter().map(|value| self.resolve(value)).collect(),
            Value::Object(members) => self.function(members).unwrap_or_else(|| {
                members
                    .iter()
                    .map(|(name, value)| (name.clone(), self.resolve(value)))
                    .collect()
            }),
            scalar => scalar.clone(),
        }
    }

    fn function(&self, members: &Map<String, Value>) -> Option<Value> {
        let (name, argument) = members.iter().next().filter(|_| members.len() == 1)?;
        match (name.as_str(), argument) {
            ("Ref", Value::String(name)) => Some(self.reference(name)),
            ("Fn::GetAtt", Value::String(path)) => Some(json!(path)),
            ("Fn::GetAtt", Value::Array(path)) => {
                let path: Vec<&str> = path.iter().filter_map(Value::as_str).collect();
                Some(json!(path.join(".")))
            }
            ("Fn::Sub", Value::String(text)) => Some(json!(self.substitute(text, &Map::new()))),
            ("Fn::Sub", Value::Array(arguments)) => match arguments.as_slice() {
                [Value::String(text), Value::Object(local)] => {
                    Some(json!(self.substitute(text, local)))
                }
                _ => None,
            },
            ("Fn::Join", Value::Array(arguments)) => match arguments.as_slice() {
                [Value::String(separator), Value::Array(values)] => {
                    let values: Vec<String> = values
                        .iter()
                        .map(|value| text(&self.resolve(value)))
                        .collect();
                    Some(json!(values.join(separator)))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// A parameter's default, a pseudo parameter, or a resource's logical id.
    fn reference(&self, name: &str) -> Value {
        match name {
            "AWS::Region" => json!("us-east-1"),
            "AWS::AccountId" => json!("123456789012"),
            "AWS::Partition" => json!("aws"),
            "AWS::URLSuffix" => json!("amazonaws.com"),
            "AWS::StackName" => json!("waybill"),
            _ => match &self.document["Parameters"][name]["Default"] {
                Value::Null => json!(name),
                default => default.clone(),
            },
        }
    }

    fn substitute(&self, template: &str, local: &Map<String, Value>) -> String {
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, tail) = after
                .split_once('}')
                .unwrap_or_else(|| panic!("{}: unclosed ${{ in {template:?}", self.name));
            out.push_str(before);
            match (name.strip_prefix('!'), local.get(name)) {
                (Some(literal), _) => out.push_str(&format!("${{{literal}}}")),
                (None, Some(value)) => out.push_str(&text(&self.resolve(value))),
                (None, None) => out.push_str(&text(&self.reference(name))),
            }
            rest = tail;
        }
        out.push_str(rest);
        out
    }
}

/// The CreateTable request for a table of the template: its keys and indexes, on demand.
pub(crate) fn create_table_request(template: &Template, logical_id: &str) -> Value {
    let table = template.properties(logical_id, "AWS::DynamoDB::Table");
    let mut request = pick(&table, &["TableName", "AttributeDefinitions", "KeySchema"]);
    for kind in ["GlobalSecondaryIndexes", "LocalSecondaryIndexes"] {
        if let Some(indexes) = table[kind].as_array() {
            request[kind] = indexes
                .iter()
                .map(|index| pick(index, &["IndexName", "KeySchema", "Projection"]))
                .collect();
        }
    }
    request["BillingMode"] = json!("PAY_PER_REQUEST");
    if request["TableName"].is_null() {
        request["TableName"] = json!(logical_id);
    }
    request
}

fn pick(from: &Value, names: &[&str]) -> Value {
    names
        .iter()
        .filter(|name| !from[**name].is_null())
        .map(|name| ((*name).to_owned(), from[*name].clone()))
        .collect()
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn to_json(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(flag) => json!(flag),
        Yaml::Number(number) => number
            .as_i64()
            .map_or_else(|| json!(number.as_f64()), |integer| json!(integer)),
        Yaml::String(text) => json!(text),
        Yaml::Sequence(values) => values.iter().map(to_json).collect(),
        Yaml::Mapping(members) => members
            .iter()
            .map(|(name, value)| (text(&to_json(name)), to_json(value)))
            .collect(),
        Yaml::Tagged(tagged) => {
            let tag = tagged.tag.to_string();
            let name = match tag.trim_start_matches('!') {
                name @ ("Ref" | "Condition") => name.to_owned(),
                name => format!("Fn::{name}"),
            };
            let mut function = Map::new();
            function.insert(name, to_json(&tagged.value));
            Value::Object(function)
        }
    }
}
