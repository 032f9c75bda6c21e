//! Each test shuts the door on a child process of its own, which has but one thread, and tries it.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::*;

/// What a child finds out, as its exit status: bit by bit whether each of these holds.
fn tried(needs: &Needs, attempts: fn(&Path) -> Vec<bool>, directory: &Path) -> (i32, Vec<bool>) {
    // SAFETY: the child runs on one thread, touches nothing that other threads of the parent may hold but the
    // allocator, which the C library makes usable after fork, and ends without running what was left by the parent.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let bits = match enter(needs) {
            Ok(report) if report.capabilities == 0 && !report.is_weakened() => attempts(directory),
            _ => vec![false],
        };
        let wrong = bits.iter().enumerate().fold(0, |status, (at, held)| status | (i32::from(!held) << at));
        // SAFETY: nothing of the parent is run.
        unsafe { libc::_exit(wrong) };
    }
    let mut status = 0;
    // SAFETY: a child of ours, and a number to write to.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    let wrong = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 0 };
    (status, (0..8).map(|at| wrong & (1 << at) == 0).collect())
}

fn held(needs: &Needs, attempts: fn(&Path) -> Vec<bool>, directory: &Path) {
    let (status, held) = tried(needs, attempts, directory);
    assert!(libc::WIFEXITED(status), "it was killed: {status}");
    assert_eq!(held, [true; 8]);
}

fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("inside")).unwrap();
    fs::create_dir(directory.path().join("outside")).unwrap();
    for place in ["inside/a", "outside/a"] {
        fs::write(directory.path().join(place), "text").unwrap();
    }
    directory
}

fn inside(directory: &Path) -> Needs {
    Needs { read: vec![directory.join("inside")], ..Needs::default() }
}

#[test]
fn files_are_read_where_it_is_needed_and_never_written() {
    let directory = directory();
    held(
        &inside(directory.path()),
        |directory| {
            vec![
                fs::read_to_string(directory.join("inside/a")).is_ok(),
                fs::read_dir(directory.join("inside")).is_ok(),
                fs::canonicalize(directory.join("inside/a")).is_ok(),
                fs::read_to_string("/proc/self/status").is_ok(),
                fs::read_to_string(directory.join("outside/a")).is_err(),
                fs::write(directory.join("inside/a"), "changed").is_err(),
                fs::write(directory.join("inside/new"), "new").is_err(),
                fs::remove_file(directory.join("inside/a")).is_err(),
            ]
        },
        directory.path(),
    );
}

#[test]
fn what_is_renamed_into_its_place_can_be_read() {
    let directory = directory();
    let file = directory.path().join("inside/a");
    std::os::unix::fs::symlink(&file, directory.path().join("link")).unwrap();
    let read = directories_of(&directory.path().join("link"));
    assert_eq!(read, [directory.path().to_owned(), directory.path().join("inside")]);
    assert_eq!(directories_of(Path::new("sidetone.toml"))[0], Path::new("."));
}

#[test]
fn sockets_are_those_that_were_there() {
    let directory = directory();
    held(
        &inside(directory.path()),
        |_| {
            vec![
                UnixDatagram::unbound().is_ok(),
                TcpListener::bind("127.0.0.1:0").is_err(),
                TcpStream::connect("127.0.0.1:1")
                    .is_err_and(|error| error.raw_os_error() == Some(libc::ENOSYS)),
                UdpSocket::bind("127.0.0.1:0").is_err(),
            ]
        },
        directory.path(),
    );
}

#[test]
fn who_needs_connections_gets_them_and_still_cannot_listen() {
    let needs = Needs { connects: true, ..Needs::default() };
    held(
        &needs,
        |_| {
            vec![
                UdpSocket::bind("127.0.0.1:0").is_ok(),
                TcpStream::connect("127.0.0.1:1")
                    .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused),
                TcpListener::bind("127.0.0.1:0").is_err(),
                fs::read("/etc/nsswitch.conf").is_ok() || !Path::new("/etc/nsswitch.conf").exists(),
                fs::read("/etc/passwd").is_err(),
            ]
        },
        Path::new("/"),
    );
}

#[test]
fn threads_can_be_started_and_processes_cannot() {
    let directory = directory();
    held(
        &inside(directory.path()),
        |_| {
            // SAFETY: a child that there should not be; were there one, it would end at once.
            let fork = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
            if fork == 0 {
                // SAFETY: nothing of the parent is run.
                unsafe { libc::_exit(0) };
            }
            vec![
                std::thread::Builder::new().spawn(|| 7).is_ok_and(|thread| thread.join().is_ok()),
                fork < 0,
                // SAFETY: an address of our own choosing is not asked for.
                unsafe {
                    let executable = libc::PROT_READ | libc::PROT_EXEC;
                    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                    libc::mmap(std::ptr::null_mut(), 4096, executable, flags, -1, 0) == libc::MAP_FAILED
                },
                set_no_new_privs().is_err(),
            ]
        },
        directory.path(),
    );
}

#[test]
fn who_starts_a_program_dies() {
    let (status, _) = tried(
        &Needs::default(),
        |_| vec![Command::new("/bin/true").exec().raw_os_error().is_none()],
        Path::new("/"),
    );
    assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSYS, "{status}");
}

#[test]
fn the_report_says_what_is_there_and_what_is_not() {
    let report = Report {
        capabilities: 0,
        no_new_privs: Guard::On { abi: None },
        landlock: Guard::Partly { abi: 3 },
        seccomp: absent("there is no list of system calls for s390x"),
    };
    assert!(!report.is_weakened());
    assert_eq!(
        report.summary(),
        "no capability, no new privileges, Landlock (only ABI 3), no seccomp (there is no list of system calls for s390x)"
    );
    let detail = serde_json::to_string(&report.detail()).unwrap();
    assert_eq!(
        detail,
        "{\"capabilities\":0,\"landlock\":{\"abi\":3,\"state\":\"partly\"},\"no_new_privs\":{\"state\":\"on\"},\
         \"seccomp\":{\"reason\":\"there is no list of system calls for s390x\",\"state\":\"absent\"}}"
    );
    let refused = Report { seccomp: Guard::Refused { reason: "EINVAL".into() }, ..report };
    assert!(refused.is_weakened());
}
