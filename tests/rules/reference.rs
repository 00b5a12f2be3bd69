//! The reference of the API and its messages: one static page, made from the two documents.

use pulldown_cmark::{Options, Parser, html};
use serde_yaml_ng::Value as Yaml;

use crate::openapi::{examples, list, members, operations_of, resolved, text};

/// The page without its frame.
pub fn body(api: &Yaml, messages: &Yaml) -> String {
    let mut contents = String::new();
    let mut parts = String::new();
    for tag in list(&api["tags"]) {
        let name = text(&tag["name"]);
        let operations = operations(api).filter(|found| text(&found.operation["tags"][0]) == name);
        let (entries, sections): (Vec<_>, Vec<_>) = operations
            .map(|found| (found.entry(), found.section(api)))
            .unzip();
        contents += &group(name, &entries.concat());
        let about = prose(&tag["description"]);
        parts += &format!(
            "<h2 id=\"tag-{name}\">{name}</h2>\n{about}{}",
            sections.concat()
        );
    }
    let answers = members(&api["components"]["responses"]);
    let answers: String = answers
        .map(|(name, answer)| {
            let inner = answer_body(api, answer);
            format!(
                "<section class=\"part\" id=\"answer-{name}\"><h3>{}</h3>\n{inner}</section>\n",
                inline(first_sentence(text(&answer["description"])))
            )
        })
        .collect();
    parts += &format!("<h2 id=\"answers\">Answers of several operations</h2>\n{answers}");
    let (queues, sections): (Vec<_>, Vec<_>) = queues(messages).into_iter().unzip();
    contents += &group("queues", &queues.concat());
    parts += &format!(
        "<h2 id=\"queues\">Messages between the services</h2>\n{}{}",
        prose(&messages["info"]["description"]),
        sections.concat()
    );
    let types = &api["components"]["schemas"];
    // A message's amount has the form of the API's.
    let of_messages = members(&messages["components"]["schemas"]);
    let is_shown =
        |name: &str| types[name].is_null() && messages["components"]["messages"][name].is_null();
    let of_messages = of_messages.filter(|(name, _)| is_shown(name));
    let (entries, sections): (Vec<_>, Vec<_>) = members(types)
        .chain(of_messages)
        .map(|(name, schema)| {
            (
                entry(&format!("type-{name}"), "", name),
                type_section(name, schema),
            )
        })
        .unzip();
    contents += &group("types", &entries.concat());
    parts += &format!("<h2 id=\"types\">Types</h2>\n{}", sections.concat());
    format!(
        "<nav aria-label=\"Contents\"><details open><summary>Contents</summary>\n\
         <label>Filter <input type=\"search\" id=\"filter\" autocomplete=\"off\"></label>\n{contents}</details></nav>\n\
         <main id=\"main\" tabindex=\"-1\">\n<h1>{}</h1>\n{}{ABOUT}{parts}</main>\n",
        escaped(text(&api["info"]["title"])),
        prose(&api["info"]["description"]),
    )
}

const ABOUT: &str = "<p>The base URL is <code class=\"base\">$url</code>. The same as documents: \
    <a href=\"openapi.json\">openapi.json</a>, <a href=\"asyncapi.json\">asyncapi.json</a>. \
    Errors: <a href=\"problems\">problem types</a>.</p>\n\
    <p id=\"session\" role=\"status\">You are not logged in. <a href=\"#logIn\">Log in</a> below to try the other \
    operations. This page keeps the token in memory only.</p>\n";

fn group(name: &str, entries: &str) -> String {
    format!("<h2>{name}</h2>\n<ul>\n{entries}</ul>\n")
}

fn entry(id: &str, mark: &str, title: &str) -> String {
    let mark = match mark {
        "" => String::new(),
        mark => format!("<b class=\"{mark}\">{}</b> ", mark.to_uppercase()),
    };
    format!("<li><a href=\"#{id}\">{mark}{}</a></li>\n", escaped(title))
}

struct Operation<'a> {
    path: &'a str,
    method: &'a str,
    item: &'a Yaml,
    operation: &'a Yaml,
}

fn operations(api: &Yaml) -> impl Iterator<Item = Operation<'_>> {
    members(&api["paths"]).flat_map(|(path, item)| {
        operations_of(item).map(move |(method, operation)| Operation {
            path,
            method,
            item,
            operation,
        })
    })
}

