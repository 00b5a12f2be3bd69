//! The stages of samconfig.toml, and the parameters by which they differ.

use std::collections::BTreeSet;

use serde_json::json;
use test_support::template::workspace_root;
use xtask::project::Project;
use xtask::samconfig::parameters;

use crate::{only_if, services, template};

#[test]
fn every_parameter_of_a_stage_is_one_of_the_root_template() {
    let project = Project::at(workspace_root());
    let root = template("template.yaml");
    let mut prefixes = BTreeSet::new();
    for stage in ["dev", "staging", "production"] {
        let given = parameters(&project, stage).unwrap();
        for (name, value) in &given {
            let parameter = &root.document()["Parameters"][name];
            assert!(parameter.is_object(), "{stage}: no template has {name}");
            if let Some(allowed) = parameter["AllowedValues"].as_array() {
                let plain = |allowed: &serde_json::Value| {
                    allowed.as_str().map_or(allowed.to_string(), str::to_owned)
                };
                let is_allowed = allowed.iter().any(|allowed| plain(allowed) == *value);
                assert!(is_allowed, "{stage}: {name}={value}");
            }
            if parameter["Type"] == "Number" {
                let value: u64 = value.parse().unwrap_or_else(|_| panic!("{stage}: {name}"));
                let bound = |name: &str| parameter[name].as_u64();
                assert!(
                    bound("MinValue").is_none_or(|least| least <= value),
                    "{stage}: {name}"
                );
                assert!(
                    bound("MaxValue").is_none_or(|most| value <= most),
                    "{stage}: {name}"
                );
            }
        }
        assert_eq!(given["Prefix"], format!("waybill-{stage}"));
        assert_eq!(given["Stage"], stage);
        prefixes.insert(given["Prefix"].clone());
    }
    // `waybill` commands take all names that begin with a prefix and a dash for one installation.
    for one in &prefixes {
        let inside = |other: &&String| other.starts_with(&format!("{one}-"));
        assert_eq!(prefixes.iter().find(inside), None, "{one}");
    }
}

/// An origin is a scheme, a host and a port (RFC 6454 §6.2). `*` would open the API to every page, and
/// local pages belong to no customer of production.
#[test]
fn a_stage_allows_named_origins_and_production_none() {
    let project = Project::at(workspace_root());
    let patterns = ["template.yaml", "infra/gateway/template.yaml"].map(|location| {
        let parameter = template(location).document()["Parameters"]["AllowedOrigins"].clone();
        assert_eq!(parameter["Default"], "", "{location}");
        parameter["AllowedPattern"].as_str().unwrap().to_owned()
    });
    let origin = "https?://[a-z0-9.-]+(:[0-9]+)?";
    assert_eq!(
        patterns,
        [(); 2].map(|()| format!("^({origin}(,{origin})*)?$"))
    );
    for stage in ["dev", "staging", "production"] {
        let given = parameters(&project, stage).unwrap();
        let origins = given.get("AllowedOrigins").map_or("", String::as_str);
        let is_local = |origin: &str| {
            let port = origin.strip_prefix("http://localhost:");
            port.is_some_and(|port| port.parse::<u16>().is_ok())
        };
        let is_right = match stage {
            "dev" => origins.split(',').all(is_local),
            _ => origins.is_empty(),
        };
        assert!(is_right, "{stage}: {origins}");
    }
}

#[test]
fn a_service_has_the_parameters_of_its_stage() {
    for service in services() {
        let name = &service.name;
        for (id, role) in service.resources("AWS::IAM::Role") {
            let boundary = json!({"Ref": "PermissionsBoundaryArn"});
            let written = &service.written(&id)["PermissionsBoundary"];
            assert_eq!(
                *written,
                only_if("RolesAreBounded", boundary),
                "{id}: {role}"
            );
        }
        for (id, _) in service.resources("AWS::Logs::LogGroup") {
            let days = &service.written(&id)["RetentionInDays"];
            assert_eq!(*days, json!({"Ref": "LogRetentionDays"}), "{id}");
        }
        for (id, table) in service.resources("AWS::DynamoDB::Table") {
            let protected = json!({"Fn::If": ["TableIsProtected", true, false]});
            assert_eq!(table["DeletionProtectionEnabled"], protected, "{id}");
        }
        let document = service.template.document();
        let memory = &document["Globals"]["Function"]["MemorySize"];
        assert_eq!(*memory, json!({"Ref": "MemorySize"}), "{name}");
        if !service.has_table() {
            continue;
        }
        let is_true = |parameter: &str| json!({"Fn::Equals": [{"Ref": parameter}, "true"]});
        let conditions = &document["Conditions"];
        assert_eq!(
            conditions["TableIsProtected"],
            is_true("DeletionProtection"),
            "{name}"
        );
        assert_eq!(
            conditions["TableIsRecoverable"],
            is_true("PointInTimeRecovery"),
            "{name}"
        );
        // A protected table cannot be rolled back.
        assert_eq!(
            document["Parameters"]["DeletionProtection"]["Default"], "false",
            "{name}"
        );
    }
}
