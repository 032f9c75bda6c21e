//! Families of the processes beside the calls (DESIGN 6, MEAS 9.2).
//!
//! The label `process` is the name of a group, which comes from the configuration or from the list of well-known programs;
//! it is never a pid. Gauges are those of the last poll: what is gone has none.

use crate::process::cgroup::EVENTS;
use crate::process::snapshot::{Figures, PollerStats};

use super::family::{Counters, Declare, Gauges, RealCounters, RealGauges, Value};

#[derive(Debug)]
pub(super) struct ProcessMetrics {
    count: Gauges<1>,
    exits: Counters<1>,
    started: RealGauges<1>,
    memory: MemoryMetrics,
    cpu: RealCounters<2>,
    faults: Counters<2>,
    switches: Counters<2>,
    threads: Gauges<1>,
    open_fds: Gauges<1>,
    fd_limit: Gauges<1>,
    fd_ratio: RealGauges<1>,
    oom_score: Gauges<1>,
    allocations: Counters<2>,
    cgroup: CgroupMetrics,
    udp_sockets: Gauges<1>,
    udp_queued: Gauges<1>,
    udp_drops: Counters<1>,
    heap: HeapMetrics,
    polls: Counters<0>,
    poll_seconds: RealCounters<0>,
    seen: Gauges<0>,
    refused: Gauges<0>,
}

impl ProcessMetrics {
    pub(super) fn declare(on: &mut Declare) -> Self {
        Self {
            count: on.gauge("voip_processes", PROCESS, "Processes of a group, such as the workers of a proxy"),
            exits: on.counter("voip_process_exits", PROCESS, "Processes of a group that have ended"),
            started: on.real_gauge(
                "voip_process_start_time_seconds",
                PROCESS,
                "When the oldest process of a group started, Unix time",
            ),
            memory: MemoryMetrics::declare(on),
            cpu: on.real_counter(
                "voip_process_cpu_seconds",
                &["process", "mode"],
                "Processor time of a group: in the programs (user), in the kernel for them (system)",
            ),
            faults: on.counter(
                "voip_process_page_faults",
                &["process", "kind"],
                "Pages that a group touched for the first time (minor), or that had to be read from a disk (major)",
            ),
            switches: on.counter(
                "voip_process_context_switches",
                &["process", "kind"],
                "Times a thread of a group waited for something (voluntary) or had to give way (involuntary)",
            ),
            threads: on.gauge("voip_process_threads", PROCESS, "Threads of a group"),
            open_fds: on.gauge("voip_process_open_fds", PROCESS, "File descriptors that a group has open"),
            fd_limit: on.gauge(
                "voip_process_fd_limit",
                PROCESS,
                "File descriptors that one process of a group may have open, the lowest of their limits",
            ),
            fd_ratio: on.real_gauge(
                "voip_process_fd_used_ratio",
                PROCESS,
                "Open file descriptors as a share of the limit, of the process of a group that is nearest to it",
            ),
            oom_score: on.gauge(
                "voip_process_oom_score",
                PROCESS,
                "Score by which the kernel picks whom to kill when memory runs out, the highest of a group",
            ),
            allocations: on.counter(
                "voip_process_allocations",
                &["process", "source"],
                "What a group took of memory: pages that the kernel handed out (page), or calls of malloc, calloc, \
                 realloc and memalign (malloc), which are counted when asked for only",
            ),
            cgroup: CgroupMetrics::declare(on),
            udp_sockets: on.gauge("voip_process_udp_sockets", PROCESS, "UDP sockets that a group has open"),
            udp_queued: on.gauge(
                "voip_process_udp_queued_bytes",
                PROCESS,
                "Bytes in the UDP sockets of a group that wait to be received, as the kernel counts them",
            ),
            udp_drops: on.counter(
                "voip_process_udp_drops",
                PROCESS,
                "Datagrams that the UDP sockets of a group lost because they were not taken in time",
            ),
            heap: HeapMetrics::declare(on),
            polls: on.counter("sidetone_polls", &[], "Times the processes and the host were looked at"),
            poll_seconds: on.real_counter("sidetone_poll_seconds", &[], "Time that those looks took"),
            seen: on.gauge("sidetone_processes_seen", &[], "Processes that could be seen at the last look"),
            refused: on.gauge(
                "sidetone_processes_refused",
                &[],
                "Processes that were chosen and not followed because there are too many",
            ),
        }
    }

