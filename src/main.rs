//! The life of the process.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use sidetone::agent;
use sidetone::analyze;
use sidetone::cli::{self, Analyze, Cli, Command, Simulate};
use sidetone::config::{self, Config};
use sidetone::export::prometheus::{Metrics, catalogue};
use sidetone::process;
use sidetone::simulate::{self, Plan};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output; it may be closed already.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match cli.command {
        Command::Analyze(args) => match configuration(args.config.as_deref()) {
            Ok(config) => analyzed(&args, config),
            Err(code) => code,
        },
        Command::Run(args) => match configuration(args.config.as_deref()) {
            Ok(config) => {
                let origin = agent::Origin { file: args.config, variables: variables() };
                ExitCode::from(agent::run(config, origin))
            }
            Err(code) => code,
        },
        Command::Demo(args) => match configuration(args.config.as_deref()) {
            Ok(config) => ExitCode::from(agent::demo(
                config,
                agent::Origin { file: args.config, variables: variables() },
            )),
            Err(code) => code,
        },
        Command::Check(args) => match configuration(args.config.as_deref()) {
            Ok(_) => ExitCode::SUCCESS,
            Err(code) => code,
        },
        Command::Simulate(args) => simulate(&args),
        Command::Heap(args) => ExitCode::from(process::report::run(&args)),
        Command::SecondProcess => ExitCode::from(process::second::serve()),
        Command::Audit(command) => ExitCode::from(sidetone::log::audit::command::run(&command)),
        Command::Metrics => print(catalogue::markdown(Metrics::new().catalogue()).as_bytes()),
        Command::Completions { shell } => completions(shell),
        Command::Man { command } => manual(command.as_deref()),
    }
}

fn analyzed(args: &Analyze, config: Config) -> ExitCode {
    let mut sending = match analyze::Sending::start(args, &config.otlp, config.agent.logs.hash_key.as_deref())
    {
        Ok(sending) => sending,
        Err(problem) => return fail(EX_IOERR, &problem),
    };
    let mut settings = config.observer;
    settings.calls.trails = sending.is_some();
    let code = analyze::run(args, config.metrics, |sink, progress| {
        analyze::drive(args, settings, sending.as_mut(), sink, progress)
    });
    match sending.map_or(Ok(()), analyze::Sending::finish) {
        Err(problem) if code == 0 => fail(EX_IOERR, &problem),
        Err(problem) => {
            fail(code, &problem);
            ExitCode::from(code)
        }
        Ok(()) => ExitCode::from(code),
    }
}

/// The configuration; or all that is wrong with it on standard error.
fn configuration(file: Option<&Path>) -> Result<Config, ExitCode> {
    config::load(file, &variables()).map_err(|problems| {
        for problem in problems {
            fail(EX_CONFIG, &problem.to_string());
        }
        ExitCode::from(EX_CONFIG)
    })
}

/// Those of the environment that are ours, or standard ones that we keep to; a name or value that is not UTF-8 is none of them.
fn variables() -> BTreeMap<String, String> {
    let text =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let wanted = |name: &str| {
        name.starts_with("SIDETONE_")
            || name.starts_with("OTEL_")
            || config::IDENTITY.contains(&name)
            || config::COMMON_VARIABLES.contains(&name)
    };
    config::with_common(env::vars_os().filter_map(text).filter(|(name, _)| wanted(name)).collect())
}

fn simulate(args: &Simulate) -> ExitCode {
    let plan = Plan {
        calls: args.calls,
        duration: args.duration,
        loss: args.loss,
        burst: args.burst,
        jitter: args.jitter,
        reorder: args.reorder,
        duplicate: args.duplicate,
        codec: args.codec,
        seed: args.seed,
        ptime: Some(args.ptime),
        rate: args.rate,
        ..Plan::default()
    };
    match simulate::write_files(&plan, &args.write) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error @ simulate::Error::Plan(_)) => {
            fail(EX_USAGE, &format!("simulate: {error}; see sidetone simulate --help"))
        }
        Err(error @ simulate::Error::Io { .. }) => fail(EX_IOERR, &error.to_string()),
    }
}

fn completions(shell: clap_complete::Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::command(), "sidetone", &mut script);
    print(&script)
}

fn manual(command: Option<&str>) -> ExitCode {
    let mut described = cli::command();
    described.build();
    if let Some(name) = command {
        let Some(found) = described.find_subcommand(name) else {
            return fail(EX_USAGE, &format!("man: there is no command {name}; see sidetone --help"));
        };
        described = found.clone();
    }
    let mut page = Vec::new();
    match clap_mangen::Man::new(described).render(&mut page) {
        Ok(()) => print(&page),
        Err(error) => fail(EX_IOERR, &format!("man: {error}")),
    }
}

fn print(page: &[u8]) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(page).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            fail(EX_IOERR, &format!("standard output: {error}"))
        }
        _ => ExitCode::SUCCESS,
    }
}

fn fail(code: u8, what: &str) -> ExitCode {
    // Nobody is left to be told when standard error is closed.
    let _ = writeln!(io::stderr(), "sidetone: {what}");
    ExitCode::from(code)
}

const EX_USAGE: u8 = 2;
/// Bad configuration (DESIGN 2).
const EX_CONFIG: u8 = 64;
const EX_IOERR: u8 = 74;
