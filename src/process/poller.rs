//! Looks at all processes every few seconds: finds those that are chosen, follows them, and says what they have.
//!
//! ```text
//! poll: list /proc -> stat of all -> decide (kept for a while) -> of the chosen: status, fds, oom_score, cgroup
//!                                                              \-> now and then: page tables, threads, sockets, heap
//! ```
//!
//! A look at one process goes through its directory of /proc: when it ends in between, the look ends too, and a new one
//! under its number is not taken for it.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, statat};

use super::cgroup::Mounts;
use super::choose::{self, Look, Seen};
use super::files::{self, Buffer, SMALL};
use super::group::{Clock, Group, Member};
use super::host::{self, Gpus, Host};
use super::pace::Pace;
use super::privileged::{Missing, Privileged};
use super::settings::{Allocations, Rule, Settings};
use super::snapshot::{Figures, Lack, PollerStats, Snapshot};
use super::stat::Stat;
use super::status::Status;
use super::{Process, lines, threads, udp};

/// Follows the chosen processes from poll to poll.
#[derive(Debug)]
pub struct Poller {
    settings: Settings,
    rules: Vec<Rule>,
    groups: Vec<Group>,
    members: BTreeMap<u32, Member>,
    decided: HashMap<u32, Decision>,
    /// What the pid files of the rules said.
    tops: Vec<Option<u32>>,
    privileged: Box<dyn Privileged>,
    gpus: Gpus,
    mounts: Mounts,
    buffer: Buffer,
    lacks: BTreeMap<Lack, BTreeSet<String>>,
    slow: Pace,
    sockets: Pace,
    /// Network interfaces whose errors are told; empty = all.
    interfaces: Vec<String>,
    stats: PollerStats,
    /// Others were seen in the list and could not be read.
    is_denied: bool,
}

/// Which rule a process falls under.
#[derive(Debug)]
struct Decision {
    process: Process,
    command: [u8; 16],
    rule: Option<usize>,
    /// What would have been good to know.
    lack: Option<Lack>,
    /// When it was decided.
    at: f64,
}

impl Poller {
    /// Nothing is looked at yet.
    pub fn new(settings: Settings, privileged: Box<dyn Privileged>) -> Self {
        let mut buffer = Buffer::default();
        let mountinfo = buffer.read_path(Path::new("/proc/self/mountinfo"), 1 << 20);
        let mounts = mountinfo.map(Mounts::parse).unwrap_or_default();
        let mut poller = Self {
            settings: Settings::default(),
            rules: Vec::new(),
            groups: Vec::new(),
            members: BTreeMap::new(),
            decided: HashMap::new(),
            tops: Vec::new(),
            privileged,
            gpus: Gpus::none(),
            mounts,
            buffer,
            lacks: BTreeMap::new(),
            slow: Pace::default(),
            sockets: Pace::default(),
            interfaces: Vec::new(),
            stats: PollerStats::default(),
            is_denied: false,
        };
        poller.configure(settings);
        poller
    }

    /// Looks at these as well.
    #[must_use]
    pub fn with_gpus(self, gpus: Gpus) -> Self {
        Self { gpus, ..self }
    }

    /// Other rules from now on. A group of the same name goes on counting, and its processes stay in it if they still fit.
    pub fn configure(&mut self, settings: Settings) {
        self.rules = settings.all_rules();
        let mut before: HashMap<_, _> = self
            .groups
            .drain(..)
            .enumerate()
            .map(|(at, group)| (group.rule.name.clone(), (at, group)))
            .collect();
        let mut moved = HashMap::new();
        for (at, rule) in self.rules.iter().enumerate() {
            let is_given = at < settings.rules.len();
            self.groups.push(match before.remove(&rule.name) {
                Some((was, group)) => {
                    moved.insert(was, at);
                    group.under(rule.clone(), is_given)
                }
                None => Group::new(rule.clone(), is_given),
            });
        }
        self.members.retain(|_, member| {
            let at = moved.get(&member.group);
            member.group = at.copied().unwrap_or_default();
            at.is_some()
        });
        self.decided.clear();
        self.settings = settings;
    }

    /// Tells whose errors among the network interfaces are wanted; none = all.
    pub fn watch_interfaces(&mut self, names: Vec<String>) {
        self.interfaces = names;
    }

