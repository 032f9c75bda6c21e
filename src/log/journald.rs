//! systemd's journal, by its own protocol: a datagram of fields for each line.
//!
//! ```text
//! MESSAGE=call answered
//! PRIORITY=6
//! SYSLOG_IDENTIFIER=sidetone
//! SIDETONE_LOG=application        SIDETONE_COMPONENT=call     SIDETONE_CALL_ID=...      SIDETONE_TRACE_ID=...
//! SIDETONE_LINE={"timestamp":...}
//! ```
//!
//! A line has no line end, so that no field needs the form with a length. The socket is connected before rights are
//! given up; it outlives a restart of the journal, which takes over the same one.

use std::io;
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use super::Level;
use super::sink::{Entry, Sink};
use crate::Stamp;

/// The journal.
#[derive(Debug)]
pub struct Journald {
    socket: UnixDatagram,
    fields: Vec<u8>,
}

impl Journald {
    /// The journal of this host.
    pub fn connect() -> io::Result<Self> {
        Self::to(Path::new(SOCKET))
    }

    /// A journal that listens there.
    pub fn to(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        // A journal that hangs must not hold up the files.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, fields: Vec::new() })
    }

    /// Whether there is one.
    pub fn is_there() -> bool {
        Path::new(SOCKET).exists()
    }
}

impl Sink for Journald {
    fn name(&self) -> &'static str {
        "journald"
    }

    fn take(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        let priority = match entry.level {
            Level::Debug => 7,
            Level::Info => 6,
            Level::Warn => 4,
            Level::Error => 3,
        };
        let fields = &mut self.fields;
        fields.clear();
        fields.extend_from_slice(b"MESSAGE=");
        fields.extend_from_slice(message(entry.line));
        let _ = write!(
            fields,
            "\nPRIORITY={priority}\nSYSLOG_IDENTIFIER=sidetone\nSIDETONE_LOG={}\nSIDETONE_COMPONENT={}\n",
            entry.stream.name(),
            entry.component,
        );
        let named =
            [("CALL_ID", entry.call_id), ("TRACE_ID", entry.trace_id), ("REQUEST_ID", entry.request_id)];
        for (name, value) in named {
            if let Some(value) = value {
                let _ = writeln!(fields, "SIDETONE_{name}={value}");
            }
        }
        fields.extend_from_slice(b"SIDETONE_LINE=");
        fields.extend_from_slice(entry.line);
        fields.push(b'\n');
        self.socket.send(fields).map(|_| ())
    }

    fn settle(&mut self, _: Stamp) -> io::Result<()> {
        Ok(())
    }
}

/// What stands behind `"message":`, escaped as in JSON: a line end in it would begin another field.
fn message(line: &[u8]) -> &[u8] {
    let key = b"\"message\":\"";
    let Some(from) = memchr::memmem::find(line, key).map(|at| at + key.len()) else { return b"" };
    let rest = line.get(from..).unwrap_or_default();
    let mut is_escaped = false;
    let end = rest.iter().position(|byte| {
        let ends = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        ends
    });
    rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()
}

const SOCKET: &str = "/run/systemd/journal/socket";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Stream;

    #[test]
    fn a_line_is_a_datagram_of_fields() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        let mut sink = Journald::to(&path).unwrap();
        let entry = Entry {
            stream: Stream::Audit,
            level: Level::Warn,
            at: Stamp(1),
            component: "agent",
            line: br#"{"call_id":null,"message":"say \"no\"","metadata":{}}"#,
            call_id: Some("a@b"),
            trace_id: None,
            request_id: None,
            audit_sequence: Some(3),
        };
        sink.take(&entry).unwrap();
        let mut datagram = [0; 1000];
        let length = journal.recv(&mut datagram).unwrap();
        let expected = "MESSAGE=say \\\"no\\\"\nPRIORITY=4\nSYSLOG_IDENTIFIER=sidetone\nSIDETONE_LOG=audit\n\
                        SIDETONE_COMPONENT=agent\nSIDETONE_CALL_ID=a@b\n\
                        SIDETONE_LINE={\"call_id\":null,\"message\":\"say \\\"no\\\"\",\"metadata\":{}}\n";
        assert_eq!(std::str::from_utf8(&datagram[..length]).unwrap(), expected);
    }
}
