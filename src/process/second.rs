//! The second process: the one that keeps CAP_SYS_PTRACE or CAP_PERFMON after the agent has given up everything
//! (DESIGN 10).
//!
//! ```text
//! agent: start() -> opens its sockets -> gives up all rights -> Poller --question--> second process
//!                                                                      <--answer---
//! ```
//!
//! It is the same program, started anew before any socket is open, so that it inherits neither sockets nor memory. It keeps
//! just the rights that there are, reads nothing off the wire, and hears only the [protocol]. It ends when the agent
//! does. If it ends before, or does not answer, what it was asked for is missing, and nothing else is.

mod protocol;
mod serve;

use std::io;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use caps::{CapSet, Capability};

use super::Process;
use super::heap::Heap;
use super::privileged::{MemoryMap, Missing, Own, Pool, Privileged, Right};
use protocol::{Answer, Hello, Question};
pub use serve::serve;

/// The agent's end of it.
#[derive(Debug)]
pub struct Second {
    /// None once it has ended or failed.
    stream: Option<UnixStream>,
    rights: Vec<Right>,
    /// Figures for which it has no right; the agent's own need none.
    own: Own,
    state: State,
}

/// How the second process is, for `/health`; shared with whoever asks it.
#[derive(Clone, Debug)]
pub struct State(Arc<Mutex<Told>>);

#[derive(Debug)]
struct Told {
    rights: Vec<Right>,
    sandbox: String,
    ended: Option<String>,
}

impl State {
    /// The rights that it keeps.
    pub fn rights(&self) -> Vec<Right> {
        self.told().rights.clone()
    }

    /// What it gave up, in words.
    pub fn sandbox(&self) -> String {
        self.told().sandbox.clone()
    }

