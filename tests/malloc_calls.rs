//! The counter of malloc calls against a program that counts its own, to the call: threads, functions that go on into
//! malloc, threads that are started and children that are forked while it is counted. It takes root.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot run its subject has failed")]

use std::fs;
use std::io::Write;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use sidetone::process::direct::Direct;
use sidetone::process::stat::Stat;
use sidetone::process::{Missing, Privileged, Process, Right};

use skipped::skipped;
use target::{Target, build};
use tracefs::Tracefs;

#[path = "support/needs.rs"]
mod needs;
#[path = "support/skipped.rs"]
mod skipped;
#[path = "heap/target.rs"]
mod target;
#[path = "support/tracefs.rs"]
mod tracefs;

fn process(pid: u32) -> Process {
    let stat = Stat::parse(&fs::read(format!("/proc/{pid}/stat")).unwrap()).unwrap();
    Process { pid, started_ticks: stat.started_ticks }
}

/// What a process is asked for the first time; None where this machine cannot count.
fn begin(direct: &mut Direct, of: Process) -> Option<()> {
    match direct.allocations(of) {
        Ok(0) => Some(()),
        Err(Missing::Right(Right::Perfmon)) => {
            skipped("this test needs CAP_PERFMON");
            None
        }
        Err(Missing::Failed(reason)) if reason.contains("uprobe_events") || reason.contains("tracefs") => {
            skipped(format!("this test needs a kernel with uprobes: {reason}"));
            None
        }
        other => panic!("{other:?}"),
    }
}

/// The kernel's list is one: one test at a time.
static LIST: Mutex<()> = Mutex::new(());

#[test]
fn every_call_is_counted_once() {
    if !needs::root_with(&[]) {
        return;
    }
    let _alone = LIST.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(program) = build("cc", "counter.c", "heap-counter", &["-fno-builtin"]) else { return };
    let Some(_tracefs) = Tracefs::mount() else { return };
    let mut target = Target::start(&mut Command::new(program));
    // The C library calls for the first threads itself, and keeps what it got for those that come later.
    target.ask("later");
    let of = process(target.pid());
    let mut direct = Direct::new();
    let Some(()) = begin(&mut direct, of) else { return };
    let mut before = 0;
    for what in ["wait", "threads", "later", "forks", "threads", "later", "stay"] {
        let made = target.ask(what)["calls"].as_u64().unwrap();
        let counted = direct.allocations(of).unwrap();
        let _ = writeln!(std::io::stderr(), "{what}: {made} made, {} counted", counted - before);
        assert_eq!(counted - before, made, "{what}");
        before = counted;
    }
    // A child that is looked at too: whoever is asked first is told.
    let child = process(u32::try_from(target.ask("wait")["child"].as_u64().unwrap()).unwrap());
    let mut of_child = direct.allocations(child).unwrap();
    assert_eq!(of_child, 0, "it was in what its parent was told");
    for (first, what) in [(of, "poke"), (child, "poke"), (of, "forks"), (child, "threads")] {
        let made = target.ask(what)["calls"].as_u64().unwrap();
        let _ = direct.allocations(first).unwrap();
        let both = (direct.allocations(of).unwrap(), direct.allocations(child).unwrap());
        assert_eq!(both.0 + both.1 - before - of_child, made, "{what}");
        (before, of_child) = both;
    }
    direct.forget(of);
    let made = target.ask("poke")["calls"].as_u64().unwrap();
    assert_eq!(direct.allocations(child).unwrap() - of_child, made, "it outlives its parent");
}

#[test]
fn names_are_taken_off_the_kernels_list() {
    if !needs::root_with(&[]) {
        return;
    }
    let _alone = LIST.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(program) = build("cc", "counter.c", "heap-counter", &["-fno-builtin"]) else { return };
    let Some(tracefs) = Tracefs::mount() else { return };
    let mut target = Target::start(&mut Command::new(program));
    target.ask("wait");
    let mut direct = Direct::new();
    let Some(()) = begin(&mut direct, process(target.pid())) else { return };
    let named = || tracefs.places().matches(&format!("sidetone_{}/", std::process::id())).count();
    assert!(named() > 6, "{}", tracefs.places());
    drop(direct);
    assert_eq!(named(), 0, "{}", tracefs.places());
}

/// Measured and printed; a busy machine must not fail it.
#[test]
fn what_a_count_costs_the_process() {
    if !needs::root_with(&[]) {
        return;
    }
    let _alone = LIST.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(program) = build("cc", "counter.c", "heap-counter", &["-fno-builtin"]) else { return };
    let Some(_tracefs) = Tracefs::mount() else { return };
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
