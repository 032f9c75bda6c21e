//! Reading a table of the tree key by key. What is wrong is noted with its line, and reading goes on.

use serde_saphyr::Spanned;

use super::tree::{Node, line};
use crate::config::Problem;

/// All that is wrong so far.
#[derive(Debug)]
pub(super) struct Problems {
    pub(super) file: String,
    pub(super) found: Vec<(u64, Problem)>,
}

/// A table and the keys that were asked for.
pub(super) struct Section<'a> {
    pub(super) path: String,
    pub(super) line: u64,
    entries: &'a [(Spanned<String>, Spanned<Node>)],
    known: Vec<&'static str>,
}

impl Problems {
    /// At a line; 0 is the file as a whole.
    pub(super) fn add(&mut self, line: u64, what: impl Into<String>, hint: impl Into<String>) {
        let place = if line == 0 { self.file.clone() } else { format!("{}:{line}", self.file) };
        self.found.push((line, Problem { place, what: what.into(), hint: hint.into() }));
    }

    /// Top down.
    pub(super) fn sorted(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|(line, _)| *line);
        self.found.into_iter().map(|(_, problem)| problem).collect()
    }
}

impl<'a> Section<'a> {
    /// The table that a node is; an empty one where it is nothing, or something else.
    pub(super) fn of(path: &str, node: &'a Spanned<Node>, problems: &mut Problems) -> Self {
        let entries = match &node.value {
            Node::Table(entries) => entries.as_slice(),
            Node::Null => &[],
            _ => {
                let name = if path.is_empty() { "the file" } else { path };
                problems.add(line(node), format!("{name} is no table"), "write KEY: VALUE lines, indented");
                &[]
            }
        };
        Self { path: path.to_owned(), line: line(node), entries, known: Vec::new() }
    }

    /// The value of a key; nothing is the same as absent.
    pub(super) fn value(&mut self, key: &'static str) -> Option<&'a Spanned<Node>> {
        self.known.push(key);
        let (_, value) = self.entries.iter().find(|(name, _)| name.value == key)?;
        (value.value != Node::Null).then_some(value)
    }

    /// The table at a key.
    pub(super) fn section(&mut self, key: &'static str, problems: &mut Problems) -> Option<Section<'a>> {
        let path = self.name(key);
        self.known.push(key);
        let (at, value) = self.entries.iter().find(|(name, _)| name.value == key)?;
        if value.value == Node::Null {
            return None;
        }
        let mut section = Section::of(&path, value, problems);
        section.line = line(at);
        Some(section)
    }

    /// Every key with its value.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a Spanned<String>, &'a Spanned<Node>)> + use<'a> {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    /// A text, with its line.
    pub(super) fn text(&mut self, key: &'static str, problems: &mut Problems) -> Option<(&'a str, u64)> {
        let value = self.value(key)?;
        match &value.value {
            Node::Text(text) if text.is_empty() => None,
            Node::Text(text) => Some((text, line(value))),
            _ => {
                problems.add(line(value), format!("{} is no text", self.name(key)), "put it in quotes");
                None
            }
        }
    }

    /// A truth value.
    pub(super) fn flag(&mut self, key: &'static str, problems: &mut Problems) -> Option<bool> {
        let value = self.value(key)?;
        if let Node::Bool(flag) = value.value {
            return Some(flag);
        }
        problems.add(line(value), format!("{} is neither true nor false", self.name(key)), "");
        None
    }

    /// Texts, each with its line.
    #[cfg(feature = "tls")]
    pub(super) fn texts(&mut self, key: &'static str, problems: &mut Problems) -> Vec<(&'a str, u64)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Node::List(list) = &value.value else {
            problems.add(line(value), format!("{} is no list", self.name(key)), "write [A, B]");
            return Vec::new();
        };
        let mut texts = Vec::with_capacity(list.len());
        for entry in list {
            if let Node::Text(text) = &entry.value {
                texts.push((text.as_str(), line(entry)));
            } else {
                let what = format!("an entry of {} is no text", self.name(key));
                problems.add(line(entry), what, "put it in quotes");
            }
        }
        texts
    }

    /// Keys that nobody asked for.
    pub(super) fn end(self, problems: &mut Problems) {
        for (key, _) in self.entries.iter().filter(|(key, _)| !self.known.contains(&key.value.as_str())) {
            let what = format!("{} is no key", self.name(&key.value));
            problems.add(line(key), what, format!("known here: {}", self.known.join(", ")));
        }
    }

    /// How a key of it is called in messages.
    pub(super) fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}
