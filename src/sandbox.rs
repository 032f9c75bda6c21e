//! What the agent may still do once its sockets and files are open (DESIGN 10): nearly nothing.
//!
//! ```text
//! sockets, files open -> no capability -> no_new_privs -> Landlock -> seccomp -> other threads -> first packet
//! ```
//!
//! A packet is parsed only behind all of it, so that a fault in a parser finds no right to use. Threads started
//! afterwards inherit all four. That no capability is left is a condition of running; the others are taken as far as
//! the kernel has them, and what is missing is told ([`Report`]).
#![allow(unsafe_code, reason = "no_new_privs has no safe interface here")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use caps::{CapSet, Capability, CapsHashSet};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use serde::Serialize;

mod calls;

/// What is needed after the door is shut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Directories, or single files, that are read again: configuration, certificates.
    pub read: Vec<PathBuf>,
    /// Directories in which files are made, written, renamed and removed: logs.
    pub write: Vec<PathBuf>,
    /// New connections to other hosts, and their names.
    pub connects: bool,
    /// Devices of NVIDIA's that are open already.
    pub gpus: bool,
}

/// What was taken away, and what could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How many capabilities are left: none, or those of the second process.
    pub capabilities: usize,
    /// No program that is started could get more rights.
    pub no_new_privs: Guard,
    /// Files, TCP, signals and abstract sockets.
    pub landlock: Guard,
    /// System calls.
    pub seccomp: Guard,
}

/// How one of the guards is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Guard {
    /// As it should be.
    On {
        /// Version of the kernel's interface, if it has one.
        #[serde(skip_serializing_if = "Option::is_none")]
        abi: Option<u32>,
    },
    /// The kernel knows less than is asked for.
    Partly {
        /// Version of the kernel's interface.
        abi: u32,
    },
    /// The kernel does not have it, or it is switched off.
    Absent {
        /// Which of both.
        reason: String,
    },
    /// It is there, and refused.
    Refused {
        /// What the system answered.
        reason: String,
    },
}

/// The rights could not be given up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// They belong to threads, and another one would keep its own.
    #[error("{0} threads run already where only one may: this is a bug, please report it")]
    Threads(usize),
    /// The system refused.
    #[error("dropping capabilities: {0}")]
    Capabilities(#[from] caps::errors::CapsError),
}

/// Makes use of what is permitted only. The program file of a container image carries its capability so
/// (`setcap cap_net_raw=p`): with it in effect from the start, a runtime that withholds it could not even start the
/// program, and nobody would be told why.
pub fn take_up() -> Result<(), caps::errors::CapsError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    caps::set(None, CapSet::Effective, &permitted)
}

/// Gives up everything that `needs` does not name, for good. To be called by the only thread there is.
pub fn enter(needs: &Needs) -> Result<Report, Error> {
    only_thread()?;
    let capabilities = keep_capabilities(&[])?;
    let no_new_privs = no_new_privs();
    let landlock = restrict_files(needs).unwrap_or_else(|error| Guard::Refused { reason: error.to_string() });
    // Last: what came before is no longer allowed by it.
    let seccomp = calls::restrict(needs);
    Ok(Report { capabilities, no_new_privs, landlock, seccomp })
}

/// The same for the second process, which keeps a right over others ([`second`](crate::process::second)).
///
/// Without Landlock: whoever is in a domain of it may trace nobody outside, whatever its capabilities, and that is what
/// this process is for. seccomp leaves it reading: no socket, no file to write, nothing to start.
pub fn enter_second(keep: &[Capability]) -> Result<Report, Error> {
    only_thread()?;
    let capabilities = keep_capabilities(keep)?;
    let no_new_privs = no_new_privs();
    let landlock = absent("it would forbid to look into other processes");
    let seccomp = calls::restrict_second();
    Ok(Report { capabilities, no_new_privs, landlock, seccomp })
}

fn only_thread() -> Result<(), Error> {
    match fs::read_dir("/proc/self/task").map_or(1, Iterator::count) {
        ..=1 => Ok(()),
        threads => Err(Error::Threads(threads)),
    }
}

impl Report {
    /// Whether something refused that should have worked; what a kernel does not have is none of it.
    pub fn is_weakened(&self) -> bool {
        let guards = [&self.no_new_privs, &self.landlock, &self.seccomp];
        guards.into_iter().any(|guard| matches!(guard, Guard::Refused { .. }))
    }