    pub(super) fn set(&self, groups: &[Figures], poller: &PollerStats) {
        for gauge in [&self.count, &self.threads, &self.open_fds, &self.fd_limit, &self.oom_score] {
            gauge.clear();
        }
        for gauge in [&self.udp_sockets, &self.udp_queued] {
            gauge.clear();
        }
        self.started.clear();
        self.fd_ratio.clear();
        self.memory.clear();
        self.cgroup.clear();
        self.heap.clear();
        for group in groups {
            self.of_group(group);
        }
        self.polls.rise_to([], poller.polls);
        self.poll_seconds.rise_to([], poller.seconds);
        self.seen.set([], poller.processes_seen);
        self.refused.set([], poller.refused);
    }

    fn of_group(&self, group: &Figures) {
        let process = || Value::from(group.name.clone());
        self.count.set([process()], group.processes);
        self.exits.rise_to([process()], group.exits);
        for (gauge, value) in [
            (&self.threads, group.threads),
            (&self.open_fds, group.fds.open),
            (&self.fd_limit, group.fds.limit),
            (&self.oom_score, group.oom_score),
            (&self.udp_sockets, group.udp.map(|udp| udp.sockets)),
            (&self.udp_queued, group.udp.map(|udp| udp.queued_bytes)),
        ] {
            set(gauge, process(), value);
        }
        set_real(&self.started, process(), group.started_seconds);
        set_real(&self.fd_ratio, process(), group.fds.worst_ratio);
        for (at, mode) in ["user", "system"].into_iter().enumerate() {
            if let Some(seconds) = group.cpu_seconds.and_then(|modes| modes.get(at).copied()) {
                self.cpu.rise_to([process(), mode.into()], seconds);
            }
        }
        for (counter, kinds, counts) in [
            (&self.faults, ["minor", "major"], group.faults),
            (&self.switches, ["voluntary", "involuntary"], group.switches),
        ] {
            for (kind, count) in kinds.into_iter().zip(counts.into_iter().flatten()) {
                counter.rise_to([process(), kind.into()], count);
            }
        }
        for (source, count) in [("page", group.faults.map(|[minor, _]| minor)), ("malloc", group.allocations)]
        {
            if let Some(count) = count {
                self.allocations.rise_to([process(), source.into()], count);
            }
        }
        if let Some(udp) = group.udp {
            self.udp_drops.rise_to([process()], udp.drops);
        }
        self.memory.set(group);
        self.cgroup.set(group);
        self.heap.set(group);
    }
}

/// Memory by kind.
#[derive(Debug)]
struct MemoryMetrics {
    resident: Gauges<1>,
    proportional: Gauges<1>,
    private: Gauges<1>,
    anonymous: Gauges<1>,
    file: Gauges<1>,
    shared: Gauges<1>,
    swap: Gauges<1>,
    address_space: Gauges<1>,
    budget: Gauges<1>,
}

impl MemoryMetrics {
    fn declare(on: &mut Declare) -> Self {
        let mut bytes = |name, help| on.gauge(name, PROCESS, help);
        Self {
            resident: bytes(
                "voip_process_resident_memory_bytes",
                "Memory of a group that is in RAM; what its workers share is counted once",
            ),
            proportional: bytes(
                "voip_process_proportional_memory_bytes",
                "Memory of a group in RAM, each page divided by the number of processes that map it (PSS)",
            ),
            private: bytes(
                "voip_process_private_memory_bytes",
                "Memory of a group in RAM that one process alone maps",
            ),
            anonymous: bytes(
                "voip_process_anonymous_memory_bytes",
                "Memory of a group in RAM that no file stands behind: heaps, stacks; summed over its processes",
            ),
            file: bytes(
                "voip_process_file_memory_bytes",
                "Pages of programs and libraries in RAM, of the process of a group that has most of them",
            ),
            shared: bytes(
                "voip_process_shared_memory_bytes",
                "Shared memory in RAM, such as the shm pool of Kamailio, of the process of a group that has most of it",
            ),
            swap: bytes("voip_process_swap_bytes", "Memory of a group that is swapped out"),
            address_space: bytes("voip_process_virtual_memory_bytes", "Address space of a group"),
            budget: bytes(
                "voip_process_memory_budget_bytes",
                "Memory that a group should take at most, by the configuration",
            ),
        }
    }

