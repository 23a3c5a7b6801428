//! Audio-text contrast.

use tch::{Kind, Tensor};

use super::{MASKED, cross_entropy};

/// Windows, texts, and what is known of their pairs. Embeddings have unit norm.
///
/// # Shapes
/// See each field; S right windows, N texts, M wrong windows, D channels.
#[derive(Debug, Clone, Copy)]
pub struct Pairing<'a> {
    /// Right windows, `[S, D]`.
    pub audio: &'a Tensor,
    /// Texts, `[N, D]`.
    pub texts: &'a Tensor,
    /// Windows that match no text: cut amiss, or at random places, `[M, D]`.
    pub wrong: &'a Tensor,
    /// Text of each right window, `[S]`.
    pub text_of: &'a Tensor,
    /// Text that each of the first wrong windows was cut amiss of, at most `[M]`.
    pub wrong_text: &'a Tensor,
    /// Texts with equal keys are spellings of one word, `[N]`.
    pub keys: &'a Tensor,
    /// Pairs of a wrong window and a text that is said about there, `[M, N]`.
    pub doubtful: &'a Tensor,
}

/// The CLAP-style term over windows and texts, with learned scale (PAPER.md, L_at, with any number of extra rows).
///
/// Half audio to text (which of all texts, mutants included, is said in the window) and half text to audio (in which of
/// all windows, wrong ones included, is the text said). Texts that are spellings of the same word, and other windows of
/// the same text, are left out of the sums, as are pairs in doubt.
pub fn clap(pairing: &Pairing<'_>, scale: &Tensor) -> Tensor {
    let &Pairing { audio, texts, wrong, text_of, keys, doubtful, .. } = pairing;
    let spans = audio.size()[0];
    let span_keys = keys.index_select(0, text_of);
    // Audio to text.
    let logits = audio.matmul(&texts.tr()) * scale;
    let same = span_keys.unsqueeze(1).eq_tensor(&keys.unsqueeze(0));
    let own =
        text_of.unsqueeze(1).eq_tensor(&Tensor::arange(texts.size()[0], (Kind::Int64, audio.device())).unsqueeze(0));
    let audio_to_text = cross_entropy(&logits.masked_fill(&same.logical_and(&own.logical_not()), MASKED), text_of);
    // Text to audio.
    let anchors = texts.index_select(0, text_of);
    let right = anchors.matmul(&audio.tr()) * scale;
    let same = span_keys.unsqueeze(1).eq_tensor(&span_keys.unsqueeze(0));
    let diagonal = Tensor::eye(spans, (Kind::Bool, audio.device()));
    let right = right.masked_fill(&same.logical_and(&diagonal.logical_not()), MASKED);
    let elsewhere = anchors.matmul(&wrong.tr()) * scale;
    let elsewhere = elsewhere.masked_fill(&doubtful.index_select(1, text_of).tr(), MASKED);
    let logits = Tensor::cat(&[right, elsewhere], 1);
    let target = Tensor::arange(spans, (Kind::Int64, audio.device()));
    (audio_to_text + cross_entropy(&logits, &target)) * 0.5
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [`clap`] of pairs without doubt.
    fn plain(
        audio: &Tensor,
        texts: &Tensor,
        wrong: &Tensor,
        text_of: &Tensor,
        keys: &Tensor,
        scale: &Tensor,
    ) -> Tensor {
        let doubtful = Tensor::zeros([wrong.size()[0], texts.size()[0]], (Kind::Bool, tch::Device::Cpu));
        clap(&Pairing { audio, texts, wrong, text_of, wrong_text: text_of, keys, doubtful: &doubtful }, scale)
    }

    fn close(got: &Tensor, want: f64) {
        let got = got.double_value(&[]);
        assert!((got - want).abs() < 1e-5, "{got}, by hand {want}");
    }

    #[test]
    fn two_windows_two_texts_by_hand() {
        // Orthogonal pairs: every row is [1, 0] * scale, so both directions give ln(1 + e^-scale).
        let eye = Tensor::eye(2, (Kind::Float, tch::Device::Cpu));
        let ids = Tensor::from_slice(&[0_i64, 1]);
        let none = Tensor::zeros([0, 2], (Kind::Float, tch::Device::Cpu));
        let scale = Tensor::from(3.0_f32);
        close(&plain(&eye, &eye, &none, &ids, &ids, &scale), (1.0 + (-3.0_f64).exp()).ln());
        // A wrong window equal to the first text: its text-to-audio row becomes [1, 0, 1].
        let wrong = Tensor::from_slice(&[1.0_f32, 0.0]).view([1, 2]);
        let e = 3.0_f64.exp();
        let to_text = (1.0 + 1.0 / e).ln();
        let to_audio = 0.5 * (((2.0 * e + 1.0) / e).ln() + ((e + 2.0) / e).ln());
        close(&plain(&eye, &eye, &wrong, &ids, &ids, &scale), 0.5 * (to_text + to_audio));
    }

    #[test]
    fn a_doubtful_window_costs_nothing() {
        let eye = Tensor::eye(2, (Kind::Float, tch::Device::Cpu));
        let ids = Tensor::from_slice(&[0_i64, 1]);
        let wrong = Tensor::from_slice(&[1.0_f32, 0.0]).view([1, 2]);
        let doubtful = Tensor::from_slice(&[true, false]).view([1, 2]);
        let pairing = Pairing {
            audio: &eye,
            texts: &eye,
            wrong: &wrong,
            text_of: &ids,
            wrong_text: &ids,
            keys: &ids,
            doubtful: &doubtful,
        };
        // The first text no longer sees it: [1, 0]; the second does: [0, 1, 0].
        let e = 3.0_f64.exp();
        let to_text = (1.0 + 1.0 / e).ln();
        let to_audio = 0.5 * (to_text + ((e + 2.0) / e).ln());
        close(&clap(&pairing, &Tensor::from(3.0_f32)), 0.5 * (to_text + to_audio));
    }

    #[test]
    fn spellings_of_one_word_are_no_negatives() {
        let eye = Tensor::eye(2, (Kind::Float, tch::Device::Cpu));
        let ids = Tensor::from_slice(&[0_i64, 1]);
        let one_word = Tensor::from_slice(&[7_i64, 7]);
        let none = Tensor::zeros([0, 2], (Kind::Float, tch::Device::Cpu));
        close(&plain(&eye, &eye, &none, &ids, &one_word, &Tensor::from(3.0_f32)), 0.0);
    }
}
