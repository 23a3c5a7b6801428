//! Ogg Opus, straight to 16 kHz, in pure Rust.

use std::fs::File;
use std::path::Path;

use ogg::Packet;
use opus_decoder::OpusDecoder;

use super::decode::LONGEST_HOLE;
use super::pages::{Page, Pages};
use super::{AudioError, MODEL_RATE, Resampler};

/// Positions, durations and what is to be dropped count samples at 48 kHz, granules, at whatever rate they are decoded (RFC 7845,
/// section 4).
const GRANULES: u32 = 48_000;

/// Longest packet, 120 ms.
const LONGEST: u64 = GRANULES as u64 * 120 / 1000;

/// Largest packet that the decoder takes. Of several frames they may be larger.
const LARGEST: usize = 1_500;

/// The longest hole.
const MOST_MISSING: u64 = GRANULES as u64 * LONGEST_HOLE;

/// Reads Opus streams packet by packet, one after the other where files were joined.
pub struct OpusReader {
    pages: Pages<File>,
    sound: Sound,
    link: Link,
    /// Whether a packet could be decoded.
    begun: bool,
    /// Packets that could not.
    lost: u64,
    /// How long they are, those before the first that could.
    owed: u64,
    /// Whether a part of it has another codec.
    foreign: bool,
    told: bool,
}

/// The decoder, and what brings its samples to 16 kHz.
struct Sound {
    decoder: OpusDecoder,
    /// Granules a sample.
    unit: u64,
    /// Once it decodes at another rate.
    resampler: Option<Resampler>,
    /// The last packet.
    buffer: Vec<f32>,
}

impl Sound {
    fn new() -> Result<Self, opus_decoder::OpusError> {
        // It mixes stereo down by itself when one channel is asked for.
        let decoder = OpusDecoder::new(MODEL_RATE, 1)?;
        let unit = u64::from(GRANULES / MODEL_RATE);
        Ok(Self { decoder, unit, resampler: None, buffer: vec![0.0; (LONGEST / unit) as usize] })
    }

    /// Makes ready for a packet. Speech of the telephone's band has 8 or 12 kHz inside, which the decoder brings to 48 kHz alone: from
    /// the first such packet on it decodes at that rate.
    fn prepare(&mut self, packet: &[u8]) {
        if self.unit == 1 || !is_narrow(packet) {
            return;
        }
        let (Ok(decoder), Ok(resampler)) = (OpusDecoder::new(GRANULES, 1), Resampler::new(GRANULES)) else { return };
        (self.decoder, self.unit, self.resampler) = (decoder, 1, Some(resampler));
        self.buffer.resize(LONGEST as usize, 0.0);
    }

    /// Decodes a packet of one frame or more to the place `at` of the buffer; none if it is broken.
    fn decode(&mut self, packet: &[u8], at: usize) -> Option<usize> {
        self.decoder.decode_float(packet, &mut self.buffer[at..], false).ok()
    }

    /// Conceals a packet, as a live stream would do.
    fn conceal(&mut self, length: usize, at: usize) -> usize {
        let room = &mut self.buffer[at..];
        let length = length.min(room.len());
        let concealed = self.decoder.decode_float(&[], room, false).unwrap_or(0).min(length);
        room[concealed..length].fill(0.0);
        length
    }

    fn append(resampler: Option<&mut Resampler>, samples: &[f32], out: &mut Vec<f32>) {
        match resampler {
            Some(resampler) => resampler.push(samples, out),
            None => out.extend_from_slice(samples),
        }
    }

    /// Appends what the resampler holds: a recording is over.
    fn finish(&mut self, out: &mut Vec<f32>) {
        if let Some(resampler) = &mut self.resampler {
            resampler.flush(out);
        }
        self.decoder.reset();
    }
}

/// One recording of those that were joined.
struct Link {
    serial: u32,
    /// Still to drop at the start.
    skip: u64,
    /// Handed out or dropped so far.
    decoded: u64,
    /// Granule position at its start, once it is known.
    base: Option<u64>,
    gain: f32,
}