    /// Looks at everything once. `now` is a clock of seconds that never falls.
    pub fn poll(&mut self, now: f64) -> Snapshot {
        let begun = Pace::begin();
        self.lacks.clear();
        let stat = host::Stat::read(&mut self.buffer);
        let clock =
            Clock { ticks_per_second: procfs::ticks_per_second(), booted_seconds: stat.booted_seconds };
        let seen = self.scan();
        let chosen = self.choose(&seen, now);
        self.leave(&chosen);
        let is_slow = self.slow.is_due(now);
        let begun_members = Pace::begin();
        for (process, rule) in chosen {
            self.follow(process, rule, is_slow);
        }
        if is_slow {
            // Most of that time is the kernel's way through page tables.
            self.slow.took(now, self.settings.slow_interval_seconds as f64, begun_members.seconds());
        }
        self.look_at_cgroups();
        self.look_at_sockets(&seen, now);
        for group in &self.groups {
            if let Some(lack) = group.udp_missing.as_ref().and_then(|missing| Lack::of("udp_drops", missing))
            {
                self.lacks.entry(lack).or_default().insert(group.rule.name.clone());
            }
        }
        self.look_at_heaps(now);
        self.look_at_pools(now);
        let (host, interfaces) = (self.settings.host, &self.interfaces);
        let shows =
            |name: &str| interfaces.is_empty() || interfaces.iter().any(|interface| interface == name);
        let host =
            host.then(|| Host::read(&stat, clock.ticks_per_second, shows, &self.gpus, &mut self.buffer));
        // In a namespace of processes there always is a first one.
        let is_hidden = self.is_denied || seen.iter().all(|seen| seen.pid != 1);
        self.stats.polls += 1;
        self.stats.processes_seen = seen.len() as u64;
        self.stats.seconds += begun.seconds();
        Snapshot {
            groups: self.figures(clock),
            host,
            lacks: self.lacks.clone(),
            is_hidden,
            poller: self.stats,
        }
    }

