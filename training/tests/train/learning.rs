//! The training loop on a made-up language: it learns, and stopping it changes nothing.

use kws_train::fit::{CHECKPOINT, FitConfig};
use tch::Tensor;

use crate::tones;

/// With all that the shipped model was trained with.
fn config(steps: u64) -> FitConfig {
    let mut config = tones::config(steps);
    config.loss.mined = 8;
    config.optim.muon = vec!["block".into()];
    config
}

#[test]
fn a_tiny_corpus_is_learnt() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    tones::fit(&config(240), folder.path(), None);
    let rows = tones::metrics(folder.path());
    // Columns: step, rate, loss, ctc, clap, bce, dwd, top1, norm. The first row still has steps of CTC alone.
    let (early, late) = (&rows[1], &rows[rows.len() - 1]);
    assert_eq!(late[0], 240.0);
    assert!(late[3] < 0.35 * early[3], "nats a phone: {} -> {}", early[3], late[3]);
    assert!(late[2] < 0.6 * early[2], "loss: {} -> {}", early[2], late[2]);
    assert!(late[7] > 0.7, "the right text is the nearest for {} of windows", late[7]);
}

#[test]
fn stopping_and_resuming_changes_nothing() {
    let (straight, stopped) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let config = config(60);
    tones::fit(&config, straight.path(), None);
    tones::fit(&config, stopped.path(), Some(20));
    tones::fit(&config, stopped.path(), None);
    assert_eq!(tones::metrics(straight.path()), tones::metrics(stopped.path()));
    let read = |folder: &std::path::Path| {
        let mut tensors = Tensor::read_safetensors(folder.join(CHECKPOINT)).expect("a checkpoint");
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        tensors
    };
    let (a, b) = (read(straight.path()), read(stopped.path()));
    assert!(a.len() > 60, "weights, running statistics and the optimizer's state: {}", a.len());
    for ((name, x), (other, y)) in a.iter().zip(&b) {
        assert_eq!(name, other);
        assert!(x.equal(y), "`{name}` differs");
    }
}
