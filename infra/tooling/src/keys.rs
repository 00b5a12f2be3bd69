//! The keys that sign and check access tokens, in the parameter store.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};
use shared_auth::{SigningKey, jwks};

use crate::account;
use crate::aws::{Aws, Place, time};
use crate::error::{Context, Error, Result};

/// The account's default key of the parameter store. Every principal of the account can decrypt
/// with it.
pub const DEFAULT_KMS_KEY: &str = "alias/aws/ssm";

/// The names of one key set's parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The public keys, which every template reads.
    pub set: String,
    /// The current private key. Only functions that issue tokens may read it.
    pub signing: String,
    /// The next private key, which no function may read. It is never deleted; once it is the
    /// current key it has no meaning.
    pub next: String,
    /// The times of a rotation; not secret.
    pub record: String,
    /// The ARN of the KMS key that encrypts the private keys; not secret.
    pub kms_key: String,
}

impl Names {
    /// The names that the root template derives from a prefix.
    pub fn own(prefix: &str) -> Self {
        Self::in_folder(&format!("/{prefix}/auth"))
    }

    pub fn in_folder(folder: &str) -> Self {
        Self::new(&format!("{folder}/jwks"), &format!("{folder}/signing-key"))
    }

    pub fn new(set: &str, signing: &str) -> Self {
        let folder = signing.rsplit_once('/').map_or("", |(folder, _)| folder);
        Self {
            set: set.to_owned(),
            signing: signing.to_owned(),
            next: format!("{folder}/next-signing-key"),
            record: format!("{folder}/rotation"),
            kms_key: format!("{signing}-kms-arn"),
        }
    }

    /// The names that the installation `prefix` was deployed with, or its own names before its
    /// first deployment. Installations with a common key set have a common rotation.
    pub fn of(stacks: &[Value], prefix: &str) -> Self {
        let given = |key: &str| {
            stacks
                .iter()
                .filter(|stack| account::stack_parameter(stack, "Prefix") == Some(prefix))
                .filter_map(|stack| account::stack_parameter(stack, key))
                // The emulator returns the parameter's value instead of its name.
                .find(|value| value.starts_with('/'))
        };
        let own = Self::own(prefix);
        Self::new(
            given("AuthJwks").unwrap_or(&own.set),
            given("AuthSigningKeyParameter").unwrap_or(&own.signing),
        )
    }

    /// The names that `keys create` writes. An installation that uses another one's keys gets its
    /// own, for its next deployment.
    pub fn to_create(stacks: &[Value], prefix: &str) -> Self {
        let names = Self::of(stacks, prefix);
        if names.shared_with(stacks, prefix).is_empty() {
            names
        } else {
            Self::own(prefix)
        }
    }

    /// The other installations with these keys: each accepts the others' tokens.
    pub fn shared_with(&self, stacks: &[Value], prefix: &str) -> BTreeSet<String> {
        stacks
            .iter()
            .filter(|stack| {
                account::stack_parameter(stack, "AuthJwks") == Some(&self.set)
                    || account::stack_parameter(stack, "AuthSigningKeyParameter")
                        == Some(&self.signing)
            })
            .filter_map(|stack| account::stack_parameter(stack, "Prefix"))
            .filter(|other| *other != prefix)
            .map(str::to_owned)
            .collect()
    }

    /// The stacks whose functions issue tokens and cannot decrypt under this KMS key.
    pub fn unable_to_decrypt(&self, stacks: &[Value], kms_key: &str) -> Vec<String> {
        if kms_key == DEFAULT_KMS_KEY {
            return Vec::new();
        }
        stacks
            .iter()
            // The root stack has no AuthJwks; its nested stacks count.
            .filter(|stack| account::stack_parameter(stack, "AuthJwks").is_some())
            .filter(|stack| {
                account::stack_parameter(stack, "AuthSigningKeyParameter") == Some(&self.signing)
            })
            .filter(|stack| {
                // AWS returns the parameter's name, the emulator its value.
                !account::stack_parameter(stack, "AuthKmsKeyArn")
                    .is_some_and(|given| given == self.kms_key || given == kms_key)
            })
            .filter_map(|stack| stack["StackName"].as_str().map(str::to_owned))
            .collect()
    }