    /// Why it answers no more.
    pub fn ended(&self) -> Option<String> {
        self.told().ended.clone()
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts it, if this process holds one of the rights. To be called before anything is open that it must not inherit, and
/// by the only thread there is. One that cannot be started is one that has ended.
pub fn start() -> Option<Second> {
    let held: Vec<_> =
        serve::RIGHTS.into_iter().filter(|(capability, _)| serve::holds(*capability)).collect();
    if held.is_empty() {
        return None;
    }
    let (mut capabilities, held): (Vec<_>, Vec<_>) = held.into_iter().unzip();
    if held.contains(&Right::Perfmon) {
        capabilities.extend(serve::OVER_FILES.into_iter().filter(|one| serve::holds(*one)));
    }
    let (stream, rights, sandbox, ended) = match launch(&capabilities) {
        Ok((stream, Hello { rights, sandbox })) => (Some(stream), rights, sandbox, None),
        Err(error) => {
            let reason = format!("the second process could not be started: {error}");
            (None, held, String::new(), Some(reason))
        }
    };
    let state = State(Arc::new(Mutex::new(Told { rights: rights.clone(), sandbox, ended })));
    Some(Second { stream, rights, own: Own::default(), state })
}

fn launch(capabilities: &[Capability]) -> io::Result<(UnixStream, Hello)> {
    let (mut near, far) = UnixStream::pair()?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("sidetone").arg(SUBCOMMAND).env_clear().current_dir("/");
    // Signals of a terminal are for the agent; it ends when the agent has.
    command.process_group(0).stdin(Stdio::from(std::os::fd::OwnedFd::from(far))).stdout(Stdio::null());
    // Who is not root hands capabilities on through the ambient set only.
    let lent = lend(capabilities);
    let started = command.spawn();
    take_back(&lent);
    drop(command);
    started?;
    near.set_read_timeout(Some(START_PATIENCE))?;
    let hello: Option<Hello> = protocol::read(&mut near)?;
    let hello = hello
        .ok_or_else(|| io::Error::other("it ended before it was ready; it says why on standard error"))?;
    near.set_read_timeout(Some(PATIENCE))?;
    near.set_write_timeout(Some(PATIENCE))?;
    Ok((near, hello))
}

/// What of it was not in the ambient set before.
fn lend(capabilities: &[Capability]) -> Vec<Capability> {
    let ambient = caps::read(None, CapSet::Ambient).unwrap_or_default();
    let mut lent: Vec<_> = capabilities.to_vec();
    lent.retain(|capability| !ambient.contains(capability));
    for capability in &lent {
        // Where this is refused root still hands on what it has, and the second process says what it got.
        let _ = caps::raise(None, CapSet::Inheritable, *capability)
            .and_then(|()| caps::raise(None, CapSet::Ambient, *capability));
    }
    lent
}

fn take_back(lent: &[Capability]) {
    for capability in lent {
        let _ = caps::drop(None, CapSet::Ambient, *capability);
        let _ = caps::drop(None, CapSet::Inheritable, *capability);
    }
}

impl Second {
    /// To look at while it is asked.
    pub fn state(&self) -> State {
        self.state.clone()
    }

    /// Asks, if it has the right; the agent itself else, which gives its own figures only.
    fn ask(&mut self, right: Right, question: Question) -> Option<Result<Answer, Missing>> {
        self.rights.contains(&right).then(|| self.exchange(question))
    }

    fn exchange(&mut self, question: Question) -> Result<Answer, Missing> {
        let Some(stream) = &mut self.stream else {
            return Err(Missing::Failed(self.state.ended().unwrap_or_default()));
        };
        let answer = protocol::write(stream, &question).and_then(|()| protocol::read(stream));
        let reason = match answer {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => ENDED.to_owned(),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
            {
                ENDED.to_owned()
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                "the second process did not answer".to_owned()
            }
            Err(error) => format!("the second process: {error}"),
        };
        // A late answer would be taken for that of another question.
        self.stream = None;
        self.state.told().ended = Some(reason.clone());
        Err(Missing::Failed(reason))
    }
}

/// An answer to something else.
fn astray<T>(_: Answer) -> Result<T, Missing> {
    Err(Missing::Failed("the second process answers another question".into()))
}

impl Privileged for Second {
    fn memory_map(&mut self, of: Process) -> Result<MemoryMap, Missing> {
        match self.ask(Right::Ptrace, Question::MemoryMap(of)) {
            Some(Ok(Answer::MemoryMap(map))) => map,
            Some(other) => other.and_then(astray),
            None => self.own.memory_map(of),
        }
    }

    fn executable(&mut self, of: Process) -> Result<PathBuf, Missing> {
        match self.ask(Right::Ptrace, Question::Executable(of)) {
            Some(Ok(Answer::Executable(path))) => path,
            Some(other) => other.and_then(astray),
            None => self.own.executable(of),
        }
    }

    fn open_fds(&mut self, of: Process) -> Result<u64, Missing> {
        match self.ask(Right::Ptrace, Question::OpenFds(of)) {
            Some(Ok(Answer::OpenFds(count))) => count,
            Some(other) => other.and_then(astray),
            None => self.own.open_fds(of),
        }
    }

    fn sockets(&mut self, of: Process, inodes: &mut Vec<u64>) -> Result<(), Missing> {
        match self.ask(Right::Ptrace, Question::Sockets(of)) {
            Some(Ok(Answer::Sockets(found))) => found.map(|found| inodes.extend(found)),
            Some(other) => other.and_then(astray),
            None => self.own.sockets(of, inodes),
        }
    }

    fn heap(&mut self, of: Process) -> Result<Heap, Missing> {
        match self.ask(Right::Ptrace, Question::Heap(of)) {
            Some(Ok(Answer::Heap(heap))) => heap,
            Some(other) => other.and_then(astray),
            None => self.own.heap(of),
        }
    }

    fn pools(&mut self, of: Process) -> Result<Vec<Pool>, Missing> {
        match self.ask(Right::Ptrace, Question::Pools(of)) {
            Some(Ok(Answer::Pools(pools))) => pools,
            Some(other) => other.and_then(astray),
            None => self.own.pools(of),
        }
    }

    fn allocations(&mut self, of: Process) -> Result<u64, Missing> {
        match self.ask(Right::Perfmon, Question::Allocations(of)) {
            Some(Ok(Answer::Allocations(calls))) => calls,
            Some(other) => other.and_then(astray),
            None => self.own.allocations(of),
        }
    }

    fn forget(&mut self, of: Process) {
        let _ = self.ask(Right::Perfmon, Question::Forget(of));
    }
}

/// Hidden on the command line; nobody else has a use for it.
pub const SUBCOMMAND: &str = "second-process";
const ENDED: &str = "the second process has ended";
/// Until it is locked in.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// The largest heap that is walked takes a few seconds; a host that is overloaded ten times that.
const PATIENCE: Duration = Duration::from_secs(30);
