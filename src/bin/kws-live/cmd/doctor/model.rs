//! The model: whether it is whole, and whether it runs here.

use std::time::Instant;

use anyhow::Context;
use kws_live::audio::MODEL_RATE;
use kws_live::enrol::Enroller;
use kws_live::model::sha256;
use kws_live::spotter::{Spotter, SpotterConfig};
use kws_live::text::parse_keywords;

use super::{Finding, Patient};
use crate::cmd::bundle;

/// `hello`, 1.2 s, out of the synthetic recording of the tests.
const HELLO: &[u8] = include_bytes!("hello.wav");
/// Times that it is run for the measurement.
const TIMES: u32 = 5;
/// Low enough for any model that knows the word at all: this is about the machine, not about accuracy.
const LOW: f32 = 0.05;
/// Above this there is no room for anything else on the machine.
const SLOW: f32 = 0.5;

/// Its files are there and their sums are right.
pub fn files(patient: &mut Patient) -> Finding {
    let bundle = match bundle(&patient.live.model) {
        Ok(bundle) => bundle,
        Err(error) => return Finding::error(&error),
    };
    // A folder's sums are checked when it is read, those of the built-in model only here.
    for (name, entry) in &bundle.manifest.files {
        match bundle.file(name) {
            Ok(bytes) if sha256(bytes) == entry.sha256 => {}
            Ok(_) => return Finding::bad(format!("{name} is damaged"), "install the program again"),
            Err(error) => return Finding::error(&error.into()),
        }
    }
    let place = patient.live.model.model.as_ref().map_or_else(|| "built in".into(), |dir| dir.display().to_string());
    let text =
        format!("{} ({place}), {} files, their sums are right", bundle.manifest.name, bundle.manifest.files.len());
    patient.bundle = Some(bundle);
    Finding::good(text)
}

/// It hears a word, in time.
pub fn run(patient: &mut Patient) -> Finding {
    let backend = patient.live.model.backend;
    match hear(patient) {
        Ok(None) => Finding::bad("the model has not been loaded, so it cannot run", "see to the model first"),
        Ok(Some((Some(score), factor))) => {
            let text = format!("{backend} hears `hello` (score {score:.2}) at {factor:.3} times real time");
            if factor < SLOW {
                Finding::good(text)
            } else {
                Finding::doubt(
                    text,
                    "it is too slow: use a release build, a smaller model (--model), or another machine",
                )
            }
        }
        Ok(Some((None, _))) => {
            Finding::bad(format!("{backend} runs but does not hear `hello`"), "try --backend, or the built-in model")
        }
        Err(error) => Finding::error(&error),
    }
}

/// Score of the word, if it was heard, and time for a second of sound.
fn hear(patient: &Patient) -> anyhow::Result<Option<(Option<f32>, f32)>> {
    let Some(bundle) = &patient.bundle else { return Ok(None) };
    let choice = patient.live.model.choice();
    let mut enroller = Enroller::new(bundle, choice)?;
    let mut spotter = Spotter::new(bundle, SpotterConfig { choice, threshold: Some(LOW), ..SpotterConfig::default() })?;
    for spec in parse_keywords("hello")? {
        spotter.add(enroller.text(&spec)?);
    }
    let mut reader = hound::WavReader::new(HELLO).context("the built-in recording")?;
    let mut sound =
        reader.samples::<i16>().map(|s| s.map(|s| f32::from(s) / 32_768.0)).collect::<Result<Vec<_>, _>>()?;
    // Silence behind it, so that the word comes to its end.
    sound.resize(sound.len() + MODEL_RATE as usize, 0.0);
    let mut score = None::<f32>;
    // The first time is not measured: the backend plans its graph.
    spotter.process(&sound, |hit| score = Some(score.map_or(hit.score, |s| s.max(hit.score))))?;
    spotter.flush(|hit| score = Some(score.map_or(hit.score, |s| s.max(hit.score))))?;
    let began = Instant::now();
    for _ in 0..TIMES {
        spotter.reset();
        spotter.process(&sound, |_| {})?;
    }
    let heard = TIMES as f32 * sound.len() as f32 / MODEL_RATE as f32;
    Ok(Some((score, began.elapsed().as_secs_f32() / heard)))
}
