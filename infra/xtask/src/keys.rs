//! The keys that access tokens are signed and checked with, in the parameter store.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};
use shared_auth::{SigningKey, jwks};

use crate::account;
use crate::aws::Aws;
use crate::error::{Context, Error, Result};

const KEY_SET: &str = "/waybill/auth/jwks";
const SIGNING_KEY: &str = "/waybill/auth/signing-key";

/// The parameters of one key set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The public keys, which every template reads.
    pub set: String,
    /// The private key in use, which only the functions that issue tokens may read.
    pub signing: String,
    /// The private key to be used next, which no function may read. It stays when it has become
    /// the one in use, and then stands for none: what is never deleted cannot be lost.
    pub next: String,
    /// Since when what has held; nothing secret.
    pub record: String,
}

impl Default for Names {
    fn default() -> Self {
        Self::new(KEY_SET, SIGNING_KEY)
    }
}

impl Names {
    fn new(set: &str, signing: &str) -> Self {
        let folder = signing.rsplit_once('/').map_or("", |(folder, _)| folder);
        Self {
            set: set.to_owned(),
            signing: signing.to_owned(),
            next: format!("{folder}/next-signing-key"),
            record: format!("{folder}/rotation"),
        }
    }

    /// Those that the installation called `prefix` was deployed with, or the
    /// usual ones where nothing is deployed yet. Installations that share a key
    /// set share its rotation.
    pub fn of(aws: &Aws, prefix: &str) -> Result<Self> {
        let stacks = account::stacks(aws)?;
        let given = |key: &str| {
            stacks
                .iter()
                .filter(|stack| account::stack_parameter(stack, "Prefix") == Some(prefix))
                .filter_map(|stack| account::stack_parameter(stack, key))
                // The emulator shows the parameter's value in place of its name.
                .find(|value| value.starts_with('/'))
        };
        Ok(Self::new(
            given("AuthJwks").unwrap_or(KEY_SET),
            given("AuthSigningKeyParameter").unwrap_or(SIGNING_KEY),
        ))
    }
}

/// Whether a pair was there before.
#[derive(Debug, PartialEq, Eq)]
pub enum Pair {
    Made,
    Kept,
}

/// Makes a pair unless there is one. An existing one is never replaced: tokens
/// signed with a key that no function knows yet would be refused.
pub fn ensure(aws: &Aws, names: &Names) -> Result<Pair> {
    // The private half first and never over another: of two who do this at
    // once one makes it, and both publish its public half.
    let made = read(aws, &names.signing)?.is_none()
        && create(
            aws,
            &names.signing,
            &Content::secret(&SigningKey::generate()),
        )?;
    let published = read(aws, &names.set)?.is_none() && {
        let signing = signing_key(aws, &names.signing)?;
        create(
            aws,
            &names.set,
            &Content::open(jwks(&[signing.public_jwk()])),
        )?
    };
    Ok(if made || published {
        Pair::Made
    } else {
        Pair::Kept
    })
}

/// The public key set, as the templates will find it.
pub fn key_set(aws: &Aws) -> Result<Option<String>> {
    Ok(read(aws, KEY_SET)?.map(|parameter| parameter.value))
}

/// The ids of the keys in a set.
pub fn kids(set: &str) -> BTreeSet<String> {
    serde_json::from_str::<Value>(set)
        .ok()
        .and_then(|set| {
            let keys = set["keys"].as_array()?;
            Some(
                keys.iter()
                    .filter_map(|key| key["kid"].as_str())
                    .map(str::to_owned)
                    .collect(),
            )
        })
        .unwrap_or_default()
}

/// A parameter as it was when it was read. No `Debug`: the value may be a private key.
#[derive(Clone)]
pub struct Parameter {
    pub value: String,
    pub version: u64,
    pub since: Timestamp,
}

/// What a parameter is to hold.
pub struct Content {
    kind: &'static str,
    value: String,
    /// What encrypts it; the account's own key for parameters where none is named.
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

