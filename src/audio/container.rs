//! Files whose packets symphonia finds and decodes.

use std::io::ErrorKind;
use std::path::Path;

use symphonia::core::audio::GenericAudioBufferRef;
use symphonia::core::codecs::audio::well_known::CODEC_ID_MP3;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as SymphoniaError;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, TimeBase};

use super::decode::LONGEST_HOLE;
use super::{AudioError, Resampler};
use crate::frontend::finite;

/// Failures in a row after which no more packets are asked for.
const MOST: usize = 100;

/// Reads packet by packet, one recording after the other where files were joined.
pub(super) struct Container {
    format: Box<dyn FormatReader>,
    link: Link,
    rate: u32,
    interleaved: Vec<f32>,
    mono: Vec<f32>,
    /// Frames of lost packets before the first that could be decoded.
    owed: u64,
    begun: bool,
    /// Packets that could not be decoded.
    lost: u64,
    /// Places at which the next packet came too late.
    holes: u64,
    /// Samples that are no numbers.
    numberless: u64,
    /// Whether what breaks off has no other end.
    endless: bool,
    ended: bool,
}

/// One recording of those that were joined.
struct Link {
    track: u32,
    params: AudioCodecParameters,
    decoder: Box<dyn AudioDecoder>,
    time_base: Option<TimeBase>,
    /// What its packets come with.
    rate: u32,
    /// Where that is not what is wanted.
    resampler: Option<Resampler>,
    /// When the next packet is due, in the time base; the first one only if it is known how long all is.
    due: Option<i64>,
    /// Frames that it should have.
    promised: u64,
}

fn decoder(params: &AudioCodecParameters) -> Option<Box<dyn AudioDecoder>> {
    symphonia::default::get_codecs().make_audio_decoder(params, &AudioDecoderOptions::default()).ok()
}

impl Link {
    fn new(format: &dyn FormatReader) -> Result<Self, &'static str> {
        let track = format.default_track(TrackType::Audio).ok_or("it has no audio track")?;
        let params = track.codec_params.as_ref().and_then(|p| p.audio()).ok_or("its audio track is not described")?;
        let rate = params.sample_rate.ok_or("it does not tell its sample rate")?;
        Ok(Self {
            track: track.id,
            decoder: decoder(params).ok_or("its codec is not supported")?,
            params: params.clone(),
            time_base: track.time_base,
            rate,
            resampler: None,
            due: track.num_frames.map(|_| track.start_ts.get()),
            promised: track.num_frames.unwrap_or(0),
        })
    }

    /// Frames of a time in the time base.
    fn frames(&self, time: u64) -> u64 {
        let Some(base) = self.time_base else { return time };
        let frames = u128::from(time) * u128::from(base.numer.get()) * u128::from(self.rate);
        (frames / u128::from(base.denom.get())) as u64
    }

    fn longest_hole(&self) -> u64 {
        u64::from(self.rate) * LONGEST_HOLE
    }

    /// Frames that are missing before a packet, by its time stamp.
    fn hole(&mut self, packet: &Packet) -> u64 {
        let length = packet.dur.saturating_add(packet.trim_start).saturating_add(packet.trim_end);
        let due = self.due.replace(packet.pts.saturating_add(length).get());
        let missing = due.map_or(0, |due| packet.pts.get().saturating_sub(due));
        let frames = self.frames(missing.try_into().unwrap_or(0));
        // Rounding makes none, nor does a piece that was cut out of a longer recording.
        if (u64::from(self.rate) / 100..self.longest_hole()).contains(&frames) { frames } else { 0 }
    }

    /// Decodes a packet, with a fresh decoder where it is of another kind than those before, as in joined files.
    fn decode(&mut self, packet: &Packet) -> Option<GenericAudioBufferRef<'_>> {
        if self.decoder.decode(packet).is_err() {
            let mut fresh = decoder(&self.params)?;
            let spec = fresh.decode(packet).ok()?.spec().clone();
            if spec == *self.decoder.last_decoded().spec() {
                return None;
            }
            self.decoder = fresh;
        }
        Some(self.decoder.last_decoded())
    }
}

impl Container {
    pub fn open(path: &Path, source: Box<dyn MediaSource>) -> Result<Self, AudioError> {
        let stream = MediaSourceStream::new(source, MediaSourceStreamOptions::default());
        let format = symphonia::default::get_probe()
            .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(|error| match error {
                SymphoniaError::IoError(source) if source.kind() != ErrorKind::UnexpectedEof => {
                    AudioError::read(path, source)
                }
                _ => AudioError::decode(path, "it is not an audio file of a known kind"),
            })?;
        let link = Link::new(&*format).map_err(|reason| AudioError::decode(path, reason))?;
        let (rate, interleaved, mono) = (link.rate, Vec::new(), Vec::new());
        Ok(Self {
            format,
            link,
            rate,
            interleaved,
            mono,
            owed: 0,
            begun: false,
            lost: 0,
            holes: 0,
            numberless: 0,
            endless: false,
            ended: false,
        })
    }

    /// Nobody knows how long it should be: it may end anywhere.
    pub fn may_end(&mut self) {
        self.endless = true;
    }

    /// It is a piece of a longer one: what came before its first packet is not missing.
    pub fn begins_later(&mut self) {
        self.link.due = None;
    }

