//! The command line (DESIGN 2). Values are checked here; what is checked is not checked again.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::rtp::payload::Codec;
use crate::simulate;
use crate::trace::export::endpoint::Endpoint;

/// What every call was really like: a passive SIP/RTP observer.
#[derive(Debug, Parser)]
#[command(name = "sidetone", version, after_help = EXIT_CODES, after_long_help = format!("{ROOT_EXAMPLES}\n\n{EXIT_CODES}"), max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One command each.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure the calls in capture files
    #[command(after_help = EXIT_CODES, after_long_help = ANALYZE_EXAMPLES)]
    Analyze(Analyze),
    /// Measure the calls on the wire, and serve what is measured over HTTP
    #[command(after_help = EXIT_CODES, after_long_help = RUN_EXAMPLES)]
    Run(Run),
    /// Look at what it serves, without traffic or rights: calls are simulated, everything else is real
    #[command(after_help = EXIT_CODES, after_long_help = DEMO_EXAMPLES)]
    Demo(Run),
    /// Check a configuration; print all that is wrong with it
    #[command(after_long_help = CHECK_EXAMPLES)]
    Check(Run),
    /// Write a capture of calls whose impairments are known
    #[command(after_long_help = SIMULATE_EXAMPLES)]
    Simulate(Simulate),
    /// Look into the heap of another process: what is in use, what is free, how it lies
    #[command(after_long_help = HEAP_EXAMPLES)]
    Heap(Heap),
    /// Check that nobody changed the audit, and change its key
    #[command(subcommand, after_long_help = AUDIT_EXAMPLES)]
    Audit(Audit),
    /// Print the catalogue of every metric, as Markdown
    #[command(after_long_help = METRICS_EXAMPLES)]
    Metrics,
    /// Print completions for a shell
    #[command(after_long_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Keep the rights over other processes that the agent gives up; started by it alone
    #[command(hide = true)]
    SecondProcess,
    /// Print the manual page, of one command if named
    #[command(hide = true)]
    Man {
        /// Of which command
        command: Option<String>,
    },
}

/// `sidetone run`, `sidetone demo` and `sidetone check`
#[derive(Clone, Debug, Args)]
pub struct Run {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "SIDETONE_CONFIG")]
    pub config: Option<PathBuf>,
}

/// `sidetone analyze`
#[derive(Clone, Debug, Args)]
pub struct Analyze {
    /// pcap or pcapng files, also .gz or .zst, directories of them, or - for standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// What the report is for: people, programs, or a Prometheus server
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "SIDETONE_CONFIG")]
    pub config: Option<PathBuf>,
    /// Send the traces of the calls to this OTLP collector too; all of them, unless otlp.sample_ratio is set
    #[arg(long, value_name = "URL", value_parser = |text: &str| text.parse::<Endpoint>())]
    pub otlp: Option<Endpoint>,
    /// Exit 0 although a capture is damaged or cut short
    #[arg(long)]
    pub lenient: bool,
    /// Rows in each list of the table, the worst ones; 0 = all
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub top: usize,
    /// Colour in the table; NO_COLOR is respected
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = When::Auto)]
    pub color: When,
}

/// `sidetone audit`
#[derive(Clone, Debug, Subcommand)]
pub enum Audit {
    /// Check chain and signatures; name the first line that is not right
    #[command(after_long_help = AUDIT_VERIFY_EXAMPLES)]
    Verify(AuditVerify),
    /// Make the next key beside this one; the agent takes it at its next reload or start
    RotateKey {
        /// File of the key that is in use
        key: PathBuf,
    },
}

/// `sidetone audit verify`
#[derive(Clone, Debug, Args)]
pub struct AuditVerify {
    /// Files of the audit, compressed or not, or directories of them
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Public key that is trusted: its file, or its 64 digits; may be given several times
    #[arg(long, value_name = "KEY")]
    pub key: Vec<String>,
    /// Number of a line that is known to have been written: fewer means that the end was cut off
    #[arg(long, value_name = "N")]
    pub expect_seq: Option<u64>,
    /// For people, or for programs
    #[arg(long, value_enum, default_value_t = AuditFormat::Text)]
    pub format: AuditFormat,
}

/// Form of the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AuditFormat {
    /// A line, and notes
    Text,
    /// One document
    Json,
}

/// Form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people, the worst first
    Table,
    /// One document, version 1
    Json,
    /// Metrics in the classic text format
    Prometheus,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal
    Auto,
    /// Also into a pipe or file
    Always,
    /// Nowhere
    Never,
}

