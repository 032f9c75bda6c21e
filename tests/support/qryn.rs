//! A real server with the APIs of Loki and Tempo: qryn over chdb, by `tests/tools.sh loki` (1 GB).

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::patience::within;

/// The two programs, while they run; what they keep on disk is not theirs.
pub(crate) struct Qryn {
    data: PathBuf,
    database: SocketAddr,
    pub(crate) api: SocketAddr,
    running: Vec<Child>,
}

impl Qryn {
    /// Whether it is installed.
    pub(crate) fn is_there() -> bool {
        tools().join("made").exists()
    }

    /// Not started yet; it keeps its data in this directory.
    pub(crate) fn new(data: &Path) -> Self {
        Self { data: data.to_owned(), database: free(), api: free(), running: Vec::new() }
    }

    /// Starts it, with the data that is there.
    pub(crate) fn start(&mut self) {
        let log = self.data.join("log");
        let said = File::options().append(true).create(true).open(&log).unwrap();
        let mut run = |command: &mut Command| {
            let command = command.stdin(Stdio::null()).stdout(said.try_clone().unwrap());
            self.running.push(command.stderr(said.try_clone().unwrap()).spawn().unwrap());
        };
        run(Command::new(tools().join("python/bin/python"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/loki/database.py"))
            .args([self.database.port().to_string(), self.data.join("data").display().to_string()]));
        assert!(within(60, || TcpStream::connect(self.database).is_ok()), "the database listens");
        run(Command::new("node").arg("qryn_node.js").current_dir(tools().join("node_modules/qryn")).envs([
            ("CLICKHOUSE_SERVER", "127.0.0.1"),
            ("CLICKHOUSE_PORT", &self.database.port().to_string()),
            ("CLICKHOUSE_DB", "qryn"),
            ("CLICKHOUSE_AUTH", "default:"),
            ("HOST", "127.0.0.1"),
            ("PORT", &self.api.port().to_string()),
        ]));
        assert!(within(120, || self.get("/ready", &[]).is_some()), "{}", fs::read_to_string(log).unwrap());
    }

    /// Without a word.
    pub(crate) fn kill(&mut self) {
        for mut process in self.running.drain(..) {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// An answer, unless it is an error.
    pub(crate) fn get(&self, path: &str, query: &[String]) -> Option<Vec<u8>> {
        let url = format!("http://{}{path}", self.api);
        let mut command = Command::new("curl");
        command.args(["-fsS", "-m", "60", "--get", &url]).stderr(Stdio::null());
        command.args(query.iter().flat_map(|pair| ["--data-urlencode", pair]));
        let answer = command.output().unwrap();
        answer.status.success().then_some(answer.stdout)
    }
}

impl Drop for Qryn {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn tools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/loki")
}
