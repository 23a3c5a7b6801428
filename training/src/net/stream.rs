//! The `stream` encoder: causal dilated convolutions at 33 Hz with a fixed output delay.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use tch::nn::{Init, Path};
use tch::{Kind, Tensor};

use super::parts::{BatchNorm, Mode, he, out};

/// Sizes of the encoder and its heads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StreamConfig {
    /// Mel bands.
    pub mels: i64,
    /// Channels of the residual path, d.
    pub width: i64,
    /// Channels inside a block, b.
    pub bottleneck: i64,
    /// Dilation of each block, encoder frames.
    pub dilations: Vec<i64>,
    /// Encoder frames that each block looks ahead, at most twice its dilation; blocks beyond the list look none.
    pub ahead: Vec<i64>,
    /// Sub-spans of a window, K.
    pub parts: i64,
    /// Channels of a sub-span.
    pub part_dim: i64,
    /// Embedding size, D.
    pub dim: i64,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            mels: 40,
            width: 256,
            bottleneck: 96,
            dilations: vec![1, 1, 2, 2, 4, 4, 8, 8],
            ahead: vec![1; 3],
            parts: 4,
            part_dim: 64,
            dim: 128,
        }
    }
}

impl StreamConfig {
    /// Small enough for a test.
    #[cfg(test)]
    pub(crate) fn tiny() -> Self {
        Self { width: 24, bottleneck: 12, dilations: vec![1, 2], part_dim: 8, dim: 16, ..Self::default() }
    }

    /// Feature frames an encoder frame.
    pub const STRIDE: i64 = 3;
    /// Seconds an encoder frame in training: batches are cut and windows laid for it.
    pub const FRAME_SECONDS: f32 = 0.03;
    /// Feature frames that one stem step sees.
    pub const STEM: i64 = 5;

    /// Encoder frames by which the output lags behind the input.
    pub fn delay(&self) -> usize {
        self.blocks().map(|(_, ahead)| ahead).sum::<i64>() as usize
    }

    /// Dilation of each block, and the encoder frames that it looks ahead.
    pub fn blocks(&self) -> impl Iterator<Item = (i64, i64)> {
        self.dilations.iter().copied().zip(self.ahead.iter().copied().chain(std::iter::repeat(0)))
    }

