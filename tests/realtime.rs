//! No allocation where time is short, with a trap in the allocator (assert_no_alloc aborts the process when it springs).
//!
//! Trapped: [`CaptureWriter::push`], all that the capture callback does besides the mix-down on a fixed array, with room and
//! without; [`CaptureReader`]; and a warm [`Spotter::process`] with its whole own path: log-mel, chunking, prefix sums,
//! pooling, cosine, phone paths, fusion, trigger, detections; and the [`ClipRecorder`] that keeps their sound. Not trapped: the run of the networks. tract and ONNX Runtime
//! allocate their outputs, and nothing here could change that; stand-ins that allocate nothing take their place, through
//! [`Spotter::from_parts`], with the sizes of the real ones.

use kws_live::audio::{CaptureReader, CaptureWriter, capture_ring};
use kws_live::detect::{Embedding, Keyword, Pronunciation, ScorerConfig, WindowEmbedder};
use kws_live::engine::{ClipConfig, ClipRecorder};
use kws_live::frontend::{FrontendConfig, LogMel};
use kws_live::model::{Encoder, EncoderOutput, EncoderSpec, ModelError};
use kws_live::spotter::{Detection, KeywordId, Spotter, SpotterConfig};
use kws_live::text::{CLASSES, Phone};

#[cfg(debug_assertions)]
use assert_no_alloc::assert_no_alloc;

#[cfg(debug_assertions)]
#[global_allocator]
static ALLOCATOR: assert_no_alloc::AllocDisabler = assert_no_alloc::AllocDisabler;

/// No test passes where no trap is set.
#[cfg(not(debug_assertions))]
fn assert_no_alloc<T>(_: impl FnOnce() -> T) -> T {
    panic!("the trap is for builds with debug assertions: test without --release")
}

const PARTS: usize = 4;
const PART_DIM: usize = 64;
const DIM: usize = 128;

/// Posteriors and projections that follow the input's level; memory is taken by the first chunk.
struct Still(EncoderSpec);

impl Encoder for Still {
    fn spec(&self) -> &EncoderSpec {
        &self.0
    }

    fn encode(&mut self, features: &[f32], out: &mut EncoderOutput) -> Result<(), ModelError> {
        let frame = self.0.mels * self.0.stride;
        out.frames = features.len() / frame;
        out.phones.clear();
        out.proj.clear();
        for frame in features.chunks_exact(frame) {
            let loud = frame.iter().sum::<f32>() / frame.len() as f32 > -2.0;
            let sign = if loud { 1.0 } else { -1.0 };
            out.phones.extend((0..CLASSES).map(|c| if (c == 7) == loud { -0.1 } else { -5.0 }));
            out.proj.extend((0..PARTS * PART_DIM).map(|i| sign * (1.0 + (i % 7) as f32)));
        }
        Ok(())
    }

    fn reset(&mut self) {}
}

struct Cut;

impl WindowEmbedder for Cut {
    fn dim(&self) -> usize {
        DIM
    }

    fn embed(&mut self, pooled: &[f32], out: &mut [f32]) -> Result<(), ModelError> {
        for (row, out) in pooled.chunks_exact(PARTS * PART_DIM).zip(out.chunks_exact_mut(DIM)) {
            let norm = row[..DIM].iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-6);
            out.iter_mut().zip(row).for_each(|(o, v)| *o = v / norm);
        }
        Ok(())
    }
}

fn spotter(keywords: usize) -> Spotter {
    let spec = EncoderSpec {
        mels: 40,
        stride: 3,
        delay_frames: 3,
        memory_frames: 3,
        classes: CLASSES,
        parts: PARTS,
        part_dim: PART_DIM,
    };
    let frontend = FrontendConfig { norm_seconds: 0.0, ..FrontendConfig::default() };
    let scorer = ScorerConfig { fusion: [0.0, 1.0, 0.0, 0.0], alone: 1.0, ..ScorerConfig::default() };
    let mut spotter = Spotter::from_parts(
        &frontend,
        Box::new(Still(spec)),
        Box::new(Cut),
        scorer,
        SpotterConfig { near: Some(0.9), ..SpotterConfig::default() },
    )
    .expect("a good front end");
    let values: Vec<f32> = (0..DIM).map(|i| 1.0 + (i % 7) as f32).collect();
    let embedding = Embedding::new(values).expect("a direction");
    for i in 0..keywords {
        let phones = vec![Phone::from_id(1 + i % (CLASSES - 1)).expect("a phone"); 4];
        let pronunciations = vec![Pronunciation { phones, embedding: embedding.clone(), frames: None, level: None }; 2];
        spotter.add(Keyword { name: format!("word {i}"), pronunciations, threshold: None });
    }
    spotter
}

