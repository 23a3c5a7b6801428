//! Joined and damaged recordings, from tones as common encoders write them.

use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::PathBuf;

use super::*;
use crate::audio::{Decoded, decode_file};

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tones").join(name);
    std::fs::read(path).expect("a fixture")
}

fn decode(file: &[u8]) -> Result<Decoded, AudioError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a");
    std::fs::write(&path, file).expect("room on the disk");
    decode_file(&path)
}

/// Amplitude of a tone in a piece.
fn tone(piece: &[f32], rate: u32, hz: f64) -> f64 {
    let angle = |i: usize| std::f64::consts::TAU * hz * i as f64 / f64::from(rate);
    let (mut sine, mut cosine) = (0.0, 0.0);
    for (i, s) in piece.iter().enumerate() {
        sine += f64::from(*s) * angle(i).sin();
        cosine += f64::from(*s) * angle(i).cos();
    }
    2.0 * f64::hypot(sine, cosine) / piece.len() as f64
}

#[test]
fn joined_recordings_are_all_heard_at_the_rate_of_the_first() {
    // Vorbis is chained; MP3 frames of another kind just follow.
    for (first, second) in
        [("440.ogg", "880.ogg"), ("880.ogg", "440.ogg"), ("440.mp3", "880.mp3"), ("880.mp3", "440.mp3")]
    {
        let (one, two) = (fixture(first), fixture(second));
        let (alone, other) = (decode(&one).expect("it is whole"), decode(&two).expect("it is whole"));
        let joined = decode(&[one, two].concat()).expect("it is whole");
        assert_eq!(joined.rate, alone.rate);
        let rest = &joined.samples[alone.samples.len()..];
        let (heard, want) =
            (rest.len() as f64 / f64::from(joined.rate), other.samples.len() as f64 / f64::from(other.rate));
        assert!((heard - want).abs() < 0.1, "{first} and {second}: {heard:.2} s of {want:.2} s");
        let middle = |samples: &[f32]| samples[samples.len() / 4..samples.len() * 3 / 4].to_vec();
        for (samples, name) in [(&joined.samples[..alone.samples.len()], first), (rest, second)] {
            let hz = if name.starts_with("440") { 440.0 } else { 880.0 };
            let level = tone(&middle(samples), joined.rate, hz);
            assert!((0.2..0.5).contains(&level), "{first} and {second}: {hz} Hz at {level:.3}");
        }
    }
}

#[test]
fn what_is_whole_is_as_long_as_it_was() {
    for (name, length) in [("440.ogg", 8_000), ("880.ogg", 11_025), ("440.flac", 16_000), ("440.mp3", 17_280)] {
        assert_eq!(decode(&fixture(name)).expect("it is whole").samples.len(), length, "{name}");
    }
}

#[test]
fn the_same_recording_twice_is_twice_as_long() {
    for name in ["440.ogg", "440.mp3"] {
        let once = decode(&fixture(name)).expect("it is whole").samples.len();
        let twice = decode(&[fixture(name), fixture(name)].concat()).expect("it is whole").samples.len();
        assert!(twice.abs_diff(2 * once) < 1_600, "{name}: {once} and {twice}");
    }
}

/// Where the frames of the FLAC file begin, and what comes behind the last.
fn flac_frames(file: &[u8]) -> Vec<usize> {
    let starts = (0..file.len() - 1).filter(|&i| file[i] == 0xFF && file[i + 1] & 0xFE == 0xF8);
    starts.chain([file.len()]).collect()
}

#[test]
fn a_damaged_frame_is_silence_of_its_length() {
    let whole = fixture("440.flac");
    let want = decode(&whole).expect("it is whole").samples;
    let starts = flac_frames(&whole);
    assert_eq!((want.len(), starts.len()), (16_000, 5));
    // Where a frame begins nobody knows any more if its header is gone: the one before goes with it.
    for (damage, intact) in [(starts[1] + 200..starts[1] + 201, 4_096), (starts[1]..starts[2], 0)] {
        let mut broken = whole.clone();
        broken[damage.clone()].iter_mut().for_each(|byte| *byte ^= 0x55);
        let heard = decode(&broken).expect("most of it is there").samples;
        assert_eq!(heard.len(), want.len(), "{damage:?}");
        assert!(heard[..intact] == want[..intact] && heard[8_192..] == want[8_192..], "{damage:?}");
        assert!(heard[intact..8_192].iter().all(|s| *s == 0.0), "{damage:?}");
    }
}

#[test]
fn a_piece_cut_out_of_a_flac_file_begins_at_once() {
    let whole = fixture("440.flac");
    let want = decode(&whole).expect("it is whole").samples;
    let starts = flac_frames(&whole);
    let heard = decode(&[&whole[..starts[0]], &whole[starts[2]..]].concat()).expect("the rest is whole").samples;
    assert!(heard == want[8_192..]);
}

#[test]
fn a_file_that_is_broken_before_its_first_sample_is_an_error() {
    let flac = fixture("440.flac");
    let header = flac_frames(&flac)[0];
    let garbage: Vec<u8> = flac.iter().enumerate().map(|(i, b)| if i < header { *b } else { i as u8 & 0x7F }).collect();
    for broken in [garbage, flac[..header].to_vec()] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.flac");
        std::fs::write(&path, broken).expect("room on the disk");
        let outcome = crate::audio::Decoder::open(&path).and_then(|mut decoder| decoder.next(&mut Vec::new()));
        assert!(matches!(outcome, Err(AudioError::Decode { .. })), "{outcome:?}");
    }
}

/// A disk that fails.
struct Failing {
    file: Cursor<Vec<u8>>,
    from: u64,
}

impl Read for Failing {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let left = self.from.saturating_sub(self.file.position()) as usize;
        if left == 0 {
            return Err(std::io::Error::other("a bad sector"));
        }
        let length = out.len().min(left);
        self.file.read(&mut out[..length])
    }
}

impl Seek for Failing {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.file.seek(to)
    }
}

impl MediaSource for Failing {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.file.get_ref().len() as u64)
    }
}

#[test]
fn a_disk_that_fails_is_no_end() {
    let file = std::fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hello-stop.wav"));
    let disk = Failing { file: Cursor::new(file.expect("a fixture")), from: 100_000 };
    let path = Path::new("a.wav");
    let mut container = Container::open(path, Box::new(disk)).expect("its header is there");
    let mut out = Vec::new();
    let error = loop {
        match container.next(path, &mut out) {
            Ok(true) => {}
            Ok(false) => panic!("it says that this is the end"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, AudioError::Read { .. }) && out.len() > 10_000, "{error}");
}
