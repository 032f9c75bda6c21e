//! Which rule a process falls under.
//!
//! ```text
//! name (15 bytes)         /proc/PID/stat                    no right
//! cgroup, systemd unit    /proc/PID/cgroup                  no right
//! pid file                the file, and parents in stat     reading it
//! executable              /proc/PID/exe, else argv[0] if it is an absolute path
//! ```
//!
//! In a pod whose containers share their processes all of it works the same: pids are those of the pod.

use std::os::unix::ffi::OsStrExt;

use super::settings::Rule;
use super::stat::{COMMAND_BYTES, Stat};
use super::{Process, lines};
use crate::call::classify::Pattern;

/// A process that was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) pid: u32,
    pub(super) stat: Stat,
}

impl Seen {
    pub(super) fn process(&self) -> Process {
        Process { pid: self.pid, started_ticks: self.stat.started_ticks }
    }
}

/// What rules may want to know of a process, looked up when the first one does.
pub(super) trait Look {
    /// Content of `/proc/PID/cgroup`; empty when it cannot be read.
    fn cgroups(&mut self) -> &[u8];
    /// The file it runs, if that can be told.
    fn executable(&mut self) -> Option<&std::path::Path>;
}

/// The first rule that fits. `parents` are those of pid files, by rule: the process itself or one above it is there.
pub(super) fn decide(
    rules: &[Rule],
    seen: &Seen,
    is_below: impl Fn(usize) -> bool,
    look: &mut impl Look,
) -> Option<usize> {
    rules.iter().enumerate().position(|(at, rule)| fits(rule, seen, || is_below(at), look))
}

fn fits(rule: &Rule, seen: &Seen, is_below: impl Fn() -> bool, look: &mut impl Look) -> bool {
    let command = seen.stat.command();
    if rule.is_bare() {
        return command == cut(&rule.name);
    }
    let any = |patterns: &[Pattern], text: &[u8]| patterns.iter().any(|pattern| pattern.fits(text));
    (rule.command.is_empty() || rule.command.iter().any(|pattern| is_called(pattern, command)))
        && (rule.pid_file.is_none() || is_below())
        && (rule.cgroup.is_empty()
            || paths(look.cgroups()).any(|path| ancestors(path).any(|path| any(&rule.cgroup, path))))
        && (rule.unit.is_empty()
            || paths(look.cgroups())
                .any(|path| path.split(|&byte| byte == b'/').any(|part| any(&rule.unit, part))))
        && (rule.executable.is_empty()
            || look.executable().is_some_and(|file| any(&rule.executable, file.as_os_str().as_bytes())))
}

/// The kernel keeps so much of a name.
fn cut(name: &str) -> &[u8] {
    let name = name.as_bytes();
    name.get(..COMMAND_BYTES).unwrap_or(name)
}

fn is_called(pattern: &Pattern, command: &[u8]) -> bool {
    match pattern {
        Pattern::Exact(name) => command.eq_ignore_ascii_case(cut(name)),
        _ => pattern.fits(command),
    }
}

/// Paths of `/proc/PID/cgroup`, of all hierarchies.
fn paths(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines::rows(text).filter_map(|line| line.splitn(3, |&byte| byte == b':').nth(2))
}

/// `/a/b/c`, `/a/b`, `/a`
fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(path), |path| {
        let cut = path.iter().rposition(|&byte| byte == b'/')?;
        path.get(..cut).filter(|path| !path.is_empty())
    })
}

/// Whether `seen` is `top` or a descendant of it; `all` are sorted by pid.
pub(super) fn is_descendant(all: &[Seen], seen: &Seen, top: u32) -> bool {
    let mut at = *seen;
    // Longer chains are no workers; a ring cannot be, but who knows what was read in between.
    for _ in 0..MOST_GENERATIONS {
        if at.pid == top {
            return true;
        }
        match all.binary_search_by_key(&at.stat.parent, |seen| seen.pid) {
            Ok(parent) => match all.get(parent) {
                Some(parent) => at = *parent,
                None => return false,
            },
            Err(_) => return false,
        }
    }
    false
}

