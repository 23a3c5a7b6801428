//! LibriSpeech as it is published: `SPEAKER/CHAPTER/SPEAKER-CHAPTER-NNNN.flac` beside `SPEAKER-CHAPTER.trans.txt`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Entry;

/// Folders below a corpus that transcripts are looked for in: a split, a speaker, a chapter.
const DEPTH: usize = 4;

/// All `*.trans.txt` below a folder, sorted.
fn transcripts(folder: &Path, depth: usize, out: &mut Vec<PathBuf>) -> Result<()> {
    let mut paths = fs::read_dir(folder)
        .with_context(|| format!("cannot list {}", folder.display()))?
        .map(|e| Ok(e?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() && depth > 0 {
            transcripts(&path, depth - 1, out)?;
        } else if path.to_string_lossy().ends_with(".trans.txt") {
            out.push(path);
        }
    }
    Ok(())
}

/// Entries of a published LibriSpeech folder, without lengths and word times; empty if it is none.
///
/// Recordings of a part named `dev-*` or `test-*` are of the split `dev`, the others of `train`; `folder` may be in such a part.
///
/// # Errors
/// If a folder or transcript cannot be read, or a line of one has no text.
pub fn published(folder: &Path) -> Result<Vec<Entry>> {
    let mut files = Vec::new();
    transcripts(folder, DEPTH, &mut files)?;
    let own = fs::canonicalize(folder).with_context(|| format!("cannot find {}", folder.display()))?;
    // Folders of speakers and chapters are numbers; what lies above the corpus says nothing.
    let number = |name: &std::ffi::OsStr| name.to_string_lossy().chars().all(|c| c.is_ascii_digit());
    let part = own.iter().rev().find(|name| !number(name));
    let mut out = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let chapter = path.parent().unwrap_or(folder);
        let below = chapter.strip_prefix(folder).unwrap_or(chapter);
        let held_back = part.into_iter().chain(below.iter()).any(|part| {
            let part = part.to_string_lossy();
            part.starts_with("dev-") || part.starts_with("test-")
        });
        for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let (id, text) = line
                .trim()
                .split_once(' ')
                .with_context(|| format!("{}:{}: no text behind the id", path.display(), number + 1))?;
            let speaker = id.split('-').next().unwrap_or_default();
            out.push(Entry {
                file: below.join(format!("{id}.flac")).to_string_lossy().replace('\\', "/"),
                speaker: format!("ls{speaker}"),
                split: if held_back { "dev" } else { "train" }.into(),
                text: text.to_lowercase(),
                source: "human".into(),
                ..Entry::default()
            });
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_says_what_is_held_back_and_not_where_it_lies() {
        let folder = tempfile::tempdir().expect("a folder");
        let corpus = folder.path().join("test-bench/LibriSpeech");
        for (part, line) in [("train-clean-100", "1-2-0000 STOP"), ("dev-clean", "3-4-0000 GO")] {
            let chapter = corpus.join(part).join("1/2");
            fs::create_dir_all(&chapter).expect("room on the disk");
            fs::write(chapter.join("1-2.trans.txt"), line).expect("room on the disk");
        }
        let splits = |folder: &Path| -> Vec<String> {
            published(folder).expect("transcripts").into_iter().map(|e| e.split).collect()
        };
        let mut both = splits(&corpus);
        both.sort();
        assert_eq!(both, ["dev", "train"]);
        assert_eq!(splits(&corpus.join("train-clean-100")), ["train"]);
        assert_eq!(splits(&corpus.join("dev-clean")), ["dev"]);
        assert_eq!(splits(&corpus.join("dev-clean/1/.")), ["dev"]);
        assert!(published(&corpus.join("nowhere")).is_err());
    }
}