impl Link {
    /// Reads the header (RFC 7845, section 5).
    fn new(head: &Packet) -> Result<Self, &'static str> {
        let data = &head.data;
        if data.len() < 19 || !data.starts_with(b"OpusHead") {
            return Err("its Opus header is broken");
        }
        if data[18] != 0 {
            return Err("it has more than two channels");
        }
        let skip = u64::from(u16::from_le_bytes([data[10], data[11]]));
        let gain = f32::from(i16::from_le_bytes([data[16], data[17]])) / 256.0;
        Ok(Self { serial: head.stream_serial(), skip, decoded: 0, base: None, gain: 10_f32.powf(gain / 20.0) })
    }

    /// Appends the first `count` samples of the buffer, but for those that are to be dropped.
    fn give(&mut self, count: usize, sound: &mut Sound, out: &mut Vec<f32>) {
        let drop = (self.skip / sound.unit).min(count as u64) as usize;
        self.skip -= drop as u64 * sound.unit;
        self.decoded += count as u64 * sound.unit;
        let samples = &mut sound.buffer[drop..count];
        for sample in &mut *samples {
            *sample *= self.gain;
        }
        Sound::append(sound.resampler.as_mut(), samples, out);
    }

    /// The same for silence.
    fn pause(&mut self, granules: u64, sound: &mut Sound, out: &mut Vec<f32>) {
        let drop = self.skip.min(granules);
        self.skip -= drop;
        self.decoded += granules;
        let silence = vec![0.0; ((granules - drop) / sound.unit) as usize];
        Sound::append(sound.resampler.as_mut(), &silence, out);
    }
}

/// Whether a packet is speech of less than wide band (RFC 6716, section 3.1).
fn is_narrow(packet: &[u8]) -> bool {
    packet.first().is_some_and(|toc| toc >> 3 < 8)
}

/// How long a packet is, by its first bytes (RFC 6716, section 3.1).
fn duration(packet: &[u8]) -> u64 {
    let Some(&toc) = packet.first() else { return 0 };
    let config = usize::from(toc >> 3);
    let tenths = match config {
        0..12 => [100, 200, 400, 600][config % 4],
        12..16 => [100, 200][config % 2],
        _ => [25, 50, 100, 200][config % 4],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => packet.get(1).map_or(0, |count| u64::from(count & 63)),
    };
    (frames * tenths * u64::from(GRANULES) / 10_000).min(LONGEST)
}

/// The length that a frame begins with, and where the rest begins (RFC 6716, section 3.2.1).
fn frame_length(data: &[u8]) -> Option<(usize, &[u8])> {
    match *data {
        [length @ 0..252, ref rest @ ..] => Some((length.into(), rest)),
        [low, high, ref rest @ ..] => Some((usize::from(high) * 4 + usize::from(low), rest)),
        _ => None,
    }
}

/// A packet of several frames as packets of one each (RFC 6716, section 3.2); none if it is broken.
fn split(packet: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (&toc, mut rest) = packet.split_first()?;
    let lengths = match toc & 3 {
        0 => vec![rest.len()],
        1 => vec![rest.len() / 2; 2],
        2 => {
            let first;
            (first, rest) = frame_length(rest)?;
            vec![first, rest.len().checked_sub(first)?]
        }
        _ => {
            let (&count, behind) = rest.split_first()?;
            rest = behind;
            let frames = usize::from(count & 63);
            if count & 64 != 0 {
                let mut padding = 0;
                loop {
                    let (&more, behind) = rest.split_first()?;
                    rest = behind;
                    padding += usize::from(more.min(254));
                    if more < 255 {
                        break;
                    }
                }
                rest = rest.get(..rest.len().checked_sub(padding)?)?;
            }
            if count & 128 == 0 {
                vec![rest.len().checked_div(frames)?; frames]
            } else {
                let mut lengths = Vec::with_capacity(frames);
                for _ in 1..frames {
                    let (length, behind) = frame_length(rest)?;
                    rest = behind;
                    lengths.push(length);
                }
                lengths.push(rest.len().checked_sub(lengths.iter().sum())?);
                lengths
            }
        }
    };
    if lengths.iter().sum::<usize>() != rest.len() {
        return None;
    }
    let frames = lengths.into_iter().map(|length| {
        let (frame, behind) = rest.split_at(length);
        rest = behind;
        [&[toc & !3], frame].concat()
    });
    Some(frames.collect())
}

impl OpusReader {
    /// Reads the header.
    pub fn open(path: &Path) -> Result<Self, AudioError> {
        let read = |source| AudioError::read(path, source);
        let mut pages = Pages::new(File::open(path).map_err(read)?);
        let first = pages.next().map_err(read)?.ok_or_else(|| AudioError::decode(path, "its Opus header is broken"))?;
        let link = Link::new(&first.packets[0]).map_err(|reason| AudioError::decode(path, reason))?;
        let sound = Sound::new().map_err(|e| AudioError::decode(path, format!("{e:?}")))?;
        Ok(Self { pages, sound, link, begun: false, lost: 0, owed: 0, foreign: false, told: false })
    }

