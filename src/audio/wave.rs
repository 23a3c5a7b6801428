//! WAV files as programs write them: with sizes that are missing, wrong, or too large for their field.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};

use symphonia::core::io::{MediaSource, ReadOnlySource};

/// More chunks before the sound are no WAV file.
const MOST: usize = 1_000;
/// A longer description of the format is none.
const LONGEST: u64 = 1_024;
/// Sizes from here on stand for an unknown one, where the file is not that long.
const UNKNOWN: u64 = 0x7fff_f000;

/// Where the sound of a file is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wave {
    /// A header with sizes that are right.
    header: Vec<u8>,
    start: u64,
    length: u64,
    /// Whether it is too long for a header to say so.
    pub endless: bool,
    /// Whether another recording follows, as in joined files.
    pub joined: bool,
}

impl Wave {
    /// Finds it; `None` where it is no WAV file, or none that is known.
    pub fn find(file: &mut (impl Read + Seek)) -> io::Result<Option<Self>> {
        let total = file.seek(SeekFrom::End(0))?;
        let head = bytes(file, 0, 12)?;
        if !matches!(head.get(..4), Some(b"RIFF" | b"RF64")) || head.get(8..) != Some(b"WAVE") {
            return Ok(None);
        }
        let (mut described, mut long) = (Vec::new(), None);
        let mut at = 12;
        for _ in 0..MOST {
            let Some((name, size)) = chunk(file, at)? else { break };
            let start = at + 8;
            match &name {
                b"data" if described.is_empty() => break,
                b"data" => {
                    let rest = total.saturating_sub(start);
                    let size = long.filter(|_| size == u64::from(u32::MAX)).map_or(size, |size| rest.min(size));
                    return Self::new(file, described, start, size, rest).map(Some);
                }
                b"fmt " | b"fact" if size <= LONGEST => {
                    described.extend(name);
                    described.extend((size as u32).to_le_bytes());
                    described.extend(bytes(file, start, size + size % 2)?);
                }
                // The sizes of RF64: all, the sound, and so on.
                b"ds64" => {
                    let sizes = bytes(file, start, 16)?;
                    long = sizes.get(8..16).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
                }
                _ => {}
            }
            at = start + size;
            // Chunks of odd size have a byte more, which some programs forget.
            if size % 2 == 1 && chunk(file, at)?.is_none() {
                at += 1;
            }
        }
        Ok(None)
    }

    fn new(file: &mut (impl Read + Seek), described: Vec<u8>, start: u64, size: u64, rest: u64) -> io::Result<Self> {
        // Nothing where the sound was to be written to the end: unless something else follows, it is all of it.
        let unwritten = size == 0 && chunk(file, start)?.is_none_or(|(_, size)| 8 + size > rest);
        let unknown = unwritten || size >= UNKNOWN && size > rest;
        let length = if unknown { rest - rest % block(&described) } else { size };
        let endless = length > u64::from(u32::MAX - 1);
        let follows = bytes(file, start + length + length % 2, 12)?;
        let mut header = b"RIFF\xff\xff\xff\xffWAVE".to_vec();
        header.extend(described);
        header.extend(b"data");
        header.extend(u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        let joined = follows.starts_with(b"RIFF") && follows.ends_with(b"WAVE");
        Ok(Self { header, start, length, endless, joined })
    }

    /// The file as it should be.
    pub fn open(self, mut file: File) -> io::Result<Box<dyn MediaSource>> {
        file.seek(SeekFrom::Start(self.start))?;
        Ok(Box::new(ReadOnlySource::new(Cursor::new(self.header).chain(file.take(self.length)))))
    }
}

/// Bytes of a sample in all channels, by the description of the format; 1 if that does not say.
fn block(described: &[u8]) -> u64 {
    let format = described.windows(4).position(|w| w == b"fmt ").and_then(|at| described.get(at + 20..at + 22));
    format.and_then(|b| b.try_into().ok()).map_or(1, |b| u64::from(u16::from_le_bytes(b)).max(1))
}

/// Name and size of the chunk at a place; `None` where there is none.
fn chunk(file: &mut (impl Read + Seek), at: u64) -> io::Result<Option<([u8; 4], u64)>> {
    let head = bytes(file, at, 8)?;
    let (Some(&name), Some(&size)) = (head.first_chunk(), head.last_chunk()) else { return Ok(None) };
    let is_name = head.len() == 8 && name.iter().all(|c| c.is_ascii_graphic() || *c == b' ');
    Ok(is_name.then(|| (name, u32::from_le_bytes(size).into())))
}

/// So many bytes from a place on, or those that there are.
pub(super) fn bytes(file: &mut (impl Read + Seek), at: u64, count: u64) -> io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    file.take(count).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 16 kHz, mono, 16 bit.
    const FORMAT: &[u8] = b"fmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0";

    fn find(parts: &[&[u8]]) -> Option<(u64, u64, bool)> {
        let wave = Wave::find(&mut Cursor::new(parts.concat())).expect("memory");
        wave.map(|w| (w.start, w.length, w.joined))
    }

    #[test]
    fn the_sound_is_found_whatever_the_sizes_say() {
        let sound = [1_u8; 100];
        let riff = |size: u32| [b"RIFF", &size.to_le_bytes()[..], b"WAVE"].concat();
        let data = |size: u32| [b"data", &size.to_le_bytes()[..]].concat();
        for size in [0, 100, 12_345, 136, u32::MAX] {
            assert_eq!(find(&[&riff(size), FORMAT, &data(100), &sound]), Some((44, 100, false)), "RIFF {size}");
        }
        for size in [0, u32::MAX, 0x7fff_ffff, 0x7fff_f000] {
            assert_eq!(find(&[&riff(36), FORMAT, &data(size), &sound]), Some((44, 100, false)), "data {size}");
        }
        assert_eq!(find(&[&riff(36), FORMAT, &data(0), &sound, b"x"]), Some((44, 100, false)), "half a sample");
        // Cut off, with a size that is right.
        assert_eq!(find(&[&riff(36), FORMAT, &data(200), &sound]), Some((44, 200, false)));
        // Nothing, and a chunk behind it.
        assert_eq!(find(&[&riff(36), FORMAT, &data(0), b"LIST\x02\0\0\0ab"]), Some((44, 0, false)));
        // A list of odd size, with and without the byte that belongs behind it.
        for pad in [&b"\0"[..], b""] {
            let list = [b"LIST\x05\0\0\0INFOx", pad].concat();
            let start = 44 + list.len() as u64;
            assert_eq!(find(&[&riff(36), FORMAT, &list, &data(100), &sound]), Some((start, 100, false)));
        }
        let long = [b"ds64\x1c\0\0\0", &[0; 8][..], &100_u64.to_le_bytes(), &[0; 12]].concat();
        let rf64 = [b"RF64\xff\xff\xff\xffWAVE", &long[..]].concat();
        assert_eq!(find(&[&rf64, FORMAT, &data(u32::MAX), &sound, b"LIST\0\0\0\0"]), Some((80, 100, false)));
        let whole = [&riff(136), FORMAT, &data(100), &sound].concat();
        assert_eq!(find(&[&whole, &whole]), Some((44, 100, true)));
        for none in [&b"RIFX\0\0\0\0WAVE"[..], b"RIFF\0\0\0\0AVI ", b"RIFF", b""] {
            assert_eq!(find(&[none, FORMAT, &data(100), &sound]), None);
        }
        assert_eq!(find(&[&riff(136), &data(100), &sound]), None, "nobody knows what kind of sound it is");
    }
}
