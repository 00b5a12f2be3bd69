//! The components that services describe alike. contracts/openapi.yaml has their texts, and each service's
//! document repeats those that it uses.

use std::collections::BTreeMap;

/// The text of each component, by its reference.
fn components(document: &str) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let (mut section, mut name) = ("", "");
    for line in document.split_inclusive('\n') {
        let key = line.trim().split(':').next().unwrap_or_default();
        match line.len() - line.trim_start().len() {
            0 | 2 => (section, name) = (key, ""),
            4 => name = key,
            _ => {}
        }
        if !name.is_empty() {
            let reference = format!("#/components/{section}/{name}");
            found.entry(reference).or_default().push_str(line);
        }
    }
    found
}

/// The document with the shared texts of its components, and with those that it only refers to.
pub fn completed(document: &str, shared: &str) -> String {
    let shared = components(shared);
    let mut document = document.to_owned();
    for (reference, own) in components(&document) {
        if let Some(text) = shared.get(&reference) {
            document = document.replacen(&own, text, 1);
        }
    }
    loop {
        let own = components(&document);
        let is_missing = |reference: &str| {
            !own.contains_key(reference) && document.contains(&format!("\"{reference}\""))
        };
        let Some((reference, text)) = shared.iter().find(|(reference, _)| is_missing(reference))
        else {
            return document;
        };
        let section = reference.split('/').nth(2).unwrap_or_default();
        let section = format!("\n  {section}:\n");
        if !document.contains(&section) {
            document.push_str(&section[1..]);
        }
        document = document.replacen(&section, &format!("{section}{text}"), 1);
    }
}
