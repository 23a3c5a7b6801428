//! Listens to samples of one's own: here a square wave that never says anything, five seconds of it.
#![allow(clippy::print_stdout, reason = "that is what it is for")]

use kws_live::audio::{AudioError, AudioSource, Chunk};
use kws_live::engine::{Engine, EngineConfig, Event, seconds};
use kws_live::enrol::Enroller;
use kws_live::model::Bundle;
use kws_live::spotter::{Spotter, SpotterConfig};
use kws_live::text::parse_keywords;

struct Square {
    given: usize,
}

impl AudioSource for Square {
    fn rate(&self) -> u32 {
        44_100
    }

    fn read(&mut self, out: &mut [f32]) -> Result<Chunk, AudioError> {
        let count = out.len().min(5 * 44_100 - self.given);
        if count == 0 {
            return Ok(Chunk::End);
        }
        for (i, s) in out[..count].iter_mut().enumerate() {
            *s = if (self.given + i) / 100 % 2 == 0 { 0.1 } else { -0.1 };
        }
        self.given += count;
        Ok(Chunk::Samples(count))
    }

    fn describe(&self) -> String {
        "a square wave of 220 Hz".into()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (bundle, config) = (Bundle::embedded()?, SpotterConfig::default());
    let mut enroller = Enroller::new(&bundle, config.choice)?;
    let mut spotter = Spotter::new(&bundle, config)?;
    for spec in parse_keywords("hello, stop")? {
        spotter.add(enroller.text(&spec)?);
    }
    let engine = Engine::start(Box::new(Square { given: 0 }), spotter, Some(enroller), &EngineConfig::default())?;
    for event in engine.events() {
        match event {
            Event::Detection(hit) => println!("{} at {:.2} s", hit.name, seconds(hit.start)),
            Event::Ended => break,
            _ => {}
        }
    }
    Ok(())
}
