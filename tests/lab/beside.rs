//! What the agent says of Kamailio and RTPengine, between two looks at `/proc`.

use std::fs;
use std::path::PathBuf;

use crate::patience;
use crate::stage::Watch;

/// What `/proc` says of all processes of one name.
struct Group {
    count: f64,
    resident: f64,
    threads: f64,
    fds: f64,
    cpu_seconds: f64,
}

impl Group {
    fn read(name: &str) -> Self {
        let places: Vec<PathBuf> = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|place| fs::read_to_string(place.join("comm")).is_ok_and(|comm| comm.trim_end() == name))
            .collect();
        let stat = |place: &PathBuf, field: usize| -> f64 {
            let text = fs::read_to_string(place.join("stat")).unwrap();
            text.rsplit_once(") ").unwrap().1.split(' ').nth(field - 3).unwrap().parse().unwrap()
        };
        // Each page divided by those who share it: the lab is root's, and so may the agent read.
        let proportional = |place: &PathBuf| -> f64 {
            let text = fs::read_to_string(place.join("smaps_rollup")).unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
            1024.0 * line.trim().trim_end_matches(" kB").parse::<f64>().unwrap()
        };
        let sum = |of: &dyn Fn(&PathBuf) -> f64| places.iter().map(of).sum::<f64>();
        Self {
            count: places.len() as f64,
            resident: sum(&proportional),
            threads: sum(&|place| stat(place, 20)),
            fds: sum(&|place| fs::read_dir(place.join("fd")).unwrap().count() as f64),
            cpu_seconds: sum(&|place| stat(place, 14) + stat(place, 15)) / procfs::ticks_per_second() as f64,
        }
    }
}

/// The value of a sample that begins like this and has this label.
fn sample(text: &str, beginning: &str, label: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with(beginning) && line.contains(label))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

/// The agent says what `/proc` said before its look, or after it, or something in between.
pub(crate) fn judge_processes(watch: &Watch<'_>) {
    for name in ["kamailio", "rtpengine"] {
        let polls = |text: &str| sample(text, "sidetone_polls_total{", "").unwrap_or(0.0);
        let first = polls(&watch.metrics());
        let before = Group::read(name);
        let mut text = String::new();
        assert!(patience::within(30, || {
            text = watch.metrics();
            polls(&text) > first + 1.5
        }));
        let after = Group::read(name);
        let served = |family: &str, label: &str| {
            let found = sample(&text, &format!("voip_process{family}{{process=\"{name}\""), label);
            found.unwrap_or_else(|| panic!("{family} of {name} is absent"))
        };
        let between = |what: &str, served: f64, of: fn(&Group) -> f64, tolerance: f64| {
            let (low, high) = (of(&before).min(of(&after)), of(&before).max(of(&after)));
            let holds = (low - tolerance..=high + tolerance).contains(&served);
            assert!(holds, "{what} of {name}: {served} and not {low} to {high}");
        };
        assert!(before.count >= 1.0, "{name} runs");
        between("processes", served("es", ""), |group| group.count, 0.0);
        between("threads", served("_threads", ""), |group| group.threads, 0.0);
        between("files", served("_open_fds", ""), |group| group.fds, 0.0);
        let cpu =
            served("_cpu_seconds_total", "mode=\"user\"") + served("_cpu_seconds_total", "mode=\"system\"");
        // Workers that have ended are in it, and in none of the others.
        between("processor time", cpu, |group| group.cpu_seconds, 0.1);
        // It is read once a minute only, and workers come to share less.
        between(
            "memory",
            served("_resident_memory_bytes", ""),
            |group| group.resident,
            0.4 * before.resident,
        );
    }
}
