//! The counter of malloc calls against a program that counts its own, to the call: several threads, functions that go on
//! into malloc, and children that are forked while it is counted, which must come to no harm. It takes root.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot run its subject has failed")]

use std::fs;
use std::io::Write;
use std::process::Command;

use sidetone::process::direct::Direct;
use sidetone::process::stat::Stat;
use sidetone::process::{Missing, Privileged, Process, Right};

use skipped::skipped;
use target::{Target, build};

#[path = "support/needs.rs"]
mod needs;
#[path = "support/skipped.rs"]
mod skipped;
#[path = "heap/target.rs"]
mod target;

fn process(pid: u32) -> Process {
    let stat = Stat::parse(&fs::read(format!("/proc/{pid}/stat")).unwrap()).unwrap();
    Process { pid, started_ticks: stat.started_ticks }
}

/// What a process is asked for the first time; None where this machine cannot count.
fn begin(direct: &mut Direct, of: Process) -> Option<()> {
    match direct.allocations(of) {
        Ok(0) => Some(()),
        Err(Missing::Right(Right::Perfmon)) => {
            skipped("this test needs CAP_PERFMON, on some kernels CAP_SYS_ADMIN");
            None
        }
        Err(Missing::Failed(reason)) if reason.contains("no uprobes") => {
            skipped("this test needs a kernel with uprobes");
            None
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_call_is_counted_once() {
    if !needs::root_with(&[]) {
        return;
    }
    let Some(program) = build("cc", "counter.c", "heap-counter", &["-fno-builtin"]) else { return };
    let mut target = Target::start(&mut Command::new(program));
    target.ask("wait");
    let of = process(target.pid());
    let mut direct = Direct::new();
    let Some(()) = begin(&mut direct, of) else { return };
    let mut before = 0;
    for what in ["wait", "threads", "forks", "threads"] {
        let made = target.ask(what)["calls"].as_u64().unwrap();
        let counted = direct.allocations(of).unwrap();
        let _ = writeln!(std::io::stderr(), "{what}: {made} made, {} counted", counted - before);
        if what == "forks" {
            // Each child is a process of its own, and counted when it is looked at.
            assert_eq!((made, counted - before), (3 * 7030, 0));
        } else {
            assert_eq!(counted - before, made, "{what}");
        }
        before = counted;
    }
}

/// Measured and printed; a busy machine must not fail it.
#[test]
fn what_a_count_costs_the_process() {
    if !needs::root_with(&[]) {
        return;
    }
    let Some(program) = build("cc", "counter.c", "heap-counter", &["-fno-builtin"]) else { return };
    let mut target = Target::start(&mut Command::new(program));
    target.ask("wait");
    let of = process(target.pid());
    let mut direct = Direct::new();
    // By its own time, in microseconds, so that it does not matter who else wants the processor.
    let timed = |target: &mut Target| {
        let answer = target.ask("alone");
        1e3 * answer["cpu"].as_f64().unwrap() / answer["calls"].as_f64().unwrap()
    };
    let alone = timed(&mut target);
    let Some(()) = begin(&mut direct, of) else { return };
    let watched = timed(&mut target);
    direct.forget(of);
    let _ = writeln!(std::io::stderr(), "a call of malloc takes {alone:.0} ns, counted {watched:.0} ns");
}
