//! The paper's objectives by name, for embeddings of N words with M spoken examples each.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::{DwdVariant, Pairing, clap, dwd, multiview, nt_xent, siamese};

/// What the `jmcl` architecture is trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Audio-text contrast alone (L_at).
    Clap,
    /// Audio-audio word discrimination alone (L_aa): the A2E-DWD row. The text tower is not trained.
    Dwd,
    /// The paper: `alpha1 * L_at + alpha2 * L_aa`.
    #[default]
    #[serde(rename = "clap+dwd")]
    ClapDwd,
    /// Audio triplets: the Siamese-RNN row. The text tower is not trained.
    Siamese,
    /// NT-Xent over audio: the Contrastive-RNN row. The text tower is not trained.
    Contrastive,
    /// Audio-text triplets from both sides: the Multiview-RNN row.
    Multiview,
}

/// Weights and constants of the objectives; each uses its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectiveConfig {
    /// Weight of L_at in `clap+dwd`.
    pub alpha1: f64,
    /// Weight of L_aa in `clap+dwd`.
    pub alpha2: f64,
    /// Form of L_aa.
    pub dwd_variant: DwdVariant,
    /// Margin of the triplets of `siamese` and `multiview`, in cosine.
    pub margin: f64,
    /// Temperature of `contrastive`.
    pub temperature: f64,
}

impl Default for ObjectiveConfig {
    /// The weights of the paper; it gives neither margin nor temperature.
    fn default() -> Self {
        Self { alpha1: 0.1, alpha2: 1.0, dwd_variant: DwdVariant::Paper, margin: 0.4, temperature: 0.1 }
    }
}

/// Terms of an objective, unweighted; zero where it has none.
#[derive(Debug)]
pub struct ObjectiveTerms {
    /// Weighted sum, to go back from.
    pub total: Tensor,
    /// Audio-text term: L_at, or the triplets of `multiview`.
    pub text: f64,
    /// Audio-audio term: L_aa, triplets or NT-Xent.
    pub audio: f64,
}

impl Objective {
    /// Whether texts take part.
    pub fn has_text(self) -> bool {
        matches!(self, Self::Clap | Self::ClapDwd | Self::Multiview)
    }

    /// Computes the objective.
    ///
    /// # Shapes
    /// `audio` `[N * M, D]`, the M examples of a word in a row; `texts` `[N, D]`, no two alike; both unit norm. `clap_scale`
    /// and `dwd_scale`: scalars, exp(tau) of L_at and the scale of the scaled L_aa.
    pub fn compute(
        self,
        config: &ObjectiveConfig,
        audio: &Tensor,
        texts: &Tensor,
        clap_scale: &Tensor,
        dwd_scale: &Tensor,
    ) -> ObjectiveTerms {
        let device = audio.device();
        let words = texts.size()[0];
        let views = audio.size()[0] / words;
        let ids = Tensor::arange(words, (Kind::Int64, device));
        let word_of = ids.repeat_interleave_self_int(views, None, None);
        let at = || {
            // The mean over M views of an N x N contrast.
            let none = Tensor::zeros([0, audio.size()[1]], (Kind::Float, device));
            let by_view = audio.view([words, views, -1]);
            let doubtful = Tensor::zeros([0, words], (Kind::Bool, device));
            let view = |m| {
                let audio = &by_view.select(1, m);
                let (wrong, doubtful) = (&none, &doubtful);
                let (text_of, wrong_text, keys) = (&ids, &ids, &ids);
                clap(&Pairing { audio, texts, wrong, text_of, wrong_text, keys, doubtful }, clap_scale)
            };
            Tensor::stack(&(0..views).map(view).collect::<Vec<_>>(), 0).mean(Kind::Float)
        };
        let aa = || dwd(audio, &word_of, dwd_scale, config.dwd_variant);
        let value = |t: &Tensor| t.double_value(&[]);
        match self {
            Self::Clap => {
                let total = at();
                ObjectiveTerms { text: value(&total), audio: 0.0, total }
            }
            Self::ClapDwd => {
                let (text, audio) = (at(), aa());
                let total = &text * config.alpha1 + &audio * config.alpha2;
                ObjectiveTerms { text: value(&text), audio: value(&audio), total }
            }
            Self::Multiview => {
                let total = multiview(audio, texts, &word_of, config.margin);
                ObjectiveTerms { text: value(&total), audio: 0.0, total }
            }
            Self::Dwd | Self::Siamese | Self::Contrastive => {
                let total = match self {
                    Self::Siamese => siamese(audio, &word_of, config.margin),
                    Self::Contrastive => nt_xent(audio, &word_of, config.temperature),
                    _ => aa(),
                };
                ObjectiveTerms { text: 0.0, audio: value(&total), total }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_ones_of_the_configuration() {
        #[derive(Deserialize)]
        struct File {
            objective: Objective,
        }
        let names = ["clap", "dwd", "clap+dwd", "siamese", "contrastive", "multiview"];
        let want = [
            Objective::Clap,
            Objective::Dwd,
            Objective::ClapDwd,
            Objective::Siamese,
            Objective::Contrastive,
            Objective::Multiview,
        ];
        for (name, want) in names.iter().zip(want) {
            let file: File = toml::from_str(&format!("objective = \"{name}\"")).expect("a known name");
            assert_eq!(file.objective, want);
        }
        assert!(toml::from_str::<File>("objective = \"magic\"").is_err());
    }

    #[test]
    fn the_paper_s_sum_by_hand() {
        // Two words x and y, two identical examples each, texts x and y: both towers perfect.
        let texts = Tensor::eye(2, (Kind::Float, tch::Device::Cpu));
        let audio = texts.repeat_interleave_self_int(2, Some(0), None);
        let scale = Tensor::from(3.0_f32);
        let got = Objective::ClapDwd.compute(&ObjectiveConfig::default(), &audio, &texts, &scale, &scale);
        let at = (1.0 + (-3.0_f64).exp()).ln();
        // Own cosine 1, other 0: L_sm = -1 + ln(e + 1), L_cc = 0 + 0.
        let aa = (1.0_f64.exp() + 1.0).ln() - 1.0;
        assert!((got.text - at).abs() < 1e-5 && (got.audio - aa).abs() < 1e-5, "{got:?}");
        assert!((got.total.double_value(&[]) - (0.1 * at + aa)).abs() < 1e-5);
    }
}
