//! The reference of the API and its messages: one static page, made from the two documents.

use pulldown_cmark::{Options, Parser, html};
use serde_yaml_ng::Value as Yaml;

use crate::openapi::{examples, list, members, operations_of, resolved, text};

/// An entry of the contents, and the section to which it leads.
type Part = (String, String);

/// The page without its frame.
pub fn body(api: &Yaml, messages: &Yaml) -> String {
    let (mut contents, mut sections) = (String::new(), String::new());
    let mut add = |name: &str, about: String, parts: Vec<Part>| {
        let (entries, parts): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        contents += &format!("<h2>{name}</h2>\n<ul>\n{}</ul>\n", entries.concat());
        sections += &format!(
            "<h2 id=\"group-{name}\">{name}</h2>\n{about}{}",
            parts.concat()
        );
    };
    for tag in list(&api["tags"]) {
        let name = text(&tag["name"]);
        let operations = operations(api).filter(|found| text(&found.operation["tags"][0]) == name);
        let parts = operations.map(|found| found.part(api)).collect();
        add(name, prose(&tag["description"]), parts);
    }
    let answers = members(&api["components"]["responses"]).map(|(name, answer)| {
        let inner = prose(&answer["description"]) + &answer_body(api, answer);
        part(&format!("answer-{name}"), "", name, &inner)
    });
    let about = "<p>Several operations have these answers.</p>\n".to_owned();
    add("answers", about, answers.collect());
    add(
        "queues",
        prose(&messages["info"]["description"]),
        queues(messages),
    );
    let types = &api["components"]["schemas"];
    // A message's amount has the form of the API's, and its data stands beside the queue.
    let is_shown =
        |name: &str| types[name].is_null() && messages["components"]["messages"][name].is_null();
    let of_messages =
        members(&messages["components"]["schemas"]).filter(|(name, _)| is_shown(name));
    let types = members(types).chain(of_messages);
    add(
        "types",
        String::new(),
        types
            .map(|(name, schema)| type_part(name, schema))
            .collect(),
    );
    format!(
        "<nav aria-label=\"Contents\"><details open><summary>Contents</summary>\n\
         <label>Filter <input type=\"search\" id=\"filter\" autocomplete=\"off\"></label>\n{contents}</details></nav>\n\
         <main id=\"main\" tabindex=\"-1\">\n<h1>{}</h1>\n{}{ABOUT}{sections}</main>\n",
        escaped(text(&api["info"]["title"])),
        prose(&api["info"]["description"]),
    )
}

const ABOUT: &str = "<p>The base URL is <code class=\"base\">$url</code>. The same as documents: \
    <a href=\"openapi.json\">openapi.json</a>, <a href=\"asyncapi.json\">asyncapi.json</a>. \
    Errors: <a href=\"problems\">problem types</a>.</p>\n\
    <p id=\"session\" role=\"status\">You are not logged in. <a href=\"#logIn\">Log in</a> below to try the other \
    operations. This page keeps the token in memory only.</p>\n";

fn part(id: &str, mark: &str, title: &str, inner: &str) -> Part {
    let title = escaped(title);
    let marked = match mark {
        "" => title.clone(),
        mark => format!("<b class=\"{mark}\">{}</b> {title}", mark.to_uppercase()),
    };
    (
        format!("<li><a href=\"#{id}\">{marked}</a></li>\n"),
        format!("<section class=\"part\" id=\"{id}\"><h3>{title}</h3>\n{inner}</section>\n"),
    )
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

    fn part(&self, api: &Yaml) -> Part {
        let Self {
            path,
            method,
            operation,
            ..
        } = self;
        let mut inner = format!(
            "<p class=\"route\"><b class=\"{method}\">{}</b> <code>{}</code> <span>{}</span></p>\n{}",
            method.to_uppercase(),
            escaped(path),
            self.callers().0,
            prose(&operation["description"]),
        );
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
            inner += &samples(api, media);
        }
        inner += &format!("<h4>curl</h4>\n<pre>{}</pre>\n", self.curl(api));
        let answers = members(&operation["responses"]);
        let answers: String = answers
            .map(|(status, answer)| answer_of(api, status, answer))
            .collect();
        inner += &format!("<h4>Answers</h4>\n{answers}{}", self.form(api));
        part(self.id(), method, text(&operation["summary"]), &inner)
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
            let description = text(&described["description"]);
            let rest = markdown(description[first_sentence(description).len()..].trim());
            let inner = rest + &answer_body(api, described);
            format!(
                "<details class=\"answer\"{open}><summary>{summary}</summary>\n{inner}</details>\n"
            )
        }
    }
}

fn answer_body(api: &Yaml, answer: &Yaml) -> String {
    let mut inner = String::new();
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
        let problems: Vec<String> = examples(api, media)
            .filter_map(|example| text(&example["type"]).strip_prefix("/problems/"))
            .map(|slug| format!("<a href=\"problems/{slug}\">{slug}</a>"))
            .collect();
        let problems = joined([format!("as <code>{kind}</code>"), problems.join(", ")]);
        inner += &format!("<p>{} {problems}</p>\n", shown(&media["schema"]));
        inner += &samples(api, media);
    }
    inner
}

/// The queues. Replies to several services come by one queue.
fn queues(messages: &Yaml) -> Vec<Part> {
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
        let about = prose(&channels[0]["description"]);
        let inner = format!(
            "<p class=\"route\"><code>{}</code></p>\n{about}{sent}",
            escaped(address)
        );
        part(&format!("queue-{queue}"), "", queue, &inner)
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

fn type_part(name: &str, schema: &Yaml) -> Part {
    let kind = match schema["properties"].is_mapping() {
        true => String::new(),
        false => format!("<p>{}</p>\n", joined([shown(schema), limits(schema)])),
    };
    let samples: String = list(&schema["examples"]).map(sample).collect();
    let inner = format!(
        "{}{kind}{}{samples}",
        prose(&schema["description"]),
        fields(schema)
    );
    part(&format!("type-{name}"), "", name, &inner)
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

/// The examples of a body or an answer, each below its summary.
fn samples(api: &Yaml, media: &Yaml) -> String {
    let named = members(&media["examples"]).map(|(_, example)| {
        let example = resolved(api, example);
        let summary = prose(&example["summary"]);
        summary + &sample(&example["value"])
    });
    named.chain(media.get("example").map(sample)).collect()
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
