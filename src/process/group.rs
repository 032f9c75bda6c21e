//! Workers under one name: what they are and have together.
//!
//! Counters are sums of what was seen of each process, so they do not fall when a worker ends; what a process did between
//! the last look and its end is not seen. One that was there before is counted from its own start.

use std::collections::{BTreeMap, HashMap};

use super::Process;
use super::cgroup::{Cgroup, Place};
use super::heap::Heap;
use super::pace::Pace;
use super::privileged::{MemoryMap, Missing, Pool};
use super::settings::Rule;
use super::snapshot::{Fds, Figures, Memory};
use super::stat::Stat;
use super::status::Status;
use super::threads::Threads;
use super::udp::{Drops, Socket, Udp};

/// A process that is followed, as it was last seen.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) process: Process,
    /// Number of its rule.
    pub(super) group: usize,
    pub(super) stat: Stat,
    pub(super) status: Status,
    pub(super) open_fds: Option<u64>,
    pub(super) fd_limit: Option<u64>,
    pub(super) oom_score: Option<u64>,
    pub(super) map: Option<MemoryMap>,
    pub(super) map_missing: Option<Missing>,
    pub(super) place: Place,
    /// Names its network namespace.
    pub(super) network: Option<u64>,
    pub(super) threads: Threads,
    pub(super) allocations: u64,
    pub(super) heap: Option<Heap>,
    pub(super) pools: Vec<Pool>,
}

impl Member {
    pub(super) fn new(process: Process, group: usize) -> Self {
        Self {
            process,
            group,
            stat: Stat::default(),
            status: Status::default(),
            open_fds: None,
            fd_limit: None,
            oom_score: None,
            map: None,
            map_missing: None,
            place: Place::default(),
            network: None,
            threads: Threads::default(),
            allocations: 0,
            heap: None,
            pools: Vec::new(),
        }
    }
}

/// One group, and what its processes have done so far.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) rule: Rule,
    /// It stands in the configuration.
    is_given: bool,
    /// It was found once.
    was_found: bool,
    /// User and system.
    ticks: [u64; 2],
    faults: [u64; 2],
    switches: Option<[u64; 2]>,
    pub(super) exits: u64,
    pub(super) allocations: Option<u64>,
    cgroups: HashMap<Place, Cgroup>,
    cgroup: Option<Cgroup>,
    drops: Drops,
    udp: Option<Udp>,
    pub(super) udp_missing: Option<Missing>,
    pub(super) heap_pace: Pace,
    pub(super) pool_pace: Pace,
    pub(super) heap_failures: u64,
    pub(super) heap_unsupported: Option<String>,
    /// What came of the last walk of it, if nothing.
    pub(super) heap_missing: Option<Missing>,
}

impl Group {
    pub(super) fn new(rule: Rule, is_given: bool) -> Self {
        Self {
            rule,
            is_given,
            was_found: false,
            ticks: [0; 2],
            faults: [0; 2],
            switches: None,
            exits: 0,
            allocations: None,
            cgroups: HashMap::new(),
            cgroup: None,
            drops: Drops::default(),
            udp: None,
            udp_missing: None,
            heap_pace: Pace::default(),
            pool_pace: Pace::default(),
            heap_failures: 0,
            heap_unsupported: None,
            heap_missing: None,
        }
    }

    /// The same under another rule: it goes on counting.
    pub(super) fn under(self, rule: Rule, is_given: bool) -> Self {
        Self { rule, is_given, ..self }
    }

    /// Counts what a process has done since `before`, which is zero for a new one.
    pub(super) fn count(&mut self, before: &Stat, now: &Stat) {
        let add =
            |sum: &mut u64, before: u64, now: u64| *sum = sum.saturating_add(now.saturating_sub(before));
        let [user, system] = &mut self.ticks;
        add(user, before.user_ticks, now.user_ticks);
        add(system, before.system_ticks, now.system_ticks);
        let [minor, major] = &mut self.faults;
        add(minor, before.minor_faults, now.minor_faults);
        add(major, before.major_faults, now.major_faults);
        self.was_found = true;
    }

    pub(super) fn count_switches(&mut self, news: [u64; 2]) {
        let [voluntary, involuntary] = self.switches.get_or_insert_default();
        *voluntary = voluntary.saturating_add(news[0]);
        *involuntary = involuntary.saturating_add(news[1]);
    }

