//! What `live` and `scan` share: model and keywords, ready to listen.

use anyhow::{Context, bail};
use kws_live::audio::decode_16k;
use kws_live::detect::Keyword;
use kws_live::enrol::Enroller;
use kws_live::model::Bundle;
use kws_live::text::{KeywordSpec, parse_keywords};

use super::bundle;
use crate::args::{Example, KeywordArgs, ModelArgs};
use crate::output::note;

/// What was asked for, read but not yet pronounced: broken lists are refused before anything is opened.
pub struct Wanted {
    specs: Vec<KeywordSpec>,
    /// Recordings by name, each name once.
    examples: Vec<Example>,
}

impl Wanted {
    /// Reads `--keywords` and `--example`.
    pub fn read(args: &KeywordArgs) -> anyhow::Result<Self> {
        let specs = match &args.keywords {
            Some(list) => parse_keywords(list).context("--keywords")?,
            None => Vec::new(),
        };
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
            bail!("nothing to listen for; give --keywords \"hello,stop\" or --example NAME=FILE");
        }
        Ok(self)
    }
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
        let bundle = bundle(model)?;
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

fn from_recordings(enroller: &mut Enroller, example: &Example, typed: Option<&Keyword>) -> anyhow::Result<Keyword> {
    let recordings = example.files.iter().map(|file| decode_16k(file)).collect::<Result<Vec<_>, _>>()?;
    let enrolled = enroller.examples(&example.name, &recordings, typed)?;
    for warning in enrolled.warnings {
        note(&format!("kws-live: {warning}"));
    }
    Ok(enrolled.keyword)
}
