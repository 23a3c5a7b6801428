//! One client's sound, from audio-start to audio-stop: any rate and channels in, detections in the client's time out.

use std::collections::VecDeque;

use kws_live::audio::{AudioError, MODEL_RATE, Resampler};
use kws_live::spotter::{Detection, SpotError, Spotter};
use serde_json::{Map, Value};

/// Bytes of a sample: 16 bits.
const WIDTH: u64 = 2;
/// No microphone array has more.
const CHANNELS: u64 = 32;
/// Frames that are worked on at a time: what a large payload costs in memory.
const BLOCK: usize = 4_096;
/// Chunks whose time is remembered; a word ends some tenths of a second before it is detected.
const CHUNKS: usize = 256;

/// How a client's samples are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    rate: u32,
    channels: usize,
}

impl Format {
    /// From the data of audio-start or audio-chunk; what is missing there is as in `known`.
    pub fn of(data: &Map<String, Value>, known: Option<Self>) -> Result<Self, String> {
        let number = |name: &str, known: Option<u64>| match data.get(name) {
            None | Some(Value::Null) => known.ok_or_else(|| format!("`{name}` is missing")),
            Some(value) => value.as_u64().ok_or_else(|| format!("`{name}` is no count")),
        };
        let rate = number("rate", known.map(|k| u64::from(k.rate)))?;
        let width = number("width", known.map(|_| WIDTH))?;
        let channels = number("channels", known.map(|k| k.channels as u64))?;
        if width != WIDTH {
            return Err(format!("samples of {width} bytes are not understood; send 16 bits (width 2)"));
        }
        if !(1..=CHANNELS).contains(&channels) {
            return Err(format!("{channels} channels are not understood; send 1 to {CHANNELS}"));
        }
        Ok(Self { rate: u32::try_from(rate).unwrap_or(u32::MAX), channels: channels as usize })
    }
}

/// The sound that a client is sending.
pub struct Stream {
    format: Format,
    resampler: Resampler,
    clock: Clock,
    /// Frames that came, at the client's rate.
    frames: u64,
    /// Detections so far.
    pub found: u64,
    mono: Vec<f32>,
    ready: Vec<f32>,
}

impl Stream {
    /// `timestamp` is the client's time at the first sample, ms.
    pub fn new(format: Format, timestamp: Option<i64>) -> Result<Self, AudioError> {
        Ok(Self {
            format,
            resampler: Resampler::new(format.rate)?,
            clock: Clock::new(timestamp.unwrap_or(0)),
            frames: 0,
            found: 0,
            mono: Vec::new(),
            ready: Vec::new(),
        })
    }

    /// How its samples are read.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether so many bytes are whole frames.
    pub fn whole(&self, bytes: usize) -> bool {
        bytes.is_multiple_of(self.format.channels * WIDTH as usize)
    }

    /// Hears a chunk that the client took at `timestamp`; `measure` is shown the mono sound.
    pub fn hear(
        &mut self,
        spotter: &mut Spotter,
        (pcm, timestamp): (&[u8], Option<i64>),
        measure: impl Fn(&[f32]),
        hits: &mut Vec<Detection>,
    ) -> Result<(), SpotError> {
        if let Some(timestamp) = timestamp {
            self.clock.note(self.frames * u64::from(MODEL_RATE) / u64::from(self.format.rate), timestamp);
        }
        let channels = self.format.channels;
        let frame = channels * WIDTH as usize;
        let scale = 1.0 / (32_768.0 * channels as f32);
        for block in pcm.chunks(BLOCK * frame) {
            let sum = |frame: &[u8]| -> f32 {
                frame.chunks_exact(2).map(|s| f32::from(i16::from_le_bytes([s[0], s[1]]))).sum()
            };
            self.mono.clear();
            self.mono.extend(block.chunks_exact(frame).map(|f| sum(f) * scale));
            self.frames += self.mono.len() as u64;
            measure(&self.mono);
            self.ready.clear();
            self.resampler.push(&self.mono, &mut self.ready);
            spotter.process(&self.ready, |hit| hits.push(hit.clone()))?;
        }
        Ok(())
    }

