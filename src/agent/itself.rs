//! What the agent costs: its own processor time, memory, files and threads, from /proc/self.

use procfs::process::Process;

use crate::export::prometheus::AgentStats;

/// Fills in what the process costs; what /proc does not tell stays absent.
pub(super) fn measure(stats: &mut AgentStats) {
    let Ok(process) = Process::myself() else { return };
    stats.open_fds = process.fd_count().ok().and_then(|count| u64::try_from(count).ok());
    let Ok(stat) = process.stat() else { return };
    stats.threads = u64::try_from(stat.num_threads).ok();
    stats.resident_bytes = Some(stat.rss * procfs::page_size());
    stats.cpu_seconds = Some((stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_costs_something() {
        let mut stats = AgentStats::default();
        measure(&mut stats);
        assert!(stats.threads.is_some_and(|threads| threads >= 1));
        assert!(stats.open_fds.is_some_and(|files| files >= 3));
        assert!(stats.resident_bytes.is_some_and(|bytes| (1 << 20..1 << 40).contains(&bytes)));
        assert!(stats.cpu_seconds.is_some_and(|seconds| seconds >= 0.0));
    }
}