    /// In words: `no capability, no new privileges, Landlock (ABI 7), seccomp`.
    pub fn summary(&self) -> String {
        let mut words = vec![match self.capabilities {
            0 => "no capability".to_owned(),
            1 => "one capability".to_owned(),
            left => format!("{left} capabilities"),
        }];
        let guards = [
            ("no new privileges", &self.no_new_privs),
            ("Landlock", &self.landlock),
            ("seccomp", &self.seccomp),
        ];
        words.extend(guards.map(|(name, guard)| match guard {
            Guard::On { abi: None } => name.to_owned(),
            Guard::On { abi: Some(abi) } => format!("{name} (ABI {abi})"),
            Guard::Partly { abi } => format!("{name} (only ABI {abi})"),
            Guard::Absent { reason } | Guard::Refused { reason } => format!("no {name} ({reason})"),
        }));
        words.join(", ")
    }

    /// The same, part by part.
    pub fn detail(&self) -> BTreeMap<String, serde_json::Value> {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(parts)) => parts.into_iter().collect(),
            _ => BTreeMap::new(),
        }
    }
}

/// The directories in which a file is looked up again, for [`Needs::read`]: its own and, where it is a link, that of
/// what it leads to. The file itself would not do: it is replaced by another one under its name.
pub fn directories_of(file: &Path) -> Vec<PathBuf> {
    let parent = |file: &Path| match file.parent() {
        Some(parent) if parent.as_os_str().is_empty() => PathBuf::from("."),
        Some(parent) => parent.to_owned(),
        None => PathBuf::from("/"),
    };
    let mut directories = vec![parent(file)];
    if let Ok(real) = fs::canonicalize(file) {
        directories.push(parent(&real));
    }
    directories.dedup();
    directories
}

/// Returns how many are left: those.
fn keep_capabilities(keep: &[Capability]) -> Result<usize, Error> {
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        caps::clear(None, CapSet::Bounding)?;
    }
    let keep: CapsHashSet = keep.iter().copied().collect();
    let none = CapsHashSet::new();
    let sets = [
        (CapSet::Ambient, &none),
        (CapSet::Inheritable, &none),
        (CapSet::Effective, &keep),
        (CapSet::Permitted, &keep),
    ];
    for (set, left) in sets {
        caps::set(None, set, left)?;
    }
    let mut left = 0;
    for (set, _) in sets {
        left = left.max(caps::read(None, set)?.len());
    }
    Ok(left)
}

fn no_new_privs() -> Guard {
    match set_no_new_privs() {
        Ok(()) => Guard::On { abi: None },
        Err(error) => Guard::Refused { reason: error.to_string() },
    }
}

fn set_no_new_privs() -> io::Result<()> {
    // SAFETY: plain numbers are passed.
    match unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Reading where it is needed and nothing else: no writing, no execution, no device, no TCP, no signal to others.
fn restrict_files(needs: &Needs) -> Result<Guard, RulesetError> {
    // What is handled is what is denied, so the version is one whose every right was thought about.
    let abi = ABI::V7;
    let tcp = if needs.connects { AccessNet::BindTcp.into() } else { AccessNet::from_all(abi) };
    // A service manager that listens on an abstract socket has to be reached.
    let abstract_manager =
        env::var_os("NOTIFY_SOCKET").is_some_and(|name| name.as_encoded_bytes().starts_with(b"@"));
    let scope = if abstract_manager { Scope::Signal.into() } else { Scope::from_all(abi) };
    let mut read: Vec<&Path> = needs.read.iter().map(PathBuf::as_path).collect();
    read.push(Path::new("/proc/self"));
    if needs.connects {
        read.extend(RESOLVER.map(Path::new));
    }
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(tcp)?
        .scope(scope)?
        .create()?
        .add_rules(path_beneath_rules(read, AccessFs::ReadFile | AccessFs::ReadDir))?
        .add_rules(path_beneath_rules(&needs.write, writing()))?
        .restrict_self()?;
    let abi = match status.landlock {
        LandlockStatus::Available { effective_abi, kernel_abi } => {
            kernel_abi.and_then(|abi| u32::try_from(abi).ok()).unwrap_or(effective_abi as u32)
        }
        LandlockStatus::NotEnabled => return Ok(absent("the kernel was started without it")),
        LandlockStatus::NotImplemented => return Ok(absent("the kernel does not have it")),
    };
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Guard::On { abi: Some(abi) },
        RulesetStatus::PartiallyEnforced => Guard::Partly { abi },
        RulesetStatus::NotEnforced => absent("nothing of it was enforced"),
    })
}

/// No directory, link or device is made.
fn writing() -> BitFlags<AccessFs> {
    AccessFs::ReadFile
        | AccessFs::ReadDir
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::RemoveFile
}

fn absent(reason: &str) -> Guard {
    Guard::Absent { reason: reason.into() }
}

/// What the C library reads to find the address of a name.
const RESOLVER: [&str; 6] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/run/systemd/resolve",
];

#[cfg(test)]
mod tests;
