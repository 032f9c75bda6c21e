//! `sidetone analyze`: which report, what its reader's faults mean for the exit code, and a progress bar.
//!
//! ```text
//! files -> driver (reader -> observer) -> Report -> standard output
//!              \-> Outcome: totals, faults -> standard error, exit code
//! ```
//!
//! The driver is a closure, so that this file knows neither capture formats nor the observer.

mod drive;
mod progress;
mod traces;

use std::env;
use std::io::{self, BufWriter, IsTerminal, Write};

use crate::cli::{Analyze, Format, When};
use crate::event::{Event, Sink, Totals};
use crate::export::json;
use crate::export::prometheus::{self, Exposition, Metrics};
use crate::export::table::{Style, Table};
pub use drive::drive;
pub use progress::Progress;
pub use traces::Sending;

/// What driving the input through the observer left behind.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Counters of everything read.
    pub totals: Totals,
    /// The captures that were recognised, in reading order.
    pub files: Vec<String>,
    /// What was wrong with inputs, in reading order.
    pub faults: Vec<Fault>,
}

/// What was wrong with one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// `FILE: what, where, what to do`.
    pub text: String,
    /// Its class.
    pub kind: FaultKind,
}

/// Class of a fault, as far as the exit code is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Not there, or it cannot be opened.
    Missing,
    /// Empty, or no capture at all.
    Foreign,
    /// It broke on the way; what came before was reported.
    Damaged,
}

/// Runs the driver, prints the report and what went wrong; returns the exit code.
///
/// `drive` feeds the sink everything that becomes final, the end of the input included.
pub fn run(
    args: &Analyze,
    metrics: prometheus::Options,
    drive: impl FnOnce(&mut dyn Sink, &mut Progress) -> Outcome,
) -> u8 {
    let stdout = io::stdout();
    let style = Style::of_stdout(args.color);
    let written = report(args, metrics, style, &mut BufWriter::new(stdout.lock()), drive);
    let mut stderr = io::stderr().lock();
    match written {
        Ok(faults) => {
            for fault in &faults {
                let way_out = match fault.kind {
                    FaultKind::Damaged if !args.lenient => "; with --lenient this is no failure",
                    _ => "",
                };
                // Nobody is left to be told when standard error is closed.
                let _ = writeln!(stderr, "sidetone: {}{way_out}", fault.text);
            }
            exit_code(&faults, args.lenient)
        }
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            let _ = writeln!(
                stderr,
                "sidetone: report: {error}; is there room on the disk and in {}?",
                env::temp_dir().display()
            );
            EX_IOERR
        }
    }
}

/// Nothing is written when no input was a capture.
fn report(
    args: &Analyze,
    metrics: prometheus::Options,
    style: Style,
    out: &mut impl Write,
    drive: impl FnOnce(&mut dyn Sink, &mut Progress) -> Outcome,
) -> io::Result<Vec<Fault>> {
    let mut report = match args.format {
        Format::Table => Report::Table(Box::new(Table::new(args.top, style))),
        Format::Json => Report::Json(Box::default()),
        Format::Prometheus => Report::Prometheus(Box::new(Metrics::with(metrics))),
    };
    let mut progress = Progress::on_stderr();
    let Outcome { totals, files, faults } = drive(&mut report, &mut progress);
    progress.clear();
    if !files.is_empty() {
        report.finish(&totals, &files, out)?;
    }
    Ok(faults)
}

/// The report that was asked for.
enum Report {
    Table(Box<Table>),
    Json(Box<json::Report>),
    Prometheus(Box<Metrics>),
}

impl Report {
    fn finish(self, totals: &Totals, files: &[String], out: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Table(table) => table.finish(totals, files, out),
            Self::Json(report) => report.finish(totals, files, out),
            Self::Prometheus(mut metrics) => {
                metrics.add(totals);
                metrics.write(Exposition::Classic, out)?;
                out.flush()
            }
        }
    }
}

impl Sink for Report {
    fn event(&mut self, event: Event) {
        match self {
            Self::Table(table) => table.event(event),
            Self::Json(report) => report.event(event),
            Self::Prometheus(metrics) => metrics.event(event),
        }
    }

    fn wants_answered(&self) -> bool {
        match self {
            Self::Table(table) => table.wants_answered(),
            Self::Json(report) => report.wants_answered(),
            Self::Prometheus(metrics) => metrics.wants_answered(),
        }
    }
}

/// The first fault decides; damage is none when the user is lenient.
fn exit_code(faults: &[Fault], lenient: bool) -> u8 {
    let code = |fault: &Fault| match fault.kind {
        FaultKind::Missing => Some(EX_NOINPUT),
        FaultKind::Foreign => Some(EX_IOERR),
        FaultKind::Damaged => (!lenient).then_some(EX_IOERR),
    };
    faults.iter().find_map(code).unwrap_or(0)
}

impl Style {
    /// What standard output can show.
    pub(crate) fn of_stdout(when: When) -> Self {
        let set = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let colour = match when {
            When::Always => true,
            When::Never => false,
            When::Auto => {
                io::stdout().is_terminal()
                    && set("NO_COLOR").is_none()
                    && set("TERM").is_none_or(|term| term != "dumb")
            }
        };
        let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default();
        let charset = locale.to_ascii_lowercase();
        Self { colour, unicode: charset.contains("utf-8") || charset.contains("utf8") }
    }
}

/// `sysexits.h`: input missing or unreadable.
const EX_NOINPUT: u8 = 66;
/// `sysexits.h`: input or output broke.
const EX_IOERR: u8 = 74;

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Analyze {
        use clap::Parser;
        let cli = crate::cli::Cli::try_parse_from(line.split(' ')).unwrap();
        let crate::cli::Command::Analyze(args) = cli.command else { panic!("{line}") };
        args
    }

    fn fault(kind: FaultKind) -> Fault {
        Fault { text: "a.pcap: broken".into(), kind }
    }

    #[test]
    fn faults_decide_the_exit_code() {
        assert_eq!(exit_code(&[], false), 0);
        assert_eq!(exit_code(&[fault(FaultKind::Missing)], false), 66);
        assert_eq!(exit_code(&[fault(FaultKind::Foreign)], true), 74);
        assert_eq!(exit_code(&[fault(FaultKind::Damaged)], false), 74);
        assert_eq!(exit_code(&[fault(FaultKind::Damaged)], true), 0);
        assert_eq!(exit_code(&[fault(FaultKind::Damaged), fault(FaultKind::Missing)], true), 66);
    }

    #[test]
    fn nothing_is_printed_when_no_input_was_a_capture() {
        let mut out = Vec::new();
        let faults = report(
            &args("sidetone analyze x"),
            prometheus::Options::default(),
            Style::default(),
            &mut out,
            |_, _| Outcome { faults: vec![fault(FaultKind::Foreign)], ..Outcome::default() },
        );
        assert_eq!(faults.unwrap().len(), 1);
        assert!(out.is_empty());
    }

    #[test]
    fn good_files_are_reported_in_each_format_beside_bad_ones() {
        for (format, sign) in [("table", "Capture"), ("json", "{\"version\":1"), ("prometheus", "# HELP")] {
            let mut out = Vec::new();
            let args = args(&format!("sidetone analyze --format {format} a.pcap b"));
            report(&args, prometheus::Options::default(), Style::default(), &mut out, |_, _| Outcome {
                files: vec!["a.pcap".into()],
                faults: vec![fault(FaultKind::Foreign)],
                ..Outcome::default()
            })
            .unwrap();
            assert!(out.starts_with(sign.as_bytes()), "{format}");
        }
    }
}
