//! The documents: links lead somewhere, sentences are plain and short, and commands exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Parser;
use pulldown_cmark::{CodeBlockKind, Event, Options, Tag, TagEnd};
use test_support::template::workspace_root;

use crate::words::UNCLEAR;
use crate::{files, read};

const LONGEST_SENTENCE: usize = 30;

struct Document {
    /// Below the project's root.
    path: String,
    text: String,
}

impl Document {
    fn all() -> Vec<Self> {
        let root = workspace_root();
        let top = std::fs::read_dir(&root).unwrap();
        let top = top.map(|entry| entry.unwrap().path());
        let docs = files(&root.join("docs"));
        let is_document = |path: &PathBuf| path.extension().is_some_and(|end| end == "md");
        let shown = |path: &Path| path.strip_prefix(&root).unwrap().display().to_string();
        docs.into_iter()
            .chain(top)
            .filter(is_document)
            .map(|path| Self {
                path: shown(&path),
                text: read(&path),
            })
            .collect()
    }

    fn events(&self) -> impl Iterator<Item = Event<'_>> {
        pulldown_cmark::Parser::new_ext(&self.text, Options::ENABLE_TABLES)
    }

    /// The anchors of its headings, as GitHub makes them.
    fn anchors(&self) -> BTreeSet<String> {
        let mut anchors = BTreeSet::new();
        let mut heading: Option<String> = None;
        for event in self.events() {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::End(TagEnd::Heading(_)) => {
                    anchors.extend(heading.take().map(|heading| slug(&heading)));
                }
                _ => {}
            }
        }
        anchors
    }

    /// Code blocks: the words after the fence, and the text.
    fn blocks(&self) -> Vec<(String, String)> {
        let mut blocks = Vec::new();
        let mut inside = false;
        for event in self.events() {
            match event {
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                    blocks.push((info.to_string(), String::new()));
                    inside = true;
                }
                Event::Text(text) if inside => blocks.last_mut().unwrap().1.push_str(&text),
                Event::End(TagEnd::CodeBlock) => inside = false,
                _ => {}
            }
        }
        blocks
    }

    /// Paragraphs, list items, headings and cells of tables; a piece of code counts as one word.
    fn prose(&self) -> Vec<String> {
        let mut texts = vec![String::new()];
        let mut is_code = false;
        for event in self.events() {
            match event {
                Event::Start(Tag::CodeBlock(_)) => is_code = true,
                Event::End(TagEnd::CodeBlock) => is_code = false,
                Event::Text(text) if !is_code => texts.last_mut().unwrap().push_str(&text),
                Event::Code(_) => texts.last_mut().unwrap().push_str("code"),
                Event::SoftBreak | Event::HardBreak => texts.last_mut().unwrap().push(' '),
                Event::Start(Tag::Paragraph | Tag::Item | Tag::Heading { .. } | Tag::TableCell)
                | Event::End(TagEnd::Paragraph | TagEnd::Item | TagEnd::TableCell) => {
                    texts.push(String::new());
                }
                _ => {}
            }
        }
        texts
    }
}

fn slug(heading: &str) -> String {
    let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
    let kept: String = heading.trim().chars().filter(kept).collect();
    kept.to_lowercase().replace(' ', "-")
}

