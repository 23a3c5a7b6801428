//! Terms of the `stream` objective beside the contrastive ones.

use tch::{Kind, Tensor};

use super::{Pairing, row_products};

/// Calibration: binary cross-entropy of `sigmoid(softplus(w) cos + b)` (CORD-KWS, arXiv 2609.31869).
///
/// Positives are windows with their texts; negatives the `hardest` most similar other texts of every right window, the
/// most similar wrong window of every text that a right window has, and every window cut amiss with the text it must not
/// match. Positives and negatives weigh the same in all.
///
/// # Shapes
/// See [`Pairing`]; `w`, `b` scalars.
pub fn calibration_bce(pairing: &Pairing<'_>, w: &Tensor, b: &Tensor, hardest: i64) -> Tensor {
    let &Pairing { audio, texts, wrong, text_of, wrong_text, keys, doubtful } = pairing;
    let gain = w.softplus();
    let logit = |cos: &Tensor| cos * &gain + b;
    let right = row_products(audio, &texts.index_select(0, text_of));
    let same = keys.index_select(0, text_of).unsqueeze(1).eq_tensor(&keys.unsqueeze(0));
    let others = audio.matmul(&texts.tr()).masked_fill(&same, -1.0);
    let (hard, _) = others.topk(hardest.min(texts.size()[0]), 1, true, false);
    let partial = row_products(&wrong.narrow(0, 0, wrong_text.size()[0]), &texts.index_select(0, wrong_text));
    let (said, _, _) = text_of.unique_dim(0, true, false, false);
    let elsewhere = wrong.matmul(&texts.index_select(0, &said).tr());
    let elsewhere = elsewhere.masked_fill(&doubtful.index_select(1, &said), -1.0).amax([0_i64].as_slice(), false);
    let negatives = Tensor::cat(&[hard.flatten(0, -1), partial, elsewhere], 0);
    // -log sigmoid(x) = softplus(-x)
    let positive = (-logit(&right)).softplus().mean(Kind::Float);
    let negative = logit(&negatives).softplus().mean(Kind::Float);
    (positive + negative) * 0.5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_window_two_texts_by_hand() {
        let texts = Tensor::eye(2, (Kind::Float, tch::Device::Cpu));
        let audio = Tensor::from_slice(&[1.0_f32, 0.0]).view([1, 2]);
        let wrong = Tensor::from_slice(&[0.6_f32, 0.8]).view([1, 2]);
        let first = Tensor::from_slice(&[0_i64]);
        let keys = Tensor::from_slice(&[0_i64, 1]);
        // softplus(w) = 2 for w = ln(e^2 - 1); b = -1: logits 1 (right), -1 (other text), 0.2 (wrong window).
        let w = Tensor::from((2.0_f64.exp() - 1.0).ln() as f32);
        let b = Tensor::from(-1.0_f32);
        let doubtful = Tensor::zeros([1, 2], (Kind::Bool, tch::Device::Cpu));
        let pairing = Pairing {
            audio: &audio,
            texts: &texts,
            wrong: &wrong,
            text_of: &first,
            wrong_text: &first,
            keys: &keys,
            doubtful: &doubtful,
        };
        let softplus = |x: f64| (1.0 + x.exp()).ln();
        // Of the one text that is said, the wrong window is the hardest as well.
        let got = calibration_bce(&pairing, &w, &b, 1).double_value(&[]);
        let want = 0.5 * (softplus(-1.0) + (softplus(-1.0) + 2.0 * softplus(0.2)) / 3.0);
        assert!((got - want).abs() < 1e-5, "{got}, by hand {want}");
    }
}
