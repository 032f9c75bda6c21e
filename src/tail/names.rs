//! Which files are one log: patterns, and the names that rotation gives.
//!
//! ```text
//! /var/log/app/*.log -> app.log: app.log.1, app.log-20260131, app-20260131.log, app.log.old belong to it
//!                                app.log.2.gz and the like too
//! ```

use std::fs;
use std::path::{Path, PathBuf};

/// Files whose names fit a pattern: `*` and `?` inside one name, in any part of the path.
pub(super) fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = part.as_os_str();
        let Some(text) = name.to_str().filter(|text| has_wildcard(text)) else {
            for path in &mut found {
                path.push(name);
            }
            continue;
        };
        found = found.iter().flat_map(|directory| entries(directory, text)).collect();
        found.truncate(MOST_FILES);
    }
    found.sort();
    found
}

fn entries(directory: &Path, pattern: &str) -> Vec<PathBuf> {
    let here = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let names = fs::read_dir(here).into_iter().flatten().flatten();
    let fits = names.filter(|entry| entry.file_name().to_str().is_some_and(|name| fits(pattern, name)));
    fits.map(|entry| directory.join(entry.file_name())).collect()
}

/// The directory of a pattern that is there whatever the pattern stands for.
pub(super) fn fixed_directory(pattern: &Path) -> PathBuf {
    let parent = pattern.parent().unwrap_or(pattern);
    let fixed: PathBuf =
        parent.components().take_while(|part| !part.as_os_str().to_str().is_some_and(has_wildcard)).collect();
    if fixed.as_os_str().is_empty() { PathBuf::from(".") } else { fixed }
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// As a shell has it: a name that begins with a full stop needs one in the pattern.
fn fits(pattern: &str, name: &str) -> bool {
    (pattern.starts_with('.') || !name.starts_with('.')) && fits_rest(pattern.as_bytes(), name.as_bytes())
}

/// Goes back to the last `*` only, so that no name takes long.
fn fits_rest(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut in_name) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(letter) if *letter == b'?' || Some(letter) == name.get(in_name) => {
                at += 1;
                in_name += 1;
            }
            _ => {
                let Some((back, taken)) = star else { return false };
                at = back + 1;
                in_name = taken + 1;
                star = Some((back, in_name));
            }
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|letter| *letter == b'*')
}

/// Whether rotation may have given `name` to what was `base` before, and it can still be read.
pub(super) fn is_rotated(base: &str, name: &str) -> bool {
    let name = name.strip_suffix(PACKED).unwrap_or(name);
    if let Some(rest) = name.strip_prefix(base) {
        return is_mark(rest);
    }
    // app.log -> app-20260131.log
    let Some((stem, ending)) = base.rsplit_once('.') else { return false };
    let middle = name.strip_prefix(stem).and_then(|rest| rest.strip_suffix(ending)?.strip_suffix('.'));
    middle.is_some_and(is_mark)
}

/// Whether a name looks like one that rotation gave, so that a pattern does not take it for a log of its own.
pub(super) fn looks_rotated(name: &str, others: &[&str]) -> bool {
    let is_packed = [PACKED, ".bz2", ".xz", ".zst", ".lz4"].iter().any(|ending| name.ends_with(ending));
    is_packed || others.iter().any(|base| *base != name && is_rotated(base, name))
}

/// Whether it is compressed in a way that can be read.
pub(super) fn is_packed(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "gz")
}

/// `.1`, `-20260131`, `.2026-01-31T10:00`, `.old`
fn is_mark(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(['.', '-', '_']) else { return false };
    let is_number = rest.starts_with(|letter: char| letter.is_ascii_digit())
        && rest.chars().all(|letter| letter.is_ascii_digit() || "-_.:T".contains(letter));
    is_number || rest == "old"
}

const MOST_FILES: usize = 4096;
const PACKED: &str = ".gz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_in_a_shell() {
        for (pattern, name) in
            [("*.log", "a.log"), ("a?c*", "abc"), ("*", "x"), ("*a*b", "xaxbxb"), ("a", "a")]
        {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("*.log", "a.log.1"), ("*", ".x"), ("a?", "a"), ("*ab", "axb"), ("", "a")] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn what_rotation_leaves_is_known() {
        let marks = ["app.log.1", "app.log-20260131", "app.log.2026-01-31T10:00", "app-20260131.log"];
        for name in marks.into_iter().chain(["app.log.old", "app.log.1.gz", "app-20260131.log.gz"]) {
            assert!(is_rotated("app.log", name), "{name}");
        }
        let others = ["app.log", "app.log.1.xz", "app.log.swp", "app2.log", "apps.log", "app.log.bak"];
        for name in others.into_iter().chain(["app-web.log", "app.log.gz"]) {
            assert!(!is_rotated("app.log", name), "{name}");
        }
        assert!(looks_rotated("app.log.1.gz", &[]) && looks_rotated("app.log.1", &["app.log"]));
        assert!(!looks_rotated("app.log", &["app.log", "b.log"]));
    }

    #[test]
    fn a_pattern_is_expanded_in_every_part() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a/x.log", "a/y.txt", "b/x.log", "b/.hidden.log"] {
            let file = directory.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        let pattern = directory.path().join("*/*.log");
        let names = ["a/x.log", "b/x.log"].map(|name| directory.path().join(name));
        assert_eq!(expand(&pattern), names);
        assert_eq!(fixed_directory(&pattern), directory.path());
        assert_eq!(expand(&directory.path().join("b/none.log")).len(), 1, "a plain name may come to be");
        assert_eq!(fixed_directory(Path::new("x.log")), Path::new("."));
    }
}