    /// Takes the control groups as they are now. Their counters begin anew when they are made anew, and ours do not.
    pub(super) fn take_cgroups(&mut self, now: BTreeMap<Place, Cgroup>) {
        let mut all = Cgroup::default();
        // Of what is now, sums; of what has happened, what was there before and the news.
        if let Some(before) = self.cgroup {
            all = Cgroup { memory_bytes: None, memory_limit_bytes: None, ..before };
        }
        for (place, cgroup) in &now {
            let before = self.cgroups.get(place).copied().unwrap_or_default();
            plus(&mut all.memory_bytes, cgroup.memory_bytes);
            plus(&mut all.memory_limit_bytes, cgroup.memory_limit_bytes);
            for ((sum, now), before) in all.events.iter_mut().zip(cgroup.events).zip(before.events) {
                plus(sum, news(before, now));
            }
            plus(&mut all.periods, news(before.periods, cgroup.periods));
            plus(&mut all.throttled_periods, news(before.throttled_periods, cgroup.throttled_periods));
            if let Some(now) = cgroup.throttled_seconds {
                let before = before.throttled_seconds.filter(|before| *before <= now).unwrap_or(0.0);
                all.throttled_seconds = Some(all.throttled_seconds.unwrap_or(0.0) + now - before);
            }
        }
        // One without a limit makes a sum of limits meaningless.
        if now.values().any(|cgroup| cgroup.memory_limit_bytes.is_none()) {
            all.memory_limit_bytes = None;
        }
        self.cgroup = (!all.is_empty()).then_some(all);
        self.cgroups = now.into_iter().collect();
    }

    /// Takes the sockets as they are now, or why nobody can tell which they are.
    pub(super) fn take_sockets(&mut self, sockets: Result<Vec<Socket>, Missing>) {
        (self.udp, self.udp_missing) = match sockets {
            Ok(sockets) => (Some(self.drops.take(sockets.into_iter())), None),
            Err(missing) => (None, Some(missing)),
        };
    }

    /// What the group is together; `None` when there is nothing to tell of it: one that was asked for is told of although
    /// it is not there.
    pub(super) fn figures(&self, members: &[&Member], clock: Clock) -> Option<Figures> {
        if !self.was_found && !self.is_given {
            return None;
        }
        let seconds = |ticks: u64| ticks as f64 / clock.ticks_per_second as f64;
        let started = members.iter().map(|member| member.process.started_ticks).min();
        let some = !members.is_empty();
        Some(Figures {
            name: self.rule.name.clone(),
            processes: members.len() as u64,
            exits: self.exits,
            started_seconds: started
                .zip(clock.booted_seconds)
                .map(|(ticks, booted)| booted as f64 + seconds(ticks)),
            memory: memory(members),
            memory_budget_bytes: self.rule.memory_budget,
            cpu_seconds: self.was_found.then(|| self.ticks.map(seconds)),
            faults: self.was_found.then_some(self.faults),
            switches: self.switches,
            threads: some.then(|| members.iter().map(|member| member.stat.threads).sum()),
            fds: Fds {
                open: whole(members, |member| member.open_fds),
                limit: members.iter().filter_map(|member| member.fd_limit).min(),
                worst_ratio: members.iter().filter_map(|member| ratio(member)).max_by(f64::total_cmp),
            },
            oom_score: members.iter().filter_map(|member| member.oom_score).max(),
            cgroup: self.cgroup,
            udp: self.udp,
            allocations: self.allocations,
            heap: heap(members),
            heap_failures: self.heap_failures,
            heap_unsupported: self.heap_unsupported.clone().filter(|_| some),
            pools: pools(members),
        })
    }
}

/// What turns ticks into time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) ticks_per_second: u64,
    /// Unix time.
    pub(super) booted_seconds: Option<u64>,
}

