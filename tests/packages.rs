//! The packages: what is in them, and how the Debian one behaves in a real system.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot run its subject has failed")]

#[path = "support/needs.rs"]
mod needs;
#[path = "support/skipped.rs"]
mod skipped;
#[path = "support/boot.rs"]
mod system;

use std::path::{Path, PathBuf};
use std::process::Command;

use needs::has;
use system::Layer;

/// Runs one of the scripts of `packaging` and returns the package it names.
fn built(script: &str, into: &Path, version: &str) -> PathBuf {
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(script))
        .arg(env!("CARGO_BIN_EXE_sidetone"))
        .args([into, Path::new(version)])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().into()
}

fn said(program: &str, arguments: &[&str], file: &Path) -> String {
    let output = Command::new(program).args(arguments).arg(file).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What an operator looks for after the installation.
const EXPECTED: [&str; 9] = [
    "/usr/bin/sidetone",
    "/usr/lib/systemd/system/sidetone.service",
    "/usr/lib/sysusers.d/sidetone.conf",
    "/etc/sidetone/sidetone.toml",
    "/usr/share/man/man1/sidetone.1.gz",
    "/usr/share/man/man1/sidetone-run.1.gz",
    "/usr/share/bash-completion/completions/sidetone",
    "/usr/share/doc/sidetone/configuration.md",
    "/usr/share/doc/sidetone/examples/sidetone.service.d/network.conf",
];

#[test]
fn an_rpm_holds_what_it_should_and_keeps_a_changed_configuration() {
    if !has("rpmbuild") || !has("strip") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let package = built("rpm.sh", directory.path(), "0.1.0");
    let files = said("rpm", &["-qpl"], &package);
    for file in EXPECTED {
        assert!(files.lines().any(|line| line == file), "{file}: {files}");
    }
    assert_eq!(said("rpm", &["-qpc"], &package).trim(), "/etc/sidetone/sidetone.toml");
}

#[test]
fn a_deb_is_installed_measures_a_call_is_upgraded_and_leaves_nothing() {
    if !has("dpkg-shlibdeps") || !has("strip") {
        return;
    }
    let Some(layer) = Layer::new() else { return };
    let directory = tempfile::tempdir().unwrap();
    for (version, name) in [("0.1.0", "packages/first.deb"), ("0.1.1", "packages/second.deb")] {
        let package = built("deb.sh", directory.path(), version);
        let files = said("dpkg-deb", &["-c"], &package);
        for file in EXPECTED {
            assert!(files.contains(&format!(" .{file}\n")), "{file}: {files}");
        }
        std::fs::copy(package, layer.place(name)).unwrap();
    }
    layer.put("packages/call.pl", include_str!("packages/call.pl"));
    let told = layer.boot("dbus.service", include_str!("packages/probe.sh"));
    told.has("installed", &["inactive", "disabled", "enable --now sidetone"]);
    told.has("started", &["active", "enabled"]);
    told.has("measured", &["\"packets\":50", "result=\"answered\"", "voip_rtp_packets_total{"]);
    told.has("upgraded", &["restarted", "active", "0.1.1", "kept"]);
    told.has("removed", &["inactive", "/etc/sidetone/sidetone.toml"]);
    assert_eq!(told.of("purged").trim(), "", "{told:?}");
}
