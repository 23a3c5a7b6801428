//! Audio-audio baselines of the paper's table: Siamese-RNN (triplet) and Contrastive-RNN (NT-Xent).

use tch::{Kind, Tensor};

use super::{MASKED, diagonal, mean_where, same_group};

/// Triplet term of the Siamese-RNN row: `mean over (a, n) of max(0, margin - cos(a, p) + cos(a, n))`.
///
/// Every example is an anchor `a` once; its positive `p` is the next example of its word (the last one takes the
/// first), its negatives `n` are all examples of other words. The mean over all of them, rather than the hardest, does
/// not collapse at the start. Zero where no word has two examples, or there is one word only.
///
/// # Shapes
/// `embeddings` `[S, D]` unit norm; `groups` `[S]` word of each.
pub fn siamese(embeddings: &Tensor, groups: &Tensor, margin: f64) -> Tensor {
    let same = same_group(groups);
    let cosine = embeddings.matmul(&embeddings.tr());
    let (positive, paired) = next_of_group(&same);
    let own = cosine.gather(1, &positive.unsqueeze(1), false);
    let hinge = (&cosine - own + margin).relu();
    mean_where(&hinge, &same.logical_not().logical_and(&paired.unsqueeze(1)))
}

/// For each row the next row of its group in cyclic order, and whether that is another row.
fn next_of_group(same: &Tensor) -> (Tensor, Tensor) {
    let count = same.size()[0];
    let index = Tensor::arange(count, (Kind::Int64, same.device()));
    // Distance forward from row to column, 1 to `count`; the row itself is the farthest.
    let ahead = (index.unsqueeze(0) - index.unsqueeze(1) - 1).remainder(count) + 1;
    let (distance, next) = ahead.masked_fill(&same.logical_not(), count + 1).min_dim(1, false);
    (next, distance.lt(count))
}

/// NT-Xent of the Contrastive-RNN row, for any number of examples a word:
/// `-log(exp(s_ip) / (exp(s_ip) + sum over n of exp(s_in)))` with `s = cos / temperature`, the mean over all ordered
/// pairs `(i, p)` of examples of one word; `n` are the examples of other words.
///
/// With two examples a word this is SimCLR's loss (arXiv 2002.05709, equation 1). Zero where no word has two examples.
///
/// # Shapes
/// `embeddings` `[S, D]` unit norm; `groups` `[S]` word of each.
pub fn nt_xent(embeddings: &Tensor, groups: &Tensor, temperature: f64) -> Tensor {
    let same = same_group(groups);
    let logits = embeddings.matmul(&embeddings.tr()) / temperature;
    let others = logits.masked_fill(&same, MASKED).logsumexp([1_i64].as_slice(), true);
    let term = logits.logaddexp(&others) - &logits;
    mean_where(&term, &same.logical_and(&diagonal(&same).logical_not()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::tests::close;

    /// Word 0: x and (0.6, 0.8); word 1: y twice. Cosines: own 0.6 and 1; across 0, 0 and 0.8, 0.8.
    fn batch() -> (Tensor, Tensor) {
        let e = Tensor::from_slice(&[1.0_f32, 0.0, 0.6, 0.8, 0.0, 1.0, 0.0, 1.0]).view([4, 2]);
        (e, Tensor::from_slice(&[3_i64, 3, 1, 1]))
    }

    #[test]
    fn triplets_by_hand() {
        let (e, groups) = batch();
        // Anchors x: 0.4 - 0.6 + 0 < 0, twice. (0.6, 0.8): 0.4 - 0.6 + 0.8 = 0.6, twice.
        // y: 0.4 - 1 + 0 < 0 and 0.4 - 1 + 0.8 = 0.2, for each of two anchors.
        close(&siamese(&e, &groups, 0.4), (2.0 * 0.6 + 2.0 * 0.2) / 8.0);
        let alone = Tensor::from_slice(&[0_i64, 1, 2, 3]);
        close(&siamese(&e, &alone, 0.4), 0.0);
    }

    #[test]
    fn the_positive_is_the_next_example_in_a_circle() {
        let groups = Tensor::from_slice(&[0_i64, 1, 0, 0, 2]);
        let (next, paired) = next_of_group(&same_group(&groups));
        assert_eq!(Vec::<i64>::try_from(next).expect("indices")[..4], [2, 1, 3, 0]);
        assert_eq!(Vec::<bool>::try_from(paired).expect("flags"), [true, false, true, true, false]);
    }

    #[test]
    fn nt_xent_by_hand() {
        let (e, groups) = batch();
        let t = 0.5;
        let term = |own: f64, others: [f64; 2]| {
            let e = |c: f64| (c / t).exp();
            -(e(own) / (e(own) + e(others[0]) + e(others[1]))).ln()
        };
        let want = (term(0.6, [0.0, 0.0]) + term(0.6, [0.8, 0.8]) + 2.0 * term(1.0, [0.0, 0.8])) / 4.0;
        close(&nt_xent(&e, &groups, t), want);
        close(&nt_xent(&e, &Tensor::from_slice(&[0_i64, 1, 2, 3]), t), 0.0);
    }
}