    /// All processes with memory of their own, by pid.
    fn scan(&mut self) -> Vec<Seen> {
        self.is_denied = false;
        let mut seen = Vec::new();
        let Ok(proc) = files::directory(CWD, "/proc") else { return seen };
        let Ok(entries) = Dir::read_from(&proc) else { return seen };
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name();
            let number = lines::number(name.to_bytes()).and_then(|pid| u32::try_from(pid).ok());
            let Some(pid) = number.filter(|_| seen.len() < MOST_SEEN) else { continue };
            match self.buffer.read(&proc, &format!("{pid}/stat"), SMALL) {
                Ok(text) => {
                    let stat = Stat::parse(text).filter(|stat| !stat.is_dead() && !stat.is_kernel());
                    seen.extend(stat.map(|stat| Seen { pid, stat }));
                }
                Err(error) => self.is_denied |= is_refused(&error),
            }
        }
        seen.sort_unstable_by_key(|seen| seen.pid);
        seen
    }

    /// Those that a rule fits, and which.
    fn choose(&mut self, seen: &[Seen], now: f64) -> Vec<(Process, usize)> {
        let tops: Vec<_> = (0..self.rules.len()).map(|rule| self.top(rule)).collect();
        if tops != self.tops {
            self.decided.clear();
        }
        let by_file = self.rules.iter().find(|rule| !rule.executable.is_empty());
        let mut chosen = Vec::new();
        let mut refused = 0;
        let mut decided = HashMap::with_capacity(seen.len());
        for one in seen {
            let process = one.process();
            let known = self.decided.remove(&one.pid).filter(|known| {
                known.process == process
                    && known.command == one.stat.command
                    && now - known.at < DECIDED_SECONDS
            });
            let decision = known.unwrap_or_else(|| {
                let below = |rule: usize| {
                    let top = tops.get(rule).copied().flatten();
                    top.is_some_and(|top| choose::is_descendant(seen, one, top))
                };
                let mut eyes = Eyes::new(process, &mut self.buffer, self.privileged.as_mut());
                let rule = choose::decide(&self.rules, one, below, &mut eyes);
                Decision { process, command: one.stat.command, rule, lack: eyes.lack, at: now }
            });
            if let Some((lack, rule)) = decision.lack.as_ref().zip(by_file) {
                self.lacks.entry(lack.clone()).or_default().insert(rule.name.clone());
            }
            match decision.rule {
                Some(rule) if chosen.len() < MOST_FOLLOWED => chosen.push((process, rule)),
                Some(_) => refused += 1,
                None => {}
            }
            decided.insert(one.pid, decision);
        }
        self.decided = decided;
        self.tops = tops;
        self.stats.refused = refused;
        chosen
    }

    /// The process that the pid file of a rule names.
    fn top(&mut self, rule: usize) -> Option<u32> {
        let rule = self.rules.get(rule)?;
        let file = rule.pid_file.as_ref()?;
        match self.buffer.read_path(file, SMALL) {
            Ok(text) => lines::number(text.trim_ascii()).and_then(|pid| u32::try_from(pid).ok()),
            Err(error) => {
                let reason = format!("{}: {error}", file.display());
                let hint = if is_refused(&error) {
                    "only files that were named at the start can be read since, and a unit must show them (BindReadOnlyPaths=)"
                } else {
                    ""
                };
                let lack = Lack { figure: "pid_file", reason, hint };
                self.lacks.entry(lack).or_default().insert(rule.name.clone());
                None
            }
        }
    }

    /// Takes leave of those that have ended, or are in no group any more.
    fn leave(&mut self, chosen: &[(Process, usize)]) {
        let stays: HashSet<_> = chosen.iter().copied().collect();
        let (groups, privileged) = (&mut self.groups, &mut self.privileged);
        self.members.retain(|_, member| {
            let stays = stays.contains(&(member.process, member.group));
            if !stays {
                privileged.forget(member.process);
                if let Some(group) = groups.get_mut(member.group) {
                    group.exits += 1;
                }
            }
            stays
        });
    }

    /// Looks at one process. What cannot be read of it stays absent.
    fn follow(&mut self, process: Process, rule: usize, is_slow: bool) {
        let Ok(directory) = files::directory(CWD, &format!("/proc/{}", process.pid)) else { return };
        let Some(stat) = self.buffer.read(&directory, "stat", SMALL).ok().and_then(Stat::parse) else {
            return;
        };
        let Some(group) = self.groups.get_mut(rule).filter(|_| stat.started_ticks == process.started_ticks)
        else {
            return;
        };
        let is_new = !self.members.contains_key(&process.pid);
        let member = self.members.entry(process.pid).or_insert_with(|| Member::new(process, rule));
        group.count(&member.stat, &stat);
        member.stat = stat;
        if let Ok(text) = self.buffer.read(&directory, "status", SMALL) {
            member.status = Status::parse(text);
        }
        let counted = match member.status.switches() {
            Some(counts) if stat.threads <= 1 => Some(BTreeMap::from([(u64::from(process.pid), counts)])),
            Some(_) if is_slow || is_new => threads::read(&directory, &mut self.buffer).ok(),
            _ => None,
        };
        if let Some(counts) = counted {
            group.count_switches(member.threads.news(counts));
        }
        let score = self.buffer.read(&directory, "oom_score", SMALL);
        member.oom_score = score.ok().and_then(|text| lines::number(text.trim_ascii()));
        let mut lack = |figure, missing: &Missing| {
            if let Some(lack) = Lack::of(figure, missing) {
                self.lacks.entry(lack).or_default().insert(group.rule.name.clone());
            }
        };
        // Linux 6.2 tells it as the size of the directory, to anybody.
        let told =
            statat(&directory, "fd", AtFlags::empty()).ok().and_then(|stat| u64::try_from(stat.st_size).ok());
        member.open_fds = match told.filter(|count| *count > 0) {
            Some(count) => Some(count),
            None => self.privileged.open_fds(process).inspect_err(|missing| lack("open_fds", missing)).ok(),
        };
        if is_slow || is_new {
            let limits = self.buffer.read(&directory, "limits", SMALL);
            member.fd_limit = limits.ok().and_then(fd_limit);
            if let Ok(text) = self.buffer.read(&directory, "cgroup", SMALL) {
                member.place = self.mounts.place(text);
            }
            member.network = statat(&directory, "net/udp", AtFlags::empty()).ok().map(|stat| stat.st_ino);
        }
        if is_slow || is_new {
            match self.privileged.memory_map(process) {
                Ok(map) => (member.map, member.map_missing) = (Some(map), None),
                Err(missing) => (member.map, member.map_missing) = (None, Some(missing)),
            }
        }
        if let Some(missing) = &member.map_missing {
            lack("proportional_memory", missing);
        }
        if group.rule.allocations == Allocations::Malloc {
            match self.privileged.allocations(process) {
                Ok(calls) => {
                    let news = calls.checked_sub(member.allocations).unwrap_or(calls);
                    member.allocations = calls;
                    group.allocations = Some(group.allocations.unwrap_or(0).saturating_add(news));
                }
                Err(missing) => lack("allocations", &missing),
            }
        }
    }

    fn look_at_cgroups(&mut self) {
        let places: BTreeSet<_> = self.members.values().map(|member| &member.place).collect();
        let mut read = BTreeMap::new();
        for place in places {
            let cgroup = place.read(&self.mounts, &mut self.buffer);
            if !cgroup.is_empty() {
                read.insert(place.clone(), cgroup);
            }
        }
        for (at, group) in self.groups.iter_mut().enumerate() {
            let of_group = self.members.values().filter(|member| member.group == at);
            let found = of_group.filter_map(|member| Some((member.place.clone(), *read.get(&member.place)?)));
            group.take_cgroups(found.collect());
        }
    }

    fn look_at_sockets(&mut self, seen: &[Seen], now: f64) {
        if !self.sockets.is_due(now) {
            return;
        }
        let begun = Pace::begin();
        let mut tables: HashMap<u64, Vec<udp::Socket>> = HashMap::new();
        for member in self.members.values() {
            let Some(network) = member.network.filter(|network| !tables.contains_key(network)) else {
                continue;
            };
            let mut sockets = Vec::new();
            for table in ["udp", "udp6"] {
                let file = format!("/proc/{}/net/{table}", member.process.pid);
                if let Ok(text) = self.buffer.read_path(Path::new(&file), MOST_TABLE_BYTES) {
                    sockets.extend(udp::parse(text));
                }
            }
            tables.insert(network, sockets);
        }
        let mut users = None;
        for at in 0..self.groups.len() {
            let sockets = self.sockets_of(at, seen, &tables, &mut users);
            if let Some(group) = self.groups.get_mut(at) {
                group.take_sockets(sockets);
            }
        }
        self.sockets.took(now, self.settings.interval_seconds as f64, begun.seconds());
    }

    /// The sockets of a group: those among its descriptors; where nobody may look, those of its user.
    fn sockets_of(
        &mut self,
        group: usize,
        seen: &[Seen],
        tables: &HashMap<u64, Vec<udp::Socket>>,
        users: &mut Option<Users>,
    ) -> Result<Vec<udp::Socket>, Missing> {
        let members: Vec<_> = self.members.values().filter(|member| member.group == group).collect();
        if members.is_empty() {
            return Err(Missing::Gone);
        }
        let networks: BTreeSet<_> = members.iter().filter_map(|member| member.network).collect();
        let of_networks = networks.iter().filter_map(|network| tables.get(network)).flatten();
        let mut inodes = Vec::new();
        let looked = members.iter().try_for_each(|member| {
            match self.privileged.sockets(member.process, &mut inodes) {
                Err(Missing::Gone) => Ok(()),
                other => other,
            }
        });
        let Err(missing) = looked else {
            let inodes: HashSet<_> = inodes.into_iter().collect();
            return Ok(of_networks.filter(|socket| inodes.contains(&socket.inode)).copied().collect());
        };
        // Root is nobody's own: sockets are opened as root before another user is taken.
        let own: BTreeSet<u32> = members.iter().map(|member| member.status.user.unwrap_or(0)).collect();
        if own.contains(&0) {
            return Err(missing);
        }
        let users = users.get_or_insert_with(|| Users::read(seen, &self.members, &mut self.buffer));
        if !own.iter().all(|user| users.is_only_of(*user, group)) {
            return Err(missing);
        }
        let sockets: Vec<_> = of_networks.filter(|socket| own.contains(&socket.user)).copied().collect();
        // None: they may have been opened as root all the same.
        if sockets.is_empty() { Err(missing) } else { Ok(sockets) }
    }

    fn look_at_heaps(&mut self, now: f64) {
        for (at, group) in self.groups.iter_mut().enumerate() {
            let walks = group.rule.heap;
            let members = self.members.values_mut().filter(|member| member.group == at);
            if !walks.enabled {
                members.for_each(|member| (member.heap, member.pools) = (None, Vec::new()));
                continue;
            }
            let is_due = group.heap_pace.is_due(now);
            let begun = Pace::begin();
            let mut any = false;
            for member in members {
                any = true;
                let mut lack = |figure, missing: &Missing| {
                    if let Some(lack) = Lack::of(figure, missing) {
                        self.lacks.entry(lack).or_default().insert(group.rule.name.clone());
                    }
                };
                if !is_due {
                    if let Some(missing) = &group.heap_missing {
                        lack("heap", missing);
                    }
                    continue;
                }
                group.heap_missing = None;
                match self.privileged.heap(member.process) {
                    Ok(heap) => {
                        member.heap = Some(heap);
                        group.heap_unsupported = None;
                    }
                    Err(missing) => {
                        lack("heap", &missing);
                        match &missing {
                            // The last figure stays.
                            Missing::Failed(_) => group.heap_failures += 1,
                            Missing::Unsupported(reason) => group.heap_unsupported = Some(reason.clone()),
                            Missing::Gone | Missing::Right(_) => {}
                        }
                        group.heap_missing = Some(missing);
                    }
                }
            }
            if is_due && any {
                group.heap_pace.took(now, walks.interval_seconds as f64, begun.seconds());
            }
        }
    }

    /// They cost less than a walk of the heap beside them, and need not wait as long.
    fn look_at_pools(&mut self, now: f64) {
        for (at, group) in self.groups.iter_mut().enumerate() {
            let walks = group.rule.heap;
            if !walks.enabled || !group.pool_pace.is_due(now) {
                continue;
            }
            let begun = Pace::begin();
            let (mut any, mut known) = (false, false);
            for member in self.members.values_mut().filter(|member| member.group == at) {
                any = true;
                if let Ok(pools) = self.privileged.pools(member.process) {
                    known |= !pools.is_empty();
                    member.pools = pools;
                }
            }
            // Where it is known where they are, a look costs next to nothing; to look for them takes long.
            let seconds = if known { 0.0 } else { begun.seconds() };
            if any {
                group.pool_pace.took(now, walks.interval_seconds as f64, seconds);
            }
        }
    }

    fn figures(&self, clock: Clock) -> Vec<Figures> {
        let groups = self.groups.iter().enumerate();
        groups
            .filter_map(|(at, group)| {
                let members: Vec<_> = self.members.values().filter(|member| member.group == at).collect();
                group.figures(&members, clock)
            })
            .collect()
    }
}

