//! Ogg Opus, straight to 16 kHz, in pure Rust.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use ogg::PacketReader;
use opus_decoder::OpusDecoder;

use super::{AudioError, MODEL_RATE};

/// Granule positions count samples at 48 kHz (RFC 7845, section 4).
const GRANULE: u64 = 48_000 / MODEL_RATE as u64;

/// Longest packet, 120 ms.
const LONGEST: usize = MODEL_RATE as usize * 120 / 1000;

/// Reads one Opus stream packet by packet.
pub struct OpusReader {
    packets: PacketReader<BufReader<File>>,
    decoder: OpusDecoder,
    serial: u32,
    /// Samples still to drop at the start.
    skip: u64,
    /// Samples handed out or dropped so far.
    decoded: u64,
    buffer: Vec<f32>,
    started: bool,
    gain: f32,
}

fn fail(path: &Path, reason: impl Into<String>) -> AudioError {
    AudioError::Decode { path: path.into(), reason: reason.into() }
}

impl OpusReader {
    /// Reads the headers (RFC 7845, section 5).
    pub fn open(path: &Path) -> Result<Self, AudioError> {
        let file = File::open(path).map_err(|source| AudioError::Read { path: path.into(), source })?;
        let mut packets = PacketReader::new(BufReader::new(file));
        let head =
            packets.read_packet().map_err(|e| fail(path, e.to_string()))?.ok_or_else(|| fail(path, "it is empty"))?;
        let data = &head.data;
        if data.len() < 19 || !data.starts_with(b"OpusHead") {
            return Err(fail(path, "its Opus header is broken"));
        }
        if data[18] != 0 {
            return Err(fail(path, "it has more than two channels"));
        }
        let skip = u64::from(u16::from_le_bytes([data[10], data[11]])) / GRANULE;
        let gain = f32::from(i16::from_le_bytes([data[16], data[17]])) / 256.0;
        // The decoder mixes stereo down by itself when one channel is asked for.
        let decoder = OpusDecoder::new(MODEL_RATE, 1).map_err(|e| fail(path, format!("{e:?}")))?;
        packets
            .read_packet()
            .map_err(|e| fail(path, e.to_string()))?
            .ok_or_else(|| fail(path, "it has no comment header"))?;
        Ok(Self {
            packets,
            decoder,
            serial: head.stream_serial(),
            skip,
            decoded: 0,
            buffer: vec![0.0; LONGEST],
            started: false,
            gain: 10_f32.powf(gain / 20.0),
        })
    }

    /// Decodes the next packet and appends its samples; false at the end.
    pub fn next(&mut self, path: &Path, out: &mut Vec<f32>) -> Result<bool, AudioError> {
        loop {
            let packet = match self.packets.read_packet() {
                Ok(Some(packet)) => packet,
                Ok(None) => return Ok(false),
                // A file that was cut off: what there is of it counts.
                Err(_) if self.started => return Ok(false),
                Err(e) => return Err(fail(path, e.to_string())),
            };
            if packet.stream_serial() != self.serial {
                continue;
            }
            let count = match self.decoder.decode_float(&packet.data, &mut self.buffer, false) {
                Ok(count) => count,
                Err(e) if !self.started => return Err(fail(path, format!("Opus: {e:?}"))),
                // One broken packet is concealed, as a live stream would do.
                Err(_) => self.decoder.decode_float(&[], &mut self.buffer, false).unwrap_or(0),
            };
            self.started = true;
            let drop = self.skip.min(count as u64) as usize;
            self.skip -= drop as u64;
            self.decoded += count as u64;
            // The last page says where the stream ends inside its last packet.
            let mut end = count;
            if packet.last_in_stream() {
                let total = packet.absgp_page() / GRANULE;
                end = count.saturating_sub(self.decoded.saturating_sub(total) as usize);
            }
            let kept = &self.buffer[drop..end.max(drop)];
            out.extend(kept.iter().map(|s| s * self.gain));
            return Ok(true);
        }
    }
}
