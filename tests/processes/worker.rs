//! Processes to look at: this very program under another name, which does what it is told on standard input.

use std::fs::File;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write, stdin};
use std::net::UdpSocket;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Names no two tests share; at most 15 bytes.
pub(crate) fn fresh_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("st-w-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// One process; it ends when it is dropped.
pub(crate) struct Worker {
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Worker {
    /// Starts it under this name, from a link in this directory.
    pub(crate) fn start(name: &str, directory: &Path) -> Self {
        let program = directory.join(name);
        if !program.exists() {
            symlink(std::env::current_exe().unwrap(), &program).unwrap();
        }
        Self::of(Command::new(program))
    }

    /// Starts it by a command that runs this program.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command
            .args(["--ignored", "--exact", "--nocapture", "worker::obeys"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut worker = Self { child, answers };
        worker.tell("hello");
        worker
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Has it do something, and waits until it is done.
    pub(crate) fn tell(&mut self, order: &str) -> String {
        writeln!(self.child.stdin.as_mut().unwrap(), "{order}").unwrap();
        loop {
            let mut line = String::new();
            assert!(self.answers.read_line(&mut line).unwrap() > 0, "{order}: it has ended");
            // The harness has said something before, maybe on the same line.
            if let Some((_, answer)) = line.split_once("done ") {
                return answer.trim().to_owned();
            }
        }
    }

    pub(crate) fn end(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test: what a worker does.
#[test]
#[ignore = "the other end of `Worker`"]
fn obeys() {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let mut files = Vec::new();
    let mut sockets = Vec::new();
    for line in stdin().lock().lines().map_while(Result::ok) {
        let (order, number) = line.split_once(' ').unwrap_or((&line, "0"));
        let number: usize = number.parse().unwrap();
        let mut answer = 0;
        match order {
            "grow" => kept.push(vec![1; number]),
            "open" => files.extend((0..number).map(|_| File::open("/dev/null").unwrap())),
            "burn" => {
                let cpu = || stat(Path::new("/proc/self"), 14) + stat(Path::new("/proc/self"), 15);
                let until = cpu() + number as u64;
                while cpu() < until {
                    black_box((0..100_000_u64).map(black_box).sum::<u64>());
                }
            }
            "listen" => {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                answer = socket.local_addr().unwrap().port();
                sockets.push(socket);
            }
            "deafen" => sockets.clear(),
            _ => {}
        }
        println!("done {answer}");
    }
}

/// A field of `stat` below this directory of /proc, as proc(5) counts them.
pub(crate) fn stat(process: &Path, field: usize) -> u64 {
    let text = std::fs::read_to_string(process.join("stat")).unwrap();
    let (_, rest) = text.rsplit_once(") ").unwrap();
    rest.split(' ').nth(field - 3).unwrap().parse().unwrap()
}

/// What `/proc` says of several processes together.
pub(crate) struct Sums {
    pub(crate) resident: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) minor_faults: f64,
    pub(crate) threads: f64,
    pub(crate) fds: f64,
}

pub(crate) fn sums(workers: &[Worker]) -> Sums {
    let places: Vec<PathBuf> = workers.iter().map(|worker| format!("/proc/{}", worker.id()).into()).collect();
    let sum = |of: &dyn Fn(&Path) -> u64| places.iter().map(|place| of(place)).sum::<u64>() as f64;
    let resident = |place: &Path| {
        let status = std::fs::read_to_string(place.join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let ticks = procfs::ticks_per_second() as f64;
    Sums {
        resident: sum(&resident),
        cpu_seconds: sum(&|place| stat(place, 14) + stat(place, 15)) / ticks,
        minor_faults: sum(&|place| stat(place, 10)),
        threads: sum(&|place| stat(place, 20)),
        fds: sum(&|place| std::fs::read_dir(place.join("fd")).unwrap().count() as u64),
    }
}

pub(crate) fn moment() {
    std::thread::sleep(Duration::from_millis(50));
}