/// Half a second of noise, half a second of almost nothing, and so on.
fn sound(seconds: usize) -> Vec<f32> {
    let mut seed = 1_u32;
    (0..16_000 * seconds)
        .map(|i| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (seed >> 8) as f32 / (1 << 23) as f32 - 1.0;
            noise * if i % 32_000 < 8_000 { 0.5 } else { 1e-4 }
        })
        .collect()
}

#[test]
fn a_warm_spotter_does_not_allocate() {
    let mut spotter = spotter(20);
    let sound = sound(8);
    // Once through, so that every buffer has its size and every kind of event has been seen.
    let mut warm = 0;
    spotter.process(&sound, |_| warm += 1).expect("it cannot fail");
    assert!(warm > 0, "detections are a part of the path");
    let mut found = 0;
    // Pieces of odd sizes, as a callback's blocks are.
    for piece in sound.chunks(441) {
        assert_no_alloc(|| spotter.process(piece, |_| found += 1)).expect("it cannot fail");
    }
    assert!(found > 0);
    // A gap is no reason either.
    assert_no_alloc(|| {
        spotter.skip(1_000);
        spotter.process(&sound[..4_000], |_| {}).is_ok()
    });
}

#[test]
fn the_front_end_does_not_allocate() {
    let sound = sound(1);
    let mut analyser = LogMel::new(&FrontendConfig::default()).expect("default");
    let mut frames = 0;
    assert_no_alloc(|| {
        sound.chunks(333).for_each(|piece| analyser.push(piece, |_| frames += 1));
        analyser.reset();
    });
    assert!(frames > 90);
}

#[test]
fn the_capture_path_does_not_allocate_with_room_or_without() {
    let (mut writer, mut reader): (CaptureWriter, CaptureReader) = capture_ring(4_800);
    let (block, mut out) = ([0.25_f32; 480], [0.0_f32; 480]);
    let levels = writer.levels();
    assert_no_alloc(|| {
        // Three times what the ring holds, then all of it back, twice: gaps are made and read.
        for _ in 0..2 {
            for _ in 0..30 {
                writer.push(&block);
            }
            loop {
                let gap = reader.gap();
                if reader.read(&mut out) == 0 && gap.is_none() {
                    break;
                }
            }
        }
    });
    assert!(levels.dropped() > 0 && levels.first_audio().is_some());
}

#[test]
fn clips_are_cut_without_allocation_with_a_buffer_or_without() {
    let config = ClipConfig { buffers: 2, ..ClipConfig::default() };
    let (mut recorder, clips) = ClipRecorder::new(&config);
    let hit = Detection { keyword: KeywordId(0), name: "word".into(), score: 0.5, start: 0, end: 0, emitted: 0 };
    let sound = sound(1);
    let mut found = 0;
    assert_no_alloc(|| {
        for second in 1..40_u64 {
            for piece in sound.chunks(441) {
                recorder.push(piece, || false);
            }
            for _ in 0..3 {
                recorder.hit(&Detection { start: second * 16_000 - 9_000, end: second * 16_000, ..hit.clone() });
            }
            if second == 20 {
                recorder.gap(second * 16_000, || false);
            }
            // Taken and given back.
            while let Ok(clip) = clips.try_recv() {
                found += usize::from(!clip.samples().is_empty());
            }
        }
    });
    assert!(found > 60 && recorder.lost() > 30, "{found} {}", recorder.lost());
}