impl Operation<'_> {
    fn id(&self) -> &str {
        text(&self.operation["operationId"])
    }

    fn entry(&self) -> String {
        entry(self.id(), self.method, text(&self.operation["summary"]))
    }

    fn parameters<'a>(&'a self, api: &'a Yaml) -> impl Iterator<Item = &'a Yaml> {
        let all = list(&self.item["parameters"]).chain(list(&self.operation["parameters"]));
        all.map(|parameter| resolved(api, parameter))
    }

    /// The permitted callers, and whether a token is sent.
    fn callers(&self) -> (&'static str, bool) {
        let security = serde_json::to_string(&self.operation["security"]).unwrap();
        match security.as_str() {
            "[]" => ("no access token", false),
            optional if optional.contains("{}") => ("access token optional", true),
            admins if admins.contains("admin") => ("access token of an administrator", true),
            _ => ("access token", true),
        }
    }

    /// The first example of the body.
    fn body<'a>(&'a self, api: &'a Yaml) -> Option<&'a Yaml> {
        let (_, media) = members(&self.operation["requestBody"]["content"]).next()?;
        examples(api, media).next()
    }

    fn section(&self, api: &Yaml) -> String {
        let Self {
            path,
            method,
            operation,
            ..
        } = self;
        let mut inner = prose(&operation["description"]);
        let parameters: String = self
            .parameters(api)
            .map(|parameter| {
                let place = format!(
                    "{}, {}",
                    text(&parameter["in"]),
                    presence(parameter["required"] == true)
                );
                definition(
                    text(&parameter["name"]),
                    &place,
                    &parameter["schema"],
                    &parameter["description"],
                )
            })
            .collect();
        if !parameters.is_empty() {
            inner += &format!("<h4>Parameters</h4>\n<dl>{parameters}</dl>\n");
        }
        for (kind, media) in members(&operation["requestBody"]["content"]) {
            inner += &format!(
                "<h4>Body: {} as <code>{kind}</code></h4>\n",
                shown(&media["schema"])
            );
            inner += &prose(&operation["requestBody"]["description"]);
            inner += &examples(api, media).map(sample).collect::<String>();
        }
        inner += &format!("<h4>curl</h4>\n<pre>{}</pre>\n", self.curl(api));
        let answers = members(&operation["responses"]);
        let answers: String = answers
            .map(|(status, answer)| answer_of(api, status, answer))
            .collect();
        inner += &format!("<h4>Answers</h4>\n{answers}{}", self.form(api));
        format!(
            "<section class=\"part\" id=\"{}\"><h3>{}</h3>\n<p class=\"route\"><b class=\"{method}\">{}</b> \
             <code>{}</code> <span>{}</span></p>\n{inner}</section>\n",
            self.id(),
            escaped(text(&operation["summary"])),
            method.to_uppercase(),
            escaped(path),
            self.callers().0,
        )
    }

    /// The required parameters and the first example of the body, as a command.
    fn curl(&self, api: &Yaml) -> String {
        let mut path = (*self.path).to_owned();
        for parameter in self
            .parameters(api)
            .filter(|parameter| parameter["in"] == "path")
        {
            let name = format!("{{{}}}", text(&parameter["name"]));
            path = path.replace(&name, &plain(&parameter["example"]));
        }
        let method = match (self.method, self.body(api)) {
            ("get", _) | ("post", Some(_)) => String::new(),
            (method, _) => format!("-X {} ", method.to_uppercase()),
        };
        let mut lines = vec![format!(
            "curl {method}<span class=\"base\">$url</span>{}",
            escaped(&path)
        )];
        if self.callers().1 {
            lines.push("-H \"authorization: Bearer $token\"".to_owned());
        }
        if let Some(example) = self.body(api) {
            lines.push("-H 'content-type: application/json'".to_owned());
            let example = serde_json::to_string(example)
                .unwrap()
                .replace('\'', "'\\''");
            lines.push(format!("-d '{}'", escaped(&example)));
        }
        lines.join(" \\\n  ")
    }

    /// Fields for the parameters and the body, with the example where a value is required.
    fn form(&self, api: &Yaml) -> String {
        let id = self.id();
        let inputs: String = self
            .parameters(api)
            .map(|parameter| {
                let (name, place) = (text(&parameter["name"]), text(&parameter["in"]));
                let example = escaped(&plain(&parameter["example"]));
                let value = match parameter["required"] == true {
                    true => format!("value=\"{example}\" required"),
                    false => format!("placeholder=\"{example}\""),
                };
                format!(
                    "<label>{name} <input name=\"{name}\" data-in=\"{place}\" {value}></label>\n"
                )
            })
            .collect();
        let body = self.body(api).map(|example| {
            let example = serde_json::to_string_pretty(example).unwrap();
            let rows = example.lines().count();
            format!("<label>Body <textarea name=\"body\" data-in=\"body\" rows=\"{rows}\" spellcheck=\"false\">{}</textarea></label>\n", escaped(&example))
        });
        let token = if self.callers().1 { " data-token" } else { "" };
        format!(
            "<details class=\"try\"><summary>Try it</summary>\n<form data-method=\"{}\" data-path=\"{}\"{token} \
             aria-label=\"Try {id}\">\n{inputs}{}<button>Send</button>\n<output></output></form></details>\n",
            self.method.to_uppercase(),
            escaped(self.path),
            body.unwrap_or_default(),
        )
    }
}

