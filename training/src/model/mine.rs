//! Windows in which the model itself hears a text that is not said there: the false alarms of a batch, found with the
//! weights of the step and given back to the objective as further wrong windows.

use kws_live::detect::ScorerConfig;
use tch::{Kind, Tensor, no_grad};

use super::marked;
use crate::data::Batch;
use crate::net::{Mode, StreamConfig, StreamNet, normalise};

/// Lengths tried, encoder frames a sub-span: with four sub-spans 8 to 60 frames (the live scorer's are 6 to 58).
const SUB_SPANS: [i64; 7] = [2, 3, 4, 6, 8, 11, 15];
/// Encoder frames between the beginnings of two windows.
const STEP: i64 = 2;

/// What was found.
pub(super) struct Mined {
    /// Embeddings that gradients flow through, `[M, D]`.
    pub windows: Tensor,
    /// Pairs that say nothing, because the text is said in the window's crop, `[M, N]`.
    pub doubtful: Tensor,
}

/// The best window of each text that is said in the batch, in crops where it is not said; of those the `most` best.
///
/// # Shapes
/// `proj`: `[B, K * part_dim, n]`, aligned; `texts`: `[N, D]`, those that are said first.
pub(super) fn mine(net: &StreamNet, proj: &Tensor, texts: &Tensor, batch: &Batch, most: i64, mode: Mode) -> Mined {
    let device = proj.device();
    let size = proj.size();
    let (crops, frames) = (size[0], size[2]);
    let (parts, width) = (net.config().parts, net.config().part_dim);
    let said = marked(&batch.said, crops, texts.size()[0]).to_device(device);
    let sums = proj.cumsum(2, Kind::Float).constant_pad_nd([1, 0]);
    let (found, crop, start, sub) = no_grad(|| {
        let count = batch.true_texts as i64;
        let texts = mode.cast(&texts.narrow(0, 0, count));
        let said = said.narrow(1, 0, count).tr();
        let nothing = || Tensor::zeros([count], (Kind::Int64, device));
        let mut found = Tensor::full([count], -1.0, (Kind::Float, device));
        let (mut crop, mut start, mut sub) = (nothing(), nothing(), nothing() + SUB_SPANS[0]);
        for q in SUB_SPANS.into_iter().filter(|q| q * parts <= frames) {
            let starts = (frames - q * parts) / STEP + 1;
            let pooled: Vec<Tensor> = (0..parts)
                .map(|k| {
                    let own = sums.narrow(1, k * width, width);
                    let border = |at: i64| own.slice(2, at, at + (starts - 1) * STEP + 1, STEP);
                    (border((k + 1) * q) - border(k * q)) / q as f64
                })
                .collect();
            let rows = Tensor::cat(&pooled, 1).permute([0, 2, 1]).reshape([crops * starts, -1]);
            let windows = mode.cast(&normalise(&net.embed(&rows)));
            let cosines = texts.matmul(&windows.tr()).view([count, crops, starts]);
            let unfit = Tensor::from_slice(&unfit(batch, (q * parts) as f32)).to_device(device).view([count, 1]);
            // The best place in each crop, then the best crop of those where the text is not said.
            let (best, place) = cosines.max_dim(2, false);
            let best = best.to_kind(Kind::Float).masked_fill(&said.logical_or(&unfit), -1.0);
            let (best, index) = best.max_dim(1, true);
            let [best, place, index] = [best, place.gather(1, &index, false), index].map(|t| t.squeeze_dim(1));
            let better = best.gt_tensor(&found);
            found = best.where_self(&better, &found);
            crop = index.where_self(&better, &crop);
            start = (place * STEP).where_self(&better, &start);
            sub = (nothing() + q).where_self(&better, &sub);
        }
        (found, crop, start, sub)
    });
    let (cosines, order) = found.topk(most.min(found.size()[0]), 0, true, true);
    // A text that is said in every crop finds nothing.
    let order = order.masked_select(&cosines.gt(-1.0));
    let [crop, start, sub] = [crop, start, sub].map(|t| t.index_select(0, &order));
    let by_frame = sums.permute([0, 2, 1]).reshape([crops * (frames + 1), -1]);
    let first = &crop * (frames + 1) + start;
    let pooled: Vec<Tensor> = (0..parts)
        .map(|k| {
            let own = by_frame.narrow(1, k * width, width);
            let border = |k: i64| own.index_select(0, &(&first + &sub * k));
            (border(k + 1) - border(k)) / sub.to_kind(Kind::Float).unsqueeze(1)
        })
        .collect();
    Mined { windows: normalise(&net.embed(&Tensor::cat(&pooled, 1))), doubtful: said.index_select(0, &crop) }
}

