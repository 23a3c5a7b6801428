//! What `live` and `scan` share: model and keywords, ready to listen.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, anyhow, bail, ensure};
use kws_live::audio::{Decoder, to_16k};
use kws_live::detect::Keyword;
use kws_live::enrol::Enroller;
use kws_live::model::Bundle;
use kws_live::text::{KeywordSpec, keyword_lists, parse_keywords, without_last_comma};

use super::bundle;
use crate::args::{Example, KeywordArgs, ModelArgs};
use crate::output::note;

/// More keywords than anybody can mean; each costs time at every frame.
const MOST: usize = 10_000;
/// Longer recordings are no words, seconds.
const LONGEST: usize = 60;
/// Larger files are no keyword lists.
const LARGEST: u64 = 1 << 20;

/// What was asked for, read but not yet pronounced: broken lists are refused before anything is opened.
pub struct Wanted {
    specs: Vec<KeywordSpec>,
    /// Recordings by name, each name once.
    examples: Vec<Example>,
}

impl Wanted {
    /// Reads `--keywords`, `--keywords-file` and `--example`.
    pub fn read(args: &KeywordArgs) -> anyhow::Result<Self> {
        let mut lists = Vec::new();
        if let Some(list) = &args.keywords {
            parse_keywords(list).context("--keywords")?;
            lists.push(without_last_comma(list).to_owned());
        }
        if let Some(file) = &args.keywords_file {
            lists.extend(lines(file)?);
        }
        // Once more together, so that a keyword that is named in both is one.
        let specs = if lists.is_empty() { Vec::new() } else { parse_keywords(&lists.join(","))? };
        ensure!(specs.len() <= MOST, "{} keywords are too many; give at most {MOST}", specs.len());
        let mut examples: Vec<Example> = Vec::new();
        for example in &args.examples {
            match examples.iter_mut().find(|e| same(&e.name, &example.name)) {
                Some(known) => known.files.extend(example.files.iter().cloned()),
                None => examples.push(example.clone()),
            }
        }
        Ok(Self { specs, examples })
    }

    /// Refuses to listen for nothing.
    pub fn some(self) -> anyhow::Result<Self> {
        if self.specs.is_empty() && self.examples.is_empty() {
            bail!("nothing to listen for; give --keywords \"hello,stop\", --keywords-file or --example NAME=FILE");
        }
        Ok(self)
    }
}

/// The lists of a keyword file, each checked by itself, so that an error can name its line.
fn lines(file: &Path) -> anyhow::Result<Vec<String>> {
    let place = || format!("--keywords-file: {}", file.display());
    let size =
        fs::metadata(file).and_then(|m| if m.is_dir() { Err(ErrorKind::IsADirectory.into()) } else { Ok(m.len()) });
    let size = size.with_context(|| format!("{}: cannot read it", place()))?;
    ensure!(size <= LARGEST, "{}: it has {size} bytes; a list has at most {LARGEST}", place());
    let text = fs::read_to_string(file).with_context(|| format!("{}: cannot read it", place()))?;
    let lists =
        keyword_lists(&text).map_err(|(line, error)| anyhow!(error).context(format!("{} line {line}", place())))?;
    Ok(lists.into_iter().map(str::to_owned).collect())
}

fn same(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

/// A model with its keywords.
pub struct Listening {
    pub bundle: Bundle,
    pub enroller: Enroller,
    pub keywords: Vec<Keyword>,
}

impl Listening {
    /// Loads the model and embeds the keywords; doubts about recordings go to stderr.
    pub fn load(model: &ModelArgs, wanted: &Wanted) -> anyhow::Result<Self> {
        Self::over(bundle(model)?, model, wanted)
    }

    /// The same for a search, which nobody waits for.
    pub fn for_search(model: &ModelArgs, wanted: &Wanted) -> anyhow::Result<Self> {
        Self::over(model.model.as_deref().map_or_else(Bundle::embedded_search, Bundle::load)?, model, wanted)
    }

    fn over(bundle: Bundle, model: &ModelArgs, wanted: &Wanted) -> anyhow::Result<Self> {
        let mut enroller = Enroller::new(&bundle, model.choice())?;
        let mut keywords = Vec::new();
        for spec in &wanted.specs {
            let typed = enroller.text(spec)?;
            match wanted.examples.iter().find(|e| same(&e.name, &spec.name)) {
                Some(example) => keywords.push(from_recordings(&mut enroller, example, Some(&typed))?),
                None => keywords.push(typed),
            }
        }
        for example in &wanted.examples {
            if !wanted.specs.iter().any(|s| same(&s.name, &example.name)) {
                keywords.push(from_recordings(&mut enroller, example, None)?);
            }
        }
        Ok(Self { bundle, enroller, keywords })
    }
}

/// A recording of a word; a whole archive is none.
fn recording(file: &Path) -> anyhow::Result<Vec<f32>> {
    let mut decoder = Decoder::open(file)?;
    let (mut samples, most) = (Vec::new(), decoder.rate() as usize * LONGEST);
    while decoder.next(&mut samples)? {
        ensure!(
            samples.len() <= most,
            "{}: it is longer than {LONGEST} s; give a recording of the word alone",
            file.display()
        );
    }
    Ok(to_16k(&samples, decoder.rate())?)
}

fn from_recordings(enroller: &mut Enroller, example: &Example, typed: Option<&Keyword>) -> anyhow::Result<Keyword> {
    let recordings = example.files.iter().map(|file| recording(file)).collect::<anyhow::Result<Vec<_>>>()?;
    let enrolled = enroller.examples(&example.name, &recordings, typed)?;
    for warning in enrolled.warnings {
        note(&format!("kws-live: {warning}"));
    }
    Ok(enrolled.keyword)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, keywords: Option<&str>) -> anyhow::Result<Vec<String>> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("words.txt");
        fs::write(&file, text).expect("room on the disk");
        let args =
            KeywordArgs { keywords: keywords.map(str::to_owned), keywords_file: Some(file), ..KeywordArgs::default() };
        Ok(Wanted::read(&args)?.specs.into_iter().map(|s| s.name).collect())
    }

    #[test]
    fn a_keyword_file_is_a_list_a_line() {
        let text = "\u{feff}# at home\nhello, stop,\n\n  siobhan=[SH AH V AO N]   # a name\nHello\n";
        assert_eq!(read(text, Some("go,")).expect("a good file"), ["go", "hello", "stop", "siobhan"]);
        assert!(read("# nothing\n", None).expect("a good file").is_empty());
    }

    #[test]
    fn its_errors_name_the_line() {
        for (text, part) in [("hello\n\nstop,,go\n", "line 3"), ("x=[NO]\n", "line 1")] {
            let error = format!("{:#}", read(text, None).expect_err("broken on purpose"));
            assert!(error.contains(part) && error.contains("words.txt"), "{error}");
        }
        let many: Vec<String> = (0..=MOST).map(|i| format!("word {i}")).collect();
        assert!(format!("{:#}", read(&many.join("\n"), None).expect_err("too many")).contains("10000"));
    }
}
