//! A tracefs for the time of a test, as systemd mounts one on every host.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::skipped::skipped;

pub(crate) struct Tracefs(PathBuf);

impl Tracefs {
    /// None, and said so, where it cannot be mounted.
    pub(crate) fn mount() -> Option<Self> {
        static MOUNTED: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = MOUNTED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let at = std::env::temp_dir().join(format!("sidetone-tracefs-{}-{number}", std::process::id()));
        fs::create_dir_all(&at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tracefs", "tracefs"]).arg(&at).status();
        if !mounted.is_ok_and(|status| status.success()) || !at.join("uprobe_events").exists() {
            skipped("this test needs tracefs with uprobe_events");
            return None;
        }
        Some(Self(at))
    }

    /// The kernel's list of places.
    #[allow(dead_code, reason = "not every test asks")]
    pub(crate) fn places(&self) -> String {
        fs::read_to_string(self.0.join("uprobe_events")).unwrap()
    }
}

impl Drop for Tracefs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}
