//! Joined, damaged and large: Ogg Opus as it comes, from packets of noise that any decoder takes.

use std::io::{self, Cursor, Read, Seek, SeekFrom};

use ogg::writing::{PacketWriteEndInfo, PacketWriter};

use super::*;
use crate::audio::Decoder;

/// Samples of a packet: 20 ms.
const PACKET: usize = 320;
/// Samples that the header tells to drop.
const SKIP: usize = 104;

/// A frame of so many bytes; every seed is another noise.
fn frame(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_add(1).wrapping_mul(2_654_435_761);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Packets of one frame each, full band, 20 ms.
fn packets(from: u32, count: u32, length: usize) -> Vec<Vec<u8>> {
    (from..from + count).map(|seed| [&[0xF8], &frame(seed, length)[..]].concat()).collect()
}

/// A recording, ten packets a page.
fn recording(serial: u32, packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    let mut writer = PacketWriter::new(&mut file);
    let mut head = b"OpusHead\x01\x01".to_vec();
    head.extend(312_u16.to_le_bytes());
    head.extend(48_000_u32.to_le_bytes());
    head.extend([0; 3]);
    writer.write_packet(head, serial, PacketWriteEndInfo::EndPage, 0).expect("memory");
    let tags = b"OpusTags\0\0\0\0\0\0\0\0".to_vec();
    writer.write_packet(tags, serial, PacketWriteEndInfo::EndPage, 0).expect("memory");
    let mut position = 0;
    for (i, packet) in packets.iter().enumerate() {
        position += duration(packet);
        let end = match i + 1 {
            last if last == packets.len() => PacketWriteEndInfo::EndStream,
            tenth if tenth % 10 == 0 => PacketWriteEndInfo::EndPage,
            _ => PacketWriteEndInfo::NormalPacket,
        };
        writer.write_packet(packet.clone(), serial, end, position).expect("memory");
    }
    file.into_inner()
}

/// All samples of a file.
fn decode(file: &[u8]) -> Result<Vec<f32>, AudioError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.opus");
    std::fs::write(&path, file).expect("room on the disk");
    let mut decoder = Decoder::open(&path)?;
    let mut out = Vec::new();
    while decoder.next(&mut out)? {}
    Ok(out)
}

/// Where the pages of a file begin.
fn pages(file: &[u8]) -> Vec<usize> {
    (0..file.len() - 4).filter(|&i| file[i..].starts_with(b"OggS")).collect()
}

fn loud(samples: &[f32]) -> bool {
    samples.iter().any(|s| s.abs() > 0.01)
}

#[test]
fn joined_recordings_are_all_heard() {
    let (one, two) = (packets(0, 25, 120), packets(100, 35, 120));
    let alone = decode(&recording(7, &two)).expect("it is whole");
    assert_eq!(alone.len(), 35 * PACKET - SKIP);
    for serial in [8, 7] {
        let joined = [recording(7, &one), recording(serial, &two)].concat();
        let heard = decode(&joined).expect("it is whole");
        assert_eq!(heard.len(), 60 * PACKET - 2 * SKIP, "serial number {serial}");
        assert!(heard[25 * PACKET - SKIP..] == alone, "the second one is what it is alone");
        assert!(loud(&alone));
    }
}

#[test]
fn a_flipped_bit_costs_its_page_and_no_more() {
    let whole = recording(7, &packets(0, 60, 120));
    let want = decode(&whole).expect("it is whole");
    let starts = pages(&whole);
    // The comment, the first page with sound, one in the middle; in the body, in its lengths, in its first bytes.
    for (page, from, to) in [(1, 0, 0), (2, 0, 10 * PACKET - SKIP), (4, 20 * PACKET - SKIP, 30 * PACKET - SKIP)] {
        for at in [0, 26, 30, 40] {
            let mut broken = whole.clone();
            broken[starts[page] + at] ^= 0x10;
            let heard = decode(&broken).expect("most of it is there");
            assert_eq!(heard.len(), want.len(), "page {page}, byte {at}");
            assert!(heard[..from] == want[..from], "page {page}, byte {at}: what comes before");
            assert!(heard[from..to].iter().all(|s| *s == 0.0), "page {page}, byte {at}: the page");
            assert!(loud(&heard[to + PACKET..]), "page {page}, byte {at}: what comes after");
        }
    }
}

#[test]
fn a_file_of_which_nothing_can_be_decoded_is_an_error() {
    let whole = recording(7, &packets(0, 60, 120));
    let mut broken = whole.clone();
    for start in &pages(&whole)[2..] {
        broken[start + 50] ^= 1;
    }
    assert!(matches!(decode(&broken), Err(AudioError::Decode { .. })));
    // Packets that say they have no frames, on pages that are whole.
    let none = recording(7, &vec![vec![0xFB, 0, 1, 2]; 30]);
    assert!(matches!(decode(&none), Err(AudioError::Decode { .. })));
}