const MOST_GENERATIONS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    struct Fixed(&'static [u8], Option<PathBuf>);

    impl Look for Fixed {
        fn cgroups(&mut self) -> &[u8] {
            self.0
        }

        fn executable(&mut self) -> Option<&Path> {
            self.1.as_deref()
        }
    }

    fn seen(pid: u32, parent: u32, command: &str) -> Seen {
        let line = format!("{pid} ({command}) S {parent} 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 77 0 0");
        Seen { pid, stat: Stat::parse(line.as_bytes()).unwrap() }
    }

    fn rule(change: impl FnOnce(&mut Rule)) -> Rule {
        let mut rule = Rule::named("r");
        change(&mut rule);
        rule
    }

    fn fits_one(rule: Rule, command: &str) -> bool {
        let cgroups = b"9:name=systemd:/\n0::/system.slice/system-kamailio.slice/kamailio@1.service\n";
        let mut look = Fixed(cgroups, Some("/opt/voip/sbin/kamailio".into()));
        decide(&[rule], &seen(5, 1, command), |_| false, &mut look).is_some()
    }

    #[test]
    fn a_program_is_known_by_its_name() {
        assert!(fits_one(Rule::named("kamailio"), "kamailio"));
        assert!(!fits_one(Rule::named("kamailio"), "kamailio2"));
        assert!(fits_one(Rule::named("rtpengine-recording"), "rtpengine-recor"), "the kernel cuts it");
        let by = |pattern: &str| rule(|rule| rule.command = vec![pattern.parse().unwrap()]);
        assert!(fits_one(by("rtp*"), "rtpengine") && fits_one(by("rtpengine-recording"), "rtpengine-recor"));
        assert!(!fits_one(by("sip*"), "rtpengine"));
    }

    #[test]
    fn a_unit_is_a_part_of_the_path_and_a_cgroup_is_the_path_or_above() {
        let unit = |pattern: &str| rule(|rule| rule.unit = vec![pattern.parse().unwrap()]);
        assert!(fits_one(unit("kamailio@1.service"), "x") && fits_one(unit("kamailio@*"), "x"));
        assert!(!fits_one(unit("kamailio.service"), "x"));
        let cgroup = |pattern: &str| rule(|rule| rule.cgroup = vec![pattern.parse().unwrap()]);
        assert!(fits_one(cgroup("/system.slice/system-kamailio.slice"), "x"));
        assert!(fits_one(cgroup("*kamailio.slice"), "x") && !fits_one(cgroup("/system"), "x"));
    }

    #[test]
    fn all_conditions_must_hold() {
        let both = |file: &str| {
            rule(|rule| {
                rule.command = vec!["kamailio".parse().unwrap()];
                rule.executable = vec![file.parse().unwrap()];
            })
        };
        assert!(fits_one(both("/opt/voip/*"), "kamailio"));
        assert!(!fits_one(both("/opt/voip/*"), "asterisk") && !fits_one(both("/usr/*"), "kamailio"));
    }

    #[test]
    fn the_first_rule_counts() {
        let rules = [
            Rule::named("a"),
            rule(|rule| rule.command = vec!["*".parse().unwrap_or(Pattern::Prefix(String::new()))]),
        ];
        let at = decide(&rules, &seen(5, 1, "a"), |_| false, &mut Fixed(b"", None));
        assert_eq!(at, Some(0));
    }

    #[test]
    fn a_pid_file_means_the_process_and_its_descendants() {
        let all = [
            seen(1, 0, "init"),
            seen(10, 1, "main"),
            seen(11, 10, "worker"),
            seen(12, 11, "below"),
            seen(20, 1, "x"),
        ];
        let below: Vec<_> = all.iter().map(|seen| is_descendant(&all, seen, 10)).collect();
        assert_eq!(below, [false, true, true, true, false]);
        let ring = [seen(30, 31, "a"), seen(31, 30, "b")];
        assert!(!is_descendant(&ring, &ring[0], 10));
    }
}
