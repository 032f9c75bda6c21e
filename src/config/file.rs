//! Reading a tree of TOML key by key: every key knows its place, and what nobody asks for is a problem.
//!
//! ```text
//! reader.section("limits", |section| section.number("calls", &mut calls, 1..=9))     [limits] and SIDETONE_LIMITS_CALLS
//! reader.list("tenants", |rule| rule.given("name"))                                   each [[tenants]]
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Problem;
use super::value::Value;

/// The whole configuration as it is written.
pub(super) struct Reader<'a> {
    name: &'a str,
    text: &'a str,
    root: &'a DeTable<'a>,
    variables: &'a BTreeMap<String, String>,
    /// Top-level names that are known.
    sections: Vec<&'static str>,
    /// Variables that stand for a key.
    understood: BTreeSet<String>,
    /// Problems by line; those of variables come first.
    problems: Vec<(usize, Problem)>,
    /// Every key that was asked for, as `section.key`.
    #[cfg(test)]
    pub(super) keys: BTreeSet<String>,
}

/// One table of it, and the variables that override it.
pub(super) struct Section<'r, 'a> {
    reader: &'r mut Reader<'a>,
    /// How its keys are called in messages: `limits`, `quality.codecs."PCMU"`.
    path: String,
    table: Option<&'a DeTable<'a>>,
    /// Where the table begins.
    line: usize,
    /// Beginning of the names of its variables; `None` where there are none.
    prefix: Option<String>,
    known: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    /// Reads everything that `fill` asks for, and returns all that is wrong, top down.
    pub(super) fn read(
        name: &str,
        text: &str,
        variables: &BTreeMap<String, String>,
        fill: impl FnOnce(&mut Reader<'_>),
    ) -> Vec<Problem> {
        let (root, errors) = DeTable::parse_recoverable(text);
        let mut reader = Reader {
            name,
            text,
            root: root.get_ref(),
            variables,
            sections: Vec::new(),
            understood: BTreeSet::new(),
            problems: Vec::new(),
            #[cfg(test)]
            keys: BTreeSet::new(),
        };
        for error in &errors {
            let line = error.span().map_or(0, |span| reader.line(&span));
            reader.problem(line, error.message().to_owned(), String::new());
        }
        // What could not be parsed would be missed, and be told as a problem of its own.
        fill(&mut reader);
        reader.unknown_sections();
        reader.unknown_variables();
        reader.problems.sort_by_key(|(line, _)| *line);
        reader.problems.into_iter().map(|(_, problem)| problem).collect()
    }

    /// A table of the top level.
    pub(super) fn section(&mut self, name: &'static str, read: impl FnOnce(&mut Section<'_, 'a>)) {
        let prefix = Some(format!("{PREFIX}{}_", name.to_ascii_uppercase()));
        let (table, line) = match self.top(name) {
            None => (None, 0),
            Some(value) => {
                let line = self.line(&value.span());
                if value.get_ref().is_table() {
                    (value.get_ref().as_table(), line)
                } else {
                    self.problem(line, format!("{name} is no table"), format!("write [{name}]"));
                    (None, line)
                }
            }
        };
        let section = Section { reader: self, path: name.into(), table, line, prefix, known: Vec::new() };
        section.read_with(read);
    }

    /// A table that no variable reaches into.
    fn table(&mut self, path: String, table: &'a DeTable<'a>, line: usize) -> Section<'_, 'a> {
        Section { reader: self, path, table: Some(table), line, prefix: None, known: Vec::new() }
    }

    /// Each table of a list of the top level.
    pub(super) fn list(&mut self, name: &'static str, mut read: impl FnMut(&mut Section<'_, 'a>)) {
        let Some(value) = self.top(name) else { return };
        let line = self.line(&value.span());
        let entries = value.get_ref().as_array().into_iter().flatten();
        let tables: Vec<_> =
            entries.filter_map(|entry| Some((entry.get_ref().as_table()?, entry.span()))).collect();
        if value.get_ref().as_array().is_none_or(|array| array.len() != tables.len()) {
            self.problem(line, format!("{name} is no list of tables"), format!("write [[{name}]]"));
        }
        for (table, span) in tables {
            let line = self.line(&span);
            self.table(name.into(), table, line).read_with(&mut read);
        }
    }

    fn top(&mut self, name: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.sections.push(name);
        self.root.get(name)
    }

    fn unknown_sections(&mut self) {
        for key in self
            .root
            .keys()
            .filter(|key| !self.sections.contains(&key.get_ref().as_ref()))
            .collect::<Vec<_>>()
        {
            let name = key.get_ref();
            let hint = suggestion(name, &self.sections);
            let line = self.line(&key.span());
            self.problem(line, format!("{name} is no section"), hint);
        }
    }

    /// Variables of a known section, or of one that is misspelt. Others may be meant for somebody else.
    fn unknown_variables(&mut self) {
        for name in self.variables.keys() {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            let Some((section, _)) = rest.split_once('_').filter(|_| !self.understood.contains(name)) else {
                continue;
            };
            if closest(&section.to_ascii_lowercase(), &self.sections).is_none() {
                continue;
            }
            let names: Vec<&str> = self.understood.iter().map(String::as_str).collect();
            let hint = suggestion(name, &names);
            let problem =
                Problem { place: name.clone(), what: "this variable stands for no key".into(), hint };
            self.problems.push((0, problem));
        }
    }

    /// The variables of the environment, others' too.
    pub(super) fn variables(&self) -> &'a BTreeMap<String, String> {
        self.variables
    }