    pub fn secret(key: &SigningKey) -> Self {
        Self {
            kind: "SecureString",
            value: key.to_pkcs8_base64(),
            kms_key: None,
        }
    }

    /// Encrypted as the parameter `name` is.
    pub fn encrypted_like(mut self, aws: &Aws, name: &str) -> Result<Self> {
        let described = aws
            .call(
                "ssm",
                "DescribeParameters",
                json!({"ParameterFilters": [{"Key": "Name", "Values": [name]}]}),
            )
            .context(format!("looking at the parameter {name}"))?;
        self.kms_key = described["Parameters"][0]["KeyId"]
            .as_str()
            .map(str::to_owned);
        Ok(self)
    }

    fn put(&self, aws: &Aws, name: &str, over: bool) -> std::result::Result<u64, Refused> {
        let mut params = json!({
            "Name": name, "Type": self.kind, "Value": self.value, "Overwrite": over,
        });
        if let Some(key) = &self.kms_key {
            params["KeyId"] = json!(key);
        }
        match aws.call("ssm", "PutParameter", params) {
            Ok(answer) => Ok(answer["Version"].as_u64().unwrap_or_default()),
            Err(error) if error.code == "ParameterAlreadyExists" => Err(Refused::Exists),
            Err(error) => Err(Refused::Failed(Error::new(format!(
                "writing the parameter {name}: {error}"
            )))),
        }
    }
}

enum Refused {
    Exists,
    Failed(Error),
}

/// A parameter, decrypted.
pub fn read(aws: &Aws, name: &str) -> Result<Option<Parameter>> {
    let found = aws
        .find(
            "ssm",
            "GetParameter",
            json!({"Name": name, "WithDecryption": true}),
            "ParameterNotFound",
        )
        .context(format!("reading the parameter {name}"))?;
    let Some(found) = found else { return Ok(None) };
    let found = &found["Parameter"];
    let since = found["LastModifiedDate"].as_str().unwrap_or_default();
    Ok(Some(Parameter {
        value: found["Value"].as_str().unwrap_or_default().to_owned(),
        version: found["Version"].as_u64().unwrap_or_default(),
        since: since
            .parse()
            .context(format!("the date of the parameter {name}"))?,
    }))
}

/// The private key in the parameter `name`, which must be there.
pub fn signing_key(aws: &Aws, name: &str) -> Result<SigningKey> {
    let parameter = read(aws, name)?.context(format!(
        "there is no parameter {name}; make a key with cargo xtask keys create"
    ))?;
    SigningKey::from_pkcs8_base64(&parameter.value).context(format!("the parameter {name}"))
}

/// Writes a parameter that is not there; `false` if somebody else was first.
pub fn create(aws: &Aws, name: &str, content: &Content) -> Result<bool> {
    match content.put(aws, name, false) {
        Ok(_) => Ok(true),
        Err(Refused::Exists) => Ok(false),
        Err(Refused::Failed(error)) => Err(error),
    }
}

/// Writes a parameter that is as it was `seen`; `false` if somebody else was first, whose work is
/// kept.
///
/// The parameter store has no conditional write, but it numbers versions. A write that turns out to
/// have covered another, made since the look just before it, is taken back; unless a third has come
/// by then, who has seen this one and decided on it.
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

/// Writes a parameter whatever it was.
fn overwrite(aws: &Aws, name: &str, content: &Content) -> Result<u64> {
    content
        .put(aws, name, true)
        .map_err(|refused| match refused {
            Refused::Failed(error) => error,
            Refused::Exists => Error::new(format!("the parameter {name} cannot be replaced")),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_of_a_rotation_lie_beside_the_signing_key() {
        let names = Names::default();
        assert_eq!(names.next, "/waybill/auth/next-signing-key");
        assert_eq!(names.record, "/waybill/auth/rotation");
    }

    #[test]
    fn the_ids_of_a_set_are_those_of_its_keys() {
        let key = SigningKey::generate();
        assert_eq!(kids(&jwks(&[key.public_jwk()])), [key.kid()].into());
        assert_eq!(kids("not a set"), BTreeSet::new());
    }
}
