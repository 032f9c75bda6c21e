//! The life of the second process: lock in, say hello, answer until the agent is gone.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use caps::{CapSet, Capability};

use super::protocol::{self, Answer, Hello, Question};
use crate::process::direct::Direct;
use crate::process::privileged::{Privileged, Right};
use crate::sandbox;

/// Answers what is asked on standard input, a socket; returns the exit code.
pub fn serve() -> u8 {
    match run() {
        Ok(()) => 0,
        Err(error) => {
            // Nobody is left to be told when standard error is closed.
            let _ = writeln!(io::stderr(), "sidetone: second process: {error}");
            EX_IOERR
        }
    }
}

fn run() -> io::Result<()> {
    let mut agent = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    agent.peer_addr().map_err(|_| io::Error::other("it is started by the agent, and by nobody else"))?;
    let held: Vec<_> = RIGHTS.into_iter().filter(|(capability, _)| holds(*capability)).collect();
    // A counter for each function and thread takes many descriptors.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let all = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, all);
    let mut direct = Direct::new();
    let mut keep: Vec<Capability> = held.iter().map(|(capability, _)| *capability).collect();
    // The kernel tells the number of each place in a file that is root's.
    if keep.contains(&Capability::CAP_PERFMON) && !rustix::process::geteuid().is_root() {
        keep.extend(Some(Capability::CAP_DAC_READ_SEARCH).filter(|reads| holds(*reads)));
    }
    let report = sandbox::enter_second(&keep).map_err(io::Error::other)?;
    let rights = held.iter().map(|(_, right)| *right).collect();
    protocol::write(&mut agent, &Hello { rights, sandbox: report.summary() })?;
    while let Some(question) = protocol::read(&mut agent)? {
        let answer = answer(&mut direct, question);
        protocol::write(&mut agent, &answer)?;
    }
    Ok(())
}

fn answer(direct: &mut Direct, question: Question) -> Answer {
    match question {
        Question::MemoryMap(of) => Answer::MemoryMap(direct.memory_map(of)),
        Question::Executable(of) => Answer::Executable(direct.executable(of)),
        Question::OpenFds(of) => Answer::OpenFds(direct.open_fds(of)),
        Question::Sockets(of) => {
            let mut inodes = Vec::new();
            Answer::Sockets(direct.sockets(of, &mut inodes).map(|()| inodes))
        }
        Question::Heap(of) => Answer::Heap(direct.heap(of)),
        Question::Pools(of) => Answer::Pools(direct.pools(of)),
        Question::Allocations(of) => Answer::Allocations(direct.allocations(of)),
        Question::Forget(of) => {
            direct.forget(of);
            Answer::Forgotten
        }
    }
}

/// Whether this process has a capability to hand on or to keep.
pub(super) fn holds(capability: Capability) -> bool {
    caps::has_cap(None, CapSet::Permitted, capability).unwrap_or(false)
}

/// What it may keep.
pub(super) const RIGHTS: [(Capability, Right); 2] =
    [(Capability::CAP_SYS_PTRACE, Right::Ptrace), (Capability::CAP_PERFMON, Right::Perfmon)];
/// To open the kernel's list of places; to read it as another user than root.
pub(super) const OVER_FILES: [Capability; 2] =
    [Capability::CAP_DAC_OVERRIDE, Capability::CAP_DAC_READ_SEARCH];
const EX_IOERR: u8 = 74;