/// DESIGN 6: of several workers, the sum of the shares of each where all of them are known; else what is not shared
/// memory of each, and the largest shared part once.
fn memory(members: &[&Member]) -> Memory {
    let status = |of: fn(&Status) -> Option<u64>| whole(members, |member| of(&member.status));
    let map = |of: fn(&MemoryMap) -> Option<u64>| whole(members, |member| member.map.as_ref().and_then(of));
    let most = |of: fn(&Status) -> Option<u64>| members.iter().filter_map(|member| of(&member.status)).max();
    let shared = most(|status| status.shared);
    let proportional = map(|map| map.proportional);
    let own = status(|status| Some(status.resident?.saturating_sub(status.shared.unwrap_or(0))));
    Memory {
        resident: match members {
            [only] => only.status.resident,
            _ => proportional.or_else(|| Some(own?.saturating_add(shared.unwrap_or(0)))),
        },
        map: MemoryMap {
            resident: map(|map| map.resident),
            proportional,
            private: map(|map| map.private),
            shared: map(|map| map.shared),
            anonymous: map(|map| map.anonymous),
            swap: map(|map| map.swap),
        },
        anonymous: status(|status| status.anonymous),
        file: most(|status| status.file),
        shared,
        swap: status(|status| status.swap),
        address_space: whole(members, |member| Some(member.stat.virtual_bytes)),
    }
}

fn ratio(member: &Member) -> Option<f64> {
    let limit = member.fd_limit.filter(|limit| *limit > 0)?;
    Some(member.open_fds? as f64 / limit as f64)
}

/// The walks of all of them together; the share that is covered is that of the worst one.
fn heap(members: &[&Member]) -> Option<Heap> {
    members.iter().filter_map(|member| member.heap).reduce(|one, other| Heap {
        arenas: one.arenas + other.arenas,
        committed: one.committed + other.committed,
        in_use: one.in_use + other.in_use,
        cached: one.cached + other.cached,
        free: one.free + other.free,
        top: one.top + other.top,
        fast: one.fast + other.fast,
        mmapped: one.mmapped + other.mmapped,
        chunks: one.chunks + other.chunks,
        free_chunks: one.free_chunks + other.free_chunks,
        largest_free: one.largest_free.max(other.largest_free),
        resident: one.resident.zip(other.resident).map(|(one, other)| one + other),
        coverage: one.coverage.min(other.coverage),
        read: one.read + other.read,
    })
}

/// Sums by source; of a pool that several share, one.
fn pools(members: &[&Member]) -> Vec<Pool> {
    let mut sums: Vec<Pool> = Vec::new();
    let mut shared = Vec::new();
    for pool in members.iter().flat_map(|member| &member.pools) {
        if pool.shared_by.is_some() && shared.contains(&(pool.source, pool.shared_by)) {
            continue;
        }
        shared.push((pool.source, pool.shared_by));
        match sums.iter_mut().find(|sum| sum.source == pool.source) {
            Some(sum) => {
                sum.size += pool.size;
                sum.used += pool.used;
                sum.real_used += pool.real_used;
                plus(&mut sum.fragments, pool.fragments);
            }
            None => sums.push(pool.clone()),
        }
    }
    sums
}

/// A sum of what is known of all of them; one that lacks it would make it wrong.
fn whole(members: &[&Member], of: impl Fn(&Member) -> Option<u64>) -> Option<u64> {
    if members.is_empty() {
        return None;
    }
    members.iter().try_fold(0_u64, |sum, member| Some(sum.saturating_add(of(member)?)))
}

/// Adds what is known.
fn plus(sum: &mut Option<u64>, more: Option<u64>) {
    if let Some(more) = more {
        *sum = Some(sum.unwrap_or(0).saturating_add(more));
    }
}

