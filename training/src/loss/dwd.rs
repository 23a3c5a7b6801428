//! Deep word discrimination: audio-audio, leave-one-out centroids (PAPER.md, L_sm and L_cc).

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::MASKED;

/// Which form of the softmax term.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DwdVariant {
    /// Bare cosines, as printed: almost flat with many classes.
    Paper,
    /// Cosines times a learned scale that starts at 10.
    #[default]
    Scaled,
}

/// `L_aa = L_sm + L_cc` over windows grouped by word; words with one window serve as centroids only.
///
/// `S_ji,k = cos(e_ji, c_k)` with the own word's centroid leaving `e_ji` out; `L_sm = -S_ji,j + log sum_k exp S_ji,k`;
/// `L_cc = (1 - S_ji,j) + max_{k != j} S_ji,k`. In the scaled variant `L_sm` sees `scale * S`. Zero where no word has
/// two windows.
///
/// # Shapes
/// `embeddings` `[S, D]` unit norm; `groups` `[S]` word of each; `scale` scalar.
pub fn dwd(embeddings: &Tensor, groups: &Tensor, scale: &Tensor, variant: DwdVariant) -> Tensor {
    let device = embeddings.device();
    let (words, member, _) = groups.unique_dim(0, true, true, false);
    let count = words.size()[0];
    let member_of =
        Tensor::zeros([count, groups.size()[0]], (Kind::Float, device)).scatter_value(0, &member.view([1, -1]), 1.0);
    let sums = member_of.matmul(embeddings);
    let sizes = member_of.sum_dim_intlist(Some([1_i64].as_slice()), true, Kind::Float);
    let all = cosine(embeddings, &sums);
    let others = sums.index_select(0, &member) - embeddings;
    let own = (embeddings * super::super::net::normalise(&others)).sum_dim_intlist(
        Some([1_i64].as_slice()),
        true,
        Kind::Float,
    );
    let is_own = member.unsqueeze(1).eq_tensor(&Tensor::arange(count, (Kind::Int64, device)).unsqueeze(0));
    let similarity = all.where_self(&is_own.logical_not(), &own.expand_as(&all));
    let paired = sizes.index_select(0, &member).squeeze_dim(1).gt(1.5).nonzero().squeeze_dim(1);
    if paired.size()[0] == 0 {
        return Tensor::zeros([], (Kind::Float, device));
    }
    let similarity = similarity.index_select(0, &paired);
    let own = own.index_select(0, &paired).squeeze_dim(1);
    let is_own = is_own.index_select(0, &paired);
    let softmax = match variant {
        DwdVariant::Paper => similarity.logsumexp([1_i64].as_slice(), false) - &own,
        DwdVariant::Scaled => (&similarity * scale).logsumexp([1_i64].as_slice(), false) - &own * scale,
    };
    let hardest = if count > 1 {
        similarity.masked_fill(&is_own, MASKED).amax([1_i64].as_slice(), false)
    } else {
        own.zeros_like()
    };
    (softmax + (own * -1.0 + 1.0) + hardest).mean(Kind::Float)
}

/// Cosines of unit rows `a` with rows of any length `b`.
fn cosine(a: &Tensor, b: &Tensor) -> Tensor {
    a.matmul(&super::super::net::normalise(b).tr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_words_by_hand() {
        // Word 0: x, x. Word 1: y, z (orthogonal). Own cosines 1, 1, 0, 0.
        let e = Tensor::from_slice(&[1.0_f32, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]).view([4, 3]);
        let groups = Tensor::from_slice(&[5_i64, 5, 9, 9]);
        // Rows [own, other]: [1, 0], [1, 0], [0, 0], [0, 0].
        let softmax = 0.5 * ((1.0_f64.exp() + 1.0).ln() - 1.0) + 0.5 * 2.0_f64.ln();
        let contrast = 0.5 * 0.0 + 0.5 * 1.0;
        let got = dwd(&e, &groups, &Tensor::from(10.0_f32), DwdVariant::Paper).double_value(&[]);
        assert!((got - (softmax + contrast)).abs() < 1e-5, "{got}");
        let softmax = 0.5 * (1.0 + (-10.0_f64).exp()).ln() + 0.5 * 2.0_f64.ln();
        let got = dwd(&e, &groups, &Tensor::from(10.0_f32), DwdVariant::Scaled).double_value(&[]);
        assert!((got - (softmax + contrast)).abs() < 1e-5, "{got}");
    }

    #[test]
    fn words_without_a_second_example_cost_nothing() {
        let e = Tensor::eye(3, (Kind::Float, tch::Device::Cpu));
        let groups = Tensor::from_slice(&[0_i64, 1, 2]);
        assert_eq!(dwd(&e, &groups, &Tensor::from(10.0_f32), DwdVariant::Scaled).double_value(&[]), 0.0);
    }
}