/// Looks up what a rule asks for, once.
struct Eyes<'p> {
    process: Process,
    buffer: &'p mut Buffer,
    privileged: &'p mut dyn Privileged,
    cgroups: Option<Vec<u8>>,
    executable: OnceCell<Option<PathBuf>>,
    lack: Option<Lack>,
}

impl<'p> Eyes<'p> {
    fn new(process: Process, buffer: &'p mut Buffer, privileged: &'p mut dyn Privileged) -> Self {
        Self { process, buffer, privileged, cgroups: None, executable: OnceCell::new(), lack: None }
    }

    fn file(buffer: &mut Buffer, process: Process, name: &str) -> Vec<u8> {
        let file = format!("/proc/{}/{name}", process.pid);
        buffer.read_path(Path::new(&file), SMALL).map(<[u8]>::to_vec).unwrap_or_default()
    }
}

impl Look for Eyes<'_> {
    fn cgroups(&mut self) -> &[u8] {
        let (buffer, process) = (&mut *self.buffer, self.process);
        self.cgroups.get_or_insert_with(|| Self::file(buffer, process, "cgroup"))
    }

    fn executable(&mut self) -> Option<&Path> {
        let (buffer, privileged, process, lack) =
            (&mut *self.buffer, &mut *self.privileged, self.process, &mut self.lack);
        let found = self.executable.get_or_init(|| match privileged.executable(process) {
            Ok(file) => Some(file),
            Err(missing) => {
                // What it was called with is good enough where it is a whole path; anybody could have made it up.
                let line = Self::file(buffer, process, "cmdline");
                let first = line.split(|&byte| byte == 0).next().unwrap_or_default();
                let file = Path::new(OsStr::from_bytes(first));
                if !file.is_absolute() {
                    *lack = Lack::of("executable", &missing);
                    return None;
                }
                Some(file.to_owned())
            }
        });
        found.as_deref()
    }
}