    /// The alias of the KMS key.
    fn alias(&self) -> String {
        let name = self.signing.trim_start_matches('/');
        let name = name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        format!("alias/{name}")
    }
}

/// A warning if other installations use the same keys, with the next step of each.
pub fn sharing(stacks: &[Value], prefix: &str) -> Option<String> {
    let names = Names::of(stacks, prefix);
    let mut installations = names.shared_with(stacks, prefix);
    if installations.is_empty() {
        return None;
    }
    installations.insert(prefix.to_owned());
    let all: Vec<&str> = installations.iter().map(String::as_str).collect();
    let mut output = format!(
        "{} share the keys in {}: each accepts administrator tokens of the others",
        all.join(" and "),
        names.set
    );
    for other in all {
        let own = Names::own(other);
        if own != names {
            output.push_str(&format!(
                ". For {other}: waybill keys create --aws --prefix {other}, then deploy it with \
                 AuthJwksParameter={} AuthSigningKeyParameter={} AuthIssuer={}",
                own.set,
                own.signing,
                issuer(other)
            ));
        }
    }
    Some(output)
}

/// The `iss` of an installation's tokens, as the root template derives it.
pub fn issuer(prefix: &str) -> String {
    format!("https://auth.{prefix}.example")
}

#[derive(Debug, PartialEq, Eq)]
pub enum Pair {
    Made,
    Kept,
}

/// Creates the KMS key and the key pair unless they exist. An existing pair is never replaced,
/// because functions would refuse tokens of a key they do not know. It is not encrypted again
/// either, because the parameter's history keeps the old version; a rotation replaces it.
pub fn ensure(aws: &Aws, names: &Names, kms_key: Option<&str>) -> Result<Pair> {
    let kms_key = ensure_kms_key(aws, names, kms_key)?;
    // The private half first, and never over an existing one: of two operators one creates it and
    // both publish its public half.
    let made = read(aws, &names.signing)?.is_none()
        && create(
            aws,
            &names.signing,
            &Content::secret(&SigningKey::generate(), kms_key),
        )?;
    let published = read(aws, &names.set)?.is_none() && {
        let signing = signing_key(aws, &names.signing)?;
        create(
            aws,
            &names.set,
            &Content::open(jwks(&[signing.public_jwk()])),
        )?
    };
    Ok(match made || published {
        true => Pair::Made,
        false => Pair::Kept,
    })
}

/// The ARN of the KMS key. If two operators create one at once, both use the first.
fn ensure_kms_key(aws: &Aws, names: &Names, given: Option<&str>) -> Result<String> {
    if kms_key(aws, names)?.is_none() {
        let arn = match given {
            Some(given) => usable(&described(aws, given)?.context(format!(
                "there is no KMS key {given} in this account and region"
            ))?)?,
            None => own_kms_key(aws, names)?,
        };
        create(aws, &names.kms_key, &Content::open(arn))?;
    }
    let noted = kms_key(aws, names)?.context(format!("{} is gone", names.kms_key))?;
    match given {
        Some(given) if given != noted => Err(Error::new(format!(
            "{} contains {noted}, not {given}; omit --kms-key, or delete that parameter first",
            names.kms_key
        ))),
        _ => Ok(noted),
    }
}

/// The ARN that [`ensure`] stored.
pub fn kms_key(aws: &Aws, names: &Names) -> Result<Option<String>> {
    Ok(read(aws, &names.kms_key)?.map(|parameter| parameter.value))
}

fn described(aws: &Aws, kms_key: &str) -> Result<Option<Value>> {
    let request = json!({"KeyId": kms_key});
    aws.find("kms", "DescribeKey", request, "NotFoundException")
        .context(format!("reading the KMS key {kms_key}"))
}

/// The ARN of a KMS key, if the parameter store can use it and the account controls its policy.
fn usable(described: &Value) -> Result<String> {
    let key = &described["KeyMetadata"];
    let wanted = [
        ("KeyManager", "CUSTOMER"),
        ("KeyState", "Enabled"),
        ("KeySpec", "SYMMETRIC_DEFAULT"),
        ("KeyUsage", "ENCRYPT_DECRYPT"),
    ];
    let arn = key["Arn"].as_str().context("the KMS key has no ARN")?;
    match wanted.iter().find(|(name, value)| key[*name] != *value) {
        None => Ok(arn.to_owned()),
        Some((name, value)) => Err(Error::new(format!(
            "the KMS key {arn} cannot be used: its {name} is {}, but must be {value}",
            key[*name]
        ))),
    }
}

