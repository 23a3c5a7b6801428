//! What `live` and `scan` share: model and keywords, ready to listen.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, anyhow, bail, ensure};
use kws_live::audio::{Decoder, to_16k};
use kws_live::detect::Keyword;
use kws_live::enrol::{EnrolError, Enroller};
use kws_live::model::{Bundle, ModelError};
use kws_live::text::{KeywordSpec, keyword_lists, parse_keywords, same_name, without_last_comma};

use super::{bundle, bundle_or};
use crate::args::{Example, KeywordArgs, ModelArgs};
use crate::files;
use crate::output::note;
use crate::service::config::Of;

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
    /// Where those of the keyword file stand, by their names in small letters.
    places: BTreeMap<String, String>,
}

impl Wanted {
    /// Reads `--keywords`, `--keywords-file` and `--example`.
    pub fn read(args: &KeywordArgs) -> anyhow::Result<Self> {
        let (mut lists, mut places) = (Vec::new(), BTreeMap::new());
        if let Some(file) = &args.keywords_file {
            for (place, list) in lines(file).of("keywords-file")? {
                for spec in parse_keywords(&list)? {
                    places.entry(spec.name.to_lowercase()).or_insert_with(|| place.clone());
                }
                lists.push(list);
            }
        }
        if let Some(list) = &args.keywords {
            for spec in parse_keywords(list).context("--keywords").of("keywords")? {
                places.remove(&spec.name.to_lowercase());
            }
            lists.insert(0, without_last_comma(list).to_owned());
        }
        // Once more together, so that a keyword that is named in both is one.
        let specs = if lists.is_empty() { Vec::new() } else { parse_keywords(&lists.join(", "))? };
        ensure!(specs.len() <= MOST, "{} keywords are too many; give at most {MOST}", specs.len());
        let mut examples: Vec<Example> = Vec::new();
        for example in &args.examples {
            match examples.iter_mut().find(|e| same_name(&e.name, &example.name)) {
                Some(known) => {
                    known.files.extend(example.files.iter().cloned());
                    known.threshold = known.threshold.or(example.threshold);
                }
                None => examples.push(example.clone()),
            }
        }
        Ok(Self { specs, examples, places })
    }

    /// Says where a keyword stands that cannot be listened for.
    fn placed<T>(&self, spec: &KeywordSpec, outcome: Result<T, EnrolError>) -> anyhow::Result<T> {
        match self.places.get(&spec.name.to_lowercase()) {
            Some(place) => outcome.context(place.clone()),
            None => outcome.of("keywords"),
        }
    }

    /// Refuses to listen for nothing.
    pub fn some(self) -> anyhow::Result<Self> {
        if self.specs.is_empty() && self.examples.is_empty() {
            bail!("nothing to listen for; give --keywords \"hello,stop\", --keywords-file or --example NAME=FILE");
        }
        Ok(self)
    }
}

/// The lists of a keyword file, each checked by itself and with its line, so that an error can name that.
fn lines(file: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let place = format!("--keywords-file: {}", file.display());
    let text = files::text(file, LARGEST).with_context(|| format!("{place}: cannot read it"))?;
    let lists = keyword_lists(&text).map_err(|(line, error)| anyhow!(error).context(format!("{place} line {line}")))?;
    Ok(lists.into_iter().map(|(line, list)| (format!("{place} line {line}"), list.to_owned())).collect())
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
        let typed = wanted.specs.iter().map(|s| (&s.name, s.threshold));
        let mut own = typed.chain(wanted.examples.iter().map(|e| (&e.name, e.threshold)));
        if let Some((name, threshold)) = own.find_map(|(name, threshold)| Some((name, threshold?))) {
            bail!(
                "`{name}@{threshold:?}`: a search finds each keyword's threshold by itself; leave @{threshold:?} out"
            );
        }
        Self::over(bundle_or(model, Bundle::embedded_search)?, model, wanted)
    }

    fn over(bundle: Bundle, model: &ModelArgs, wanted: &Wanted) -> anyhow::Result<Self> {
        let enroller = Enroller::new(&bundle, model.choice());
        let backend =
            |e: &EnrolError| matches!(e, EnrolError::Model(ModelError::NoBackend(_) | ModelError::Runtime(_)));
        let option = if enroller.as_ref().err().is_some_and(backend) { "backend" } else { "model" };
        let mut enroller = enroller.of(option)?;
        let mut keywords = Vec::new();
        for spec in &wanted.specs {
            let typed = wanted.placed(spec, enroller.text(spec))?;
            match wanted.examples.iter().find(|e| same_name(&e.name, &spec.name)) {
                Some(example) => keywords.push(from_recordings(&mut enroller, example, Some(&typed)).of("example")?),
                None => keywords.push(typed),
            }
        }
        for example in &wanted.examples {
            if !wanted.specs.iter().any(|s| same_name(&s.name, &example.name)) {
                keywords.push(from_recordings(&mut enroller, example, None).of("example")?);
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
    let file = |number: usize| example.files.get(number - 1).map(|file| file.display().to_string()).unwrap_or_default();
    let enrolled = enroller.examples(&example.name, &recordings, typed).map_err(|error| match error.example() {
        Some(number) => anyhow!(error).context(file(number)),
        None => error.into(),
    })?;
    for doubt in enrolled.warnings {
        note(&format!("kws-live: {}: {}", file(doubt.example), doubt.text));
    }
    let threshold = enrolled.keyword.threshold.or(example.threshold);
    Ok(Keyword { threshold, ..enrolled.keyword })
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        // Also where only the model finds out.
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("words.txt");
        fs::write(&file, "hello\n\nstop, a\n").expect("room on the disk");
        let args = KeywordArgs { keywords_file: Some(file), ..KeywordArgs::default() };
        let wanted = Wanted::read(&args).expect("well formed");
        let error = Listening::load(&ModelArgs::default(), &wanted).map(|_| ()).expect_err("a single sound");
        assert!(format!("{error:#}").contains("words.txt line 3: `a`"), "{error:#}");
        let many: Vec<String> = (0..=MOST).map(|i| format!("word {i}")).collect();
        assert!(format!("{:#}", read(&many.join("\n"), None).expect_err("too many")).contains("10000"));
    }
}
