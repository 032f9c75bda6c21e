//! The system calls that are left (seccomp): those of real runs under strace, and what other C libraries use instead.
//!
//! Two filters, of which the stricter answer counts:
//!
//! ```text
//! what only an intruder asks for (execve, ptrace, bpf, mount, ...)   -> the process dies, the service manager restarts it
//! what is on the list                                                -> allowed, some with certain arguments only
//! anything else                                                      -> ENOSYS
//! ```
//!
//! ENOSYS and not EPERM or death: a C library that is updated under us tries newer calls first (clone3, openat2,
//! futex_waitv) and falls back when the kernel does not have them. It takes any other answer for an error, and capture
//! would end although nothing is wrong. It is also what makes threads possible: flags of clone3 are behind a pointer,
//! which a filter cannot follow; those of clone are not, and must make a thread.

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::{Guard, Needs};

/// Installs both filters on all threads.
pub(super) fn restrict(needs: &Needs) -> Guard {
    let Ok(arch) = TargetArch::try_from(ARCH) else {
        return Guard::Absent { reason: format!("there is no list of system calls for {ARCH}") };
    };
    install([deadly(arch, &[]), allowed(needs, arch)])
}

/// The same for the second process.
pub(super) fn restrict_second() -> Guard {
    let Ok(arch) = TargetArch::try_from(ARCH) else {
        return Guard::Absent { reason: format!("there is no list of system calls for {ARCH}") };
    };
    install([deadly(arch, &[libc::SYS_process_vm_readv]), allowed_second(arch)])
}

fn install(filters: [Result<BpfProgram, BackendError>; 2]) -> Guard {
    let [Ok(deadly), Ok(allowed)] = filters else {
        let error = filters.into_iter().find_map(Result::err);
        return Guard::Refused { reason: error.map_or_else(String::new, |error| error.to_string()) };
    };
    for filter in [deadly, allowed] {
        if let Err(error) = seccompiler::apply_filter_all_threads(&filter) {
            return Guard::Refused { reason: error.to_string() };
        }
    }
    Guard::On { abi: None }
}

fn deadly(arch: TargetArch, but: &[c_long]) -> Result<BpfProgram, BackendError> {
    let calls = DEADLY.iter().filter(|call| !but.contains(call));
    let rules = calls.map(|&call| (call, Vec::new())).collect();
    SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::KillProcess, arch)?.try_into()
}

fn allowed(needs: &Needs, arch: TargetArch) -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> = BTreeMap::new();
    for &call in ALWAYS {
        rules.insert(call, Vec::new());
    }
    if needs.connects {
        // The resolver asks for both addresses of a name at once.
        rules.insert(libc::SYS_sendmmsg, Vec::new());
        rules.insert(libc::SYS_recvmmsg, Vec::new());
    }
    let mut controls = one_of(1, &CONTROLS)?;
    if needs.gpus {
        controls.push(bits(1, 0xff00, NVIDIA)?);
    }
    let families = if needs.connects { &FAMILIES[..] } else { &FAMILIES[..2] };
    let own_process = [u64::from(std::process::id())];
    let thread = libc::CLONE_THREAD as u64;
    let (execute, write) = (libc::PROT_EXEC as u64, (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u64);
    rules.extend([
        (libc::SYS_clone, vec![bits(0, thread, thread)?]),
        (libc::SYS_mmap, vec![bits(2, execute, 0)?]),
        (libc::SYS_mprotect, vec![bits(2, execute, 0)?]),
        (libc::SYS_socket, one_of(0, families)?),
        (libc::SYS_ioctl, controls),
        (libc::SYS_prctl, one_of(0, &[libc::PR_SET_NAME as u64])?),
        // How a process aborts.
        (libc::SYS_tgkill, one_of(0, &own_process)?),
    ]);
    if needs.write.is_empty() {
        rules.insert(libc::SYS_openat, vec![bits(2, write, 0)?]);
        #[cfg(target_arch = "x86_64")]
        rules.insert(libc::SYS_open, vec![bits(1, write, 0)?]);
    } else {
        rules.extend(WRITING.iter().map(|&call| (call, Vec::new())));
    }
    SeccompFilter::new(rules, SeccompAction::Errno(libc::ENOSYS as u32), SeccompAction::Allow, arch)?
        .try_into()
}