    /// A variable that is not ours is not understood.
    pub(super) fn wrong_variable(&mut self, name: &str, hint: String) {
        let what = "it is not understood".into();
        self.problems.push((0, Problem { place: name.into(), what, hint }));
    }

    fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        1 + before.bytes().filter(|&byte| byte == b'\n').count()
    }

    fn problem(&mut self, line: usize, what: String, hint: String) {
        let place = if line == 0 { self.name.to_owned() } else { format!("{}:{line}", self.name) };
        self.problems.push((line, Problem { place, what, hint }));
    }
}

impl<'a> Section<'_, 'a> {
    /// Reads it to its end: a key that `read` does not ask for is told.
    fn read_with(mut self, read: impl FnOnce(&mut Self)) {
        read(&mut self);
        self.unknown_keys();
    }

    /// The value of a key, from its variable or else from the file; `None` when it is absent or wrong.
    pub(super) fn given<T: Value>(&mut self, key: &'static str) -> Option<T> {
        self.checked(key, |_| Ok(()))
    }

    /// The same, of a value that must also satisfy `check`; its error completes "limits.calls: ".
    pub(super) fn checked<T: Value>(
        &mut self,
        key: &'static str,
        check: impl FnOnce(&T) -> Result<(), String>,
    ) -> Option<T> {
        self.known.push(key);
        #[cfg(test)]
        self.reader.keys.insert(format!("{}.{key}", self.path));
        let in_file = self.table.and_then(|table| table.get(key));
        let variable = self.prefix.as_ref().map(|prefix| format!("{prefix}{}", key.to_ascii_uppercase()));
        let in_variable = variable.as_ref().and_then(|variable| self.reader.variables.get(variable));
        let read = match (in_variable, in_file) {
            (Some(text), _) => T::of_text(text.trim()),
            (None, Some(value)) => T::of_toml(value.get_ref()),
            (None, None) => {
                self.reader.understood.extend(variable);
                return None;
            }
        };
        let wrong = match read {
            None => format!("it must be {}", T::KIND),
            Some(value) => match check(&value) {
                Ok(()) => {
                    self.reader.understood.extend(variable);
                    return Some(value);
                }
                Err(wrong) => wrong,
            },
        };
        match (in_variable, variable) {
            (Some(text), Some(variable)) => {
                self.reader.understood.insert(variable.clone());
                let what = format!("{text:?} is not understood");
                self.reader.problems.push((0, Problem { place: variable, what, hint: wrong }));
            }
            _ => self.wrong(key, wrong),
        }
        None
    }

    /// A whole number within a range, put where it belongs.
    pub(super) fn number(&mut self, key: &'static str, to: &mut usize, range: RangeInclusive<u64>) {
        let given = self
            .checked(key, |number| within(number, &range))
            .and_then(|number| usize::try_from(number).ok());
        *to = given.unwrap_or(*to);
    }

    /// A list of texts, each of which is read on.
    pub(super) fn each<T: FromStr<Err: fmt::Display>>(&mut self, key: &'static str) -> Vec<T> {
        let texts: Vec<String> = self.given(key).unwrap_or_default();
        let mut values = Vec::new();
        for text in texts {
            match text.parse() {
                Ok(value) => values.push(value),
                Err(error) => self.wrong(key, format!("{text:?}: {error}")),
            }
        }
        values
    }

    /// A variable that others set, such as the service manager.
    pub(super) fn environment(&self, name: &str) -> Option<&str> {
        self.reader.variables.get(name).map(String::as_str)
    }

    /// The first of the directories that the service manager gives by this name.
    pub(super) fn of_unit(&self, name: &str) -> Option<PathBuf> {
        let first = self.environment(name)?.split(':').next()?;
        (!first.is_empty()).then(|| first.into())
    }

    /// Whether it has this key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Whether it has no other key than this one.
    pub(super) fn has_only(&self, key: &str) -> bool {
        self.table.is_none_or(|table| table.keys().all(|other| other.get_ref() == key))
    }

    /// Each table inside the table `key`, with its name.
    pub(super) fn tables(&mut self, key: &'static str, mut read: impl FnMut(&str, &mut Section<'_, 'a>)) {
        self.known.push(key);
        let Some(value) = self.table.and_then(|table| table.get(key)) else { return };
        let Some(tables) = value.get_ref().as_table() else {
            return self.wrong(key, format!("write [{}.{key}.\"NAME\"]", self.path));
        };
        for (name, value) in tables {
            let path = format!("{}.{key}.{:?}", self.path, name.get_ref());
            let line = self.reader.line(&name.span());
            let Some(table) = value.get_ref().as_table() else {
                self.reader.problem(line, format!("{path} is no table"), format!("write [{path}]"));
                continue;
            };
            self.reader.table(path, table, line).read_with(|section| read(name.get_ref(), section));
        }
    }

    /// Each table of a list inside this table.
    pub(super) fn list(&mut self, key: &'static str, mut read: impl FnMut(&mut Section<'_, 'a>)) {
        self.known.push(key);
        let Some(value) = self.table.and_then(|table| table.get(key)) else { return };
        let Some(entries) = value.get_ref().as_array() else {
            return self.wrong(key, format!("write [[{}.{key}]]", self.path));
        };
        for entry in entries {
            let Some(table) = entry.get_ref().as_table() else {
                self.wrong(key, format!("write [[{}.{key}]]", self.path));
                continue;
            };
            let line = self.reader.line(&entry.span());
            let path = format!("{}.{key}", self.path);
            self.reader.table(path, table, line).read_with(&mut read);
        }
    }

    /// A table of texts, or of lists of them; truth values and whole numbers stand for their texts.
    pub(super) fn pairs(&mut self, key: &'static str) -> Vec<(String, Vec<String>)> {
        self.known.push(key);
        #[cfg(test)]
        self.reader.keys.insert(format!("{}.{key}", self.path));
        let Some(value) = self.table.and_then(|table| table.get(key)) else { return Vec::new() };
        let one = |value: &DeValue<'_>| {
            let text = value.as_str().map(str::to_owned);
            text.or_else(|| value.as_bool().map(|truth| truth.to_string()))
                .or_else(|| value.as_integer().map(|number| number.as_str().to_owned()))
        };
        let several = |value: &DeValue<'_>| match value.as_array() {
            Some(list) => list.iter().map(|entry| one(entry.get_ref())).collect(),
            None => one(value).map(|text| vec![text]),
        };
        let pairs = value.get_ref().as_table().and_then(|table| {
            let pair = |(name, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| {
                let name: &std::borrow::Cow<'_, str> = name.get_ref();
                Some((name.to_string(), several(value.get_ref())?))
            };
            table.iter().map(pair).collect::<Option<Vec<_>>>()
        });
        pairs.unwrap_or_else(|| {
            self.wrong(key, "it must be a table of texts: { name = \"text\" }".into());
            Vec::new()
        })
    }

    /// What is wrong with another file that this one names.
    pub(super) fn elsewhere(&mut self, problems: Vec<Problem>) {
        let line = self.line;
        self.reader.problems.extend(problems.into_iter().map(|problem| (line, problem)));
    }

    /// The value of a key, or the table itself where it has no such key, is wrong.
    pub(super) fn wrong(&mut self, key: &str, why: String) {
        let span = self.table.and_then(|table| table.get(key)).map(Spanned::span);
        // What stands for a value that could not be parsed takes no space; that was told already.
        if span.as_ref().is_some_and(Range::is_empty) {
            return;
        }
        let line = span.map_or(self.line, |span| self.reader.line(&span));
        self.reader.problem(line, format!("{}.{key} is wrong", self.path), why);
    }

    /// The table lacks something, or contradicts itself.
    pub(super) fn incomplete(&mut self, what: &str, hint: &str) {
        let what = format!("{} {what}", self.path);
        self.reader.problem(self.line, what, hint.into());
    }

    fn unknown_keys(&mut self) {
        for key in self.table.into_iter().flat_map(DeTable::keys) {
            let name = key.get_ref();
            if !self.known.contains(&name.as_ref()) {
                let line = self.reader.line(&key.span());
                let hint = suggestion(name, &self.known);
                self.reader.problem(line, format!("{}.{name} is no key", self.path), hint);
            }
        }
    }
}

/// Whether a number lies within a range, for messages.
pub(super) fn within<T: PartialOrd + std::fmt::Display>(
    number: &T,
    range: &RangeInclusive<T>,
) -> Result<(), String> {
    if range.contains(number) {
        Ok(())
    } else {
        Err(format!("it must be between {} and {}", range.start(), range.end()))
    }
}

fn suggestion(name: &str, known: &[&str]) -> String {
    match closest(name, known) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("these are: {}", known.join(", ")),
    }
}

/// The known name that is at most a few typing errors away.
fn closest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let nearest = known.iter().map(|known| (edits(name.as_bytes(), known.as_bytes()), *known)).min()?;
    (nearest.0 <= nearest.1.len() / 3).then_some(nearest.1)
}

/// Insertions, deletions and replacements that make `a` of `b` (Levenshtein).
fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(b) {
            let replaced = diagonal + usize::from(from != to);
            diagonal = *cell;
            left = replaced.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

const PREFIX: &str = "SIDETONE_";