fn sentences(text: &str) -> Vec<Vec<&str>> {
    let mut sentences = vec![Vec::new()];
    for word in text.split_whitespace() {
        sentences.last_mut().unwrap().push(word);
        let bare = word.trim_end_matches(['"', ')', '*', '\'']);
        if bare.ends_with(['.', '!', '?', ':', ';']) {
            sentences.push(Vec::new());
        }
    }
    sentences
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let documents = Document::all();
    let mut broken = Vec::new();
    for document in &documents {
        let folder = Path::new(&document.path).parent().unwrap();
        let links = document.events().filter_map(|event| match event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                Some(dest_url)
            }
            _ => None,
        });
        for link in links.filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let path = match file {
                "" => workspace_root().join(&document.path),
                file => workspace_root().join(folder).join(file),
            };
            let path = path.canonicalize().ok();
            let target = path.as_ref().and_then(|path| {
                let is_this = |other: &&Document| {
                    workspace_root()
                        .join(&other.path)
                        .canonicalize()
                        .ok()
                        .as_ref()
                        == Some(path)
                };
                documents.iter().find(is_this)
            });
            let is_there = match (anchor, target) {
                ("", _) => path.is_some(),
                (anchor, Some(target)) => target.anchors().contains(anchor),
                (_, None) => false,
            };
            if !is_there {
                broken.push(format!("{}: {link}", document.path));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn sentences_are_short_and_name_who_acts() {
    let mut found = Vec::new();
    for document in Document::all() {
        for text in document.prose() {
            for sentence in sentences(&text) {
                let shown = format!("{}: {}", document.path, sentence.join(" "));
                if sentence.len() > LONGEST_SENTENCE {
                    found.push(format!("{} words: {shown}", sentence.len()));
                }
                let bare = |word: &&str| {
                    word.trim_matches(|c: char| !c.is_alphabetic())
                        .to_lowercase()
                };
                if let Some(word) = sentence
                    .iter()
                    .map(bare)
                    .find(|word| UNCLEAR.contains(&word.as_str()))
                {
                    found.push(format!("{word}: {shown}"));
                }
                let is_question = sentence.last().is_some_and(|word| word.ends_with('?'));
                if sentence.len() > 4 && sentence[0] == "What" && !is_question {
                    found.push(format!("a clause with What as subject: {shown}"));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// `sh` is run by the system tests; of the others, only the tools' own commands are read.
#[test]
fn every_command_is_one_that_the_tools_know() {
    let mut unknown = Vec::new();
    for document in Document::all() {
        for (info, block) in document.blocks() {
            let words: Vec<&str> = info.split_whitespace().collect();
            match words[..] {
                ["sh", ref how @ ..] if matches!(how, [] | ["aws"] | ["slow"] | ["clients"]) => {}
                ["sh", ..] => unknown.push(format!("{}: a block of {info}", document.path)),
                _ => continue,
            }
            let joined = block.replace("\\\n", " ");
            for line in joined.lines() {
                if let Some(error) = refused(line) {
                    unknown.push(format!("{}: {line}\n{error}", document.path));
                }
            }
        }
    }
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
}

/// The tool's own complaint about a line that calls it. Variables and placeholders stand for texts.
pub fn refused(line: &str) -> Option<String> {
    let line = line.split(" #").next()?;
    let end = |start: usize| {
        line[start..]
            .find(['|', '&', ';', ')', '>'])
            .map_or(line.len(), |at| start + at)
    };
    let arguments = |name: &str| {
        let start = line.find(name)?;
        let words = line[start..end(start)].split_whitespace();
        let words = words.map(|word| word.trim_matches(['"', '\'']));
        // A variable may stand for an id.
        let valued = words.map(|word| match word.starts_with('$') {
            true => "00000000-0000-0000-0000-000000000000".to_owned(),
            false => word.to_owned(),
        });
        Some(valued.collect::<Vec<_>>())
    };
    let complaint = |error: clap::Error| match error.kind() {
        clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion => None,
        _ => Some(error.to_string()),
    };
    if let Some(words) = arguments("cargo xtask") {
        return xtask::cli::Cli::try_parse_from(&words[1..])
            .err()
            .and_then(complaint);
    }
    let words = arguments("cargo waybill").map(|words| words[1..].to_vec());
    let words = words
        .or_else(|| arguments("waybill ").filter(|_| line.trim_start().starts_with("waybill ")))?;
    ops::cli::Cli::try_parse_from(words)
        .err()
        .and_then(complaint)
}

#[test]
fn the_first_two_documents_are_short() {
    for (name, longest) in [("README.md", 150), ("ARCHITECTURE.md", 200)] {
        let lines = read(&workspace_root().join(name)).lines().count();
        assert!(
            lines <= longest,
            "{name} has {lines} lines, {longest} is the limit"
        );
    }
}