    fn all(&self) -> [&Gauges<1>; 9] {
        let Self { resident, proportional, private, anonymous, file, shared, swap, address_space, budget } =
            self;
        [resident, proportional, private, anonymous, file, shared, swap, address_space, budget]
    }

    fn clear(&self) {
        self.all().into_iter().for_each(Gauges::clear);
    }

    fn set(&self, group: &Figures) {
        let memory = &group.memory;
        let values = [
            memory.resident,
            memory.map.proportional,
            memory.map.private,
            memory.anonymous,
            memory.file,
            memory.shared,
            memory.swap,
            memory.address_space,
            group.memory_budget_bytes,
        ];
        for (gauge, value) in self.all().into_iter().zip(values) {
            set(gauge, group.name.clone().into(), value);
        }
    }
}

/// What control groups allow and deny.
#[derive(Debug)]
struct CgroupMetrics {
    memory: Gauges<1>,
    limit: Gauges<1>,
    events: Counters<2>,
    periods: Counters<1>,
    throttled: Counters<1>,
    throttled_seconds: RealCounters<1>,
}

impl CgroupMetrics {
    fn declare(on: &mut Declare) -> Self {
        Self {
            memory: on.gauge(
                "voip_process_cgroup_memory_bytes",
                PROCESS,
                "Memory of the control groups that the processes of a group are in, with their pages of files",
            ),
            limit: on.gauge(
                "voip_process_cgroup_memory_limit_bytes",
                PROCESS,
                "Memory that those control groups may take",
            ),
            events: on.counter(
                "voip_process_cgroup_memory_events",
                &["process", "event"],
                "Times those control groups reached their limit (max), found nothing to give back (oom), or had a \
                 process killed for it (oom_kill)",
            ),
            periods: on.counter(
                "voip_process_cgroup_cpu_periods",
                PROCESS,
                "Periods in which those control groups ran, where their processor time is limited",
            ),
            throttled: on.counter(
                "voip_process_cgroup_cpu_throttled_periods",
                PROCESS,
                "Of those periods, those in which the processor time was used up before the end",
            ),
            throttled_seconds: on.real_counter(
                "voip_process_cgroup_cpu_throttled_seconds",
                PROCESS,
                "Time that processors stood still for those control groups because of that",
            ),
        }
    }

    fn clear(&self) {
        self.memory.clear();
        self.limit.clear();
    }

    fn set(&self, group: &Figures) {
        let Some(cgroup) = &group.cgroup else { return };
        let process = || Value::from(group.name.clone());
        set(&self.memory, process(), cgroup.memory_bytes);
        set(&self.limit, process(), cgroup.memory_limit_bytes);
        for (event, count) in EVENTS.into_iter().zip(cgroup.events) {
            if let Some(count) = count {
                self.events.rise_to([process(), event.into()], count);
            }
        }
        for (counter, count) in [(&self.periods, cgroup.periods), (&self.throttled, cgroup.throttled_periods)]
        {
            if let Some(count) = count {
                counter.rise_to([process()], count);
            }
        }
        if let Some(seconds) = cgroup.throttled_seconds {
            self.throttled_seconds.rise_to([process()], seconds);
        }
    }
}

/// What walks of heaps and pools found.
#[derive(Debug)]
struct HeapMetrics {
    fragmentation: RealGauges<2>,
    bytes: Gauges<2>,
    resident: Gauges<1>,
    arenas: Gauges<1>,
    coverage: RealGauges<1>,
    supported: Gauges<2>,
    failures: Counters<1>,
    pool: Gauges<3>,
}