/// What a counter has counted since `before`; all of it when it begins anew.
fn news(before: Option<u64>, now: Option<u64>) -> Option<u64> {
    let now = now?;
    Some(before.and_then(|before| now.checked_sub(before)).unwrap_or(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: Clock = Clock { ticks_per_second: 100, booted_seconds: Some(1000) };

    fn member(resident: u64, shared: u64, proportional: Option<u64>) -> Member {
        let mut member = Member::new(Process { pid: 1, started_ticks: 500 }, 0);
        member.status = Status { resident: Some(resident), shared: Some(shared), ..Status::default() };
        member.map =
            proportional.map(|bytes| MemoryMap { proportional: Some(bytes), ..MemoryMap::default() });
        member
    }

    fn resident(members: &[Member]) -> Option<u64> {
        memory(&members.iter().collect::<Vec<_>>()).resident
    }

    #[test]
    fn what_workers_share_is_counted_once() {
        assert_eq!(resident(&[member(100, 60, None)]), Some(100));
        assert_eq!(resident(&[member(100, 60, Some(70))]), Some(100), "one alone has its RSS");
        assert_eq!(resident(&[member(100, 60, None), member(90, 70, None)]), Some(40 + 20 + 70));
        assert_eq!(resident(&[member(100, 60, Some(50)), member(90, 70, Some(45))]), Some(95));
        assert_eq!(
            resident(&[member(100, 60, Some(50)), member(90, 70, None)]),
            Some(130),
            "a share is not known"
        );
        assert_eq!(resident(&[]), None);
    }

    #[test]
    fn counters_stay_when_a_worker_ends() {
        let mut group = Group::new(Rule::named("g"), false);
        let stat = |user, minor| Stat { user_ticks: user, minor_faults: minor, ..Stat::default() };
        group.count(&Stat::default(), &stat(50, 7));
        group.count(&Stat::default(), &stat(20, 1));
        group.count(&stat(50, 7), &stat(60, 9));
        group.exits += 2;
        let figures = group.figures(&[], CLOCK).unwrap();
        assert_eq!((figures.cpu_seconds, figures.faults), (Some([0.8, 0.0]), Some([10, 0])));
        assert_eq!((figures.processes, figures.exits), (0, 2));
        assert_eq!(
            (figures.threads, figures.started_seconds, figures.memory),
            (None, None, Memory::default())
        );
    }

    #[test]
    fn one_that_was_never_found_is_told_of_only_when_asked_for() {
        assert_eq!(Group::new(Rule::named("g"), false).figures(&[], CLOCK), None);
        let figures = Group::new(Rule::named("g"), true).figures(&[], CLOCK).unwrap();
        assert_eq!((figures.processes, figures.cpu_seconds), (0, None));
        assert_eq!(
            Group::new(Rule::named("g"), true)
                .figures(&[&member(1, 0, None)], CLOCK)
                .unwrap()
                .started_seconds,
            Some(1005.0)
        );
    }

    #[test]
    fn control_groups_are_made_anew_and_nothing_falls() {
        let mut group = Group::new(Rule::named("g"), true);
        let mut take = |bytes, kills, throttled| {
            let cgroup = Cgroup {
                memory_bytes: Some(bytes),
                memory_limit_bytes: Some(100),
                events: [None, None, Some(kills)],
                throttled_seconds: Some(throttled),
                ..Cgroup::default()
            };
            group.take_cgroups(BTreeMap::from([(Place::default(), cgroup)]));
            let cgroup = group.cgroup.unwrap();
            (cgroup.memory_bytes, cgroup.memory_limit_bytes, cgroup.events[2], cgroup.throttled_seconds)
        };
        assert_eq!(take(10, 2, 1.5), (Some(10), Some(100), Some(2), Some(1.5)));
        assert_eq!(take(20, 3, 2.0), (Some(20), Some(100), Some(3), Some(2.0)));
        assert_eq!(
            take(5, 1, 0.5),
            (Some(5), Some(100), Some(4), Some(2.5)),
            "another one under the same path"
        );
        group.take_cgroups(BTreeMap::new());
        assert_eq!(group.cgroup.unwrap().memory_bytes, None, "none is left");
        assert_eq!(group.cgroup.unwrap().events[2], Some(4));
    }

    #[test]
    fn a_pool_that_all_share_counts_once() {
        let pool = |source, shared_by| Pool {
            source,
            shared_by,
            size: 100,
            used: 10,
            real_used: 20,
            fragments: Some(1),
        };
        let mut one = member(0, 0, None);
        one.pools = vec![pool("kamailio_shm", Some(7)), pool("kamailio_pkg", None)];
        let mut other = member(0, 0, None);
        other.pools.clone_from(&one.pools);
        let sums: Vec<_> =
            pools(&[&one, &other]).into_iter().map(|pool| (pool.source, pool.size, pool.used)).collect();
        assert_eq!(sums, [("kamailio_shm", 100, 10), ("kamailio_pkg", 200, 20)]);
    }
}