/// The reason why the stored KMS key cannot be used.
pub fn kms_key_problem(aws: &Aws, kms_key: &str) -> Result<Option<String>> {
    Ok(match described(aws, kms_key)? {
        None => Some(format!("there is no KMS key {kms_key}")),
        Some(found) => usable(&found).err().map(|error| error.to_string()),
    })
}

fn own_kms_key(aws: &Aws, names: &Names) -> Result<String> {
    let alias = names.alias();
    if let Some(found) = described(aws, &alias)? {
        return usable(&found);
    }
    let description = format!("Encrypts {} and {}", names.signing, names.next);
    let policy = key_policy(&aws.place()?, names).to_string();
    let request = json!({"Description": description, "Policy": policy});
    let made = aws.call("kms", "CreateKey", request).map_err(|error| {
        let next = match error.is_transient() {
            true => format!(
                ". It may exist all the same: look in KMS for a new key with the description \
                     `{description}`, and pass its ARN with --kms-key"
            ),
            false => String::new(),
        };
        Error::new(format!("creating the KMS key: {error}{next}"))
    })?;
    let arn = usable(&made)?;
    let request = json!({"AliasName": alias, "TargetKeyId": arn});
    match aws.call("kms", "CreateAlias", request) {
        Ok(_) => Ok(arn),
        // Another operator was first. Theirs is used and this one is deleted, because it costs
        // money.
        Err(error) if error.is("AlreadyExistsException") => {
            let request = json!({"KeyId": arn, "PendingWindowInDays": 7});
            aws.call("kms", "ScheduleKeyDeletion", request)
                .context(format!("deleting the second KMS key {arn}"))?;
            usable(&described(aws, &alias)?.context(format!("{alias} is gone"))?)
        }
        Err(error) => Err(Error::new(format!(
            "naming the KMS key {arn} {alias}: {error}. Pass it with --kms-key"
        ))),
    }
}

/// Leaves all permissions to IAM, so a principal needs its own permission for each action. Only the
/// parameter store can decrypt, and only these two parameters.
fn key_policy(place: &Place, names: &Names) -> Value {
    let account = place.arn("iam", "", "root");
    let parameters = [&names.signing, &names.next]
        .map(|name| place.arn("ssm", &place.region, &format!("parameter{name}")));
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "AdministrationAsIamAllows",
                "Effect": "Allow",
                "Principal": {"AWS": account},
                "Action": [
                    "kms:CancelKeyDeletion", "kms:CreateAlias", "kms:DeleteAlias", "kms:DescribeKey",
                    "kms:DisableKey", "kms:EnableKey", "kms:EnableKeyRotation",
                    "kms:DisableKeyRotation", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus",
                    "kms:ListKeyPolicies", "kms:ListResourceTags", "kms:PutKeyPolicy",
                    "kms:ScheduleKeyDeletion", "kms:TagResource", "kms:UntagResource",
                    "kms:UpdateAlias", "kms:UpdateKeyDescription",
                ],
                "Resource": "*",
            },
            {
                "Sid": "SigningKeysThroughTheParameterStoreAsIamAllows",
                "Effect": "Allow",
                "Principal": {"AWS": account},
                // GenerateDataKey is for advanced parameters.
                "Action": ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"],
                "Resource": "*",
                "Condition": {"StringEquals": {
                    "kms:ViaService": format!("ssm.{}.amazonaws.com", place.region),
                    "kms:EncryptionContext:PARAMETER_ARN": parameters,
                }},
            },
        ],
    })
}

/// The KMS key of a secret parameter, as it was named.
pub fn encryption(aws: &Aws, name: &str) -> Result<String> {
    // A page may be empty without being the last.
    let described = aws
        .list(
            "ssm",
            "DescribeParameters",
            "Parameters",
            json!({"ParameterFilters": [{"Key": "Name", "Values": [name]}]}),
        )
        .context(format!("reading the parameter {name}"))?;
    let key = described.iter().find_map(|one| one["KeyId"].as_str());
    Ok(key
        .context(format!("AWS returned no KMS key for the parameter {name}"))?
        .to_owned())
}