/// `sidetone simulate`
#[derive(Clone, Debug, Args)]
#[command(allow_negative_numbers = true)]
pub struct Simulate {
    /// Number of calls
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub calls: u32,
    /// Talking time of each call in seconds
    #[arg(long, value_name = "S", default_value = "60", value_parser = |text: &str| number(text, 0.1, 86_400.0, "seconds"))]
    pub duration: f64,
    /// Packets lost, in percent
    #[arg(long, value_name = "P", default_value = "0", value_parser = percent)]
    pub loss: f64,
    /// Mean number of packets lost in a row; 1 = losses fall at random
    #[arg(long, value_name = "B", default_value = "1", value_parser = |text: &str| number(text, 1.0, 1_000.0, "packets"))]
    pub burst: f64,
    /// Spread of the network delay, in milliseconds
    #[arg(long, value_name = "MS", default_value = "0", value_parser = |text: &str| number(text, 0.0, 10_000.0, "milliseconds"))]
    pub jitter: f64,
    /// Packets that arrive after a later one, in percent
    #[arg(long, value_name = "P", default_value = "0", value_parser = percent)]
    pub reorder: f64,
    /// Packets that arrive twice, in percent
    #[arg(long, value_name = "P", default_value = "0", value_parser = percent)]
    pub duplicate: f64,
    /// Codec, as in SDP
    #[arg(long, value_name = "C", default_value = "PCMU", value_parser = codec)]
    pub codec: Codec,
    /// Seed of all chance: the same seed writes the same bytes
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Audio in each packet, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(5..=120))]
    pub ptime: u32,
    /// New calls a second
    #[arg(long, value_name = "CPS", default_value = "1", value_parser = |text: &str| number(text, 0.001, 100_000.0, "calls a second"))]
    pub rate: f64,
    /// Capture to write; the truth goes to FILE.truth.json
    #[arg(short = 'w', long = "write", value_name = "FILE")]
    pub write: PathBuf,
}

/// `sidetone heap`
#[derive(Clone, Debug, Args)]
pub struct Heap {
    /// Process to look into; it is neither stopped nor changed
    #[arg(value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub pid: u32,
    /// What the report is for: people or programs
    #[arg(long, value_enum, default_value_t = HeapFormat::Table)]
    pub format: HeapFormat,
    /// Colour in the table; NO_COLOR is respected
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = When::Auto)]
    pub color: When,
}

/// Form of the report on a heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HeapFormat {
    /// For people, with a picture of the address space
    Table,
    /// One document, in bytes
    Json,
}

/// The command line as clap knows it, for completions and manual pages.
pub fn command() -> clap::Command {
    Cli::command()
}

fn percent(text: &str) -> Result<f64, String> {
    number(text, 0.0, 100.0, "percent")
}

fn number(text: &str, least: f64, most: f64, unit: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        Ok(_) => Err(format!("it must be between {least} and {most} {unit}")),
        Err(_) => Err(format!("it must be a number of {unit}, {least} to {most}")),
    }
}

fn codec(name: &str) -> Result<Codec, String> {
    simulate::codec_named(name).ok_or_else(|| {
        let names: Vec<_> = simulate::codecs().map(Codec::name).collect();
        format!("it must be one of {}", names.join(", "))
    })
}

const EXIT_CODES: &str = "\
Exit codes:
  0   fine
  1   a check failed
  2   bad usage
  64  bad configuration
  66  input missing or unreadable
  74  input or output broke; a damaged capture is reported up to the damage
  77  no permission; the message says which capability is missing";

const ROOT_EXAMPLES: &str = "\
Examples:
  sidetone analyze evening.pcapng
  sidetone simulate --calls 10 --loss 2 -w calls.pcap";

const AUDIT_EXAMPLES: &str = "\
Examples:
  sidetone audit verify /var/log/sidetone
  sidetone audit rotate-key /var/lib/sidetone/audit.key";

const AUDIT_VERIFY_EXAMPLES: &str = "\
Examples:
  sidetone audit verify /var/log/sidetone
  sidetone audit verify --key audit.key.pub --expect-seq 4711 /var/log/sidetone";