/// Which of the texts that are said no window of `frames` encoder frames is compared with.
fn unfit(batch: &Batch, frames: f32) -> Vec<bool> {
    let scorer = ScorerConfig::default();
    let fits = |phones: usize| {
        let (low, high) = scorer.window_range(phones, StreamConfig::FRAME_SECONDS);
        low <= frames && frames <= high
    };
    batch.texts[..batch.true_texts].iter().map(|phones| !fits(phones.len())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::StreamConfig;
    use crate::testing::seeded;
    use kws_live::text::parse_phones;
    use tch::Device;
    use tch::nn::VarStore;

    #[test]
    fn the_window_that_sounds_like_a_text_is_found_unless_the_text_is_said_there() {
        let _alone = seeded(5);
        let vars = VarStore::new(Device::Cpu);
        let config = StreamConfig {
            width: 8,
            bottleneck: 4,
            dilations: vec![1],
            part_dim: 4,
            dim: 8,
            ..StreamConfig::default()
        };
        let net = StreamNet::new(&vars.root(), &config);
        let proj = Tensor::randn([3, 16, 80], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        // The texts are the windows of frames 10 to 22 of crop 1 and 40 to 56 of crop 2.
        let window = |crop: i64, from: i64, sub: i64| {
            let own = |k: i64| proj.get(crop).narrow(0, 4 * k, 4).narrow(1, from + k * sub, sub);
            let means: Vec<Tensor> =
                (0..4).map(|k| own(k).mean_dim(Some([1_i64].as_slice()), false, Kind::Float)).collect();
            normalise(&net.embed(&Tensor::cat(&means, 0).unsqueeze(0))).detach()
        };
        let texts = Tensor::cat(&[window(1, 10, 3), window(2, 40, 4)], 0);
        let phones = parse_phones("S T AA P").expect("ARPAbet");
        let mut batch = Batch {
            features_shape: [3, 40, 240],
            texts: vec![phones.clone(), phones],
            true_texts: 2,
            ..Batch::default()
        };
        let cosines = |batch: &Batch| mine(&net, &proj, &texts, batch, 9, Mode::EVAL).windows.matmul(&texts.tr());
        // Best first, whichever of the texts it belongs to.
        let found = cosines(&batch).amax([1_i64].as_slice(), false).min().double_value(&[]);
        assert!(found > 0.9999, "{found}");
        cosines(&batch).sum(Kind::Float).backward();
        assert!(proj.grad().abs().sum(Kind::Float).double_value(&[]) > 0.0);

        batch.said = vec![(1, 0), (0, 1), (1, 1), (2, 1)];
        let mined = mine(&net, &proj, &texts, &batch, 9, Mode::EVAL);
        // The second text is said everywhere; the first one finds something else than its place.
        assert_eq!(mined.windows.size(), [1, 8]);
        assert!(mined.windows.matmul(&texts.tr()).double_value(&[0, 0]) < 0.9999);
        assert!(mined.doubtful.equal(&Tensor::from_slice(&[false, true]).view([1, 2])));
        assert_eq!(cosines(&batch).size(), [1, 2]);
    }
}
