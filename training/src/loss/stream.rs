//! Terms of the `stream` objective beside the contrastive ones.

use tch::{Kind, Tensor};

/// Calibration: binary cross-entropy of `sigmoid(softplus(w) cos + b)` (CORD-KWS, arXiv 2609.31869).
///
/// Positives are windows with their texts; negatives the `hardest` most similar other texts of every right window, and
/// every wrong window with the text it must not match. Positives and negatives weigh the same in all.
///
/// # Shapes
/// `audio` `[S, D]`, `texts` `[N, D]`, `wrong` `[M, D]`; `text_of` `[S]`, `wrong_text` `[M]`, `keys` `[N]`; `w`, `b`
/// scalars.
#[allow(clippy::too_many_arguments, reason = "each is a tensor of its own shape")]
pub fn calibration_bce(
    audio: &Tensor,
    texts: &Tensor,
    wrong: &Tensor,
    text_of: &Tensor,
    wrong_text: &Tensor,
    keys: &Tensor,
    w: &Tensor,
    b: &Tensor,
    hardest: i64,
) -> Tensor {
    let gain = w.softplus();
    let logit = |cos: &Tensor| cos * &gain + b;
    let rows = |a: &Tensor, t: &Tensor| (a * t).sum_dim_intlist(Some([1_i64].as_slice()), false, Kind::Float);
    let right = rows(audio, &texts.index_select(0, text_of));
    let same = keys.index_select(0, text_of).unsqueeze(1).eq_tensor(&keys.unsqueeze(0));
    let others = audio.matmul(&texts.tr()).masked_fill(&same, -1.0);
    let (hard, _) = others.topk(hardest.min(texts.size()[0]), 1, true, false);
    let partial = rows(wrong, &texts.index_select(0, wrong_text));
    let negatives = Tensor::cat(&[hard.flatten(0, -1), partial], 0);
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
        let got = calibration_bce(&audio, &texts, &wrong, &first, &first, &keys, &w, &b, 1).double_value(&[]);
        let softplus = |x: f64| (1.0 + x.exp()).ln();
        let want = 0.5 * (softplus(-1.0) + 0.5 * (softplus(-1.0) + softplus(0.2)));
        assert!((got - want).abs() < 1e-5, "{got}, by hand {want}");
    }
}
