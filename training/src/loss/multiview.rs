//! The Multiview-RNN row: triplets between audio and text, from both sides.

use tch::Tensor;

use super::{mean_where, same_group};

/// `mean over (i, c) of max(0, margin - cos(a_i, t_own) + cos(a_i, t_c))` over the wrong texts `c` of every example, plus
/// `mean over (i, k) of max(0, margin - cos(a_i, t_own) + cos(a_k, t_own))` over the examples `k` of other words.
///
/// The two objectives with one anchor in each view (He, Wang, Livescu, arXiv 1611.04496, objectives 0 and 2), over all
/// negatives of the batch.
///
/// # Shapes
/// `audio` `[S, D]`, `texts` `[N, D]` unit norm, one text a word; `text_of` `[S]` into `texts`.
pub fn multiview(audio: &Tensor, texts: &Tensor, text_of: &Tensor, margin: f64) -> Tensor {
    let cosine = audio.matmul(&texts.tr());
    let own = cosine.gather(1, &text_of.unsqueeze(1), false);
    let words = Tensor::arange(texts.size()[0], (tch::Kind::Int64, audio.device()));
    let is_own = text_of.unsqueeze(1).eq_tensor(&words.unsqueeze(0));
    let by_audio = mean_where(&(&cosine - &own + margin).relu(), &is_own.logical_not());
    // Row i: the text of example i against every example k.
    let against = cosine.tr().index_select(0, text_of);
    let by_text = mean_where(&(against - own + margin).relu(), &same_group(text_of).logical_not());
    by_audio + by_text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::tests::close;

    #[test]
    fn both_views_by_hand() {
        // Texts x and y; examples of word 0: x and (0.6, 0.8); of word 1: y.
        let texts = Tensor::eye(2, (tch::Kind::Float, tch::Device::Cpu));
        let audio = Tensor::from_slice(&[1.0_f32, 0.0, 0.6, 0.8, 0.0, 1.0]).view([3, 2]);
        let text_of = Tensor::from_slice(&[0_i64, 0, 1]);
        // Own cosines 1, 0.6, 1. Wrong texts: 0.3 - 1 + 0, 0.3 - 0.6 + 0.8 = 0.5, 0.3 - 1 + 0.
        let by_audio = 0.5 / 3.0;
        // Text x against example 2: 0.3 - 1 + 0 and 0.3 - 0.6 + 0 (both below 0). Text y (own 1) against x: 0.3 - 1 + 0,
        // against (0.6, 0.8): 0.3 - 1 + 0.8 = 0.1. Four triplets.
        let by_text = 0.1 / 4.0;
        close(&multiview(&audio, &texts, &text_of, 0.3), by_audio + by_text);
    }
}
