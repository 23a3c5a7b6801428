//! Proof that what was written computes what was trained.

use anyhow::{Result, ensure};
use kws_live::model::{Backend, BackendChoice, Bundle, EncoderOutput};
use kws_live::text::{CLASSES, Phone};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tch::{Device, Kind, Tensor, no_grad};

use crate::model::StreamModel;
use crate::net::{Mode, StreamConfig};

/// Largest difference that is let through.
pub const TOLERANCE: f32 = 1e-4;

/// A named comparison and the largest difference in it.
#[derive(Debug, Clone)]
pub struct Check {
    /// What was compared.
    pub name: String,
    /// Largest absolute difference.
    pub difference: f32,
}

/// Largest absolute difference; infinite where lengths differ or a value is not a number.
pub fn difference(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return f32::INFINITY;
    }
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, |m, d| if d.is_nan() { f32::INFINITY } else { m.max(d) })
}

pub(super) fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(Vec::<f32>::try_from(tensor.to_device(Device::Cpu).to_kind(Kind::Float).contiguous().view([-1]))?)
}

/// The backends that can be compared here: tract, and ONNX Runtime where its library is named.
pub(crate) fn backends() -> Vec<BackendChoice> {
    let mut all = vec![Backend::Tract];
    if std::env::var_os("ORT_DYLIB_PATH").is_some() {
        all.push(Backend::Ort);
    } else {
        log::warn!("ORT_DYLIB_PATH is not set: parity with ONNX Runtime was not checked");
    }
    all.into_iter().map(|backend| BackendChoice { backend, ..BackendChoice::default() }).collect()
}

/// Embeddings of texts by a bundle's text tower, one after the other.
pub(super) fn embed_texts(bundle: &Bundle, choice: BackendChoice, texts: &[Vec<Phone>]) -> Result<Vec<f32>> {
    let mut tower = bundle.text_encoder(choice)?;
    let mut out = Vec::new();
    for text in texts {
        out.extend(tower.embed(text)?);
    }
    Ok(out)
}

/// Compares tch, every backend whole, and every backend streamed in random chunks.
///
/// ONNX Runtime is compared where its library can be loaded; the result says which comparisons were made.
///
/// # Errors
/// Names the comparison with the largest difference if it is above [`TOLERANCE`].
pub fn check(model: &StreamModel, bundle: &Bundle, seed: u64) -> Result<Vec<Check>> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let config = model.net.config();
    let mels = config.mels as usize;
    let stride = StreamConfig::STRIDE as usize;
    let frames = 61;
    let features: Vec<f32> = (0..frames * stride * mels).map(|_| rng.random::<f32>() * 8.0 - 5.0).collect();
    let (phones, proj) = no_grad(|| {
        let x = Tensor::from_slice(&features).view([1, (frames * stride) as i64, mels as i64]).permute([0, 2, 1]);
        let (logits, proj) = model.net.forward(&x.contiguous().to_device(model.vars.device()), Mode::EVAL);
        (logits.log_softmax(1, Kind::Float).permute([0, 2, 1]), proj.permute([0, 2, 1]))
    });
    let (want_phones, want_proj) = (values(&phones)?, values(&proj)?);
    let pooled: Vec<f32> =
        (0..5 * config.parts as usize * config.part_dim as usize).map(|_| rng.random::<f32>() - 0.3).collect();
    let want_windows = no_grad(|| {
        let x = Tensor::from_slice(&pooled).view([5, -1]).to_device(model.vars.device());
        values(&crate::net::normalise(&model.net.embed(&x)))
    })?;
    let texts = sampled_texts(&mut rng);
    let want_texts = values(&no_grad(|| model.text.forward(&texts, model.vars.device(), Mode::EVAL)))?;

    let mut checks = Vec::new();
    let mut note = |name: String, difference: f32| checks.push(Check { name, difference });
    for choice in backends() {
        let backend = choice.backend;
        let mut encoder = bundle.encoder(choice)?;
        let mut out = EncoderOutput::default();
        encoder.encode(&features, &mut out)?;
        note(format!("{backend} phones"), difference(&out.phones, &want_phones));
        note(format!("{backend} proj"), difference(&out.proj, &want_proj));
        encoder.reset();
        let (mut phones, mut proj, mut at) = (Vec::new(), Vec::new(), 0);
        while at < frames {
            let n = rng.random_range(1..6).min(frames - at);
            encoder.encode(&features[at * stride * mels..(at + n) * stride * mels], &mut out)?;
            phones.extend_from_slice(&out.phones);
            proj.extend_from_slice(&out.proj);
            at += n;
        }
        note(format!("{backend} phones, streamed"), difference(&phones, &want_phones));
        note(format!("{backend} proj, streamed"), difference(&proj, &want_proj));
        let mut windows = vec![0.0; want_windows.len()];
        bundle.window_head(choice)?.embed(&pooled, &mut windows)?;
        note(format!("{backend} window"), difference(&windows, &want_windows));
        note(format!("{backend} text"), difference(&embed_texts(bundle, choice, &texts)?, &want_texts));
    }
    verdict(checks)
}

/// Texts of several lengths to compare with.
pub(super) fn sampled_texts(rng: &mut SmallRng) -> Vec<Vec<Phone>> {
    let mut text = |n: usize| (0..n).filter_map(|_| Phone::from_id(rng.random_range(1..CLASSES))).collect();
    [1_usize, 2, 5, 12].map(&mut text).to_vec()
}

/// The checks, if all are within the tolerance.
pub(crate) fn verdict(checks: Vec<Check>) -> Result<Vec<Check>> {
    ensure!(!checks.is_empty(), "nothing was compared");
    let wrong: Vec<String> = checks
        .iter()
        .filter(|c| c.difference.is_nan() || c.difference > TOLERANCE)
        .map(|c| format!("{} by {:.1e}", c.name, c.difference))
        .collect();
    ensure!(wrong.is_empty(), "the graphs do not compute what the model does, not exported: {}", wrong.join(", "));
    Ok(checks)
}