/// Reading, of files and of other processes, and answering on a socket that is there.
fn allowed_second(arch: TargetArch) -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> =
        SECOND.iter().map(|&call| (call, Vec::new())).collect();
    let own_process = [u64::from(std::process::id())];
    let (execute, write) = (libc::PROT_EXEC as u64, (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u64);
    rules.extend([
        (libc::SYS_mmap, vec![bits(2, execute, 0)?]),
        (libc::SYS_mprotect, vec![bits(2, execute, 0)?]),
        (libc::SYS_openat, vec![bits(2, write, 0)?]),
        (libc::SYS_tgkill, one_of(0, &own_process)?),
    ]);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, vec![bits(1, write, 0)?]);
    SeccompFilter::new(rules, SeccompAction::Errno(libc::ENOSYS as u32), SeccompAction::Allow, arch)?
        .try_into()
}

/// Of these bits of an argument, these are set.
fn bits(argument: u8, mask: u64, set: u64) -> Result<SeccompRule, BackendError> {
    let operation = SeccompCmpOp::MaskedEq(mask);
    SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operation, set)?])
}

/// An argument has one of these values.
fn one_of(argument: u8, values: &[u64]) -> Result<Vec<SeccompRule>, BackendError> {
    let rule = |&value: &u64| {
        let condition =
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value & 0xffff_ffff)?;
        SeccompRule::new(vec![condition])
    };
    values.iter().map(rule).collect()
}

/// Families of new sockets. AF_UNIX: the service manager, and the C library to ask for an interface's number. AF_NETLINK:
/// the C library, for addresses of this host. The others only where connections are made.
const FAMILIES: [u64; 4] =
    [libc::AF_UNIX as u64, libc::AF_NETLINK as u64, libc::AF_INET as u64, libc::AF_INET6 as u64];

/// What is asked of descriptors: non-blocking, bytes that wait, terminal or not, numbers and state of interfaces.
#[allow(clippy::unnecessary_cast, reason = "other C libraries have them as another type")]
const CONTROLS: [u64; 7] = [
    libc::FIONBIO as u64,
    libc::FIONREAD as u64,
    libc::TCGETS as u64,
    SIOCGIFNAME,
    SIOCGIFFLAGS,
    SIOCGIFHWADDR,
    SIOCGIFINDEX,
];

/// Kind of the numbers that NVIDIA's driver takes (nv-ioctl-numbers.h).
const NVIDIA: u64 = (b'F' as u64) << 8;

/// linux/sockios.h.
const SIOCGIFNAME: u64 = 0x8910;
const SIOCGIFFLAGS: u64 = 0x8913;
const SIOCGIFHWADDR: u64 = 0x8927;
const SIOCGIFINDEX: u64 = 0x8933;

/// Other programs, other processes, the kernel, other namespaces.
const DEADLY: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_bpf,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_kexec_load,
    libc::SYS_mount,
    libc::SYS_pivot_root,
    libc::SYS_setns,
    libc::SYS_unshare,
];

/// What the second process is left with, whatever the arguments.
const SECOND: &[c_long] = &[
    libc::SYS_process_vm_readv,
    libc::SYS_perf_event_open,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_fcntl,
    libc::SYS_ppoll,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
];

/// Where files are written, as far as Landlock lets them be.
const WRITING: &[c_long] = &[
    libc::SYS_openat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_fchmod,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
];

/// Allowed whatever their arguments.
const ALWAYS: &[c_long] = &[
    // Descriptors.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_lseek,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    // Files, as far as Landlock lets them be opened.
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_readlinkat,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    // Sockets that are open; which can be made is restricted above. No listen.
    libc::SYS_socketpair,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_accept4,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    // Memory and threads.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Who and when.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getrusage,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_prlimit64,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    // Older names of the above, which other C libraries still use.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_time,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_filters_can_be_made_for_both_architectures() {
        for arch in [TargetArch::x86_64, TargetArch::aarch64] {
            for connects in [false, true] {
                let needs = Needs { connects, ..Needs::default() };
                assert!(!allowed(&needs, arch).unwrap().is_empty());
            }
            assert!(!deadly(arch, &[]).unwrap().is_empty());
            assert!(!allowed_second(arch).unwrap().is_empty());
        }
    }

    #[test]
    fn nothing_deadly_is_allowed() {
        assert!(DEADLY.iter().all(|call| !ALWAYS.contains(call)));
    }
}
