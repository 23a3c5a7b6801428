//! A folder of clips that keeps a quota: pairs of files, the oldest deleted first.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use kws_live::text::in_ascii;

/// Ours are called `kws-20270115T080000.000Z-word`; nothing else in the folder is ever touched.
const PREFIX: &str = "kws-";
/// Age at which half a file is nobody's work any more: another program may write to the same folder.
const STALE: Duration = Duration::from_mins(1);
/// Letters of a keyword that a file name shows.
const LONGEST: usize = 40;

/// How much may lie in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Clips.
    pub files: usize,
    /// Bytes of clips and what lies beside them.
    pub bytes: u64,
}

/// One clip on the disk.
#[derive(Debug)]
struct Stored {
    /// Without its ending.
    stem: String,
    bytes: u64,
}

/// The folder, with what it holds, oldest first. Names begin with the time, so their order is that of time.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    quota: Quota,
    stored: VecDeque<Stored>,
    bytes: u64,
}

impl Folder {
    /// Makes the folder if it is missing, and counts the clips of earlier runs.
    pub fn open(path: &Path, quota: Quota) -> anyhow::Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        let (mut stored, mut told) = (Vec::<Stored>::new(), Vec::new());
        let entries = path.read_dir().with_context(|| format!("cannot read the folder {}", path.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot read the folder {}", path.display()))?;
            if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            let half = name.strip_suffix(".wav.part").or_else(|| name.strip_suffix(".json.part"));
            if half.is_some_and(is_ours) {
                remove_stale(&entry.path());
            } else if let Some(stem) = name.strip_suffix(".json").filter(|stem| is_ours(stem)) {
                told.push(stem.to_owned());
            } else if let Some(stem) = name.strip_suffix(".wav").filter(|stem| is_ours(stem)) {
                let size = |path: &Path| path.metadata().map_or(0, |m| m.len());
                let bytes = size(&entry.path()) + size(&path.join(format!("{stem}.json")));
                stored.push(Stored { stem: stem.into(), bytes });
            }
        }
        stored.sort_by(|a, b| a.stem.cmp(&b.stem));
        for stem in told {
            if stored.binary_search_by(|s| s.stem.cmp(&stem)).is_err() {
                remove_stale(&path.join(format!("{stem}.json")));
            }
        }
        let bytes = stored.iter().map(|s| s.bytes).sum();
        Ok(Self { path: path.into(), quota, stored: stored.into(), bytes })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a clip and its JSON; says how many older ones were deleted for it.
    pub fn put(&mut self, time: SystemTime, keyword: &str, wav: &[u8], json: &[u8]) -> anyhow::Result<u64> {
        let bytes = (wav.len() + json.len()) as u64;
        ensure!(
            bytes <= self.quota.bytes && self.quota.files > 0,
            "a clip of {bytes} bytes is larger than the quota; raise --save-max-mb"
        );
        let mut deleted = 0;
        while self.stored.len() >= self.quota.files || self.bytes + bytes > self.quota.bytes {
            let Some(oldest) = self.stored.front() else { break };
            // Only counted as gone once it is: a quota that is wrong for good would fill the disk.
            self.delete(&oldest.stem).with_context(|| format!("cannot delete the oldest clip {}", oldest.stem))?;
            self.bytes -= oldest.bytes;
            self.stored.pop_front();
            deleted += 1;
        }
        let stem = self.free_stem(time, keyword);
        // The JSON file first: whoever waits for wav files finds both.
        if let Err(error) = self.write(&stem, "json", json).and_then(|()| self.write(&stem, "wav", wav)) {
            let _ = self.delete(&stem);
            return Err(error).with_context(|| format!("cannot write {}", self.path.join(&stem).display()));
        }
        self.stored.push_back(Stored { stem, bytes });
        self.bytes += bytes;
        Ok(deleted)
    }

    fn delete(&self, stem: &str) -> io::Result<()> {
        for ending in ["wav", "json", "wav.part", "json.part"] {
            let file = self.path.join(format!("{stem}.{ending}"));
            match fs::remove_file(&file) {
                // A folder is none of ours, whatever its name.
                Err(error) if error.kind() != ErrorKind::NotFound && !file.is_dir() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Under another name until it is whole.
    fn write(&self, stem: &str, ending: &str, bytes: &[u8]) -> io::Result<()> {
        let part = self.path.join(format!("{stem}.{ending}.part"));
        let mut file = fs::File::create(&part)?;
        file.write_all(bytes)?;
        drop(file);
        fs::rename(part, self.path.join(format!("{stem}.{ending}")))
    }

    /// Two clips of one millisecond get names of their own.
    fn free_stem(&self, time: SystemTime, keyword: &str) -> String {
        let time = humantime::format_rfc3339_millis(time).to_string().replace([':', '-'], "");
        let base = format!("{PREFIX}{time}-{}", plain(keyword));
        let mut stem = base.clone();
        let mut number = 1;
        while self.path.join(format!("{stem}.wav")).exists() {
            number += 1;
            stem = format!("{base}-{number}");
        }
        stem
    }
}

/// Half a clip: an earlier run was cut off here, unless it is still being written.
fn remove_stale(file: &Path) {
    let written = file.metadata().and_then(|m| m.modified()).ok().and_then(|time| time.elapsed().ok());
    if written.is_some_and(|age| age >= STALE) {
        let _ = fs::remove_file(file);
    }
}

/// Whether a clip of ours has this name, without its ending.
fn is_ours(stem: &str) -> bool {
    let parts = stem.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
    let digit = |c: char| if c.is_ascii_digit() { '0' } else { c };
    parts.is_some_and(|(time, word)| !word.is_empty() && time.chars().map(digit).eq("00000000T000000.000Z".chars()))
}

/// A keyword as a part of a file name on any system.
fn plain(keyword: &str) -> String {
    let mut out = String::new();
    for c in in_ascii(keyword).chars().take(LONGEST) {
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if !out.ends_with('_') {
            out.push('_');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + second)
    }

    fn names(path: &Path) -> Vec<String> {
        let entries = path.read_dir().expect("a folder");
        let mut names: Vec<String> =
            entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_oldest_go_first_by_count_and_by_bytes_also_over_a_restart() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path();
        // By its name the first would be the oldest clip, and the second the newest.
        let open = "kws-20270115T075959.000Z-x.wav.part";
        let mine = ["kws-0001-hello.wav", open, "kws-best.wav", "kws-notes.part", "mine.wav"];
        for name in mine {
            fs::write(path.join(name), b"not the program's").expect("room on the disk");
        }
        let half = fs::File::create(path.join("kws-20270115T075958.000Z-x.wav.part")).expect("room on the disk");
        half.set_modified(SystemTime::now() - STALE).expect("a time");
        let mut folder = Folder::open(path, Quota { files: 3, bytes: 1_000 }).expect("it is there");
        for second in 0..4 {
            let deleted = folder.put(at(second), "Héllo / there", &[0; 90], b"{}").expect("room on the disk");
            assert_eq!(deleted, u64::from(second == 3));
        }
        let stem = |s: u64| format!("kws-20270115T08000{s}.000Z-hello_there");
        let both = |s: u64| [stem(s) + ".json", stem(s) + ".wav"];
        let mut want: Vec<String> = (1..4).flat_map(both).collect();
        want.extend(mine.map(String::from));
        want.sort();
        assert_eq!(names(path), want);
        // Another run with less room: a clip of 400 bytes next to three of 92 in 600.
        let mut folder = Folder::open(path, Quota { files: 10, bytes: 600 }).expect("it is there");
        assert_eq!(folder.put(at(5), "x", &[0; 398], b"{}").expect("room on the disk"), 1);
        assert!(!names(path).contains(&(stem(1) + ".wav")) && names(path).contains(&(stem(2) + ".wav")));
        assert!(folder.put(at(6), "x", &[0; 700], b"{}").is_err(), "larger than everything");
        assert!(mine.iter().all(|name| path.join(name).exists()));
    }

    #[test]
    fn json_alone_goes_once_it_is_stale_and_folders_are_left_alone() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path();
        let stem = |s: u64| format!("kws-20270115T07595{s}.000Z-x");
        for (s, age) in [(1, STALE), (2, Duration::ZERO)] {
            let alone = fs::File::create(path.join(stem(s) + ".json")).expect("room on the disk");
            alone.set_modified(SystemTime::now() - age).expect("a time");
        }
        // The oldest by its name, and what would lie beside the next.
        fs::create_dir(path.join(stem(0) + ".wav")).expect("room on the disk");
        fs::create_dir(path.join(stem(3) + ".json")).expect("room on the disk");
        fs::write(path.join(stem(3) + ".wav"), b"a clip").expect("room on the disk");
        let mut folder = Folder::open(path, Quota { files: 1, bytes: 1_000 }).expect("it is there");
        assert_eq!(folder.put(at(0), "x", b"wav", b"{}").expect("room on the disk"), 1);
        let new = "kws-20270115T080000.000Z-x".to_owned();
        let left = [stem(0) + ".wav", stem(2) + ".json", stem(3) + ".json", new.clone() + ".json", new + ".wav"];
        assert_eq!(names(path), left);
    }

    #[test]
    fn two_of_one_millisecond_are_two() {
        let home = tempfile::tempdir().expect("a folder");
        let mut folder = Folder::open(home.path(), Quota { files: 9, bytes: 1_000 }).expect("it is there");
        for _ in 0..3 {
            folder.put(at(0), "a", b"wav", b"json").expect("room on the disk");
        }
        assert_eq!(names(home.path()).len(), 6);
    }

    #[test]
    fn names_are_plain() {
        assert_eq!(plain("../../etc/passwd"), "_etc_passwd");
        assert_eq!(plain(&"x".repeat(200)).len(), LONGEST);
    }
}