/// Which groups have processes of which user; no group stands for processes that nobody chose.
struct Users(HashMap<u32, HashSet<Option<usize>>>);

impl Users {
    fn read(seen: &[Seen], members: &BTreeMap<u32, Member>, buffer: &mut Buffer) -> Self {
        let mut users: HashMap<u32, HashSet<Option<usize>>> = HashMap::new();
        for one in seen {
            let member = members.get(&one.pid);
            let status = match member {
                Some(member) => member.status,
                None => buffer
                    .read_path(Path::new(&format!("/proc/{}/status", one.pid)), SMALL)
                    .map(Status::parse)
                    .unwrap_or_default(),
            };
            if let Some(user) = status.user {
                users.entry(user).or_default().insert(member.map(|member| member.group));
            }
        }
        Self(users)
    }

    fn is_only_of(&self, user: u32, group: usize) -> bool {
        self.0.get(&user).is_some_and(|groups| groups.len() == 1 && groups.contains(&Some(group)))
    }
}

/// `Max open files            1024                 4096                 files`: the first number.
fn fd_limit(limits: &[u8]) -> Option<u64> {
    let line = lines::rows(limits).find_map(|line| line.strip_prefix(b"Max open files"))?;
    lines::words(line).next().and_then(lines::number)
}

fn is_refused(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM))
}

