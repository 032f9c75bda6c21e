//! `sidetone heap` against a program that says what its own malloc counts (mallinfo2): every shape of heap, at rest and
//! while it changes as fast as it can; and what cannot be walked.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot run its subject has failed")]
#![allow(clippy::disallowed_types, reason = "speed is measured by the clock")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use sidetone::process::heap::{self, Failure};
use sidetone::process::memory::Remote;

use needs::has;
use skipped::skipped;
use target::{Target, build};

#[path = "support/needs.rs"]
mod needs;
#[path = "support/skipped.rs"]
mod skipped;
#[path = "heap/target.rs"]
mod target;

fn sidetone_heap(pid: u32) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidetone"));
    command.args(["heap", "--format", "json", &pid.to_string()]).output().unwrap()
}

fn report(pid: u32) -> Value {
    let output = sidetone_heap(pid);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn unsupported(pid: u32) -> String {
    let output = sidetone_heap(pid);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    document["unsupported"].as_str().unwrap().to_owned()
}

/// Within 1 %, or a page of each arena.
fn assert_agrees(what: &str, ours: u64, theirs: u64, arenas: u64) -> f64 {
    let error = ours.abs_diff(theirs);
    assert!(error * 100 <= theirs || error <= 4096 * arenas, "{what}: {ours} against {theirs}");
    100.0 * error as f64 / theirs.max(1) as f64
}

#[test]
fn figures_are_those_of_mallinfo2() {
    let Some(program) = build("cc", "target.c", "heap-target", &[]) else { return };
    for arenas in [1, 7, 16] {
        let mut target = Target::start(&mut Command::new(&program));
        target.ask(&format!("arenas {arenas}"));
        for what in ["grow", "holes", "fast", "trim", "large 10", "grow", "holes"] {
            let truth = target.ask(what);
            let report = report(target.pid());
            let [ours, theirs] = [&report, &truth].map(|of| move |key: &str| of[key].as_u64().unwrap());
            let (in_use, cached, free, mmapped) =
                (ours("in_use"), ours("cached"), ours("free"), ours("mmapped"));
            assert_eq!(ours("arenas"), arenas);
            assert_eq!(mmapped, theirs("hblkhd"));
            let used = assert_agrees("used", in_use + cached - mmapped, theirs("uordblks"), arenas);
            let free = assert_agrees("free", free, theirs("fordblks"), arenas);
            let committed = ours("committed");
            assert_agrees("committed", committed, theirs("arena") + theirs("hblkhd"), arenas);
            let ratio = report["fragmentation_ratio"].as_f64().unwrap();
            assert!((ratio - (1.0 - in_use as f64 / committed as f64)).abs() < 1e-9);
            assert!(report["coverage"].as_f64().unwrap() > 0.999, "{report}");
            let _ = writeln!(
                std::io::stderr(),
                "{arenas} arenas after {what}: {committed} bytes, used {used:.4} % off, free {free:.4} % off"
            );
        }
    }
}

#[test]
fn a_heap_that_changes_all_the_time_gives_right_figures_or_none() {
    let Some(program) = build("cc", "target.c", "heap-target", &[]) else { return };
    let mut target = Target::start(&mut Command::new(program));
    target.ask("arenas 5");
    target.ask("churn");
    sleep(Duration::from_millis(500));
    let memory = Remote::open(target.pid()).unwrap();
    let mut seen = Vec::new();
    let mut torn = 0;
    for _ in 0..100 {
        match heap::attempt(&memory) {
            Ok(heap) => seen.push(heap.in_use + heap.cached),
            Err(Failure::Incoherent(_)) => torn += 1,
            Err(failure) => panic!("{failure}"),
        }
    }
    let truth = target.ask("calm")["uordblks"].as_u64().unwrap();
    let (least, most) = (*seen.iter().min().unwrap(), *seen.iter().max().unwrap());
    let _ = writeln!(
        std::io::stderr(),
        "{} of 100 walks at once, {torn} torn; used {least} to {most}, {truth} at rest",
        seen.len()
    );
    assert!(seen.len() >= 80);
    // The program itself sways by less than 1 %.
    assert!(least * 100 >= truth * 97 && most * 100 <= truth * 103);
}

/// Measured and printed; a busy machine must not fail it.
#[test]
fn what_a_walk_costs_the_process() {
    let Some(program) = build("cc", "target.c", "heap-target", &[]) else { return };
    let operations = |walks: bool| {
        let mut target = Target::start(&mut Command::new(&program));
        for what in ["arenas 2", "grow", "holes"] {
            target.ask(what);
        }
        let before = target.ask("churn")["cpu"].as_f64().unwrap();
        let memory = Remote::open(target.pid()).unwrap();
        let begun = Instant::now();
        let (mut count, mut spent, mut read) = (0_u32, Duration::ZERO, 0);
        while begun.elapsed() < Duration::from_secs(1) {
            if walks {
                let one = Instant::now();
                read = heap::walk(&memory).map_or(read, |heap| heap.read);
                spent += one.elapsed();
                count += 1;
            }
            sleep(Duration::from_millis(20));
        }
        let after = target.ask("calm");
        // By its own time, so that it does not matter who else wants the processor.
        let seconds = (after["cpu"].as_f64().unwrap() - before) / 1000.0;
        (after["operations"].as_f64().unwrap() / seconds, count, spent, read)
    };
    let (alone, ..) = operations(false);
    let (watched, walks, spent, read) = operations(true);
    let loss = 1.0 - watched / alone;
    let a_walk = spent.as_secs_f64() / f64::from(walks.max(1));
    let _ = writeln!(
        std::io::stderr(),
        "{alone:.0} operations a second of its own alone, {watched:.0} with {walks} walks/s ({:.1} %); a walk takes {:.1} ms and reads {read} \
         bytes: once in 60 s that is {:.4} %",
        100.0 * loss,
        1e3 * a_walk,
        100.0 * loss / f64::from(walks.max(1)) / 60.0,
    );
}

#[test]
fn other_allocators_are_refused_by_name() {
    let Some(program) = build("cc", "target.c", "heap-target", &[]) else { return };
    let preloaded =
        ["/usr/lib/x86_64-linux-gnu/libjemalloc.so.2", "/usr/lib/aarch64-linux-gnu/libjemalloc.so.2"];
    match preloaded.into_iter().find(|library| Path::new(library).exists()) {
        Some(library) => {
            let mut target = Target::start(Command::new(&program).env("LD_PRELOAD", library));
            target.ask("arenas 1");
            let reason = unsupported(target.pid());
            assert!(reason.contains("malloc comes from libjemalloc.so.2"), "{reason}");
        }
        None => skipped("this test needs libjemalloc2"),
    }
    if let Some(program) = build("musl-gcc", "plain.c", "heap-musl", &[]) {
        let mut target = Target::start(&mut Command::new(program));
        target.ask("wait");
        let reason = unsupported(target.pid());
        assert!(reason.contains("musl"), "{reason}");
    }
    if let Some(program) = build("cc", "plain.c", "heap-static", &["-static"]) {
        let mut target = Target::start(&mut Command::new(program));
        target.ask("wait");
        let reason = unsupported(target.pid());
        assert!(reason.contains("statically"), "{reason}");
    }
}

#[test]
fn who_is_not_there_and_who_may_not_be_read() {
    let output = sidetone_heap(4_194_304);
    assert_eq!(output.status.code(), Some(66), "{output:?}");
    assert!(output.stdout.is_empty());
    let mut none = Command::new("true").spawn().unwrap();
    assert_eq!(unsupported_while(&mut none), 1, "what has ended has no memory");
    if !needs::root_with(&["setpriv"]) {
        return;
    }
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    // Whoever it is must be able to start it.
    let away = std::env::temp_dir().join(format!("sidetone-heap-{}", std::process::id()));
    std::fs::copy(env!("CARGO_BIN_EXE_sidetone"), &away).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&away);
    let output = command.args(["heap", &other.id().to_string()]).output().unwrap();
    let _ = std::fs::remove_file(&away);
    let _ = other.kill();
    let _ = other.wait();
    assert_eq!(output.status.code(), Some(77), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("CAP_SYS_PTRACE"), "{output:?}");
}

/// The exit code for a child that has ended and was not waited for.
fn unsupported_while(child: &mut std::process::Child) -> i32 {
    let stat = format!("/proc/{}/stat", child.id());
    while !std::fs::read_to_string(&stat).unwrap().contains(") Z ") {
        sleep(Duration::from_millis(10));
    }
    let code = sidetone_heap(child.id()).status.code().unwrap();
    child.wait().unwrap();
    code
}

#[test]
fn the_table_draws_each_arena() {
    if !has("cc") {
        return;
    }
    let program = build("cc", "target.c", "heap-target", &[]).unwrap();
    let mut target = Target::start(&mut Command::new(program));
    target.ask("arenas 3");
    target.ask("grow");
    target.ask("holes");
    target.ask("trim");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidetone"));
    command.env("LC_ALL", "C").args(["heap", &target.pid().to_string()]);
    let output = command.output().unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    assert!(page.is_ascii() && page.contains("fragmented") && page.contains("glibc   3 arenas"), "{page}");
    for arena in ["  main", "  1 ", "  2 "] {
        let row =
            page.lines().find(|line| line.starts_with(arena)).unwrap_or_else(|| panic!("{arena} in {page}"));
        assert!(row.contains('#') && row.contains('.'), "{page}");
    }
}
