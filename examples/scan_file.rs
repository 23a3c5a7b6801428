//! Finds words in a recording: `cargo run --release --example scan_file -- tests/fixtures/hello-stop.wav hello,stop`
#![allow(clippy::print_stdout, reason = "that is what it is for")]

use kws_live::audio::decode_16k;
use kws_live::enrol::Enroller;
use kws_live::model::Bundle;
use kws_live::spotter::{Spotter, SpotterConfig};
use kws_live::text::parse_keywords;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(file), Some(words)) = (args.next(), args.next()) else {
        return Err("usage: scan_file FILE WORD[,WORD...]".into());
    };
    let (bundle, config) = (Bundle::embedded()?, SpotterConfig { chunk_frames: 100, ..SpotterConfig::default() });
    let mut enroller = Enroller::new(&bundle, config.choice)?;
    let mut spotter = Spotter::new(&bundle, config)?;
    for spec in parse_keywords(&words)? {
        spotter.add(enroller.text(&spec)?);
    }
    let mut hits = Vec::new();
    spotter.process(&decode_16k(file.as_ref())?, |hit| hits.push(hit.clone()))?;
    spotter.flush(|hit| hits.push(hit.clone()))?;
    for hit in hits {
        println!("{:7.2} s  {:.2}  {}", hit.start as f64 / 16_000.0, hit.score, hit.name);
    }
    Ok(())
}
