//! A Debian in a directory (`tests/tools.sh systemd-nspawn` makes it), booted with a real systemd in a container. What a
//! test puts into a layer lies over it; nothing that happens inside is kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::needs::root_with;
use crate::skipped::skipped;

/// Files over those of the system.
#[derive(Debug)]
pub(crate) struct Layer {
    root: PathBuf,
    files: tempfile::TempDir,
    /// More arguments of systemd-nspawn.
    arguments: Vec<String>,
}

impl Layer {
    /// Without any yet; nothing where no system can be booted.
    pub(crate) fn new() -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/root");
        if !root_with(&["systemd-nspawn", "unshare", "timeout"]) {
            return None;
        }
        if !root.join("made-2").exists() {
            skipped(format!(
                "there is no system to boot at {}: tests/tools.sh systemd-nspawn",
                root.display()
            ));
            return None;
        }
        let files = tempfile::tempdir().unwrap();
        // It becomes the root directory, which others than root must see.
        fs::set_permissions(files.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Some(Self { root, files, arguments: Vec::new() })
    }

    /// Where a file of the system lies.
    pub(crate) fn place(&self, file: &str) -> PathBuf {
        let place = self.files.path().join(file);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        place
    }

    pub(crate) fn put(&self, file: &str, text: &str) {
        fs::write(self.place(file), text).unwrap();
    }

    /// What a host has and a container does not: `--capability=CAP_PERFMON` and the like.
    #[allow(dead_code, reason = "one test needs it")]
    pub(crate) fn allow(&mut self, argument: impl Into<String>) {
        self.arguments.push(argument.into());
    }

    /// Boots, runs `probe` with bash as soon as the units in `after` are up, and returns what it has told once the
    /// system is down: the probe must end with `systemctl poweroff --no-block`.
    ///
    /// `/run` may lie on a disk, and there need be no system bus here: hence the mount namespace with a `/run` of its
    /// own. The container would keep Landlock from what is inside.
    pub(crate) fn boot(&self, after: &str, probe: &str) -> Told {
        self.put("probe.sh", probe);
        self.put(
            "etc/systemd/system/probe.service",
            &format!(
                "[Unit]\nAfter={after}\n[Service]\nType=oneshot\nStandardOutput=file:/told/probe\n\
                 StandardError=file:/told/probe\nExecStart=/bin/bash /probe.sh\n"
            ),
        );
        self.start_with_the_system("probe.service");
        let told = tempfile::tempdir().unwrap();
        let script = "mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir /run/over /run/work /run/root && \
                      mount -t overlay -o lowerdir=\"$1\":\"$2\",upperdir=/run/over,workdir=/run/work over /run/root && \
                      exec systemd-nspawn -D /run/root --register=no --keep-unit --private-network --boot \
                      --bind=\"$3\":/told \
                      --system-call-filter='landlock_create_ruleset landlock_add_rule landlock_restrict_self' \
                      \"${@:4}\"";
        let output = Command::new("timeout")
            .args(["--signal", "KILL", "300", "unshare", "--mount", "bash", "-c", script, "bash"])
            .args([self.files.path(), &self.root, told.path()])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Told(fs::read_to_string(told.path().join("probe")).unwrap_or_else(|error| {
            let (out, err) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            panic!("it did not boot: {error}\n{out}\n{err}")
        }))
    }

    /// As `systemctl enable` would.
    pub(crate) fn start_with_the_system(&self, unit: &str) {
        let wants = self.place(&format!("etc/systemd/system/multi-user.target.wants/{unit}"));
        std::os::unix::fs::symlink(format!("../{unit}"), wants).unwrap();
    }
}

/// What a probe has told: steps that begin with a line `== name`.
#[derive(Debug)]
pub(crate) struct Told(String);

impl Told {
    /// What it told in one step.
    pub(crate) fn of(&self, step: &str) -> &str {
        let (_, after) =
            self.0.split_once(&format!("== {step}\n")).unwrap_or_else(|| panic!("no {step}: {}", self.0));
        after.split("== ").next().unwrap()
    }

    /// Fails unless all of it was told in that step.
    pub(crate) fn has(&self, step: &str, facts: &[&str]) {
        let told = self.of(step);
        for fact in facts {
            assert!(told.contains(fact), "{step}: {fact}: {}", self.0);
        }
    }
}
