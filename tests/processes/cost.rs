//! What a look at 50 processes costs: `cargo test --release --test processes cost -- --ignored --nocapture`.

use std::fs;
use std::process::{Child, Command};

use sidetone::process::{Own, Poller, Rule, Settings};

/// Processor time of this thread, nanoseconds.
fn cpu_nanos() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

#[test]
#[ignore = "measures, and judges nothing"]
fn fifty_processes() {
    let mut sleepers: Vec<Child> =
        (0..50).map(|_| Command::new("sleep").arg("1000").spawn().unwrap()).collect();
    let settings = Settings { rules: vec![Rule::named("sleep")], ..Settings::default() };
    let every = settings.interval_seconds as f64;
    let mut poller = Poller::new(settings, Box::<Own>::default());
    let mut costs = Vec::new();
    let mut seen = 0;
    for poll in 0..40 {
        let before = cpu_nanos();
        let snapshot = poller.poll(f64::from(poll) * every);
        costs.push((cpu_nanos() - before) as f64 / 1e6);
        assert!(snapshot.groups[0].processes >= 50);
        seen = snapshot.poller.processes_seen;
    }
    for sleeper in &mut sleepers {
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    }
    let mean = costs.iter().sum::<f64>() / costs.len() as f64;
    costs.sort_by(f64::total_cmp);
    println!(
        "50 processes of {seen}: {mean:.2} ms of processor time a poll (median {:.2}, most {:.2}), ",
        costs[20], costs[39]
    );
    println!("every {every} s: {:.4} % of a core", mean / 10.0 / every);
}
