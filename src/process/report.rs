//! `sidetone heap PID` (DESIGN 2).

use std::io::{self, Write};

use serde::Serialize;
use serde_json::json;

use super::heap::{self, Failure, picture};
use super::memory::{Fault, Remote};
use crate::cli::{Heap as Arguments, HeapFormat};
use crate::export::table::{Style, heap as table};

/// What programs read, key by key as in DESIGN 2.
#[derive(Serialize)]
struct Document {
    allocator: &'static str,
    arenas: u64,
    committed: u64,
    in_use: u64,
    cached: u64,
    free: u64,
    mmapped: u64,
    coverage: f64,
    fragmentation_ratio: Option<f64>,
}

/// Walks the heap and prints what was found; returns the exit code.
pub fn run(arguments: &Arguments) -> u8 {
    let looked = look(arguments);
    let page = match (&looked, arguments.format) {
        (Ok(page), _) => page.clone(),
        (Err(failure), HeapFormat::Json) if code(failure) == EX_FAILED => {
            format!("{}\n", json!({ "unsupported": failure.to_string() }))
        }
        (Err(_), _) => String::new(),
    };
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(page.as_bytes()).and_then(|()| out.flush())
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        let _ = writeln!(io::stderr(), "sidetone: standard output: {error}");
        return EX_IOERR;
    }
    match looked {
        Ok(_) => 0,
        Err(failure) => {
            // Nobody is left to be told when standard error is closed.
            let _ = writeln!(io::stderr(), "sidetone: process {}: {}", arguments.pid, said(&failure));
            code(&failure)
        }
    }
}

fn look(arguments: &Arguments) -> Result<String, Failure> {
    let memory = Remote::open(arguments.pid)?;
    let heap = heap::walk(&memory)?;
    match arguments.format {
        HeapFormat::Json => {
            let document = Document {
                allocator: "glibc",
                arenas: heap.arenas,
                committed: heap.committed,
                in_use: heap.in_use,
                cached: heap.cached,
                free: heap.free,
                mmapped: heap.mmapped,
                coverage: heap.coverage,
                fragmentation_ratio: heap.fragmentation_ratio(),
            };
            serde_json::to_string(&document)
                .map(|line| line + "\n")
                .map_err(|error| Failure::System(io::Error::other(error)))
        }
        HeapFormat::Table => {
            let rows = picture::draw(&memory, table::CELLS).unwrap_or_default();
            Ok(table::print(&heap, &rows, Style::of_stdout(arguments.color)))
        }
    }
}

fn code(failure: &Failure) -> u8 {
    match failure {
        Failure::Unsupported(_) | Failure::Incoherent(_) | Failure::Swapped | Failure::TooLarge => EX_FAILED,
        Failure::Gone => EX_NOINPUT,
        Failure::Denied => EX_NOPERM,
        Failure::System(_) => EX_IOERR,
    }
}

fn said(failure: &Failure) -> String {
    match failure {
        Failure::Gone => Fault::Gone.to_string() + ", or never was",
        Failure::Denied => {
            "no permission to read it. Run this as its user or with CAP_SYS_PTRACE: sudo sidetone heap, \
            or sudo setcap cap_sys_ptrace+ep on the program"
                .to_owned()
        }
        Failure::Unsupported(_) => format!("its heap cannot be walked: {failure}"),
        other => other.to_string(),
    }
}

/// A check failed.
const EX_FAILED: u8 = 1;
/// `sysexits.h`.
const EX_NOINPUT: u8 = 66;
const EX_IOERR: u8 = 74;
const EX_NOPERM: u8 = 77;