/// A warning if the signing key is encrypted under the default key.
pub fn weakness(encryption: &str) -> Option<String> {
    (encryption == DEFAULT_KMS_KEY).then(|| {
        format!(
            "the signing key is encrypted under the account's default key ({DEFAULT_KMS_KEY}): \
             every principal of the account with ssm:GetParameter can read it. Next: waybill keys \
             create, deploy the templates, then waybill keys rotate --wait"
        )
    })
}

pub fn key_set(aws: &Aws, names: &Names) -> Result<Option<String>> {
    Ok(read(aws, &names.set)?.map(|parameter| parameter.value))
}

/// The ids of the keys in a set.
pub fn kids(set: &str) -> BTreeSet<String> {
    serde_json::from_str::<Value>(set)
        .ok()
        .iter()
        .flat_map(|set| set["keys"].as_array().into_iter().flatten())
        .filter_map(|key| key["kid"].as_str().map(str::to_owned))
        .collect()
}

/// A parameter as it was read. No `Debug`, because the value may be a private key.
#[derive(Clone)]
pub struct Parameter {
    pub value: String,
    pub version: u64,
    pub since: Timestamp,
}

/// The new value of a parameter.
pub struct Content {
    kind: &'static str,
    value: String,
    kms_key: Option<String>,
}

impl Content {
    pub fn open(value: String) -> Self {
        Self {
            kind: "String",
            value,
            kms_key: None,
        }
    }

    pub fn secret(key: &SigningKey, kms_key: String) -> Self {
        Self {
            kms_key: Some(kms_key),
            ..Self::encrypted(key.to_pkcs8_base64())
        }
    }

    /// Encrypted under the default key.
    pub fn encrypted(value: String) -> Self {
        Self {
            kind: "SecureString",
            ..Self::open(value)
        }
    }

    /// Writes the parameter and returns its version; `None` if it exists and `over` is false.
    fn put(&self, aws: &Aws, name: &str, over: bool) -> Result<Option<u64>> {
        let mut params = json!({
            "Name": name, "Type": self.kind, "Value": self.value, "Overwrite": over,
        });
        if let Some(key) = &self.kms_key {
            params["KeyId"] = json!(key);
        }
        match aws.call("ssm", "PutParameter", params) {
            Ok(answer) => Ok(Some(answer["Version"].as_u64().unwrap_or_default())),
            Err(error) if error.code == "ParameterAlreadyExists" => Ok(None),
            Err(error) => Err(error).context(format!("writing the parameter {name}")),
        }
    }
}

/// Reads a parameter and decrypts it.
pub fn read(aws: &Aws, name: &str) -> Result<Option<Parameter>> {
    let request = json!({"Name": name, "WithDecryption": true});
    let found = aws
        .find("ssm", "GetParameter", request, "ParameterNotFound")
        .context(format!("reading the parameter {name}"))?;
    let Some(found) = found else { return Ok(None) };
    let found = &found["Parameter"];
    Ok(Some(Parameter {
        value: found["Value"].as_str().unwrap_or_default().to_owned(),
        version: found["Version"].as_u64().unwrap_or_default(),
        since: time(&found["LastModifiedDate"])
            .context(format!("the parameter {name} has no date"))?,
    }))
}

/// Checks that a parameter exists, without decrypting it.
pub fn exists(aws: &Aws, name: &str) -> Result<bool> {
    let request = json!({"Name": name});
    let found = aws
        .find("ssm", "GetParameter", request, "ParameterNotFound")
        .context(format!("checking the parameter {name}"))?;
    Ok(found.is_some())
}

/// Reads an existing private key.
pub fn signing_key(aws: &Aws, name: &str) -> Result<SigningKey> {
    let parameter = read(aws, name)?.context(format!(
        "the parameter {name} is missing; create a key with waybill keys create"
    ))?;
    SigningKey::from_pkcs8_base64(&parameter.value).context(format!("the parameter {name}"))
}

