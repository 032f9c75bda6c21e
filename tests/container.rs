//! The image: what `packaging/container/Containerfile` builds of what `packaging/image.sh` packs, and the agent in it as a
//! runtime starts it: nobody, on a root file system that cannot be written to, CAP_NET_RAW being all that it may have.
//!
//! Needs root and buildah; says so and skips where they are not there.

#![allow(clippy::unwrap_used, reason = "a test that cannot run its subject has failed")]

#[path = "support/needs.rs"]
mod needs;
#[path = "support/patience.rs"]
mod patience;
#[path = "support/skipped.rs"]
mod skipped;
#[path = "support/veth.rs"]
mod veth;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use needs::root_with;
use serde_json::Value;
use veth::Net;

#[test]
fn the_agent_in_the_image_needs_no_root_and_writes_nothing() {
    let tools = ["buildah", "python3", "perl", "unshare", "getcap", "strip"];
    if !root_with(&tools) {
        return;
    }
    let Some(net) = Net::up("image", &[]) else { return };
    let store = Store(tempfile::tempdir().unwrap());
    let context = store.0.path().join("context");
    let packed = Command::new(project("packaging/image.sh"))
        .arg(env!("CARGO_BIN_EXE_sidetone"))
        .arg(&context)
        .output()
        .unwrap();
    assert!(packed.status.success(), "{packed:?}");
    store.buildah(&[
        "bud",
        "--isolation",
        "chroot",
        "--tag",
        "sidetone",
        "--file",
        project("packaging/container/Containerfile").to_str().unwrap(),
        context.to_str().unwrap(),
    ]);
    let image: Value =
        serde_json::from_str(&store.buildah(&["inspect", "--type", "image", "localhost/sidetone"])).unwrap();
    let config = &image["OCIv1"]["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"][0], "/usr/bin/sidetone");
    assert_eq!(config["Cmd"][0], "run");

    let container = store.buildah(&["from", "localhost/sidetone"]);
    let root = store.buildah(&["mount", container.trim()]);
    let root = root.trim();
    let program = format!("{root}/usr/bin/sidetone");
    let capability = Command::new("getcap").arg(&program).output().unwrap();
    let capability = String::from_utf8(capability.stdout).unwrap();
    assert_eq!(capability.trim(), format!("{program} cap_net_raw=p"));

    let mut agent = started(&net, root, "13");
    let url = "http://127.0.0.1:9767";
    assert!(patience::within(60, || net.fetch(&format!("{url}/live")).0 == 200), "it is alive");
    let capture = net.dir.path().join("calls.pcap");
    let simulated = ["simulate", "--calls", "2", "--duration", "1", "-w"];
    veth::succeed(Command::new(env!("CARGO_BIN_EXE_sidetone")).args(simulated).arg(&capture));
    net.run("tcpreplay", &format!("-q -i st0 {}", capture.display()));
    let metrics = || net.fetch(&format!("{url}/metrics")).1;
    assert!(patience::within(30, || veth::samples(&metrics(), "voip_calls_ended_total") > 1.5), "two calls");
    // What it does with a few seconds of life: the host and its own process are looked at.
    assert!(patience::within(30, || veth::samples(&metrics(), "sidetone_polls_total") > 0.5), "a poll");
    assert_eq!(net.fetch(&format!("{url}/ready")).0, 200);
    assert!(agent.try_wait().unwrap().is_none(), "it goes on");
    let (_, health) = net.fetch(&format!("{url}/health?detailed=true"));
    assert!(health.contains("\"capabilities\":0"), "{health}");
    // Who waits for it passes nothing on.
    veth::succeed(Command::new("pkill").args(["-TERM", "--parent", &agent.id().to_string()]));
    let ended = agent.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.success() && !said.contains("panicked"), "{said}");

    // A runtime that gives it nothing.
    let refused = started(&net, root, "none").wait_with_output().unwrap();
    assert_eq!(refused.status.code(), Some(77), "{refused:?}");
    store.buildah(&["umount", container.trim()]);
}

/// Starts what the image says in it: of all capabilities only this one may be had, by whoever has it on a file.
fn started(net: &Net, root: &str, capability: &str) -> Child {
    let file = |name: &str, text: &str| {
        let path = net.dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    net.inside("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "sh"])
        .arg(file("box.sh", include_str!("container/box.sh")))
        .arg(root)
        .arg(file("nobody.pl", include_str!("container/nobody.pl")))
        .args([root, capability, "/usr/bin/sidetone", "run"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Images and containers of the test's own.
struct Store(tempfile::TempDir);

impl Store {
    /// What it has printed.
    fn buildah(&self, arguments: &[&str]) -> String {
        let place = |name: &str| self.0.path().join(name);
        let output = Command::new("buildah")
            .args(["--storage-driver", "vfs", "--root"])
            .arg(place("store"))
            .arg("--runroot")
            .arg(place("run"))
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn project(place: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(place)
}
