//! The `stream` model's text tower: three convolutions over phones and the same order-keeping pooling as the audio side.

use kws_live::detect::pool::pool_matrix;
use kws_live::text::{CLASSES, Phone};
use serde::{Deserialize, Serialize};
use tch::nn::{Init, Path};
use tch::{Device, Kind, Tensor};

use super::parts::{Mode, he, out};
use super::stream::normalise;

/// Sizes of the text tower.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TextConfig {
    /// Phone embedding size.
    pub embed: i64,
    /// Width of the convolutions.
    pub width: i64,
    /// Channels of a sub-span.
    pub part_dim: i64,
}

#[cfg(test)]
impl TextConfig {
    /// Small enough for a test.
    pub(crate) fn tiny() -> Self {
        Self { embed: 8, width: 16, part_dim: 8 }
    }
}

impl Default for TextConfig {
    fn default() -> Self {
        Self { embed: 96, width: 128, part_dim: 64 }
    }
}

/// Number of convolutions.
pub const LAYERS: usize = 3;
/// Passes that the texts of a batch are embedded in.
const PASSES: usize = 4;

/// Phones to embeddings.
#[derive(Debug)]
pub struct TextTower {
    parts: i64,
    config: TextConfig,
    embed: Tensor,
    convs: Vec<(Tensor, Tensor)>,
    proj: (Tensor, Tensor),
    out: (Tensor, Tensor),
}

impl TextTower {
    /// Fresh weights below `path` (named `text.*`).
    pub fn new(path: &Path<'_>, config: &TextConfig, parts: i64, dim: i64) -> Self {
        let conv = |i: usize| {
            let p = path / format!("conv{i}");
            let input = if i == 0 { config.embed } else { config.width };
            (he(&p, "weight", &[config.width, input, 3]), p.zeros("bias", &[config.width]))
        };
        let (proj, last) = (path / "proj", path / "out");
        let pooled = parts * config.part_dim;
        Self {
            parts,
            embed: (path / "embed").var(
                "weight",
                &[CLASSES as i64, config.embed],
                Init::Randn { mean: 0.0, stdev: 0.3 },
            ),
            convs: (0..LAYERS).map(conv).collect(),
            proj: (out(&proj, "weight", &[pooled, config.width, 1]), proj.zeros("bias", &[pooled])),
            out: (out(&last, "weight", &[dim, pooled]), last.zeros("bias", &[dim])),
            config: config.clone(),
        }
    }

    /// Embeds texts of any lengths: unit-norm `[texts, D]`.
    pub fn forward(&self, texts: &[Vec<Phone>], device: Device, mode: Mode) -> Tensor {
        // Texts of like lengths share a pass, so that few positions are padding.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&i| texts[i].len());
        let passes: Vec<Tensor> = order
            .chunks(texts.len().div_ceil(PASSES).max(1))
            .map(|of| self.padded(&of.iter().map(|&i| texts[i].as_slice()).collect::<Vec<_>>(), device, mode))
            .collect();
        let mut rows = vec![0_i64; texts.len()];
        for (row, &i) in order.iter().enumerate() {
            rows[i] = row as i64;
        }
        Tensor::cat(&passes, 0).index_select(0, &Tensor::from_slice(&rows).to_device(device))
    }

    /// Embeds texts in one pass, all of them padded to the longest.
    fn padded(&self, texts: &[&[Phone]], device: Device, mode: Mode) -> Tensor {
        let count = texts.len();
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or(1).max(1);
        let parts = self.parts as usize;
        let mut ids = vec![0_i64; count * longest];
        let mut mask = vec![0.0_f32; count * longest];
        let mut pool = vec![0.0_f32; count * parts * longest];
        for (n, text) in texts.iter().enumerate() {
            for (i, phone) in text.iter().enumerate() {
                ids[n * longest + i] = phone.id() as i64;
                mask[n * longest + i] = 1.0;
            }
            let weights = pool_matrix(text.len(), parts);
            for (k, row) in weights.chunks_exact(text.len()).enumerate() {
                let start = (n * parts + k) * longest;
                pool[start..start + text.len()].copy_from_slice(row);
            }
        }
        let (n, p) = (count as i64, longest as i64);
        let ids = Tensor::from_slice(&ids).view([n, p]).to_device(device);
        let mask = mode.cast(&Tensor::from_slice(&mask).view([n, 1, p]).to_device(device));
        let pool = Tensor::from_slice(&pool).view([n, self.parts, p, 1]).to_device(device);
        normalise(&self.raw(&ids, &pool, &mask, mode))
    }

    /// The tower itself.
    ///
    /// # Shapes
    /// `ids`: `[N, P]`; `pool`: `[N, K, P, 1]`; `mask`: `[N, 1, P]`, 0 behind the end of a text (padding then acts as
    /// the border does). Returns `[N, D]`, not normalised.
    fn raw(&self, ids: &Tensor, pool: &Tensor, mask: &Tensor, mode: Mode) -> Tensor {
        let conv = |x: &Tensor, (w, b): &(Tensor, Tensor), border: i64| {
            x.conv1d(&mode.cast(w), Some(&mode.cast(b)), 1, border, 1, 1)
        };
        let embedded = Tensor::embedding(&self.embed, ids, -1, false, false);
        let mut x = mode.cast(&embedded.permute([0, 2, 1])).contiguous() * mask;
        for (i, layer) in self.convs.iter().enumerate() {
            let y = conv(&x, layer, 1).relu();
            x = if i == 0 { y } else { x + y } * mask;
        }
        let size = ids.size();
        let y = conv(&x, &self.proj, 0).to_kind(Kind::Float);
        let y = y.reshape([size[0], self.parts, self.config.part_dim, size[1]]).matmul(pool);
        y.reshape([size[0], -1]).linear(&self.out.0, Some(&self.out.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::seeded;
    use kws_live::text::parse_phones;
    use tch::nn::VarStore;

    #[test]
    fn every_text_keeps_its_row_and_no_neighbour_changes_it() {
        let _alone = seeded(4);
        let vars = VarStore::new(Device::Cpu);
        let config = TextConfig { embed: 6, width: 8, part_dim: 4 };
        let tower = TextTower::new(&vars.root(), &config, 4, 8);
        let texts: Vec<_> = ["S T AA P", "G OW", "K AH M P Y UW T ER", "Y EH S", "S M AA R T M IH R ER", "AA"]
            .iter()
            .map(|text| parse_phones(text).expect("ARPAbet"))
            .collect();
        let together = tower.forward(&texts, Device::Cpu, Mode::EVAL);
        assert_eq!(together.size(), [6, 8]);
        for (i, text) in texts.iter().enumerate() {
            let alone = tower.forward(std::slice::from_ref(text), Device::Cpu, Mode::EVAL);
            let difference = (together.get(i as i64) - alone.get(0)).abs().max().double_value(&[]);
            assert!(difference < 1e-5, "{i}: {difference}");
        }
    }
}
