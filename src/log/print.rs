//! Standard output or error: JSON for a program that collects it, text for people.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};

use serde_json::Value;

use super::Stream;
use super::settings::Format;
use super::sink::{Entry, Sink};
use crate::Stamp;

/// Lines on a descriptor that was there when the program started.
#[derive(Debug)]
pub struct Print {
    name: &'static str,
    to: File,
    is_text: bool,
    pending: Vec<u8>,
}

impl Print {
    /// Standard output.
    pub fn stdout(format: Format) -> io::Result<Self> {
        Self::new("stdout", &io::stdout(), format)
    }

    /// Standard error.
    pub fn stderr(format: Format) -> io::Result<Self> {
        Self::new("stderr", &io::stderr(), format)
    }

    fn new(name: &'static str, to: &(impl AsFd + IsTerminal), format: Format) -> io::Result<Self> {
        let is_text = match format {
            Format::Auto => to.is_terminal(),
            Format::Json => false,
            Format::Text => true,
        };
        let copy: OwnedFd = to.as_fd().try_clone_to_owned()?;
        Ok(Self { name, to: copy.into(), is_text, pending: Vec::new() })
    }
}

impl Sink for Print {
    fn name(&self) -> &str {
        self.name
    }

    fn take(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        if self.pending.len() > MOST_PENDING {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if self.is_text {
            text(entry, &mut self.pending);
        } else {
            self.pending.extend_from_slice(entry.line);
        }
        self.pending.push(b'\n');
        Ok(())
    }

    fn settle(&mut self, _: Stamp) -> io::Result<()> {
        while !self.pending.is_empty() {
            match self.to.write(&self.pending) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => drop(self.pending.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// `2026-11-29T10:54:46.123Z INFO call answered call_id=a84b4c76 setup=1.2`
fn text(entry: &Entry<'_>, to: &mut Vec<u8>) {
    let Ok(Value::Object(fields)) = serde_json::from_slice(entry.line) else {
        return to.extend_from_slice(entry.line);
    };
    let said = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default();
    let time = said("timestamp").get(..23).unwrap_or_default().to_owned();
    let level = entry.level.name().to_ascii_uppercase();
    let _ = write!(to, "{time}Z {level:<5} {}", clean(said("message")));
    if let Some(call_id) = fields.get("call_id").and_then(Value::as_str) {
        let _ = write!(to, " call_id={}", clean(call_id));
    }
    let metadata: BTreeMap<_, _> =
        fields.get("metadata").and_then(Value::as_object).into_iter().flatten().collect();
    for (key, value) in metadata {
        let _ = match value {
            Value::String(text) if !text.contains(' ') => write!(to, " {key}={}", clean(text)),
            value => write!(to, " {key}={value}"),
        };
    }
    for key in ["request_id"] {
        if fields.contains_key(key) {
            let _ = write!(to, " {key}={}", said(key));
        }
    }
    if entry.stream == Stream::Audit {
        let _ = write!(to, " sequence={}", entry.audit_sequence.unwrap_or_default());
    }
}

/// A terminal obeys some characters: they are shown as they stand in JSON.
fn clean(text: &str) -> String {
    let mut clean = Vec::new();
    super::line::escape(text, &mut clean);
    String::from_utf8(clean).unwrap_or_default()
}

const MOST_PENDING: usize = 1 << 20;