fn presence(is_required: bool) -> &'static str {
    if is_required { "required" } else { "optional" }
}

fn answer_of(api: &Yaml, status: &str, answer: &Yaml) -> String {
    let described = resolved(api, answer);
    let summary = format!(
        "<b>{status}</b> {}",
        inline(first_sentence(text(&described["description"])))
    );
    match answer["$ref"].as_str() {
        Some(reference) => {
            let name = reference.rsplit('/').next().unwrap();
            format!("<p class=\"answer\">{summary} <a href=\"#answer-{name}\">{name}</a></p>\n")
        }
        None => {
            let open = if status.starts_with('2') { " open" } else { "" };
            let inner = answer_body(api, described);
            format!(
                "<details class=\"answer\"{open}><summary>{summary}</summary>\n{inner}</details>\n"
            )
        }
    }
}

fn answer_body(api: &Yaml, answer: &Yaml) -> String {
    let description = text(&answer["description"]);
    let mut inner = markdown(description[first_sentence(description).len()..].trim());
    let headers: String = members(&answer["headers"])
        .map(|(name, header)| {
            let header = resolved(api, header);
            let place = format!(
                "header, {}",
                if header["required"] == true {
                    "always"
                } else {
                    "sometimes"
                }
            );
            definition(name, &place, &header["schema"], &header["description"])
        })
        .collect();
    if !headers.is_empty() {
        inner += &format!("<dl>{headers}</dl>\n");
    }
    for (kind, media) in members(&answer["content"]) {
        let problems: String = examples(api, media)
            .filter_map(|example| text(&example["type"]).strip_prefix("/problems/"))
            .map(|slug| format!(": <a href=\"problems/{slug}\">{slug}</a>"))
            .collect();
        inner += &format!(
            "<p>{} as <code>{kind}</code>{problems}</p>\n",
            shown(&media["schema"])
        );
        inner += &examples(api, media).map(sample).collect::<String>();
    }
    inner
}

/// The entries and sections of the queues. Replies to several services come by one queue.
fn queues(messages: &Yaml) -> Vec<(String, String)> {
    let mut addresses: Vec<&str> = members(&messages["channels"])
        .map(|(_, channel)| text(&channel["address"]))
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    let of_queue = |address: &str| {
        let queue = address.trim_start_matches("{prefix}-");
        let channels = members(&messages["channels"])
            .filter(|(_, channel)| text(&channel["address"]) == address);
        let channels: Vec<&Yaml> = channels.map(|(_, channel)| channel).collect();
        let sent = channels
            .iter()
            .flat_map(|channel| members(&channel["messages"]));
        let sent: String = sent
            .map(|(name, message)| message_part(messages, name, message))
            .collect();
        let section = format!(
            "<section class=\"part\" id=\"queue-{queue}\"><h3>{queue}</h3>\n<p class=\"route\"><code>{}</code></p>\n{}{sent}</section>\n",
            escaped(address),
            prose(&channels[0]["description"]),
        );
        (entry(&format!("queue-{queue}"), "", queue), section)
    };
    addresses.into_iter().map(of_queue).collect()
}

fn message_part(messages: &Yaml, name: &str, message: &Yaml) -> String {
    let message = resolved(messages, message);
    let data = &message["payload"]["allOf"][1]["properties"]["data"];
    let contract = resolved(messages, data);
    format!(
        "<h4>{name}</h4>\n{}<p>An <a href=\"#type-Envelope\">Envelope</a> with this <code>data</code>:</p>\n{}{}",
        prose(&contract["description"]),
        fields(contract),
        sample(&message["examples"][0]["payload"]),
    )
}

fn type_section(name: &str, schema: &Yaml) -> String {
    let kind = match schema["properties"].is_mapping() {
        true => String::new(),
        false => format!("<p>{}</p>\n", joined([shown(schema), limits(schema)])),
    };
    let samples: String = list(&schema["examples"]).map(sample).collect();
    format!(
        "<section class=\"part\" id=\"type-{name}\"><h3>{name}</h3>\n{}{kind}{}{samples}</section>\n",
        prose(&schema["description"]),
        fields(schema),
    )
}