/// A process may be moved to another control group, or run another program under the same name.
const DECIDED_SECONDS: f64 = 60.0;
/// Processes of the host that are looked at.
const MOST_SEEN: usize = 1 << 16;
/// Processes that are followed.
const MOST_FOLLOWED: usize = 1024;
/// More than 100,000 sockets.
const MOST_TABLE_BYTES: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::Own;
    use std::fs;

    fn poller(rules: Vec<Rule>) -> Poller {
        Poller::new(Settings { rules, well_known: false, ..Settings::default() }, Box::new(Own::default()))
    }

    fn myself() -> String {
        fs::read_to_string("/proc/self/comm").unwrap().trim_end().to_owned()
    }

    #[test]
    fn a_process_is_found_by_its_name_and_by_its_pid_file() {
        let directory = tempfile::tempdir().unwrap();
        let pid_file = directory.path().join("pid");
        fs::write(&pid_file, format!("{}\n", std::process::id())).unwrap();
        let by_file = Rule { pid_file: Some(pid_file.clone()), ..Rule::named("file") };
        let snapshot = poller(vec![by_file.clone()]).poll(0.0);
        let [group] = snapshot.groups.as_slice() else { panic!("{snapshot:?}") };
        assert!(group.processes >= 1 && group.memory.resident > Some(1 << 20), "{group:?}");
        let mut named = poller(vec![Rule::named(&myself()), Rule::named("nobody")]);
        let snapshot = named.poll(0.0);
        assert_eq!(
            snapshot.groups.iter().map(|group| group.name.as_str()).collect::<Vec<_>>(),
            [&myself(), "nobody"]
        );
        assert!(snapshot.groups[0].processes >= 1);
        assert_eq!((snapshot.groups[1].processes, snapshot.groups[1].cpu_seconds), (0, None));
        fs::remove_file(pid_file).unwrap();
        let snapshot = poller(vec![by_file]).poll(0.0);
        assert_eq!(snapshot.groups[0].processes, 0);
        assert!(snapshot.lacks.keys().any(|lack| lack.figure == "pid_file"), "{:?}", snapshot.lacks);
    }

    #[test]
    fn a_reload_keeps_what_was_counted() {
        let mut poller = poller(vec![Rule::named("other"), Rule::named(&myself())]);
        let before = poller.poll(0.0).groups.pop().unwrap();
        let rules = vec![Rule { memory_budget: Some(7), ..Rule::named(&myself()) }];
        poller.configure(Settings { rules, well_known: false, ..Settings::default() });
        let after = poller.poll(15.0).groups.pop().unwrap();
        assert_eq!((after.exits, after.memory_budget_bytes), (before.exits, Some(7)));
        assert!(after.faults >= before.faults && after.cpu_seconds >= before.cpu_seconds);
        assert!(
            after.faults.unwrap()[0] < 2 * before.faults.unwrap()[0] + 100_000,
            "nothing is counted twice"
        );
    }

    #[test]
    fn the_limit_of_files_is_the_soft_one() {
        let text = b"Limit                     Soft Limit           Hard Limit           Units     \n\
            Max open files            1024                 524288               files     \n";
        assert_eq!(fd_limit(text), Some(1024));
        assert_eq!(
            fd_limit(b"Max open files            unlimited            unlimited            files"),
            None
        );
    }
}
