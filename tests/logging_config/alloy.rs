//! The syntax of Alloy, as far as it is written here: blocks with a dotted name and a label, attributes, and values that
//! are text, lists, objects or references.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

#[derive(Debug, Default)]
pub(crate) struct Block {
    pub(crate) kind: String,
    pub(crate) label: Option<String>,
    pub(crate) attributes: BTreeMap<String, Value>,
    pub(crate) blocks: Vec<Block>,
}

/// All blocks of a file. Fails where it is none.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let mut reader = Reader { rest: text };
    let body = reader.body("");
    assert!(body.attributes.is_empty(), "outside of blocks there are none: {body:?}");
    body.blocks
}

/// Paths and labels by stream, of those files whose lines get to the server.
pub(crate) fn shipped(blocks: &[Block]) -> BTreeMap<String, (Vec<String>, BTreeMap<String, String>)> {
    let of = |kind: &str| blocks.iter().filter(move |block| block.kind == kind).collect::<Vec<_>>();
    let named = |block: &Block| format!("{}.{}", block.kind, block.label.as_deref().unwrap());
    let known: Vec<String> = blocks.iter().map(named).collect();
    // A reference leads to a block that is there.
    let leads_to = |value: &Value, end: &str| {
        let name = value.as_str().unwrap().strip_prefix(REFERENCE).unwrap().strip_suffix(end).unwrap();
        assert!(known.iter().any(|known| known == name), "{name} in {known:?}");
        name.to_owned()
    };
    for process in of("loki.process") {
        assert_eq!(leads_to(&process.attributes["forward_to"][0], ".receiver"), "loki.write.server");
        assert!(process.blocks.iter().any(|stage| stage.kind == "stage.json"), "{process:?}");
    }
    let mut shipped = BTreeMap::new();
    for source in of("loki.source.file") {
        leads_to(&source.attributes["forward_to"][0], ".receiver");
        let from = leads_to(&source.attributes["targets"], ".targets");
        let files = of("local.file_match").into_iter().find(|block| named(block) == from).unwrap();
        let (mut paths, mut labels) = (Vec::new(), BTreeMap::new());
        for target in files.attributes["path_targets"].as_array().unwrap() {
            labels = super::labels(target);
            paths.push(labels.remove("__path__").unwrap());
        }
        shipped.insert(labels["stream"].clone(), (paths, labels));
    }
    shipped
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn body(&mut self, end: &str) -> Block {
        let mut body = Block::default();
        loop {
            if self.peek().is_none() || (!end.is_empty() && self.takes(end)) {
                return body;
            }
            let name = self.name();
            if self.takes("=") {
                let value = self.value();
                assert!(body.attributes.insert(name.clone(), value).is_none(), "{name} twice");
                continue;
            }
            let label = (self.peek() == Some('"')).then(|| self.text());
            self.must("{");
            body.blocks.push(Block { kind: name, label, ..self.body("}") });
        }
    }

    fn value(&mut self) -> Value {
        match self.peek() {
            Some('"') => Value::String(self.text()),
            Some('[') => {
                self.must("[");
                let mut list = Vec::new();
                while !self.takes("]") {
                    list.push(self.value());
                    if !self.takes(",") {
                        self.must("]");
                        break;
                    }
                }
                Value::Array(list)
            }
            Some('{') => {
                self.must("{");
                let mut object = Map::new();
                while !self.takes("}") {
                    let key = if self.peek() == Some('"') { self.text() } else { self.name() };
                    self.must("=");
                    object.insert(key, self.value());
                    if !self.takes(",") {
                        self.must("}");
                        break;
                    }
                }
                Value::Object(object)
            }
            _ => Value::String(format!("{REFERENCE}{}", self.name())),
        }
    }

    fn name(&mut self) -> String {
        self.peek();
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || "_.".contains(letter);
        let end = self.rest.find(|letter| !is_name(letter)).unwrap_or(self.rest.len());
        assert!(end > 0, "a name is missing: {:?}", self.rest.get(..40));
        self.take(end).to_owned()
    }

    /// As in JSON.
    fn text(&mut self) -> String {
        self.peek();
        let mut values = serde_json::Deserializer::from_str(self.rest).into_iter::<String>();
        let text = values.next().unwrap().unwrap();
        let end = values.byte_offset();
        self.take(end);
        text
    }

    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn takes(&mut self, sign: &str) -> bool {
        self.peek();
        let is_there = self.rest.starts_with(sign);
        if is_there {
            self.take(sign.len());
        }
        is_there
    }

    fn must(&mut self, sign: &str) {
        assert!(self.takes(sign), "{sign} is missing: {:?}", self.rest.get(..40));
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken
    }
}

/// Text and references must not be mixed up.
const REFERENCE: &str = "-> ";