const ANALYZE_EXAMPLES: &str = "\
Examples:
  sidetone analyze evening.pcapng                        the worst calls and streams first
  sidetone analyze --top 0 captures/ | less              everything in a directory, merged by time
  ssh gw tcpdump -w - -c 100000 | sidetone analyze -     from standard input
  sidetone analyze --otlp http://collector:4318 a.pcap   its calls as traces, too
  sidetone analyze --format json a.pcap | jq '.calls[] | select(.mos < 3.1) | .call_id'

Exit codes:
  0   fine
  2   bad usage
  64  bad configuration
  66  input missing or unreadable
  74  input or output broke; a damaged capture is reported up to the damage (0 with --lenient)";

const RUN_EXAMPLES: &str = "\
Examples:
  sidetone run                                           captures everywhere, serves 127.0.0.1:9767
  SIDETONE_CAPTURE_INTERFACES=eth0 sidetone run
  sidetone run --config /etc/sidetone/sidetone.toml
  curl http://127.0.0.1:9767/api/streams?limit=10        the worst streams that are up

It needs CAP_NET_RAW to open its sockets and drops every capability once they are open.
SIGTERM ends it.";

const DEMO_EXAMPLES: &str = "\
Examples:
  sidetone demo                                          serves 127.0.0.1:9767, or a free port if that is taken
  SIDETONE_HTTP_LISTEN=0.0.0.0:9767 sidetone demo
  curl -s http://127.0.0.1:9767/metrics | grep voip_calls_active_total

Ctrl-C or SIGTERM ends it.";

const CHECK_EXAMPLES: &str = "\
Examples:
  sidetone check --config /etc/sidetone/sidetone.toml";

const SIMULATE_EXAMPLES: &str = "\
Examples:
  sidetone simulate --calls 100 --duration 30 --loss 3 --burst 4 -w lossy.pcap
  sidetone simulate --codec opus --jitter 40 --seed 7 -w opus.pcap && sidetone analyze opus.pcap";

const HEAP_EXAMPLES: &str = "\
Examples:
  sudo sidetone heap $(pidof rtpengine)                  a table, and a picture of each arena
  sidetone heap --format json $$ | jq .fragmentation_ratio
  for pid in $(pidof kamailio); do sidetone heap --format json $pid; done

A process of the same user can be read as it is; of another one it takes CAP_SYS_PTRACE.

Exit codes:
  0   fine
  1   this process cannot be walked; the reason is said
  2   bad usage
  66  there is no such process
  77  no permission";

const METRICS_EXAMPLES: &str = "\
Examples:
  sidetone metrics > docs/metrics.md";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  sidetone completions bash > /etc/bash_completion.d/sidetone
  sidetone completions fish > ~/.config/fish/completions/sidetone.fish";

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> String {
        let error = Cli::try_parse_from(line.split(' ')).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
        error.to_string()
    }

    #[test]
    fn the_definition_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn values_out_of_range_are_refused_with_the_range() {
        assert!(refused("sidetone simulate --loss 120 -w x").contains("between 0 and 100 percent"));
        assert!(refused("sidetone simulate --loss -1 -w x").contains("between 0 and 100 percent"));
        assert!(refused("sidetone simulate --loss nan -w x").contains("between 0 and 100"));
        assert!(refused("sidetone simulate --duration 0 -w x").contains("between 0.1 and 86400 seconds"));
        assert!(refused("sidetone simulate --codec mp3 -w x").contains("one of PCMU, PCMA"));
        assert!(refused("sidetone simulate --ptime 1 -w x").contains("5..=120"));
        assert!(refused("sidetone simulate --calls 0 -w x").contains("1..=1000000"));
        refused("sidetone simulate");
        refused("sidetone analyze");
        refused("sidetone analyze --format xml a.pcap");
    }

    #[test]
    fn percent_may_be_written_with_its_sign() {
        let cli =
            Cli::try_parse_from("sidetone simulate --loss 2.5% --codec opus -w x.pcap".split(' ')).unwrap();
        let Command::Simulate(simulate) = cli.command else { panic!("{cli:?}") };
        assert!((simulate.loss - 2.5).abs() < 1e-12);
        assert_eq!(simulate.codec, Codec::Opus);
    }

    #[test]
    fn each_command_shows_an_example_and_the_program_its_exit_codes() {
        for mut sub in command().get_subcommands().cloned() {
            let help = sub.render_long_help().to_string();
            assert!(sub.is_hide_set() || help.contains("Examples:"), "{help}");
        }
        assert!(command().render_long_help().to_string().contains("66  input missing or unreadable"));
    }
}