/// The properties of an object, or of the objects in an array.
fn fields(schema: &Yaml) -> String {
    let required: Vec<&str> = list(&schema["required"]).map(text).collect();
    let properties: String = members(&schema["properties"])
        .map(|(name, property)| {
            let place = presence(required.contains(&name));
            definition(name, place, property, &property["description"])
        })
        .collect();
    match properties.is_empty() {
        true if schema["items"].is_mapping() => fields(&schema["items"]),
        true => String::new(),
        false => format!("<dl>{properties}</dl>\n"),
    }
}

fn definition(name: &str, place: &str, schema: &Yaml, description: &Yaml) -> String {
    let known = joined([shown(schema), limits(schema)]);
    format!(
        "<dt><code>{}</code> <span>{known}, {place}</span></dt>\n<dd>{}{}</dd>\n",
        escaped(name),
        prose(description),
        fields(schema),
    )
}

/// A schema's kind in words, with links to named types.
fn shown(schema: &Yaml) -> String {
    let any = |schemas: &Yaml, word: &str| {
        let kinds: Vec<String> = list(schemas)
            .map(shown)
            .filter(|kind| kind != "any")
            .collect();
        kinds.join(word)
    };
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap();
        return format!("<a href=\"#type-{name}\">{name}</a>");
    }
    if schema["anyOf"].is_sequence() {
        return any(&schema["anyOf"], " or ");
    }
    if schema["allOf"].is_sequence() {
        return any(&schema["allOf"], " and ");
    }
    if schema["enum"].is_sequence() {
        let values: Vec<String> = list(&schema["enum"]).map(code).collect();
        return values.join(", ");
    }
    if !schema["const"].is_null() {
        return code(&schema["const"]);
    }
    let kinds: Vec<&str> = match schema["type"].as_str() {
        Some(kind) => vec![kind],
        None => list(&schema["type"]).map(text).collect(),
    };
    match kinds[..] {
        [] => "any".to_owned(),
        ["array"] => format!("array of {}", shown(&schema["items"])),
        _ => joined([kinds.join(" or "), text(&schema["format"]).to_owned()]),
    }
}

fn limits(schema: &Yaml) -> String {
    let range = |low: &str, high: &str, unit: &str| {
        let (low, high) = (plain(&schema[low]), plain(&schema[high]));
        match (low.as_str(), high.as_str()) {
            ("", "") => String::new(),
            ("", high) => format!("at most {high}{unit}"),
            (low, "") => format!("at least {low}{unit}"),
            (low, high) => format!("{low} to {high}{unit}"),
        }
    };
    let named = |name: &str, value: &Yaml| match value.is_null() {
        true => String::new(),
        false => format!("{name} {}", code(value)),
    };
    joined([
        range("minimum", "maximum", ""),
        range("minLength", "maxLength", " characters"),
        range("minItems", "maxItems", " entries"),
        named("pattern", &schema["pattern"]),
        named("not", &schema["not"]["const"]),
        named("default", &schema["default"]),
    ])
}

fn joined<const N: usize>(parts: [String; N]) -> String {
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(", ")
}

fn code(value: &Yaml) -> String {
    format!("<code>{}</code>", escaped(&plain(value)))
}

/// A value without quotes; nothing for null.
fn plain(value: &Yaml) -> String {
    match value {
        Yaml::Null => String::new(),
        Yaml::String(text) => text.clone(),
        other => serde_json::to_string(other).unwrap(),
    }
}

fn sample(example: &Yaml) -> String {
    let example = serde_json::to_string_pretty(example).unwrap();
    format!("<pre>{}</pre>\n", escaped(&example))
}

fn first_sentence(text: &str) -> &str {
    let mut ends = text.match_indices('.').map(|(at, _)| at + 1);
    let end = ends.find(|end| text[*end..].starts_with(char::is_whitespace));
    &text[..end.unwrap_or(text.len())]
}

fn prose(description: &Yaml) -> String {
    markdown(text(description))
}

fn markdown(text: &str) -> String {
    let mut html = String::new();
    html::push_html(&mut html, Parser::new_ext(text, Options::ENABLE_TABLES));
    html
}

/// One paragraph of Markdown without its tags.
pub fn inline(text: &str) -> String {
    let html = markdown(text);
    html.trim()
        .trim_start_matches("<p>")
        .trim_end_matches("</p>")
        .to_owned()
}

pub fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}