    /// Decodes the next page and appends its samples; false at the end.
    pub fn next(&mut self, path: &Path, out: &mut Vec<f32>) -> Result<bool, AudioError> {
        let before = out.len();
        while out.len() == before {
            match self.pages.next().map_err(|source| AudioError::read(path, source))? {
                Some(page) if page.packets[0].first_in_stream() => self.begin(path, &page.packets[0], out),
                Some(page) if page.packets[0].stream_serial() == self.link.serial => self.take(&page, out),
                // Beside it, or the rest of a recording whose header is gone.
                Some(page) => self.foreign |= page.after_damage,
                None => {
                    self.sound.finish(out);
                    self.end(path)?;
                    return Ok(out.len() > before);
                }
            }
        }
        Ok(true)
    }

    /// A stream begins: the next recording, or one beside this one.
    fn begin(&mut self, path: &Path, head: &Packet, out: &mut Vec<f32>) {
        if self.link.base.is_none() && head.stream_serial() != self.link.serial {
            return;
        }
        if !head.data.starts_with(b"OpusHead") {
            self.foreign = true;
            return;
        }
        match Link::new(head) {
            Ok(link) => {
                self.link = link;
                self.sound.finish(out);
            }
            Err(reason) => log::warn!("{}: a part of it is not heard: {reason}", path.display()),
        }
    }

    /// The file has ended: tells what is wrong with it.
    fn end(&mut self, path: &Path) -> Result<(), AudioError> {
        let places = self.pages.places();
        if !self.begun && (self.lost > 0 || places > 0) {
            return Err(AudioError::decode(path, "nothing of it can be decoded"));
        }
        if !std::mem::replace(&mut self.told, true) {
            if self.lost > 0 || places > 0 {
                let lost = self.lost;
                log::warn!("{}: damaged at {places} places, {lost} packets cannot be decoded", path.display());
            }
            if self.foreign {
                log::warn!("{}: a part of it is not heard: its header is none of Opus", path.display());
            }
        }
        Ok(())
    }

    fn take(&mut self, page: &Page, out: &mut Vec<f32>) {
        // What describes it comes between its header and its sound.
        let sound = |packet: &&Packet| self.link.base.is_some() || !packet.data.starts_with(b"OpusTags");
        let packets: Vec<&Packet> = page.packets.iter().filter(sound).collect();
        let Some(last) = packets.last() else { return };
        let length: u64 = packets.iter().map(|packet| duration(&packet.data)).sum();
        // The position at its end is known, and so where it begins.
        let position = Some(last.absgp_page()).filter(|position| *position != u64::MAX);
        let start = position.map_or(0, |position| position.saturating_sub(length));
        let ends = last.last_in_stream();
        // A recording may have been cut out of a longer one; its last page says how much of it counts.
        let base = *self.link.base.get_or_insert(if ends || page.after_damage { 0 } else { start });
        if page.after_damage {
            let hole = start.saturating_sub(base).saturating_sub(self.link.decoded);
            if hole <= MOST_MISSING {
                self.link.pause(hole, &mut self.sound, out);
            } else {
                log::debug!("a damaged page is said to be {hole} samples of 48 kHz after the last one");
            }
        }
        for packet in packets {
            let count = self.decode(&packet.data);
            let unit = self.sound.unit;
            let length = count as u64 * unit;
            if !self.begun {
                self.owed = (self.owed + length).min(MOST_MISSING);
                continue;
            }
            self.link.pause(std::mem::take(&mut self.owed), &mut self.sound, out);
            let mut end = count;
            if packet.last_in_stream() {
                let total = packet.absgp_page().saturating_sub(base);
                end = count.saturating_sub(((self.link.decoded + length).saturating_sub(total) / unit) as usize);
            }
            self.link.give(end, &mut self.sound, out);
        }
    }

    /// Decodes a packet to the front of the buffer, and says how many samples it has.
    fn decode(&mut self, packet: &[u8]) -> usize {
        self.sound.prepare(packet);
        let parts = if packet.len() > LARGEST { split(packet) } else { None };
        let mut count = 0;
        match parts {
            Some(parts) => parts.iter().for_each(|part| count += self.decode_small(part, count)),
            None => count = self.decode_small(packet, 0),
        }
        count
    }

    fn decode_small(&mut self, packet: &[u8], at: usize) -> usize {
        if let Some(count) = self.sound.decode(packet, at) {
            self.begun |= count > 0;
            return count;
        }
        self.lost += 1;
        self.sound.conceal((duration(packet) / self.sound.unit) as usize, at)
    }
}

#[cfg(test)]
#[path = "opus_tests.rs"]
mod tests;
