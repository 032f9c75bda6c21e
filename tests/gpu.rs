//! Graphics processors, through a double of NVIDIA's library in a confined agent. It takes root, or CAP_NET_RAW.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot run its subject has failed")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

#[path = "support/needs.rs"]
mod needs;
#[path = "support/patience.rs"]
mod patience;
#[path = "support/skipped.rs"]
mod skipped;

struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// The page once the host was looked at.
fn metrics(libraries: &Path, gpu: bool) -> String {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sidetone"));
    command.arg("run").env("LD_LIBRARY_PATH", libraries).stderr(Stdio::null());
    command.env("SIDETONE_CAPTURE_INTERFACES", "lo").env("SIDETONE_HTTP_LISTEN", address.to_string());
    command.env("SIDETONE_POLL_GPU", gpu.to_string());
    let _agent = Agent(command.spawn().unwrap());
    let mut page = String::new();
    assert!(patience::within(60, || {
        page = get(address, "/metrics").unwrap_or_default();
        page.contains("voip_host_cpus ")
    }));
    page
}

#[test]
fn they_are_read_after_the_rights_are_given_up_where_they_are_asked_for() {
    if !needs::root_with(&["cc"]) {
        return;
    }
    if !cfg!(feature = "gpu") {
        skipped::skipped("this program is built without the feature gpu");
        return;
    }
    let libraries = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gpu/nvml.c");
    let made = Command::new("cc")
        .args(["-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o"])
        .arg(libraries.path().join("libnvidia-ml.so.1"))
        .arg(source)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let page = metrics(libraries.path(), true);
    for line in [
        "voip_host_gpu_busy_ratio{gpu=\"0\"} 0.38",
        "voip_host_gpu_busy_ratio{gpu=\"1\"} 0.39",
        "voip_host_gpu_memory_bytes{gpu=\"0\",kind=\"total\"} 17179869184",
        "voip_host_gpu_memory_bytes{gpu=\"1\",kind=\"used\"} 3221225472",
        "voip_host_gpu_temperature_celsius{gpu=\"0\"} 61.0",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}: {page}");
    }
    assert!(
        !page.contains("voip_host_gpu_temperature_celsius{gpu=\"1\"}"),
        "what it does not tell is absent"
    );

    assert!(!metrics(libraries.path(), false).contains("voip_host_gpu"), "nobody asked");
    let nothing = tempfile::tempdir().unwrap();
    assert!(!metrics(nothing.path(), true).contains("voip_host_gpu"), "there is no such library");
}