    /// Whether no block looks further ahead than its convolution reaches.
    ///
    /// # Errors
    /// Names the first that does.
    pub fn check(&self) -> Result<()> {
        for (index, (dilation, ahead)) in self.blocks().enumerate() {
            let most = 2 * dilation;
            ensure!(
                (0..=most).contains(&ahead),
                "stream.ahead[{index}] is {ahead}: a block of dilation {dilation} looks 0 to {most} frames ahead"
            );
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Block {
    down: Tensor,
    norm1: BatchNorm,
    up: Tensor,
    norm2: BatchNorm,
    dilation: i64,
    ahead: i64,
}

impl Block {
    fn new(path: &Path<'_>, config: &StreamConfig, (dilation, ahead): (i64, i64)) -> Self {
        let (d, b) = (config.width, config.bottleneck);
        Self {
            down: he(&(path / "down"), "weight", &[b, d, 3]),
            norm1: BatchNorm::new(&(path / "bn1"), b, 1.0),
            up: he(&(path / "up"), "weight", &[d, b, 1]),
            // A small gain lets the residual path dominate at first.
            norm2: BatchNorm::new(&(path / "bn2"), d, 0.3),
            dilation,
            ahead,
        }
    }

    /// `[B, d, n]` to `[B, d, n]`, `ahead` frames later.
    fn forward(&self, x: &Tensor, mode: Mode) -> Tensor {
        let context = 2 * self.dilation;
        let n = x.size()[2];
        let padded = x.constant_pad_nd([context, 0]);
        let y = padded.conv1d(&mode.cast(&self.down), None::<&Tensor>, 1, 0, self.dilation, 1);
        let y = self.norm1.forward(&y, mode.norm).relu_();
        let y = y.conv1d(&mode.cast(&self.up), None::<&Tensor>, 1, 0, 1, 1);
        let y = self.norm2.forward(&y, mode.norm);
        (y + padded.narrow(2, context - self.ahead, n)).relu_()
    }
}

/// Encoder, phone head, window projection and window head.
#[derive(Debug)]
pub struct StreamNet {
    config: StreamConfig,
    stem: Tensor,
    stem_norm: BatchNorm,
    blocks: Vec<Block>,
    phone: (Tensor, Tensor),
    proj: (Tensor, Tensor),
    window: (Tensor, Tensor),
}

impl StreamNet {
    /// Fresh weights below `path`.
    pub fn new(path: &Path<'_>, config: &StreamConfig) -> Self {
        let head = |name: &str, size: i64| {
            let head = path / name;
            (out(&head, "weight", &[size, config.width, 1]), head.var("bias", &[size], Init::Const(0.0)))
        };
        let pooled = config.parts * config.part_dim;
        let window = path / "window";
        Self {
            stem: he(&(path / "stem" / "conv"), "weight", &[config.width, config.mels, StreamConfig::STEM]),
            stem_norm: BatchNorm::new(&(path / "stem" / "bn"), config.width, 1.0),
            blocks: config
                .blocks()
                .enumerate()
                .map(|(i, block)| Block::new(&(path / format!("block{i}")), config, block))
                .collect(),
            phone: head("phone", kws_live::text::CLASSES as i64),
            proj: head("proj", pooled),
            window: (out(&window, "weight", &[config.dim, pooled]), window.zeros("bias", &[config.dim])),
            config: config.clone(),
        }
    }

    /// Its sizes.
    pub fn config(&self) -> &StreamConfig {
        &self.config
    }

    /// Encodes from a zero state, exactly as the streaming graph does.
    ///
    /// # Shapes
    /// `features`: `[B, mels, 3n]`. Returns phone logits `[B, 40, n]` and projections `[B, K * part_dim, n]`, single
    /// precision; output `i` describes frame `i - delay`.
    pub fn forward(&self, features: &Tensor, mode: Mode) -> (Tensor, Tensor) {
        let x = mode.cast(&features.constant_pad_nd([StreamConfig::STEM - StreamConfig::STRIDE, 0]));
        let x = x.conv1d(&mode.cast(&self.stem), None::<&Tensor>, StreamConfig::STRIDE, 0, 1, 1);
        let mut x = self.stem_norm.forward(&x, mode.norm).relu_();
        for block in &self.blocks {
            x = block.forward(&x, mode);
        }
        let head = |(w, b): &(Tensor, Tensor)| {
            let y = x.conv1d(&mode.cast(w), None::<&Tensor>, 1, 0, 1, 1).to_kind(Kind::Float);
            y + b.view([1, -1, 1])
        };
        (head(&self.phone), head(&self.proj))
    }

    /// Pools windows and embeds them.
    ///
    /// # Shapes
    /// `proj`: `[B, K * part_dim, n]`, aligned; `pool`: `[B, K, n, W]`; `rows`: `[S]`, indices into `B * W`.
    /// Returns unit-norm `[S, D]`.
    pub fn windows(&self, proj: &Tensor, pool: &Tensor, rows: &Tensor) -> Tensor {
        let (k, g) = (self.config.parts, self.config.part_dim);
        let size = pool.size();
        let (b, n, w) = (size[0], size[2], size[3]);
        let pooled = proj.reshape([b * k, g, n]).bmm(&pool.reshape([b * k, n, w]));
        let pooled = pooled.view([b, k * g, w]).permute([0, 2, 1]).reshape([b * w, k * g]).index_select(0, rows);
        normalise(&self.embed(&pooled))
    }

    /// The window head: `[N, K * part_dim]` to `[N, D]`, not normalised.
    pub fn embed(&self, pooled: &Tensor) -> Tensor {
        pooled.relu().linear(&self.window.0, Some(&self.window.1))
    }
}

/// Rows scaled to unit length.
pub fn normalise(x: &Tensor) -> Tensor {
    x / x.square().sum_dim_intlist(Some([-1_i64].as_slice()), true, Kind::Float).clamp_min(1e-12).sqrt()
}