    /// The end: lets the last words out.
    pub fn finish(&mut self, spotter: &mut Spotter, hits: &mut Vec<Detection>) -> Result<(), SpotError> {
        self.ready.clear();
        self.resampler.flush(&mut self.ready);
        spotter.process(&self.ready, |hit| hits.push(hit.clone()))?;
        spotter.flush(|hit| hits.push(hit.clone()))
    }

    /// The client's time at a sample, ms.
    pub fn time(&self, sample: u64) -> i64 {
        self.clock.time(sample)
    }
}

/// From samples at 16 kHz to the client's time: its chunks say theirs, and need not follow one another without gaps.
#[derive(Debug)]
struct Clock(VecDeque<(u64, i64)>);

impl Clock {
    fn new(start: i64) -> Self {
        Self(VecDeque::from([(0, start)]))
    }

    fn note(&mut self, sample: u64, time: i64) {
        if self.0.back().is_some_and(|last| last.0 == sample) {
            self.0.pop_back();
        } else if self.0.len() == CHUNKS {
            self.0.pop_front();
        }
        self.0.push_back((sample, time));
    }

    fn time(&self, sample: u64) -> i64 {
        let chunk = self.0.iter().rev().find(|chunk| chunk.0 <= sample).or(self.0.front());
        let (from, time) = chunk.copied().unwrap_or_default();
        let rate = i64::from(MODEL_RATE / 1_000);
        time.saturating_add((sample as i64 - from as i64).div_euclid(rate))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn format(data: Value, known: Option<Format>) -> Result<Format, String> {
        let Value::Object(data) = data else { panic!("an object") };
        Format::of(&data, known)
    }

    #[test]
    fn the_format_is_said_once_or_again() {
        let start = format(json!({ "rate": 48_000, "width": 2, "channels": 2 }), None).expect("a good one");
        assert_eq!(start, Format { rate: 48_000, channels: 2 });
        assert_eq!(format(json!({ "timestamp": 1, "rate": null }), Some(start)), Ok(start));
        for (data, part) in [
            (json!({ "rate": 16_000, "width": 2 }), "`channels` is missing"),
            (json!({ "rate": "a", "width": 2, "channels": 1 }), "`rate` is no count"),
            (json!({ "rate": 16_000, "width": 4, "channels": 1 }), "16 bits"),
            (json!({ "rate": 16_000, "width": 2, "channels": 0 }), "0 channels"),
            (json!({ "rate": 16_000, "width": 2, "channels": 1_000_000 }), "channels"),
        ] {
            let error = format(data, None).expect_err("broken on purpose");
            assert!(error.contains(part), "{error}");
        }
        let huge = format(json!({ "rate": u64::MAX, "width": 2, "channels": 1 }), None).expect("refused later");
        assert!(Stream::new(huge, None).is_err());
    }

    #[test]
    fn frames_are_whole() {
        let stream = Stream::new(Format { rate: 16_000, channels: 3 }, None).expect("a usual rate");
        assert!(stream.whole(0) && stream.whole(12) && !stream.whole(2) && !stream.whole(7));
    }

    #[test]
    fn the_time_is_that_of_the_chunk() {
        let mut clock = Clock::new(500);
        assert_eq!(clock.time(16_000), 1_500);
        clock.note(0, 1_000);
        clock.note(1_600, 1_100);
        // The client has heard nothing for a minute.
        clock.note(3_200, 61_000);
        assert_eq!(
            (clock.time(0), clock.time(800), clock.time(3_199), clock.time(3_360)),
            (1_000, 1_050, 1_199, 61_010)
        );
        for chunk in 0..10_000 {
            clock.note(4_000 + 16 * chunk, chunk as i64);
        }
        assert_eq!(clock.0.len(), CHUNKS);
        // Before what it remembers, it counts back.
        assert_eq!(clock.time(4_000), 0);
        clock.note(0, i64::MAX);
        assert_eq!(clock.time(u64::MAX / 2), i64::MAX);
    }
}
