//! Which processes are looked at, and how closely: `[[processes]]` and `[poll]` of the configuration.

use std::path::PathBuf;

use serde::Serialize;

use crate::call::classify::Pattern;

/// What the poller is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Rules, the first that fits counts.
    pub rules: Vec<Rule>,
    /// Look for well-known programs too, behind the rules.
    pub well_known: bool,
    /// Look at the host too.
    pub host: bool,
    /// Look at graphics processors too: a library that is not ours is loaded for it.
    pub gpu: bool,
    /// Time between two polls.
    pub interval_seconds: u64,
    /// Time at least between two looks at what takes the kernel long: page tables, threads one by one.
    pub slow_interval_seconds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            well_known: true,
            host: true,
            gpu: false,
            interval_seconds: 15,
            slow_interval_seconds: 60,
        }
    }
}

impl Settings {
    /// Rules as they are gone through: those given, then those of well-known programs that no given one names.
    pub fn all_rules(&self) -> Vec<Rule> {
        let mut rules = self.rules.clone();
        if self.well_known {
            let named = |name: &&&str| self.rules.iter().all(|rule| rule.name != **name);
            rules.extend(WELL_KNOWN.iter().filter(named).map(|name| Rule::named(name)));
        }
        rules
    }
}

/// One group of processes. All conditions must hold, of each list one entry; without any, the name is that of the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Value of the label `process`.
    pub name: String,
    /// Names of the program, as `ps -o comm` shows them.
    pub command: Vec<Pattern>,
    /// The file that is run.
    pub executable: Vec<Pattern>,
    /// Its control group, or one above it.
    pub cgroup: Vec<Pattern>,
    /// The unit of systemd that it belongs to.
    pub unit: Vec<Pattern>,
    /// A file that has the pid of the process, whose descendants are meant too.
    pub pid_file: Option<PathBuf>,
    /// How much memory it should take at most, bytes.
    pub memory_budget: Option<u64>,
    /// What counts as an allocation.
    pub allocations: Allocations,
    /// Walk its heap, where that may be done.
    pub heap: HeapWalks,
}

/// Where `voip_process_allocations_total` comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Allocations {
    /// Pages that the kernel handed out.
    #[default]
    Page,
    /// Those, and calls into the allocator, which costs the process about 0.6 us a call.
    Malloc,
}

/// Whether and how often the heap is walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeapWalks {
    /// Whether.
    pub enabled: bool,
    /// Time at least between two of one group.
    pub interval_seconds: u64,
}

impl Default for HeapWalks {
    fn default() -> Self {
        Self { enabled: true, interval_seconds: 60 }
    }
}

impl Rule {
    /// The program of this name.
    pub fn named(name: &str) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Whether it has no condition.
    pub fn is_bare(&self) -> bool {
        self.command.is_empty()
            && self.executable.is_empty()
            && self.cgroup.is_empty()
            && self.unit.is_empty()
            && self.pid_file.is_none()
    }
}

/// Programs that are looked for without being asked.
pub const WELL_KNOWN: [&str; 6] = ["kamailio", "rtpengine", "asterisk", "freeswitch", "opensips", "sidetone"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_of_its_name_stands_for_a_well_known_program() {
        let settings =
            Settings { rules: vec![Rule::named("sidetone"), Rule::named("x")], ..Settings::default() };
        let names: Vec<_> = settings.all_rules().into_iter().map(|rule| rule.name).collect();
        assert_eq!(names, ["sidetone", "x", "kamailio", "rtpengine", "asterisk", "freeswitch", "opensips"]);
        assert_eq!(Settings { well_known: false, ..settings }.all_rules().len(), 2);
    }
}
