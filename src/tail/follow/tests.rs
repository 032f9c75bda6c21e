use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;

use super::*;

/// Keeps lines, and positions as a disk would.
#[derive(Default)]
struct Kept {
    lines: Vec<String>,
    entries: BTreeMap<Id, Entry>,
}

impl Take for Kept {
    fn take(&mut self, lines: &[&[u8]], source: &Source<'_>) {
        self.lines.extend(lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()));
        let Source { id, offset, skips, print, copy_of, gone } = *source;
        let entry =
            Entry { tail: "t".into(), id, offset, serial: 0, skips, copy_of, print: print.clone(), gone };
        if gone { drop(self.entries.remove(&id)) } else { drop(self.entries.insert(id, entry)) }
    }
}

struct Scene {
    directory: tempfile::TempDir,
    follower: Follower,
    kept: Kept,
    seconds: u64,
    written: u64,
    /// Of the number in each line.
    digits: usize,
}

impl Scene {
    fn new() -> Self {
        Self::with(tempfile::tempdir().unwrap(), "app.log", true)
    }

    fn with(directory: tempfile::TempDir, pattern: &str, from_start: bool) -> Self {
        let pattern = directory.path().join(pattern);
        let follower = Follower::new(vec![pattern], Vec::new(), from_start, 1000, Stamp(0));
        Self { directory, follower, kept: Kept::default(), seconds: 0, written: 0, digits: 6 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// So many more lines.
    fn write(&mut self, name: &str, lines: u64) {
        let mut file = File::options().append(true).create(true).open(self.path(name)).unwrap();
        for _ in 0..lines {
            writeln!(file, "line {:0digits$}", self.written, digits = self.digits).unwrap();
            self.written += 1;
        }
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn copy(&self, from: &str, to: &str) {
        fs::copy(self.path(from), self.path(to)).unwrap();
    }

    fn pack(&self, name: &str) {
        let to = File::create(self.path(&format!("{name}.gz"))).unwrap();
        let mut encoder = flate2::write::GzEncoder::new(to, flate2::Compression::fast());
        encoder.write_all(&fs::read(self.path(name)).unwrap()).unwrap();
        encoder.finish().unwrap();
        fs::remove_file(self.path(name)).unwrap();
    }

    fn truncate(&self, name: &str) {
        File::options().write(true).open(self.path(name)).unwrap().set_len(0).unwrap();
    }

    fn round(&mut self) {
        self.seconds += 1;
        while self.follower.round(Stamp(self.seconds * 1_000_000_000), true, &mut self.kept) {}
    }

    /// Another process goes on with what this one left on disk.
    fn restart(&mut self) {
        let entries = self.kept.entries.values().cloned().collect();
        let pattern = self.path("app.log");
        let now = Stamp(self.seconds * 1_000_000_000);
        self.follower = Follower::new(vec![pattern], entries, false, 1000, now);
    }

    /// Each line that was written once, whatever the order of files.
    fn assert_complete(&mut self) {
        self.round();
        self.round();
        let mut numbers: Vec<u64> = self
            .kept
            .lines
            .iter()
            .map(|line| line.strip_prefix("line ").unwrap_or_else(|| panic!("{line:?}")).parse().unwrap())
            .collect();
        numbers.sort_unstable();
        let doubled: Vec<_> =
            numbers.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
        let missing: Vec<_> =
            (0..self.written).filter(|number| numbers.binary_search(number).is_err()).collect();
        assert!(doubled.is_empty() && missing.is_empty(), "doubled {doubled:?}, missing {missing:?}");
    }
}

#[test]
fn lines_are_read_as_they_come() {
    let mut scene = Scene::new();
    scene.round();
    scene.write("app.log", 3);
    scene.round();
    assert_eq!(scene.kept.lines.len(), 3);
    scene.write("app.log", 2);
    scene.assert_complete();
    assert_eq!((scene.follower.tally.lines, scene.follower.tally.files), (5, 1));
}

#[test]
fn a_renamed_file_is_read_to_its_end() {
    let mut scene = Scene::new();
    scene.write("app.log", 3);
    scene.round();
    scene.write("app.log", 3);
    scene.rename("app.log", "app.log.1");
    scene.write("app.log", 3);
    scene.round();
    scene.write("app.log.1", 3);
    scene.assert_complete();
    assert_eq!(scene.follower.tally.rotations, 1);
}

#[test]
fn files_that_were_rotated_before_anybody_looked_are_read_in_order() {
    let mut scene = Scene::new();
    scene.write("app.log", 3);
    scene.round();
    for _ in 0..5 {
        for number in (1..9).rev() {
            let (from, to) = (format!("app.log.{number}"), format!("app.log.{}", number + 1));
            if scene.path(&from).exists() {
                scene.rename(&from, &to);
            }
        }
        scene.rename("app.log", "app.log.1");
        scene.write("app.log", 3);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    scene.assert_complete();
    assert!(scene.kept.lines.is_sorted());
}

#[test]
fn what_is_deleted_is_read_while_it_is_open() {
    let mut scene = Scene::new();
    scene.write("app.log", 3);
    scene.round();
    scene.write("app.log", 3);
    fs::remove_file(scene.path("app.log")).unwrap();
    scene.write("app.log", 3);
    scene.assert_complete();
}

#[test]
fn copytruncate_loses_and_doubles_nothing() {
    for read_before_cut in [false, true] {
        let mut scene = Scene::new();
        scene.write("app.log", 30);
        scene.round();
        scene.write("app.log", 5);
        scene.copy("app.log", "app.log.1");
        if read_before_cut {
            scene.round();
        }
        scene.truncate("app.log");
        scene.write("app.log", 4);
        scene.round();
        scene.write("app.log", 90);
        scene.copy("app.log", "app.log.2");
        scene.truncate("app.log");
        // Longer than before, so that only its beginning tells.
        scene.write("app.log", 200);
        scene.assert_complete();
        assert_eq!(scene.follower.tally.truncations, 2);
        assert_eq!(scene.follower.tally.without_copy, 0);
    }
}

#[test]
fn a_copy_that_lacks_lines_is_not_read_again() {
    let mut scene = Scene::new();
    scene.write("app.log", 5);
    scene.copy("app.log", "app.log.1");
    scene.write("app.log", 5);
    scene.round();
    scene.truncate("app.log");
    scene.write("app.log", 1);
    scene.assert_complete();
}

#[test]
fn a_copy_that_nobody_cuts_for_is_not_read() {
    let mut scene = Scene::new();
    scene.write("app.log", 50);
    scene.round();
    scene.copy("app.log", "app.log.1");
    scene.round();
    scene.write("app.log", 5);
    scene.assert_complete();
}

#[test]
fn it_goes_on_after_a_restart() {
    let mut scene = Scene::new();
    scene.write("app.log", 10);
    scene.round();
    scene.restart();
    scene.write("app.log", 10);
    scene.assert_complete();
    // Rotated twice meanwhile.
    scene.write("app.log", 10);
    scene.rename("app.log", "app.log.2");
    scene.write("app.log.1", 10);
    scene.write("app.log", 10);
    scene.restart();
    scene.assert_complete();
    // Copied and cut meanwhile.
    scene.write("app.log", 10);
    scene.copy("app.log", "app.log.3");
    scene.truncate("app.log");
    scene.write("app.log", 100);
    scene.restart();
    scene.assert_complete();
    scene.restart();
    scene.assert_complete();
}

#[test]
fn what_was_there_before_is_no_news_unless_asked_for() {
    let mut scene = Scene::with(tempfile::tempdir().unwrap(), "app.log", false);
    fs::write(scene.path("app.log"), "old\nold\nhal").unwrap();
    fs::write(scene.path("app.log.1"), "older\n").unwrap();
    scene.round();
    fs::write(scene.path("app.log"), "old\nold\nhalf\n").unwrap();
    scene.write("app.log", 2);
    scene.rename("app.log", "app.log.2");
    scene.write("app.log", 2);
    scene.round();
    assert_eq!(scene.kept.lines, ["half", "line 000000", "line 000001", "line 000002", "line 000003"]);
}

#[test]
fn a_pattern_and_a_link_lead_to_files_that_come_later() {
    let mut scene = Scene::with(tempfile::tempdir().unwrap(), "*.log", true);
    scene.write("a.log", 2);
    scene.write("a.log.1", 2);
    scene.round();
    fs::create_dir(scene.path("real")).unwrap();
    scene.write("real/b", 2);
    std::os::unix::fs::symlink("real/b", scene.path("b.log")).unwrap();
    scene.round();
    scene.rename("real/b", "real/b.1");
    scene.write("real/b", 2);
    scene.assert_complete();
    assert_eq!(scene.follower.tally.files, 2);
    assert!(scene.follower.directories().contains(&fs::canonicalize(scene.path("real")).unwrap()));
}

#[test]
fn a_last_line_without_end_is_taken_when_nobody_writes_any_more() {
    let mut scene = Scene::new();
    fs::write(scene.path("app.log"), "line 000000\nline 000001").unwrap();
    scene.round();
    scene.rename("app.log", "app.log.1");
    scene.written = 2;
    scene.round();
    assert_eq!(scene.kept.lines.len(), 1);
    for _ in 0..6 {
        scene.round();
    }
    scene.assert_complete();
}

#[test]
fn any_order_of_rotations_restarts_and_looks_loses_and_doubles_nothing() {
    let mut state = 1_u64;
    let mut chance = move |of: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % of
    };
    for run in 0..40 {
        // Below 256 bytes that begin alike a copy and a rotated file look the same.
        let mut scene = Scene { digits: 300, ..Scene::new() };
        println!("run {run}");
        let mut rotated = 0;
        scene.write("app.log", 1);
        scene.round();
        for _ in 0..60 {
            let next = chance(8);
            print!(" {next}");
            match next {
                0 | 1 => scene.round(),
                2 => {
                    rotated += 1;
                    let name = format!("app.log.{rotated}");
                    scene.rename("app.log", &name);
                    scene.write("app.log", 1 + chance(3));
                }
                3 => {
                    rotated += 1;
                    let name = format!("app.log.{rotated}");
                    scene.copy("app.log", &name);
                    if chance(2) == 0 {
                        scene.round();
                    }
                    scene.truncate("app.log");
                    scene.write("app.log", 1 + chance(40));
                }
                4 => scene.restart(),
                _ => {
                    let lines = 1 + chance(20);
                    scene.write("app.log", lines);
                }
            }
        }
        scene.assert_complete();
    }
}

#[test]
fn what_begins_as_another_log_file_does_is_no_copy_of_it() {
    let mut scene = Scene::new();
    for rotation in 1..20 {
        // Seen when it has but the beginning of a line.
        let mut file = File::options().append(true).create(true).open(scene.path("app.log")).unwrap();
        write!(file, "line ").unwrap();
        scene.round();
        writeln!(file, "{:06}", scene.written).unwrap();
        scene.written += 1;
        scene.write("app.log", 5);
        // And one that nobody saw.
        scene.rename("app.log", &format!("app.log.{}", 2 * rotation));
        scene.write("app.log", 3);
        scene.rename("app.log", &format!("app.log.{}", 2 * rotation + 1));
    }
    scene.assert_complete();
}

#[test]
fn a_number_that_is_given_again_is_another_file() {
    let mut scene = Scene::new();
    scene.write("app.log", 200);
    scene.round();
    scene.restart();
    for _ in 0..3 {
        fs::remove_file(scene.path("app.log")).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        scene.write("app.log", 300);
        scene.restart();
        scene.round();
    }
    assert_eq!(scene.follower.tally.truncations, 0);
    scene.assert_complete();
}

#[test]
fn what_was_compressed_meanwhile_is_read_on() {
    let mut scene = Scene::new();
    scene.write("app.log", 100);
    scene.round();
    scene.write("app.log", 50);
    scene.rename("app.log", "app.log.2");
    scene.write("app.log.1", 70);
    scene.write("app.log", 10);
    for name in ["app.log.1", "app.log.2"] {
        scene.pack(name);
    }
    scene.restart();
    scene.assert_complete();
    // One that nobody saw, so small that its end is seen with its beginning.
    scene.write("app.log.7", 1);
    scene.pack("app.log.7");
    scene.assert_complete();
    // In the time of rotation, while it is looked at.
    for rotation in 3..6 {
        scene.write("app.log", 30);
        scene.rename("app.log", &format!("app.log.{rotation}"));
        scene.write("app.log", 1);
        scene.round();
        scene.pack(&format!("app.log.{rotation}"));
        scene.round();
    }
    scene.assert_complete();
    scene.restart();
    scene.assert_complete();
}

#[test]
fn a_copy_that_was_compressed_meanwhile_is_read_on() {
    let mut scene = Scene::new();
    scene.write("app.log", 100);
    scene.round();
    scene.write("app.log", 50);
    scene.copy("app.log", "app.log.1");
    scene.truncate("app.log");
    scene.write("app.log", 500);
    scene.pack("app.log.1");
    scene.restart();
    scene.assert_complete();
}

#[test]
fn what_is_written_while_no_agent_runs_is_news_although_there_was_no_file() {
    let mut scene = Scene::with(tempfile::tempdir().unwrap(), "app.log", false);
    scene.round();
    scene.write("app.log", 5);
    scene.restart();
    scene.assert_complete();
}

#[test]
fn not_all_files_stay_open_and_those_that_are_closed_are_opened_when_they_grow() {
    let mut scene = Scene::new();
    for rotation in 0..300 {
        scene.write("app.log", 1);
        scene.rename("app.log", &format!("app.log.{rotation}"));
        // All within the time in which somebody may still write.
        scene.follower.round(Stamp(1_000_000_000), true, &mut scene.kept);
    }
    let open = |scene: &Scene| scene.follower.known.values().filter(|known| known.body.is_some()).count();
    assert!((100..=MANY_OPEN + 1).contains(&open(&scene)), "{}", open(&scene));
    scene.write("app.log.3", 2);
    scene.write("app.log.299", 2);
    scene.assert_complete();
    for _ in 0..7 {
        scene.round();
    }
    assert_eq!(open(&scene), 0, "nobody writes to them");
}

#[test]
fn what_is_cut_without_a_copy_begins_anew() {
    let mut scene = Scene::new();
    scene.write("app.log", 10);
    scene.round();
    scene.truncate("app.log");
    scene.write("app.log", 3);
    scene.assert_complete();
    assert_eq!((scene.follower.tally.truncations, scene.follower.tally.without_copy), (1, 1));
}

#[test]
fn a_number_that_was_given_again_within_a_tick_of_the_clock_is_another_file_too() {
    for copy_of_itself in [false, true] {
        let mut scene = Scene::new();
        scene.write("app.log", 2);
        scene.write("app.log.1", 5);
        // An earlier agent knew another file by what is the number of this one now.
        let id = Id::of(&fs::metadata(scene.path("app.log.1")).unwrap());
        let print = Print { head: b"what it began with".to_vec(), trail: b"and had last".to_vec() };
        let copy_of = copy_of_itself.then_some(id);
        let (tail, offset) = ("t".to_owned(), 1000);
        let entry = Entry { tail, id, offset, serial: 0, skips: false, copy_of, print, gone: false };
        scene.kept.entries.insert(id, entry);
        scene.restart();
        scene.assert_complete();
    }
}