#[test]
fn packets_of_several_large_frames_are_no_damage() {
    // 60 ms at 256 kbit/s.
    let frames: Vec<Vec<u8>> = (0..30).map(|seed| frame(seed, 640)).collect();
    let small: Vec<Vec<u8>> = frames.iter().map(|f| [&[0xF8], &f[..]].concat()).collect();
    let large: Vec<Vec<u8>> = frames.chunks(3).map(|three| [&[0xFB, 3], &three.concat()[..]].concat()).collect();
    assert!(large[0].len() > LARGEST);
    let want = decode(&recording(7, &small)).expect("it is whole");
    assert!(loud(&want));
    assert!(decode(&recording(7, &large)).expect("it is whole") == want);
}

#[test]
fn packets_are_split_in_each_of_their_ways() {
    let (a, b, c) = (frame(1, 300), frame(2, 300), frame(3, 100));
    let one = |frame: &[u8]| [&[0xF8], frame].concat();
    let join = |parts: &[&[u8]]| parts.concat();
    // Lengths of 300 and 100 in one or two bytes.
    let (long, short): (&[u8], &[u8]) = (&[252, 12], &[100]);
    let padding = [0; 260];
    for (packet, want) in [
        (join(&[&[0xF8], &a]), vec![&a]),
        (join(&[&[0xF9], &a, &b]), vec![&a, &b]),
        (join(&[&[0xFA], long, &a, &c]), vec![&a, &c]),
        (join(&[&[0xFB, 2], &a, &b]), vec![&a, &b]),
        (join(&[&[0xFB, 0x83], long, short, &a, &c, &b]), vec![&a, &c, &b]),
        (join(&[&[0xFB, 0x42, 255, 6], &a, &b, &padding]), vec![&a, &b]),
    ] {
        let want: Vec<Vec<u8>> = want.into_iter().map(|frame| one(frame)).collect();
        assert_eq!(split(&packet), Some(want));
    }
    for broken in [&[][..], &[0xF9, 1], &[0xFA, 9, 1], &[0xFB], &[0xFB, 0], &[0xFB, 0x82, 9], &[0xFB, 0x41, 255, 255]] {
        assert_eq!(split(broken), None, "{broken:?}");
    }
}

/// A disk that fails.
struct Failing {
    file: Cursor<Vec<u8>>,
    from: u64,
}

impl Read for Failing {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.from.saturating_sub(self.file.position()) as usize;
        if left == 0 {
            return Err(io::Error::other("a bad sector"));
        }
        let length = out.len().min(left);
        self.file.read(&mut out[..length])
    }
}

impl Seek for Failing {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[test]
fn a_disk_that_fails_is_no_end() {
    let file = recording(7, &packets(0, 60, 120));
    let from = file.len() as u64 / 2;
    let mut pages = Pages::new(Failing { file: Cursor::new(file), from });
    let mut count = 0;
    let error = loop {
        match pages.next() {
            Ok(Some(_)) => count += 1,
            Ok(None) => panic!("it says that this is the end"),
            Err(error) => break error,
        }
    };
    assert!(count > 2 && error.to_string().contains("bad sector"));
}

/// A frame of speech at 8 or 12 kHz: noise that any decoder takes.
fn telephone(config: u8) -> Vec<Vec<u8>> {
    (0..40).map(|seed| [&[config << 3], &frame(seed, 40)[..]].concat()).collect()
}

#[test]
fn speech_of_a_telephones_band_has_its_time_and_fills_its_packets() {
    // 20 ms of narrow and medium band; the wide band needs no resampler and is the measure.
    let wide = decode(&recording(7, &telephone(9))).expect("it is whole");
    for config in [1, 5] {
        let heard = decode(&recording(7, &telephone(config))).expect("it is whole");
        assert_eq!(heard.len(), wide.len(), "configuration {config}");
        // Not the first half of each packet, with silence behind it.
        let sound = |half: usize| heard.chunks_exact(PACKET / 2).skip(half).step_by(2).filter(|h| loud(h)).count();
        let (first, second) = (sound(0), sound(1));
        assert!(first > 5 && second * 2 > first, "configuration {config}: {first}, {second}");
    }
}

#[test]
fn the_band_may_change_within_a_recording() {
    let mixed: Vec<Vec<u8>> = [packets(0, 20, 120), telephone(1), packets(100, 20, 120)].concat();
    let heard = decode(&recording(7, &mixed)).expect("it is whole");
    assert_eq!(heard.len(), 80 * PACKET - SKIP);
    assert!(heard.chunks_exact(PACKET).skip(61).all(loud));
    let joined = [recording(7, &mixed), recording(8, &packets(0, 25, 120))].concat();
    assert_eq!(decode(&joined).expect("it is whole").len(), 105 * PACKET - 2 * SKIP);
}