    /// Samples a second, from the start to the end.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Decodes the next packet and appends its samples; false at the end.
    pub fn next(&mut self, path: &Path, out: &mut Vec<f32>) -> Result<bool, AudioError> {
        let before = out.len();
        let mut failures = 0;
        while out.len() == before && !self.ended {
            match self.format.next_packet() {
                Ok(Some(packet)) if packet.track_id == self.link.track => self.take(path, packet, out)?,
                Ok(Some(_)) => {}
                Ok(None) => self.end(path, None, out)?,
                Err(SymphoniaError::ResetRequired) => self.begin(path, out)?,
                Err(SymphoniaError::IoError(source)) if source.kind() == ErrorKind::UnexpectedEof => {
                    self.end(path, Some("it breaks off").filter(|_| !self.endless), out)?;
                }
                Err(SymphoniaError::IoError(source)) => return Err(AudioError::read(path, source)),
                Err(_) if failures < MOST => failures += 1,
                Err(_) => self.end(path, Some("the rest cannot be read"), out)?,
            }
        }
        Ok(out.len() > before)
    }

    fn take(&mut self, path: &Path, mut packet: Packet, out: &mut Vec<f32>) -> Result<(), AudioError> {
        if self.link.params.codec == CODEC_ID_MP3 {
            // How long an MP3 is, is often a guess, or only true of the first of those that were joined.
            packet.trim_end = Duration::ZERO;
        }
        let hole = self.link.hole(&packet);
        self.holes += u64::from(hole > 0);
        self.owe(hole, out);
        let Some(audio) = self.link.decode(&packet) else {
            // Silence in its place, so that what follows keeps its time.
            self.lost += 1;
            let frames = self.link.frames(packet.dur.get());
            self.owe(frames, out);
            return Ok(());
        };
        let (channels, rate) = (audio.spec().channels().count().max(1), audio.spec().rate());
        self.interleaved.resize(audio.samples_interleaved(), 0.0);
        audio.copy_to_slice_interleaved(&mut self.interleaved[..]);
        if rate != self.link.rate && !self.interleaved.is_empty() {
            self.finish(out);
            self.turn(path, rate)?;
        }
        if !std::mem::replace(&mut self.begun, true) {
            let owed = std::mem::take(&mut self.owed);
            self.pause(owed, out);
        }
        let scale = 1.0 / channels as f32;
        self.mono.clear();
        for frame in self.interleaved.chunks_exact(channels) {
            let sample = frame.iter().sum::<f32>() * scale;
            self.numberless += u64::from(!sample.is_finite());
            self.mono.push(finite(sample));
        }
        give(&self.mono, &mut self.link.resampler, out);
        Ok(())
    }

    /// So many frames are missing. Before the first that is there nobody knows yet whether there is any.
    fn owe(&mut self, frames: u64, out: &mut Vec<f32>) {
        if self.begun {
            self.pause(frames, out);
        } else {
            self.owed = (self.owed + frames).min(self.link.longest_hole());
        }
    }

    /// So many frames without sound.
    fn pause(&mut self, frames: u64, out: &mut Vec<f32>) {
        self.mono.clear();
        self.mono.resize(frames as usize, 0.0);
        give(&self.mono, &mut self.link.resampler, out);
    }

    /// The samples have another rate from here on.
    fn turn(&mut self, path: &Path, rate: u32) -> Result<(), AudioError> {
        log::debug!("{}: goes on with {rate} Hz", path.display());
        self.link.rate = rate;
        self.link.resampler = if rate == self.rate { None } else { Some(Resampler::between(rate, self.rate)?) };
        Ok(())
    }

    /// The next recording begins.
    fn begin(&mut self, path: &Path, out: &mut Vec<f32>) -> Result<(), AudioError> {
        self.finish(out);
        match Link::new(&*self.format) {
            Ok(link) => {
                let rate = link.rate;
                self.link = link;
                self.turn(path, rate)
            }
            Err(reason) => {
                log::warn!("{}: a part of it is not heard: {reason}", path.display());
                Ok(())
            }
        }
    }

    /// Lets out what a resampler holds.
    fn finish(&mut self, out: &mut Vec<f32>) {
        if let Some(resampler) = &mut self.link.resampler {
            resampler.flush(out);
        }
    }

    fn end(&mut self, path: &Path, reason: Option<&str>, out: &mut Vec<f32>) -> Result<(), AudioError> {
        self.ended = true;
        self.finish(out);
        if !self.begun && (self.lost > 0 || self.link.promised > 0 || reason.is_some()) {
            return Err(AudioError::decode(path, "nothing of it can be decoded"));
        }
        if self.lost + self.holes > 0 {
            let (lost, holes) = (self.lost, self.holes);
            log::warn!("{}: damaged, {lost} packets cannot be decoded, {holes} times some are missing", path.display());
        }
        if self.numberless > 0 {
            log::warn!("{}: {} samples are no numbers, silence in their place", path.display(), self.numberless);
        }
        if let Some(reason) = reason {
            log::warn!("{}: {reason}", path.display());
        }
        Ok(())
    }
}

fn give(mono: &[f32], resampler: &mut Option<Resampler>, out: &mut Vec<f32>) {
    match resampler {
        Some(resampler) => resampler.push(mono, out),
        None => out.extend_from_slice(mono),
    }
}

#[cfg(test)]
#[path = "container_tests.rs"]
mod tests;