impl HeapMetrics {
    fn declare(on: &mut Declare) -> Self {
        Self {
            fragmentation: on.real_gauge(
                "voip_process_fragmentation_ratio",
                &["process", "source"],
                "Share of the memory that an allocator holds and nobody uses: of the heap (glibc), or of a pool of \
                 Kamailio (kamailio_shm, kamailio_pkg)",
            ),
            bytes: on.gauge(
                "voip_process_heap_bytes",
                &["process", "state"],
                "Memory in the heaps of a group: handed out (used, without mmapped), kept for a thread (cached), free, at \
                 the end of an arena (top), or handed out with a mapping of its own (mmapped)",
            ),
            resident: on.gauge(
                "voip_process_heap_resident_bytes",
                PROCESS,
                "Of the memory that the heaps of a group obtained, what is in RAM",
            ),
            arenas: on.gauge("voip_process_heap_arenas", PROCESS, "Arenas of the heaps of a group"),
            coverage: on.real_gauge(
                "voip_process_heap_coverage_ratio",
                PROCESS,
                "Share of the heap that a walk accounted for, of the process of a group where it is least",
            ),
            supported: on.gauge(
                "voip_process_heap_supported",
                &["process", "reason"],
                "Whether the heap of a group can be walked: 1, or 0 with the reason",
            ),
            failures: on.counter(
                "voip_process_heap_walk_failures",
                PROCESS,
                "Walks that came to nothing, because the heap changed while it was read",
            ),
            pool: on.gauge(
                "voip_process_pool_bytes",
                &["process", "source", "state"],
                "Pools that a program keeps by itself: size, handed out (used), handed out with what the allocator needs \
                 around it (real_used)",
            ),
        }
    }

    fn clear(&self) {
        self.fragmentation.clear();
        self.bytes.clear();
        self.resident.clear();
        self.arenas.clear();
        self.coverage.clear();
        self.supported.clear();
        self.pool.clear();
    }

    fn set(&self, group: &Figures) {
        let process = || Value::from(group.name.clone());
        if let Some(heap) = &group.heap {
            for (state, bytes) in [
                ("used", heap.in_use.saturating_sub(heap.mmapped)),
                ("cached", heap.cached),
                ("free", heap.free.saturating_sub(heap.top)),
                ("top", heap.top),
                ("mmapped", heap.mmapped),
            ] {
                self.bytes.set([process(), state.into()], bytes);
            }
            self.fragmentation_of(process(), "glibc", heap.in_use, heap.committed);
            set(&self.resident, process(), heap.resident);
            self.arenas.set([process()], heap.arenas);
            self.coverage.set([process()], heap.coverage);
            self.supported.set([process(), "".into()], 1);
        } else if let Some(reason) = &group.heap_unsupported {
            self.supported.set([process(), reason.clone().into()], 0);
        }
        if group.heap.is_some() || group.heap_failures > 0 {
            self.failures.rise_to([process()], group.heap_failures);
        }
        for pool in &group.pools {
            for (state, bytes) in [("size", pool.size), ("used", pool.used), ("real_used", pool.real_used)] {
                self.pool.set([process(), pool.source.into(), state.into()], bytes);
            }
            self.fragmentation_of(process(), pool.source, pool.used, pool.real_used);
        }
    }

    /// 1 - in use / committed.
    fn fragmentation_of(&self, process: Value, source: &'static str, used: u64, committed: u64) {
        if committed > 0 {
            let ratio = (1.0 - used as f64 / committed as f64).clamp(0.0, 1.0);
            self.fragmentation.set([process, source.into()], ratio);
        }
    }
}

fn set(gauge: &Gauges<1>, process: Value, value: Option<u64>) {
    if let Some(value) = value {
        gauge.set([process], value);
    }
}

fn set_real(gauge: &RealGauges<1>, process: Value, value: Option<f64>) {
    if let Some(value) = value.filter(|value| value.is_finite()) {
        gauge.set([process], value);
    }
}

const PROCESS: &[&str; 1] = &["process"];
