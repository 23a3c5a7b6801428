//! Letters to phone posteriors: residual convolutions over letters, three output frames a letter, CTC.

use kws_live::text::{CLASSES, FRAMES_PER_LETTER, LETTERS};
use serde::{Deserialize, Serialize};
use tch::Tensor;
use tch::nn::{Init, Path};

use crate::net::{he, out};

/// Output frames a letter: no English letter stands for more than three phones once the borders add theirs.
pub const UPSAMPLE: i64 = FRAMES_PER_LETTER as i64;

/// Sizes of the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct G2pConfig {
    /// Channels of the residual path over letters.
    pub width: i64,
    /// Channels inside a block over letters.
    pub bottleneck: i64,
    /// Dilations of the blocks over letters.
    pub dilations: Vec<i64>,
    /// Channels of the residual path over output frames.
    pub fine_width: i64,
    /// Channels inside a block over output frames.
    pub fine_bottleneck: i64,
    /// Dilations of the blocks over output frames.
    pub fine_dilations: Vec<i64>,
}

impl Default for G2pConfig {
    fn default() -> Self {
        Self {
            width: 160,
            bottleneck: 96,
            dilations: vec![1, 1, 2, 4, 1],
            fine_width: 128,
            fine_bottleneck: 64,
            fine_dilations: vec![1, 2, 1],
        }
    }
}

/// `x + up(relu(down(x)))`; kernel 3, then 1.
#[derive(Debug)]
struct Block {
    down: (Tensor, Tensor),
    up: (Tensor, Tensor),
    dilation: i64,
}

impl Block {
    fn new(path: &Path<'_>, width: i64, bottleneck: i64, dilation: i64) -> Self {
        let (down, up) = (path / "down", path / "up");
        // Without a norm, small branches keep the sum of many near the size of its input at first.
        let stdev = 0.3 * (2.0 / bottleneck as f64).sqrt();
        Self {
            down: (he(&down, "weight", &[bottleneck, width, 3]), down.zeros("bias", &[bottleneck])),
            up: (
                up.var("weight", &[width, bottleneck, 1], Init::Randn { mean: 0.0, stdev }),
                up.zeros("bias", &[width]),
            ),
            dilation,
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let y = x.conv1d(&self.down.0, Some(&self.down.1), 1, self.dilation, self.dilation, 1).relu_();
        x + y.conv1d(&self.up.0, Some(&self.up.1), 1, 0, 1, 1)
    }
}

/// The network; variables are named as `export` reads them.
#[derive(Debug)]
pub struct G2pNet {
    embed: Tensor,
    blocks: Vec<Block>,
    expand: (Tensor, Tensor),
    fine: Vec<Block>,
    head: (Tensor, Tensor),
    fine_width: i64,
}

impl G2pNet {
    /// Fresh weights below `path`.
    pub fn new(path: &Path<'_>, config: &G2pConfig) -> Self {
        let (c, f) = (config.width, config.fine_width);
        let classes = CLASSES as i64;
        let (expand, head) = (path / "expand", path / "head");
        let block = |i: usize, d: &i64| Block::new(&(path / format!("block{i}")), c, config.bottleneck, *d);
        let fine = |i: usize, d: &i64| Block::new(&(path / format!("fine{i}")), f, config.fine_bottleneck, *d);
        Self {
            embed: (path / "embed").var("weight", &[LETTERS as i64, c], Init::Randn { mean: 0.0, stdev: 1.0 }),
            blocks: config.dilations.iter().enumerate().map(|(i, d)| block(i, d)).collect(),
            expand: (out(&expand, "weight", &[UPSAMPLE * f, c, 1]), expand.zeros("bias", &[UPSAMPLE * f])),
            fine: config.fine_dilations.iter().enumerate().map(|(i, d)| fine(i, d)).collect(),
            head: (out(&head, "weight", &[classes, f, 1]), head.zeros("bias", &[classes])),
            fine_width: f,
        }
    }

    /// Logits of every output frame.
    ///
    /// # Shapes
    /// `letters`: `[B, L]`; `mask`: `[B, 1, L]`, 0 behind the end of a word, whose padding then acts as the border
    /// does. Returns `[B, 40, 3L]`.
    pub fn forward(&self, letters: &Tensor, mask: Option<&Tensor>) -> Tensor {
        let cut = |x: Tensor, mask: Option<&Tensor>| if let Some(m) = mask { x * m } else { x };
        let mut x = Tensor::embedding(&self.embed, letters, -1, false, false).permute([0, 2, 1]).contiguous();
        x = cut(x, mask);
        for block in &self.blocks {
            x = cut(block.forward(&x), mask);
        }
        let size = letters.size();
        let y = x.conv1d(&self.expand.0, Some(&self.expand.1), 1, 0, 1, 1);
        let y = y.view([size[0], self.fine_width, UPSAMPLE, size[1]]).permute([0, 1, 3, 2]);
        let mask = mask.map(|m| m.repeat_interleave_self_int(UPSAMPLE, 2, None));
        let mut x = cut(y.reshape([size[0], self.fine_width, UPSAMPLE * size[1]]), mask.as_ref());
        for block in &self.fine {
            x = cut(block.forward(&x), mask.as_ref());
        }
        x.conv1d(&self.head.0, Some(&self.head.1), 1, 0, 1, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::seeded;
    use tch::nn::VarStore;
    use tch::{Device, Kind};

    #[test]
    fn padding_acts_as_the_border() {
        let _alone = seeded(7);
        let vars = VarStore::new(Device::Cpu);
        let net = G2pNet::new(&vars.root(), &G2pConfig::default());
        tch::no_grad(|| {
            let short = Tensor::from_slice(&[0_i64, 8, 5, 0]).view([1, 4]);
            let padded = Tensor::from_slice(&[0_i64, 8, 5, 0, 7, 7, 7]).view([1, 7]);
            let mask = Tensor::from_slice(&[1_f32, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]).view([1, 1, 7]);
            let alone = net.forward(&short, None);
            let batched = net.forward(&padded, Some(&mask)).narrow(2, 0, 12);
            let worst = (alone - batched).abs().max().to_kind(Kind::Double).double_value(&[]);
            assert!(worst < 1e-5, "differs by {worst}");
        });
    }
}