/// Creates a parameter; `false` if it exists.
pub fn create(aws: &Aws, name: &str, content: &Content) -> Result<bool> {
    Ok(content.put(aws, name, false)?.is_some())
}

/// Overwrites a parameter that is still as `seen`; `false` if another operator was first, whose
/// value stays.
///
/// The parameter store has no conditional write, but it numbers versions. If this write covered
/// another one, it is undone, unless a third write has followed that saw this one.
pub fn replace(aws: &Aws, name: &str, seen: &Parameter, content: &Content) -> Result<bool> {
    let is_at = |version| Ok(read(aws, name)?.is_some_and(|now| now.version == version));
    if !is_at(seen.version)? {
        return Ok(false);
    }
    let version = overwrite(aws, name, content)?;
    if version <= seen.version + 1 {
        return Ok(true);
    }
    let covered = read(aws, &format!("{name}:{}", version - 1))?
        .context(format!("the version of {name} before {version}"))?;
    if covered.value == content.value {
        return Ok(true);
    }
    if is_at(version)? {
        let theirs = Content {
            value: covered.value,
            kind: content.kind,
            kms_key: content.kms_key.clone(),
        };
        overwrite(aws, name, &theirs)?;
    }
    Ok(false)
}

pub fn overwrite(aws: &Aws, name: &str, content: &Content) -> Result<u64> {
    let version = content.put(aws, name, true)?;
    version.context(format!("the parameter {name} cannot be replaced"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(name: &str, parameters: &[(&str, &str)]) -> Value {
        let parameters: Vec<Value> = parameters
            .iter()
            .map(|(key, value)| json!({"ParameterKey": key, "ParameterValue": value}))
            .collect();
        json!({"StackName": name, "Parameters": parameters})
    }

    /// The users stack of an installation with these keys.
    fn users(prefix: &str, folder: &str) -> Value {
        let (set, signing) = (format!("{folder}/jwks"), format!("{folder}/signing-key"));
        let given = [
            ("Prefix", prefix),
            ("AuthJwks", &set),
            ("AuthSigningKeyParameter", &signing),
        ];
        stack(&format!("{prefix}-users"), &given)
    }

    #[test]
    fn parameter_names_derive_from_the_prefix() {
        let names = Names::own("waybill");
        assert_eq!(names.set, "/waybill/auth/jwks");
        assert_eq!(names.signing, "/waybill/auth/signing-key");
        assert_eq!(names.next, "/waybill/auth/next-signing-key");
        assert_eq!(names.record, "/waybill/auth/rotation");
        assert_eq!(names.kms_key, "/waybill/auth/signing-key-kms-arn");
        assert_eq!(names.alias(), "alias/waybill-auth-signing-key");
    }

    #[test]
    fn a_new_prefix_has_its_own_keys() {
        let waybill = [users("waybill", "/waybill/auth")];
        let shop = Names::of(&waybill, "shop");
        assert_eq!(shop, Names::own("shop"));
        assert_ne!(shop.set, Names::of(&waybill, "waybill").set);
        assert_ne!(shop.alias(), Names::own("waybill").alias());
    }

    #[test]
    fn an_installation_keeps_its_deployed_keys() {
        let stacks = [users("shop", "/keys")];
        assert_eq!(Names::of(&stacks, "shop"), Names::in_folder("/keys"));
        assert_eq!(Names::to_create(&stacks, "shop").set, "/keys/jwks");
    }

    #[test]
    fn an_installation_with_shared_keys_can_get_its_own() {
        let stacks = [
            users("waybill", "/waybill/auth"),
            users("shop", "/waybill/auth"),
        ];
        for (prefix, other) in [("shop", "waybill"), ("waybill", "shop")] {
            let names = Names::of(&stacks, prefix);
            let others = names.shared_with(&stacks, prefix);
            assert_eq!(others, [other.to_owned()].into());
            let output = sharing(&stacks, prefix).expect("they share");
            assert!(
                output.contains("AuthJwksParameter=/shop/auth/jwks"),
                "{output}"
            );
            let created = Names::to_create(&stacks, prefix);
            assert_eq!(created, Names::own(prefix));
        }
        let apart = [
            users("waybill", "/waybill/auth"),
            users("shop", "/shop/auth"),
        ];
        assert_eq!(sharing(&apart, "shop"), None);
    }

    #[test]
    fn issuers_need_a_deployment_with_the_kms_key() {
        let names = Names::own("shop");
        let deployed = |given: Option<&str>| {
            let mut users = users("shop", "/shop/auth");
            if let (Some(given), Some(parameters)) = (given, users["Parameters"].as_array_mut()) {
                parameters.push(json!({"ParameterKey": "AuthKmsKeyArn", "ParameterValue": given}));
            }
            let root = [
                ("Prefix", "shop"),
                ("AuthSigningKeyParameter", &names.signing),
            ];
            [users, stack("shop", &root)]
        };
        let unable = |given, key| names.unable_to_decrypt(&deployed(given), key);
        assert_eq!(unable(None, "arn:key/a"), ["shop-users"]);
        assert_eq!(unable(Some("/other-kms-arn"), "arn:key/a"), ["shop-users"]);
        let none = Vec::<String>::new();
        assert_eq!(unable(Some(&names.kms_key), "arn:key/a"), none);
        assert_eq!(unable(Some("arn:key/a"), "arn:key/a"), none);
        assert_eq!(unable(None, DEFAULT_KMS_KEY), none);
    }

    #[test]
    fn only_the_parameter_store_decrypts() {
        let place = Place {
            partition: "aws".to_owned(),
            account: "123456789012".to_owned(),
            region: "eu-west-1".to_owned(),
        };
        let policy = key_policy(&place, &Names::own("shop"));
        let statements = policy["Statement"].as_array().expect("statements");
        for statement in statements {
            let account = json!({"AWS": "arn:aws:iam::123456789012:root"});
            assert_eq!(statement["Principal"], account);
            let actions: Vec<&str> = statement["Action"]
                .as_array()
                .expect("actions")
                .iter()
                .filter_map(Value::as_str)
                .collect();
            assert!(actions.iter().all(|one| !one.contains('*')), "{actions:?}");
            // Grants and re-encryption would bypass the conditions.
            for key in ["kms:Decrypt", "kms:CreateGrant", "kms:ReEncryptFrom"] {
                let conditional = !statement["Condition"].is_null();
                assert!(!actions.contains(&key) || conditional, "{key}");
            }
        }
        let parameter = "arn:aws:ssm:eu-west-1:123456789012:parameter/shop/auth";
        assert_eq!(
            statements[1]["Condition"],
            json!({"StringEquals": {
                "kms:ViaService": "ssm.eu-west-1.amazonaws.com",
                "kms:EncryptionContext:PARAMETER_ARN":
                    [format!("{parameter}/signing-key"), format!("{parameter}/next-signing-key")],
            }})
        );
    }

    #[test]
    fn only_an_enabled_symmetric_customer_key_is_usable() {
        let described = |name: &str, value: &str| {
            let mut key = json!({
                "Arn": "arn:key/a", "KeyManager": "CUSTOMER", "KeyState": "Enabled",
                "KeySpec": "SYMMETRIC_DEFAULT", "KeyUsage": "ENCRYPT_DECRYPT",
            });
            key[name] = json!(value);
            usable(&json!({"KeyMetadata": key}))
        };
        assert_eq!(
            described("KeyState", "Enabled").expect("it is good"),
            "arn:key/a"
        );
        for (name, value) in [
            ("KeyManager", "AWS"),
            ("KeyState", "PendingDeletion"),
            ("KeySpec", "ECC_NIST_P256"),
            ("KeyUsage", "SIGN_VERIFY"),
        ] {
            let error = described(name, value).expect_err(value).to_string();
            assert!(error.contains(value), "{error}");
        }
    }

    #[test]
    fn the_default_key_is_a_weakness() {
        let output = weakness(DEFAULT_KMS_KEY).expect("a weakness");
        assert!(output.contains("waybill keys rotate"), "{output}");
        assert_eq!(weakness("arn:key/a"), None);
    }

    #[test]
    fn a_set_has_the_ids_of_its_keys() {
        let key = SigningKey::generate();
        assert_eq!(kids(&jwks(&[key.public_jwk()])), [key.kid()].into());
        assert_eq!(kids("not a set"), BTreeSet::new());
    }
}
