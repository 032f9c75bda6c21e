//! Families of the host (DESIGN 6).

use crate::process::host::{CPU_MODES, Host};

use super::family::{Counters, Declare, Gauges, RealCounters, RealGauges, Value};

#[derive(Debug)]
pub(super) struct HostMetrics {
    cpu: RealCounters<1>,
    cpus: Gauges<0>,
    memory: Gauges<1>,
    swap: Gauges<1>,
    load: RealGauges<1>,
    pressure: RealCounters<2>,
    filesystem_size: Gauges<1>,
    filesystem_available: Gauges<1>,
    files: Gauges<1>,
    files_free: Gauges<1>,
    disk_bytes: Counters<2>,
    disk_busy: RealCounters<1>,
    network_errors: Counters<2>,
    network_drops: Counters<2>,
    udp_errors: Counters<1>,
    gpu_busy: RealGauges<1>,
    gpu_memory: Gauges<2>,
    gpu_celsius: RealGauges<1>,
}

impl HostMetrics {
    pub(super) fn declare(on: &mut Declare) -> Self {
        Self {
            cpu: on.real_counter("voip_host_cpu_seconds", &["mode"], "Time of all processors of the host, by what they did"),
            cpus: on.gauge("voip_host_cpus", &[], "Processors of the host"),
            memory: on.gauge("voip_host_memory_bytes", &["kind"], "Memory of the host, as /proc/meminfo has it"),
            swap: on.gauge("voip_host_swap_bytes", &["kind"], "Swap space of the host"),
            load: on.real_gauge(
                "voip_host_load_average",
                &["minutes"],
                "Threads that ran, wanted to run or waited for a disk, averaged over so many minutes",
            ),
            pressure: on.real_counter(
                "voip_host_pressure_seconds",
                &["resource", "kind"],
                "Time in which some tasks, or all that were not idle (full), had to wait for a resource",
            ),
            filesystem_size: on.gauge("voip_host_filesystem_size_bytes", MOUNT, "Size of a file system"),
            filesystem_available: on.gauge(
                "voip_host_filesystem_available_bytes",
                MOUNT,
                "Room that is left in a file system for users other than root",
            ),
            files: on.gauge("voip_host_filesystem_files", MOUNT, "Files that a file system can have"),
            files_free: on.gauge("voip_host_filesystem_files_free", MOUNT, "Of them, those that can still be made"),
            disk_bytes: on.counter(
                "voip_host_disk_bytes",
                &["device", "direction"],
                "Bytes that a disk has read and written",
            ),
            disk_busy: on.real_counter(
                "voip_host_disk_busy_seconds",
                &["device"],
                "Time in which a disk had something to do",
            ),
            network_errors: on.counter(
                "voip_host_network_errors",
                NETWORK,
                "Frames that a captured interface received damaged, or could not send",
            ),
            network_drops: on.counter(
                "voip_host_network_drops",
                NETWORK,
                "Frames that the kernel dropped at a captured interface",
            ),
            udp_errors: on.counter(
                "voip_host_udp_errors",
                &["reason"],
                "Datagrams of the host that were lost: socket buffers were full, nobody listened, damaged, no memory",
            ),
            gpu_busy: on.real_gauge(
                "voip_host_gpu_busy_ratio",
                &["gpu"],
                "Share of its last sample period in which a graphics processor ran something (NVML)",
            ),
            gpu_memory: on.gauge("voip_host_gpu_memory_bytes", &["gpu", "kind"], "Memory of a graphics processor (NVML)"),
            gpu_celsius: on.real_gauge(
                "voip_host_gpu_temperature_celsius",
                &["gpu"],
                "Temperature of a graphics processor's core (NVML)",
            ),
        }
    }

    /// What stands now, which nobody looks at any more.
    pub(super) fn clear(&self) {
        self.cpus.clear();
        for gauge in [
            &self.memory,
            &self.swap,
            &self.filesystem_size,
            &self.filesystem_available,
            &self.files,
            &self.files_free,
        ] {
            gauge.clear();
        }
        self.load.clear();
        self.gpu_busy.clear();
        self.gpu_memory.clear();
        self.gpu_celsius.clear();
    }

    pub(super) fn set(&self, host: &Host) {
        self.clear();
        for (mode, seconds) in CPU_MODES.into_iter().zip(host.cpu_seconds.into_iter().flatten()) {
            self.cpu.rise_to([mode.into()], seconds);
        }
        if let Some(cpus) = host.cpus {
            self.cpus.set([], cpus);
        }
        for (gauge, kinds) in [(&self.memory, &host.memory), (&self.swap, &host.swap)] {
            for (kind, bytes) in kinds {
                gauge.set([(*kind).into()], *bytes);
            }
        }
        for (minutes, load) in ["1", "5", "15"].into_iter().zip(host.load.into_iter().flatten()) {
            self.load.set([minutes.into()], load);
        }
        for pressure in &host.pressure {
            self.pressure.rise_to([pressure.resource.into(), pressure.kind.into()], pressure.seconds);
        }
        for filesystem in &host.filesystems {
            let mount = || Value::from(filesystem.mount.clone());
            self.filesystem_size.set([mount()], filesystem.size_bytes);
            self.filesystem_available.set([mount()], filesystem.available_bytes);
            for (gauge, files) in [(&self.files, filesystem.files), (&self.files_free, filesystem.files_free)]
            {
                if let Some(files) = files {
                    gauge.set([mount()], files);
                }
            }
        }
        for device in &host.devices {
            let name = || Value::from(device.name.clone());
            self.disk_bytes.rise_to([name(), "read".into()], device.read_bytes);
            self.disk_bytes.rise_to([name(), "write".into()], device.written_bytes);
            self.disk_busy.rise_to([name()], device.busy_seconds);
        }
        for interface in &host.interfaces {
            for (counter, counts) in
                [(&self.network_errors, interface.errors), (&self.network_drops, interface.drops)]
            {
                for (direction, count) in ["receive", "transmit"].into_iter().zip(counts) {
                    counter.rise_to([interface.name.clone().into(), direction.into()], count);
                }
            }
        }
        for (reason, count) in &host.udp_errors {
            self.udp_errors.rise_to([(*reason).into()], *count);
        }
        for gpu in &host.gpus {
            let index = || gpu.index.to_string().into();
            if let Some(busy) = gpu.busy_ratio {
                self.gpu_busy.set([index()], busy);
            }
            for (kind, bytes) in [("total", gpu.memory_total_bytes), ("used", gpu.memory_used_bytes)] {
                if let Some(bytes) = bytes {
                    self.gpu_memory.set([index(), kind.into()], bytes);
                }
            }
            if let Some(celsius) = gpu.celsius {
                self.gpu_celsius.set([index()], celsius);
            }
        }
    }
}

const MOUNT: &[&str; 1] = &["mount"];
const NETWORK: &[&str; 2] = &["interface", "direction"];
