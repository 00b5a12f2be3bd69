//! The pages and documents that the function `site-default` answers. They are golden files below
//! functions/site/pages: `UPDATE_EXPECT=1 cargo test --workspace --test rules` writes them.

use std::collections::BTreeSet;

use expect_test::expect_file;
use test_support::template::workspace_root;
use xtask::problem_types::{ProblemType, all};

use crate::messages::bundled;
use crate::openapi::joined;
use crate::reference::{body, escaped, inline};
use crate::{files, read};

/// The sources of the pages' style and script stand beside the generated files.
const SOURCES: [&str; 2] = ["docs.css", "docs.js"];

/// Each generated file with its text.
fn generated() -> Vec<(String, String)> {
    let (api, messages) = (joined(), bundled());
    let json = |document| serde_json::to_string_pretty(document).unwrap() + "\n";
    let problems = all(&workspace_root()).unwrap();
    let mut pages = vec![
        ("openapi.json".to_owned(), json(&api)),
        ("asyncapi.json".to_owned(), json(&messages)),
        (
            "docs.html".to_owned(),
            page("", "Waybill API", &body(&api, &messages)),
        ),
        (
            "problems.html".to_owned(),
            page("", "Problem types", &index(&problems)),
        ),
    ];
    pages.extend(problems.iter().map(|kind| {
        let name = format!("problems/{}.html", kind.slug);
        (name, page("../", &kind.title, &problem(kind)))
    }));
    pages
}

/// The frame of a page. Its links are relative, because the API may be below a path.
fn page(root: &str, title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n<link rel=\"stylesheet\" href=\"{root}docs.css\">\n\
         <script src=\"{root}docs.js\" defer></script>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#main\">Skip to the content</a>\n{body}</body>\n</html>\n",
        escaped(title)
    )
}

fn index(problems: &[ProblemType]) -> String {
    let rows = problems.iter().map(|ProblemType { slug, status, title, .. }| {
        let title = escaped(title);
        format!("<tr><td>{status}</td><td><a href=\"problems/{slug}\">{slug}</a></td><td>{title}</td></tr>\n")
    });
    format!(
        "<main id=\"main\" tabindex=\"-1\">\n<h1>Problem types</h1>\n<p>An error has one of these types \
         (RFC 9457). <a href=\"docs\">The reference</a> shows the operations.</p>\n\
         <table>\n<thead><tr><th>status</th><th>type</th><th>title</th></tr></thead>\n<tbody>\n{}</tbody>\n\
         </table>\n</main>\n",
        rows.collect::<String>()
    )
}

fn problem(kind: &ProblemType) -> String {
    let ProblemType {
        slug,
        status,
        title,
        when,
        remedy,
    } = kind;
    format!(
        "<main id=\"main\" tabindex=\"-1\">\n<h1>{}</h1>\n<dl>\n<dt>Status</dt><dd>{status}</dd>\n\
         <dt><code>type</code></dt><dd><code>/problems/{slug}</code>, also \
         <code>urn:waybill:problem:{slug}</code></dd>\n<dt>When</dt><dd>{}</dd>\n<dt>What to do</dt><dd>{}</dd>\n\
         </dl>\n<p><a href=\"../problems\">All problem types</a>, <a href=\"../docs\">the reference</a></p>\n</main>\n",
        escaped(title),
        inline(when),
        inline(remedy)
    )
}

#[test]
fn the_served_pages_are_current() {
    let folder = workspace_root().join("functions/site/pages");
    let mut known: BTreeSet<String> = SOURCES.map(str::to_owned).into();
    for (name, text) in generated() {
        expect_file![folder.join(&name)].assert_eq(&text);
        known.insert(name);
    }
    for file in files(&folder) {
        let name = file.strip_prefix(&folder).unwrap().to_str().unwrap();
        assert!(known.contains(name), "no page is {name}");
    }
}

/// Links within a page, to other pages, and to files.
#[test]
fn every_link_of_a_page_leads_somewhere() {
    let pages = generated();
    for (name, text) in pages.iter().filter(|(name, _)| name.ends_with(".html")) {
        let ids: BTreeSet<&str> = values(text, " id=\"").collect();
        assert_eq!(
            ids.len(),
            values(text, " id=\"").count(),
            "{name} has an id twice"
        );
        for link in values(text, " href=\"").chain(values(text, " src=\"")) {
            let root = if name.contains('/') { "../" } else { "" };
            let is_there = match (link.strip_prefix('#'), link.strip_prefix(root)) {
                (Some(id), _) => ids.contains(id),
                (None, Some(link)) => {
                    let is_file = |known: &str| known == link || known == format!("{link}.html");
                    SOURCES.contains(&link) || pages.iter().any(|(name, _)| is_file(name))
                }
                (None, None) => link == "data:,",
            };
            assert!(is_there || link == "data:,", "{name}: {link}");
        }
    }
}

fn values<'a>(text: &'a str, attribute: &'a str) -> impl Iterator<Item = &'a str> {
    let parts = text.split(attribute).skip(1);
    parts.map(|part| part.split('"').next().unwrap())
}

/// The policy of the pages allows no script, style or handler within them.
#[test]
fn pages_have_no_script_or_style_of_their_own() {
    for (name, text) in generated() {
        for forbidden in [
            "<script>",
            "<style",
            " style=",
            " onclick=",
            "javascript:",
            "http://",
            "https://",
        ] {
            let is_document = name.ends_with(".json");
            assert!(
                is_document || !text.contains(forbidden),
                "{name} has {forbidden}"
            );
        }
    }
    let script = read(&workspace_root().join("functions/site/pages/docs.js"));
    for forbidden in [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "eval(",
        "localStorage",
        "sessionStorage",
    ] {
        assert!(!script.contains(forbidden), "docs.js has {forbidden}");
    }
}
